//! Takes from workers that have more than their share, and gives to those that have less.
//!
//! Every move makes the larger of the two loads smaller, so it ends.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use quorate_core::plan::MoveReason;

use super::rebalance::{Draft, part};

/// So many of the least loaded workers are tried for each that has too much.
const TAKERS: usize = 8;
/// So many of the most loaded workers are tried for each that has too little.
const GIVERS: usize = 8;

/// So many partitions of a worker are looked at for a move: all of most workers; of one that has more,
/// those that its other partitions hold least for their size.
const MEMBERS: usize = 256;

/// What may still be moved.
pub(super) struct Budget {
    moves: u64,
    load: u64,
}

impl Budget {
    /// What the policy allows, less what worthwhile moves have taken of it.
    pub(super) fn of(draft: &Draft<'_>) -> Self {
        let count = draft.moved.len() as u64;
        let worthwhile = draft
            .moves
            .iter()
            .filter(|step| matches!(step.reason, MoveReason::Balance | MoveReason::Traffic));
        let (mut moves, mut load) = (0, 0);
        for step in worthwhile {
            moves += 1;
            load += step.cost.unsigned_abs();
        }
        Self {
            moves: part(count, draft.policy.moved_ppm_max.into()).max(1).saturating_sub(moves),
            load: u64::from(draft.policy.moved_load_ppm_max).saturating_sub(load),
        }
    }

    /// Takes a move of this size, if there is so much left. The first move of a plan may be of any
    /// size: else nothing large would ever move.
    pub(super) fn take(&mut self, size: u64, first: bool) -> bool {
        if self.moves == 0 || (size > self.load && !first) {
            return false;
        }
        self.moves -= 1;
        self.load = self.load.saturating_sub(size);
        true
    }
}

/// Evens out loads that are outside of the tolerance.
pub(super) fn balance(draft: &mut Draft<'_>) {
    if is_balanced(draft, 5) {
        return;
    }
    let mut budget = Budget::of(draft);
    let mut givers = Givers::default();
    while !is_balanced(draft, 4) {
        let Some((partition, to)) = next(draft, &mut givers) else { return };
        let size = draft.usage.size(partition, &draft.totals);
        if !budget.take(size, draft.moves.is_empty()) {
            return;
        }
        draft.shift(partition, to, MoveReason::Balance);
        givers.left(draft, partition);
    }
}

/// What workers could give that have many partitions.
#[derive(Debug, Default)]
struct Givers(BTreeMap<u32, Giver>);

/// What one could give.
#[derive(Debug)]
struct Giver {
    /// Its partitions that may be moved, the one that is held least last.
    loose: Vec<u32>,
    /// Those of them whose neighbors have left, as far as they are known.
    left_behind: BTreeSet<u32>,
}

impl Givers {
    /// The partitions of a worker that are to be looked at.
    fn of(&mut self, draft: &Draft<'_>, worker: u32) -> Vec<u32> {
        let members = draft.usage.members(worker);
        if members.len() <= MEMBERS {
            return members.iter().copied().filter(|it| draft.is_free(*it)).collect();
        }
        let giver = self.0.entry(worker).or_insert_with(|| Giver::new(draft, worker));
        let is_there = |it: &u32| draft.usage.of(*it) == Some(worker) && draft.is_free(*it);
        while giver.loose.last().is_some_and(|last| !is_there(last)) {
            giver.loose.pop();
        }
        let loose = giver.loose.iter().rev().take(MEMBERS);
        let behind = giver.left_behind.iter();
        loose.chain(behind).copied().filter(is_there).collect()
    }

    /// A partition has left for another worker.
    fn left(&mut self, draft: &Draft<'_>, partition: u32) {
        if self.0.is_empty() {
            return;
        }
        for (neighbor, _) in draft.usage.view.neighbors(partition).iter().take(MEMBERS) {
            let home = draft.usage.of(*neighbor);
            if let Some(giver) = home.and_then(|home| self.0.get_mut(&home)) {
                giver.left_behind.insert(*neighbor);
                if giver.left_behind.len() > MEMBERS {
                    giver.left_behind.pop_first();
                }
            }
        }
    }
}

impl Giver {
    fn new(draft: &Draft<'_>, worker: u32) -> Self {
        let usage = &draft.usage;
        let free = usage.members(worker).iter().copied().filter(|it| draft.is_free(*it));
        let hold = |partition: u32| {
            let there = |(other, _): &&(u32, i64)| usage.of(*other) == Some(worker);
            let neighbors = usage.view.neighbors(partition).iter().filter(there);
            let held: i128 = neighbors.map(|(_, rate)| i128::from(*rate)).sum();
            (held << 20) / i128::from(usage.size(partition, &draft.totals).max(1))
        };
        let mut loose: Vec<(i128, u32)> = free.map(|it| (hold(it), it)).collect();
        loose.sort_unstable_by_key(|it| Reverse(*it));
        let loose = loose.into_iter().map(|(_, partition)| partition).collect();
        Self { loose, left_behind: BTreeSet::new() }
    }
}

/// Whether all loads are within so many fifths of the tolerance.
pub(super) fn is_balanced(draft: &Draft<'_>, fifths: u64) -> bool {
    let (fair, tolerance) = (draft.fair, draft.policy.tolerance);
    let above = u64::from(tolerance.above_ppm) * fifths / 5;
    let below = u64::from(tolerance.below_ppm).min(1_000_000) * fifths / 5;
    let load = |worker: Option<u32>| worker.map_or(fair, |worker| draft.usage.load(worker));
    let (lowest, highest) = (load(draft.by_load().next()), load(draft.by_load().next_back()));
    highest <= part(fair, 1_000_000 + above) && lowest >= part(fair, 1_000_000 - below)
}

/// The next move: from the worker that has the most to one that has little, or from one that has much to
/// the one that has the least.
fn next(draft: &Draft<'_>, givers: &mut Givers) -> Option<(u32, u32)> {
    let most = draft.by_load().next_back()?;
    let least = draft.by_load().next()?;
    let down = draft.by_load().take(TAKERS).map(|to| (most, to));
    let up = draft.by_load().rev().take(GIVERS).map(|from| (from, least));
    down.chain(up)
        .find_map(|(from, to)| between(draft, givers, from, to).map(|partition| (partition, to)))
}

/// The partition that goes best from one worker to another: the loads are as near to each other as they
/// can be, and then the least traffic is lost.
fn between(draft: &Draft<'_>, givers: &mut Givers, from: u32, to: u32) -> Option<u32> {
    if from == to {
        return None;
    }
    let usage = &draft.usage;
    let had = usage.load(from);
    let rank = |partition: u32| {
        let (gets, keeps) = (usage.load_with(to, partition), usage.load_without(from, partition));
        let larger = gets.max(keeps);
        if larger >= had || !usage.fits(partition, to) {
            return None;
        }
        let loses = usage.traffic(partition, to).saturating_sub(usage.traffic(partition, from));
        // Within the ceiling all are alike: what counts is what is lost for what is brought.
        let over = larger.saturating_sub(draft.ceiling);
        let brings = had.saturating_sub(keeps).max(1);
        let price = (i128::from(loses) << 20) / i128::from(brings);
        Some((over, price, Reverse(brings), partition))
    };
    let given = givers.of(draft, from);
    given.into_iter().filter_map(rank).min().map(|(.., partition)| partition)
}
