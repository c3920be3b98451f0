//! A wall clock that follows the runtime's time, and that a test can set wrong.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use quorate_node::clock::Clock;
use tokio::time::Instant;

/// The time of day at the start of every simulation.
const ORIGIN_MS: i64 = 1_700_000_000_000;

/// One member's wall clock. A clone is the same clock.
#[derive(Debug, Clone)]
pub struct SimClock {
    started: Instant,
    skew_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// A clock that is right.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), skew_ms: Arc::default() }
    }

    /// From now on the clock is wrong by so many milliseconds; negative: behind.
    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now =
            ORIGIN_MS.saturating_add(elapsed).saturating_add(self.skew_ms.load(Ordering::Relaxed));
        u64::try_from(now).unwrap_or(0)
    }
}
