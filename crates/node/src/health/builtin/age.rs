//! For how long a record has been as it is.
//!
//! The history says when a revision was, as far back as it goes; so a new leader knows it too. Of
//! what is older, a check remembers when it saw it first.

use std::collections::BTreeMap;

use quorate_core::{Key, Revision, Versioned};

use crate::health::check::HealthContext;

/// What was seen when, by one check.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// Of records older than the history: since which revision they are as they are, and when that
    /// was seen first.
    first: BTreeMap<Key, (Revision, u64)>,
    seen: BTreeMap<Key, (Revision, u64)>,
}

impl Ages {
    /// For how long a record has been as it is, at least, milliseconds.
    pub(super) fn of<T>(
        &mut self,
        context: &HealthContext,
        key: &Key,
        record: &Versioned<T>,
    ) -> u64 {
        let (state, now_ms) = (context.state(), context.now_ms());
        let since_ms = match state.history().get(record.modified) {
            Some(event) => event.time_ms,
            None => {
                let known = self.first.get(key).filter(|(at, _)| *at == record.modified);
                let first_ms = known.map_or(now_ms, |(_, first_ms)| *first_ms);
                self.seen.insert(key.clone(), (record.modified, first_ms));
                // It is older than all that is kept.
                let oldest = state.history().get(state.history().oldest());
                oldest.map_or(first_ms, |event| event.time_ms.min(first_ms))
            }
        };
        now_ms.saturating_sub(since_ms)
    }

    /// Forgets what this run did not look at.
    pub(super) fn end_of_run(&mut self) {
        self.first = std::mem::take(&mut self.seen);
    }
}
