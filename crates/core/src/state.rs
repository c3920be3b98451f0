//! The whole replicated state, as a value.
//!
//! Owns reading, and the one way to put changes into force. Invariants: the records' sum is that
//! of the records, the settings and sessions are those of their records, the history ends at the
//! revision; [`State::check`] tests them with all the others.

use std::{ops::Bound, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    adjacency::Incoming,
    command::Origin,
    connection::{Connection, ConnectionStatus},
    event::{Change, Event},
    hash,
    held::Held,
    history::{self, History},
    id::{ClusterId, RestoreEpoch, Revision, SessionId, StateHash},
    key::{AllocationId, ConnectionId, Key, KeyRange, Kind, PartitionId},
    name::Name,
    pool::{Allocation, Pool},
    record::{Partition, Record, Session, Versioned, Worker},
    requests::Requests,
    setting::Settings,
    sums::InUse,
};

/// Which cluster a state belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Grows with every restore.
    pub restore_epoch: RestoreEpoch,
}

/// The whole replicated state. A clone is cheap and shares everything.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) identity: Identity,
    pub(crate) records: imbl::OrdMap<Key, Arc<Versioned<Record>>>,
    pub(crate) revision: Revision,
    pub(crate) time_ms: u64,
    pub(crate) history: History,
    pub(crate) settings: Arc<Settings>,
    /// The sum of the records' hashes, without those of internal kinds.
    pub(crate) sum: u64,
    /// What ends with each session. Follows from the records.
    pub(crate) sessions: imbl::OrdMap<SessionId, Held>,
    /// The connections that end at each partition. Follows from the records.
    pub(crate) incoming: Incoming,
    /// How many workers there are. Follows from the records.
    pub(crate) workers: usize,
    /// What is kept of sessions' requests: the records of internal kinds.
    pub(crate) requests: Requests,
    /// What is in use of pools and workers. Follows from the records.
    pub(crate) in_use: InUse,
}

