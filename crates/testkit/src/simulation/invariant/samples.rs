//! Stories made by hand, for the tests of invariants.

use std::sync::Arc;

use bytes::Bytes;
use quorate_node::core::{
    Change, Epoch, Event, Filter, Key, MemberId, Owner, Partition, PartitionId, PartitionState,
    PlacedProcess, Record, Resources, Revision, Session, SessionId, Versioned,
};

use crate::simulation::story::{
    Applied, Asked, At, CallStory, End, HolderStory, StreamStory, Told,
};

pub(super) fn done(revision: u64) -> End {
    End::Done { revision: Revision(revision), seen: None, swapped: true }
}

pub(super) fn saw(revision: u64, value: &'static str) -> End {
    End::Done { revision: Revision(revision), seen: Some(value.into()), swapped: true }
}

fn call(began: u64, ended: u64, asked: Asked, end: End) -> CallStory {
    let (began, ended) = (At::from_secs(began), At::from_secs(ended));
    CallStory { client: 1, member: MemberId(1), began, ended, asked, end }
}

pub(super) fn read(began: u64, ended: u64, key: &str, end: End) -> CallStory {
    call(began, ended, Asked::Read { key: Key::entry(key.to_owned()) }, end)
}

/// Writes a value to the key that is its first letter.
pub(super) fn write(began: u64, ended: u64, value: &'static str, end: End) -> CallStory {
    let (key, value) = (Key::entry(&value[..1]), value.into());
    call(began, ended, Asked::Write { key, value }, end)
}

pub(super) fn swap(
    began: u64,
    ended: u64,
    value: &'static str,
    expected: &'static str,
    end: End,
) -> CallStory {
    let (key, value, expected) = (Key::entry(&value[..1]), value.into(), expected.into());
    call(began, ended, Asked::Swap { key, expected, value }, end)
}

pub(super) fn once(request: u64, end: End) -> CallStory {
    let (key, value) = (Key::entry(format!("once/{request}")), Bytes::from(request.to_string()));
    call(1, 2, Asked::Once { request, key, value }, end)
}

/// A write under the guard of the partition `net/0`, in the epoch that the revision of a grant makes.
pub(super) fn guarded(value: &'static str, epoch: u64, end: End) -> CallStory {
    let (partition, key) = (PartitionId::parse("net/0").unwrap(), Key::entry("g"));
    let epoch = Epoch { revision: Revision(epoch), ..Epoch::default() };
    call(1, 2, Asked::Guarded { partition, epoch, key, value: value.into() }, end)
}

fn applied(revision: u64, at: u64, change: Change) -> (Revision, Applied) {
    let revision = Revision(revision);
    let changes = vec![change];
    let event = Event { revision, time_ms: 0, changes, origin: Default::default() };
    (revision, Applied { event: Arc::new(event), at: At::from_secs(at) })
}

fn versioned(revision: u64, value: Record) -> Arc<Versioned<Record>> {
    let revision = Revision(revision);
    Arc::new(Versioned { created: revision, modified: revision, version: 1, value })
}

/// A revision that gave a key a value.
pub(super) fn event(revision: u64, key: &str, value: &str) -> (Revision, Applied) {
    let record = Record::Entry(value.to_owned().into());
    let change = Change::new(Key::entry(key.to_owned()), Some(versioned(revision, record)), None);
    applied(revision, revision, change)
}

pub(super) fn session(revision: u64) -> SessionId {
    SessionId { restore: Default::default(), revision: Revision(revision) }
}

/// Something that happened to a session or a partition.
#[derive(Clone)]
pub(super) struct Happened {
    revision: u64,
    at: u64,
    change: Change,
}

/// A session's end, seen so many seconds after the beginning.
pub(super) fn ended(revision: u64, id: SessionId, at: u64) -> Happened {
    let before = Record::Session(Session { ttl_ms: 1, label: "".into() });
    let change = Change::new(Key::session(id), None, Some(versioned(1, before)));
    Happened { revision, at, change }
}

/// A grant of the partition `net/0`.
pub(super) fn granted(revision: u64, session: SessionId, epoch: u64, at: u64) -> Happened {
    runs(revision, "net/0", &[], session, epoch, at)
}

/// A partition with an owner has these processes.
pub(super) fn runs(
    revision: u64,
    id: &str,
    processes: &[&str],
    session: SessionId,
    epoch: u64,
    at: u64,
) -> Happened {
    let name = |id: &&str| quorate_node::core::Name::new(id).unwrap();
    let processes = processes.iter().map(|id| PlacedProcess { id: name(id), parallelism: 1 });
    let worker = quorate_node::core::Name::new("w").unwrap();
    let partition = Partition {
        processes: processes.collect(),
        demand: Resources::default(),
        load_ppm: 0,
        owner: Some(Owner { worker, session }),
        epoch: Some(Epoch { revision: Revision(epoch), ..Epoch::default() }),
        state: PartitionState::Assigned,
        target: None,
        requires: Default::default(),
        apart: Default::default(),
    };
    let id = PartitionId::parse(id).unwrap();
    let record = Record::Partition(Arc::new(partition));
    let change = Change::new(Key::partition(&id), Some(versioned(revision, record)), None);
    Happened { revision, at, change }
}

/// A story with one session, on which its holder may rely so many seconds.
pub(super) fn told_sessions(id: SessionId, valid_until: u64, happened: &[Happened]) -> Told {
    let valid_until = At::from_secs(valid_until);
    let holder = HolderStory { valid_until, ..HolderStory::default() };
    let events = happened.iter().map(|it| applied(it.revision, it.at, it.change.clone()));
    Told { holders: [(id, holder)].into(), events: events.collect(), ..Told::default() }
}

pub(super) fn stream(after: Option<u64>) -> StreamStory {
    let after = after.map(Revision);
    StreamStory { filter: Filter::default(), after, told: vec![], resumed: 0 }
}
