//! What the allocation is decided on.

use std::collections::BTreeMap;

use quorate_core::{Epoch, Name, PartitionId, Resources, Revision, SessionId};

/// The number of a grant in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantId(pub u64);

/// The number of a request in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What there is, and who may have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// What there is, by resource. Of a resource that is absent there is nothing.
    pub capacity: Resources,
    /// Who may have it; each name once.
    pub tenants: Vec<Tenant>,
}

/// Somebody who shares a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name, unique in the pool.
    pub name: Name,
    /// How much it counts beside the others; at least 1.
    pub weight: u64,
    /// What it is served first, and others may lose grants for. All guarantees together are at most
    /// the capacity.
    pub guarantee: Resources,
    /// The most it is granted, by resource. Without a limit for those that are absent.
    pub limit: BTreeMap<Name, u64>,
    /// Who takes turns before others; higher first.
    pub priority: u32,
}

/// Who holds a grant: it falls away with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantOwner {
    /// A session.
    Session(SessionId),
    /// One ownership of a partition.
    Partition {
        /// The partition.
        partition: PartitionId,
        /// The epoch of its owner.
        epoch: Epoch,
    },
}

/// A grant that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingGrant {
    /// Its number, unique in the pool.
    pub id: GrantId,
    /// For whom it counts.
    pub tenant: Name,
    /// How much.
    pub amount: Resources,
    /// Higher is taken back later.
    pub priority: u32,
    /// The revision that made it; the newer is taken back first.
    pub revision: Revision,
    /// Who holds it.
    pub owner: GrantOwner,
    /// Since when nobody has used it, milliseconds; none while it is in use.
    pub idle_since_ms: Option<u64>,
    /// If it is being revoked, when its grace ends, milliseconds.
    pub grace_end_ms: Option<u64>,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRequest {
    /// Its number, unique in the pool.
    pub id: RequestId,
    /// For whom it counts.
    pub tenant: Name,
    /// How much; it is granted whole or not at all.
    pub amount: Resources,
    /// Who goes first among the same tenant's; higher first.
    pub priority: u32,
    /// The revision that made it; among equals the older goes first.
    pub arrival: Revision,
    /// Since when it has waited, milliseconds.
    pub since_ms: u64,
}

/// How a pool is shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllocationPolicy {
    /// How long the holder of a revoked grant has to leave, milliseconds.
    pub grace_ms: u64,
    /// After which wait a request is starving, milliseconds; none for never, so that nothing is
    /// reserved for it.
    pub starving_after_ms: Option<u64>,
}

/// A pool at one moment.
#[derive(Debug, Clone, Copy)]
pub struct PoolView<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// All its grants, in any order, those being revoked as well.
    pub grants: &'a [StandingGrant],
    /// All that wait, in any order.
    pub requests: &'a [WaitingRequest],
    /// How it is shared.
    pub policy: AllocationPolicy,
    /// The caller's time, milliseconds, of the same clock as all times in the view.
    pub now_ms: u64,
}

impl PoolView<'_> {
    /// Whether a request has waited for too long.
    pub(super) fn starves(&self, request: &WaitingRequest) -> bool {
        let waited = self.now_ms.saturating_sub(request.since_ms);
        self.policy.starving_after_ms.is_some_and(|most| waited >= most)
    }
}
