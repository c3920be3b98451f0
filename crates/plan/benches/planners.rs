//! How long plans take: partitioning, rebalancing, allocation, scaling.
//!
//! ```text
//! cargo bench -p quorate-plan
//! ```
//!
//! Every answer is checked once for what it must be before it is timed.

mod clusters;

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate_core::{
    NetworkSpec, Parallelism, PartitionPolicy, Process, ProcessEdge, Resources, Revision,
    WorkerState,
};
use quorate_plan::{
    NetworkView, Observation, ObservedProcess, PartitionRequest, ScaleHistory, ScalePolicy,
    ScaleRequest, Seed, Strategies,
    allocate::{AllocationPolicy, Pool, PoolView, RequestId, Tenant, WaitingRequest, allocate},
    cluster::{BalancePolicy, rebalance},
    partition, scale,
};

use self::clusters::{Cluster, Draw, cpu, name};

/// Pipelines of 20 stages side by side; a tenth of the edges lead to another pipeline.
fn flow(processes: u64) -> NetworkSpec {
    const STAGES: u64 = 20;
    let mut draw = Draw(5);
    let id = |at: u64| name(&format!("p{at:07}"));
    let process = |at: u64| Process {
        needs: cpu(50 + at * 37 % 101),
        parallelism: Parallelism { min: 1, max: 16 },
        ..Process::new(id(at), "noop")
    };
    let mut edges: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for from in (0..processes).filter(|at| at % STAGES < STAGES - 1) {
        edges.insert((from, from + 1), 100 + draw.below(900));
        if draw.below(10) == 0 {
            let other = draw.below(processes / STAGES) * STAGES + from % STAGES + 1;
            edges.insert((from, other), 1 + draw.below(100));
        }
    }
    let edge = |((from, to), rate)| ProcessEdge { from: id(from), to: id(to), rate };
    NetworkSpec {
        processes: (0..processes).map(process).collect(),
        connections: edges.into_iter().map(edge).collect(),
        policy: PartitionPolicy::default(),
        connection: Default::default(),
    }
}

fn partitioning(c: &mut Criterion) {
    const PARTITIONS: u32 = 16;
    let spec = flow(10_000);
    let view = NetworkView::new(&spec).expect("a valid network");
    let seed = Seed(1);
    let partitions = PARTITIONS;
    let request = PartitionRequest { view: &view, partitions, seed, current: None, shares: &[] };
    let strategies = Strategies::builtin();
    let mut group = c.benchmark_group("partition");
    group.sample_size(10);
    for strategy in ["round-robin", "load-based", "multilevel"] {
        let by = strategies.get(strategy).expect("a strategy that is built in");
        let plan = partition(by, &request).expect("a plan");
        let used: BTreeSet<_> = plan.assignment.of_process().iter().collect();
        assert_eq!((plan.assignment.of_process().len(), used.len()), (10_000, 16));
        group.bench_function(strategy, |b| b.iter(|| partition(by, black_box(&request))));
    }
    group.finish();
}

/// Carries plans out until there is nothing to do.
fn settle(cluster: &mut Cluster) {
    for _ in 0..100 {
        let plan = rebalance(&cluster.view(), &BalancePolicy::default());
        if plan.waves.is_empty() {
            return;
        }
        cluster.carry_out(&plan);
    }
    panic!("it comes to rest");
}

