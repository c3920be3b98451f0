//! What is in use of pools and workers, added up.
//!
//! Invariant: follows from the records, and is kept with every change of them, so that whether one
//! more fits costs a look-up and not a walk over all that was granted. Sums are exact: u128 holds
//! more amounts of u64 than there can be records.

use std::collections::BTreeMap;

use crate::{
    key::{AllocationId, Key, PartitionId},
    name::Name,
    pool::{Allocation, Holder},
    record::{Network, Partition, Record},
    resources::Resources,
    state::State,
};

/// Amounts by resource, added up. An amount of 0 is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<Name, u128>);

impl Sums {
    /// The sum of one resource.
    #[must_use]
    pub fn get(&self, name: &Name) -> u128 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The sums that are not 0, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, u128)> {
        self.0.iter().map(|(name, sum)| (name, *sum))
    }

    /// The first resource of which `more` would make it exceed what there is. `None` from `there_is`: as
    /// much as anybody wants.
    pub(crate) fn exceeded<'a>(
        &self,
        more: &'a Resources,
        there_is: impl Fn(&Name) -> Option<u64>,
    ) -> Option<&'a Name> {
        let exceeds = |(name, amount): &(&Name, u64)| {
            let sum = self.get(name) + u128::from(*amount);
            there_is(name).is_some_and(|most| sum > u128::from(most))
        };
        more.iter().find(exceeds).map(|(name, _)| name)
    }

    pub(crate) fn add(&mut self, amount: &Resources) {
        for (name, amount) in amount.iter() {
            *self.0.entry(name.clone()).or_default() += u128::from(amount);
        }
    }

    pub(crate) fn remove(&mut self, amount: &Resources) {
        for (name, amount) in amount.iter() {
            let left = self.get(name).saturating_sub(u128::from(amount));
            if left == 0 {
                self.0.remove(name);
            } else {
                self.0.insert(name.clone(), left);
            }
        }
    }
}

/// What is in use of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// All grants together, those that are asked back too.
    pub granted: Sums,
    /// The same, and how many allocations there are, by tenant. Only those who have any.
    pub tenants: imbl::OrdMap<Name, TenantUse>,
    /// How many allocations there are.
    pub allocations: u64,
    /// How many of them have a grant.
    pub grants: u64,
}

/// What a tenant uses of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantUse {
    /// All its grants together.
    pub granted: Sums,
    /// How many allocations it has.
    pub allocations: u64,
}

impl PoolUse {
    /// Takes note of an allocation that comes.
    pub(crate) fn add(&mut self, allocation: &Allocation) {
        self.allocations += 1;
        self.tenants.entry(allocation.tenant.clone()).or_default().allocations += 1;
        if allocation.grant().is_some() {
            self.grant(allocation);
        }
    }

    /// Takes note of a grant of what is there.
    pub(crate) fn grant(&mut self, allocation: &Allocation) {
        self.grants += 1;
        self.granted.add(&allocation.amount);
        let tenant = self.tenants.entry(allocation.tenant.clone()).or_default();
        tenant.granted.add(&allocation.amount);
    }

    fn remove(&mut self, allocation: &Allocation) {
        self.allocations = self.allocations.saturating_sub(1);
        let granted = allocation.grant().is_some();
        if let Some(tenant) = self.tenants.get_mut(&allocation.tenant) {
            tenant.allocations = tenant.allocations.saturating_sub(1);
            if granted {
                tenant.granted.remove(&allocation.amount);
            }
            if tenant.allocations == 0 {
                self.tenants.remove(&allocation.tenant);
            }
        }
        if granted {
            self.grants = self.grants.saturating_sub(1);
            self.granted.remove(&allocation.amount);
        }
    }
}

/// All that is added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InUse {
    /// By pool. Only those that have allocations.
    pools: imbl::OrdMap<Name, PoolUse>,
    /// What workers' partitions need together. Only those that own any which need something.
    workers: imbl::OrdMap<Name, Sums>,
    /// The allocations of partitions. Only those that have any.
    partitions: imbl::OrdMap<PartitionId, imbl::OrdSet<AllocationId>>,
    /// How many pools there are.
    count: usize,
    /// By pool, the networks that name it. Only of pools that are named.
    networks: imbl::OrdMap<Name, imbl::OrdSet<Name>>,
}

