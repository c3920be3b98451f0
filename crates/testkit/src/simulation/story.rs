//! What everybody saw, in the simulation's time: the material that invariants are checked on.
//!
//! Invariant: what is written here is what a caller, a holder or a subscriber really saw, when it
//! saw it; nobody looks into a coordinator for it but the observer, which only copies what each
//! coordinator applied. Must not judge.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use quorate_node::{
    core::{
        Epoch, Event, Filter, Key, LogIndex, MemberId, PartitionId, Revision, SessionId, StateHash,
        Term,
    },
    proto::convert::WatchEvent,
};
use tokio::time::Instant;

/// Time since the simulation began.
pub(crate) type At = Duration;

/// The story of one simulation. A clone is the same story.
#[derive(Clone)]
pub(crate) struct Story {
    began: Instant,
    told: Arc<Mutex<Told>>,
}

/// What was told so far.
#[derive(Default)]
pub(crate) struct Told {
    /// Calls that ended, in the order of their ends.
    pub(crate) calls: Vec<CallStory>,
    /// What was applied, by revision.
    pub(crate) events: BTreeMap<Revision, Applied>,
    /// The state after each log entry that somebody was seen at.
    pub(crate) states: BTreeMap<LogIndex, (StateHash, MemberId)>,
    /// Who led in each term.
    pub(crate) leaders: BTreeMap<Term, MemberId>,
    /// What two coordinators told differently.
    pub(crate) disagreements: Vec<String>,
    /// Sessions and what their holders relied on.
    pub(crate) holders: BTreeMap<SessionId, HolderStory>,
    /// When a holder let go of a grant.
    pub(crate) releases: BTreeMap<(PartitionId, Epoch), At>,
    /// Change streams, one for each subscriber.
    pub(crate) streams: Vec<StreamStory>,
}

/// A revision, and when the first coordinator had applied it.
pub(crate) struct Applied {
    pub(crate) event: Arc<Event>,
    pub(crate) at: At,
}

/// A call and its end.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "who called whom is for people to read")]
pub(crate) struct CallStory {
    pub(crate) client: u64,
    pub(crate) member: MemberId,
    pub(crate) began: At,
    pub(crate) ended: At,
    pub(crate) asked: Asked,
    pub(crate) end: End,
}

/// What was asked for. Values are written once each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The value of a key.
    Read { key: Key },
    /// A key to have a value.
    Write { key: Key, value: Bytes },
    /// A key to have a value, if it has the expected one.
    Swap { key: Key, expected: Bytes, value: Bytes },
    /// A key to have a value, at most once however often it is sent. The number tells the request
    /// from others, whoever sends it again.
    Once { request: u64, key: Key, value: Bytes },
    /// A key to have a value, if the partition is owned in this epoch.
    Guarded { partition: PartitionId, epoch: Epoch, key: Key, value: Bytes },
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With an answer as of a revision. `seen`: what a read saw. `swapped`: whether the condition
    /// of a swap held.
    Done { revision: Revision, seen: Option<Bytes>, swapped: bool },
    /// It was not applied and never will be.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What the holder of a session relied on: until when the session lives, as of each answer.
#[derive(Debug, Default)]
pub(crate) struct HolderStory {
    /// The last time until which it is valid.
    pub(crate) valid_until: At,
    /// When the holder sent its last keep-alive.
    pub(crate) last_sent: At,
    /// How long it lives.
    pub(crate) ttl: Duration,
}

/// What a subscriber was told.
pub(crate) struct StreamStory {
    pub(crate) filter: Filter,
    /// Everything after it was asked for. None: from now, or from a snapshot.
    pub(crate) after: Option<Revision>,
    pub(crate) told: Vec<WatchEvent>,
    /// How often it went on at another coordinator.
    pub(crate) resumed: u64,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), told: Arc::default() }
    }

    /// The time since the beginning.
    pub(crate) fn now(&self) -> At {
        self.began.elapsed()
    }

    /// To be held for a moment only.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock()
    }

    /// Notes a call that ended now.
    pub(crate) fn call(&self, client: u64, member: MemberId, began: At, asked: Asked, end: End) {
        let ended = self.now();
        self.told().calls.push(CallStory { client, member, began, ended, asked, end });
    }
}

impl Asked {
    pub(crate) const fn key(&self) -> &Key {
        match self {
            Self::Read { key }
            | Self::Write { key, .. }
            | Self::Swap { key, .. }
            | Self::Once { key, .. }
            | Self::Guarded { key, .. } => key,
        }
    }

    /// What it writes, if it is applied.
    pub(crate) const fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Read { .. } => None,
            Self::Write { value, .. }
            | Self::Swap { value, .. }
            | Self::Once { value, .. }
            | Self::Guarded { value, .. } => Some(value),
        }
    }
}

/// The value of an entry.
pub(crate) fn entry(record: &quorate_node::core::Record) -> Option<Bytes> {
    match record {
        quorate_node::core::Record::Entry(entry) => Some(entry.value.clone()),
        _ => None,
    }
}
