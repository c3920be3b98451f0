//! A network in which the processes of one affinity group are one process.
//!
//! Strategies only see this one, so that none can tear a group apart.

use std::collections::BTreeMap;

use quorate_core::{Name, Parallelism, Process, Resources};

use crate::{
    tags::Tags,
    view::{Edge, NetworkView},
};

/// Which processes are one.
pub(crate) struct Merged<'a> {
    view: &'a NetworkView<'a>,
    /// The unit of each process.
    units: Vec<u32>,
    /// One process for each unit, with the id of the first of them.
    processes: Vec<Process>,
}

impl<'a> Merged<'a> {
    /// None: no two processes are of one affinity group.
    pub(crate) fn of(view: &'a NetworkView<'a>) -> Option<Self> {
        let mut numbers: BTreeMap<&Name, u32> = BTreeMap::new();
        let mut units = Vec::new();
        let mut count = 0;
        for process in view.processes() {
            let mut next = || {
                count += 1;
                count - 1
            };
            units.push(match &process.affinity {
                Some(group) => *numbers.entry(group).or_insert_with(next),
                None => next(),
            });
        }
        if count == view.len() {
            return None;
        }
        let mut processes: Vec<Process> = Vec::with_capacity(count as usize);
        let mut needs = vec![Resources::default(); count as usize];
        for (process, unit) in view.processes().iter().zip(&units) {
            needs[*unit as usize].add(&process.needs, process.parallelism.min);
            if processes.len() == *unit as usize {
                let parallelism = Parallelism { min: 1, max: 1 };
                processes.push(Process { parallelism, ..process.clone() });
            }
        }
        processes.iter_mut().zip(needs).for_each(|(process, needs)| process.needs = needs);
        Some(Self { view, units, processes })
    }

    /// The unit of each process.
    pub(crate) fn units(&self) -> &[u32] {
        &self.units
    }

    /// How it looks to strategies.
    pub(crate) fn view(&self) -> NetworkView<'_> {
        let unit = |process: u32| self.units[process as usize];
        let mut edges: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for edge in self.view.edges() {
            let rate = edges.entry((unit(edge.from), unit(edge.to))).or_default();
            *rate = rate.saturating_add(edge.rate);
        }
        let edges = edges.into_iter().map(|((from, to), rate)| Edge { from, to, rate }).collect();
        let count = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        let tags = Tags::of(self.view.processes(), |at| self.units[at], count);
        NetworkView::of_parts(&self.processes, edges, tags)
    }

    /// Where each unit is: where most of it is, and the lower of two.
    pub(crate) fn current(&self, of_process: &[Option<u32>]) -> Vec<Option<u32>> {
        let mut counts: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for (unit, place) in self.units.iter().zip(of_process) {
            if let Some(place) = place {
                *counts.entry((*unit, *place)).or_default() += 1;
            }
        }
        let mut best: Vec<Option<(u32, u32)>> = vec![None; self.processes.len()];
        for ((unit, place), count) in counts {
            let known = &mut best[unit as usize];
            if known.is_none_or(|(most, _)| count > most) {
                *known = Some((count, place));
            }
        }
        best.into_iter().map(|best| best.map(|(_, place)| place)).collect()
    }

    /// The partition of each process, given that of each unit. A unit without one has none.
    pub(crate) fn spread(&self, of_unit: &[u32]) -> Vec<u32> {
        self.units.iter().filter_map(|unit| of_unit.get(*unit as usize)).copied().collect()
    }
}
