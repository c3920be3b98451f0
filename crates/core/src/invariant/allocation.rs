//! Rules of pools and allocations:
//!
//! - a pool is valid in itself; its grants together are within its capacity, in every resource, and
//!   those of a tenant within the tenant's limit;
//! - an allocation is of a pool that exists and of a tenant of it, is of something, and has the number
//!   of the revision that made it;
//! - what a session holds is granted to that session; what a partition holds, to the session of the
//!   partition's owner; no epoch is newer than the state;
//! - a load is of an allocation that is granted;
//! - the pool and the tenant that a network names exist; what is required is held by a partition, which
//!   has no other such allocation; only of that is there more than one of a pool and a revision;
//! - what is added up of pools and workers is recomputed.
//!
//! That a session which holds something is alive is a rule of sessions. No rule: that what a worker owns
//! is within its capacity. A grant that is not is left out, but what a partition needs, and what a worker
//! gives, may change while it is owned; then the balancer relieves it.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use crate::{
    key::{Key, LoadId, PartitionId},
    name::Name,
    pool::{Allocation, Holder, Pool, validate_amount},
    record::{PartitionPolicy, PartitionState, Record},
    state::State,
    sums::InUse,
};

pub(super) fn check(state: &State, report: &mut Report) {
    let mut in_use = InUse::default();
    let mut granted: BTreeMap<(Name, Option<Name>, Name), u128> = BTreeMap::new();
    let mut required = BTreeSet::new();
    for (key, versioned) in state.records() {
        in_use.note(key, None, Some(&versioned.value));
        match &versioned.value {
            Record::Pool(pool) => {
                let valid = pool.validate();
                report.require(valid.is_ok(), key, format_args!("the pool is valid: {valid:?}"));
            }
            Record::Allocation(allocation) => {
                let numbered = key.as_allocation().map(|id| id.number);
                let first = Some(versioned.created.get());
                report.require(numbered == first, key, format_args!("its number is {first:?}"));
                check_allocation(state, key, allocation, report);
                check_required(key, allocation, &mut required, report);
                add(&mut granted, key, allocation);
            }
            Record::Load(_) => check_load(state, key, report),
            Record::Network(network) => check_source(state, key, &network.spec.policy, report),
            _ => {}
        }
    }
    let same = in_use == state.in_use;
    report.require(same, &"pools and workers", format_args!("what is in use is recomputed"));
    check_sums(state, &granted, report);
}

/// Adds a grant to that of its pool, and to that of its tenant.
fn add(
    granted: &mut BTreeMap<(Name, Option<Name>, Name), u128>,
    key: &Key,
    allocation: &Allocation,
) {
    let Some(id) = key.as_allocation().filter(|_| allocation.grant().is_some()) else { return };
    for (resource, amount) in allocation.amount.iter() {
        for tenant in [None, Some(allocation.tenant.clone())] {
            let of = (id.pool.clone(), tenant, resource.clone());
            *granted.entry(of).or_default() += u128::from(amount);
        }
    }
}

fn check_sums(
    state: &State,
    granted: &BTreeMap<(Name, Option<Name>, Name), u128>,
    report: &mut Report,
) {
    for ((pool, tenant, resource), sum) in granted {
        let Some(found) = state.pool(pool) else { continue };
        let most = match tenant {
            None => Some(found.capacity.get(resource)),
            Some(tenant) => {
                found.tenants.get(tenant).and_then(|it| it.limit.get(resource).copied())
            }
        };
        let within = most.is_none_or(|most| *sum <= u128::from(most));
        report.require(
            within,
            pool,
            format_args!("{sum} {resource} is granted to {tenant:?}, at most {most:?}"),
        );
    }
}

fn check_allocation(state: &State, key: &Key, allocation: &Allocation, report: &mut Report) {
    let pool: Option<&Pool> =
        key.as_allocation().and_then(|id| state.pool(&id.pool)).map(AsRef::as_ref);
    let known = pool.is_some_and(|pool| pool.tenants.contains_key(&allocation.tenant));
    report.require(known, key, format_args!("its pool has its tenant {}", allocation.tenant));
    let valid = validate_amount(&allocation.amount).is_ok();
    report.require(valid, key, format_args!("its amount is valid"));
    if let Some(grant) = allocation.grant() {
        let epoch = grant.epoch;
        let past =
            epoch.restore <= state.identity().restore_epoch && epoch.revision <= state.revision();
        report.require(past, key, format_args!("its epoch {epoch} is no newer than the state"));
    }
    match &allocation.holder {
        Holder::Session(session) => {
            let same = allocation.grant().is_none_or(|grant| grant.session == *session);
            report.require(same, key, format_args!("it is granted to its session {session}"));
        }
        Holder::Partition(id) => {
            let partition = state.partition(id);
            let live = partition.filter(|it| it.state != PartitionState::Deleted);
            report.require(live.is_some(), key, format_args!("its partition {id} exists"));
            let owned = |grant: &crate::pool::AllocationGrant| {
                live.is_some_and(|partition| {
                    partition.owner.as_ref().is_some_and(|owner| owner.session == grant.session)
                })
            };
            let owned = allocation.grant().is_none_or(owned);
            report.require(owned, key, format_args!("it is granted to the owner of {id}"));
        }
    }
}

fn check_required(
    key: &Key,
    allocation: &Allocation,
    required: &mut BTreeSet<PartitionId>,
    report: &mut Report,
) {
    let first = key.as_allocation().is_some_and(|id| id.part == 0);
    report.require(first || allocation.required, key, format_args!("it alone was asked for"));
    if !allocation.required {
        return;
    }
    match &allocation.holder {
        Holder::Partition(id) => {
            let only = required.insert(id.clone());
            report.require(only, key, format_args!("{id} requires nothing else"));
        }
        Holder::Session(_) => {
            report.require(false, key, format_args!("a partition holds what is required"));
        }
    }
}

fn check_source(state: &State, key: &Key, policy: &PartitionPolicy, report: &mut Report) {
    let Some((pool, tenant)) = policy.source() else { return };
    let known = state.pool(pool).is_some_and(|pool| pool.tenants.contains_key(tenant));
    report.require(known, key, format_args!("its pool {pool} has its tenant {tenant}"));
}

fn check_load(state: &State, key: &Key, report: &mut Report) {
    let text = std::str::from_utf8(&key.bytes).ok();
    let Some(LoadId::Allocation(id)) = text.and_then(LoadId::parse) else { return };
    let granted = state.allocation(&id).is_some_and(|it| it.grant().is_some());
    report.require(granted, key, format_args!("it is of an allocation that is granted"));
}
