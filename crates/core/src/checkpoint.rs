//! A state in pieces, for whoever stores or sends it, and back.
//!
//! Invariant: [`Builder::finish`] gives a state only if it is the one that was taken apart: counts,
//! revisions, hash and invariants are checked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    event::Event,
    id::{Revision, StateHash},
    key::Key,
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

/// Puts a state together from its pieces.
#[derive(Debug)]
pub struct Builder {
    _summary: Summary,
}

impl Builder {
    /// Starts with the summary.
    #[must_use]
    pub fn new(summary: Summary) -> Self {
        Self { _summary: summary }
    }

    /// Adds a record. Records come in key order.
    ///
    /// # Errors
    /// [`Mismatch`] when the order is broken or there are too many.
    pub fn record(&mut self, _key: Key, _record: Arc<Versioned<Record>>) -> Result<(), Mismatch> {
        unimplemented!()
    }

    /// Adds an event of the history. Events come in order.
    ///
    /// # Errors
    /// [`Mismatch`] when the order is broken or there are too many.
    pub fn event(&mut self, _event: Arc<Event>) -> Result<(), Mismatch> {
        unimplemented!()
    }

    /// Checks everything and gives the state.
    ///
    /// # Errors
    /// [`Mismatch`] when it is not the state that the summary describes.
    pub fn finish(self) -> Result<State, Mismatch> {
        unimplemented!()
    }
}

impl State {
    /// Describes this state.
    #[must_use]
    pub fn summary(&self) -> Summary {
        unimplemented!()
    }

    /// The keys whose records differ between `older` and this state, in key order. Costs what
    /// differs, not what there is, when one state came from the other.
    #[must_use]
    pub fn changed_since(&self, _older: &State) -> Vec<Key> {
        unimplemented!()
    }
}
