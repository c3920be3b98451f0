//! The vocabulary of the workload `ownership`.
//!
//! Owns what the change stream says of partitions, what workers believed, with times on the
//! machine's boot clock, and writes that are guarded by a partition's epoch. Must not know how
//! workers work.

use std::fmt;

use quorate_core::Revision;
use serde::{Deserialize, Serialize};

use super::{Event, Value};

/// A guarded write begins or ends.
pub(crate) type GuardedEvent = Event<GuardedCall, GuardedAnswer>;

/// What a worker, a former one or an onlooker asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum GuardedCall {
    /// To write a value if the partition is owned in this epoch.
    Guarded {
        /// The partition.
        partition: String,
        /// The epoch.
        epoch: String,
        /// The value.
        value: Value,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum GuardedAnswer {
    /// It was written.
    Written,
}

/// A partition as of a revision, as a change stream told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// The revision.
    pub(crate) revision: Revision,
    /// The partition.
    pub(crate) partition: String,
    /// Worker and session, and the epoch; none: nobody owns it.
    pub(crate) owner: Option<(String, String)>,
}

/// When a worker believed that it may act, milliseconds on the boot clock. Written down when it
/// stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerClaim {
    /// The worker's name and its session.
    pub(crate) worker: String,
    /// The partition.
    pub(crate) partition: String,
    /// The epoch.
    pub(crate) epoch: String,
    /// When it began to act.
    pub(crate) from_ms: u64,
    /// When it last found that it may act.
    pub(crate) until_ms: u64,
}

/// Something about ownership besides guarded writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub(crate) enum OwnershipEvent {
    /// A partition changed.
    Grant(Grant),
    /// Everything up to a revision was told.
    Told {
        /// The revision.
        revision: Revision,
    },
    /// A worker has stopped to act.
    Claim(WorkerClaim),
    /// A worker is registered.
    Registered {
        /// Its name.
        worker: String,
        /// Its session.
        session: String,
    },
    /// A worker is struck: paused, killed, asked to leave.
    Struck {
        /// Its name.
        worker: String,
        /// How.
        how: String,
    },
    /// A registration was refused because a session that lives has the name.
    NameTaken {
        /// The name.
        worker: String,
    },
}

impl GuardedCall {
    /// The partition, the epoch and the value.
    pub(crate) fn parts(&self) -> (&str, &str, Value) {
        let Self::Guarded { partition, epoch, value } = self;
        (partition, epoch, *value)
    }
}

impl fmt::Display for GuardedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, epoch, value) = self.parts();
        write!(f, "write {value} guarded by {partition} in epoch {epoch}")
    }
}

impl fmt::Display for GuardedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("written")
    }
}
