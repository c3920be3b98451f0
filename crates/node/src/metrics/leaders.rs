//! Changes of leader, as this coordinator sees them.

use prometheus::{IntCounter, Registry};
use tokio_util::sync::CancellationToken;

use super::register;
use crate::coordinator::Coordinator;

/// Counters of leadership.
#[derive(Debug, Clone)]
pub struct LeaderMetrics {
    /// Leaders that came, the first one included.
    pub changes: IntCounter,
    /// Leaders that were lost before another was known.
    pub lost: IntCounter,
}

impl LeaderMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        Self {
            changes: counter(
                "quorate_leader_changes_total",
                "Leaders that this coordinator has come to know, the first one included.",
            ),
            lost: counter(
                "quorate_leader_lost_total",
                "Times that this coordinator knew of no leader any more.",
            ),
        }
    }

    /// Counts until `shutdown`.
    pub async fn follow(self, coordinator: Coordinator, shutdown: CancellationToken) {
        let mut known = None;
        loop {
            let next = tokio::select! {
                biased;
                next = coordinator.next_leader(known) => next,
                () = shutdown.cancelled() => return,
            };
            match next {
                Some(Some(_)) => self.changes.inc(),
                Some(None) => self.lost.inc(),
                None => return,
            }
            known = next.flatten();
        }
    }
}
