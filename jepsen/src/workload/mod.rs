//! What clients do to the cluster.
//!
//! Owns the workloads by name. Must not know faults or checks.

pub(crate) mod client;
pub(crate) mod register;

use serde::{Deserialize, Serialize};

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

    /// What it does, in a line.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Register => {
                "reads (linearizable), writes and compare-and-swaps (transactions) on registers"
            }
        }
    }
}
