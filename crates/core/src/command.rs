//! What can be asked of the state. Everything that changes it is a [`Command`].
//!
//! A command is data: logged, replicated, applied. Ids, times and random numbers that it needs
//! are in it. Checks of its own shape (sizes, names) happen in [`crate::apply()`], so that no
//! sender can get around them.

use serde::{Deserialize, Serialize};

use crate::{
    key::{Key, KeyRange},
    name::Name,
    record::{NetworkSpec, Record},
};

/// A change to the state. At most one revision each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Reads and writes of entries and settings, under preconditions on any records.
    Transaction(Transaction),
    /// Creates or replaces a network with its partitions and their connections.
    ApplyNetwork(ApplyNetwork),
    /// Deletes a network with its partitions and their connections.
    DeleteNetwork {
        /// The network.
        name: Name,
    },
}

/// If all preconditions hold, runs `success`, else `failure`; all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// All must hold. An empty list holds.
    pub preconditions: Vec<Precondition>,
    /// Run when they hold.
    pub success: Vec<Operation>,
    /// Run when they do not.
    pub failure: Vec<Operation>,
}

/// A condition on the records that a range names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// Which records.
    pub target: KeyRange,
    /// What must hold.
    pub test: Test,
}

/// What must hold of the records that a precondition names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// At least one exists.
    Exists,
    /// None exists.
    Absent,
    /// At least one exists, and every one was changed last at this revision.
    ModifiedAt(crate::id::Revision),
    /// At least one exists, and every one holds these bytes (entries, and settings as text).
    Value(bytes::Bytes),
}

/// One operation of a transaction. Sees the effects of those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Reads records in key order, at most `limit` (0: the limit in the settings).
    Get {
        /// Which records.
        range: KeyRange,
        /// At most so many.
        limit: u32,
    },
    /// Writes one record: an entry or a setting.
    Put {
        /// Where.
        key: Key,
        /// What; its kind is the key's.
        record: Record,
        /// Return the record as it was before.
        return_previous: bool,
    },
    /// Deletes records: entries or settings.
    Delete {
        /// Which records.
        range: KeyRange,
        /// Return the records as they were before.
        return_previous: bool,
    },
}

/// Creates or replaces a network. The plan (which process is in which partition) was made by the
/// sender; apply derives everything else from it: the partitions' demand and the connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyNetwork {
    /// The network.
    pub name: Name,
    /// What it should be. Apply brings it into canonical order.
    pub spec: NetworkSpec,
    /// The plan: for each process of the canonical (sorted by id) spec, its partition's number.
    /// Every number below `spec.policy.partitions` occurs.
    pub assignment: Vec<u32>,
    /// What the plan was based on: the `modified` of the network's record, or None when the
    /// network must not exist. Otherwise the command is rejected as a stale plan.
    pub basis: Option<crate::id::Revision>,
}

/// What one log entry holds: commands that were proposed together, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's wall clock when it proposed this, in milliseconds since 1970.
    pub time_ms: u64,
    /// The commands.
    pub commands: Vec<Command>,
}
