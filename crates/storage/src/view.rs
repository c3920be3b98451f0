//! The newest applied state, published for readers.
//!
//! Invariant: views are published in log order; a reader that was told of an index finds a view
//! at least as new.

use std::{collections::VecDeque, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use quorate_core::{LogIndex, Revision, State, StateHash, Term};
use tokio::sync::watch;

use crate::raft_types::StoredMembership;

/// A state with its position in the log. Held as long as one likes: it never blocks apply.
#[derive(Debug, Clone)]
pub struct View {
    /// The state.
    pub state: State,
    /// The last log entry applied; index 0: none.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// The membership as of that entry.
    pub membership: StoredMembership,
    /// Counts snapshot installs on this coordinator: a change means that the state was replaced,
    /// not reached by applying, and that changes between the two were never seen here.
    pub installs: u64,
}

/// What a state was after a log entry: equal on all coordinators after the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The log entry.
    pub index: LogIndex,
    /// The state's revision.
    pub revision: Revision,
    /// Its hash.
    pub hash: StateHash,
}

impl Mark {
    /// A mark is kept after every so many log entries, the same ones everywhere: coordinators that
    /// are never seen at the same index have some in common.
    pub const EVERY: u64 = 1_024;
    /// So many are kept.
    pub const KEPT: usize = 16;

    /// What this state is.
    #[must_use]
    pub fn of(index: LogIndex, state: &State) -> Self {
        Self { index, revision: state.revision(), hash: state.hash() }
    }
}

/// Where the newest view is found. A clone of the `Arc` is the handle.
#[derive(Debug)]
pub struct Published {
    view: ArcSwap<View>,
    applied: watch::Sender<LogIndex>,
    marks: Mutex<VecDeque<Mark>>,
}

impl Published {
    /// Starts with a view.
    #[must_use]
    pub fn new(view: View) -> Self {
        let applied = watch::Sender::new(view.index);
        Self { view: ArcSwap::from_pointee(view), applied, marks: Mutex::default() }
    }

    /// The newest view.
    #[must_use]
    pub fn load(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Tells of the index of every newest view, newest only.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<LogIndex> {
        self.applied.subscribe()
    }

    /// Publishes a newer view.
    pub fn publish(&self, view: View) {
        let index = view.index;
        self.view.store(Arc::new(view));
        self.applied.send_replace(index);
    }

    /// Keeps what the state is after this entry, when it is one of those after which that is kept.
    pub fn mark(&self, index: LogIndex, state: &State) {
        if index.get() == 0 || !index.get().is_multiple_of(Mark::EVERY) {
            return;
        }
        let mut marks = self.marks.lock();
        if marks.len() == Mark::KEPT {
            marks.pop_front();
        }
        marks.push_back(Mark::of(index, state));
    }

    /// The state was replaced: what it was before is not what it became of.
    pub fn forget_marks(&self) {
        self.marks.lock().clear();
    }

    /// What the state was, as far as that is kept, and what it is now.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        let view = self.load();
        let mut marks: Vec<Mark> = self.marks.lock().iter().copied().collect();
        marks.push(Mark::of(view.index, &view.state));
        marks
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{ClusterId, Identity, RestoreEpoch};

    use super::*;
    use crate::raft_types::StoredMembership;

    #[test]
    fn marks_are_kept_of_the_same_entries_everywhere() {
        let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) };
        let state = State::new(identity);
        let view = |index| View {
            state: state.clone(),
            index: LogIndex(index),
            term: Term(1),
            membership: StoredMembership::default(),
            installs: 0,
        };
        let published = Published::new(view(0));
        let last = 20 * Mark::EVERY + 5;
        (1..=last).for_each(|index| published.mark(LogIndex(index), &state));
        published.publish(view(last));
        let indexes: Vec<u64> = published.marks().iter().map(|mark| mark.index.get()).collect();
        let kept = (5..=20).map(|number| number * Mark::EVERY);
        assert_eq!(indexes, kept.chain([last]).collect::<Vec<_>>());
        assert!(published.marks().iter().all(|mark| mark.hash == state.hash()));
        published.forget_marks();
        assert_eq!(published.marks().len(), 1);
    }
}
