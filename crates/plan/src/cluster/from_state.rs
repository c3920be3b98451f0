//! The cluster of a state.

use quorate_core::{
    ConnectionId, Key, Kind, LoadId, Name, PartitionId, PartitionState, Record, Revision, State,
    Versioned, plan::counts_on,
};

use super::view::{ClusterError, ClusterView, PartitionSpec, Traffic, Wish, WorkerSpec};

impl ClusterView {
    /// One network's partitions, on none of these workers.
    ///
    /// # Errors
    /// When a worker occurs twice.
    pub fn of_network(
        state: &State,
        network: &Name,
        workers: Vec<WorkerSpec>,
    ) -> Result<Self, ClusterError> {
        let mut partitions = partitions(state, At::Target);
        partitions.retain(|it| it.id.network == *network);
        let homeless = |it| PartitionSpec { worker: None, leaving: None, rests: false, ..it };
        let partitions = partitions.into_iter().map(homeless).collect();
        let mut traffic = traffic(state);
        traffic.retain(|it| it.from.network == *network);
        Self::new(workers, partitions, &traffic)
    }

    /// All workers and partitions of a state. A partition that is on its way to a worker counts as
    /// being there; one that its network does not have any more is left out. O(all log all).
    ///
    /// # Errors
    /// None for a state whose invariants hold.
    pub fn of(state: &State) -> Result<Self, ClusterError> {
        let mut view = Self::new(workers(state), partitions(state, At::Target), &traffic(state))?;
        let key = Key::setting(&Name::new(PARTITIONS_MAX).expect("the constant is a valid name"));
        let modified = state.get(&key).map_or(Revision(0), |record| record.modified);
        view.settings.push((key, modified));
        let networks = records(state, Kind::Network)
            .filter_map(|(text, record)| Some((Name::new(text).ok()?, record.modified)));
        view.networks = networks.collect();
        Ok(view)
    }
}

/// The setting that bounds how many partitions a worker may have.
const PARTITIONS_MAX: &str = "worker_partitions_max";

pub(super) fn workers(state: &State) -> Vec<WorkerSpec> {
    let partitions_max = state.settings().worker_partitions_max;
    let workers = records(state, Kind::Worker).filter_map(|(text, record)| {
        let Record::Worker(worker) = &record.value else { return None };
        Some(WorkerSpec {
            name: Name::new(text).ok()?,
            version: record.modified,
            capacity: worker.capacity.clone(),
            labels: worker.labels.clone(),
            partitions_max,
            state: worker.state,
        })
    });
    workers.collect()
}

/// Where a partition counts that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Where it goes.
    Target,
    /// Where it still runs; one that its network does not have any more, too.
    Owner,
}

pub(super) fn partitions(state: &State, at: At) -> Vec<PartitionSpec> {
    let partitions = records(state, Kind::Partition).filter_map(|(text, record)| {
        let Record::Partition(partition) = &record.value else { return None };
        let deleted = partition.state == PartitionState::Deleted;
        if deleted && at == At::Target {
            return None;
        }
        let owner = partition.owner.as_ref().map(|owner| owner.worker.clone());
        let moving = partition.state == PartitionState::Releasing;
        // Who nobody has is to go to its target, if that is said.
        let target = partition.target.clone().filter(|_| owner.is_none());
        let leaving = match at {
            At::Target if moving => {
                owner.clone().filter(|owner| counts_on(partition) != Some(owner))
            }
            _ => None,
        };
        let worker = match at {
            At::Target => counts_on(partition).cloned(),
            At::Owner => owner,
        };
        let id = PartitionId::parse(text)?;
        let observed_ppm = observed(state, &id);
        Some(PartitionSpec {
            id,
            version: record.modified,
            demand: partition.demand.clone(),
            observed_ppm,
            worker,
            requires: partition.requires.clone(),
            apart: partition.apart.clone(),
            leaving,
            rests: moving || deleted,
            wish: Wish { target, avoid: None },
        })
    });
    partitions.collect()
}

/// What a partition was seen to use of its demand.
fn observed(state: &State, id: &PartitionId) -> Option<u64> {
    match state.get(&Key::load(&LoadId::Partition(id.clone())))?.value {
        Record::Load(load) => Some(load.load_ppm),
        _ => None,
    }
}

pub(super) fn traffic(state: &State) -> Vec<Traffic> {
    let traffic = records(state, Kind::Connection).filter_map(|(text, record)| {
        let Record::Connection(connection) = &record.value else { return None };
        let id = ConnectionId::parse(text)?;
        let end = |index| PartitionId { network: id.network.clone(), index };
        let rates = connection.edges.iter().map(|edge| edge.rate);
        let rate = rates.fold(0, u64::saturating_add);
        Some(Traffic { from: end(id.from), to: end(id.to), rate })
    });
    traffic.collect()
}

/// The records of a kind, by the text of their keys.
fn records(state: &State, kind: Kind) -> impl Iterator<Item = (&str, &Versioned<Record>)> {
    let records = state.records_of(kind);
    records.filter_map(|(key, record)| Some((std::str::from_utf8(&key.bytes).ok()?, &**record)))
}
