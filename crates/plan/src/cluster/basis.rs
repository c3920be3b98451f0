//! What a plan relied on.

use std::collections::BTreeMap;

use quorate_core::{Key, Revision, plan::Basis};

use super::{rebalance::Step, view::ClusterView};

/// What is moved, from where and to where.
pub(super) fn basis(view: &ClusterView, moves: &[Step]) -> Basis {
    let mut records: BTreeMap<Key, Revision> = BTreeMap::new();
    for step in moves {
        let partition = &view.partitions[step.partition as usize];
        records.insert(Key::partition(&partition.id), partition.version);
        for worker in step.from.into_iter().chain([step.to]) {
            let worker = &view.workers[worker as usize];
            records.insert(Key::worker(&worker.name), worker.version);
        }
    }
    Basis { records: records.into_iter().collect() }
}
