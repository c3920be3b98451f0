//! The vocabulary of the workload `backup`.
//!
//! Owns what is said of backups: when each was taken, and what a cluster that was made from it
//! holds. Must not know how that is found out.

use std::fmt;

use quorate_core::{RestoreEpoch, Revision};
use serde::{Deserialize, Serialize};

use super::{Event, stream::Held};

/// A backup is begun or complete.
pub(crate) type SaveEvent = Event<SaveCall, SaveAnswer>;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum SaveCall {
    /// A backup.
    Save {
        /// Its number.
        backup: u64,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum SaveAnswer {
    /// The whole backup came.
    Saved {
        /// How many bytes.
        bytes: u64,
    },
}

/// What became of a backup: a new cluster was made from it and asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// Its number.
    pub(crate) backup: u64,
    /// What was found; none: it failed.
    pub(crate) found: Option<Restoration>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// What a cluster made from a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restoration {
    /// The revision that an inspection of the backup tells.
    pub(crate) inspected: Revision,
    /// The revision at which the new cluster answers.
    pub(crate) revision: Revision,
    /// The restore epoch that an inspection of the backup tells.
    pub(crate) epoch_before: RestoreEpoch,
    /// The restore epoch of the new cluster.
    pub(crate) restore_epoch: RestoreEpoch,
    /// The records under the workload's prefix.
    pub(crate) records: Vec<Held>,
}

impl SaveCall {
    /// The number of the backup.
    pub(crate) const fn backup(self) -> u64 {
        let Self::Save { backup } = self;
        backup
    }
}

impl fmt::Display for SaveCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "save backup {}", self.backup())
    }
}

impl fmt::Display for SaveAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Saved { bytes } = self;
        write!(f, "saved, {bytes} bytes")
    }
}
