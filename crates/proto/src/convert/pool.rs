//! Pools and allocations.

use std::collections::BTreeMap;

use quorate_core::{
    Allocation, AllocationGrant, AllocationId, AllocationState, Holder, Key, Kind, Name, Pool,
    PoolPolicy, Preemption, Resources, Tenant,
};

use super::{ConvertError, Within, name, record::resources, required, write::partition_id};
use crate::v1;

impl From<&Pool> for v1::Pool {
    fn from(pool: &Pool) -> Self {
        let PoolPolicy { grace_ms, starving_after_ms, idle_timeout_ms } = pool.policy;
        let tenants = pool.tenants.iter();
        Self {
            capacity: Some((&pool.capacity).into()),
            tenants: tenants.map(|(name, tenant)| (name.to_string(), tenant.into())).collect(),
            grace_ms,
            starving_after_ms,
            idle_timeout_ms,
        }
    }
}

impl TryFrom<v1::Pool> for Pool {
    type Error = ConvertError;

    fn try_from(pool: v1::Pool) -> Result<Self, ConvertError> {
        let v1::Pool { capacity, tenants, grace_ms, starving_after_ms, idle_timeout_ms } = pool;
        let tenant = |(text, tenant): (String, v1::Tenant)| {
            let field = format!("tenants[{}]", text.chars().take(64).collect::<String>());
            let name = name(&text, &field)?;
            Ok((name, tenant.try_into().within(&field)?))
        };
        Ok(Self {
            capacity: resources(capacity, "capacity")?,
            tenants: tenants.into_iter().map(tenant).collect::<Result<_, ConvertError>>()?,
            policy: PoolPolicy { grace_ms, starving_after_ms, idle_timeout_ms },
        })
    }
}

impl From<&Tenant> for v1::Tenant {
    fn from(tenant: &Tenant) -> Self {
        let limit = tenant.limit.iter().map(|(name, amount)| (name.to_string(), *amount));
        Self {
            weight: tenant.weight,
            guarantee: Some((&tenant.guarantee).into()),
            limit: limit.collect(),
            priority: tenant.priority,
        }
    }
}

impl TryFrom<v1::Tenant> for Tenant {
    type Error = ConvertError;

    fn try_from(tenant: v1::Tenant) -> Result<Self, ConvertError> {
        let v1::Tenant { weight, guarantee, limit, priority } = tenant;
        let limit = limit.into_iter().map(|(text, amount)| {
            let field = format!("limit[{}]", text.chars().take(64).collect::<String>());
            Ok((name(&text, &field)?, amount))
        });
        Ok(Self {
            weight: weight.max(1),
            guarantee: resources(guarantee, "guarantee")?,
            limit: limit.collect::<Result<BTreeMap<Name, u64>, ConvertError>>()?,
            priority,
        })
    }
}

/// Reads an allocation's id.
///
/// # Errors
/// [`ConvertError`] when it is none.
pub fn allocation_id(text: &str, field: &str) -> Result<AllocationId, ConvertError> {
    AllocationId::parse(text)
        .ok_or_else(|| ConvertError::new(field, "must be an allocation id such as pool/17"))
}

impl From<&Holder> for v1::AllocationHolder {
    fn from(holder: &Holder) -> Self {
        use v1::allocation_holder::Holder as H;
        let holder = match holder {
            Holder::Session(session) => H::Session((*session).into()),
            Holder::Partition(id) => H::Partition(id.to_string()),
        };
        Self { holder: Some(holder) }
    }
}

/// Reads the holder of an allocation, which must be there.
///
/// # Errors
/// [`ConvertError`] when it is absent, or no holder.
pub fn required_holder(
    message: Option<v1::AllocationHolder>,
    field: &str,
) -> Result<Holder, ConvertError> {
    use v1::allocation_holder::Holder as H;
    match required(message, field)?.holder {
        None => Err(ConvertError::new(field, "one of session and partition must be set")),
        Some(H::Session(session)) => Ok(Holder::Session(session.into())),
        Some(H::Partition(text)) => {
            Ok(Holder::Partition(partition_id(&text, &format!("{field}.partition"))?))
        }
    }
}

