//! What sessions are counted by.

use std::{fmt, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// A clock that never goes back and runs while the machine sleeps.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since some fixed point.
    fn now(&self) -> Duration;
}

/// The system's `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Duration {
        // Never before the boot, so never negative.
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
    }
}
