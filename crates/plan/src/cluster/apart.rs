//! Groups of partitions that must be on different workers, by number.
//!
//! Invariants: a group is one of its network, so that the same name in two networks is two groups; numbers are
//! positions by network and name. Where nobody has a group, nothing is kept.

use std::collections::BTreeSet;

use quorate_core::Name;

use super::view::PartitionSpec;

/// Which partition is in which groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// By number.
    names: Vec<Name>,
    /// The groups of each partition, one after the other.
    of: Vec<u32>,
    /// Where those of a partition begin; one more than there are partitions. Empty: nobody has any.
    starts: Vec<usize>,
}

impl Groups {
    pub(super) fn new(partitions: &[PartitionSpec]) -> Self {
        let pairs = |it: &'_ PartitionSpec| {
            let network = it.id.network.clone();
            it.apart.iter().map(move |group| (network.clone(), group.clone())).collect::<Vec<_>>()
        };
        let all: BTreeSet<(Name, Name)> = partitions.iter().flat_map(pairs).collect();
        if all.is_empty() {
            return Self::default();
        }
        let all: Vec<(Name, Name)> = all.into_iter().collect();
        let mut groups = Self::default();
        groups.starts.push(0);
        for partition in partitions {
            let numbers = pairs(partition).into_iter().filter_map(|pair| {
                all.binary_search(&pair).ok().and_then(|at| u32::try_from(at).ok())
            });
            groups.of.extend(numbers);
            groups.starts.push(groups.of.len());
        }
        groups.names = all.into_iter().map(|(_, group)| group).collect();
        groups
    }

    /// The groups of a partition.
    pub(super) fn of(&self, partition: u32) -> &[u32] {
        let at = partition as usize;
        if self.starts.is_empty() {
            return &[];
        }
        &self.of[self.starts[at]..self.starts[at + 1]]
    }

    /// What a group is called.
    pub(super) fn name(&self, group: u32) -> &Name {
        &self.names[group as usize]
    }
}

/// Which partitions of which group are on which worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread(BTreeSet<(u32, u32, u32)>);

impl Spread {
    pub(super) fn put(&mut self, groups: &Groups, partition: u32, worker: u32) {
        self.0.extend(groups.of(partition).iter().map(|group| (*group, worker, partition)));
    }

    pub(super) fn take(&mut self, groups: &Groups, partition: u32, worker: u32) {
        for group in groups.of(partition) {
            self.0.remove(&(*group, worker, partition));
        }
    }

    /// The first group of a partition of which a worker has another, and the first of those.
    pub(super) fn shared(
        &self,
        groups: &Groups,
        partition: u32,
        worker: u32,
    ) -> Option<(u32, u32)> {
        groups.of(partition).iter().find_map(|group| {
            let there = self.0.range((*group, worker, 0)..=(*group, worker, u32::MAX));
            let mut others = there.map(|(.., other)| *other).filter(|other| *other != partition);
            others.next().map(|other| (*group, other))
        })
    }
}
