//! Places for processes of which some must not meet.
//!
//! One after the other takes the best place that is left for it. At first they come as the strategy has
//! them, and partitions are claimed for the labels that fill them; then those with which the most others
//! conflict come first, and before them who found no place before. After some times, it is given up.
//! Finding such places is as hard as coloring a graph, so there may be some that are not found.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use quorate_core::Name;

use crate::{
    strategy::PartitionRequest,
    tags::{Held, Tag, TagKey},
    view::NetworkView,
};

/// How often it is tried, and how many processes are seated in all attempts together, about.
const ATTEMPTS: usize = 32;
const SEATED: usize = 400_000;

/// How good places are.
pub(crate) trait Seats: Clone {
    /// The greatest is the best.
    type Rank: Ord;

    /// How good a place is for a process that may take it.
    fn rank(&self, process: u32, partition: u32) -> Self::Rank;

    /// A process takes a place.
    fn put(&mut self, process: u32, partition: u32);
}

/// Who is to get a place.
pub(crate) struct Seating<'a> {
    pub(crate) view: &'a NetworkView<'a>,
    pub(crate) partitions: u32,
    /// Who chooses after whom in the first attempt.
    pub(crate) own: Vec<u32>,
    /// And then. The same processes.
    pub(crate) order: Vec<u32>,
    /// Who stays where it is, if it can, by process number. Empty: nobody is anywhere.
    pub(crate) homes: &'a [Option<u32>],
    /// Tags that partitions are meant for, which others do not take if they find another.
    pub(crate) claims: BTreeSet<(u32, Tag)>,
}

/// No partition was found for a process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no partition was found for process {:?}: {}", process.as_str(), constraints.join(", "))]
pub struct NoPlace {
    /// The process.
    pub process: Name,
    /// What kept it out of partitions: labels that it requires, anti-affinity groups. Sorted.
    pub constraints: Vec<String>,
}

impl<'a> Seating<'a> {
    /// All processes in this order, who are nowhere, into partitions that are to have what `targets` says
    /// of their sizes.
    pub(crate) fn of(
        request: &PartitionRequest<'a>,
        own: Vec<u32>,
        size: impl Fn(u32) -> i64,
        targets: &[i64],
    ) -> Self {
        let PartitionRequest { view, partitions, .. } = *request;
        let mut order = view.tagged();
        order.extend(own.iter().filter(|process| view.tags(**process).is_empty()));
        let claims = claims(view, size, targets);
        Self { view, partitions, own, order, homes: &[], claims }
    }

    /// Seats everybody in `order`, beginning with `seats`.
    pub(crate) fn seat<S: Seats>(&self, seats: &S) -> Result<S, NoPlace> {
        let mut first: Vec<u32> = Vec::new();
        let mut answer = Err(self.no_place(0, &Held::default()));
        let attempts = (SEATED / self.order.len().max(1)).clamp(4, ATTEMPTS);
        for attempt in 0..attempts {
            let mut round = Round {
                seating: self,
                held: Held::default(),
                seated: vec![false; self.view.len() as usize],
                seats: seats.clone(),
                members: vec![0; self.partitions as usize],
                begins: attempt == 0,
            };
            match round.run(&first, attempt < attempts / 2) {
                // Claims can keep everybody out of a partition.
                Ok(()) if round.begins && round.members.contains(&0) => {}
                Ok(()) => return Ok(round.seats),
                Err(stuck) => {
                    answer = Err(self.no_place(stuck, &round.held));
                    // Without claims, and then with the one that was stuck before all others.
                    if attempt > 0 {
                        first.retain(|process| *process != stuck);
                        first.insert(0, stuck);
                    }
                }
            }
        }
        answer
    }

    fn no_place(&self, process: u32, held: &Held) -> NoPlace {
        let tags = self.view.tags(process);
        let against = (0..self.partitions).filter_map(|partition| held.against(tags, partition));
        let against: BTreeSet<u32> = against.collect();
        let constraints = against
            .into_iter()
            .filter_map(|key| self.view.tag_keys().get(key as usize).map(ToString::to_string));
        let process = self.view.processes()[process as usize].id.clone();
        NoPlace { process, constraints: constraints.collect() }
    }
}

