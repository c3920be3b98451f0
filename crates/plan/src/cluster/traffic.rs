//! Brings together what exchanges much, where loads allow it.
//!
//! A move costs as much as the traffic of so many mean edges as its size is times the mean size. How many,
//! lambda, is the smallest of four for which all moves that are worth it are within the policy's bounds;
//! if none is, the best moves are made.
//!
//! The best move of all is made next, by what moves were worth when they were looked at last; that is looked
//! at again before a move is made, and when a neighbor has moved. Who has many neighbors is looked at
//! again only when a part of them has moved, and at the end: so a plan costs about as much as there are
//! connections.
//!
//! Invariant: what is balanced stays balanced. Where loads cannot be balanced, because partitions are too
//! large, of two workers neither the higher nor then the lower load grows. So planning again and again
//! ends: loads never get worse, and traffic always gets less.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use quorate_core::plan::MoveReason;

use super::{
    balance::{Budget, is_balanced},
    rebalance::{Draft, part},
    usage::FEW,
};

/// Lambda, in quarters.
const LAMBDAS: [i64; 4] = [1, 4, 16, 64];
/// Who has many neighbors is looked at again when one in so many of them has moved,
const MOVED_PART: usize = 16;
/// and so many times when nothing else is to be done.
const LAST_LOOKS: u32 = 4;

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
    let mut search = Search::new(draft, lambda, all);
    let mut budget = Budget::of(draft);
    while let Some((partition, to)) = search.next(draft) {
        let size = draft.usage.size(partition, &draft.totals);
        if !budget.take(size, draft.moves.is_empty()) {
            return false;
        }
        draft.shift(partition, to, MoveReason::Traffic);
        for &(neighbor, _) in draft.usage.view.neighbors(partition) {
            search.neighbor_moved(draft, neighbor);
        }
    }
    true
}

/// Who could move.
struct Search {
    prices: Prices,
    /// What a move is worth, of whom, and to where.
    heap: BinaryHeap<(i64, Reverse<u32>, u32)>,
    /// Those of many neighbors that are to be looked at again, and how many of their neighbors have moved.
    stale: BTreeMap<u32, usize>,
    last_looks: u32,
}

impl Search {
    fn new(draft: &Draft<'_>, lambda: i64, all: u64) -> Self {
        let prices = Prices::new(draft, lambda, all);
        let mut search = Self {
            prices,
            heap: BinaryHeap::new(),
            stale: BTreeMap::new(),
            last_looks: LAST_LOOKS,
        };
        draft.usage.view.partition_numbers().for_each(|it| search.look(draft, it));
        search
    }

    /// Looks at all places where a partition could go.
    fn look(&mut self, draft: &Draft<'_>, partition: u32) {
        if let Some((worth, to)) = self.prices.best(draft, partition) {
            self.heap.push((worth, Reverse(partition), to));
        }
    }

    fn neighbor_moved(&mut self, draft: &Draft<'_>, partition: u32) {
        let neighbors = draft.usage.view.neighbors(partition).len();
        if neighbors > FEW {
            let moved = self.stale.entry(partition).or_default();
            *moved += 1;
            if *moved * MOVED_PART < neighbors {
                return;
            }
            self.stale.remove(&partition);
        }
        self.look(draft, partition);
    }

    /// The best move.
    fn next(&mut self, draft: &Draft<'_>) -> Option<(u32, u32)> {
        loop {
            while let Some((worth, Reverse(partition), to)) = self.heap.pop() {
                match self.again(draft, partition, to) {
                    Some((now, to)) if now >= worth => return Some((partition, to)),
                    Some((now, to)) => self.heap.push((now, Reverse(partition), to)),
                    None => {}
                }
            }
            self.last_looks = self.last_looks.checked_sub(1)?;
            let stale = std::mem::take(&mut self.stale);
            stale.into_keys().for_each(|it| self.look(draft, it));
        }
    }

    /// Looks again at what a partition was to do. Of those of many neighbors, at this move only.
    fn again(&mut self, draft: &Draft<'_>, partition: u32, to: u32) -> Option<(i64, u32)> {
        if draft.usage.view.neighbors(partition).len() <= FEW {
            return self.prices.best(draft, partition);
        }
        let known = self.prices.one(draft, partition, to);
        if known.is_none() {
            self.stale.entry(partition).or_default();
        }
        known.map(|worth| (worth, to))
    }
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
            floor: part(draft.fair, 1_000_000 - below),
            balanced: is_balanced(draft, 5),
        }
    }

    /// The best move of a partition to where a neighbor is, with what it is worth beyond its price.
    fn best(&self, draft: &Draft<'_>, partition: u32) -> Option<(i64, u32)> {
        let (from, now, price) = self.of(draft, partition)?;
        let mut best: Option<(i64, Reverse<u32>)> = None;
        for to in draft.usage.near(partition).into_iter().filter(|to| *to != from) {
            let gain = now.saturating_sub(draft.usage.traffic(partition, to));
            let found = (gain.saturating_sub(price), Reverse(to));
            if gain >= self.gain_min
                && found.0 > 0
                && best.is_none_or(|best| found > best)
                && self.may(draft, partition, from, to)
            {
                best = Some(found);
            }
        }
        best.map(|(worth, Reverse(to))| (worth, to))
    }

    /// What a move is worth beyond its price.
    fn one(&self, draft: &Draft<'_>, partition: u32, to: u32) -> Option<i64> {
        let (from, now, price) = self.of(draft, partition)?;
        let gain = now.saturating_sub(draft.usage.traffic(partition, to));
        let worth = gain.saturating_sub(price);
        let is_worth = from != to && gain >= self.gain_min && worth > 0;
        (is_worth && self.may(draft, partition, from, to)).then_some(worth)
    }

    /// Where a partition that may be moved is, what its traffic costs there, and the price of a move.
    fn of(&self, draft: &Draft<'_>, partition: u32) -> Option<(u32, i64, i64)> {
        let from = draft.usage.of(partition)?;
        if !draft.is_free(partition) {
            return None;
        }
        let now = draft.usage.traffic(partition, from);
        if now < self.gain_min {
            return None;
        }
        let size = draft.usage.size(partition, &draft.totals);
        let price = i128::from(self.mean_rate) * i128::from(self.lambda) * i128::from(size)
            / (4 * i128::from(self.mean_size));
        Some((from, now, i64::try_from(price).unwrap_or(i64::MAX)))
    }

    fn may(&self, draft: &Draft<'_>, partition: u32, from: u32, to: u32) -> bool {
        self.allows(draft, partition, from, to) && draft.usage.fits(partition, to)
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
