//! What a person wants to hear of a revision: a worker was lost, a partition has an owner again.
//!
//! ```text
//! changes of one revision (record before, record after) --> notices, in the order of the changes
//! ```
//!
//! Owns the list of what is told, with stable names, and how it follows from the changes. Not every
//! change is told: entries, loads, pools and connections speak for themselves on a change stream.
//!
//! Invariant: notices follow from the changes of one revision alone, so that whoever reads it, now
//! or later, from wherever, hears the same. Must not know how they are shown or counted.

mod partition;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::{
    command::Origin,
    event::{Change, Event},
    id::{Revision, SessionId},
    key::{Key, Kind},
    name::Name,
    record::{Record, WorkerState},
};

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// What a notice tells. The texts are an interface: never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NoticeKind {
            $($(#[$doc])+ $name,)+
        }

        impl NoticeKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

kinds! {
    /// A worker registered, or came back after it was down.
    WorkerJoined = "worker_joined",
    /// A worker left as it should.
    WorkerLeft = "worker_left",
    /// The session of a worker ended without its leaving.
    WorkerLost = "worker_lost",
    /// A worker gives its partitions away.
    WorkerDraining = "worker_draining",
    /// A worker takes partitions again.
    WorkerActive = "worker_active",
    /// A partition was granted: for the first time, or to the worker that it was moved to.
    PartitionAssigned = "partition_assigned",
    /// The owner of a partition was asked to release it.
    PartitionAskedBack = "partition_asked_back",
    /// The owner of a partition keeps it, although it was asked to release it.
    PartitionKept = "partition_kept",
    /// The owner of a partition gave it up.
    PartitionReleased = "partition_released",
    /// A partition has no owner, because its owner was lost.
    PartitionFailed = "partition_failed",
    /// A partition that had none has an owner again.
    PartitionRecovered = "partition_recovered",
    /// A network was created.
    NetworkCreated = "network_created",
    /// A network was changed.
    NetworkChanged = "network_changed",
    /// A network was deleted.
    NetworkDeleted = "network_deleted",
    /// A session ended.
    SessionEnded = "session_ended",
    /// A setting was changed.
    SettingChanged = "setting_changed",
    /// Maintenance began.
    MaintenanceOn = "maintenance_on",
    /// Maintenance ended.
    MaintenanceOff = "maintenance_off",
    /// A coordinator was added.
    MemberAdded = "member_added",
    /// A coordinator was removed.
    MemberRemoved = "member_removed",
    /// An alert was raised, or matters more or less than before.
    AlertRaised = "alert_raised",
    /// An alert was cleared.
    AlertCleared = "alert_cleared",
}

impl NoticeKind {
    /// The kind of that name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

/// Something that a person wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When: the revision.
    pub revision: Revision,
    /// When: the leader's clock, milliseconds since 1970.
    pub time_ms: u64,
    /// What.
    pub kind: NoticeKind,
    /// About what: a name or an id.
    pub subject: String,
    /// In words.
    pub text: String,
    /// Who made the change, and why.
    pub origin: Origin,
    /// The network that it is about, if it is about one.
    pub network: Option<Name>,
    /// The worker that it is about, if it is about one.
    pub worker: Option<Name>,
}

/// One changed record, borrowed from wherever it came.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The key.
    pub key: &'a Key,
    /// The record before; None: absent.
    pub previous: Option<&'a Record>,
    /// The record after; None: deleted.
    pub current: Option<&'a Record>,
}

impl<'a> From<&'a Change> for Seen<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            key: &change.key,
            previous: change.previous.as_deref().map(|record| &record.value),
            current: change.current.as_deref().map(|record| &record.value),
        }
    }
}

/// What there is to hear of an event.
#[must_use]
pub fn of_event(event: &Event) -> Vec<Notice> {
    let changes = event.changes.iter().map(Seen::from);
    of_changes((event.revision, event.time_ms), &event.origin, changes)
}

/// What there is to hear of the changes of one revision, made at a time (milliseconds since 1970).
/// All changes of workers, partitions and sessions must be among them.
pub fn of_changes<'a>(
    at: (Revision, u64),
    origin: &Origin,
    changes: impl Iterator<Item = Seen<'a>> + Clone,
) -> Vec<Notice> {
    let context = Context::of(changes.clone());
    let (revision, time_ms) = at;
    let told = changes.filter_map(|seen| of_change(seen, &context));
    told.map(|Told { kind, subject, text, network, worker }| {
        let origin = origin.clone();
        Notice { revision, time_ms, kind, subject, text, origin, network, worker }
    })
    .collect()
}

/// A notice, before it is known when and by whom.
struct Told {
    kind: NoticeKind,
    subject: String,
    text: String,
    network: Option<Name>,
    worker: Option<Name>,
}

/// What a single change does not tell.
#[derive(Default)]
struct Context {
    /// Sessions that ended.
    ended: BTreeSet<SessionId>,
}

impl Context {
    fn of<'a>(changes: impl Iterator<Item = Seen<'a>>) -> Self {
        let mut ended = BTreeSet::new();
        for Seen { key, previous, current } in changes {
            match (previous, current) {
                (Some(Record::Worker(before)), Some(Record::Worker(after)))
                    if after.state == WorkerState::Down =>
                {
                    ended.extend(before.session);
                }
                (Some(Record::Session(_)), None) => ended.extend(key.as_session()),
                _ => {}
            }
        }
        Self { ended }
    }
}

fn of_change(seen: Seen<'_>, context: &Context) -> Option<Told> {
    let Seen { key, previous, current } = seen;
    let subject = || String::from_utf8_lossy(&key.bytes).into_owned();
    match key.kind {
        Kind::Worker => record::worker(subject(), previous, current),
        Kind::Partition => partition::partition(subject(), previous, current, context),
        Kind::Network => record::network(subject(), previous, current),
        Kind::Session => record::session(subject(), previous, current),
        Kind::Setting => record::setting(subject(), previous, current),
        Kind::Member => record::member(subject(), previous, current),
        Kind::Alert => record::alert(subject(), previous, current),
        Kind::Entry
        | Kind::Pool
        | Kind::Allocation
        | Kind::Connection
        | Kind::ConnectionStatus
        | Kind::Load
        | Kind::Window
        | Kind::Reply => None,
    }
}
