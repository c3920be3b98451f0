//! The whole replicated state, as a value.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    history::History,
    id::{ClusterId, RestoreEpoch, Revision, StateHash},
    key::{Key, KeyRange},
    record::{Record, Versioned},
    setting::Settings,
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
}

impl State {
    /// An empty state at revision 0.
    #[must_use]
    pub fn new(_identity: Identity) -> Self {
        unimplemented!()
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
        unimplemented!()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
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
            .range((range.start(), std::ops::Bound::Unbounded))
            .take_while(|(key, _)| range.contains(key))
    }

    /// All records, in key order.
    pub fn records(&self) -> impl Iterator<Item = (&Key, &Arc<Versioned<Record>>)> {
        self.records.iter()
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
}
