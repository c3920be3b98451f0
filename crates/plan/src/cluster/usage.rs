//! Who has what, and what that means for loads and traffic.
//!
//! Invariant: what workers have given away is what their partitions need, whatever was moved; whether one more
//! fits depends on nothing else. Loads are of what partitions were seen to use, or else need, on one scale: a
//! worker's load is the largest share that its partitions use of what it gives, parts per million; where
//! one gives without limit what others limit, their mean counts. What nobody limits does not count,
//! unless nobody limits anything: then equal shares of what is needed do.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::plan::{Standing, WorkerStanding};

use super::{
    apart::Spread,
    near::Pull,
    view::{ClusterView, UNLIMITED},
};
use crate::facts::imbalance_ppm;

/// What pulls a partition that has more neighbors is kept as it changes, rather than added up anew.
pub(super) const FEW: usize = 32;

/// Partitions on workers. Where nobody has many neighbors, or a group, nothing is kept of that.
#[derive(Debug, Clone)]
pub(super) struct Usage<'a> {
    pub(super) view: &'a ClusterView,
    /// Where each partition is.
    of: Vec<Option<u32>>,
    /// By worker.
    members: Vec<Vec<u32>>,
    /// Where each partition is among the members of its worker.
    place: Vec<usize>,
    /// What is needed: by worker, then by resource.
    used: Vec<u128>,
    /// What is used, as far as it was seen: by worker, then by resource. Empty: what is needed.
    busy: Vec<u128>,
    /// What counts as what a worker gives: by worker, then by resource. Never 0.
    weight: Vec<u128>,
    spread: Spread,
    /// What pulls those that have more than a few neighbors.
    pulls: BTreeMap<u32, Pull>,
    /// By worker: the bytes of what has come. Empty: nobody asks.
    bytes: Vec<u64>,
}

const PPM: u128 = 1_000_000;

impl<'a> Usage<'a> {
    /// Everybody at home.
    pub(super) fn new(view: &'a ClusterView) -> Self {
        let many = view.partition_numbers().filter(|it| view.neighbors(*it).len() > FEW);
        Self::at_home(view, many.map(|it| (it, Pull::default())).collect())
    }

    /// Everybody at home, for those who do not ask about traffic.
    pub(super) fn without_traffic(view: &'a ClusterView) -> Self {
        Self::at_home(view, BTreeMap::new())
    }

    fn at_home(view: &'a ClusterView, pulls: BTreeMap<u32, Pull>) -> Self {
        let (workers, resources) = (view.workers.len(), view.resources.len());
        let mut usage = Self {
            view,
            of: vec![None; view.partitions.len()],
            members: vec![Vec::new(); workers],
            place: vec![0; view.partitions.len()],
            used: vec![0; workers * resources],
            busy: if view.is_observed() { vec![0; workers * resources] } else { Vec::new() },
            weight: weights(view),
            spread: Spread::default(),
            pulls,
            bytes: view.bytes.as_ref().map_or_else(Vec::new, |_| vec![0; workers]),
        };
        for partition in view.partition_numbers() {
            if let Some(worker) = view.home[partition as usize] {
                usage.put(partition, worker);
            }
        }
        usage
    }

    /// Where a partition is.
    pub(super) fn of(&self, partition: u32) -> Option<u32> {
        self.of[partition as usize]
    }

    /// The partitions of a worker, in no order that means anything.
    pub(super) fn members(&self, worker: u32) -> &[u32] {
        &self.members[worker as usize]
    }

    /// Moves a partition.
    pub(super) fn shift(&mut self, partition: u32, to: u32) {
        if let Some(from) = self.of[partition as usize] {
            let (members, place) =
                (&mut self.members[from as usize], self.place[partition as usize]);
            members.swap_remove(place);
            if let Some(last) = members.get(place) {
                self.place[*last as usize] = place;
            }
            let (view, start) = (self.view, from as usize * self.view.resources.len());
            subtract(&mut self.used[start..], view.needs(partition));
            if view.is_observed() {
                subtract(&mut self.busy[start..], view.busy(partition));
            }
            self.spread.take(&view.groups, partition, from);
            self.pulled(partition, |pull, rate| pull.remove(&view.nearness, from, rate));
        }
        self.put(partition, to);
        if !self.bytes.is_empty() {
            let come = self.bytes[to as usize].saturating_add(self.bytes(partition, to));
            self.bytes[to as usize] = come;
        }
    }

    fn put(&mut self, partition: u32, to: u32) {
        self.of[partition as usize] = Some(to);
        self.place[partition as usize] = self.members[to as usize].len();
        self.members[to as usize].push(partition);
        let (view, start) = (self.view, to as usize * self.view.resources.len());
        add(&mut self.used[start..], view.needs(partition));
        if view.is_observed() {
            add(&mut self.busy[start..], view.busy(partition));
        }
        self.spread.put(&view.groups, partition, to);
        self.pulled(partition, |pull, rate| pull.add(&view.nearness, to, rate));
    }

