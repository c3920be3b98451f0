//! Allocations: asked for, granted, asked back, given back, ended.
//!
//! ```text
//!            grant               revoke
//! waiting ------------> granted ---------> revoking
//!  ^   |                 |   |                |
//!  |   +-- release ------|---+-- release -----+--> gone (idle: from granted too)
//!  +--- grace is over, its partition has no owner any more ---+
//!
//! whatever it is -- its session ends, its partition is deleted --> gone
//! ```
//!
//! What a partition requires ([`super::requirement`]) is granted and asked back like all others, but
//! nobody releases it, and it is in use as long as its partition has an owner: it is never idle.
//!
//! Invariants: the grants of a pool are within its capacity and those of a tenant within its limit,
//! whoever asks for them; each has a new epoch, the revision of the grant; a grant is over at the
//! revision at which its session, or its partition's ownership, is.

use std::{collections::BTreeMap, sync::Arc};

use super::{draft::Draft, ownership, pool::unknown, session};
use crate::{
    command::{EndReason, GrantEnd, RequestAllocation, Revocation},
    id::{Epoch, SessionId},
    key::{AllocationId, Key, LoadId, PartitionId},
    name::Name,
    pool::{Allocation, AllocationGrant, AllocationState, Holder, validate_amount},
    record::{Load, Partition, PartitionState, Record},
    rejection::{Reason, Rejection},
    reply::Reply,
    size,
    sums::PoolUse,
};

/// Asks for an amount of a pool.
pub(super) fn request(
    draft: &mut Draft<'_>,
    command: &RequestAllocation,
) -> Result<Reply, Rejection> {
    let RequestAllocation { pool, tenant, amount, priority, holder, epoch } = command;
    validate_amount(amount)?;
    let known = draft.state().pool(pool).ok_or_else(|| unknown(pool))?;
    if !known.tenants.contains_key(tenant) {
        let message = format!("pool {pool} has no tenant {tenant}");
        return Err(Rejection {
            field: "tenant".into(),
            ..Rejection::new(Reason::NotFound, message)
        });
    }
    check_holder(draft, holder, *epoch)?;
    let count = draft.state().pool_use(pool).map_or(0, |in_use| in_use.allocations) + 1;
    let max = draft.settings().allocations_max;
    if count > max {
        return Err(Rejection::limit("pool", "allocations_max", count, max));
    }
    let id = AllocationId { pool: pool.clone(), number: draft.epoch().revision.get(), part: 0 };
    let allocation = Allocation {
        tenant: tenant.clone(),
        amount: amount.clone(),
        priority: *priority,
        holder: holder.clone(),
        waiting_since_ms: draft.state().time_ms(),
        state: AllocationState::Waiting,
        required: false,
    };
    put(draft, &Key::allocation(&id), allocation);
    Ok(Reply::RequestAllocation { id })
}

fn check_holder(draft: &Draft<'_>, holder: &Holder, epoch: Option<Epoch>) -> Result<(), Rejection> {
    match (holder, epoch) {
        (Holder::Session(_), Some(_)) => {
            Err(Rejection::invalid("epoch", "only of an allocation that a partition holds"))
        }
        (Holder::Session(id), None) => session::require(draft, *id),
        (Holder::Partition(id), Some(epoch)) => {
            live(draft, id)?;
            ownership::guard(draft, id, epoch)
        }
        (Holder::Partition(id), None) => live(draft, id),
    }
}

/// The partition is there, and its network still has it.
fn live(draft: &Draft<'_>, id: &PartitionId) -> Result<(), Rejection> {
    match partition(draft, id) {
        Some(partition) if partition.state != PartitionState::Deleted => Ok(()),
        _ => Err(Rejection::new(Reason::NotFound, format!("no partition {id}"))),
    }
}

