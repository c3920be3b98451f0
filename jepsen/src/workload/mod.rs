//! What clients do to the cluster.
//!
//! Owns the workloads by name, and what they have in common: clients that work until they are told
//! to stop, and what they do last, when everything is healed. Writes to registers that show that a
//! coordinator takes writes come with every workload. Must not know faults or checks.

pub(crate) mod bench;
pub(crate) mod client;
pub(crate) mod register;

use std::{future::Future, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use register::Registers;

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
}

impl Workload {
    /// All workloads.
    pub(crate) const ALL: [Self; 1] = [Self::Register];

    /// As the command line names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
        }
    }

    /// The clients of a run.
    pub(crate) fn load(self, registers: &Arc<Registers>) -> Box<dyn Load> {
        match self {
            Self::Register => Box::new(registers.clone()),
        }
    }

    /// What it does, in a line.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Register => {
                "reads (linearizable), writes and compare-and-swaps (transactions) on registers"
            }
        }
    }
}
