//! What partitions require of pools, made as it is to be.
//!
//! Invariants: a partition has at most one required allocation, which is of the amount that it needed and
//! of the pool and tenant that its network named when it was made; a repeat changes nothing; what callers
//! asked for is left alone; what waits for another amount than before has waited since before. Who leads decides when to look ([`Command::RequireAllocations`]), so a
//! requirement may lag behind its partition.
//!
//! [`Command::RequireAllocations`]: crate::command::Command::RequireAllocations

use std::collections::{BTreeMap, BTreeSet};

use super::{
    allocation::{put, remove},
    draft::Draft,
};
use crate::{
    key::{AllocationId, Key, PartitionId},
    name::Name,
    pool::{Allocation, AllocationState, Holder, RESOURCES_MAX},
    record::{PartitionPolicy, Record},
    rejection::Rejection,
    reply::Reply,
    requirement::Requirement,
    size,
    state::State,
};

/// Makes what partitions require what it should be. Tells how many partitions that concerned.
pub(super) fn require(draft: &mut Draft<'_>, partitions: &[PartitionId]) -> Reply {
    let state = draft.state();
    let mut made: BTreeMap<Name, Made> = BTreeMap::new();
    let mut changed = 0;
    for id in partitions.iter().collect::<BTreeSet<_>>() {
        let wanted = state.requirement(id);
        let has: Vec<_> = state.required_by(id).collect();
        let fits = |allocation: &AllocationId| {
            wanted.as_ref().is_some_and(|wanted| wanted.is(state, allocation))
        };
        let kept = has.iter().position(|allocation| fits(allocation));
        let gone = has.iter().enumerate().filter(|(at, _)| Some(*at) != kept);
        let gone: Vec<&AllocationId> = gone.map(|(_, allocation)| *allocation).collect();
        let mut changes = !gone.is_empty();
        for allocation in &gone {
            remove(draft, allocation);
            made.entry(allocation.pool.clone()).or_default().ended += 1;
        }
        if let Some(wanted) = wanted.filter(|_| kept.is_none()) {
            let waited = gone.iter().filter_map(|it| waiting_since(state, it, &wanted)).min();
            let since_ms = waited.unwrap_or(state.time_ms());
            changes |= ask(draft, &mut made, id, wanted, since_ms);
        }
        changed += u32::from(changes);
    }
    Reply::Changed { changed }
}

/// Since when an allocation has waited, milliseconds, if it was for the same tenant of the same pool.
fn waiting_since(state: &State, id: &AllocationId, wanted: &Requirement) -> Option<u64> {
    let before = state.allocation(id).filter(|_| id.pool == wanted.pool)?;
    let waits = before.state == AllocationState::Waiting && before.tenant == wanted.tenant;
    waits.then_some(before.waiting_since_ms)
}

/// What a command has made of a pool so far, and ended.
#[derive(Default)]
struct Made {
    asked: u32,
    ended: u64,
}

/// Asks for what a partition requires, unless there is no place for one more. What takes the place of
/// another needs none.
fn ask(
    draft: &mut Draft<'_>,
    made: &mut BTreeMap<Name, Made>,
    partition: &PartitionId,
    wanted: Requirement,
    since_ms: u64,
) -> bool {
    let Requirement { pool, tenant, amount } = wanted;
    let before = draft.state().pool_use(&pool).map_or(0, |in_use| in_use.allocations);
    let so_far = made.entry(pool.clone()).or_default();
    let count = (before + u64::from(so_far.asked) + 1).saturating_sub(so_far.ended);
    if count > draft.settings().allocations_max && count > before {
        return false;
    }
    let part = so_far.asked;
    so_far.asked += 1;
    let id = AllocationId { pool, number: draft.epoch().revision.get(), part };
    let allocation = Allocation {
        tenant,
        amount,
        priority: 0,
        holder: Holder::Partition(partition.clone()),
        waiting_since_ms: since_ms,
        state: AllocationState::Waiting,
        required: true,
    };
    put(draft, &Key::allocation(&id), allocation);
    true
}

/// What each partition of a network needs must be an amount that can be asked for.
pub(super) fn possible(
    policy: &PartitionPolicy,
    partitions: &BTreeMap<Key, Record>,
) -> Result<(), Rejection> {
    if policy.pool.is_none() {
        return Ok(());
    }
    let kinds = partitions.values().map(|record| match record {
        Record::Partition(partition) => partition.demand.len(),
        _ => 0,
    });
    match kinds.max().filter(|kinds| *kinds > RESOURCES_MAX) {
        Some(kinds) => {
            let rule = format!("a partition needs at most {RESOURCES_MAX} resources, not {kinds}");
            Err(Rejection::invalid("policy.pool", rule))
        }
        None => Ok(()),
    }
}

/// What counts when a partition goes with what it requires: that, and what is known of its use. None: it
/// requires nothing.
pub(super) fn going(policy: &PartitionPolicy, record: &Record) -> Option<u64> {
    let (pool, tenant) = policy.source()?;
    let Record::Partition(partition) = record else { return None };
    if partition.demand.is_empty() {
        return None;
    }
    let id = AllocationId { pool: pool.clone(), number: u64::MAX, part: u32::MAX };
    Some(size::removal_of_requirement(&id, tenant, &partition.demand))
}
