//! A state in pieces, for whoever stores or sends it, and back.
//!
//! Invariant: [`Builder::finish`] gives a state only if it is the one that was taken apart: counts,
//! revisions, hash and invariants are checked. Must not know how pieces are stored or sent.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};

use crate::{
    event::Event,
    hash,
    history::{self, History},
    id::{Revision, StateHash},
    key::{Key, Kind},
    record::{Record, Versioned},
    state::{Identity, State},
};

/// What a checkpoint says of its state, ahead of records and events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Which cluster it belongs to.
    pub identity: Identity,
    /// The revision of the last change.
    pub revision: Revision,
    /// The clock.
    pub time_ms: u64,
    /// How many records there are.
    pub records: u64,
    /// How many events the history has.
    pub events: u64,
    /// The oldest revision from which a stream can start.
    pub oldest: Revision,
    /// The state's hash.
    pub hash: StateHash,
}

/// The pieces do not make the state that the summary describes.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint does not match its summary: {0}")]
pub struct Mismatch(pub String);

/// Puts a state together from its pieces: records and events, in any mixture.
#[derive(Debug)]
pub struct Builder {
    summary: Summary,
    state: State,
    last: Option<Key>,
}

impl Builder {
    /// Starts with the summary.
    #[must_use]
    pub fn new(summary: Summary) -> Self {
        let mut state = State::new(summary.identity);
        state.revision = summary.revision;
        state.time_ms = summary.time_ms;
        state.history = History::starting_at(summary.oldest);
        Self { summary, state, last: None }
    }

    /// Adds a record. Records come in key order.
    ///
    /// # Errors
    /// [`Mismatch`] when the order is broken or there are too many.
    pub fn record(&mut self, key: Key, record: Arc<Versioned<Record>>) -> Result<(), Mismatch> {
        if let Some(last) = self.last.as_ref().filter(|last| **last >= key) {
            return Err(Mismatch(format!("record {key} comes after {last}")));
        }
        if self.state.count() >= self.summary.records {
            return Err(Mismatch(format!("more than {} records", self.summary.records)));
        }
        if key.kind.is_internal() {
            let restored = self.state.requests.restore(&key, &record);
            restored.map_err(|why| Mismatch(format!("record {key}: {why}")))?;
            self.last = Some(key);
            return Ok(());
        }
        self.state.sum = self.state.sum.wrapping_add(hash::record(&key, &record));
        self.state.index(&key, None, Some(&record.value));
        if key.kind == Kind::Setting {
            Arc::make_mut(&mut self.state.settings).set(&key.bytes, Some(&record.value));
        }
        self.state.records.insert(key.clone(), record);
        self.last = Some(key);
        Ok(())
    }

    /// Adds an event of the history. Events come in order.
    ///
    /// # Errors
    /// [`Mismatch`] when the order is broken or there are too many.
    pub fn event(&mut self, event: Arc<Event>) -> Result<(), Mismatch> {
        let events = self.state.history.len() as u64;
        if events >= self.summary.events {
            return Err(Mismatch(format!("more than {} events", self.summary.events)));
        }
        if self.summary.oldest.0.checked_add(events) != Some(event.revision.0) {
            let (revision, oldest) = (event.revision, self.summary.oldest);
            let place = format!("event {revision} comes as number {events} from {oldest}");
            return Err(Mismatch(place));
        }
        let hash = history::event_hash(&event);
        self.state.history.push(event, hash);
        Ok(())
    }

    /// Checks everything and gives the state.
    ///
    /// # Errors
    /// [`Mismatch`] when it is not the state that the summary describes.
    pub fn finish(self) -> Result<State, Mismatch> {
        let found = self.state.summary();
        if found != self.summary {
            return Err(Mismatch(format!("found {found:?} instead of {:?}", self.summary)));
        }
        match self.state.check() {
            Ok(()) => Ok(self.state),
            Err(violations) => {
                let rules: Vec<_> = violations.iter().take(3).map(ToString::to_string).collect();
                Err(Mismatch(format!("broken rules: {}", rules.join("; "))))
            }
        }
    }
}

impl State {
    /// Describes this state.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            identity: self.identity,
            revision: self.revision,
            time_ms: self.time_ms,
            records: self.count(),
            events: self.history.len() as u64,
            oldest: self.history.oldest(),
            hash: self.hash(),
        }
    }

    /// The keys whose records differ between `older` and this state, in key order. Costs what
    /// differs, not what there is, when one state came from the other.
    #[must_use]
    pub fn changed_since(&self, older: &State) -> Vec<Key> {
        let key = |item| match item {
            DiffItem::Add(key, _) | DiffItem::Update { new: (key, _), .. } => Key::clone(key),
            DiffItem::Remove(key, _) => Key::clone(key),
        };
        let mut keys: Vec<_> = older.records.diff(&self.records).map(key).collect();
        keys.append(&mut self.requests.changed_since(&older.requests));
        keys
    }
}