pub(super) fn allocation_message(key: &Key, allocation: &Allocation) -> v1::Allocation {
    let id = key.as_allocation();
    let (state, revocation) = match &allocation.state {
        AllocationState::Waiting => (v1::AllocationState::Waiting, None),
        AllocationState::Granted(_) => (v1::AllocationState::Granted, None),
        AllocationState::Revoking { until_ms, why, .. } => {
            let Preemption { request, tenant, resource } = why;
            let revocation = v1::Revocation {
                until_ms: *until_ms,
                request: request.to_string(),
                tenant: tenant.to_string(),
                resource: resource.to_string(),
            };
            (v1::AllocationState::Revoking, Some(revocation))
        }
    };
    let grant = allocation.grant();
    v1::Allocation {
        pool: id.as_ref().map(|id| id.pool.to_string()).unwrap_or_default(),
        number: id.as_ref().map(|id| id.number).unwrap_or_default(),
        tenant: allocation.tenant.to_string(),
        amount: Some((&allocation.amount).into()),
        priority: allocation.priority,
        holder: Some((&allocation.holder).into()),
        waiting_since_ms: allocation.waiting_since_ms,
        state: state.into(),
        epoch: grant.map(|grant| grant.epoch.into()),
        grant_session: grant.map(|grant| grant.session.into()),
        granted_at_ms: grant.map(|grant| grant.at_ms).unwrap_or_default(),
        revocation,
        required: allocation.required,
        part: id.map(|id| id.part).unwrap_or_default(),
    }
}

pub(super) fn read_allocation(
    key: &Key,
    message: v1::Allocation,
) -> Result<Allocation, ConvertError> {
    let id = (key.kind == Kind::Allocation).then(|| key.as_allocation()).flatten();
    let id =
        id.ok_or_else(|| ConvertError::new("", "the key is no allocation id such as pool/17"))?;
    let named = (message.pool.as_str(), message.number, message.part);
    if named != (id.pool.as_str(), id.number, id.part) {
        return Err(ConvertError::new("pool", format!("not that of the key {id}")));
    }
    let grant = match (message.epoch, message.grant_session) {
        (Some(epoch), Some(session)) => Some(AllocationGrant {
            epoch: epoch.into(),
            session: session.into(),
            at_ms: message.granted_at_ms,
        }),
        (None, None) if message.granted_at_ms == 0 => None,
        _ => {
            let rule = "set exactly when epoch and granted_at_ms are";
            return Err(ConvertError::new("grant_session", rule));
        }
    };
    Ok(Allocation {
        tenant: name(&message.tenant, "tenant")?,
        amount: resources(message.amount, "amount")?,
        priority: message.priority,
        holder: required_holder(message.holder, "holder")?,
        waiting_since_ms: message.waiting_since_ms,
        state: read_state(message.state, grant, message.revocation)?,
        required: message.required,
    })
}

fn read_state(
    state: i32,
    grant: Option<AllocationGrant>,
    revocation: Option<v1::Revocation>,
) -> Result<AllocationState, ConvertError> {
    use v1::AllocationState as S;
    match (S::try_from(state), grant, revocation) {
        (Ok(S::Waiting), None, None) => Ok(AllocationState::Waiting),
        (Ok(S::Granted), Some(grant), None) => Ok(AllocationState::Granted(grant)),
        (Ok(S::Revoking), Some(grant), Some(revocation)) => {
            let v1::Revocation { until_ms, request, tenant, resource } = revocation;
            let why = Preemption {
                request: allocation_id(&request, "revocation.request")?,
                tenant: name(&tenant, "revocation.tenant")?,
                resource: name(&resource, "revocation.resource")?,
            };
            Ok(AllocationState::Revoking { grant, until_ms, why })
        }
        (Ok(S::Unspecified) | Err(_), ..) => {
            Err(ConvertError::new("state", format!("unknown value {state}")))
        }
        _ => Err(ConvertError::new("state", "not as epoch and revocation say")),
    }
}

/// Sums as resources; each is within what u64 holds, since it is within a capacity.
#[must_use]
pub fn sums(sums: &quorate_core::Sums) -> v1::Resources {
    let amounts =
        sums.iter().map(|(name, sum)| (name.clone(), u64::try_from(sum).unwrap_or(u64::MAX)));
    (&amounts.collect::<Resources>()).into()
}
