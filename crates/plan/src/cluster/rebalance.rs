//! From where partitions are to where they should be.
//!
//! ```text
//! nobody's and leaving ones -> labels -> groups -> overload -> balance -> traffic
//! \---------------- needed ---------------------------------/  \--- worthwhile ---/
//! ```
//!
//! Each step makes one move after the other, and each move keeps what workers give: so does every prefix
//! of the plan. A partition is moved once at most. What is worthwhile is bounded by the policy.
//!
//! Costs, for each move that is needed: the partition's neighbors and a few workers, more workers when none
//! of those will do, and next to nothing when the like was looked for in vain. Ties go to the lower number.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{
    Name, WorkerState,
    plan::{Leaving, Move, MoveReason, Plan},
};

use super::{
    balance, basis,
    misses::Misses,
    order,
    policy::{BalancePolicy, Moves},
    rejected, traffic,
    usage::Usage,
    view::{ClusterView, Wish},
};

/// So many of the least loaded workers are looked at for each partition, beside those that have its
/// neighbors.
const LEAST_LOADED: usize = 16;

/// So many are tried at least, when all are beyond the ceiling.
const TRIED: usize = 64;
/// For so many combinations of labels that partitions require, the workers that have them are kept apart.
const COMBINATIONS: usize = 16;

/// Workers by load, and then by how many partitions they have.
type ByLoad = BTreeSet<(u64, usize, u32)>;

/// Plans where partitions go. What is needed comes first; then, as far as the policy allows it, what is
/// worthwhile. A balanced cluster gives a plan without moves.
#[must_use]
pub fn rebalance(view: &ClusterView, policy: &BalancePolicy) -> Plan {
    let mut draft = Draft::new(view, *policy);
    let before = draft.usage.standing();
    draft.give_homes();
    if policy.moves != Moves::Grants {
        draft.mend_labels();
        draft.mend_groups();
        draft.mend_overload();
        draft.settle();
    }
    if policy.moves == Moves::Worthwhile {
        balance::balance(&mut draft);
        traffic::bring_together(&mut draft);
        draft.settle();
    }
    let after = draft.usage.standing();
    let rejected = rejected::rejected(&draft);
    let moves = draft.moves;
    let basis = basis::basis(view, &moves);
    let waves = order::waves(view, moves);
    Plan { basis, before, after, waves, rejected }
}

/// What a step decided.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) partition: u32,
    pub(super) from: Option<u32>,
    pub(super) to: u32,
    pub(super) reason: MoveReason,
    pub(super) gain: i64,
    pub(super) cost: i64,
}

