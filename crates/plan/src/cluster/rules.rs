//! What keeps a partition from a worker.
//!
//! Invariant: what a rule is called is worked out only for those who ask for it; to know that one is in
//! the way costs as much as the partition has labels, groups and resources.

use quorate_core::plan::Blocked;

use super::usage::Usage;

/// A rule that is in the way, in numbers. In the order of [`Blocked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule<'a> {
    NotActive,
    Label(&'a str, &'a str),
    AntiAffinity { group: u32, partition: u32 },
    Full(u64),
    Capacity { resource: usize, missing: u128 },
}

impl Rule<'_> {
    /// Whether both are the same, but for how much is missing.
    pub(super) fn is_like(&self, other: &Rule<'_>) -> bool {
        match (self, other) {
            (Rule::Capacity { resource: a, .. }, Rule::Capacity { resource: b, .. }) => a == b,
            (Rule::AntiAffinity { group: a, .. }, Rule::AntiAffinity { group: b, .. }) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl<'a> Usage<'a> {
    /// What keeps a partition from a worker that it is not on: the first of the rules.
    pub(super) fn rule(&self, partition: u32, worker: u32) -> Option<Rule<'a>> {
        if let Some(rule) = self.rule_beside_amounts(partition, worker) {
            return Some(rule);
        }
        let view = self.view;
        let needs = view.needs(partition).iter().zip(self.used(worker)).zip(view.capacity(worker));
        for (resource, ((need, used), capacity)) in needs.enumerate() {
            let sum = used + u128::from(*need);
            if *need > 0 && sum > *capacity {
                return Some(Rule::Capacity { resource, missing: sum - capacity });
            }
        }
        None
    }

    /// The same, but for what is needed and how much of that there is.
    pub(super) fn rule_beside_amounts(&self, partition: u32, worker: u32) -> Option<Rule<'a>> {
        let view = self.view;
        if !view.takes(worker) {
            return Some(Rule::NotActive);
        }
        if let Some((name, value)) = view.lacks(partition, worker) {
            return Some(Rule::Label(name, value));
        }
        if let Some((group, partition)) = self.shared(partition, worker) {
            return Some(Rule::AntiAffinity { group, partition });
        }
        let partitions_max = view.workers[worker as usize].partitions_max;
        let full = self.members(worker).len() as u64 >= partitions_max;
        full.then_some(Rule::Full(partitions_max))
    }

    /// Whether a worker that a partition is not on can take it, and its record.
    pub(super) fn fits(&self, partition: u32, worker: u32) -> bool {
        self.rule(partition, worker).is_none()
            && self.bytes(partition, worker) <= self.bytes_left(worker)
    }

    /// What keeps a partition from a worker that it is not on, by name.
    pub(super) fn blocked(&self, partition: u32, worker: u32) -> Option<Blocked> {
        self.rule(partition, worker).map(|rule| self.named(rule))
    }

    /// What a rule is called.
    pub(super) fn named(&self, rule: Rule<'_>) -> Blocked {
        match rule {
            Rule::NotActive => Blocked::NotActive,
            Rule::Label(name, value) => Blocked::Label { label: format!("{name}={value}") },
            Rule::AntiAffinity { group, partition } => Blocked::AntiAffinity {
                group: self.view.groups.name(group).clone(),
                partition: self.view.partitions[partition as usize].id.clone(),
            },
            Rule::Full(partitions_max) => Blocked::Full { partitions_max },
            Rule::Capacity { resource, missing } => Blocked::Capacity {
                resource: self.view.resources[resource].clone(),
                missing: u64::try_from(missing).unwrap_or(u64::MAX),
            },
        }
    }
}
