//! What clients do to the cluster.
//!
//! Owns the workloads by name, and what they have in common: clients that work until they are told
//! to stop, and what they do last, when everything is healed. Writes to registers that show that a
//! coordinator takes writes come with every workload. Must not know faults or checks.

pub(crate) mod allocation;
pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod facts;
pub(crate) mod kv;
pub(crate) mod lock;
pub(crate) mod once;
pub(crate) mod ownership;
pub(crate) mod register;
pub(crate) mod set;
pub(crate) mod stream;
pub(crate) mod watch;

use std::{future::Future, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use allocation::Allocations;
use append::Appends;
use backup::Backups;
use bench::Bench;
use connection::Connections;
use lock::Locks;
use once::Once;
use ownership::Ownership;
use register::Registers;
use set::Sets;
use watch::Watching;

/// A workload of one run.
pub(crate) trait Load: Send {
    /// Starts its clients, which end when they are told to stop and have finished what they began.
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken);

    /// What it does when everything is healed and every coordinator takes writes: last reads. What
    /// is not done in time is found missing by the check.
    fn settle(&mut self, patience: Patience) -> Settling<'_>;
}

/// A workload doing what it does last.
pub(crate) type Settling<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// How long there is to settle.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    until: Instant,
    stop: CancellationToken,
}

impl Patience {
    /// Until a time, unless told to stop before.
    pub(crate) const fn new(until: Instant, stop: CancellationToken) -> Self {
        Self { until, stop }
    }

    /// Whether there is time left.
    pub(crate) fn is_left(&self) -> bool {
        Instant::now() < self.until && !self.stop.is_cancelled()
    }
}

/// A workload, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// Reads, writes and compare-and-swaps on registers.
    Register,
    /// Adds to sets and reads of whole sets.
    Set,
    /// Transactions over lists.
    Append,
    /// Change streams under writes.
    Watch,
    /// Sessions and locks.
    Lock,
    /// Requests that are sent more than once.
    Once,
    /// Workers and the partitions that they own.
    Ownership,
    /// Connections between partitions that move.
    Connection,
    /// Tenants that contend for a pool.
    Allocation,
    /// Backups and what is made from them.
    Backup,
}

impl Workload {
    /// All workloads.
    pub(crate) const ALL: [Self; 10] = [
        Self::Register,
        Self::Set,
        Self::Append,
        Self::Watch,
        Self::Lock,
        Self::Once,
        Self::Ownership,
        Self::Connection,
        Self::Allocation,
        Self::Backup,
    ];

    /// As the command line names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Set => "set",
            Self::Append => "append",
            Self::Watch => "watch",
            Self::Lock => "lock",
            Self::Once => "once",
            Self::Ownership => "ownership",
            Self::Connection => "connection",
            Self::Allocation => "allocation",
            Self::Backup => "backup",
        }
    }

    /// The clients of a run.
    pub(crate) fn load(self, registers: &Arc<Registers>, bench: &Arc<Bench>) -> Box<dyn Load> {
        match self {
            Self::Register => Box::new(registers.clone()),
            Self::Set => Box::new(Sets::new(bench.clone())),
            Self::Append => Box::new(Appends::new(bench.clone())),
            Self::Watch => Box::new(Watching::new(bench.clone())),
            Self::Lock => Box::new(Locks::new(bench.clone())),
            Self::Once => Box::new(Once::new(bench.clone())),
            Self::Ownership => Box::new(Ownership::new(bench.clone())),
            Self::Connection => Box::new(Connections::new(bench.clone())),
            Self::Allocation => Box::new(Allocations::new(registers.clone(), bench.clone())),
            Self::Backup => Box::new(Backups::new(bench.clone())),
        }
    }

    /// Operations a second that any machine reaches while nothing is wrong with the cluster.
    pub(crate) const fn rate_expected(self) -> u64 {
        match self {
            // Most of the time is spent waiting for the end of sessions.
            Self::Lock | Self::Ownership | Self::Connection | Self::Allocation => 20,
            _ => 100,
        }
    }

    /// What it does, in a line.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Register => {
                "reads (linearizable), writes and compare-and-swaps (transactions) on registers"
            }
            Self::Set => "adds of unique elements, reads of whole sets",
            Self::Append => "transactions of several steps that append to lists and read them",
            Self::Watch => "change streams that start anywhere, are slow, resume elsewhere",
            Self::Lock => {
                "sessions and locks; holders that stand still or are gone; fenced effects"
            }
            Self::Once => "requests sent again and again, by the client library and by hand",
            Self::Allocation => "tenants that come and go, what they are granted of a pool",
            Self::Connection => "networks that change and partitions that move, their connections",
            Self::Ownership => "workers that come and go, the partitions that they own",
            Self::Backup => "backups during writes, each restored and read",
        }
    }
}
