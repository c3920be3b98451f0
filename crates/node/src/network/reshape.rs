//! Splitting and merging partitions: from what is asked to the command that does it. Pure.
//!
//! ```text
//! split: processes of one partition -> the network's strategy, on them alone -> the heaviest part stays
//! merge: processes of some -> the lowest number; the last partitions take the numbers that are free
//! ```
//!
//! Invariants: processes of all other partitions stay where they are; the basis is the network's record,
//! so that nothing is done, not half of it, when the network has changed since. Partitions stay numbered
//! from 0 without a gap, as shares, strategies and clients count on: a merge therefore gives each number
//! that becomes free to the last partition that is not merged, and disturbs no other.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use quorate_core::{
    ApplyNetwork, Command, Event, Name, NetworkSpec, PartitionId, PartitionPolicy, Rejection,
    Revision, Stamp, State, apply, constraint, plan::Reshaping, rejection::Reason,
};
use quorate_plan::{PartitionPlan, PlanError, Strategies};

use super::{
    planned::{places, plan, rejection, stored},
    summary::summary,
};

/// What is asked of a network's partitions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum Reshape {
    /// Divides a partition.
    Split {
        /// The partition.
        id: PartitionId,
        /// Into how many, at least 2.
        into: u32,
    },
    /// Makes one partition of several.
    Merge {
        /// At least two of one network.
        ids: Vec<PartitionId>,
    },
}

/// A command, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedReshape {
    /// The command.
    pub command: Command,
    /// What it does to the state that it was planned on.
    pub reshaping: Reshaping,
}

/// Plans what is asked. Nothing is changed.
///
/// # Errors
/// A rejection with the field and the rule: there is no such partition, or what is asked contradicts the
/// constraints of its processes.
pub fn plan_reshape(
    state: &State,
    strategies: &Strategies,
    reshape: &Reshape,
) -> Result<PlannedReshape, Rejection> {
    let command = match reshape {
        Reshape::Split { id, into } => split(state, strategies, id, *into)?,
        Reshape::Merge { ids } => merge(state, ids)?,
    };
    let name = command.name.clone();
    let command = Command::ApplyNetwork(command);
    let mut then = state.clone();
    let applied = apply(&mut then, Stamp::at(state.time_ms()), &command);
    applied.outcome.result?;
    let reshaping = applied.event.and_then(|event| reshaping(&then, &name, &event));
    let reshaping = reshaping.ok_or_else(|| absent("network", &name))?;
    Ok(PlannedReshape { command, reshaping })
}

/// What a revision did to a network. None: it is not known any more.
#[must_use]
pub fn reshaped_at(state: &State, name: &Name, revision: Revision) -> Option<Reshaping> {
    reshaping(state, name, state.history().get(revision)?)
}

fn reshaping(then: &State, name: &Name, event: &Event) -> Option<Reshaping> {
    let numbers = summary(then, name)?;
    Some(Reshaping::of(name, &event.changes, numbers.partitions, numbers.cut_rate))
}

fn absent(what: &str, id: &impl std::fmt::Display) -> Rejection {
    let rejection = Rejection::new(Reason::NotFound, format!("no {what} {id}"));
    Rejection { field: "partition".into(), ..rejection }
}

/// A network and where its processes are.
struct Now<'a> {
    basis: Revision,
    spec: &'a NetworkSpec,
    /// By the number of the process.
    places: Vec<u32>,
}

impl<'a> Now<'a> {
    fn of(state: &'a State, name: &Name) -> Result<Self, Rejection> {
        let (basis, network) = stored(state, name).ok_or_else(|| absent("network", name))?;
        let spec = &network.spec;
        let places: Option<Vec<u32>> = places(state, name, spec).into_iter().collect();
        let places = places.ok_or_else(|| absent("whole network", name))?;
        Ok(Self { basis, spec, places })
    }

    fn has(&self, id: &PartitionId) -> Result<(), Rejection> {
        let there = id.index < self.spec.policy.partitions;
        if there { Ok(()) } else { Err(absent("partition", id)) }
    }

    /// The network with its processes elsewhere, and so many partitions.
    fn becomes(&self, name: &Name, places: Vec<u32>, shares: Vec<u32>, count: u32) -> ApplyNetwork {
        let policy = PartitionPolicy { partitions: count, shares, ..self.spec.policy.clone() };
        let spec = NetworkSpec { policy, ..self.spec.clone() };
        ApplyNetwork { name: name.clone(), spec, assignment: places, basis: Some(self.basis) }
    }
}

fn split(
    state: &State,
    strategies: &Strategies,
    id: &PartitionId,
    into: u32,
) -> Result<ApplyNetwork, Rejection> {
    let now = Now::of(state, &id.network)?;
    now.has(id)?;
    let members: Vec<usize> =
        (0..now.places.len()).filter(|at| now.places[*at] == id.index).collect();
    if members.len() == 1 {
        let rule = format!("more than one process; {id} has one, which is never split");
        return Err(Rejection::invalid("partition", rule));
    }
    if into < 2 {
        return Err(Rejection::invalid("into", "at least 2"));
    }
    let part = part(now.spec, &members, into);
    let plan = plan(strategies, &part, None).map_err(|error| refused(id, error))?;
    let numbers = numbers(&plan, id.index, now.spec.policy.partitions);
    let mut places = now.places.clone();
    for (at, part) in members.into_iter().zip(plan.assignment.of_process()) {
        places[at] = numbers[*part as usize];
    }
    let shares = split_shares(&now.spec.policy.shares, id.index, into)?;
    let count = now.spec.policy.partitions.saturating_add(into - 1);
    Ok(now.becomes(&id.network, places, shares, count))
}

