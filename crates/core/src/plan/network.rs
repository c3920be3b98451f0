//! What applying a network would do, as a value.

use std::fmt;

use super::Plan;
use crate::{key::PartitionId, name::Name, reply::ApplyOutcome, resources::Resources};

/// What applying a network would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Whether the network is new, changes, or stays as it is.
    pub outcome: ApplyOutcome,
    /// The partitions as they are. Empty: the network is new.
    pub before: Layout,
    /// The partitions as they would be.
    pub after: Layout,
    /// The processes that would be in another partition than now, by id.
    pub moves: Vec<ProcessMove>,
    /// Where the partitions would go that then need a worker.
    pub placement: Plan,
}

/// A network in partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// By number.
    pub partitions: Vec<LaidOut>,
    /// The standard deviation over the mean of their loads, each in proportion to its share, parts per
    /// million.
    pub deviation_ppm: u64,
    /// What keeps it from being less. None: it is small, or processes are.
    pub limited: Option<GranularityLimited>,
}

/// Loads are not even, and a single process is large for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GranularityLimited {
    /// The process that needs most.
    pub process: Name,
    /// What it needs of what a partition has on average, parts per million.
    pub share_ppm: u64,
}

/// One partition of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaidOut {
    /// The partition.
    pub id: PartitionId,
    /// Its processes, by id.
    pub processes: Vec<Name>,
    /// What they need together.
    pub demand: Resources,
    /// Their largest share of what the network needs, parts per million.
    pub load_ppm: u64,
}

/// A process changes its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessMove {
    /// The process.
    pub process: Name,
    /// The partition that it is in. None: it is new.
    pub from: Option<PartitionId>,
    /// The partition that it would be in.
    pub to: PartitionId,
    /// Why.
    pub reason: ProcessReason,
    /// By how much less of its traffic would cross partitions, bytes per second; negative: more.
    pub gain: i64,
    /// Its largest share of what the network needs, parts per million; 0 when it is new.
    pub cost: i64,
}

/// Why a process changes its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessReason {
    /// It is new.
    New,
    /// Its partition is not there any more.
    PartitionGone,
    /// It exchanges more with that partition.
    Traffic,
    /// Loads, or the other moves.
    Balance,
}

impl fmt::Display for ProcessReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "it is new",
            Self::PartitionGone => "its partition goes",
            Self::Traffic => "it exchanges more there",
            Self::Balance => "its partition has more than its share",
        })
    }
}
