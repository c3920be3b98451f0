//! The newest applied state, published for readers.
//!
//! Invariant: views are published in log order; a reader that was told of an index finds a view
//! at least as new.

use std::sync::Arc;

use arc_swap::ArcSwap;
use quorate_core::{LogIndex, State, Term};
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

/// Where the newest view is found. A clone of the `Arc` is the handle.
#[derive(Debug)]
pub struct Published {
    view: ArcSwap<View>,
    applied: watch::Sender<LogIndex>,
}

impl Published {
    /// Starts with a view.
    #[must_use]
    pub fn new(view: View) -> Self {
        let applied = watch::Sender::new(view.index);
        Self { view: ArcSwap::from_pointee(view), applied }
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
}
