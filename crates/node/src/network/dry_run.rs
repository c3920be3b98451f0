//! What applying a network would do: it is applied, to a copy of the state. Pure.

use std::{
    cmp::{Reverse, max, min},
    collections::BTreeMap,
};

use quorate_core::{
    ApplyOutcome, KeyRange, Kind, Name, NetworkSpec, PartitionId, PartitionState, Process,
    ProcessEdge, Record, Rejection, Reply, Resources, Stamp, State, apply,
    plan::{GranularityLimited, LaidOut, Layout, NetworkPlan, Plan, ProcessMove, ProcessReason},
    rejection::Reason,
};
use quorate_plan::{
    COARSE_PPM, Strategies,
    cluster::{BalancePolicy, ClusterView, Moves, WorkerSpec, rebalance},
    imbalance_of_shares_ppm,
};
use quorate_proto::convert::NetworkNumbers;

use super::planned::{Planned, plan_apply, stored};

/// What applying a network would do, and the network in numbers as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// What it would do.
    pub plan: NetworkPlan,
    /// The network as it would be.
    pub numbers: NetworkNumbers,
}

/// Applies a network to a copy of the state. `workers`: those that there are supposed to be; None: those
/// that there are.
///
/// # Errors
/// A rejection, as apply would give it, or of a worker that is supposed twice.
pub fn dry_run(
    state: &State,
    strategies: &Strategies,
    name: &Name,
    spec: NetworkSpec,
    workers: Option<Vec<WorkerSpec>>,
) -> Result<DryRun, Rejection> {
    let mut then = state.clone();
    let (outcome, numbers) = match plan_apply(state, strategies, name, spec)? {
        Planned::Unchanged(numbers) => (ApplyOutcome::Unchanged, numbers),
        Planned::Change(command, mut numbers) => {
            let applied = apply(&mut then, Stamp::at(state.time_ms()), &command);
            let Reply::ApplyNetwork { outcome, generation } = applied.outcome.result? else {
                let message = "the state answered another kind of command";
                return Err(Rejection::new(Reason::PreconditionFailed, message));
            };
            numbers.generation = generation;
            (outcome, numbers)
        }
    };
    let (before, after) = (layout(state, name), layout(&then, name));
    let moves = process_moves(&then, name, &before, &after);
    let placement = placement(&then, name, workers)?;
    Ok(DryRun { plan: NetworkPlan { outcome, before, after, moves, placement }, numbers })
}

/// Loads whose deviation is less are even.
const EVEN_PPM: u64 = 100_000;

/// A network in partitions, as it is stored.
fn layout(state: &State, name: &Name) -> Layout {
    let range = KeyRange::Prefix(Kind::Partition, format!("{name}/").into());
    let partitions = state.range(&range).filter_map(|(key, record)| {
        let Record::Partition(partition) = &record.value else { return None };
        let id = PartitionId::parse(std::str::from_utf8(&key.bytes).ok()?)?;
        (partition.state != PartitionState::Deleted).then(|| LaidOut {
            id,
            processes: partition.processes.iter().map(|process| process.id.clone()).collect(),
            demand: partition.demand.clone(),
            load_ppm: partition.load_ppm,
        })
    });
    let mut partitions: Vec<LaidOut> = partitions.collect();
    partitions.sort_by_key(|partition| partition.id.index);
    let loads: Vec<u64> = partitions.iter().map(|partition| partition.load_ppm).collect();
    let spec = stored(state, name).map(|(_, network)| &network.spec);
    let shares = spec.map_or([].as_slice(), |spec| &spec.policy.shares);
    let deviation_ppm = imbalance_of_shares_ppm(&loads, shares);
    let limited = spec.filter(|_| deviation_ppm > EVEN_PPM);
    let limited = limited.and_then(|spec| granularity(spec, &partitions));
    Layout { partitions, deviation_ppm, limited }
}

