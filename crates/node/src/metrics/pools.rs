//! What pools have, and what of it is granted.
//!
//! Invariant: labels are bounded. Pools beyond the first by name are summed up under one name, and of
//! each pool the first resources by name are shown; how many were left out is counted.

use std::collections::BTreeMap;

use prometheus::proto::Metric;
use quorate_core::{Kind, Name, Pool, PoolUse, Record, State};

use super::{
    family::{float, gauge_sample},
    state::OTHERS,
};
use crate::config::Metrics as Limits;

/// What pools there are.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pools: BTreeMap<String, PerPool>,
    /// Pools that have no series of their own.
    pub(super) left_out: u64,
    /// Resources of pools that have none.
    pub(super) resources_left_out: u64,
}

#[derive(Debug, Default)]
struct PerPool {
    /// By resource.
    amounts: BTreeMap<Name, Amount>,
    granted: u64,
    waiting: u64,
}

#[derive(Debug, Default)]
struct Amount {
    granted: u128,
    capacity: u128,
}

impl Pools {
    pub(super) fn of(state: &State, limits: &Limits) -> Self {
        let (mut pools, none) = (Self::default(), PoolUse::default());
        for (key, record) in state.records_of(Kind::Pool) {
            let Record::Pool(pool) = &record.value else { continue };
            let name = std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok());
            let Some(name) = name else { continue };
            let in_use = state.pool_use(&name).unwrap_or(&none);
            let label = match pools.pools.len() < limits.pools_max {
                true => name.as_str(),
                false => OTHERS,
            };
            pools.left_out += u64::from(label == OTHERS);
            let shown = pools.pools.entry(label.to_owned()).or_default();
            pools.resources_left_out += shown.add(pool, in_use, limits.resources_max);
        }
        pools
    }

    /// What is granted, by pool and resource.
    pub(super) fn usage(&self) -> Vec<Metric> {
        self.amounts(|amount| amount.granted)
    }

    /// What there is, by pool and resource.
    pub(super) fn capacity(&self) -> Vec<Metric> {
        self.amounts(|amount| amount.capacity)
    }

    /// How many allocations there are, by pool and state.
    pub(super) fn allocations(&self) -> Vec<Metric> {
        let samples = self.pools.iter().flat_map(|(name, pool)| {
            [("granted", pool.granted), ("waiting", pool.waiting)].map(|(state, count)| {
                gauge_sample(&[("pool", name), ("state", state)], float(count))
            })
        });
        samples.collect()
    }

    fn amounts(&self, which: impl Fn(&Amount) -> u128) -> Vec<Metric> {
        let samples = self.pools.iter().flat_map(|(name, pool)| {
            pool.amounts.iter().map(|(resource, amount)| {
                let labels = [("pool", name.as_str()), ("resource", resource.as_str())];
                let amount = u64::try_from(which(amount)).unwrap_or(u64::MAX);
                gauge_sample(&labels, float(amount))
            })
        });
        samples.collect()
    }
}

impl PerPool {
    /// Adds a pool; how many of its resources are left out.
    fn add(&mut self, pool: &Pool, in_use: &PoolUse, resources_max: usize) -> u64 {
        self.granted += in_use.grants;
        self.waiting += in_use.allocations - in_use.grants;
        let mut left_out = 0;
        for (resource, capacity) in pool.capacity.iter() {
            if self.amounts.len() >= resources_max && !self.amounts.contains_key(resource) {
                left_out += 1;
                continue;
            }
            let amount = self.amounts.entry(resource.clone()).or_default();
            let granted = in_use.granted.get(resource);
            amount.granted = amount.granted.saturating_add(granted);
            amount.capacity = amount.capacity.saturating_add(u128::from(capacity));
        }
        left_out
    }
}
