//! What a partition requires of a pool: what it needs, when its network's policy names one.
//!
//! Follows from the records alone. Whether there is an allocation that says the same is another matter:
//! apply makes it when it is told to look, and the leader looks where it is not so.

use crate::{
    key::{AllocationId, Key, PartitionId},
    name::Name,
    record::{PartitionState, Record},
    resources::Resources,
    state::State,
};

/// An amount of a pool, for a tenant of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The pool.
    pub pool: Name,
    /// For which of its tenants it counts.
    pub tenant: Name,
    /// How much. Never nothing.
    pub amount: Resources,
}

impl Requirement {
    /// Whether an allocation says the same.
    pub(crate) fn is(&self, state: &State, id: &AllocationId) -> bool {
        let same =
            |it: &crate::pool::Allocation| it.tenant == self.tenant && it.amount == self.amount;
        id.pool == self.pool && state.allocation(id).is_some_and(|it| same(it))
    }
}

impl State {
    /// What a partition requires. None: nothing, since it needs nothing, its network names no pool, or it
    /// is gone.
    #[must_use]
    pub fn requirement(&self, id: &PartitionId) -> Option<Requirement> {
        let Record::Network(network) = &self.get(&Key::network(&id.network))?.value else {
            return None;
        };
        let (pool, tenant) = network.spec.policy.source()?;
        let partition = self.partition(id)?;
        let live = partition.state != PartitionState::Deleted && !partition.demand.is_empty();
        let (pool, tenant) = (pool.clone(), tenant.clone());
        live.then(|| Requirement { pool, tenant, amount: partition.demand.clone() })
    }

    /// The allocations that were made because a partition required them. At most one.
    pub fn required_by(&self, id: &PartitionId) -> impl Iterator<Item = &AllocationId> {
        self.allocations_of(id).filter(|id| self.allocation(id).is_some_and(|it| it.required))
    }

    /// Whether there is exactly the allocation that a partition requires, or none when it requires
    /// nothing; granted or not.
    #[must_use]
    pub fn requirement_is_met(&self, id: &PartitionId) -> bool {
        let wanted = self.requirement(id);
        let mut has = self.required_by(id);
        let right = match (has.next(), wanted) {
            (None, None) => true,
            (Some(it), Some(wanted)) => wanted.is(self, it),
            _ => false,
        };
        right && has.next().is_none()
    }
}
