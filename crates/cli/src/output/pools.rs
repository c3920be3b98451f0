//! Rows that show pools and allocations.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use std::collections::BTreeMap;

use quorate_client::FoundPool;
use quorate_core::{Allocation, AllocationId, AllocationState, Holder, Pool};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Column::{self, Left, Right},
    Row,
    records::{amounts, demand},
    text,
};

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PoolRow {
    name: String,
    capacity: BTreeMap<String, u64>,
    granted: BTreeMap<String, u64>,
    grants: u64,
    waiting: u64,
    tenants: Vec<TenantRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct TenantRow {
    name: String,
    weight: u64,
    guarantee: BTreeMap<String, u64>,
    limit: BTreeMap<String, u64>,
    priority: u32,
    granted: BTreeMap<String, u64>,
    allocations: u64,
}

impl PoolRow {
    /// The row of a pool.
    pub(crate) fn new(found: &FoundPool) -> Self {
        let tenants = found.pool.value.tenants.iter().map(|(name, tenant)| {
            let has = found.tenants.iter().find(|it| it.name == *name);
            TenantRow {
                name: name.to_string(),
                weight: tenant.weight,
                guarantee: amounts(&tenant.guarantee),
                limit: tenant.limit.iter().map(|(it, most)| (it.to_string(), *most)).collect(),
                priority: tenant.priority,
                granted: has.map(|it| amounts(&it.granted)).unwrap_or_default(),
                allocations: has.map(|it| it.allocations).unwrap_or_default(),
            }
        });
        Self {
            name: found.name.to_string(),
            capacity: amounts(&found.pool.value.capacity),
            granted: amounts(&found.granted),
            grants: found.grants,
            waiting: found.waiting,
            tenants: tenants.collect(),
        }
    }
}

impl Row for PoolRow {
    const COLUMNS: &'static [Column] = &[
        Left("NAME"),
        Right("GRANTS"),
        Right("WAITING"),
        Left("CAPACITY"),
        Left("GRANTED"),
        Left("TENANTS"),
    ];

    fn cells(&self) -> Vec<String> {
        let tenants: Vec<_> = self.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let tenants = tenants.join(" ");
        vec![
            self.name.clone(),
            self.grants.to_string(),
            self.waiting.to_string(),
            demand(&self.capacity),
            demand(&self.granted),
            text::or_dash(Some(tenants.as_str()).filter(|tenants| !tenants.is_empty())),
        ]
    }
}

/// An allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AllocationRow {
    id: String,
    pool: String,
    owner: String,
    amount: BTreeMap<String, u64>,
    epoch: Option<String>,
    tenant: String,
    state: &'static str,
    priority: u32,
    until_ms: Option<u64>,
    revoked_for: Option<String>,
    required: bool,
}

impl AllocationRow {
    /// The row of an allocation.
    pub(crate) fn new(id: &AllocationId, allocation: &Allocation) -> Self {
        let (until_ms, revoked_for) = match &allocation.state {
            AllocationState::Revoking { until_ms, why, .. } => {
                (Some(*until_ms), Some(why.request.to_string()))
            }
            _ => (None, None),
        };
        Self {
            id: id.to_string(),
            pool: id.pool.to_string(),
            owner: match &allocation.holder {
                Holder::Session(session) => session.to_string(),
                Holder::Partition(partition) => partition.to_string(),
            },
            amount: amounts(&allocation.amount),
            epoch: allocation.grant().map(|grant| grant.epoch.to_string()),
            tenant: allocation.tenant.to_string(),
            state: state(allocation),
            priority: allocation.priority,
            until_ms,
            revoked_for,
            required: allocation.required,
        }
    }
}

/// An allocation in a few words.
pub(crate) fn allocation_summary(allocation: &Allocation) -> String {
    format!("{} {} {}", state(allocation), allocation.tenant, demand(&amounts(&allocation.amount)))
}

const fn state(allocation: &Allocation) -> &'static str {
    match allocation.state {
        AllocationState::Waiting => "waiting",
        AllocationState::Granted(_) => "granted",
        AllocationState::Revoking { .. } => "revoking",
    }
}

impl Row for AllocationRow {
    const COLUMNS: &'static [Column] = &[
        Left("ID"),
        Left("STATE"),
        Left("TENANT"),
        Left("OWNER"),
        Left("EPOCH"),
        Right("PRIORITY"),
        Left("AMOUNT"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.to_owned(),
            self.tenant.clone(),
            if self.required { format!("{} (required)", self.owner) } else { self.owner.clone() },
            text::or_dash(self.epoch.as_deref()),
            self.priority.to_string(),
            demand(&self.amount),
        ]
    }
}

/// What a pool's record holds, as JSON.
pub(crate) fn pool_value(name: &str, pool: &Pool) -> Value {
    let tenant = |(name, tenant): (&quorate_core::Name, &quorate_core::Tenant)| {
        let limit: BTreeMap<_, _> =
            tenant.limit.iter().map(|(it, most)| (it.as_str(), *most)).collect();
        let tenant = json!({
            "weight": tenant.weight,
            "guarantee": amounts(&tenant.guarantee),
            "limit": limit,
            "priority": tenant.priority,
        });
        (name.to_string(), tenant)
    };
    json!({
        "name": name,
        "capacity": amounts(&pool.capacity),
        "tenants": pool.tenants.iter().map(tenant).collect::<BTreeMap<_, _>>(),
        "grace_ms": pool.policy.grace_ms,
        "starving_after_ms": pool.policy.starving_after_ms,
        "idle_timeout_ms": pool.policy.idle_timeout_ms,
    })
}
