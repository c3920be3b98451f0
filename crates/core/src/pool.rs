//! Pools of resources, who shares them, and what was asked for and granted of them.
//!
//! Owns the shapes. How they change is in `apply`, the rules that span records in
//! [`crate::invariant`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Epoch, SessionId},
    key::{AllocationId, PartitionId},
    name::Name,
    rejection::Rejection,
    resources::Resources,
    sums::Sums,
};

/// What there is of some resources, and who may have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What there is. Of a resource that is absent there is nothing.
    pub capacity: Resources,
    /// Who may have it, by name. All guarantees together are at most the capacity.
    pub tenants: BTreeMap<Name, Tenant>,
    /// How it is shared.
    pub policy: PoolPolicy,
}

/// Somebody who shares a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// How much it counts beside the others; at least 1.
    pub weight: u64,
    /// What it is served first, and others may lose grants for.
    pub guarantee: Resources,
    /// The most it is granted, by resource. Without a limit for those that are absent.
    pub limit: BTreeMap<Name, u64>,
    /// Who takes turns before others; higher first.
    pub priority: u32,
}

impl Default for Tenant {
    /// One that counts once, with no guarantee and no limit.
    fn default() -> Self {
        Self { weight: 1, guarantee: Resources::default(), limit: BTreeMap::new(), priority: 0 }
    }
}

/// How a pool is shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolPolicy {
    /// How long the holder of a grant that is asked back may keep it, milliseconds.
    pub grace_ms: u64,
    /// After which wait room is held for an allocation, milliseconds; 0: never.
    pub starving_after_ms: u64,
    /// After which time without use a grant ends, milliseconds; 0: never.
    pub idle_timeout_ms: u64,
}

/// An amount of a pool that a tenant asked for. It is granted whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// For whom it counts.
    pub tenant: Name,
    /// How much. Never nothing.
    pub amount: Resources,
    /// Who goes first among the same tenant's; higher first.
    pub priority: u32,
    /// With whom it ends.
    pub holder: Holder,
    /// Since when it waits, or waited for its grant; milliseconds since 1970.
    pub waiting_since_ms: u64,
    /// What became of it so far.
    pub state: AllocationState,
    /// Whether a network's policy requires it for a partition, and nobody asked for it.
    pub required: bool,
}

impl Allocation {
    /// Its grant, when it has one.
    #[must_use]
    pub fn grant(&self) -> Option<&AllocationGrant> {
        match &self.state {
            AllocationState::Waiting => None,
            AllocationState::Granted(grant) | AllocationState::Revoking { grant, .. } => {
                Some(grant)
            }
        }
    }

    /// The session with which it, or its grant, ends.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self.holder {
            Holder::Session(session) => Some(session),
            Holder::Partition(_) => self.grant().map(|grant| grant.session),
        }
    }
}

/// With whom an allocation ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holder {
    /// It is gone with the session.
    Session(SessionId),
    /// It is gone with the partition. Its grant ends with the ownership of the partition, and it
    /// waits for another one then.
    Partition(PartitionId),
}

/// What became of an allocation so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllocationState {
    /// It waits for its turn.
    Waiting,
    /// It may be used.
    Granted(AllocationGrant),
    /// It may be used until it ends, which its holder is asked for.
    Revoking {
        /// The grant.
        grant: AllocationGrant,
        /// Until when, milliseconds since 1970.
        until_ms: u64,
        /// Why.
        why: Preemption,
    },
}

/// A grant of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationGrant {
    /// Which: grows with every grant and is never reused.
    pub epoch: Epoch,
    /// Whose it is: the holder's session, or that of its partition's owner.
    pub session: SessionId,
    /// When it was granted, milliseconds since 1970.
    pub at_ms: u64,
}

/// Why a grant is asked back: another tenant is below its guarantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preemption {
    /// The allocation that waits for it.
    pub request: AllocationId,
    /// Who is below its guarantee.
    pub tenant: Name,
    /// A resource that is lacking.
    pub resource: Name,
}

/// Most resources of one pool, and of one amount.
pub(crate) const RESOURCES_MAX: usize = 64;

impl Pool {
    /// Checks what can be checked without looking at what is granted.
    ///
    /// # Errors
    /// The rejection that names the field and the rule.
    pub(crate) fn validate(&self) -> Result<(), Rejection> {
        if self.capacity.len() > RESOURCES_MAX {
            let rule = format!("at most {RESOURCES_MAX} resources, not {}", self.capacity.len());
            return Err(Rejection::invalid("capacity", rule));
        }
        let mut guaranteed = Sums::default();
        for (name, tenant) in &self.tenants {
            let invalid = |field: &str, rule: String| {
                Rejection::invalid(format!("tenants[{name}].{field}"), rule)
            };
            if tenant.weight == 0 {
                return Err(invalid("weight", "at least 1".into()));
            }
            if tenant.limit.len() > RESOURCES_MAX {
                return Err(invalid("limit", format!("at most {RESOURCES_MAX} resources")));
            }
            let above = |(resource, amount): &(&Name, u64)| {
                tenant.limit.get(*resource).is_some_and(|limit| amount > limit)
            };
            if let Some((resource, amount)) = tenant.guarantee.iter().find(above) {
                let rule = format!("{amount} {resource} is above the tenant's limit");
                return Err(invalid("guarantee", rule));
            }
            let capacity = |resource: &Name| Some(self.capacity.get(resource));
            if let Some(resource) = guaranteed.exceeded(&tenant.guarantee, capacity) {
                let capacity = self.capacity.get(resource);
                let rule =
                    format!("all guarantees of {resource} are at most the capacity, {capacity}");
                return Err(invalid("guarantee", rule));
            }
            guaranteed.add(&tenant.guarantee);
        }
        Ok(())
    }
}

/// An amount that can be asked for.
///
/// # Errors
/// The rejection that names the rule.
pub(crate) fn validate_amount(amount: &Resources) -> Result<(), Rejection> {
    match amount.len() {
        0 => Err(Rejection::invalid("amount", "something of at least one resource")),
        count if count > RESOURCES_MAX => {
            Err(Rejection::invalid("amount", format!("at most {RESOURCES_MAX} resources")))
        }
        _ => Ok(()),
    }
}
