//! How many instances of processes run.
//!
//! Invariants: parallelism stays within the bounds of the process; demand and declared load of a
//! partition follow from it; no change makes a worker own more of a resource that it declares than it
//! has, whoever asks. What a worker does not declare is not limited, as in placement.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{
    draft::Draft,
    ownership::{not_stale, partition, put},
    worker::worker,
};
use crate::{
    command::{ScaleProcesses, ScaledProcess},
    key::{Key, PartitionId},
    name::Name,
    network::demand,
    record::{Network, Owner, Partition, PartitionState, Process, Record},
    rejection::{Reason, Rejection},
    reply::Reply,
    resources::Resources,
    sums::Sums,
};

/// Changes parallelism: all of it or, when one is refused, nothing. Tells how many processes changed.
pub(super) fn scale(draft: &mut Draft<'_>, command: &ScaleProcesses) -> Result<Reply, Rejection> {
    not_stale(draft, &command.basis)?;
    let network = match draft.get(&Key::network(&command.network)).map(|it| &it.value) {
        Some(Record::Network(network)) => network.clone(),
        _ => {
            let message = format!("no network {}", command.network);
            return Err(Rejection::new(Reason::NotFound, message));
        }
    };
    let total = demand(&network.spec.processes);
    let mut uses: BTreeMap<Name, Sums> = BTreeMap::new();
    let mut changed = 0;
    for (index, wanted) in by_partition(&network, &command.changes)? {
        let id = PartitionId { network: command.network.clone(), index };
        let key = Key::partition(&id);
        let live = partition(draft, &key).filter(|it| it.state != PartitionState::Deleted);
        let Some(before) = live else {
            return Err(Rejection::new(Reason::NotFound, format!("no partition {id}")));
        };
        let (after, count) = scaled(&network, &id, &before, &wanted)?;
        if count == 0 {
            continue;
        }
        changed += count;
        let load_ppm = after.demand.dominant_share_ppm(&total);
        if let Some(Owner { worker, .. }) = &after.owner {
            let now = uses.entry(worker.clone()).or_insert_with(|| needed(draft, worker));
            now.remove(&before.demand);
            now.add(&after.demand);
        }
        put(draft, &key, Partition { load_ppm, ..after });
    }
    uses.iter().try_for_each(|(worker, now)| fits(draft, worker, now))?;
    Ok(Reply::Changed { changed })
}

/// What is wanted of each partition, by process.
type Wanted<'a> = BTreeMap<&'a Name, u32>;

fn by_partition<'a>(
    network: &Network,
    changes: &'a [ScaledProcess],
) -> Result<BTreeMap<u32, Wanted<'a>>, Rejection> {
    let mut wanted: BTreeMap<u32, Wanted<'a>> = BTreeMap::new();
    for (at, change) in changes.iter().enumerate() {
        let ScaledProcess { partition, process: id, parallelism } = change;
        let Some(process) = process(network, id) else {
            return Err(Rejection::new(Reason::NotFound, format!("no process {id}")));
        };
        let (min, max) = (process.parallelism.min, process.parallelism.max);
        if !(min..=max).contains(parallelism) {
            let rule = format!("from {min} to {max}, as process {id} allows");
            return Err(Rejection::invalid(format!("changes[{at}].parallelism"), rule));
        }
        if wanted.entry(*partition).or_default().insert(id, *parallelism).is_some() {
            return Err(Rejection::invalid(
                format!("changes[{at}].process"),
                format!("not {id} twice"),
            ));
        }
    }
    Ok(wanted)
}

fn process<'a>(network: &'a Network, id: &Name) -> Option<&'a Process> {
    let processes = &network.spec.processes;
    processes.binary_search_by(|process| process.id.cmp(id)).ok().map(|at| &processes[at])
}

/// The partition with its new parallelism and demand, and how many processes that changes.
fn scaled(
    network: &Network,
    id: &PartitionId,
    before: &Partition,
    wanted: &Wanted<'_>,
) -> Result<(Partition, u32), Rejection> {
    let mut after = Partition { demand: Resources::default(), ..before.clone() };
    let (mut found, mut changed) = (0, 0);
    for placed in &mut after.processes {
        if let Some(parallelism) = wanted.get(&placed.id) {
            found += 1;
            changed += u32::from(placed.parallelism != *parallelism);
            placed.parallelism = *parallelism;
        }
        if let Some(process) = process(network, &placed.id) {
            after.demand.add(&process.needs, placed.parallelism);
        }
    }
    if found < wanted.len() {
        let has = |id: &Name| before.processes.iter().any(|placed| placed.id == *id);
        let missing = wanted.keys().find(|process| !has(process));
        let missing = missing.map_or("", |process| process.as_str());
        let message = format!("partition {id} has no process {missing}");
        return Err(Rejection::new(Reason::NotFound, message));
    }
    Ok((after, changed))
}

/// What a worker's partitions needed before the command.
fn needed(draft: &Draft<'_>, worker: &Name) -> Sums {
    draft.state().worker_use(worker).cloned().unwrap_or_default()
}

/// Whether a worker has what its partitions need now, as far as that became more.
fn fits(draft: &Draft<'_>, name: &Name, now: &Sums) -> Result<(), Rejection> {
    let Some(worker) = worker(draft, name) else { return Ok(()) };
    let before = needed(draft, name);
    let exceeded = worker.capacity.iter().find(|(resource, has)| {
        let needed = now.get(resource);
        needed > u128::from(*has) && needed > before.get(resource)
    });
    let Some((resource, has)) = exceeded else { return Ok(()) };
    let needed = now.get(resource);
    let message = format!("worker {name} has {has} of {resource}, {needed} would be needed");
    Err(Rejection { field: "changes".into(), ..Rejection::new(Reason::CapacityExceeded, message) })
}
