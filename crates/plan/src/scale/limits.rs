//! From what a rule says to what is wanted now: bounds, down-stabilisation, up limit.
//!
//! Invariants: the bounds of the process hold whatever else does. Down-stabilisation only ever keeps
//! parallelism up, and not above what runs; the up limit only ever keeps it down, and not below.

use quorate_core::Parallelism;

use super::{
    decision::Limit,
    history::{Past, ProcessHistory, add_high, add_low, forget},
    policy::ScalePolicy,
};

/// A number of instances on its way through the limits.
#[derive(Debug)]
pub(super) struct Limited {
    pub(super) wanted: u32,
    pub(super) limits: Vec<Limit>,
}

impl Limited {
    pub(super) fn new(wanted: u32) -> Self {
        Self { wanted, limits: Vec::new() }
    }

    /// Within the bounds of the process.
    pub(super) fn bound(&mut self, bounds: Parallelism) {
        if self.wanted < bounds.min {
            self.set(bounds.min, Limit::Least { min: bounds.min });
        } else if self.wanted > bounds.max {
            self.set(bounds.max, Limit::Most { max: bounds.max });
        }
    }

    /// Remembers what is recommended now, and does not go below the highest that is remembered.
    pub(super) fn stabilise(
        &mut self,
        policy: &ScalePolicy,
        history: &mut ProcessHistory,
        now: Past,
    ) {
        let past = &mut history.recommended;
        forget(past, now.time_ms, policy.down_stabilisation_ms);
        if policy.down_stabilisation_ms == 0 {
            return;
        }
        add_high(past, Past { parallelism: self.wanted, ..now });
        let highest = past.first().map_or(self.wanted, |one| one.parallelism);
        let at = highest.min(now.parallelism);
        if self.wanted < at {
            let holds = past.iter().rfind(|one| one.parallelism >= at);
            let since_ms = holds.map_or(now.time_ms, |one| one.time_ms);
            let until_ms = since_ms.saturating_add(policy.down_stabilisation_ms);
            self.set(at, Limit::HeldByStabilisation { at, until_ms });
        }
    }

    /// Remembers what runs now, and does not grow faster than allowed.
    pub(super) fn slow_down(
        &mut self,
        policy: &ScalePolicy,
        history: &mut ProcessHistory,
        now: Past,
    ) {
        let past = &mut history.ran;
        let Some(up) = policy.up_limit else {
            past.clear();
            return;
        };
        forget(past, now.time_ms, up.period_ms);
        add_low(past, now);
        let lowest = past.first().map_or(now.parallelism, |one| one.parallelism);
        let to = up.most(lowest).max(now.parallelism);
        if self.wanted > to {
            self.set(to, Limit::UpLimit { to });
        }
    }

    fn set(&mut self, wanted: u32, limit: Limit) {
        self.wanted = wanted;
        if self.limits.last() != Some(&limit) {
            self.limits.push(limit);
        }
    }
}
