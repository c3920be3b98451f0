//! What was looked for in vain, so that the like need not be looked for again.
//!
//! Invariant: as long as nothing leaves a worker that takes partitions, what fits on one only gets less.
//! So what found no place finds none later, nor does what needs as much; a move from such a worker
//! clears everything.

use std::collections::BTreeMap;

use super::usage::Usage;

/// So many combinations of needs are remembered for partitions that are alike.
const REMEMBERED: usize = 16;

/// What partitions have in common that may be on the same workers: the labels that they require, their
/// groups, and the worker that they are on and have to leave.
type Likeness<'a> = (&'a BTreeMap<String, String>, &'a [u32], Option<u32>);

/// The searches that were in vain.
#[derive(Debug, Clone, Default)]
pub(super) struct Misses<'a>(BTreeMap<Likeness<'a>, Miss>);

/// What is known about partitions that are alike.
#[derive(Debug, Clone, Default)]
struct Miss {
    /// By resource, the most that any worker on which they may be has left. Empty: there is none.
    most: Vec<u128>,
    /// The most bytes that any of them has left.
    bytes: u64,
    /// Needs that no worker could serve, though each alone would be within the above.
    needs: Vec<(Vec<u64>, u64)>,
}

impl<'a> Misses<'a> {
    /// Whether it is known that no worker can take a partition.
    pub(super) fn has(&self, usage: &Usage<'a>, partition: u32) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Some(miss) = self.0.get(&likeness(usage, partition)) else { return false };
        let (needs, bytes) = (usage.view.needs(partition), usage.bytes_least(partition));
        let beyond = |(need, most): (&u64, &u128)| *need > 0 && u128::from(*need) > *most;
        miss.most.is_empty()
            || bytes > miss.bytes
            || needs.iter().zip(&miss.most).any(beyond)
            || miss.needs.iter().any(|(less, fewer)| {
                *fewer <= bytes && less.iter().zip(needs).all(|(less, need)| less <= need)
            })
    }

    /// No worker can take this partition.
    pub(super) fn add(&mut self, usage: &Usage<'a>, partition: u32) {
        let key = likeness(usage, partition);
        let view = usage.view;
        let (mut most, mut bytes) = (Vec::new(), 0);
        for worker in view.worker_numbers() {
            let home = usage.of(partition) == Some(worker);
            if home || usage.rule_beside_amounts(partition, worker).is_some() {
                continue;
            }
            most.resize(view.resources.len(), 0);
            let amounts = usage.used(worker).iter().zip(view.capacity(worker));
            for (most, (used, capacity)) in most.iter_mut().zip(amounts) {
                *most = capacity.saturating_sub(*used).max(*most);
            }
            bytes = bytes.max(usage.bytes_left(worker));
        }
        let miss = self.0.entry(key).or_default();
        (miss.most, miss.bytes) = (most, bytes);
        if miss.needs.len() == REMEMBERED {
            miss.needs.remove(0);
        }
        miss.needs.push((view.needs(partition).to_vec(), usage.bytes_least(partition)));
    }

    /// Something has left a worker that takes partitions.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn likeness<'a>(usage: &Usage<'a>, partition: u32) -> Likeness<'a> {
    let view = usage.view;
    let home = usage.of(partition).filter(|home| view.takes(*home));
    (&view.partitions[partition as usize].requires, view.groups.of(partition), home)
}