struct Round<'a, S> {
    seating: &'a Seating<'a>,
    held: Held,
    seated: Vec<bool>,
    seats: S,
    /// How many each partition has.
    members: Vec<u32>,
    /// Whether it is the first attempt.
    begins: bool,
}

impl<S: Seats> Round<'_, S> {
    /// Seats everybody, or gives the one that finds no place.
    fn run(&mut self, first: &[u32], homes: bool) -> Result<(), u32> {
        first.iter().try_for_each(|process| self.choose(*process))?;
        let seating = self.seating;
        let order = if self.begins { &seating.own } else { &seating.order };
        if homes {
            for &process in order {
                let home = seating.homes.get(process as usize).copied().flatten();
                let home = home.filter(|home| !self.is_seated(process) && self.may(process, *home));
                home.into_iter().for_each(|home| self.put(process, home));
            }
        }
        order.iter().try_for_each(|process| self.choose(*process))
    }

    fn is_seated(&self, process: u32) -> bool {
        self.seated[process as usize]
    }

    fn choose(&mut self, process: u32) -> Result<(), u32> {
        if self.is_seated(process) {
            return Ok(());
        }
        let left = (0..self.seating.partitions).filter(|place| self.may(process, *place));
        let best = left.max_by_key(|place| self.seats.rank(process, *place));
        best.map(|place| self.put(process, place)).ok_or(process)
    }

    fn may(&self, process: u32, partition: u32) -> bool {
        let tags = self.seating.view.tags(process);
        partition < self.seating.partitions
            && self.held.fits(tags, partition)
            && !(self.begins && tags.iter().any(|tag| self.is_anothers(partition, *tag)))
    }

    /// Whether a partition is meant for another value.
    fn is_anothers(&self, partition: u32, tag: Tag) -> bool {
        let of = |value| (partition, Tag { value, ..tag });
        let mut claims = self.seating.claims.range(of(0)..=of(u32::MAX));
        claims.next().is_some_and(|(_, claim)| claim.value != tag.value)
    }

    fn put(&mut self, process: u32, partition: u32) {
        self.held.put(self.seating.view.tags(process), partition);
        self.seated[process as usize] = true;
        self.members[partition as usize] += 1;
        self.seats.put(process, partition);
    }
}

/// Claims partitions for the values of labels: the largest for the value that has most left.
fn claims(
    view: &NetworkView<'_>,
    size: impl Fn(u32) -> i64,
    targets: &[i64],
) -> BTreeSet<(u32, Tag)> {
    let mut left: BTreeMap<Tag, i64> = BTreeMap::new();
    for process in view.numbers() {
        for tag in view.tags(process) {
            let label = matches!(view.tag_keys().get(tag.key as usize), Some(TagKey::Label(_)));
            if label {
                *left.entry(*tag).or_default() += size(process);
            }
        }
    }
    let mut partitions: Vec<(i64, u32)> = targets.iter().copied().zip(0..).collect();
    partitions.sort_unstable_by_key(|(target, partition)| (Reverse(*target), *partition));
    let keys: BTreeSet<u32> = left.keys().map(|tag| tag.key).collect();
    let mut claims = BTreeSet::new();
    for key in keys {
        let of = |value| Tag { key, value };
        let left = left.range(of(0)..=of(u32::MAX)).map(|(tag, left)| (*tag, *left)).collect();
        claim(left, &partitions, &mut claims);
    }
    claims
}

/// The same, for the values of one label.
fn claim(
    mut left: BTreeMap<Tag, i64>,
    partitions: &[(i64, u32)],
    claims: &mut BTreeSet<(u32, Tag)>,
) {
    let mut without: BTreeSet<Tag> = left.keys().copied().collect();
    for (at, (target, partition)) in partitions.iter().enumerate() {
        // Everybody gets one at least.
        let last = without.len() >= partitions.len() - at;
        let may = left.iter_mut().filter(|(tag, _)| !last || without.contains(tag));
        let Some((tag, left)) = may.max_by_key(|(tag, left)| (**left, Reverse(**tag))) else {
            return;
        };
        if *left >= *target - *left || without.contains(tag) {
            without.remove(tag);
            *left -= target;
            claims.insert((*partition, *tag));
        }
    }
}
