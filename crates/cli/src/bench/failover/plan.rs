//! What a measurement of failover creates: names, what networks ask for, what workers give.
//!
//! Invariants: the same numbers give the same networks; the workers that stay give at least half as
//! much again as all partitions need, if no more than a quarter of them is lost.

use anyhow::Result;
use quorate_client::WorkerProfile;
use quorate_core::{
    ConnectionPolicy, Name, NetworkSpec, PartitionPolicy, Process, ProcessEdge, Resources,
};

/// The most partitions of one network.
const NETWORK_PARTITIONS_MAX: u32 = 10_000;
/// Nobody listens there: nothing runs on these workers.
const ADDRESS: &str = "localhost:1";
/// Workers give so many times what partitions need.
const SPARE: u64 = 2;

/// What is created under names of its own.
#[derive(Debug)]
pub(super) struct Plan {
    /// What all names begin with.
    run: String,
    /// Every network's name and specification.
    pub(super) networks: Vec<(Name, NetworkSpec)>,
    /// What each worker says of itself.
    pub(super) profile: WorkerProfile,
}

impl Plan {
    /// For so many workers and partitions.
    pub(super) fn new(run: String, workers: u32, partitions: u32) -> Result<Self> {
        let count = partitions.div_ceil(NETWORK_PARTITIONS_MAX);
        let mut networks = Vec::new();
        for number in 0..count {
            let size = (partitions - number * NETWORK_PARTITIONS_MAX).min(NETWORK_PARTITIONS_MAX);
            networks.push((Name::new(&format!("{run}-{number}"))?, network(size)?));
        }
        let mut needed = Resources::default();
        for process in networks.iter().flat_map(|(_, spec)| &spec.processes) {
            needed.add(&process.needs, 1);
        }
        let mut capacity = Resources::default();
        for (name, amount) in needed.iter() {
            capacity.set(name.clone(), (SPARE * amount).div_ceil(u64::from(workers)));
        }
        let profile =
            WorkerProfile { address: ADDRESS.into(), capacity, ..WorkerProfile::default() };
        Ok(Self { run, networks, profile })
    }

    /// The name of a worker.
    pub(super) fn worker(&self, number: u32) -> Result<Name> {
        Ok(Name::new(&format!("{}-w{number}", self.run))?)
    }
}

/// A chain of processes, each a partition of its own.
fn network(size: u32) -> Result<NetworkSpec> {
    let id = |number: u32| Name::new(&format!("p{number:05}"));
    let mut processes = Vec::new();
    let mut connections = Vec::new();
    for number in 0..size {
        let mut process = Process::new(id(number)?, "bench");
        // Between one and three, in no regular order.
        let size = 100 + u64::from(number.wrapping_mul(0x9e37_79b9) >> 24) * 200 / 255;
        process.needs.set(Name::new(Resources::CPU_MILLIS)?, size);
        process.needs.set(Name::new(Resources::MEMORY_BYTES)?, size << 20);
        processes.push(process);
        if number > 0 {
            connections.push(ProcessEdge { from: id(number - 1)?, to: id(number)?, rate: 1 << 20 });
        }
    }
    let policy = PartitionPolicy {
        partitions: size,
        strategy: Name::new("round-robin")?,
        ..PartitionPolicy::default()
    };
    Ok(NetworkSpec { processes, connections, policy, connection: ConnectionPolicy::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_created_has_the_numbers_asked_for() {
        let plan = Plan::new("bench-1".into(), 100, 25_000).unwrap();
        let sizes: Vec<_> = plan.networks.iter().map(|(_, spec)| spec.policy.partitions).collect();
        assert_eq!(sizes, [10_000, 10_000, 5_000]);
        assert_eq!(plan.worker(7).unwrap().as_str(), "bench-1-w7");
        let cpu = Name::new(Resources::CPU_MILLIS).unwrap();
        let needs = plan.networks.iter().flat_map(|(_, spec)| &spec.processes);
        let needed: u64 = needs.map(|process| process.needs.get(&cpu)).sum();
        assert!((100 * 25_000..=300 * 25_000).contains(&needed));
        assert!(plan.profile.capacity.get(&cpu) * 75 >= needed * 3 / 2);
    }
}
