//! The vocabulary of change streams: what was asked for and every message that came.
//!
//! Owns the form in which they are written down. A stream here is one connection to a coordinator,
//! or one stream of the client library over all the connections that it takes. Must not know why
//! anybody follows.

use quorate_core::{MemberId, Revision};
use serde::{Deserialize, Serialize};

use super::Seen;

/// Numbers the streams of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StreamId(pub(crate) u64);

/// Something happens to a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamEvent {
    /// The stream.
    pub(crate) stream: StreamId,
    /// What happens.
    #[serde(flatten)]
    pub(crate) told: Told,
}

/// What happens to a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub(crate) enum Told {
    /// It is asked for.
    Asked(Asked),
    /// The coordinator has accepted it.
    Opened,
    /// A message came.
    Message {
        /// Its steps.
        steps: Vec<StreamStep>,
        /// Where the stream stands after it; none: the message does not say.
        resume: Option<Revision>,
    },
    /// It ended, not by the subscriber's will.
    Ended {
        /// The reason that the error names.
        reason: Option<String>,
        /// The oldest revision that is kept, if the error names it.
        oldest: Option<Revision>,
        /// The error, for people.
        error: String,
    },
    /// The subscriber left.
    Left,
}

/// What a subscriber asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// The coordinator; none: the client library chooses, again and again.
    pub(crate) node: Option<MemberId>,
    /// Where to start.
    pub(crate) start: StreamStart,
    /// Only keys that begin like this.
    pub(crate) prefix: String,
    /// Whether changes come with the record before them.
    pub(crate) with_previous: bool,
    /// Whether lost history is answered by a new snapshot.
    pub(crate) resync: bool,
}

/// Where a stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StreamStart {
    /// After the cluster's revision at the time.
    Now,
    /// With this revision.
    From(Revision),
    /// After this revision, by the token of another stream.
    After(Revision),
    /// With the records as of some revision.
    Snapshot,
}

/// One step of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum StreamStep {
    /// The changes of a revision.
    Changes {
        /// The revision.
        revision: Revision,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Records as of a revision.
    Snapshot {
        /// The revision.
        revision: Revision,
        /// Some of the records.
        records: Vec<Held>,
    },
    /// That were all records.
    SnapshotEnd {
        /// The revision.
        revision: Revision,
    },
    /// Everything up to a revision was told.
    Progress {
        /// The revision.
        revision: Revision,
    },
    /// History was lost; a snapshot follows.
    Resync {
        /// The revision of the snapshot.
        revision: Revision,
    },
}

/// A changed record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Its key.
    pub(crate) key: String,
    /// The record after the change; none: deleted.
    pub(crate) current: Option<Seen>,
    /// Whether it is said to be new.
    pub(crate) created: bool,
    /// The record before the change; none: there was none, or it was not asked for.
    pub(crate) previous: Option<Seen>,
}

/// A record with its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Its key.
    pub(crate) key: String,
    /// What it holds.
    pub(crate) seen: Seen,
}

impl StreamStart {
    /// The first revision that it asks for, if it names one.
    pub(crate) const fn first(self) -> Option<Revision> {
        match self {
            Self::From(revision) => Some(revision),
            Self::After(revision) => Some(revision.next()),
            Self::Now | Self::Snapshot => None,
        }
    }
}
