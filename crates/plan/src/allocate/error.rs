//! Input that contradicts itself.

use quorate_core::Name;

use super::input::{GrantId, RequestId};

/// Why nothing can be decided on a pool. Each names the field and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// Two tenants have one name.
    #[error("pool.tenants: {tenant} is there twice; a name is unique")]
    DuplicateTenant {
        /// The name.
        tenant: Name,
    },
    /// A tenant counts for nothing.
    #[error("pool.tenants.{tenant}.weight: is 0; it is at least 1")]
    ZeroWeight {
        /// The tenant.
        tenant: Name,
    },
    /// A tenant is promised more than it may have.
    #[error(
        "pool.tenants.{tenant}.guarantee.{resource}: {guarantee} is above the limit of {limit}"
    )]
    GuaranteeAboveLimit {
        /// The tenant.
        tenant: Name,
        /// The resource.
        resource: Name,
        /// What is promised.
        guarantee: u64,
        /// What is allowed.
        limit: u64,
    },
    /// More is promised than there is.
    #[error(
        "pool.tenants: the guarantees of {resource} add up to {guaranteed}, above the capacity of \
         {capacity}"
    )]
    GuaranteesAboveCapacity {
        /// The resource.
        resource: Name,
        /// All guarantees together.
        guaranteed: u128,
        /// What there is.
        capacity: u64,
    },
    /// Two grants have one number.
    #[error("grants: {} is there twice; an id is unique", grant.0)]
    DuplicateGrant {
        /// The number.
        grant: GrantId,
    },
    /// A grant of somebody who does not share the pool.
    #[error("grants.{}.tenant: {tenant} is no tenant of the pool", grant.0)]
    UnknownGrantTenant {
        /// The grant.
        grant: GrantId,
        /// Its tenant.
        tenant: Name,
    },
    /// More was granted than there is.
    #[error("grants: {resource} adds up to {granted}, above the capacity of {capacity}")]
    GrantsAboveCapacity {
        /// The resource.
        resource: Name,
        /// All grants together.
        granted: u128,
        /// What there is.
        capacity: u64,
    },
    /// Two requests have one number.
    #[error("requests: {} is there twice; an id is unique", request.0)]
    DuplicateRequest {
        /// The number.
        request: RequestId,
    },
    /// A request of somebody who does not share the pool.
    #[error("requests.{}.tenant: {tenant} is no tenant of the pool", request.0)]
    UnknownRequestTenant {
        /// The request.
        request: RequestId,
        /// Its tenant.
        tenant: Name,
    },
}