    /// Tells those of a partition's neighbors that have many.
    fn pulled(&mut self, partition: u32, tell: impl Fn(&mut Pull, i64)) {
        if self.pulls.is_empty() {
            return;
        }
        for (neighbor, rate) in self.view.neighbors(partition) {
            if let Some(pull) = self.pulls.get_mut(neighbor) {
                tell(pull, *rate);
            }
        }
    }

    /// The first group of a partition of which a worker has another, and that.
    pub(super) fn shared(&self, partition: u32, worker: u32) -> Option<(u32, u32)> {
        self.spread.shared(&self.view.groups, partition, worker)
    }

    /// The bytes that a partition's record takes on a worker; 0 when nobody asks.
    pub(super) fn bytes(&self, partition: u32, worker: u32) -> u64 {
        let bytes = self.view.bytes.as_ref();
        bytes.map_or(0, |it| it.need[partition as usize].saturating_add(it.extra[worker as usize]))
    }

    /// The bytes that a partition's record takes on any worker.
    pub(super) fn bytes_least(&self, partition: u32) -> u64 {
        self.view.bytes.as_ref().map_or(0, |it| it.need[partition as usize])
    }

    /// The bytes that a worker has left.
    pub(super) fn bytes_left(&self, worker: u32) -> u64 {
        let at = worker as usize;
        let bytes = self.view.bytes.as_ref();
        bytes.map_or(u64::MAX, |it| it.left[at].saturating_sub(self.bytes[at]))
    }

    /// Adds a partition to a worker without taking it from where it is. Whether it fits there.
    pub(super) fn adds_up(&mut self, partition: u32, to: u32) -> bool {
        let fits = self.fits(partition, to);
        self.put(partition, to);
        fits
    }

    pub(super) fn used(&self, worker: u32) -> &[u128] {
        let count = self.view.resources.len();
        &self.used[worker as usize * count..(worker as usize + 1) * count]
    }

    fn weight(&self, worker: u32) -> &[u128] {
        let count = self.view.resources.len();
        &self.weight[worker as usize * count..(worker as usize + 1) * count]
    }

    /// The first resource of which a worker's partitions need more than it gives.
    pub(super) fn overloaded(&self, worker: u32) -> Option<usize> {
        let pairs = self.used(worker).iter().zip(self.view.capacity(worker));
        pairs.into_iter().position(|(used, gives)| used > gives)
    }

    /// What a worker's partitions use, by resource.
    fn busy(&self, worker: u32) -> &[u128] {
        let count = self.view.resources.len();
        let of = if self.view.is_observed() { &self.busy } else { &self.used };
        &of[worker as usize * count..(worker as usize + 1) * count]
    }

    /// A worker's load.
    pub(super) fn load(&self, worker: u32) -> u64 {
        share(self.busy(worker).iter().copied().zip(self.weight(worker)))
    }

    /// A worker's load with one partition more.
    pub(super) fn load_with(&self, worker: u32, partition: u32) -> u64 {
        let uses = self.view.busy(partition).iter().map(|it| u128::from(*it));
        let sums = self.busy(worker).iter().zip(uses).map(|(busy, uses)| busy + uses);
        share(sums.zip(self.weight(worker)))
    }

    /// A worker's load with one of its partitions less.
    pub(super) fn load_without(&self, worker: u32, partition: u32) -> u64 {
        let uses = self.view.busy(partition).iter().map(|it| u128::from(*it));
        let rests = self.busy(worker).iter().zip(uses).map(|(busy, uses)| busy - uses);
        share(rests.zip(self.weight(worker)))
    }

    /// The load that every worker would have if all could be divided: the largest share that all
    /// partitions need of what the workers that take any give.
    pub(super) fn fair(&self) -> u64 {
        let count = self.view.resources.len();
        let sum_of = |of: &mut dyn Iterator<Item = u128>| of.fold(0, u128::saturating_add);
        let shares = (0..count).map(|resource| {
            let mut uses = self.view.all_busy()[resource..].iter().step_by(count);
            let mut uses = uses.by_ref().map(|it| u128::from(*it));
            let takers = self.view.worker_numbers().filter(|worker| self.view.takes(*worker));
            let mut gives = takers.map(|worker| self.weight(worker)[resource]);
            (sum_of(&mut uses), sum_of(&mut gives).max(1))
        });
        let shares: Vec<(u128, u128)> = shares.collect();
        share(shares.iter().map(|(need, gives)| (*need, gives)))
    }

