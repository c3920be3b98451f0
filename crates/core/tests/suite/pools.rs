//! Random commands about pools and allocations, resolved against the state that they meet, and what
//! each of them does, step by step.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use quorate_core::{
    AllocationId, AllocationState, Command, EndReason, Epoch, GrantEnd, Holder, Kind, Load, LoadId,
    Name, PartitionId, Pool, PoolPolicy, Preemption, Record, RequestAllocation, Resources,
    Revocation, State, Tenant,
};

use crate::sessions;

#[derive(Debug, Clone)]
pub(crate) enum PoolAct {
    Put(Name, Pool),
    Delete(Name),
    /// Of the pool, by the tenant; held by the session, or by the partition of that number.
    Request(Name, Name, Resources, Option<u32>),
    /// Some of what is there, by place.
    Grant(Vec<u8>),
    /// What is at this place, with the right epoch or another one.
    Release(u8, bool),
    Revoke(u8),
    End(u8, EndReason),
    Report(u8, u64),
    /// Of these partitions of this network; of all that there are when none is named.
    Require(Name, Vec<u32>),
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn resources(cpu: u64, memory: u64) -> Resources {
    [(name("cpu_millis"), cpu), (name("memory_bytes"), memory)].into_iter().collect()
}

/// A pool with room for some of what is asked for.
pub(crate) fn roomy() -> Pool {
    let tenants = ["a", "b"].map(|text| (name(text), Tenant::default()));
    Pool { capacity: resources(9, 9), tenants: tenants.into(), policy: PoolPolicy::default() }
}

fn pool_name() -> impl Strategy<Value = Name> {
    select(vec!["p", "p", "p", "q"]).prop_map(name)
}

fn tenant() -> impl Strategy<Value = Tenant> {
    let limit = proptest::option::weighted(0.3, 2..6_u64);
    (select(vec![0, 1, 1, 2, 2, 2]), 0..3_u64, limit, 0..2_u32).prop_map(
        |(weight, guarantee, limit, priority)| Tenant {
            weight,
            guarantee: resources(guarantee, 0),
            limit: limit.map(|limit| (name("cpu_millis"), limit)).into_iter().collect(),
            priority,
        },
    )
}

fn pool() -> impl Strategy<Value = Pool> {
    let tenants = (tenant(), proptest::option::weighted(0.8, tenant()));
    (select(vec![0, 4, 9, 9]), 0..9_u64, tenants, 0..3_u64).prop_map(
        |(cpu, memory, (a, b), step)| Pool {
            capacity: resources(cpu, memory),
            tenants: [("a", Some(a)), ("b", b)]
                .into_iter()
                .filter_map(|(text, tenant)| Some((name(text), tenant?)))
                .collect(),
            policy: PoolPolicy {
                grace_ms: step * 100,
                starving_after_ms: 0,
                idle_timeout_ms: step * 50,
            },
        },
    )
}

pub(crate) fn act() -> impl Strategy<Value = PoolAct> {
    let tenant_name = || select(vec!["a", "a", "a", "b", "c"]).prop_map(name);
    let amount = (0..4_u64, 0..3_u64).prop_map(|(cpu, memory)| resources(cpu, memory));
    let partition = proptest::option::weighted(0.4, 0..2_u32);
    let why = select(vec![EndReason::GraceOver, EndReason::Idle]);
    prop_oneof![
        6 => (pool_name(), pool()).prop_map(|(name, pool)| PoolAct::Put(name, pool)),
        1 => pool_name().prop_map(PoolAct::Delete),
        9 => (pool_name(), tenant_name(), amount, partition)
            .prop_map(|(pool, tenant, amount, at)| PoolAct::Request(pool, tenant, amount, at)),
        6 => vec(0..4_u8, 1..5).prop_map(PoolAct::Grant),
        2 => (0..3_u8, proptest::bool::weighted(0.7)).prop_map(|(at, right)| PoolAct::Release(at, right)),
        3 => (0..3_u8).prop_map(PoolAct::Revoke),
        2 => (0..3_u8, why).prop_map(|(at, why)| PoolAct::End(at, why)),
        2 => (0..3_u8, 0..2_u64).prop_map(|(at, load)| PoolAct::Report(at, load)),
        5 => (crate::generate::network_name(), vec(0..4_u32, 0..4))
            .prop_map(|(network, all)| PoolAct::Require(network, all)),
    ]
}

/// One of the allocations with the epoch of its grant, or one that is not there.
fn nth(state: &State, at: u8) -> (AllocationId, Option<Epoch>) {
    let mut found = state.records_of(Kind::Allocation).filter_map(|(key, record)| {
        let Record::Allocation(allocation) = &record.value else { return None };
        Some((key.as_allocation()?, allocation.grant().map(|grant| grant.epoch)))
    });
    found
        .nth(usize::from(at))
        .unwrap_or((AllocationId { pool: name("p"), number: 9_999_999, part: 0 }, None))
}

pub(crate) fn command(state: &State, act: &PoolAct, which: u8) -> Command {
    match act.clone() {
        PoolAct::Put(name, pool) => Command::PutPool { name, pool },
        PoolAct::Delete(name) => Command::DeletePool { name },
        PoolAct::Request(pool, tenant, amount, partition) => {
            let holder = match partition {
                Some(index) => Holder::Partition(PartitionId { network: name("n"), index }),
                None => Holder::Session(sessions::nth(state, which)),
            };
            let (priority, epoch) = (u32::from(which), None);
            let request = RequestAllocation { pool, tenant, amount, priority, holder, epoch };
            Command::RequestAllocation(request)
        }
        PoolAct::Grant(all) => {
            Command::GrantAllocations { ids: all.into_iter().map(|at| nth(state, at).0).collect() }
        }
        PoolAct::Release(at, right) => {
            let (id, epoch) = nth(state, at);
            Command::ReleaseAllocation { id, epoch: epoch.filter(|_| right) }
        }
        PoolAct::Revoke(at) => {
            let (id, epoch) = nth(state, at);
            let (tenant, resource) = (name("b"), name("cpu_millis"));
            let why = Preemption { request: id.clone(), tenant, resource };
            let epoch = epoch.unwrap_or_default();
            Command::RevokeAllocations { revocations: vec![Revocation { id, epoch, why }] }
        }
        PoolAct::End(at, why) => {
            let (id, epoch) = nth(state, at);
            let epoch = epoch.unwrap_or_default();
            Command::EndAllocations { ends: vec![GrantEnd { id, epoch, why }] }
        }
        PoolAct::Report(at, load_ppm) => {
            let of = LoadId::Allocation(nth(state, at).0);
            Command::ReportLoads { loads: vec![(of, Load { load_ppm })] }
        }
        PoolAct::Require(network, all) => {
            let of = |index| PartitionId { network: network.clone(), index };
            let mut partitions: Vec<_> = all.into_iter().map(of).collect();
            if partitions.is_empty() {
                let known = state.records_of(Kind::Partition);
                partitions.extend(known.filter_map(|(key, _)| key.as_partition()));
            }
            Command::RequireAllocations { partitions }
        }
    }
}

/// The states in which allocations are, for those who count what was reached.
pub(crate) fn states(state: &State) -> BTreeMap<String, u32> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (_, record) in state.records_of(Kind::Allocation) {
        let Record::Allocation(allocation) = &record.value else { continue };
        let holder = match allocation.holder {
            Holder::Session(_) => "session",
            Holder::Partition(_) => "partition",
        };
        let state = match allocation.state {
            AllocationState::Waiting => "waits",
            AllocationState::Granted(_) => "has a grant",
            AllocationState::Revoking { .. } => "is asked back",
        };
        *seen.entry(format!("{holder} {state}")).or_default() += 1;
        if allocation.required {
            *seen.entry(format!("required {state}")).or_default() += 1;
        }
    }
    seen
}
