//! What a scaler must remember between two rounds, as a value that its caller keeps.
//!
//! Invariants: only what can still matter is kept. Recommendations are in order of time and each is
//! lower than the one before, because a later one that is as high outlives and hides it: the first
//! is the highest. What ran is the same the other way round. So a history of one process has at most
//! as many entries as there are different numbers of instances.

use std::collections::BTreeMap;

use quorate_core::Name;

/// What was recommended and what ran, in all processes of a network. Begins empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScaleHistory {
    /// When it was last added to.
    pub(super) time_ms: u64,
    pub(super) of_process: BTreeMap<Name, ProcessHistory>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ProcessHistory {
    /// The highest recommendations of the time of down-stabilisation.
    pub(super) recommended: Vec<Past>,
    /// The lowest parallelism of the up limit's period.
    pub(super) ran: Vec<Past>,
}

/// A number of instances at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) time_ms: u64,
    pub(super) parallelism: u32,
}

impl ScaleHistory {
    /// Of a process that is seen for the first time, that it ran as it does now counts as a recommendation.
    pub(super) fn of(&self, process: &Name, now: Past) -> ProcessHistory {
        let first = || ProcessHistory { recommended: vec![now], ran: Vec::new() };
        self.of_process.get(process).cloned().unwrap_or_else(first)
    }
}

/// Adds to a list whose first entry is its highest.
pub(super) fn add_high(past: &mut Vec<Past>, now: Past) {
    let stays = past.partition_point(|one| one.parallelism > now.parallelism);
    past.truncate(stays);
    past.push(now);
}

/// Adds to a list whose first entry is its lowest.
pub(super) fn add_low(past: &mut Vec<Past>, now: Past) {
    let stays = past.partition_point(|one| one.parallelism < now.parallelism);
    past.truncate(stays);
    past.push(now);
}

/// Drops what is `span_ms` old or older.
pub(super) fn forget(past: &mut Vec<Past>, now_ms: u64, span_ms: u64) {
    let old = past.partition_point(|one| now_ms.saturating_sub(one.time_ms) >= span_ms);
    past.drain(..old);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_still_matter_is_kept() {
        let (mut high, mut low) = (Vec::new(), Vec::new());
        for time_ms in 0..1_000 {
            // 1, 2, 3, 1, 2, 3, ...
            let parallelism = u32::try_from(time_ms % 3 + 1).unwrap();
            add_high(&mut high, Past { time_ms, parallelism });
            add_low(&mut low, Past { time_ms, parallelism });
        }
        let entries = |past: &[Past]| -> Vec<_> {
            past.iter().map(|one| (one.time_ms, one.parallelism)).collect()
        };
        assert_eq!(entries(&high), [(998, 3), (999, 1)]);
        assert_eq!(entries(&low), [(999, 1)]);
        forget(&mut high, 1_000, 2);
        assert_eq!(entries(&high), [(999, 1)]);
        forget(&mut high, 1_000, 0);
        assert_eq!(entries(&high), []);
        for time_ms in 0..9 {
            add_high(&mut high, Past { time_ms, parallelism: 5 });
        }
        assert_eq!(entries(&high), [(8, 5)], "as high, and later");
    }
}
