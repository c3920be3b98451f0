//! What was told and found, for metrics.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use quorate_core::NoticeKind;

/// What this coordinator told and found. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct HealthSeen(Arc<Mutex<Told>>);

/// What this coordinator told since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Events that it told of while it led, by kind.
    pub events: BTreeMap<NoticeKind, u64>,
}

impl HealthSeen {
    /// What was told so far.
    #[must_use]
    pub fn told(&self) -> Told {
        self.0.lock().clone()
    }

    pub(super) fn event(&self, kind: NoticeKind) {
        *self.0.lock().events.entry(kind).or_default() += 1;
    }
}