/// Some processes of a network, with what they send each other.
fn part(spec: &NetworkSpec, members: &[usize], partitions: u32) -> NetworkSpec {
    let processes: Vec<_> = members.iter().map(|at| spec.processes[*at].clone()).collect();
    let has = |id: &Name| processes.binary_search_by(|process| process.id.cmp(id)).is_ok();
    let within = spec.connections.iter().filter(|edge| has(&edge.from) && has(&edge.to));
    let connections = within.cloned().collect();
    let strategy = spec.policy.strategy.clone();
    let policy = PartitionPolicy { partitions, strategy, ..PartitionPolicy::default() };
    NetworkSpec { processes, connections, policy, connection: spec.connection }
}

fn refused(id: &PartitionId, error: PlanError) -> Rejection {
    match error {
        PlanError::TooManyPartitions { processes, .. } => Rejection::invalid(
            "into",
            format!("at most the number of processes of {id}, {processes}"),
        ),
        PlanError::Together { units: 1, .. } => {
            let rule = format!("more than one affinity group; all processes of {id} are of one");
            Rejection::invalid("partition", rule)
        }
        PlanError::Together { units, .. } => {
            let rule = format!("at most {units}: so many of {id} may be apart by affinity");
            Rejection::invalid("into", rule)
        }
        PlanError::NoPlace { .. } => Rejection::invalid("into", error.to_string()),
        error => rejection(error),
    }
}

/// The numbers of the parts: the heaviest keeps that of the partition, so that least of it moves.
fn numbers(plan: &PartitionPlan, kept: u32, count: u32) -> Vec<u32> {
    let parts = &plan.facts.partitions;
    // Of equals, the first.
    let heaviest = (0..parts.len()).rev().max_by_key(|at| parts[*at].load_ppm).unwrap_or(0);
    let mut free = count..;
    let number = |at| if at == heaviest { Some(kept) } else { free.next() };
    (0..parts.len()).filter_map(number).collect()
}

/// Each part has the same share, all together what the partition had.
fn split_shares(shares: &[u32], index: u32, into: u32) -> Result<Vec<u32>, Rejection> {
    let Some(own) = shares.get(index as usize).map(|share| u64::from(*share)) else {
        return Ok(Vec::new());
    };
    let mut split: Vec<u64> = shares.iter().map(|it| u64::from(*it) * u64::from(into)).collect();
    split[index as usize] = own;
    split.extend((1..into).map(|_| own));
    reduced(split)
}

/// In the same proportion, as small as may be.
fn reduced(shares: Vec<u64>) -> Result<Vec<u32>, Rejection> {
    let divisor = shares.iter().copied().fold(0, gcd).max(1);
    let reduced = shares.into_iter().map(|share| u32::try_from(share / divisor));
    let reduced: Result<Vec<u32>, _> = reduced.collect();
    reduced.map_err(|_| Rejection::invalid("policy.shares", "they must stay below 2^32"))
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn merge(state: &State, ids: &[PartitionId]) -> Result<ApplyNetwork, Rejection> {
    let Some(first) = ids.first().filter(|_| ids.len() > 1) else {
        return Err(Rejection::invalid("partitions", "at least two"));
    };
    let name = &first.network;
    let now = Now::of(state, name)?;
    let mut merged = BTreeSet::new();
    for (at, id) in ids.iter().enumerate() {
        let field = || format!("partitions[{at}]");
        if id.network != *name {
            return Err(Rejection::invalid(
                field(),
                format!("of the network {name}, as the first"),
            ));
        }
        now.has(id).map_err(|rejection| Rejection { field: field(), ..rejection })?;
        if !merged.insert(id.index) {
            return Err(Rejection::invalid(field(), format!("not {id} twice")));
        }
    }
    let numbers = merged_numbers(&merged, now.spec.policy.partitions);
    let places: Vec<u32> = now.places.iter().map(|place| numbers[*place as usize]).collect();
    constraint::check(&now.spec.processes, &places)
        .map_err(|conflict| Rejection::invalid("partitions", conflict.to_string()))?;
    let count = numbers.iter().max().map_or(0, |last| last + 1);
    let shares = now.spec.policy.shares.iter().zip(&numbers);
    let mut sums = vec![0_u64; if now.spec.policy.shares.is_empty() { 0 } else { count as usize }];
    for (share, number) in shares {
        sums[*number as usize] += u64::from(*share);
    }
    let shares = if sums.is_empty() { Vec::new() } else { reduced(sums)? };
    Ok(now.becomes(name, places, shares, count))
}

/// The number that each partition has then.
fn merged_numbers(merged: &BTreeSet<u32>, count: u32) -> Vec<u32> {
    let home = merged.first().copied().unwrap_or(0);
    let gone = u32::try_from(merged.len()).unwrap_or(u32::MAX).saturating_sub(1);
    let left = count.saturating_sub(gone);
    let mut free = merged.iter().copied().filter(|it| *it != home && *it < left);
    let number = |index: u32| match merged.contains(&index) {
        true => home,
        false if index >= left => free.next().unwrap_or(index),
        false => index,
    };
    (0..count).map(number).collect()
}