/// A plan in the making.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub(super) usage: Usage<'a>,
    pub(super) policy: BalancePolicy,
    pub(super) moves: Vec<Step>,
    pub(super) moved: Vec<bool>,
    /// What all partitions need, by resource.
    pub(super) totals: Vec<u128>,
    /// The load that every worker should have. No move changes it.
    pub(super) fair: u64,
    /// No worker should have more.
    pub(super) ceiling: u64,
    /// The workers that take partitions.
    by_load: ByLoad,
    /// Those of them that have what is required, for some of what is.
    having: BTreeMap<&'a BTreeMap<String, String>, ByLoad>,
    /// What has found no place yet.
    pub(super) open: Vec<(u32, MoveReason)>,
    is_open: Vec<bool>,
    misses: Misses<'a>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a ClusterView, policy: BalancePolicy) -> Self {
        let usage = Usage::new(view);
        let takers = view.worker_numbers().filter(|worker| view.takes(*worker));
        let by_load = takers.map(|worker| by_load(&usage, worker)).collect();
        let fair = usage.fair();
        let ceiling = part(fair, 1_000_000 + u64::from(policy.tolerance.above_ppm));
        Self {
            policy,
            moves: Vec::new(),
            moved: vec![false; view.partitions.len()],
            totals: usage.totals(),
            fair,
            ceiling,
            by_load,
            having: BTreeMap::new(),
            open: Vec::new(),
            is_open: vec![false; view.partitions.len()],
            misses: Misses::default(),
            usage,
        }
    }

    /// Moves a partition.
    pub(super) fn shift(&mut self, partition: u32, to: u32, reason: MoveReason) {
        let from = self.usage.of(partition);
        let gain = from.map_or(0, |from| {
            let (now, then) =
                (self.usage.traffic(partition, from), self.usage.traffic(partition, to));
            now.saturating_sub(then)
        });
        let size = from.map_or(0, |_| self.usage.size(partition, &self.totals));
        let cost = i64::try_from(size).unwrap_or(i64::MAX);
        let workers = || from.into_iter().chain([to]).filter(|it| self.usage.view.takes(*it));
        let before: Vec<_> = workers().map(|worker| by_load(&self.usage, worker)).collect();
        self.usage.shift(partition, to);
        if from.is_some_and(|from| self.usage.view.takes(from)) {
            self.misses.clear();
        }
        for old in before {
            for set in self.having.values_mut().chain([&mut self.by_load]) {
                if set.remove(&old) {
                    set.insert(by_load(&self.usage, old.2));
                }
            }
        }
        self.moved[partition as usize] = true;
        self.moves.push(Step { partition, from, to, reason, gain, cost });
    }

    /// The workers that take partitions, from the least loaded on.
    pub(super) fn by_load(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.by_load.iter().map(|(.., worker)| *worker)
    }

    /// The place for a partition: the one that is wished for, or else the best.
    pub(super) fn choose(&mut self, partition: u32) -> Option<u32> {
        if self.misses.has(&self.usage, partition) {
            return None;
        }
        self.look_for_labels(partition);
        let view = self.usage.view;
        let Wish { target, avoid } = &view.partitions[partition as usize].wish;
        let number = |name: &Option<Name>| name.as_ref().and_then(|name| view.worker(name));
        let (target, avoid) = (number(target), number(avoid));
        let fits = |worker: &u32| {
            self.usage.of(partition) != Some(*worker) && self.usage.fits(partition, *worker)
        };
        let place = target.filter(fits).or_else(|| self.best(partition, avoid));
        let place = place.or_else(|| avoid.filter(fits));
        if place.is_none() {
            self.misses.add(&self.usage, partition);
        }
        place
    }

    /// Keeps those workers apart that have what a partition requires.
    fn look_for_labels(&mut self, partition: u32) {
        let view = self.usage.view;
        let requires = &view.partitions[partition as usize].requires;
        let known = requires.is_empty() || self.having.contains_key(requires);
        if !known && self.having.len() < COMBINATIONS {
            let have = self.by_load.iter().filter(|it| view.lacks(partition, it.2).is_none());
            self.having.insert(requires, have.copied().collect());
        }
    }

    /// The best place for a partition but for one worker: within the ceiling if there is one, near what
    /// it exchanges with, and then where there is most room.
    fn best(&self, partition: u32, avoid: Option<u32>) -> Option<u32> {
        let home = self.usage.of(partition);
        let may = |worker: &u32| avoid != Some(*worker) && home != Some(*worker);
        let requires = &self.usage.view.partitions[partition as usize].requires;
        let by_load = self.having.get(requires).unwrap_or(&self.by_load);
        let mut near = self.usage.near(partition);
        near.extend(by_load.iter().take(LEAST_LOADED).map(|(.., worker)| *worker));
        let near = near.into_iter().filter(may);
        let mut best = near.filter_map(|worker| self.rank(partition, worker)).min();
        if let Some((0, .., worker)) = best {
            return Some(worker);
        }
        let mut tried = 0;
        for (load, _, worker) in by_load.iter().filter(|it| may(&it.2)) {
            // The load there only grows, and so does that of all after it.
            let is_worse = best.is_some_and(|(over, ..)| load.saturating_sub(self.ceiling) > over);
            if is_worse || (*load > self.ceiling && tried >= TRIED) {
                break;
            }
            let rank = self.rank(partition, *worker);
            tried += usize::from(rank.is_some());
            best = best.into_iter().chain(rank).min();
        }
        best.map(|(.., worker)| worker)
    }

    /// How good a worker is for a partition, if it can take it; less is better.
    fn rank(&self, partition: u32, worker: u32) -> Option<(u64, i64, u64, usize, u32)> {
        if !self.usage.fits(partition, worker) {
            return None;
        }
        let load = self.usage.load_with(worker, partition);
        let over = load.saturating_sub(self.ceiling);
        let has = self.usage.members(worker).len();
        Some((over, self.usage.traffic(partition, worker), load, has, worker))
    }

    /// Nobody's partitions, and those whose worker must give them away: the largest first.
    pub(super) fn give_homes(&mut self) {
        let view = self.usage.view;
        let homeless = view.partition_numbers().filter_map(|it| Some((it, self.homeless(it)?)));
        let grants = self.policy.moves == Moves::Grants;
        let homeless = homeless.filter(|(_, why)| !grants || *why == MoveReason::Place);
        let sized = homeless.map(|(it, why)| (self.usage.size(it, &self.totals), it, why));
        let mut homeless: Vec<_> = sized.collect();
        homeless.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
        // What had a worker comes before what never had one.
        homeless.sort_by_key(|(_, _, why)| *why == MoveReason::Place);
        for (_, partition, why) in homeless {
            self.give(partition, why);
        }
    }

    /// Gives a partition a place, now or when there is one.
    pub(super) fn give(&mut self, partition: u32, why: MoveReason) {
        match self.choose(partition) {
            Some(to) => self.shift(partition, to, why),
            None => {
                self.is_open[partition as usize] = true;
                self.open.push((partition, why));
            }
        }
    }

    /// Whether a partition may be moved that could stay.
    pub(super) fn is_free(&self, partition: u32) -> bool {
        let at = partition as usize;
        !self.moved[at] && !self.is_open[at] && !self.usage.view.partitions[at].rests
    }

    /// Whether a partition has found no place yet.
    pub(super) fn is_waiting(&self, partition: u32) -> bool {
        self.is_open[partition as usize]
    }

    /// Tries again what found no place: others have left since. As long as that makes room for more.
    fn settle(&mut self) {
        let mut before = usize::MAX;
        while self.open.len() < before {
            before = self.open.len();
            for (partition, why) in std::mem::take(&mut self.open) {
                // It may have left an overloaded worker since, or been left by the other of its group.
                let at = partition as usize;
                let shares = !matches!(why, MoveReason::AntiAffinity { .. })
                    || self.shares(partition).is_some();
                if !self.moved[at] && shares {
                    self.give(partition, why);
                } else {
                    self.is_open[at] = false;
                }
            }
        }
    }

    /// Why a partition must get another worker; None: it need not.
    fn homeless(&self, partition: u32) -> Option<MoveReason> {
        let view = self.usage.view;
        match self.usage.of(partition) {
            Some(worker) => match view.workers[worker as usize].state {
                WorkerState::Draining => Some(MoveReason::Evacuate(Leaving::Draining)),
                WorkerState::Down => Some(MoveReason::Evacuate(Leaving::Down)),
                WorkerState::Joining | WorkerState::Active => None,
            },
            // Its worker is not known any more.
            None if view.partitions[partition as usize].worker.is_some() => {
                Some(MoveReason::Evacuate(Leaving::Down))
            }
            None => Some(MoveReason::Place),
        }
    }
}

fn by_load(usage: &Usage<'_>, worker: u32) -> (u64, usize, u32) {
    (usage.load(worker), usage.members(worker).len(), worker)
}

/// So many millionths of a load.
pub(super) fn part(load: u64, ppm: u64) -> u64 {
    let product = u128::from(load) * u128::from(ppm) / 1_000_000;
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// The move of a step, without what it waits for.
pub(super) fn to_move(view: &ClusterView, step: &Step) -> Move {
    let name = |worker: u32| view.workers[worker as usize].name.clone();
    let partition = &view.partitions[step.partition as usize];
    Move {
        partition: partition.id.clone(),
        from: partition.worker.clone(),
        to: name(step.to),
        reason: step.reason.clone(),
        gain: step.gain,
        cost: step.cost,
        waits_for: Vec::new(),
    }
}
