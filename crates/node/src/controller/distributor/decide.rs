//! What is granted of a pool, and what is asked back, from a state and the time. Pure.

use std::{fmt::Write as _, sync::Arc};

use quorate_core::{
    Allocation, AllocationId, AllocationState, Holder, KeyRange, Kind, Name, PartitionState,
    Preemption, Record, Revision, Revocation, State,
};
use quorate_plan::allocate::{
    self, AllocationError, AllocationPlan, AllocationPolicy, GrantBasis, GrantOwner, PoolView,
    RequestId, RevocationReason, StandingGrant, WaitingRequest, allocate,
};

use super::ledger::standing;

/// What is to be done with a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// What is granted, in this order.
    pub(super) grants: Vec<AllocationId>,
    /// On what ground, in words.
    pub(super) grounds: String,
    /// What is asked back.
    pub(super) revocations: Vec<Revocation>,
}

/// Decides on all that waits for a pool. What a partition holds waits for its owner first.
pub(super) fn decide(state: &State, name: &Name, now_ms: u64) -> Result<Decision, AllocationError> {
    let Some(pool) = state.pool(name) else { return Ok(Decision::default()) };
    let found = allocations(state, name);
    let tenants = pool.tenants.iter().map(|(name, tenant)| allocate::Tenant {
        name: name.clone(),
        weight: tenant.weight,
        guarantee: tenant.guarantee.clone(),
        limit: tenant.limit.clone(),
        priority: tenant.priority,
    });
    let pool_in = allocate::Pool { capacity: pool.capacity.clone(), tenants: tenants.collect() };
    let grants: Vec<StandingGrant> = (0..).zip(&found).filter_map(grant).collect();
    let requests: Vec<WaitingRequest> =
        (0..).zip(&found).filter(|(_, it)| can_be_granted(state, &it.1)).map(request).collect();
    if requests.is_empty() {
        return Ok(Decision::default());
    }
    let starving_after_ms = Some(pool.policy.starving_after_ms).filter(|after| *after > 0);
    let policy = AllocationPolicy { grace_ms: pool.policy.grace_ms, starving_after_ms };
    let (grants, requests) = (grants.as_slice(), requests.as_slice());
    let plan = allocate(&PoolView { pool: &pool_in, grants, requests, policy, now_ms })?;
    Ok(decision(&found, &plan))
}

type Found = (AllocationId, Arc<Allocation>);

/// All of a pool, by id: the planner knows each by its place.
fn allocations(state: &State, pool: &Name) -> Vec<Found> {
    let range = KeyRange::Prefix(Kind::Allocation, format!("{pool}/").into());
    let found = state.range(&range).filter_map(|(key, record)| match &record.value {
        Record::Allocation(allocation) => Some((key.as_allocation()?, allocation.clone())),
        _ => None,
    });
    let mut found: Vec<Found> = found.collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn grant((place, (_, allocation)): (u64, &Found)) -> Option<StandingGrant> {
    let grant = allocation.grant()?;
    let owner = match &allocation.holder {
        Holder::Session(session) => GrantOwner::Session(*session),
        Holder::Partition(partition) => {
            GrantOwner::Partition { partition: partition.clone(), epoch: grant.epoch }
        }
    };
    let grace_end_ms = match allocation.state {
        AllocationState::Revoking { until_ms, .. } => Some(until_ms),
        _ => None,
    };
    Some(StandingGrant { grace_end_ms, ..standing(place, allocation, grant.epoch, owner) })
}

fn request((place, (id, allocation)): (u64, &Found)) -> WaitingRequest {
    WaitingRequest {
        id: RequestId(place),
        tenant: allocation.tenant.clone(),
        amount: allocation.amount.clone(),
        priority: allocation.priority,
        arrival: Revision(id.number),
        since_ms: allocation.waiting_since_ms,
    }
}

fn can_be_granted(state: &State, allocation: &Allocation) -> bool {
    let owned = || match &allocation.holder {
        Holder::Session(_) => true,
        Holder::Partition(id) => state.partition(id).is_some_and(|partition| {
            partition.owner.is_some() && partition.state != PartitionState::Deleted
        }),
    };
    allocation.state == AllocationState::Waiting && owned()
}

fn decision(found: &[Found], plan: &AllocationPlan) -> Decision {
    let at = |place: u64| found.get(usize::try_from(place).ok()?);
    let id = |place| at(place).map(|(id, _)| id.clone());
    let revocations = plan.revocations.iter().filter_map(|revocation| {
        let RevocationReason::Preempted { request, tenant, resource } = &revocation.reason;
        let (tenant, resource) = (tenant.clone(), resource.clone());
        let why = Preemption { request: id(request.0)?, tenant, resource };
        let (id, allocation) = at(revocation.grant.0)?;
        Some(Revocation { id: id.clone(), epoch: allocation.grant()?.epoch, why })
    });
    Decision {
        grants: plan.grants.iter().filter_map(|grant| id(grant.request.0)).collect(),
        grounds: grounds(plan),
        revocations: revocations.collect(),
    }
}

/// How many grants there are on each ground, in words.
fn grounds(plan: &AllocationPlan) -> String {
    let mut words = String::new();
    for (basis, ground) in
        [(GrantBasis::Guarantee, "within guarantees"), (GrantBasis::FairShare, "by fair share")]
    {
        let count = plan.grants.iter().filter(|grant| grant.basis == basis).count();
        if count > 0 {
            let comma = if words.is_empty() { "" } else { ", " };
            let _ = write!(words, "{comma}{count} {ground}");
        }
    }
    words
}
