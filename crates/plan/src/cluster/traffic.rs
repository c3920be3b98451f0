//! Brings together what exchanges much, where loads allow it.
//!
//! A move costs as much as the traffic of so many mean edges as its size is times the mean size. How many,
//! lambda, is the smallest of four for which all moves that are worth it are within the policy's bounds;
//! if none is, the best moves are made.
//!
//! Invariant: what is balanced stays balanced. Where loads cannot be balanced, because partitions are too
//! large, of two workers neither the higher nor then the lower load grows. So planning again and again
//! ends: loads never get worse, and traffic always gets less.

use std::{cmp::Reverse, collections::BinaryHeap};

use quorate_core::plan::MoveReason;

use super::{
    balance::{Budget, is_balanced},
    rebalance::{Draft, part},
};

/// Lambda, in quarters.
const LAMBDAS: [i64; 4] = [1, 4, 16, 64];

/// Makes the moves that are worth it.
pub(super) fn bring_together(draft: &mut Draft<'_>) {
    let all = draft.usage.all_traffic();
    if all == 0 {
        return;
    }
    for lambda in LAMBDAS {
        let mut tried = draft.clone();
        let within = improve(&mut tried, lambda, all);
        if within || Some(&lambda) == LAMBDAS.last() {
            *draft = tried;
            return;
        }
    }
}

/// Makes the moves that are worth it at a price, the best first. Whether they were within the bounds.
fn improve(draft: &mut Draft<'_>, lambda: i64, all: u64) -> bool {
    let prices = Prices::new(draft, lambda, all);
    let mut budget = Budget::of(draft);
    let mut heap = BinaryHeap::new();
    for partition in draft.usage.view.partition_numbers() {
        if let Some((worth, to)) = prices.best(draft, partition) {
            heap.push((worth, Reverse(partition), to));
        }
    }
    while let Some((worth, Reverse(partition), _)) = heap.pop() {
        let Some((now, to)) = prices.best(draft, partition) else { continue };
        if now < worth {
            heap.push((now, Reverse(partition), to));
            continue;
        }
        let size = draft.usage.size(partition, &draft.totals);
        if !budget.take(size, draft.moves.is_empty()) {
            return false;
        }
        draft.shift(partition, to, MoveReason::Traffic);
        for &(neighbor, _) in draft.usage.view.neighbors(partition) {
            if let Some((worth, to)) = prices.best(draft, neighbor) {
                heap.push((worth, Reverse(neighbor), to));
            }
        }
    }
    true
}

/// What a move must bring.
struct Prices {
    /// In quarters.
    lambda: i64,
    mean_rate: i64,
    mean_size: u64,
    gain_min: i64,
    floor: u64,
    balanced: bool,
}

impl Prices {
    fn new(draft: &Draft<'_>, lambda: i64, all: u64) -> Self {
        let view = draft.usage.view;
        let (mut rates, mut edges) = (0_i128, 0_i128);
        for partition in view.partition_numbers() {
            for (_, rate) in view.neighbors(partition) {
                rates += i128::from(*rate);
                edges += 1;
            }
        }
        let below = u64::from(draft.policy.tolerance.below_ppm).min(1_000_000);
        Self {
            lambda,
            mean_rate: i64::try_from(rates / edges.max(1)).unwrap_or(i64::MAX),
            mean_size: (1_000_000 / view.partitions.len().max(1) as u64).max(1),
            gain_min: i64::try_from(part(all, draft.policy.gain_ppm_min.into()).max(1))
                .unwrap_or(i64::MAX),
            floor: part(draft.usage.fair(), 1_000_000 - below),
            balanced: is_balanced(draft, 5),
        }
    }

    /// The best move of a partition to where a neighbor is, with what it is worth beyond its price.
    fn best(&self, draft: &Draft<'_>, partition: u32) -> Option<(i64, u32)> {
        let (usage, view) = (&draft.usage, draft.usage.view);
        let from = usage.of(partition)?;
        if !draft.is_free(partition) {
            return None;
        }
        let now = usage.traffic(partition, from);
        if now < self.gain_min {
            return None;
        }
        let size = usage.size(partition, &draft.totals);
        let price = i128::from(self.mean_rate) * i128::from(self.lambda) * i128::from(size)
            / (4 * i128::from(self.mean_size));
        let price = i64::try_from(price).unwrap_or(i64::MAX);
        let mut best: Option<(i64, Reverse<u32>)> = None;
        for (neighbor, _) in view.neighbors(partition) {
            let Some(to) = usage.of(*neighbor).filter(|to| *to != from) else { continue };
            let gain = now.saturating_sub(usage.traffic(partition, to));
            let worth = gain.saturating_sub(price);
            if gain < self.gain_min
                || worth <= 0
                || best.is_some_and(|it| (worth, Reverse(to)) <= it)
            {
                continue;
            }
            if self.allows(draft, partition, from, to) && usage.blocked(partition, to).is_none() {
                best = Some((worth, Reverse(to)));
            }
        }
        best.map(|(worth, Reverse(to))| (worth, to))
    }

    /// Whether loads allow a move.
    fn allows(&self, draft: &Draft<'_>, partition: u32, from: u32, to: u32) -> bool {
        let usage = &draft.usage;
        let (keeps, gets) = (usage.load_without(from, partition), usage.load_with(to, partition));
        if self.balanced {
            return gets <= draft.ceiling && keeps >= self.floor;
        }
        let sorted = |a: u64, b: u64| (a.max(b), a.min(b));
        sorted(keeps, gets) <= sorted(usage.load(from), usage.load(to))
    }
}
