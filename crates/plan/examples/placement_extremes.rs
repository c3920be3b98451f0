//! How long placement takes in clusters that are lopsided or full.
//!
//! ```text
//! cargo run --release -p quorate-plan --example placement_extremes
//! ```
//!
//! One worker of 1,000 has all of 100,000 partitions; a partition exchanges with 50,000 others; 100,000
//! partitions wait for grants on 1,000 workers, and all fit, or none. One run each; every answer is checked
//! for what it must be.
#![expect(clippy::print_stdout, reason = "it is a command")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

#[path = "../benches/clusters/mod.rs"]
#[expect(dead_code, reason = "the clusters here are not those of the other examples")]
mod clusters;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use quorate_core::{
    ApplyNetwork, ClusterId, Command, Identity, Name, NetworkSpec, PartitionId, PartitionPolicy,
    Process, RegisterWorker, Reply, RestoreEpoch, Revision, SessionId, Stamp, State, Term,
    WorkerState, apply,
};
use quorate_plan::cluster::{
    BalancePolicy, Candidate, ClusterView, Moves, PartitionSpec, Traffic, Wish, WorkerSpec, place,
    rebalance,
};

use self::clusters::{cpu, name, worker};

const WORKERS: u32 = 1_000;
const PARTITIONS: u32 = 100_000;
const NEIGHBORS: u32 = 50_000;

fn id(at: u32) -> PartitionId {
    PartitionId { network: name("net"), index: at }
}

fn partition(at: u32, on: u32) -> PartitionSpec {
    let worker = Some(name(&format!("w{on:04}")));
    PartitionSpec {
        worker,
        ..PartitionSpec::new(id(at), Revision(1), cpu(50 + u64::from(at) % 101))
    }
}

fn edge((from, to): (u32, u32)) -> Traffic {
    Traffic { from: id(from), to: id(to), rate: 1_000 }
}

fn timed(what: &str, view: &ClusterView, policy: &BalancePolicy, least: usize) {
    let began = Instant::now();
    let plan = rebalance(view, policy);
    let took = began.elapsed().as_secs_f64() * 1e3;
    let moves = plan.moves().count();
    assert!(moves >= least, "{moves} moves");
    println!(
        "| {what} | {moves} | {:.1}% | {:.0} -> {:.0} | {took:.0} |",
        plan.after.deviation_ppm as f64 / 1e4,
        plan.before.traffic as f64 / 1e3,
        plan.after.traffic as f64 / 1e3,
    );
}

/// One worker has everything: far more than it gives, or not.
fn one_has_all() {
    let partitions: Vec<_> = (0..PARTITIONS).map(|at| partition(at, 0)).collect();
    let edges = (0..PARTITIONS - 2).flat_map(|at| [(at, at + 1), (at, at + 2)]);
    let traffic: Vec<_> = edges.map(edge).collect();
    let needed = BalancePolicy { moves: Moves::Needed, ..BalancePolicy::default() };
    for (what, capacity, policy, least) in [
        ("one has all, overloaded, needed", 20_000, needed, 90_000),
        ("one has all, overloaded", 20_000, BalancePolicy::default(), 90_000),
        ("one has all, not overloaded", 20_000_000, BalancePolicy::default(), 4_000),
    ] {
        let workers = (0..WORKERS).map(|at| worker(at, capacity)).collect();
        let view = ClusterView::new(workers, partitions.clone(), &traffic).expect("a cluster");
        timed(what, &view, &policy, least);
    }
}

/// One partition exchanges with all others, which are everywhere and exchange with each other.
fn hub() {
    let workers = || (0..WORKERS).map(|at| worker(at, 20_000)).collect::<Vec<_>>();
    let partitions: Vec<_> = (0..=NEIGHBORS).map(|at| partition(at, at % WORKERS)).collect();
    let spokes = (1..=NEIGHBORS).map(|at| (0, at));
    let traffic: Vec<_> = spokes.map(edge).collect();
    let view = ClusterView::new(workers(), partitions.clone(), &traffic).expect("a cluster");
    let free = BalancePolicy {
        gain_ppm_min: 0,
        moved_ppm_max: 1_000_000,
        moved_load_ppm_max: 1_000_000,
        ..BalancePolicy::default()
    };
    timed("a hub", &view, &BalancePolicy::default(), 0);
    timed("a hub, all gains", &view, &free, 0);
    let pairs = (1..NEIGHBORS).map(|at| (at, at + 1));
    let traffic: Vec<_> = (1..=NEIGHBORS).map(|at| (0, at)).chain(pairs).map(edge).collect();
    let view = ClusterView::new(workers(), partitions.clone(), &traffic).expect("a cluster");
    timed("a hub among others, all gains", &view, &free, 100);
    let mut lost = workers();
    lost[0].state = WorkerState::Down;
    let view = ClusterView::new(lost, partitions, &traffic).expect("a cluster");
    timed("a hub's worker is lost", &view, &BalancePolicy::default(), 50);
}

