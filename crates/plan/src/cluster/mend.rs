//! Moves that rules ask for: labels, groups, and what workers give.
//!
//! Each starts from where partitions are when it is its turn; who has been moved is not moved again.

use std::{cmp::Reverse, collections::BinaryHeap};

use quorate_core::plan::MoveReason;

use super::{rebalance::Draft, usage::FEW};

impl Draft<'_> {
    /// Partitions whose worker lacks a label that they require.
    pub(super) fn mend_labels(&mut self) {
        let view = self.usage.view;
        for partition in view.partition_numbers() {
            let Some(worker) = self.settled_on(partition) else { continue };
            let Some((name, value)) = view.lacks(partition, worker) else { continue };
            self.give(partition, MoveReason::Label { label: format!("{name}={value}") });
        }
    }

    /// Partitions whose worker has another of their group: the higher numbers move first, until one is
    /// left.
    pub(super) fn mend_groups(&mut self) {
        let view = self.usage.view;
        for partition in view.partition_numbers().rev() {
            if !self.is_waiting(partition)
                && let Some(group) = self.shares(partition)
            {
                let group = view.groups.name(group).clone();
                self.give(partition, MoveReason::AntiAffinity { group });
            }
        }
    }

    /// The group of a partition of which its worker has another.
    pub(super) fn shares(&self, partition: u32) -> Option<u32> {
        if self.usage.view.groups.of(partition).is_empty() {
            return None;
        }
        let worker = self.settled_on(partition)?;
        self.usage.shared(partition, worker).map(|(group, _)| group)
    }

    /// Where a partition is that need not leave its worker, and has not moved.
    fn settled_on(&self, partition: u32) -> Option<u32> {
        let worker = self.usage.of(partition)?;
        (!self.moved[partition as usize] && self.usage.view.takes(worker)).then_some(worker)
    }

    /// Workers of which more is needed than they give.
    pub(super) fn mend_overload(&mut self) {
        let takers = self.usage.view.worker_numbers().filter(|it| self.usage.view.takes(*it));
        for worker in takers.collect::<Vec<_>>() {
            while let Some(resource) = self.usage.overloaded(worker) {
                if !self.relieve(worker, resource) {
                    break;
                }
            }
        }
    }

    /// Takes partitions from a worker until it gives enough of a resource, if that can be had: those
    /// first that lose the least traffic for what they free. What was looked at is looked at again when it
    /// is its turn, or when a neighbor has left.
    fn relieve(&mut self, worker: u32, resource: usize) -> bool {
        let mut heap = BinaryHeap::new();
        for partition in self.usage.members(worker).to_vec() {
            heap.extend(self.price(partition, worker, resource).map(Reverse));
        }
        while self.usage.overloaded(worker) == Some(resource) {
            let Some(Reverse((price, partition, _))) = heap.pop() else { return false };
            let Some(now) = self.price(partition, worker, resource) else { continue };
            if now.0 > price {
                heap.push(Reverse(now));
                continue;
            }
            let view = self.usage.view;
            let name = view.resources[resource].clone();
            self.shift(partition, now.2, MoveReason::Overload { resource: name });
            for &(neighbor, _) in view.neighbors(partition) {
                if view.neighbors(neighbor).len() <= FEW {
                    heap.extend(self.price(neighbor, worker, resource).map(Reverse));
                }
            }
        }
        true
    }

    /// The traffic that is lost for what is freed, if a partition leaves an overloaded worker; and where
    /// it would go.
    fn price(&mut self, partition: u32, worker: u32, resource: usize) -> Option<(i128, u32, u32)> {
        let frees = self.usage.view.needs(partition)[resource];
        let there = self.usage.of(partition) == Some(worker);
        if frees == 0 || !there || self.moved[partition as usize] {
            return None;
        }
        let to = self.choose(partition)?;
        let (now, then) =
            (self.usage.traffic(partition, worker), self.usage.traffic(partition, to));
        let loses = i128::from(then) - i128::from(now);
        Some(((loses << 30) / i128::from(frees), partition, to))
    }
}
