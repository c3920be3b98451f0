//! What a planner decided, as a value: nothing here acts.
//!
//! Invariants: moves are in an order in which each prefix of them can be carried out; a partition is
//! moved at most once. Must not know how a plan is made or carried out.

mod basis;
mod explanation;
mod network;
mod reshaping;
mod scaling;

use std::fmt;

pub use basis::{Basis, Occupancy, counts_on};
pub use explanation::{Alternative, Explanation, Verdict};
pub use network::{GranularityLimited, LaidOut, Layout, NetworkPlan, ProcessMove, ProcessReason};
pub use reshaping::{PartitionChange, Reshaping};
pub use scaling::ProcessScaling;

use crate::{key::PartitionId, name::Name};

/// Where partitions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it relies on.
    pub basis: Basis,
    /// How the workers stand before the first move.
    pub before: Standing,
    /// How they stand after the last one.
    pub after: Standing,
    /// The moves of one wave wait for nothing but the waves before it. Empty: nothing is to be done.
    pub waves: Vec<Vec<Move>>,
    /// The partitions that have no place, by id.
    pub rejected: Vec<Rejected>,
}

impl Plan {
    /// All moves, in order.
    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.waves.iter().flatten()
    }
}

/// One partition goes to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: PartitionId,
    /// The worker that has it. None: nobody has it.
    pub from: Option<Name>,
    /// The worker that is to have it.
    pub to: Name,
    /// Why.
    pub reason: MoveReason,
    /// By how much traffic between workers gets less, bytes per second times distance; negative: it
    /// gets more.
    pub gain: i64,
    /// What it costs to move: the partition's largest share of what all partitions need, parts per
    /// million. 0 when nobody has it.
    pub cost: i64,
    /// The partitions that must have left the worker first.
    pub waits_for: Vec<PartitionId>,
}

/// Why a partition is moved. In the order in which moves are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveReason {
    /// Nobody has it.
    Place,
    /// The worker that has it must give it away.
    Evacuate(Leaving),
    /// The worker that has it lacks a label that it requires.
    Label {
        /// The label: name=value.
        label: String,
    },
    /// The worker that has it has another of a group that must be on different workers.
    AntiAffinity {
        /// The group.
        group: Name,
    },
    /// The worker that has it gives less of a resource than its partitions need.
    Overload {
        /// The resource.
        resource: Name,
    },
    /// The worker that has it has more than its share, and this one less.
    Balance,
    /// What it exchanges with others is nearer there.
    Traffic,
}

/// Why a worker must give away what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It is being drained.
    Draining,
    /// It is down, or not known any more.
    Down,
}

impl fmt::Display for MoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place => f.write_str("nobody has it"),
            Self::Evacuate(Leaving::Draining) => f.write_str("its worker is being drained"),
            Self::Evacuate(Leaving::Down) => f.write_str("its worker is down"),
            Self::Label { label } => write!(f, "its worker is not {label}"),
            Self::AntiAffinity { group } => {
                write!(f, "its worker has another of the group {group}")
            }
            Self::Overload { resource } => write!(f, "its worker has too little {resource}"),
            Self::Balance => f.write_str("its worker has more than its share"),
            Self::Traffic => f.write_str("what it exchanges is nearer there"),
        }
    }
}

/// A partition that has no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The partition.
    pub partition: PartitionId,
    /// What keeps it from most workers, of those that take partitions.
    pub blocked: Blocked,
}

/// What keeps a partition from a worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// There is no worker that takes partitions.
    NoWorker,
    /// The worker takes no partitions: it joins, is drained or is down.
    NotActive,
    /// The worker lacks a label that the partition requires.
    Label {
        /// The label: name=value.
        label: String,
    },
    /// The worker has another partition of a group that must be on different workers.
    AntiAffinity {
        /// The group.
        group: Name,
        /// The partition that is there; of several, the first by id.
        partition: PartitionId,
    },
    /// The worker may have no more partitions.
    Full {
        /// How many it may have.
        partitions_max: u64,
    },
    /// The worker gives less of a resource than the partition needs beside the others.
    Capacity {
        /// The resource.
        resource: Name,
        /// How much more it would have to give.
        missing: u64,
    },
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorker => f.write_str("no worker takes partitions"),
            Self::NotActive => f.write_str("the worker takes no partitions"),
            Self::Label { label } => write!(f, "the worker is not {label}"),
            Self::AntiAffinity { group, partition } => {
                write!(f, "the worker has {partition} of the group {group}")
            }
            Self::Full { partitions_max } => {
                write!(f, "the worker has as many partitions as it may, {partitions_max}")
            }
            Self::Capacity { resource, missing } => write!(f, "{missing} {resource} are missing"),
        }
    }
}

/// How workers stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The workers that take partitions, by name.
    pub workers: Vec<WorkerStanding>,
    /// The standard deviation of their loads over the mean, parts per million.
    pub deviation_ppm: u64,
    /// Traffic between partitions on different workers, bytes per second times distance; saturates.
    pub traffic: u64,
}

/// How one worker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStanding {
    /// The worker.
    pub worker: Name,
    /// How many partitions it has.
    pub partitions: u32,
    /// The largest share that its partitions need of what it gives, parts per million.
    pub load_ppm: u64,
}
