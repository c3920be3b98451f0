//! What was told and found, for metrics.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_core::{Name, NoticeKind};

/// What this coordinator told and found. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct HealthSeen(Arc<Mutex<Told>>);

/// What this coordinator told and found since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Events that it told of while it led, by kind.
    pub events: BTreeMap<NoticeKind, u64>,
    /// Its checks, by name.
    pub checks: BTreeMap<Name, CheckSeen>,
    /// Alerts that were not raised, because as many as the settings allow were.
    pub dropped: u64,
    /// What the webhook did.
    pub webhook: WebhookSeen,
}

/// How posting alerts went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookSeen {
    /// Posts that were taken.
    pub sent: u64,
    /// Posts that were given up.
    pub failed: u64,
    /// Posts that were not tried, because too many waited.
    pub dropped: u64,
}

/// How a check went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckSeen {
    /// Runs that found nothing.
    pub passed: u64,
    /// Runs that found something.
    pub found: u64,
    /// Runs without an answer: they failed, or took too long.
    pub failed: u64,
    /// How long the last run took.
    pub took: Duration,
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

    /// There is such a check, though it did not run yet.
    pub(super) fn known(&self, name: Name) {
        self.0.lock().checks.entry(name).or_default();
    }

    /// A check ran and found so many; None: it did not answer.
    pub(super) fn checked(&self, name: &Name, found: Option<usize>, took: Duration) {
        let mut told = self.0.lock();
        let check = told.checks.entry(name.clone()).or_default();
        check.took = took;
        match found {
            Some(0) => check.passed += 1,
            Some(_) => check.found += 1,
            None => check.failed += 1,
        }
    }

    pub(super) fn dropped(&self, count: usize) {
        self.0.lock().dropped += u64::try_from(count).unwrap_or(u64::MAX);
    }

    pub(super) fn webhook(&self, count: impl FnOnce(&mut WebhookSeen)) {
        count(&mut self.0.lock().webhook);
    }
}
