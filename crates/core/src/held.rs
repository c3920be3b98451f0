//! What a session holds: the records that end with it, and what their end counts for.
//!
//! All of it ends at one revision, which no command limit stops: what is held is bounded instead,
//! whenever something is added (`session_records_max`, `session_record_bytes_max`).
//!
//! A partition counts with the status of each of its connections, whether it has one now or not and
//! however long it is: a grant or a report then takes room of no session but its own, and a
//! connection with both ends in one session counts twice.
//!
//! Invariant: follows from the records, and is kept with every change of them.

use crate::{
    command::Grant,
    id::SessionId,
    key::{Key, PartitionId},
    record::Record,
    size,
    state::State,
};

/// What ends with one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// The keys of the records.
    pub(crate) keys: imbl::OrdSet<Key>,
    /// What the changes that end them count for.
    pub(crate) bytes: u64,
}

impl Held {
    fn add(&mut self, key: &Key, bytes: u64) {
        if self.keys.insert(key.clone()).is_none() {
            self.bytes += bytes;
        }
    }

    fn remove(&mut self, key: &Key, bytes: u64) {
        if self.keys.remove(key).is_some() {
            self.bytes -= bytes;
        }
    }
}

impl State {
    /// The sessions that are alive, in the order in which they were opened, with the keys of what
    /// ends with each: entries, workers, ownerships, allocations.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, &imbl::OrdSet<Key>)> {
        self.sessions.iter().map(|(id, held)| (*id, &held.keys))
    }

    /// The keys of what ends with a session; None: there is no such session.
    #[must_use]
    pub fn bound_to(&self, session: SessionId) -> Option<&imbl::OrdSet<Key>> {
        self.sessions.get(&session).map(|held| &held.keys)
    }

    /// What the end of all that a session holds counts for, against `session_record_bytes_max`.
    #[must_use]
    pub fn bytes_bound_to(&self, session: SessionId) -> u64 {
        self.sessions.get(&session).map_or(0, |held| held.bytes)
    }

    /// What a grant would add to that of its owner's session. 0: there is no such partition.
    #[must_use]
    pub fn bytes_of_grant(&self, grant: &Grant) -> u64 {
        let (key, owner) = (Key::partition(&grant.partition), &grant.owner.worker);
        let known = self.partition(&grant.partition);
        known.map_or(0, |known| {
            size::ending_of_partition(&key, known, owner)
                + self.bytes_of_connections(&grant.partition)
        })
    }

    /// What the end of what is bound to a session counts for; a partition with its connections as
    /// they are in this state.
    pub(crate) fn bytes_of_ending(&self, key: &Key, record: &Record) -> u64 {
        let connections = key.as_partition().map_or(0, |id| self.bytes_of_connections(&id));
        size::ending(key, record) + connections
    }

    /// Takes note of what begins or ends with a session when a record comes or goes.
    pub(crate) fn hold(&mut self, key: &Key, before: Option<&Record>, after: Option<&Record>) {
        if let Some(id) = key.as_session() {
            match after {
                Some(_) => _ = self.sessions.entry(id).or_default(),
                None => _ = self.sessions.remove(&id),
            }
        }
        // A session that ends takes its whole set with it, before or after what is in it.
        if let Some((record, id)) = bound(before)
            && self.sessions.contains_key(&id)
        {
            let bytes = self.bytes_of_ending(key, record);
            self.sessions.entry(id).or_default().remove(key, bytes);
        }
        if let Some((record, id)) = bound(after) {
            let bytes = self.bytes_of_ending(key, record);
            self.sessions.entry(id).or_default().add(key, bytes);
        }
    }

    /// Takes note of a connection that comes to a partition, or goes.
    pub(crate) fn hold_connection(&mut self, end: &PartitionId, comes: bool) {
        let owner = self.partition(end).and_then(|partition| partition.owner.as_ref());
        let Some(session) = owner.map(|owner| owner.session) else { return };
        let Some(held) = self.sessions.get_mut(&session) else { return };
        let bytes = size::ending_of_connection(&end.network);
        if comes {
            held.bytes += bytes;
        } else {
            held.bytes -= bytes;
        }
    }
}

fn bound(record: Option<&Record>) -> Option<(&Record, SessionId)> {
    record.and_then(|record| Some((record, record.session()?)))
}
