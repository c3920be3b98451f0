//! The cluster of a state.

use std::collections::BTreeMap;

use quorate_core::{
    ConnectionId, Kind, Name, PartitionId, PartitionState, Record, State, Versioned,
};

use super::view::{ClusterError, ClusterView, PartitionSpec, Traffic, WorkerSpec};

impl ClusterView {
    /// All workers and partitions of a state. A partition that is on its way to a worker counts as
    /// being there; one that its network does not have any more is left out. O(all log all).
    ///
    /// # Errors
    /// None for a state whose invariants hold.
    pub fn of(state: &State) -> Result<Self, ClusterError> {
        let (mut workers, mut partitions, mut traffic) = (Vec::new(), Vec::new(), Vec::new());
        let partitions_max = state.settings().worker_partitions_max;
        for (text, record) in records(state, Kind::Worker) {
            if let (Record::Worker(worker), Ok(name)) = (&record.value, Name::new(text)) {
                workers.push(WorkerSpec {
                    name,
                    version: record.modified,
                    capacity: worker.capacity.clone(),
                    labels: worker.labels.clone(),
                    partitions_max,
                    state: worker.state,
                });
            }
        }
        for (text, record) in records(state, Kind::Partition) {
            if let (Record::Partition(partition), Some(id)) =
                (&record.value, PartitionId::parse(text))
                && partition.state != PartitionState::Deleted
            {
                let owner = partition.owner.as_ref().map(|owner| owner.worker.clone());
                let moving = partition.state == PartitionState::Releasing;
                partitions.push(PartitionSpec {
                    id,
                    version: record.modified,
                    demand: partition.demand.clone(),
                    worker: partition.target.clone().filter(|_| moving).or(owner),
                    requires: BTreeMap::new(),
                    rests: moving,
                });
            }
        }
        for (text, record) in records(state, Kind::Connection) {
            if let (Record::Connection(connection), Some(id)) =
                (&record.value, ConnectionId::parse(text))
            {
                let end = |index| PartitionId { network: id.network.clone(), index };
                let rate = connection.edges.iter().map(|edge| edge.rate);
                let rate = rate.fold(0, u64::saturating_add);
                traffic.push(Traffic { from: end(id.from), to: end(id.to), rate });
            }
        }
        Self::new(workers, partitions, &traffic)
    }
}

/// The records of a kind, by the text of their keys.
fn records(state: &State, kind: Kind) -> impl Iterator<Item = (&str, &Versioned<Record>)> {
    let records = state.records_of(kind);
    records.filter_map(|(key, record)| Some((std::str::from_utf8(&key.bytes).ok()?, &**record)))
}
