//! What becomes of a state that leaves its cluster: in a backup, and in the cluster that is
//! restored from it.
//!
//! Invariants: the revision is that of the state that was saved, and records keep theirs, so that
//! created and modified revisions stay true; nothing that was granted before a restore is in force
//! after it: every session has ended, with what ends with it, and nothing is known of the members
//! of the cluster that was. Epochs stay where they were: the next grant's is larger, since it has
//! the new restore epoch.

use std::sync::Arc;

use crate::{
    apply::end_all_sessions,
    event::Change,
    hash,
    history::History,
    key::Kind,
    record::Versioned,
    state::{Identity, State},
};

impl State {
    /// The same without the changes that led here: streams start after its revision.
    #[must_use]
    pub fn without_history(mut self) -> Self {
        self.history = History::starting_at(self.revision.next());
        self
    }

    /// What a cluster with this identity begins with when it is restored from this state: the same
    /// revision and the same records, but for what ends with sessions and for the members that
    /// were, and no history. The identity's restore epoch is larger than this state's.
    #[must_use]
    pub fn restored(mut self, identity: Identity) -> Self {
        let mut changes = end_all_sessions(&self);
        let members = self.records().filter(|(key, _)| key.kind == Kind::Member);
        changes.extend(
            members.map(|(key, record)| Change::new(key.clone(), None, Some(Arc::clone(record)))),
        );
        for change in changes {
            self.replace(in_place(change));
        }
        self.identity = identity;
        self.without_history()
    }

    /// Puts a change into force outside of the order of changes.
    fn replace(&mut self, change: Change) {
        let before = hash::optional(&change.key, change.previous.as_deref());
        let after = hash::optional(&change.key, change.current.as_deref());
        self.sum = self.sum.wrapping_sub(before).wrapping_add(after);
        self.write(&change);
    }
}

/// The change without a revision of its own: the record keeps those that it has.
fn in_place(mut change: Change) -> Change {
    if let (Some(previous), Some(current)) = (&change.previous, &change.current) {
        let value = current.value.clone();
        change.current = Some(Arc::new(Versioned { value, ..previous.as_ref().clone() }));
    }
    change
}
