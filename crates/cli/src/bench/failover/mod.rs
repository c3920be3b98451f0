//! `bench failover`: how long the partitions of lost workers have no owner.
//!
//! ```text
//! plan (pure) -> sessions, workers, networks -> all owned -> some abandon their sessions
//!                                                   -> all of them down -> nothing without an owner
//! one stream of workers and partitions -> ledger (pure): checks every revision, tells what is asked back
//! ```
//!
//! The workers are sessions that share a few connections: they run nothing, so what is asked back is
//! released at once. Times are those at which this program was told of a change.

mod ledger;
mod plan;
mod stage;

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use quorate_core::Name;
use tokio::time::Instant;

use self::stage::Stage;
use crate::{
    args::BenchFailover, commands::Context, failure::Failure, output::failover::FailoverReport,
};

/// Measures failover.
///
/// # Errors
/// When the cluster refuses or does not answer, or nothing moves on for a while. Broken rules are
/// counted.
pub(crate) async fn failover(
    context: &Context,
    args: &BenchFailover,
) -> Result<(FailoverReport, Option<String>)> {
    if args.kill >= args.workers {
        let message = format!("--kill {} of --workers {}: one must stay", args.kill, args.workers);
        return Err(Failure::usage(message).into());
    }
    let mut stage = Stage::set(context, args).await?;
    let measured = measure(&mut stage, args).await;
    stage.clear().await?;
    let mut report = measured?;
    let ledger = stage.ledger();
    report.errors = ledger.errors;
    report.revisions_checked = ledger.revisions;
    Ok((report, ledger.first_error.clone()))
}

async fn measure(stage: &mut Stage<'_>, args: &BenchFailover) -> Result<FailoverReport> {
    let began = Instant::now();
    stage.register(args.workers, args.ttl).await?;
    let registered = Instant::now();
    stage.apply().await?;
    stage.until("owned", u64::from(args.partitions), |ledger| ledger.owned as u64).await?;
    let owned = Instant::now();
    let lost = victims(stage, args)?;
    let held = stage.ledger().owned_by(&lost);
    stage.abandon(&lost);
    let killed = Instant::now();
    let first_down = stage.until("the first to expire", 1, |it| it.down(&lost) as u64).await?;
    let all = lost.len() as u64;
    let last_down = stage.until("expired", all, |it| it.down(&lost) as u64).await?;
    let placed = stage.until("placed again", held as u64, |it| it.replaced).await?;
    Ok(FailoverReport {
        op: "failover",
        workers: args.workers,
        killed: args.kill,
        partitions: args.partitions,
        replaced: stage.ledger().replaced,
        errors: 0,
        revisions_checked: 0,
        register_ms: millis(registered - began),
        place_ms: millis(owned - registered),
        first_expiry_ms: millis(first_down - killed),
        last_expiry_ms: millis(last_down - killed),
        replaced_after_expiry_ms: millis(placed.saturating_duration_since(last_down)),
        replaced_after_first_expiry_ms: millis(placed - first_down),
    })
}

/// Those that die: spread evenly over all.
fn victims(stage: &Stage<'_>, args: &BenchFailover) -> Result<BTreeSet<Name>> {
    let number = |at: u32| u64::from(at) * u64::from(args.workers) / u64::from(args.kill);
    let all = (0..args.kill).map(|at| u32::try_from(number(at)).unwrap_or(u32::MAX));
    all.map(|number| stage.plan().worker(number)).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
