//! How near workers are to each other, and what pulls a partition to them.
//!
//! Workers are leaves of a tree: below its root one node for each value of the furthest label, below each
//! of those one for each value of the next, and so on. Two workers are as far apart as their paths have
//! different nodes. So what a partition's traffic costs on a worker follows from how much of it goes to
//! each node, whatever the number of its neighbors.

use std::collections::BTreeMap;

use super::view::WorkerSpec;

/// The paths of workers.
#[derive(Debug, Clone)]
pub(super) struct Nearness {
    /// How long a path is.
    length: usize,
    /// By worker: the nodes from the furthest label to the worker, whose node is its own number.
    paths: Vec<u32>,
    workers: u32,
}

impl Nearness {
    /// By these labels, from the furthest to the nearest.
    pub(super) fn new(workers: &[WorkerSpec], labels: &[String]) -> Self {
        let mut nodes: BTreeMap<(u32, Option<&String>), u32> = BTreeMap::new();
        let mut paths = Vec::with_capacity(workers.len() * (labels.len() + 1));
        let count = u32::try_from(workers.len()).unwrap_or(u32::MAX);
        for (at, worker) in (0..).zip(workers) {
            let mut above = u32::MAX;
            for label in labels {
                let next = count.saturating_add(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
                above = *nodes.entry((above, worker.labels.get(label))).or_insert(next);
                paths.push(above);
            }
            paths.push(at);
        }
        Self { length: labels.len() + 1, paths, workers: count }
    }

    fn path(&self, worker: u32) -> &[u32] {
        let at = worker as usize;
        &self.paths[at * self.length..(at + 1) * self.length]
    }

    /// How far apart two workers are.
    pub(super) fn distance(&self, a: u32, b: u32) -> u32 {
        let pairs = self.path(a).iter().zip(self.path(b));
        pairs.map(|(a, b)| u32::from(a != b)).sum()
    }
}

/// How much of a partition's traffic goes where.
#[derive(Debug, Clone, Default)]
pub(super) struct Pull {
    total: i128,
    /// By node: how much goes below it, and to how many neighbors.
    below: BTreeMap<u32, (i128, u32)>,
}

impl Pull {
    /// A neighbor has come to a worker.
    pub(super) fn add(&mut self, nearness: &Nearness, worker: u32, rate: i64) {
        self.total += i128::from(rate);
        for node in nearness.path(worker) {
            let (sum, count) = self.below.entry(*node).or_default();
            *sum += i128::from(rate);
            *count += 1;
        }
    }

    /// A neighbor has left a worker.
    pub(super) fn remove(&mut self, nearness: &Nearness, worker: u32, rate: i64) {
        self.total -= i128::from(rate);
        for node in nearness.path(worker) {
            let Some((sum, count)) = self.below.get_mut(node) else { continue };
            *sum -= i128::from(rate);
            *count -= 1;
            if *count == 0 {
                self.below.remove(node);
            }
        }
    }

    /// What all of it costs on a worker.
    pub(super) fn cost(&self, nearness: &Nearness, worker: u32) -> i64 {
        let below = |node: &u32| self.below.get(node).map_or(0, |(sum, _)| *sum);
        let cost: i128 = nearness.path(worker).iter().map(|node| self.total - below(node)).sum();
        i64::try_from(cost).unwrap_or(i64::MAX)
    }

    /// The workers that have neighbors.
    pub(super) fn workers(&self, nearness: &Nearness) -> impl Iterator<Item = u32> {
        self.below.range(..nearness.workers).map(|(worker, _)| *worker)
    }
}
