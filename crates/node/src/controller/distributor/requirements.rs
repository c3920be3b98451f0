//! Which partitions do not have what they require of pools. Pure.
//!
//! Follows the state change by change as the ledger does, so that a look costs what has changed. All of it
//! can be had from the state again: where everything is as it should be, whoever begins to lead finds
//! nothing to do.
//!
//! Invariant: what is unmet in the state that was followed is in `unmet`, or apply was told of it: in `tried`
//! when it was left out because the pool has no place, in `refused` when it was refused.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Holder, Key, KeyRange, Kind, Name, PartitionId, Record, Revision, State};

use crate::controller::changes::{self, Changed};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirements {
    /// Everything up to this revision is in it.
    seen: Revision,
    /// The partitions of which apply is to be told.
    unmet: BTreeSet<PartitionId>,
    /// Those of which it was told, by the pool that they require something of. What is still there when
    /// the outcome was followed was left out.
    tried: BTreeMap<Name, BTreeSet<PartitionId>>,
    /// Those that were refused alone: by a limit of one command.
    refused: BTreeSet<PartitionId>,
}

impl Requirements {
    /// Looks at everything that names a pool or is required.
    pub(super) fn of(state: &State) -> Self {
        let mut all = Self {
            seen: state.revision(),
            unmet: BTreeSet::new(),
            tried: BTreeMap::new(),
            refused: BTreeSet::new(),
        };
        for network in state.pools_named().flat_map(|pool| state.networks_of(pool)) {
            all.look_at_network(state, network);
        }
        for (_, record) in state.records_of(Kind::Allocation) {
            required_by(Some(&record.value)).iter().for_each(|id| all.look_at(state, id));
        }
        all
    }

    /// Looks at what has changed, or at everything when that is not known any more.
    pub(super) fn follow(&mut self, state: &State) {
        let Some(changes) = changes::since(state, self.seen) else {
            *self = Self::of(state);
            return;
        };
        for Changed { key, before, after, .. } in changes {
            self.changed(state, key, before, after);
        }
        self.seen = state.revision();
        self.try_again(state);
    }

    /// As many of those that were left out as their pools have places for now.
    fn try_again(&mut self, state: &State) {
        for (pool, tried) in &mut self.tried {
            let taken = state.pool_use(pool).map_or(0, |in_use| in_use.allocations);
            let room = state.settings().allocations_max.saturating_sub(taken);
            for _ in 0..room {
                let Some(id) = tried.pop_first() else { break };
                self.unmet.insert(id);
            }
        }
        self.tried.retain(|_, tried| !tried.is_empty());
    }

    /// The first of which apply is to be told.
    pub(super) fn unmet(&self, most: usize) -> Vec<PartitionId> {
        self.unmet.iter().take(most).cloned().collect()
    }

    /// Apply was told of them. What it left out waits until its pool has a place.
    pub(super) fn tried(&mut self, state: &State, partitions: Vec<PartitionId>) {
        for id in partitions {
            self.unmet.remove(&id);
            if let Some(wanted) = state.requirement(&id) {
                self.tried.entry(wanted.pool).or_default().insert(id);
            }
        }
    }

    /// One that was refused alone. It waits until a setting changes.
    pub(super) fn refused(&mut self, partitions: Vec<PartitionId>) {
        for id in partitions {
            self.unmet.remove(&id);
            self.refused.insert(id);
        }
    }

    fn changed(
        &mut self,
        state: &State,
        key: &Key,
        before: Option<&Record>,
        after: Option<&Record>,
    ) {
        match key.kind {
            Kind::Partition => {
                key.as_partition().iter().for_each(|id| self.look_at(state, id));
            }
            Kind::Network if source(before) != source(after) => {
                named(key).iter().for_each(|name| self.look_at_network(state, name));
            }
            Kind::Allocation => {
                let ids = [before, after].map(required_by);
                ids.into_iter().flatten().for_each(|id| self.look_at(state, id));
            }
            // How much a command may change.
            Kind::Setting => self.unmet.append(&mut self.refused),
            _ => {}
        }
    }

    fn look_at_network(&mut self, state: &State, network: &Name) {
        let range = KeyRange::Prefix(Kind::Partition, format!("{network}/").into());
        for (key, _) in state.range(&range) {
            key.as_partition().iter().for_each(|id| self.look_at(state, id));
        }
    }

    fn look_at(&mut self, state: &State, id: &PartitionId) {
        self.tried.retain(|_, tried| {
            tried.remove(id);
            !tried.is_empty()
        });
        self.refused.remove(id);
        if state.requirement_is_met(id) {
            self.unmet.remove(id);
        } else {
            self.unmet.insert(id.clone());
        }
    }
}

/// The partition that requires an allocation.
fn required_by(record: Option<&Record>) -> Option<&PartitionId> {
    let Some(Record::Allocation(allocation)) = record else { return None };
    match &allocation.holder {
        Holder::Partition(id) if allocation.required => Some(id),
        _ => None,
    }
}

/// The pool and the tenant that a network names.
fn source(record: Option<&Record>) -> Option<(&Name, &Name)> {
    match record {
        Some(Record::Network(network)) => network.spec.policy.source(),
        _ => None,
    }
}

fn named(key: &Key) -> Option<Name> {
    std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok())
}
