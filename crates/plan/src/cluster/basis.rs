//! What a plan relied on, as [`Basis`] promises it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{
    Key, Revision,
    plan::{Basis, Occupancy},
};

use super::{rebalance::Step, view::ClusterView};

/// What makes these moves possible.
pub(super) fn basis(view: &ClusterView, moves: &[Step]) -> Basis {
    if moves.is_empty() {
        return Basis::default();
    }
    let mut records: BTreeMap<Key, Revision> = view.settings.iter().cloned().collect();
    for step in moves {
        let partition = &view.partitions[step.partition as usize];
        records.insert(Key::partition(&partition.id), partition.version);
        let network = &partition.id.network;
        if let Some(version) = view.networks.get(network) {
            records.insert(Key::network(network), *version);
        }
        for worker in step.from.into_iter().chain([step.to]) {
            let worker = &view.workers[worker as usize];
            records.insert(Key::worker(&worker.name), worker.version);
        }
    }
    let targets: BTreeSet<u32> = moves.iter().map(|step| step.to).collect();
    Basis { records: records.into_iter().collect(), targets: occupancies(view, &targets) }
}

/// What workers have before anything is moved.
fn occupancies(view: &ClusterView, workers: &BTreeSet<u32>) -> Vec<Occupancy> {
    let mut has: BTreeMap<u32, (u32, Revision)> =
        workers.iter().map(|worker| (*worker, (0, Revision(0)))).collect();
    for (partition, home) in view.partitions.iter().zip(&view.home) {
        if let Some((count, newest)) = home.and_then(|home| has.get_mut(&home)) {
            *count += 1;
            *newest = (*newest).max(partition.version);
        }
    }
    let occupancy = |(worker, (partitions, newest)): (u32, (u32, Revision))| {
        let worker = view.workers[worker as usize].name.clone();
        Occupancy { worker, partitions, newest }
    };
    has.into_iter().map(occupancy).collect()
}
