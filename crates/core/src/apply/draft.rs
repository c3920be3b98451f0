//! What a command would change: a layer over a state that nobody else sees.
//!
//! Invariants: the state below does not change; at most one change per key, with the record as it
//! was before the command; reads see what was written before them.

use std::{cmp::Ordering, collections::BTreeMap, iter, sync::Arc};

use crate::{
    event::Change,
    id::{Epoch, Revision, SessionId},
    key::{Key, KeyRange},
    record::{Partition, Record, Versioned},
    reply::KeyedRecord,
    setting::Settings,
    state::State,
};

/// Changes that are not yet in force.
pub(super) struct Draft<'a> {
    state: &'a State,
    revision: Revision,
    changes: Vec<Change>,
    /// Where in `changes` a key is.
    index: BTreeMap<Key, usize>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let revision = state.revision.next();
        Self { state, revision, changes: Vec::new(), index: BTreeMap::new() }
    }

    /// The state as it was before.
    pub(super) fn state(&self) -> &'a State {
        self.state
    }

    pub(super) fn settings(&self) -> &'a Settings {
        self.state.settings()
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.state.sessions().len()
    }

    /// How many workers there were before the command.
    pub(super) fn workers(&self) -> usize {
        self.state.workers()
    }

    /// The id of a session that this command opens.
    pub(super) fn session_id(&self) -> SessionId {
        SessionId { restore: self.state.identity().restore_epoch, revision: self.revision }
    }

    /// The epoch of what this command grants.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch { restore: self.state.identity().restore_epoch, revision: self.revision }
    }

    /// What ended with this session before the command.
    pub(super) fn bound_to(&self, session: SessionId) -> Vec<Key> {
        self.state.bound_to(session).into_iter().flatten().cloned().collect()
    }

    /// How many records ended with this session before the command, and what their end counts for.
    pub(super) fn held(&self, session: SessionId) -> (u64, u64) {
        let records = self.state.bound_to(session).map_or(0, imbl::OrdSet::len) as u64;
        (records, self.state.bytes_bound_to(session))
    }

    /// A partition as it was before the command.
    pub(super) fn before(&self, key: &Key) -> Option<&Partition> {
        match &self.state.get(key)?.value {
            Record::Partition(partition) => Some(partition),
            _ => None,
        }
    }

    /// One record, as it is now.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Versioned<Record>>> {
        match self.index.get(key) {
            Some(&at) => self.changes[at].current.as_ref(),
            None => self.state.get(key),
        }
    }

    /// The records of a range as they are now, in key order.
    pub(super) fn range<'b>(
        &'b self,
        range: &'b KeyRange,
    ) -> Box<dyn Iterator<Item = (&'b Key, &'b Arc<Versioned<Record>>)> + 'b> {
        match range {
            KeyRange::Single(key) => {
                Box::new(self.get(key).map(|record| (key, record)).into_iter())
            }
            _ if self.index.is_empty() => Box::new(self.state.range(range)),
            _ => Box::new(self.merged(range)),
        }
    }

    /// Writes a record; its revisions follow from the record before the command.
    pub(super) fn put(&mut self, key: &Key, value: Record) {
        self.write(key, |revision, previous| {
            let (created, version) =
                previous.map_or((revision, 1), |old| (old.created, old.version + 1));
            Some(Arc::new(Versioned { created, modified: revision, version, value }))
        });
    }

    /// Deletes a record, if there is one.
    pub(super) fn delete(&mut self, key: &Key) {
        self.write(key, |_, _| None);
    }

    /// Deletes the records of a range and returns them as they were.
    pub(super) fn delete_range(&mut self, range: &KeyRange) -> Vec<KeyedRecord> {
        let found = self.range(range);
        let found: Vec<KeyedRecord> =
            found.map(|(key, record)| (key.clone(), Arc::clone(record))).collect();
        for (key, _) in &found {
            self.delete(key);
        }
        found
    }

    /// The changes so far, also of keys that were absent and are absent again.
    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes, in the order in which their keys were first written. A key that was absent and
    /// is absent again did not change.
    pub(super) fn into_changes(mut self) -> Vec<Change> {
        self.changes.retain(|change| change.current.is_some() || change.previous.is_some());
        self.changes
    }

    fn write(
        &mut self,
        key: &Key,
        current: impl FnOnce(Revision, Option<&Versioned<Record>>) -> Option<Arc<Versioned<Record>>>,
    ) {
        if let Some(&at) = self.index.get(key) {
            let change = &mut self.changes[at];
            change.current = current(self.revision, change.previous.as_deref());
            return;
        }
        let previous = self.state.get(key).cloned();
        let current = current(self.revision, previous.as_deref());
        self.index.insert(key.clone(), self.changes.len());
        self.changes.push(Change::new(key.clone(), current, previous));
    }

    /// The state's records and the written ones, merged in key order; the written ones win.
    fn merged<'b>(
        &'b self,
        range: &'b KeyRange,
    ) -> impl Iterator<Item = (&'b Key, &'b Arc<Versioned<Record>>)> {
        let mut stored = self.state.range(range).peekable();
        let start = (range.start(), std::ops::Bound::Unbounded);
        let mut written =
            self.index.range(start).take_while(|(key, _)| range.contains(key)).peekable();
        let step = move || {
            let order = match (stored.peek(), written.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((stored, _)), Some((written, _))) => stored.cmp(written),
            };
            if order == Ordering::Less {
                return stored.next().map(|(key, record)| (key, Some(record)));
            }
            if order == Ordering::Equal {
                stored.next();
            }
            written.next().map(|(key, &at)| (key, self.changes[at].current.as_ref()))
        };
        iter::from_fn(step).filter_map(|(key, record)| record.map(|record| (key, record)))
    }
}