/// Grants what waits, in order. What does not fit, or does not wait any more, is left out.
pub(super) fn grant(draft: &mut Draft<'_>, ids: &[AllocationId]) -> Reply {
    let (state, epoch, at_ms) = (draft.state(), draft.epoch(), draft.state().time_ms());
    let mut pools: BTreeMap<&Name, PoolUse> = BTreeMap::new();
    let mut rooms: BTreeMap<SessionId, Room> = BTreeMap::new();
    let mut changed = 0;
    for id in ids {
        let key = Key::allocation(id);
        let Some(allocation) = allocation(draft, &key) else { continue };
        let Some(session) = taker(draft, &allocation) else { continue };
        let in_use = pools
            .entry(&id.pool)
            .or_insert_with(|| state.pool_use(&id.pool).cloned().unwrap_or_default());
        if allocation.state != AllocationState::Waiting || !fits(draft, id, &allocation, in_use) {
            continue;
        }
        // What a session holds is counted already.
        if let Holder::Partition(_) = allocation.holder {
            let room = rooms.entry(session).or_insert_with(|| Room::of(draft, session));
            if !room.take(size::ending_of_allocation(&key, &allocation)) {
                continue;
            }
        }
        let grant = AllocationGrant { epoch, session, at_ms };
        let granted =
            Allocation { state: AllocationState::Granted(grant), ..(*allocation).clone() };
        in_use.grant(&granted);
        put(draft, &key, granted);
        changed += 1;
    }
    Reply::Changed { changed }
}

/// The session that would have a grant. None: nobody, as long as the partition has no owner.
fn taker(draft: &Draft<'_>, allocation: &Allocation) -> Option<SessionId> {
    match &allocation.holder {
        Holder::Session(session) => Some(*session),
        Holder::Partition(id) => {
            let partition = partition(draft, id)?;
            let live = partition.state != PartitionState::Deleted;
            partition.owner.as_ref().filter(|_| live).map(|owner| owner.session)
        }
    }
}

/// Whether a pool and its tenant have room for one more grant.
fn fits(draft: &Draft<'_>, id: &AllocationId, asked: &Allocation, in_use: &PoolUse) -> bool {
    let Some(pool) = draft.state().pool(&id.pool) else { return false };
    let Some(tenant) = pool.tenants.get(&asked.tenant) else { return false };
    let capacity = |resource: &Name| Some(pool.capacity.get(resource));
    let limit = |resource: &Name| tenant.limit.get(resource).copied();
    let of_tenant = in_use.tenants.get(&asked.tenant);
    in_use.granted.exceeded(&asked.amount, capacity).is_none()
        && of_tenant.is_none_or(|it| it.granted.exceeded(&asked.amount, limit).is_none())
}

/// What a session may still hold.
struct Room {
    records: u64,
    bytes: u64,
}

impl Room {
    fn of(draft: &Draft<'_>, session: SessionId) -> Self {
        let (records, bytes) = draft.held(session);
        let settings = draft.settings();
        Self {
            records: settings.session_records_max.saturating_sub(records),
            bytes: settings.session_record_bytes_max.saturating_sub(bytes),
        }
    }

    fn take(&mut self, bytes: u64) -> bool {
        let fits = self.records > 0 && self.bytes >= bytes;
        if fits {
            self.records -= 1;
            self.bytes -= bytes;
        }
        fits
    }
}

/// Gives an allocation back, or withdraws it.
pub(super) fn release(
    draft: &mut Draft<'_>,
    id: &AllocationId,
    epoch: Option<Epoch>,
) -> Result<Reply, Rejection> {
    let key = Key::allocation(id);
    let found = allocation(draft, &key);
    let current = found.as_ref().and_then(|it| it.grant()).map(|grant| grant.epoch);
    let Some(found) = found.filter(|_| current == epoch) else {
        let exists = draft.get(&key).is_some();
        let Some(epoch) = epoch.or(current) else {
            return Err(Rejection::new(Reason::NotFound, format!("no allocation {id}")));
        };
        let message = match current {
            Some(now) if now == epoch => format!("allocation {id} is granted, in epoch {now}"),
            Some(now) => format!("allocation {id} is granted in epoch {now}, not in {epoch}"),
            None if exists => format!("allocation {id} waits, and has no epoch {epoch}"),
            None => format!("allocation {id} is gone, and its epoch {epoch} with it"),
        };
        return Err(Rejection::new(Reason::StaleEpoch, message));
    };
    if let Holder::Partition(partition) = &found.holder
        && found.required
        && draft.state().requirement(partition).is_some_and(|it| it.is(draft.state(), id))
    {
        let network = &partition.network;
        let message = format!("network {network} requires allocation {id} for {partition}");
        return Err(Rejection::new(Reason::PreconditionFailed, message));
    }
    remove(draft, id);
    Ok(Reply::Done)
}

