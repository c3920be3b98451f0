//! From a spec and a state to the command that applies it. Pure.

use std::collections::BTreeSet;

use quorate_core::{
    ApplyNetwork, Command, Generation, Key, KeyRange, Kind, Name, Network, NetworkSpec,
    PartitionId, PartitionPolicy, PartitionState, Record, Rejection, Revision, State,
    rejection::Reason,
};
use quorate_plan::{
    Multilevel, NetworkView, PartitionPlan, PartitionRequest, PlanError, Seed, Strategies,
    partition,
};
use quorate_proto::convert::NetworkNumbers;

use super::summary::summary;

/// How many partitions a new network gets that does not say: so many, or as many as it has
/// processes if they are fewer.
pub const PARTITIONS_DEFAULT: u32 = 4;

/// What applying a network takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made at a time, and taken apart at once")]
pub enum Planned {
    /// Nothing: it is stored as it should be.
    Unchanged(NetworkNumbers),
    /// A command, which makes the network that the numbers describe.
    Change(Command, NetworkNumbers),
}

/// Plans what makes the network in `state` the one described.
///
/// # Errors
/// A rejection, as apply would give it: the spec breaks a rule, or cannot be partitioned as its
/// policy asks.
pub fn plan_apply(
    state: &State,
    strategies: &Strategies,
    name: &Name,
    mut spec: NetworkSpec,
) -> Result<Planned, Rejection> {
    spec.validate(state.settings())?;
    spec.canonicalize();
    let existing = stored(state, name);
    spec.policy = choose_policy(&spec, existing.map(|(_, network)| &network.spec.policy));
    if existing.is_some_and(|(_, network)| network.spec == spec)
        && let Some(numbers) = summary(state, name)
    {
        return Ok(Planned::Unchanged(numbers));
    }
    // A network that is to be partitioned in another way is partitioned anew.
    let same = existing.filter(|(_, now)| now.spec.policy.strategy == spec.policy.strategy);
    let current = same.map(|_| places(state, name, &spec));
    let plan = plan(strategies, &spec, current.as_deref()).map_err(rejection)?;
    let generation = existing.map_or(Generation(1), |(_, network)| network.generation.next());
    let numbers = numbers(name, generation, &spec, &plan);
    let basis = existing.map(|(modified, _)| modified);
    let assignment = plan.assignment.into_of_process();
    let command = ApplyNetwork { name: name.clone(), spec, assignment, basis };
    Ok(Planned::Change(Command::ApplyNetwork(command), numbers))
}

/// Fills in what a policy leaves to the coordinator. What the network has now stays, as far as the
/// constraints of its processes allow it. A new network has [`PARTITIONS_DEFAULT`] partitions, by
/// the multilevel strategy. Shares decide the number of partitions where it is not given.
#[must_use]
pub fn choose_policy(spec: &NetworkSpec, current: Option<&PartitionPolicy>) -> PartitionPolicy {
    let mut partitions = spec.policy.count();
    let mut strategy = spec.policy.strategy.clone();
    if partitions == 0 {
        let possible = spec.partitions_possible();
        let wanted = current.map_or(PARTITIONS_DEFAULT, |now| now.partitions);
        partitions = wanted.max(*possible.start()).min(*possible.end());
    }
    if strategy.as_str() == PartitionPolicy::CHOOSE {
        strategy = current.map_or_else(
            || Name::new(Multilevel::NAME).expect("the constant is a valid name"),
            |now| now.strategy.clone(),
        );
    }
    PartitionPolicy { partitions, strategy, ..spec.policy.clone() }
}

/// A network's record with the revision that changed it last.
pub(super) fn stored<'a>(state: &'a State, name: &Name) -> Option<(Revision, &'a Network)> {
    let record = state.get(&Key::network(name))?;
    match &record.value {
        Record::Network(network) => Some((record.modified, network)),
        _ => None,
    }
}

/// Where each process of the specification is now.
pub(super) fn places(state: &State, name: &Name, spec: &NetworkSpec) -> Vec<Option<u32>> {
    let mut places = vec![None; spec.processes.len()];
    let range = KeyRange::Prefix(Kind::Partition, format!("{name}/").into());
    for (key, record) in state.range(&range) {
        let Record::Partition(partition) = &record.value else { continue };
        let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse);
        let Some(PartitionId { index, .. }) = id else { continue };
        if partition.state == PartitionState::Deleted {
            continue;
        }
        for placed in &partition.processes {
            let at = spec.processes.binary_search_by(|process| process.id.cmp(&placed.id));
            if let Ok(at) = at {
                places[at] = Some(index);
            }
        }
    }
    places
}

pub(super) fn plan(
    strategies: &Strategies,
    spec: &NetworkSpec,
    current: Option<&[Option<u32>]>,
) -> Result<PartitionPlan, PlanError> {
    let strategy = strategies.get(spec.policy.strategy.as_str())?;
    let view = NetworkView::new(spec)?;
    let partitions = spec.policy.partitions;
    // One seed for all: whoever plans the same network plans the same.
    let seed = Seed::default();
    let shares = spec.policy.shares.as_slice();
    partition(strategy, &PartitionRequest { view: &view, partitions, shares, seed, current })
}

pub(super) fn rejection(error: PlanError) -> Rejection {
    match error {
        PlanError::UnknownStrategy(_) => Rejection::invalid("policy.strategy", error.to_string()),
        PlanError::NoPartitions
        | PlanError::TooManyPartitions { .. }
        | PlanError::Together { .. }
        | PlanError::NoPlace { .. } => Rejection::invalid("policy.partitions", error.to_string()),
        PlanError::Shares { .. } => Rejection::invalid("policy.shares", error.to_string()),
        PlanError::Contradiction { .. } => Rejection::invalid("processes", error.to_string()),
        PlanError::View(_) => Rejection::invalid("spec", error.to_string()),
        PlanError::Failed { .. }
        | PlanError::Constraint { .. }
        | PlanError::Malformed { .. }
        | PlanError::Current { .. }
        | PlanError::Unnamed(_) => Rejection::new(Reason::PreconditionFailed, error.to_string()),
    }
}

fn numbers(
    name: &Name,
    generation: Generation,
    spec: &NetworkSpec,
    plan: &PartitionPlan,
) -> NetworkNumbers {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    NetworkNumbers {
        name: name.clone(),
        generation,
        processes: count(spec.processes.len()),
        partitions: spec.policy.partitions,
        connections: count(crossings(spec, plan)),
        edges: count(spec.connections.len()),
        cut_rate: plan.facts.cut_rate,
        total_rate: plan.facts.total_rate,
        strategy: spec.policy.strategy.clone(),
    }
}

/// How many ordered pairs of partitions have an edge between them.
fn crossings(spec: &NetworkSpec, plan: &PartitionPlan) -> usize {
    let of_process = plan.assignment.of_process();
    let partition_of = |id: &Name| {
        let at = spec.processes.binary_search_by(|process| process.id.cmp(id)).ok()?;
        of_process.get(at).copied()
    };
    let pairs = spec.connections.iter().map(|e| (partition_of(&e.from), partition_of(&e.to)));
    pairs.filter(|(from, to)| from != to).collect::<BTreeSet<_>>().len()
}
