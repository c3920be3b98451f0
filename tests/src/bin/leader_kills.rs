//! The crash programme in full: kills leaders of a real cluster during writes, then takes away a
//! majority, all members, and disks. Prints what it saw, the last line of the first part being
//! `acked=N lost=0 duplicated=0 watch_gaps=0 kills=N`. Exit code 1 when a promise was broken.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use quorate_tests::{
    cluster::Cluster,
    crash::{Settings, leader_kills, outage},
};

/// Kills leaders during writes and counts what was lost.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many leaders to kill
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// How many acknowledged writes, at least
    #[arg(long, default_value_t = 10_000)]
    writes: u64,
    /// How many clients write at the same time
    #[arg(long, default_value_t = 8)]
    clients: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse()).await.unwrap_or_else(|error| {
        // The chain of causes, without where in this program it was noticed.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(Arguments { kills, writes, clients }: Arguments) -> Result<ExitCode> {
    let mut cluster = Cluster::start(3).await?;
    let report = leader_kills(&mut cluster, Settings { kills, writes, clients }).await?;
    say(&report.to_string());
    if !report.is_clean() {
        eprintln!("{}\n{}", report.details.join("\n"), cluster.logs());
        return Ok(ExitCode::FAILURE);
    }
    drop(cluster);
    say(&outage::majority_gone(&mut Cluster::start(3).await?).await?);
    say(&outage::all_gone(&mut Cluster::start(3).await?).await?);
    say(&outage::disks_gone(&mut Cluster::start(3).await?).await?);
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the result of a program")]
fn say(line: &str) {
    println!("{line}");
}
