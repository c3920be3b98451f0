//! Arguments of `bench`.

use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_client::Consistency;

use super::values;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure writes
    Put(BenchPut),
    /// Measure reads
    Get(BenchGet),
    /// Measure deliveries of changes to many watchers
    Watch(BenchWatch),
    /// Measure how long lost workers' partitions are without an owner
    Failover(BenchFailover),
}

/// The load that all measurements share.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchLoad {
    /// How many clients ask at the same time, each one request after another
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) clients: u32,
    /// How many requests all together
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) total: u64,
    /// Requests before the measurement, not counted; without it, a tenth of the total, at most 2000
    #[arg(long, value_name = "N")]
    pub(crate) warmup: Option<u64>,
    /// Connections that the clients share; without it, one per client, at most 16
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: Option<u32>,
    /// How many different keys
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) keys: u32,
    /// Leave the keys that were written in the store
    #[arg(long)]
    pub(crate) keep: bool,
    /// Write without sessions: what a write costs that may be made twice when its answer is lost
    #[arg(long)]
    pub(crate) no_sessions: bool,
}

/// Measures writes.
#[derive(Debug, Args)]
#[command(after_help = PUT_EXAMPLES)]
pub(crate) struct BenchPut {
    /// The load
    #[command(flatten)]
    pub(crate) load: BenchLoad,
    /// Bytes per value
    #[arg(long, value_name = "B", default_value_t = 256)]
    pub(crate) value_size: u32,
}

const PUT_EXAMPLES: &str = "\
Checks that every reply has a revision of its own, and that they grow. Exit code 1 on any error.

Examples:
  quorate bench put --clients 64 --total 50000
  quorate bench put --clients 1 --total 2000 --value-size 1024 --output json";

/// Measures reads.
#[derive(Debug, Args)]
#[command(after_help = GET_EXAMPLES)]
pub(crate) struct BenchGet {
    /// The load
    #[command(flatten)]
    pub(crate) load: BenchLoad,
    /// Bytes per value
    #[arg(long, value_name = "B", default_value_t = 256)]
    pub(crate) value_size: u32,
    /// How fresh: linearizable, local, or at-least=REV
    #[arg(long, value_name = "LEVEL", default_value = "linearizable", value_parser = values::consistency)]
    pub(crate) consistency: Consistency,
}

const GET_EXAMPLES: &str = "\
Writes the keys first, then checks that every read returns the value that was written. Exit code 1
on any error.

Examples:
  quorate bench get --clients 256 --total 100000
  quorate bench get --clients 64 --total 50000 --consistency local";

/// Measures deliveries.
#[derive(Debug, Args)]
#[command(after_help = WATCH_EXAMPLES)]
pub(crate) struct BenchWatch {
    /// The load: writes
    #[command(flatten)]
    pub(crate) load: BenchLoad,
    /// Bytes per value, at least 16
    #[arg(long, value_name = "B", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..))]
    pub(crate) value_size: u32,
    /// How many watchers follow every write
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) watchers: u32,
}

const WATCH_EXAMPLES: &str = "\
Checks that every watcher got every write, in order and exactly once. The percentiles are from the
start of a write to its delivery. Exit code 1 on any error.

Examples:
  quorate bench watch --clients 16 --watchers 500 --total 20000
  quorate bench watch --clients 1 --watchers 10 --total 1000 --output json";

/// Measures failover.
#[derive(Debug, Args)]
#[command(after_help = FAILOVER_EXAMPLES)]
pub(crate) struct BenchFailover {
    /// How many workers there are. They run nothing: sessions that own partitions
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) workers: u32,
    /// How many partitions they own together
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) partitions: u32,
    /// How many workers die at once, fewer than there are
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) kill: u32,
    /// Time to live of the workers' sessions
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub(crate) ttl: Duration,
    /// Connections that the workers share
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
}

const FAILOVER_EXAMPLES: &str = "\
Registers workers, applies networks, waits until everything has an owner; then some workers stop
showing that they are alive. Follows every revision meanwhile and checks each: nobody owns more than
their capacity, owners are alive, epochs grow. Exit code 1 on any error. The networks and the workers
are removed afterwards. Meant for a cluster without other workers: these would take partitions, too.

Examples:
  quorate bench failover
  quorate bench failover --workers 1000 --partitions 100000 --kill 10 --ttl 10s --output json";