/// All require a zone that a third of the workers have, or are in groups of ten.
fn rules() {
    let grants = BalancePolicy { moves: Moves::Grants, ..BalancePolicy::default() };
    let workers: Vec<_> = (0..WORKERS).map(|at| worker(at, 40_000)).collect();
    let homeless = |at| PartitionSpec { worker: None, ..partition(at, 0) };
    let zone = BTreeMap::from([("zone".to_owned(), "z1".to_owned())]);
    let labeled = |at| PartitionSpec { requires: zone.clone(), ..homeless(at) };
    let grouped = |at| PartitionSpec {
        apart: BTreeSet::from([name(&format!("g{}", at / 10))]),
        ..homeless(at)
    };
    let plan = |what: &str, partitions: Vec<PartitionSpec>| {
        let view = ClusterView::new(workers.clone(), partitions, &[]).expect("a cluster");
        timed(what, &view, &grants, PARTITIONS as usize);
    };
    plan("all are placed, in one zone", (0..PARTITIONS).map(labeled).collect());
    plan("all are placed, in groups of ten", (0..PARTITIONS).map(grouped).collect());
    plan("all are placed, anywhere", (0..PARTITIONS).map(homeless).collect());
}

/// A state with workers that give so much, and partitions that wait.
fn waiting(capacity: u64) -> (State, BTreeMap<Name, Candidate>) {
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
    let mut state = State::new(identity);
    let mut candidates = BTreeMap::new();
    for at in 0..WORKERS {
        let WorkerSpec { name, capacity, labels, .. } = worker(at, capacity);
        let session = open(&mut state);
        let candidate = Candidate { session, owned: 0, room: 10_000, bytes_left: u64::MAX };
        candidates.insert(name.clone(), candidate);
        let address = "127.0.0.1:1".into();
        let register = RegisterWorker { name, session, address, capacity, labels };
        run(&mut state, &Command::RegisterWorker(register));
    }
    for network in 0..PARTITIONS / 100 {
        let process = |at: u32| Process {
            needs: [("cpu_millis", 50 + at), ("memory_bytes", 1 + (network * 7 + at * 13) % 1_000)]
                .map(|(resource, need)| (name(resource), u64::from(need)))
                .into_iter()
                .collect(),
            ..Process::new(name(&format!("p{at:03}")), "noop")
        };
        let policy = PartitionPolicy {
            partitions: 100,
            strategy: name("round-robin"),
            ..PartitionPolicy::default()
        };
        let processes = (0..100).map(process).collect();
        let spec = NetworkSpec {
            processes,
            connections: Vec::new(),
            policy,
            connection: Default::default(),
        };
        let (name, assignment) = (name(&format!("n{network:04}")), (0..100).collect());
        let apply = ApplyNetwork { name, spec, assignment, basis: None };
        run(&mut state, &Command::ApplyNetwork(apply));
    }
    (state, candidates)
}

fn run(state: &mut State, command: &Command) -> Reply {
    let applied = apply(state, Stamp { time_ms: 1, term: Term(1) }, command);
    applied.outcome.result.expect("the command is applied")
}

fn open(state: &mut State) -> SessionId {
    match run(state, &Command::OpenSession { ttl_ms: 5_000, label: "".into() }) {
        Reply::OpenSession { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn grants() {
    let of = |network: u32, index| PartitionId { network: name(&format!("n{network:04}")), index };
    let ids = (0..PARTITIONS).map(|at| of(at / 100, at % 100));
    let wishes: BTreeMap<_, _> = ids.map(|id| (id, Wish::default())).collect();
    for (what, capacity, room, expected) in [
        ("all fit", 20_000, 10_000, 100_000),
        ("none fits: too little", 49, 10_000, 0),
        ("none fits: full", 20_000, 0, 0),
        ("a tenth fits", 1_000, 10_000, 9_000),
    ] {
        let (state, mut candidates) = waiting(capacity);
        candidates.values_mut().for_each(|it| it.room = room);
        let began = Instant::now();
        let granted = place(&state, &wishes, &candidates).expect("a cluster").len();
        let took = began.elapsed().as_secs_f64() * 1e3;
        assert!(granted >= expected && (expected > 0 || granted == 0), "{granted}");
        println!("| 100,000 wait for grants, {what} | {granted} | - | - | {took:.0} |");
    }
}

fn main() {
    println!("| what | moves | deviation after | traffic | ms |");
    println!("| --- | ---: | ---: | --- | ---: |");
    one_has_all();
    hub();
    rules();
    grants();
}
