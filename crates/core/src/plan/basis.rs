//! What a plan relies on.
//!
//! Contract: as long as nothing has changed of what a basis names, each move of its plan is still possible,
//! in the order of the plan. Named are:
//!
//! - the records of what moves, of the networks to which that belongs, of the workers that it leaves and of
//!   those that it goes to, and the settings that bound what a worker may have;
//! - for each worker that something goes to, what it has: how many partitions, and the newest revision that
//!   changed one of them. Who comes, leaves, or needs something else changes one or the other.
//!
//! Not named is what made moves worthwhile and not possible: loads and traffic of other workers. So a basis
//! has as many parts as there are moves and workers at most, whatever those have.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Move;
use crate::{
    id::Revision,
    key::{Key, Kind},
    name::Name,
    record::{Partition, PartitionState, Record},
    state::State,
};

/// What a plan relies on. When any of it has changed, the plan is stale.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Records, by key, each with the revision that changed it last; 0 for one that was not there.
    pub records: Vec<(Key, Revision)>,
    /// What the workers have that something goes to, by name.
    pub targets: Vec<Occupancy>,
}

/// What a worker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupancy {
    /// The worker.
    pub worker: Name,
    /// How many partitions count on it.
    pub partitions: u32,
    /// The newest revision that changed one of them; 0 when there is none.
    pub newest: Revision,
}

impl Basis {
    /// The records of these keys as they are now.
    #[must_use]
    pub fn of(state: &State, keys: impl IntoIterator<Item = Key>) -> Self {
        let mut records: Vec<_> =
            keys.into_iter().map(|key| (key.clone(), modified(state, &key))).collect();
        records.sort();
        records.dedup();
        Self { records, targets: Vec::new() }
    }

    /// What some of the moves of its plan rely on.
    #[must_use]
    pub fn of_moves<'a>(&self, moves: impl IntoIterator<Item = &'a Move>) -> Self {
        let (mut keys, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for Move { partition, from, to, .. } in moves {
            keys.extend([Key::partition(partition), Key::network(&partition.network)]);
            keys.extend(from.iter().chain([to]).map(Key::worker));
            targets.insert(to);
        }
        if targets.is_empty() {
            return Self::default();
        }
        let named = |key: &Key| key.kind == Kind::Setting || keys.contains(key);
        let records = self.records.iter().filter(|(key, _)| named(key)).cloned().collect();
        let targets = self.targets.iter().filter(|it| targets.contains(&it.worker));
        Self { records, targets: targets.cloned().collect() }
    }

    /// The first record that has changed since, if any has; the worker's, if it is what a worker has.
    /// Costs a look at all partitions when nothing else has changed.
    #[must_use]
    pub fn changed(&self, state: &State) -> Option<Key> {
        let changed = |(key, at): &&(Key, Revision)| modified(state, key) != *at;
        let record = self.records.iter().find(changed).map(|(key, _)| key.clone());
        record.or_else(|| {
            let now = occupancies(state, &self.targets);
            let changed = |(then, now): &(&Occupancy, Occupancy)| *then != now;
            let changed = self.targets.iter().zip(now).find(changed);
            changed.map(|(then, _)| Key::worker(&then.worker))
        })
    }
}

/// The worker on which a partition counts: where it goes, or else where it runs. None for one that nobody
/// has, or that its network does not have any more.
#[must_use]
pub fn counts_on(partition: &Partition) -> Option<&Name> {
    let owner = || partition.owner.as_ref().map(|owner| &owner.worker);
    match partition.state {
        PartitionState::Deleted => None,
        PartitionState::Releasing => partition.target.as_ref().or_else(owner),
        _ => owner(),
    }
}

fn modified(state: &State, key: &Key) -> Revision {
    state.get(key).map_or(Revision(0), |record| record.modified)
}

/// What these workers have now, in the same order.
fn occupancies(state: &State, of: &[Occupancy]) -> Vec<Occupancy> {
    let none = |it: &Occupancy| Occupancy { partitions: 0, newest: Revision(0), ..it.clone() };
    let mut now: Vec<Occupancy> = of.iter().map(none).collect();
    if now.is_empty() {
        return now;
    }
    let at: BTreeMap<&Name, usize> = of.iter().zip(0..).map(|(it, at)| (&it.worker, at)).collect();
    for (_, record) in state.records_of(Kind::Partition) {
        let Record::Partition(partition) = &record.value else { continue };
        if let Some(at) = counts_on(partition).and_then(|worker| at.get(worker)) {
            let one = &mut now[*at];
            one.partitions = one.partitions.saturating_add(1);
            one.newest = one.newest.max(record.modified);
        }
    }
    now
}
