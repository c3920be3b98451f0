//! Places for processes of which some must not meet.
//!
//! One after the other takes the best place that is left for it, those with which the most others conflict
//! first. Who finds none is the first to choose the next time; after some times, it is given up.
//! Finding such places is as hard as coloring a graph, so there may be some that are not found.

use std::collections::BTreeSet;

use quorate_core::Name;

use crate::{
    strategy::PartitionRequest,
    tags::{Held, Tag},
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
    /// Who chooses when nobody was stuck yet.
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
    /// All processes in this order, but those that must not meet others before all.
    pub(crate) fn of(request: &PartitionRequest<'a>, order: Vec<u32>) -> Self {
        let PartitionRequest { view, partitions, .. } = *request;
        let mut all = view.tagged();
        all.extend(order.into_iter().filter(|process| view.tags(*process).is_empty()));
        Self { view, partitions, order: all, homes: &[], claims: BTreeSet::new() }
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
                claims: attempt == 0,
            };
            match round.run(&first, attempt < attempts / 2) {
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
    claims: bool,
}

impl<S: Seats> Round<'_, S> {
    /// Seats everybody, or gives the one that finds no place.
    fn run(&mut self, first: &[u32], homes: bool) -> Result<(), u32> {
        first.iter().try_for_each(|process| self.choose(*process))?;
        let seating = self.seating;
        if homes {
            for &process in &seating.order {
                let home = seating.homes.get(process as usize).copied().flatten();
                let home = home.filter(|home| !self.is_seated(process) && self.may(process, *home));
                home.into_iter().for_each(|home| self.put(process, home));
            }
        }
        seating.order.iter().try_for_each(|process| self.choose(*process))
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
            && !(self.claims && tags.iter().any(|tag| self.is_anothers(partition, *tag)))
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
        self.seats.put(process, partition);
    }
}
