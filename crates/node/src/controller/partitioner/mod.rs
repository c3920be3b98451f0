//! Splits partitions that are too large, and merges those that are too small: one change of one network at a
//! look.
//!
//! A partition is too large when its owner observes more load than `split_load_ppm_above`, or when it has more
//! processes than `split_processes_above`. Two are merged when both are observed to have less load than
//! `merge_load_ppm_below`, and what they have together is at most half of what would be split: what was split
//! is not merged by the same load, nor the other way round. A network whose description or partitions changed
//! within `split_cooldown_ms` is left alone, as far as the history goes back.

#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap};

use quorate_core::{Key, Kind, Name, PartitionId, PartitionState, Record, Settings, State};
use quorate_plan::Strategies;

use super::{
    activity::Controller,
    scaler::load,
    steward::{Act, Idle, Now, Steward},
};
use crate::network::{Reshape, plan_reshape};

/// So many partitions, or pairs, are tried at a look: constraints may forbid some.
const TRIED_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Partitioner {
    /// How many looks in a row found only what is forbidden: the next one tries others.
    in_vain: usize,
}

impl Steward for Partitioner {
    const CONTROLLER: Controller = Controller::Partitioner;

    fn interval_ms(settings: &Settings) -> u64 {
        settings.split_interval_ms
    }

    fn held(settings: &Settings) -> Option<Idle> {
        match (settings.maintenance, settings.split_enabled) {
            (1, _) => Some(Idle::Maintenance),
            (_, 0) => Some(Idle::Disabled),
            _ => None,
        }
    }

    fn decide(&mut self, state: &State, strategies: &Strategies, now: Now) -> Vec<Act> {
        let networks = sizes(state, now.unix_ms);
        let settings = state.settings();
        let mut wanted: Vec<_> =
            networks.values().flatten().filter_map(|it| excess(settings, it)).collect();
        wanted.sort_by_key(|(excess, id, _)| (Reverse(*excess), *id));
        let splits = wanted
            .into_iter()
            .map(|(_, id, reason)| (Reshape::Split { id: id.clone(), into: 2 }, "split", reason));
        let merges = networks.values().flat_map(|sizes| pairs(settings, sizes));
        let splits = turned(splits.collect(), self.in_vain);
        let merges = turned(merges.collect(), self.in_vain);
        let tried: Vec<_> = splits.take(TRIED_MAX).chain(merges.take(TRIED_MAX)).collect();
        let wanted = !tried.is_empty();
        let acts = tried.into_iter().filter_map(|(reshape, what, reason)| {
            match plan_reshape(state, strategies, &reshape) {
                Ok(planned) => {
                    Some(Act { command: planned.command, reason, counts: vec![(what, 1)] })
                }
                Err(rejection) => {
                    tracing::debug!(?reshape, %rejection, "it cannot be done");
                    None
                }
            }
        });
        let acts: Vec<Act> = acts.take(1).collect();
        self.in_vain = if wanted && acts.is_empty() { self.in_vain + 1 } else { 0 };
        acts
    }
}

/// Begins further on with each look in vain, so that what is always forbidden keeps nothing else back.
fn turned<T>(mut all: Vec<T>, in_vain: usize) -> impl Iterator<Item = T> {
    let by = (in_vain * TRIED_MAX) % all.len().max(1);
    all.rotate_left(by);
    all.into_iter()
}

/// A partition, as far as it matters here.
struct Size {
    id: PartitionId,
    processes: u64,
    /// None: it was not observed since it changed last.
    load_ppm: Option<u64>,
}

/// The partitions of networks that may be changed.
fn sizes(state: &State, unix_ms: u64) -> BTreeMap<Name, Vec<Size>> {
    let mut networks: BTreeMap<Name, Vec<Size>> = BTreeMap::new();
    for (key, record) in state.records_of(Kind::Partition) {
        let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse);
        let (Some(id), Record::Partition(partition)) = (id, &record.value) else { continue };
        if partition.state == PartitionState::Deleted {
            continue;
        }
        let processes = partition.processes.len() as u64;
        let load_ppm = load(state, &id, partition, record.modified);
        networks.entry(id.network.clone()).or_default().push(Size { id, processes, load_ppm });
    }
    networks.retain(|name, _| !rests(state, name, unix_ms));
    networks
}

/// Whether a network changed within the cooldown. A change that the history does not hold any more counts as
/// long ago, and so does one from far in the future: a clock was wrong then.
fn rests(state: &State, name: &Name, unix_ms: u64) -> bool {
    let changed = state.get(&Key::network(name)).and_then(|it| state.history().get(it.modified));
    changed.is_some_and(|it| unix_ms.abs_diff(it.time_ms) < state.settings().split_cooldown_ms)
}

/// By how much a partition is too large, parts per million of what it may have, and why.
fn excess<'a>(settings: &Settings, it: &'a Size) -> Option<(u64, &'a PartitionId, String)> {
    if it.processes < 2 {
        return None;
    }
    let share = |has: u64, may: u64| has.saturating_mul(1_000_000) / may.max(1);
    let (load_max, processes_max) = (settings.split_load_ppm_above, settings.split_processes_above);
    let load = it.load_ppm.filter(|load| *load > load_max).map(|load| {
        let reason = format!("{} has a load of {load} ppm, above {load_max}", it.id);
        (share(load, load_max), &it.id, reason)
    });
    let many = (processes_max > 0 && it.processes > processes_max).then(|| {
        let reason = format!("{} has {} processes, above {processes_max}", it.id, it.processes);
        (share(it.processes, processes_max), &it.id, reason)
    });
    load.into_iter().chain(many).max_by_key(|(excess, ..)| *excess)
}

/// Pairs of a network that may be merged, those with the least load first.
fn pairs(settings: &Settings, sizes: &[Size]) -> Vec<(Reshape, &'static str, String)> {
    let below = settings.merge_load_ppm_below;
    let small = sizes.iter().filter_map(|it| Some((it.load_ppm.filter(|load| *load < below)?, it)));
    let mut small: Vec<_> = small.collect();
    small.sort_by(|(load, a), (other, b)| (load, &a.id).cmp(&(other, &b.id)));
    let half = |has: u64, may: u64| has.saturating_mul(2) <= may;
    let Some(((first_load, first), others)) = small.split_first() else { return Vec::new() };
    let fits = others.iter().filter(|(load, other)| {
        let processes_max = settings.split_processes_above;
        half(first_load.saturating_add(*load), settings.split_load_ppm_above)
            && (processes_max == 0 || half(first.processes + other.processes, processes_max))
    });
    let pair = fits.take(TRIED_MAX).map(|(load, other)| {
        let ids = vec![first.id.clone(), other.id.clone()];
        let reason = format!(
            "{} and {} have loads of {first_load} and {load} ppm, below {below}",
            first.id, other.id
        );
        (Reshape::Merge { ids }, "merge", reason)
    });
    pair.collect()
}
