//! From where partitions are to where they should be.
//!
//! ```text
//! nobody's and leaving ones -> labels -> overload -> balance -> traffic
//! \------------- needed --------------------------/  \--- worthwhile ---/
//! ```
//!
//! Each step makes one move after the other, and each move keeps what workers give: so does every prefix
//! of the plan. A partition is moved once at most. What is worthwhile is bounded by the policy.
//!
//! Costs, for each move that is needed: the partition's neighbors and a few workers, all workers when
//! none of those will do. Ties go to the lower number.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{
    Key, Name, PartitionId, Revision, WorkerState,
    plan::{Basis, Blocked, Leaving, Move, MoveReason, Plan, Rejected},
};

use super::{
    balance, order,
    policy::{BalancePolicy, Moves},
    traffic,
    usage::Usage,
    view::{ClusterView, Wish},
};

/// So many of the least loaded workers are looked at for each partition, beside those that have its
/// neighbors.
const LEAST_LOADED: usize = 16;

/// Plans where partitions go. What is needed comes first; then, as far as the policy allows it, what is
/// worthwhile. A balanced cluster gives a plan without moves.
#[must_use]
pub fn rebalance(view: &ClusterView, policy: &BalancePolicy) -> Plan {
    let mut draft = Draft::new(view, *policy);
    let before = draft.usage.standing();
    draft.give_homes();
    draft.mend_labels();
    draft.mend_overload();
    draft.settle();
    if policy.moves == Moves::Worthwhile {
        balance::balance(&mut draft);
        traffic::bring_together(&mut draft);
        draft.settle();
    }
    let after = draft.usage.standing();
    let rejected = draft.rejected();
    let moves = draft.moves;
    let basis = basis(view, &moves);
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
    /// No worker should have more.
    pub(super) ceiling: u64,
    /// The workers that take partitions, by load, and then by how many they have.
    by_load: BTreeSet<(u64, usize, u32)>,
    /// What has found no place yet.
    open: Vec<(u32, MoveReason)>,
    is_open: Vec<bool>,
}