    /// What a partition would cost on a worker: what it exchanges with each other partition times how
    /// far that one is. What has no place does not count.
    pub(super) fn traffic(&self, partition: u32, worker: u32) -> i64 {
        if let Some(pull) = self.pull(partition) {
            return pull.cost(&self.view.nearness, worker);
        }
        let mut sum = 0_i64;
        for (neighbor, rate) in self.view.neighbors(partition) {
            if let Some(there) = self.of(*neighbor) {
                let distance = i64::from(self.view.distance(worker, there));
                sum = sum.saturating_add(rate.saturating_mul(distance));
            }
        }
        sum
    }

    fn pull(&self, partition: u32) -> Option<&Pull> {
        let many = self.view.neighbors(partition).len() > FEW;
        many.then(|| self.pulls.get(&partition)).flatten()
    }

    /// The workers that have neighbors of a partition.
    pub(super) fn near(&self, partition: u32) -> BTreeSet<u32> {
        if let Some(pull) = self.pull(partition) {
            return pull.workers(&self.view.nearness).collect();
        }
        let neighbors = self.view.neighbors(partition).iter();
        neighbors.filter_map(|(neighbor, _)| self.of(*neighbor)).collect()
    }

    /// What all traffic costs; each pair counts once.
    pub(super) fn all_traffic(&self) -> u64 {
        let placed = self.view.partition_numbers().filter_map(|it| Some((it, self.of(it)?)));
        let sum: u128 =
            placed.map(|(it, worker)| u128::from(self.traffic(it, worker).unsigned_abs())).sum();
        u64::try_from(sum / 2).unwrap_or(u64::MAX)
    }

    /// A partition's largest share of what all use, parts per million.
    pub(super) fn size(&self, partition: u32, totals: &[u128]) -> u64 {
        let uses = self.view.busy(partition).iter().map(|it| u128::from(*it));
        share(uses.zip(totals))
    }

    /// What all partitions use, by resource; at least 1.
    pub(super) fn totals(&self) -> Vec<u128> {
        let count = self.view.resources.len();
        let total = |resource: usize| {
            let uses = self.view.all_busy()[resource..].iter().step_by(count);
            uses.map(|it| u128::from(*it)).sum::<u128>().max(1)
        };
        (0..count).map(total).collect()
    }

    pub(super) fn standing(&self) -> Standing {
        let takers = self.view.worker_numbers().filter(|worker| self.view.takes(*worker));
        let workers: Vec<WorkerStanding> = takers
            .map(|worker| WorkerStanding {
                worker: self.view.workers[worker as usize].name.clone(),
                partitions: u32::try_from(self.members(worker).len()).unwrap_or(u32::MAX),
                load_ppm: self.load(worker),
            })
            .collect();
        let loads: Vec<u64> = workers.iter().map(|worker| worker.load_ppm).collect();
        let deviation_ppm = imbalance_ppm(&loads);
        Standing { workers, deviation_ppm, traffic: self.all_traffic() }
    }
}

fn add(sums: &mut [u128], parts: &[u64]) {
    sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += u128::from(*part));
}

fn subtract(sums: &mut [u128], parts: &[u64]) {
    sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum -= u128::from(*part));
}

/// The largest of some parts of their wholes, parts per million.
fn share<'b>(of: impl Iterator<Item = (u128, &'b u128)>) -> u64 {
    let shares = of.map(|(part, whole)| part.saturating_mul(PPM) / (*whole).max(1));
    u64::try_from(shares.max().unwrap_or(0)).unwrap_or(u64::MAX)
}

fn weights(view: &ClusterView) -> Vec<u128> {
    let count = view.resources.len();
    let takers: Vec<u32> = view.worker_numbers().filter(|worker| view.takes(*worker)).collect();
    let limits = |resource: usize| -> Vec<u128> {
        let gives = takers.iter().map(|worker| view.capacity(*worker)[resource]);
        gives.filter(|it| *it != UNLIMITED).collect()
    };
    let limits: Vec<Vec<u128>> = (0..count).map(limits).collect();
    let any = limits.iter().any(|limits| !limits.is_empty());
    let usual = |resource: usize| match limits[resource].as_slice() {
        [] if any => UNLIMITED,
        [] => {
            let uses = view.all_busy()[resource..].iter().step_by(count);
            uses.map(|it| u128::from(*it)).sum::<u128>() / (takers.len().max(1) as u128)
        }
        limits => limits.iter().sum::<u128>() / (limits.len() as u128),
    };
    let usual: Vec<u128> = (0..count).map(usual).collect();
    let weight = |worker: u32| {
        let gives = view.capacity(worker).iter().zip(&usual);
        gives.map(|(gives, usual)| if *gives == UNLIMITED { *usual } else { *gives })
    };
    view.worker_numbers().flat_map(weight).map(|weight| weight.max(1)).collect()
}
