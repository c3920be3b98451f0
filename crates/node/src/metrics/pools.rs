//! What pools have, and what of it is granted.
//!
//! Invariant: labels are bounded. Pools beyond the first [`POOLS_MAX`] by name, and resources of a pool
//! beyond the first [`RESOURCES_MAX`], are left out of amounts; the allocations of such pools are summed
//! up under one name.

use prometheus::proto::Metric;
use quorate_core::{Kind, Name, PoolUse, Record, State};

use super::family::{float, gauge_sample};

const POOLS_MAX: usize = 100;
const RESOURCES_MAX: usize = 16;
const OTHERS: &str = "(others)";

/// What pools there are.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pools: Vec<PerPool>,
    /// Of all others: granted, waiting.
    others: (u64, u64),
}

#[derive(Debug)]
struct PerPool {
    name: String,
    /// By resource: granted, capacity.
    amounts: Vec<(String, f64, f64)>,
    granted: u64,
    waiting: u64,
}

impl Pools {
    pub(super) fn of(state: &State) -> Self {
        let (mut pools, none) = (Self::default(), PoolUse::default());
        for (key, record) in state.records_of(Kind::Pool) {
            let Record::Pool(pool) = &record.value else { continue };
            let name = std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok());
            let Some(name) = name else { continue };
            let in_use = state.pool_use(&name).unwrap_or(&none);
            let (granted, waiting) = (in_use.grants, in_use.allocations - in_use.grants);
            if pools.pools.len() == POOLS_MAX {
                pools.others = (pools.others.0 + granted, pools.others.1 + waiting);
                continue;
            }
            let amounts = pool.capacity.iter().take(RESOURCES_MAX).map(|(resource, capacity)| {
                let granted = u64::try_from(in_use.granted.get(resource)).unwrap_or(u64::MAX);
                (resource.to_string(), float(granted), float(capacity))
            });
            let amounts = amounts.collect();
            pools.pools.push(PerPool { name: name.to_string(), amounts, granted, waiting });
        }
        pools
    }

    /// What is granted, by pool and resource.
    pub(super) fn usage(&self) -> Vec<Metric> {
        self.amounts(|(_, granted, _)| *granted)
    }

    /// What there is, by pool and resource.
    pub(super) fn capacity(&self) -> Vec<Metric> {
        self.amounts(|(.., capacity)| *capacity)
    }

    /// How many allocations there are, by pool and state.
    pub(super) fn allocations(&self) -> Vec<Metric> {
        let each = self.pools.iter().map(|pool| (pool.name.as_str(), pool.granted, pool.waiting));
        let others = Some((OTHERS, self.others.0, self.others.1));
        let others = others.filter(|_| self.pools.len() == POOLS_MAX);
        let samples = each.chain(others).flat_map(|(name, granted, waiting)| {
            [("granted", granted), ("waiting", waiting)].map(|(state, count)| {
                gauge_sample(&[("pool", name), ("state", state)], float(count))
            })
        });
        samples.collect()
    }

    fn amounts(&self, which: impl Fn(&(String, f64, f64)) -> f64) -> Vec<Metric> {
        let samples = self.pools.iter().flat_map(|pool| {
            pool.amounts.iter().map(|amount| {
                let labels = [("pool", pool.name.as_str()), ("resource", amount.0.as_str())];
                gauge_sample(&labels, which(amount))
            })
        });
        samples.collect()
    }
}
