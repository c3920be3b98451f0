//! Whether a leader may decide about sessions now, or was itself asleep.
//!
//! A process that was paused finds all deadlines passed, while the keep-alives that came meanwhile
//! still wait to be read. It gives them time first. One that is always late decides all the same,
//! after each wait.

use std::time::Duration;

use tokio::time::Instant;

/// How often it is looked for sessions whose time is over.
pub(super) const EVERY: Duration = Duration::from_millis(50);
/// A look that comes later than this after it should have was held up.
const LATE: Duration = Duration::from_millis(50);
/// How long is waited after that: as long as it was held up, within these bounds.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Keeps the time between looks.
#[derive(Debug)]
pub(super) struct Pace {
    last: Instant,
    wait_until: Option<Instant>,
}

impl Pace {
    /// Begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, wait_until: None }
    }

    /// Notes a look. True when it may decide.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let late = now.saturating_duration_since(self.last).saturating_sub(EVERY);
        self.last = now;
        match self.wait_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.wait_until = None;
                true
            }
            None if late > LATE => {
                self.wait_until = Some(now + late.clamp(WAIT_MIN, WAIT_MAX));
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_look_in_time_decides() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..100 {
            now += EVERY + 20 * MS;
            assert!(pace.look(now));
        }
    }

    #[test]
    fn after_a_pause_it_waits_as_long_but_not_forever() {
        for (paused_ms, waits_ms) in [(150, 100), (400, 350), (60_000, 1_000)] {
            let mut now = Instant::now();
            let mut pace = Pace::new(now);
            now += paused_ms * MS;
            assert!(!pace.look(now));
            let resumed = now;
            while !pace.look(now) {
                now += 10 * MS;
            }
            assert_eq!(now - resumed, waits_ms * MS, "after {paused_ms} ms");
        }
    }

    #[test]
    fn one_that_is_always_late_decides_now_and_then() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let mut decided = 0;
        for _ in 0..100 {
            now += 300 * MS;
            decided += u32::from(pace.look(now));
        }
        assert_eq!(decided, 50);
    }
}