/// Asks holders for grants.
pub(super) fn revoke(draft: &mut Draft<'_>, revocations: &[Revocation]) -> Reply {
    let mut changed = 0;
    for Revocation { id, epoch, why } in revocations {
        let key = Key::allocation(id);
        let Some(allocation) = allocation(draft, &key) else { continue };
        let AllocationState::Granted(grant) = allocation.state else { continue };
        let Some(pool) = draft.state().pool(&id.pool).filter(|_| grant.epoch == *epoch) else {
            continue;
        };
        let until_ms = draft.state().time_ms().saturating_add(pool.policy.grace_ms);
        let state = AllocationState::Revoking { grant, until_ms, why: why.clone() };
        put(draft, &key, Allocation { state, ..(*allocation).clone() });
        changed += 1;
    }
    Reply::Changed { changed }
}

/// Ends grants whose grace is over, or that nobody uses.
pub(super) fn end(draft: &mut Draft<'_>, ends: &[GrantEnd]) -> Reply {
    let mut changed = 0;
    for GrantEnd { id, epoch, why } in ends {
        let key = Key::allocation(id);
        let Some(allocation) = allocation(draft, &key) else { continue };
        let Some(grant) = allocation.grant().filter(|grant| grant.epoch == *epoch) else {
            continue;
        };
        match why {
            EndReason::GraceOver if is_over(draft, &allocation) => wait_again(draft, &key),
            EndReason::Idle if is_idle(draft, id, &allocation, grant) => remove(draft, id),
            _ => continue,
        }
        changed += 1;
    }
    Reply::Changed { changed }
}

fn is_over(draft: &Draft<'_>, allocation: &Allocation) -> bool {
    matches!(allocation.state, AllocationState::Revoking { until_ms, .. }
        if until_ms <= draft.state().time_ms())
}

fn is_idle(
    draft: &Draft<'_>,
    id: &AllocationId,
    allocation: &Allocation,
    grant: &AllocationGrant,
) -> bool {
    let timeout = draft.state().pool(&id.pool).map_or(0, |pool| pool.policy.idle_timeout_ms);
    let age = draft.state().time_ms().saturating_sub(grant.at_ms);
    let load = draft.get(&Key::load(&LoadId::Allocation(id.clone()))).map(|it| &it.value);
    let used = matches!(load, Some(Record::Load(Load { load_ppm })) if *load_ppm > 0);
    timeout > 0 && age >= timeout && !used && !allocation.required
}

/// The session with which an allocation, or its grant, ends, has ended.
pub(super) fn session_ended(draft: &mut Draft<'_>, key: &Key) {
    let Some(allocation) = allocation(draft, key) else { return };
    match allocation.holder {
        Holder::Session(_) => key.as_allocation().into_iter().for_each(|id| remove(draft, &id)),
        Holder::Partition(_) => wait_again(draft, key),
    }
}

/// The ownership of a partition has ended, and with it the grants that it has.
pub(super) fn ownership_ended(draft: &mut Draft<'_>, partition: &PartitionId) {
    for id in draft.state().allocations_of(partition) {
        wait_again(draft, &Key::allocation(id));
    }
}

/// A partition is no more, and what it holds neither.
pub(super) fn partition_gone(draft: &mut Draft<'_>, partition: &PartitionId) {
    for id in draft.state().allocations_of(partition) {
        remove(draft, id);
    }
}

/// The grant ends; what was granted is asked for as if anew.
fn wait_again(draft: &mut Draft<'_>, key: &Key) {
    let Some(allocation) = allocation(draft, key) else { return };
    if allocation.state == AllocationState::Waiting {
        return;
    }
    let waiting_since_ms = draft.state().time_ms();
    let state = AllocationState::Waiting;
    put(draft, key, Allocation { waiting_since_ms, state, ..(*allocation).clone() });
    if let Some(id) = key.as_allocation() {
        draft.delete(&Key::load(&LoadId::Allocation(id)));
    }
}

pub(super) fn remove(draft: &mut Draft<'_>, id: &AllocationId) {
    draft.delete(&Key::allocation(id));
    draft.delete(&Key::load(&LoadId::Allocation(id.clone())));
}

pub(super) fn put(draft: &mut Draft<'_>, key: &Key, allocation: Allocation) {
    draft.put(key, Record::Allocation(Arc::new(allocation)));
}

fn allocation(draft: &Draft<'_>, key: &Key) -> Option<Arc<Allocation>> {
    match &draft.get(key)?.value {
        Record::Allocation(allocation) => Some(allocation.clone()),
        _ => None,
    }
}

fn partition<'a>(draft: &'a Draft<'_>, id: &PartitionId) -> Option<&'a Partition> {
    match &draft.get(&Key::partition(id))?.value {
        Record::Partition(partition) => Some(partition),
        _ => None,
    }
}
