//! Why a partition is where it is, as a value.

use super::Blocked;
use crate::{key::PartitionId, name::Name};

/// Where a partition is, and where else it could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The partition.
    pub partition: PartitionId,
    /// The worker that has it, or gets it next. None: nobody.
    pub worker: Option<Name>,
    /// The worker that still runs it, and was asked to give it up. None: it is not on its way.
    pub leaving: Option<Name>,
    /// What its traffic costs where it is, bytes per second times distance.
    pub traffic: i64,
    /// The load of its worker, parts per million.
    pub load_ppm: u64,
    /// The load that every worker should have, parts per million.
    pub fair_ppm: u64,
    /// All other workers: those that could have it, the best first; then the others, by name.
    pub others: Vec<Alternative>,
}

/// A worker that a partition is not on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The worker.
    pub worker: Name,
    /// What speaks against it, or for it.
    pub verdict: Verdict,
}

/// What it would mean for a partition to be on another worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It cannot be there; the first rule that is in the way.
    Blocked(Blocked),
    /// It could be there.
    Possible {
        /// By how much its traffic would cost more; negative: less.
        traffic: i64,
        /// The load that worker would have, parts per million.
        load_ppm: u64,
        /// By how much that is beyond what a worker should have at most, parts per million.
        over_ppm: u64,
    },
}
