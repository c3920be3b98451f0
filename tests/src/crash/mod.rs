//! The crash programme: what a cluster must survive, with real processes and SIGKILL.
//!
//! [`leader_kills`] writes from several clients while leaders are killed, with followers of the
//! change stream on every member, and then counts what was lost, applied twice, or left out of a
//! stream. [`outage`] has what happens when a majority, everything, or the disk of a member is gone.
//! Every wait is for a condition and bounded; a run that did too little fails.

mod follower;
mod load;
pub mod outage;
mod verdict;
mod writer;

use anyhow::{Context, Result};

pub use self::{load::Load, verdict::Report};
use crate::cluster::Cluster;

/// How much a run does.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many leaders are killed, at least.
    pub kills: u32,
    /// How many writes are acknowledged, at least.
    pub writes: u64,
    /// How many clients write at the same time.
    pub clients: u32,
}

/// Acknowledged writes between two steps of a kill, so that each phase sees some.
const WRITES_PER_PHASE: u64 = 50;

/// Kills leaders during writes, then says what came of the writes.
///
/// # Errors
/// When the cluster cannot be started, or does not go on in time after a kill.
pub async fn leader_kills(cluster: &mut Cluster, settings: Settings) -> Result<Report> {
    let load = Load::start(cluster, settings.clients);
    for kill in 1..=settings.kills {
        let due = settings.writes * u64::from(kill) / u64::from(settings.kills + 1);
        load.reach(due, cluster).await?;
        kill_leader(cluster, &load).await.with_context(|| format!("kill {kill}"))?;
    }
    load.reach(settings.writes, cluster).await?;
    let mut report = load.end(cluster).await?;
    report.kills = settings.kills;
    Ok(report)
}

/// Kills the leader, sees the others go on, starts it again and sees it catch up.
async fn kill_leader(cluster: &mut Cluster, load: &Load) -> Result<()> {
    let leader = cluster.wait_leader().await?;
    cluster.kill(leader)?;
    cluster.wait_leader().await?;
    load.go_on(WRITES_PER_PHASE, cluster).await?;
    cluster.spawn(leader)?;
    cluster.wait_caught_up(leader).await
}
