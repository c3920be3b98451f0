//! Pools and allocations, as they are stored.

use std::sync::Arc;

use quorate_core::{
    Allocation, AllocationGrant, AllocationId, AllocationState, Command, EndReason, Epoch,
    GrantEnd, Holder, Load, LoadId, PartitionId, Pool, PoolPolicy, Preemption, Record,
    RequestAllocation, RestoreEpoch, Revision, Revocation, Tenant,
};

use super::{name, resources, session};

pub(super) fn pool() -> Pool {
    let tenant = Tenant {
        weight: 300,
        guarantee: resources(),
        limit: [(name("cpu_millis"), 2_000)].into(),
        priority: 7,
    };
    Pool {
        capacity: resources(),
        tenants: [(name("a"), tenant), (name("b"), Tenant::default())].into(),
        policy: PoolPolicy { grace_ms: 30_000, starving_after_ms: 1, idle_timeout_ms: 70_000 },
    }
}

pub(super) fn allocation_id() -> AllocationId {
    AllocationId { pool: name("pool"), number: 300, part: 4 }
}

fn preemption() -> Preemption {
    Preemption { request: allocation_id(), tenant: name("b"), resource: name("cpu_millis") }
}

pub(super) fn pool_records() -> Vec<(&'static str, Record)> {
    let epoch = Epoch { restore: RestoreEpoch(1_700_000_000), revision: Revision(12) };
    let grant = AllocationGrant { epoch, session: session(), at_ms: 1_700_000_000_000 };
    let of_partition = Holder::Partition(PartitionId { network: name("net"), index: 1 });
    let allocation = |holder, state, required| {
        Record::Allocation(Arc::new(Allocation {
            tenant: name("a"),
            amount: resources(),
            priority: 3,
            holder,
            waiting_since_ms: 1_700_000_000_000,
            state,
            required,
        }))
    };
    let until_ms = 1_700_000_030_000;
    let revoking = AllocationState::Revoking { grant, until_ms, why: preemption() };
    vec![
        ("pool", Record::Pool(Arc::new(pool()))),
        ("allocation", allocation(Holder::Session(session()), AllocationState::Waiting, false)),
        ("allocation_granted", allocation(of_partition, AllocationState::Granted(grant), true)),
        ("allocation_revoking", allocation(Holder::Session(session()), revoking, false)),
    ]
}

pub(super) fn pool_commands() -> Vec<Command> {
    let (id, epoch) = (allocation_id(), Epoch { restore: RestoreEpoch(2), revision: Revision(12) });
    let request = RequestAllocation {
        pool: name("pool"),
        tenant: name("a"),
        amount: resources(),
        priority: 3,
        holder: Holder::Partition(PartitionId { network: name("net"), index: 1 }),
        epoch: Some(epoch),
    };
    let end = |why| GrantEnd { id: id.clone(), epoch, why };
    vec![
        Command::PutPool { name: name("pool"), pool: pool() },
        Command::DeletePool { name: name("pool") },
        Command::RequestAllocation(request),
        Command::GrantAllocations { ids: vec![id.clone()] },
        Command::ReleaseAllocation { id: id.clone(), epoch: Some(epoch) },
        Command::RevokeAllocations {
            revocations: vec![Revocation { id: id.clone(), epoch, why: preemption() }],
        },
        Command::EndAllocations { ends: vec![end(EndReason::GraceOver), end(EndReason::Idle)] },
        Command::ReportLoads {
            loads: vec![(LoadId::Allocation(id.clone()), Load { load_ppm: 1 })],
        },
        Command::RequireAllocations {
            partitions: vec![PartitionId { network: name("net"), index: 1 }],
        },
    ]
}
