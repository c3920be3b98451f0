//! How many instances of a process there should be, as a value.

use crate::{key::PartitionId, name::Name};

/// What was decided about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessScaling {
    /// Its partition.
    pub partition: PartitionId,
    /// The process.
    pub process: Name,
    /// How many instances run.
    pub parallelism: u32,
    /// How many there are to be.
    pub wanted: u32,
    /// Why, in words.
    pub why: String,
    /// The resource of which the owner's worker has too little for as many as the load asks for.
    pub lacking: Option<Name>,
}