impl State {
    /// An empty state at revision 0.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            records: imbl::OrdMap::new(),
            revision: Revision(0),
            time_ms: 0,
            history: History::starting_at(Revision(1)),
            settings: Arc::default(),
            sum: 0,
            sessions: imbl::OrdMap::new(),
            incoming: Incoming::new(),
            workers: 0,
            requests: Requests::default(),
            in_use: InUse::default(),
        }
    }

    /// Which cluster it belongs to.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The clock: the largest stamp of any command applied, milliseconds since 1970.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Hash of everything that replicas must agree on, kept incrementally.
    #[must_use]
    pub fn hash(&self) -> StateHash {
        let Identity { cluster_id, restore_epoch } = self.identity;
        StateHash(hash::fold(
            hash::domain("state"),
            [
                cluster_id.0,
                restore_epoch.0,
                self.revision.0,
                self.time_ms,
                self.count(),
                self.sum.wrapping_add(self.requests.sum()),
                self.history.oldest().0,
                self.history.sum(),
            ],
        ))
    }

    /// How many records there are, without those of internal kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many records there are, of all kinds.
    pub(crate) fn count(&self) -> u64 {
        (self.records.len() + self.requests.count()) as u64
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The sessions that are alive and were opened after this one, in that order. None: all.
    pub fn sessions_after(
        &self,
        after: Option<SessionId>,
    ) -> impl Iterator<Item = (SessionId, &Session)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.sessions.range((start, Bound::Unbounded)).map(|(id, _)| *id);
        ids.filter_map(|id| Some((id, self.session(id)?)))
    }

    /// A session that is alive.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        match &self.records.get(&Key::session(id))?.value {
            Record::Session(session) => Some(session),
            _ => None,
        }
    }

    /// Whether a session is alive.
    #[must_use]
    pub fn is_alive(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// How many workers there are, those that are down too.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// A worker.
    #[must_use]
    pub fn worker(&self, name: &Name) -> Option<&Arc<Worker>> {
        match &self.records.get(&Key::worker(name))?.value {
            Record::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    /// A partition.
    #[must_use]
    pub fn partition(&self, id: &PartitionId) -> Option<&Arc<Partition>> {
        match &self.records.get(&Key::partition(id))?.value {
            Record::Partition(partition) => Some(partition),
            _ => None,
        }
    }

    /// A connection.
    #[must_use]
    pub fn connection(&self, id: &ConnectionId) -> Option<&Arc<Connection>> {
        match &self.records.get(&Key::connection(id))?.value {
            Record::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    /// A pool.
    #[must_use]
    pub fn pool(&self, name: &Name) -> Option<&Arc<Pool>> {
        match &self.records.get(&Key::pool(name))?.value {
            Record::Pool(pool) => Some(pool),
            _ => None,
        }
    }

    /// How a connection is doing. None: an end has no owner, or there is no such connection.
    #[must_use]
    pub fn connection_status(&self, id: &ConnectionId) -> Option<&Arc<ConnectionStatus>> {
        match &self.records.get(&Key::connection_status(id))?.value {
            Record::ConnectionStatus(status) => Some(status),
            _ => None,
        }
    }

    /// An allocation.
    #[must_use]
    pub fn allocation(&self, id: &AllocationId) -> Option<&Arc<Allocation>> {
        match &self.records.get(&Key::allocation(id))?.value {
            Record::Allocation(allocation) => Some(allocation),
            _ => None,
        }
    }

    /// One record.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Versioned<Record>>> {
        self.records.get(key)
    }

    /// The records of a range, in key order.
    pub fn range<'a>(
        &'a self,
        range: &'a KeyRange,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Versioned<Record>>)> {
        self.records
            .range((range.start(), Bound::Unbounded))
            .take_while(|(key, _)| range.contains(key))
    }

    /// The records of a kind, in key order; none of an internal one.
    pub fn records_of(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Versioned<Record>>)> {
        let start = Key { kind, bytes: bytes::Bytes::new() };
        let range = self.records.range((Bound::Included(start), Bound::Unbounded));
        range.take_while(move |(key, _)| key.kind == kind)
    }

    /// All records, in key order, without those of internal kinds.
    pub fn records(&self) -> impl Iterator<Item = (&Key, &Arc<Versioned<Record>>)> {
        self.records.iter()
    }

    /// The records at or after a key, in key order, of all kinds, internal ones too.
    pub fn records_from(&self, start: &Key) -> impl Iterator<Item = (Key, Arc<Versioned<Record>>)> {
        let records = self.records.range::<_, Key>(start..);
        let records = records.map(|(key, record)| (key.clone(), Arc::clone(record)));
        records.chain(self.requests.records_from(start))
    }

    /// The changes that are still known.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Moves the clock, never back.
    pub(crate) fn advance_clock(&mut self, time_ms: u64) {
        self.time_ms = self.time_ms.max(time_ms);
    }

    /// Puts the changes of the next revision into force.
    pub(crate) fn commit(&mut self, changes: Vec<Change>, origin: Origin) -> Arc<Event> {
        let revision = self.revision.next();
        let mut event_hash = history::event_seed(revision, self.time_ms, &origin);
        for change in &changes {
            let before = hash::optional(&change.key, change.previous.as_deref());
            let after = hash::optional(&change.key, change.current.as_deref());
            event_hash = hash::fold(event_hash, [before, after]);
            self.sum = self.sum.wrapping_sub(before).wrapping_add(after);
            self.write(change);
        }
        self.revision = revision;
        let event = Arc::new(Event { revision, time_ms: self.time_ms, changes, origin });
        self.history.push(Arc::clone(&event), event_hash);
        event
    }

    /// Drops what need not be kept any more.
    pub(crate) fn trim_history(&mut self) {
        self.history.trim(self.time_ms, &self.settings);
    }

    /// Takes note of what follows from a record that comes or goes.
    pub(crate) fn index(&mut self, key: &Key, before: Option<&Record>, after: Option<&Record>) {
        self.hold(key, before, after);
        if key.kind == Kind::Connection {
            self.connect(key, before, after);
        }
        self.in_use.note(key, before, after);
        if key.kind == Kind::Worker {
            self.workers += usize::from(after.is_some());
            self.workers -= usize::from(before.is_some());
        }
    }

    /// Writes a record and what follows from it, but for the sum.
    pub(crate) fn write(&mut self, change: &Change) {
        let (before, after) = (change.previous.as_deref(), change.current.as_deref());
        self.index(&change.key, before.map(|old| &old.value), after.map(|new| &new.value));
        if let (Some(id), None) = (change.key.as_session(), &change.current) {
            self.requests.forget(id);
        }
        if change.key.kind == Kind::Setting {
            let record = change.current.as_deref().map(|versioned| &versioned.value);
            Arc::make_mut(&mut self.settings).set(&change.key.bytes, record);
        }
        match &change.current {
            Some(record) => self.records.insert(change.key.clone(), Arc::clone(record)),
            None => self.records.remove(&change.key),
        };
    }
}
