//! What was decided, and why.

use quorate_core::{Name, Resources};

use super::input::{GrantId, RequestId};

/// What is to be done with a pool. Grants come in the order of the decisions: every prefix of them
/// is within the capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationPlan {
    /// What is granted, in this order.
    pub grants: Vec<NewGrant>,
    /// Which grants are taken back, in the order in which they were chosen.
    pub revocations: Vec<Revocation>,
    /// Every request that is not granted, by id.
    pub waiting: Vec<Waiting>,
    /// Every tenant, by name.
    pub shares: Vec<TenantShare>,
    /// What is left of the capacity beside all grants: those that stand, those that are being
    /// revoked, and the new ones. What is held for waiting requests is part of it.
    pub free: Resources,
}

/// A request that is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// The request.
    pub request: RequestId,
    /// For whom it counts.
    pub tenant: Name,
    /// How much.
    pub amount: Resources,
    /// On what ground.
    pub basis: GrantBasis,
}

/// On what ground a request is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantBasis {
    /// The tenant stays within its guarantee.
    Guarantee,
    /// It was the tenant's turn.
    FairShare,
}

/// A grant that is taken back, to free something for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The grant.
    pub grant: GrantId,
    /// Who loses it.
    pub tenant: Name,
    /// Until when it may be held, milliseconds.
    pub grace_end_ms: u64,
    /// Why.
    pub reason: RevocationReason,
}

/// Why a grant is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationReason {
    /// Its tenant is above its fair share while another is below its guarantee.
    Preempted {
        /// The request that it is for.
        request: RequestId,
        /// Who is below its guarantee.
        tenant: Name,
        /// A resource that the request lacks and the grant has.
        resource: Name,
    },
}

/// A request that is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The request.
    pub request: RequestId,
    /// For whom it counts.
    pub tenant: Name,
    /// Why it waits.
    pub reason: WaitReason,
    /// What of the free amounts is held for it.
    pub holds: Resources,
}

/// Why a request is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// The pool has nothing of a resource, so that it waits until the pool changes.
    NotInPool {
        /// The resource.
        resource: Name,
    },
    /// The pool is too small for it, so that it waits until the pool grows.
    LargerThanPool {
        /// Of this resource it wants more than there is.
        resource: Name,
        /// What there is.
        capacity: u64,
    },
    /// Its tenant would exceed its limit.
    OverLimit {
        /// Of this resource.
        resource: Name,
        /// The limit.
        limit: u64,
    },
    /// Too little is free.
    PoolFull {
        /// Of this resource.
        resource: Name,
    },
    /// Enough is free, but it is held for another request.
    Reserved {
        /// Of this resource.
        resource: Name,
        /// A request for which it is held.
        request: RequestId,
    },
    /// It would use up the guarantee on which another request of its tenant waits.
    BehindGuaranteed {
        /// That request.
        request: RequestId,
    },
    /// It is within its tenant's guarantee, and grants are being revoked that make room for it.
    AwaitsRevocation {
        /// When the last of them ends, milliseconds.
        until_ms: u64,
    },
}

/// What a tenant has of a pool before and after a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantShare {
    /// The tenant.
    pub tenant: Name,
    /// Its grants together before, with those that are being revoked.
    pub before: Resources,
    /// Its grants together after, with those that are being revoked.
    pub after: Resources,
    /// Its dominant share of the capacity before, parts per million, rounded down.
    pub before_ppm: u64,
    /// Its dominant share of the capacity after, parts per million, rounded down.
    pub after_ppm: u64,
}