impl InUse {
    /// Takes note of a record that comes or goes.
    pub(crate) fn note(&mut self, key: &Key, before: Option<&Record>, after: Option<&Record>) {
        match before {
            Some(Record::Allocation(allocation)) => self.allocation_goes(key, allocation),
            Some(Record::Partition(partition)) => self.partition_goes(partition),
            Some(Record::Pool(_)) => self.count -= 1,
            Some(Record::Network(network)) => self.network_goes(key, network),
            _ => {}
        }
        match after {
            Some(Record::Allocation(allocation)) => self.allocation_comes(key, allocation),
            Some(Record::Partition(partition)) => self.partition_comes(partition),
            Some(Record::Pool(_)) => self.count += 1,
            Some(Record::Network(network)) => self.network_comes(key, network),
            _ => {}
        }
    }

    fn allocation_comes(&mut self, key: &Key, allocation: &Allocation) {
        let Some(id) = key.as_allocation() else { return };
        self.pools.entry(id.pool.clone()).or_default().add(allocation);
        if let Holder::Partition(partition) = &allocation.holder {
            self.partitions.entry(partition.clone()).or_default().insert(id);
        }
    }

    fn allocation_goes(&mut self, key: &Key, allocation: &Allocation) {
        let Some(id) = key.as_allocation() else { return };
        if let Some(pool) = self.pools.get_mut(&id.pool) {
            pool.remove(allocation);
            if pool.allocations == 0 {
                self.pools.remove(&id.pool);
            }
        }
        if let Holder::Partition(partition) = &allocation.holder
            && let Some(held) = self.partitions.get_mut(partition)
        {
            held.remove(&id);
            if held.is_empty() {
                self.partitions.remove(partition);
            }
        }
    }

    fn network_comes(&mut self, key: &Key, network: &Network) {
        let Some(pool) = &network.spec.policy.pool else { return };
        self.networks.entry(pool.clone()).or_default().extend(named(key));
    }

    fn network_goes(&mut self, key: &Key, network: &Network) {
        let Some(pool) = &network.spec.policy.pool else { return };
        let Some(networks) = self.networks.get_mut(pool) else { return };
        named(key).iter().for_each(|name| _ = networks.remove(name));
        if networks.is_empty() {
            self.networks.remove(pool);
        }
    }

    fn partition_comes(&mut self, partition: &Partition) {
        let Some(owner) = partition.owner.as_ref().filter(|_| !partition.demand.is_empty()) else {
            return;
        };
        self.workers.entry(owner.worker.clone()).or_default().add(&partition.demand);
    }

    fn partition_goes(&mut self, partition: &Partition) {
        let Some(owner) = &partition.owner else { return };
        if let Some(sums) = self.workers.get_mut(&owner.worker) {
            sums.remove(&partition.demand);
            if *sums == Sums::default() {
                self.workers.remove(&owner.worker);
            }
        }
    }
}

/// The name that a key is.
fn named(key: &Key) -> Option<Name> {
    std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok())
}

impl State {
    /// What is in use of a pool. None: nobody has an allocation of it.
    #[must_use]
    pub fn pool_use(&self, pool: &Name) -> Option<&PoolUse> {
        self.in_use.pools.get(pool)
    }

    /// What the partitions that a worker owns need together, those that it is to release too.
    #[must_use]
    pub fn worker_use(&self, worker: &Name) -> Option<&Sums> {
        self.in_use.workers.get(worker)
    }

    /// The allocations that a partition holds, or waits for.
    pub fn allocations_of(&self, partition: &PartitionId) -> impl Iterator<Item = &AllocationId> {
        self.in_use.partitions.get(partition).into_iter().flatten()
    }

    /// The networks whose policy names a pool.
    pub fn networks_of(&self, pool: &Name) -> impl Iterator<Item = &Name> {
        self.in_use.networks.get(pool).into_iter().flatten()
    }

    /// The pools that networks name.
    pub fn pools_named(&self) -> impl Iterator<Item = &Name> {
        self.in_use.networks.keys()
    }

    /// How many pools there are.
    #[must_use]
    pub fn pools(&self) -> usize {
        self.in_use.count
    }
}
