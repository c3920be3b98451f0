//! Fair allocation: which requests on a pool are granted, which wait, and what is taken back.
//!
//! Dominant resource fairness by progressive filling (A. Ghodsi et al., "Dominant Resource
//! Fairness: Fair Allocation of Multiple Resource Types", NSDI 2011, section 4.1, algorithm 1, and
//! section 4.3 for weights), with guarantees, limits, priorities, preemption and reservation.
//!
//! ```text
//! PoolView { pool, grants, requests, policy, now_ms } -> allocate -> AllocationPlan
//! Reclaim { grants, ended, idle_timeout_ms, now_ms }  -> reclaim  -> grants that fall away
//! ```
//!
//! The order, exactly. A tenant's requests queue by priority (higher first), then arrival, then
//! id. Tenants take turns by priority (higher first), then dominant share over weight (smaller
//! first), then name. A request that does not fit lets the next in the queue try.
//!
//! 1. Guarantees: requests with which the tenant stays within its guarantee, in turns.
//! 2. Preemption, for those of 1 that did not fit, in that order. Taken are grants of other tenants
//!    above their fair share, if the tenant still has its guarantee, without the grant, of all that
//!    the grant is needed for. So a grant that is partly within the guarantee stays. Of those: of the
//!    tenant of lowest priority first, then lowest priority of the grant, then newest. Nothing is taken
//!    that does not make room, and nothing at all if there would not be enough. What is free is held for
//!    the request meanwhile, and for one that starves even if no room can be made.
//! 3. The rest, in turns, but for what would use up a guarantee on which another request of its tenant
//!    waits. The first starving request of these that does not fit reserves what it can use of what is
//!    free, and those after it do without.
//!
//! The priority of a request counts only among its tenant's own: nobody gains on others by asking
//! with a high one. The fair share of a tenant is its weight over the weights of all tenants that
//! have or want something; filling may give more, because tenants need different resources.
//!
//! Invariants: grants and what is free add up to the capacity, after every decision; a tenant is
//! granted nothing beyond its limit; the order of the input lists does not matter. Shares are
//! compared exactly (see `share`). It costs O((grants + requests) (log tenants + resources)) beside
//! sorting the input, and with preemption O(grants) more for each request that preempts.
//!
//! What it does not do: take back a revocation that was announced; make a guarantee good that is
//! above the tenant's fair share while nobody else is above theirs (it waits, and reserves when it
//! starves). Must not know who watches over the end of a grace period: [`reclaim`] is told.

mod books;
mod error;
mod fill;
mod input;
mod outcome;
mod preempt;
mod reclaim;
mod share;

use books::{Books, Decisions};

pub use error::AllocationError;
pub use input::{
    AllocationPolicy, GrantId, GrantOwner, Pool, PoolView, RequestId, StandingGrant, Tenant,
    WaitingRequest,
};
pub use outcome::{
    AllocationPlan, GrantBasis, NewGrant, Revocation, RevocationReason, TenantShare, WaitReason,
    Waiting,
};
pub use reclaim::{Reclaim, ReclaimReason, Reclaimed, reclaim};

/// Decides on all requests that wait for a pool.
///
/// # Errors
/// [`AllocationError`] when the input contradicts itself; it names the field and the rule. A
/// request that can never be granted is no error: it waits, with that reason.
pub fn allocate(view: &PoolView<'_>) -> Result<AllocationPlan, AllocationError> {
    let (mut books, queues) = Books::open(view)?;
    let before: Vec<_> = books.accounts.iter().map(|account| account.used.clone()).collect();
    let mut decisions = Decisions::default();
    let queues = fill::turn_away(&books, queues, &mut decisions);
    let (blocked, queues) = fill::serve_guarantees(&mut books, queues, &mut decisions);
    let back = preempt::make_room(&mut books, blocked, view, &mut decisions);
    fill::serve_fairly(&mut books, fill::merge(queues, back), view, &mut decisions);
    Ok(decisions.finish(&books, &before))
}