impl<'a> Draft<'a> {
    fn new(view: &'a ClusterView, policy: BalancePolicy) -> Self {
        let usage = Usage::new(view);
        let takers = view.worker_numbers().filter(|worker| view.takes(*worker));
        let by_load = takers.map(|worker| by_load(&usage, worker)).collect();
        let ceiling = part(usage.fair(), 1_000_000 + u64::from(policy.tolerance.above_ppm));
        Self {
            policy,
            moves: Vec::new(),
            moved: vec![false; view.partitions.len()],
            totals: usage.totals(),
            ceiling,
            by_load,
            open: Vec::new(),
            is_open: vec![false; view.partitions.len()],
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
        for worker in from.into_iter().chain([to]) {
            self.by_load.remove(&by_load(&self.usage, worker));
        }
        self.usage.shift(partition, to);
        for worker in from.into_iter().chain([to]) {
            if self.usage.view.takes(worker) {
                self.by_load.insert(by_load(&self.usage, worker));
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
    fn choose(&self, partition: u32) -> Option<u32> {
        let view = self.usage.view;
        let Wish { target, avoid } = &view.partitions[partition as usize].wish;
        let number = |name: &Option<Name>| name.as_ref().and_then(|name| view.worker(name));
        let (target, avoid) = (number(target), number(avoid));
        let fits = |worker: &u32| {
            self.usage.of(partition) != Some(*worker)
                && self.usage.blocked(partition, *worker).is_none()
        };
        target.filter(fits).or_else(|| self.best(partition, avoid)).or_else(|| avoid.filter(fits))
    }

    /// The best place for a partition but for one worker: within the ceiling if there is one, near what it exchanges with, and
    /// then where there is most room.
    fn best(&self, partition: u32, avoid: Option<u32>) -> Option<u32> {
        let neighbors = self.usage.view.neighbors(partition).iter();
        let near = neighbors.filter_map(|(neighbor, _)| self.usage.of(*neighbor));
        let near: BTreeSet<u32> = near.chain(self.by_load().take(LEAST_LOADED)).collect();
        let but = |worker: &u32| avoid != Some(*worker);
        let best = self.best_of(partition, near.into_iter().filter(but));
        match best {
            Some((0, ..)) => best,
            _ => self.best_of(partition, self.usage.view.worker_numbers().filter(but)),
        }
        .map(|(.., worker)| worker)
    }

    fn best_of(
        &self,
        partition: u32,
        workers: impl Iterator<Item = u32>,
    ) -> Option<(u64, i64, u64, usize, u32)> {
        let home = self.usage.of(partition);
        let open = workers.filter(|worker| home != Some(*worker));
        let open = open.filter(|worker| self.usage.blocked(partition, *worker).is_none());
        let rank = |worker: u32| {
            let load = self.usage.load_with(worker, partition);
            let over = load.saturating_sub(self.ceiling);
            let has = self.usage.members(worker).len();
            (over, self.usage.traffic(partition, worker), load, has, worker)
        };
        open.map(rank).min()
    }

    /// Nobody's partitions, and those whose worker must give them away: the largest first.
    fn give_homes(&mut self) {
        let view = self.usage.view;
        let homeless = view.partition_numbers().filter_map(|it| Some((it, self.homeless(it)?)));
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
    fn give(&mut self, partition: u32, why: MoveReason) {
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

    /// Tries again what found no place: others have left since. As long as that makes room for more.
    fn settle(&mut self) {
        let mut before = usize::MAX;
        while self.open.len() < before {
            before = self.open.len();
            for (partition, why) in std::mem::take(&mut self.open) {
                // One that lacked a label may have left an overloaded worker since.
                if !self.moved[partition as usize] {
                    self.give(partition, why);
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

    /// What has no place, and why.
    fn rejected(&self) -> Vec<Rejected> {
        let mut open: Vec<u32> = self.open.iter().map(|(partition, _)| *partition).collect();
        open.sort_unstable();
        let rejected = open.into_iter().map(|it| Rejected {
            partition: self.usage.view.partitions[it as usize].id.clone(),
            blocked: self.why_nowhere(it),
        });
        rejected.collect()
    }

    /// The rule that keeps a partition from most workers, at its least.
    fn why_nowhere(&self, partition: u32) -> Blocked {
        let mut rules: Vec<(Blocked, u32)> = Vec::new();
        let takers = self.by_load().filter(|worker| self.usage.of(partition) != Some(*worker));
        for blocked in takers.filter_map(|worker| self.usage.blocked(partition, worker)) {
            match rules.iter_mut().find(|(rule, _)| same_rule(rule, &blocked)) {
                Some((rule, count)) => {
                    *count += 1;
                    *rule = rule.clone().min(blocked);
                }
                None => rules.push((blocked, 1)),
            }
        }
        let most = rules.into_iter().max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0)));
        most.map_or(Blocked::NoWorker, |(rule, _)| rule)
    }

    /// Partitions whose worker lacks a label that they require.
    fn mend_labels(&mut self) {
        let view = self.usage.view;
        for partition in view.partition_numbers() {
            let Some(worker) = self.usage.of(partition) else { continue };
            if self.moved[partition as usize] || !view.takes(worker) {
                continue;
            }
            let Some(label) = view.lacks(partition, worker) else { continue };
            self.give(partition, MoveReason::Label { label });
        }
    }

    /// Workers of which more is needed than they give.
    fn mend_overload(&mut self) {
        for worker in self.usage.view.worker_numbers() {
            while let Some(resource) = self.usage.overloaded(worker) {
                if !self.usage.view.takes(worker) || !self.relieve(worker, resource) {
                    break;
                }
            }
        }
    }

    /// Takes one partition from a worker: the one that loses the least traffic for what it frees.
    fn relieve(&mut self, worker: u32, resource: usize) -> bool {
        let members = self.usage.members(worker).iter().copied();
        let mut worth: Vec<(i128, u32, u32)> = Vec::new();
        for partition in members.filter(|it| !self.moved[*it as usize]) {
            let frees = self.usage.view.needs(partition)[resource];
            if frees == 0 {
                continue;
            }
            if let Some(to) = self.choose(partition) {
                let (now, then) =
                    (self.usage.traffic(partition, worker), self.usage.traffic(partition, to));
                let loses = i128::from(then) - i128::from(now);
                worth.push(((loses << 30) / i128::from(frees), partition, to));
            }
        }
        let Some((_, partition, to)) = worth.into_iter().min() else { return false };
        let resource = self.usage.view.resources[resource].clone();
        self.shift(partition, to, MoveReason::Overload { resource });
        true
    }
}

fn by_load(usage: &Usage<'_>, worker: u32) -> (u64, usize, u32) {
    (usage.load(worker), usage.members(worker).len(), worker)
}

fn same_rule(a: &Blocked, b: &Blocked) -> bool {
    match (a, b) {
        (Blocked::Capacity { resource: a, .. }, Blocked::Capacity { resource: b, .. }) => a == b,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// So many millionths of a load.
pub(super) fn part(load: u64, ppm: u64) -> u64 {
    let product = u128::from(load) * u128::from(ppm) / 1_000_000;
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// What is moved, from where and to where.
fn basis(view: &ClusterView, moves: &[Step]) -> Basis {
    let mut records: BTreeMap<Key, Revision> = BTreeMap::new();
    for step in moves {
        let partition = &view.partitions[step.partition as usize];
        let id: &PartitionId = &partition.id;
        records.insert(Key::partition(id), partition.version);
        for worker in step.from.into_iter().chain([step.to]) {
            let worker = &view.workers[worker as usize];
            records.insert(Key::worker(&worker.name), worker.version);
        }
    }
    Basis { records: records.into_iter().collect() }
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