/// The largest process of a network, if it is large for a partition.
fn granularity(spec: &NetworkSpec, partitions: &[LaidOut]) -> Option<GranularityLimited> {
    let total = demand(partitions);
    let mean =
        partitions.iter().map(|it| it.load_ppm).sum::<u64>() / partitions.len().max(1) as u64;
    let share = |process: &Process| {
        let mut needs = Resources::default();
        needs.add(&process.needs, process.parallelism.min);
        needs.dominant_share_ppm(&total)
    };
    let shares = spec.processes.iter().map(|process| (share(process), Reverse(&process.id)));
    let (share, Reverse(process)) = shares.max()?;
    let share_ppm = share.saturating_mul(1_000_000) / mean.max(1);
    let limited = GranularityLimited { process: process.clone(), share_ppm };
    (share_ppm > u64::from(COARSE_PPM)).then_some(limited)
}

/// What all partitions need together.
fn demand(partitions: &[LaidOut]) -> Resources {
    partitions.iter().fold(Resources::default(), |mut sum, it| {
        sum.add(&it.demand, 1);
        sum
    })
}

/// The processes that change their partitions, by id.
fn process_moves(then: &State, name: &Name, before: &Layout, after: &Layout) -> Vec<ProcessMove> {
    let Some((_, network)) = stored(then, name) else { return Vec::new() };
    let places = |layout: &Layout| -> BTreeMap<Name, u32> {
        let places = layout.partitions.iter();
        places
            .flat_map(|it| it.processes.iter().map(|process| (process.clone(), it.id.index)))
            .collect()
    };
    let (was, is) = (places(before), places(after));
    let gains = gains(&network.spec.connections, &was, &is);
    let partitions = u32::try_from(after.partitions.len()).unwrap_or(u32::MAX);
    let total = demand(&after.partitions);
    let moved = network.spec.processes.iter().filter_map(|process| {
        let (from, to) = (was.get(&process.id).copied(), *is.get(&process.id)?);
        let gain = gains.get(&process.id).copied().unwrap_or(0);
        let reason = match from {
            Some(from) if from == to => return None,
            None => ProcessReason::New,
            Some(from) if from >= partitions => ProcessReason::PartitionGone,
            Some(_) if gain > 0 => ProcessReason::Traffic,
            Some(_) => ProcessReason::Balance,
        };
        let mut needs = Resources::default();
        needs.add(&process.needs, process.parallelism.min);
        let share = from.map_or(0, |_| needs.dominant_share_ppm(&total));
        let cost = i64::try_from(share).unwrap_or(i64::MAX);
        let id = |index| PartitionId { network: name.clone(), index };
        let (process, from, to) = (process.id.clone(), from.map(id), id(to));
        Some(ProcessMove { process, from, to, reason, gain, cost })
    });
    moved.collect()
}

/// By how much less crosses partitions, at the processes that move. What two that move exchange counts
/// at the first of them, so that all gains together are what the cut of old edges gets smaller by.
fn gains<'a>(
    edges: &'a [ProcessEdge],
    was: &BTreeMap<Name, u32>,
    is: &BTreeMap<Name, u32>,
) -> BTreeMap<&'a Name, i64> {
    let mut gains: BTreeMap<&Name, i64> = BTreeMap::new();
    for edge in edges {
        let (one, other) = (min(&edge.from, &edge.to), max(&edge.from, &edge.to));
        let places =
            |places: &BTreeMap<Name, u32>| places.get(one).copied().zip(places.get(other).copied());
        let (Some(before), Some(after)) = (places(was), places(is)) else { continue };
        let mover = if before.0 == after.0 { other } else { one };
        let rate = i64::try_from(edge.rate).unwrap_or(i64::MAX);
        let gain = gains.entry(mover).or_default();
        *gain = match (before.0 == before.1, after.0 == after.1) {
            (false, true) => gain.saturating_add(rate),
            (true, false) => gain.saturating_sub(rate),
            _ => *gain,
        };
    }
    gains
}

/// Where what nobody has then would go: all that is granted without being asked for.
fn placement(
    then: &State,
    name: &Name,
    workers: Option<Vec<WorkerSpec>>,
) -> Result<Plan, Rejection> {
    let view = match workers {
        None => ClusterView::of(then),
        Some(workers) => ClusterView::of_network(then, name, workers),
    };
    let view = view.map_err(|error| Rejection::invalid("workers", error.to_string()))?;
    let policy = BalancePolicy { moves: Moves::Grants, ..BalancePolicy::of(then.settings()) };
    Ok(rebalance(&view, &policy))
}
