//! What is done every so often, where how often is a setting.

use std::time::Duration;

use quorate_core::Settings;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::coordinator::Coordinator;

/// How often the setting is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When something was done last.
pub(crate) struct Periodic {
    interval_ms: fn(&Settings) -> u64,
    last: Instant,
}

impl Periodic {
    /// Done for the first time after one interval.
    pub(crate) fn new(interval_ms: fn(&Settings) -> u64) -> Self {
        Self { interval_ms, last: Instant::now() }
    }

    /// Waits for the next time. None: told to stop.
    pub(crate) async fn next(
        &mut self,
        coordinator: &Coordinator,
        stop: &CancellationToken,
    ) -> Option<()> {
        loop {
            let interval = (self.interval_ms)(coordinator.view().state.settings());
            let due = self.last + Duration::from_millis(interval);
            if Instant::now() >= due {
                self.last = Instant::now();
                return Some(());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = sleep_until(due.min(Instant::now() + LOOK_EVERY)) => {}
            }
        }
    }
}
