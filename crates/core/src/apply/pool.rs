//! Pools: created, replaced, deleted.
//!
//! Invariants: what is granted of a pool is within its capacity, and of a tenant within its limit,
//! whatever the pool is replaced by; who has allocations stays a tenant, and so does whom a network names.

use std::sync::Arc;

use super::draft::Draft;
use crate::{
    key::Key,
    name::Name,
    pool::Pool,
    record::{PartitionPolicy, Record},
    rejection::{Reason, Rejection},
    reply::Reply,
    sums::{PoolUse, Sums},
};

/// Creates or replaces a pool. The same again changes nothing.
pub(super) fn put(draft: &mut Draft<'_>, name: &Name, pool: &Pool) -> Result<Reply, Rejection> {
    let settings = draft.settings();
    let (tenants, tenants_max) = (pool.tenants.len() as u64, settings.pool_tenants_max);
    if tenants > tenants_max {
        return Err(Rejection::limit("tenants", "pool_tenants_max", tenants, tenants_max));
    }
    pool.validate()?;
    let known = draft.state().pool(name);
    if known.is_some_and(|known| **known == *pool) {
        return Ok(Reply::Done);
    }
    if known.is_none() {
        let (count, max) = (draft.state().pools() as u64 + 1, settings.pools_max);
        if count > max {
            return Err(Rejection::limit("name", "pools_max", count, max));
        }
    }
    if let Some(in_use) = draft.state().pool_use(name) {
        holds_what_is_granted(pool, in_use)?;
    }
    has_whom_networks_name(draft, name, pool)?;
    draft.put(&Key::pool(name), Record::Pool(Arc::new(pool.clone())));
    Ok(Reply::Done)
}

fn holds_what_is_granted(pool: &Pool, in_use: &PoolUse) -> Result<(), Rejection> {
    within("capacity", &in_use.granted, |resource| Some(pool.capacity.get(resource)))?;
    for (name, tenant_use) in &in_use.tenants {
        let Some(tenant) = pool.tenants.get(name) else {
            let count = tenant_use.allocations;
            let message = format!("tenant {name} has {count} allocations and cannot be removed");
            let rejection = Rejection::new(Reason::PreconditionFailed, message);
            return Err(Rejection { field: "tenants".into(), ..rejection });
        };
        let field = format!("tenants[{name}].limit");
        within(&field, &tenant_use.granted, |resource| tenant.limit.get(resource).copied())?;
    }
    Ok(())
}

/// The pool and the tenant that a network's policy names must be there.
pub(super) fn has_source(draft: &Draft<'_>, policy: &PartitionPolicy) -> Result<(), Rejection> {
    let Some((name, tenant)) = policy.source() else { return Ok(()) };
    let Some(pool) = draft.state().pool(name) else {
        return Err(Rejection::invalid("policy.pool", format!("there is no pool {name}")));
    };
    match pool.tenants.contains_key(tenant) {
        true => Ok(()),
        false => {
            let rule = format!("pool {name} has no tenant {tenant}");
            Err(Rejection::invalid("policy.tenant", rule))
        }
    }
}

fn has_whom_networks_name(draft: &Draft<'_>, name: &Name, pool: &Pool) -> Result<(), Rejection> {
    for network in draft.state().networks_of(name) {
        let Some(Record::Network(found)) =
            draft.get(&Key::network(network)).map(|record| &record.value)
        else {
            continue;
        };
        let tenant = found.spec.policy.tenant.as_ref();
        if let Some(tenant) = tenant.filter(|tenant| !pool.tenants.contains_key(*tenant)) {
            let message = format!("network {network} names tenant {tenant}, which stays");
            let rejection = Rejection::new(Reason::PreconditionFailed, message);
            return Err(Rejection { field: "tenants".into(), ..rejection });
        }
    }
    Ok(())
}

fn within(
    field: &str,
    granted: &Sums,
    there_is: impl Fn(&Name) -> Option<u64>,
) -> Result<(), Rejection> {
    for (resource, sum) in granted.iter() {
        let Some(most) = there_is(resource).filter(|most| sum > u128::from(*most)) else {
            continue;
        };
        let message = format!("{field}: {sum} {resource} is granted, more than {most}");
        let rule = format!("at least {sum} {resource}, which is granted");
        let rejection = Rejection::new(Reason::CapacityExceeded, message);
        return Err(Rejection { field: field.to_owned(), rule, ..rejection });
    }
    Ok(())
}

pub(super) fn delete(draft: &mut Draft<'_>, name: &Name) -> Result<Reply, Rejection> {
    if draft.state().pool(name).is_none() {
        return Err(unknown(name));
    }
    if let Some(network) = draft.state().networks_of(name).next() {
        let message = format!("network {network} names pool {name}");
        return Err(Rejection::new(Reason::PreconditionFailed, message));
    }
    if let Some(in_use) = draft.state().pool_use(name) {
        let message = format!("pool {name} has {} allocations", in_use.allocations);
        return Err(Rejection::new(Reason::PreconditionFailed, message));
    }
    draft.delete(&Key::pool(name));
    Ok(Reply::Done)
}

pub(super) fn unknown(name: &Name) -> Rejection {
    Rejection::new(Reason::NotFound, format!("no pool {name}"))
}
