//! Partitions rest for a while after they were moved, so that the next change of loads does not move them
//! on.
//!
//! A record says when it was changed in revisions, which are no time. So who carries out moves keeps this
//! beside the state, with its own clock; it may be lost with it: then partitions may move again sooner.
//!
//! Invariants: at most so many partitions rest as are allowed; of more, those do whose rest ends last.
//! Time that goes back makes no rest shorter or longer.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::PartitionId;

use super::view::ClusterView;

/// How long partitions rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CooldownPolicy {
    /// After a move, milliseconds. 0: not at all.
    pub rest_ms: u64,
    /// How many rest at most.
    pub partitions_max: usize,
}

impl Default for CooldownPolicy {
    /// Five minutes, for up to 100,000 partitions.
    fn default() -> Self {
        Self { rest_ms: 300_000, partitions_max: 100_000 }
    }
}

/// Which partitions rest, and until when. All times are of one clock of the caller, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cooldown {
    policy: CooldownPolicy,
    until: BTreeMap<PartitionId, u64>,
    /// The same by time.
    ends: BTreeSet<(u64, PartitionId)>,
}

impl Cooldown {
    /// Nobody rests.
    #[must_use]
    pub fn new(policy: CooldownPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A partition was moved now: it rests from here.
    pub fn moved(&mut self, partition: &PartitionId, now_ms: u64) {
        self.prune(now_ms);
        let before = self.until.get(partition).copied().unwrap_or(0);
        let until = now_ms.saturating_add(self.policy.rest_ms).max(before);
        if until <= now_ms {
            return;
        }
        self.ends.remove(&(before, partition.clone()));
        self.ends.insert((until, partition.clone()));
        self.until.insert(partition.clone(), until);
        while self.ends.len() > self.policy.partitions_max {
            let Some((_, first)) = self.ends.pop_first() else { return };
            self.until.remove(&first);
        }
    }

    /// Whether a partition rests.
    #[must_use]
    pub fn rests(&self, partition: &PartitionId, now_ms: u64) -> bool {
        self.until.get(partition).is_some_and(|until| now_ms < *until)
    }

    /// Forgets those whose rest is over.
    pub fn prune(&mut self, now_ms: u64) {
        while let Some((until, _)) = self.ends.first()
            && *until <= now_ms
        {
            if let Some((_, partition)) = self.ends.pop_first() {
                self.until.remove(&partition);
            }
        }
    }

    /// How many are kept in mind.
    #[must_use]
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }
}

impl ClusterView {
    /// With those partitions at rest that are cooling down, beside those that rest anyway.
    #[must_use]
    pub fn with_rests(mut self, cooldown: &Cooldown, now_ms: u64) -> Self {
        for partition in &mut self.partitions {
            partition.rests |= cooldown.rests(&partition.id, now_ms);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::Name;

    use super::*;

    fn id(index: u32) -> PartitionId {
        PartitionId { network: Name::new("n").unwrap(), index }
    }

    fn resting(cooldown: &Cooldown, now_ms: u64) -> Vec<u32> {
        (0..10).filter(|index| cooldown.rests(&id(*index), now_ms)).collect()
    }

    #[test]
    fn who_was_moved_rests_for_a_while() {
        let mut cooldown = Cooldown::new(CooldownPolicy { rest_ms: 10, partitions_max: 9 });
        assert!(cooldown.is_empty());
        cooldown.moved(&id(1), 100);
        cooldown.moved(&id(2), 105);
        assert_eq!(resting(&cooldown, 100), [1, 2]);
        assert_eq!(resting(&cooldown, 109), [1, 2]);
        assert_eq!(resting(&cooldown, 110), [2]);
        cooldown.moved(&id(2), 112);
        assert_eq!(resting(&cooldown, 121), [2]);
        assert_eq!(cooldown.len(), 1, "what is over is forgotten");
        cooldown.prune(122);
        assert_eq!((resting(&cooldown, 122), cooldown.len()), (vec![], 0));
    }

    #[test]
    fn time_that_goes_back_changes_no_rest() {
        let mut cooldown = Cooldown::new(CooldownPolicy { rest_ms: 10, partitions_max: 9 });
        cooldown.moved(&id(1), 100);
        cooldown.moved(&id(1), 50);
        cooldown.prune(0);
        assert_eq!(resting(&cooldown, 109), [1]);
        cooldown.moved(&id(1), u64::MAX);
        cooldown.moved(&id(2), u64::MAX - 1);
        assert!(cooldown.rests(&id(2), u64::MAX - 1));
    }

    #[test]
    fn no_more_are_kept_than_allowed() {
        let mut cooldown = Cooldown::new(CooldownPolicy { rest_ms: 1_000, partitions_max: 3 });
        for index in 0..10 {
            cooldown.moved(&id(index), u64::from(index));
            assert!(cooldown.len() <= 3);
            assert_eq!(cooldown.ends.len(), cooldown.len());
        }
        assert_eq!(resting(&cooldown, 10), [7, 8, 9]);
        let mut never = Cooldown::new(CooldownPolicy { rest_ms: 0, partitions_max: 3 });
        never.moved(&id(1), 5);
        assert!(never.is_empty());
        let mut none = Cooldown::new(CooldownPolicy { rest_ms: 5, partitions_max: 0 });
        none.moved(&id(1), 5);
        assert!(none.is_empty() && none.ends.is_empty());
    }
}