fn rebalancing(c: &mut Criterion) {
    let policy = BalancePolicy::default();
    let new = || Cluster::new(100, 10_000, &mut Draw(7));
    let mut balanced = new();
    settle(&mut balanced);
    let mut group = c.benchmark_group("rebalance");
    group.sample_size(20);
    let mut bench = |what: &str, cluster: &Cluster, moves: &dyn Fn(usize) -> bool| {
        let view = cluster.view();
        let plan = rebalance(&view, &policy);
        let count = plan.moves().count();
        assert!(moves(count) && plan.rejected.is_empty(), "{what}: {count} moves");
        group.bench_function(what, |b| b.iter(|| rebalance(black_box(&view), &policy)));
    };
    bench("balanced", &balanced, &|moves| moves == 0);
    let mut drifted = Cluster { partitions: balanced.partitions.clone(), ..new() };
    for partition in drifted.partitions.iter_mut().step_by(3) {
        let first = partition.worker.as_ref().is_some_and(|worker| worker.as_str() < "w0030");
        partition.demand = if first { cpu(200) } else { partition.demand.clone() };
    }
    bench("drift", &drifted, &|moves| (1..=500).contains(&moves));
    let lost = balanced.workers[50].name.clone();
    let had = balanced.partitions.iter().filter(|it| it.worker.as_ref() == Some(&lost)).count();
    balanced.workers[50].state = WorkerState::Down;
    bench("worker lost", &balanced, &|moves| moves >= had && had > 0);
    bench("all placed", &new(), &|moves| moves == 10_000);
    group.finish();
}

fn allocation(c: &mut Criterion) {
    const TENANTS: u64 = 1_000;
    let mut draw = Draw(11);
    let tenant = |at: u64| Tenant {
        name: name(&format!("t{at:04}")),
        weight: 1 + at % 3,
        guarantee: Resources::default(),
        limit: BTreeMap::new(),
        priority: 0,
    };
    let amounts = |amounts: [u64; 2]| -> Resources {
        ["cpu_millis", "memory_bytes"].map(name).into_iter().zip(amounts).collect()
    };
    let pool =
        Pool { capacity: amounts([100_000, 200_000]), tenants: (0..TENANTS).map(tenant).collect() };
    let request = |at: u64| WaitingRequest {
        id: RequestId(at),
        tenant: name(&format!("t{:04}", at % TENANTS)),
        amount: amounts([1 + draw.below(40), 1 + draw.below(40)]),
        priority: 0,
        arrival: Revision(at),
        since_ms: 0,
    };
    let requests: Vec<_> = (0..10 * TENANTS).map(request).collect();
    let policy = AllocationPolicy::default();
    let view = PoolView { pool: &pool, grants: &[], requests: &requests, policy, now_ms: 0 };
    let plan = allocate(&view).expect("a plan");
    assert_eq!(plan.grants.len() + plan.waiting.len(), requests.len());
    let cpu = name(Resources::CPU_MILLIS);
    let granted: u64 = plan.grants.iter().map(|grant| grant.amount.get(&cpu)).sum();
    assert_eq!(granted + plan.free.get(&cpu), 100_000);
    let mut group = c.benchmark_group("allocate");
    group.sample_size(20);
    group.bench_function("1,000 tenants", |b| b.iter(|| allocate(black_box(&view))));
    group.finish();
}

fn scaling(c: &mut Criterion) {
    let spec = flow(10_000);
    let view = NetworkView::new(&spec).expect("a valid network");
    let policy = ScalePolicy::default();
    let seen = |at: u64| {
        let load_ppm = 100_000 + at * 37 % 10 * 90_000;
        let series = vec![Observation { time_ms: 1_000, parallelism: 4, load_ppm, flow: None }];
        ObservedProcess { parallelism: 4, series }
    };
    let observed: Vec<_> = (0..10_000).map(seen).collect();
    let history = ScaleHistory::default();
    let request = || ScaleRequest {
        view: &view,
        observed: &observed,
        policy: &policy,
        history: &history,
        now_ms: 1_000,
    };
    let scaling = scale(&request()).expect("a decision on each");
    assert_eq!(scaling.decisions.len(), 10_000);
    assert!(scaling.decisions.iter().any(|decision| decision.wanted > 4));
    let mut group = c.benchmark_group("scale");
    group.sample_size(20);
    group.bench_function("10,000 processes", |b| {
        b.iter_batched(request, |request| scale(&request), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(planners, partitioning, rebalancing, allocation, scaling);
criterion_main!(planners);
