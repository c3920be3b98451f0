//! How long placement takes in large clusters, and what comes of it.
//!
//! ```text
//! cargo run --release -p quorate-plan --example placement_times
//! ```
//!
//! Clusters of 10,000 partitions on 1,000 workers and of 100,000 on 1,000: a worker is lost, a worker
//! comes, loads drift, and nothing happens. Medians of three; every answer is checked for what it must be.
#![expect(clippy::print_stdout, reason = "it is a command")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use quorate_core::{
    Name, PartitionId, Resources, Revision, WorkerState,
    plan::{MoveReason, Plan},
};
use quorate_plan::cluster::{
    BalancePolicy, ClusterView, Moves, PartitionSpec, Traffic, Wish, WorkerSpec, rebalance,
};

const WORKERS: u32 = 1_000;

fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

struct Cluster {
    workers: Vec<WorkerSpec>,
    partitions: Vec<PartitionSpec>,
    traffic: Vec<Traffic>,
}

impl Cluster {
    /// Networks of 100 partitions, each of which sends to the next two; needs of 50 to 150.
    fn new(partitions: u32, draw: &mut Draw) -> Self {
        let cpu = name(Resources::CPU_MILLIS);
        let capacity = u64::from(partitions / WORKERS) * 100 * 3 / 2;
        let worker = |at: u32| WorkerSpec {
            name: name(&format!("w{at:04}")),
            version: Revision(1),
            capacity: [(cpu.clone(), capacity)].into_iter().collect(),
            labels: BTreeMap::from([("zone".to_owned(), format!("z{}", at % 3))]),
            partitions_max: u64::MAX,
            state: WorkerState::Active,
        };
        let id =
            |at: u32| PartitionId { network: name(&format!("n{:04}", at / 100)), index: at % 100 };
        let mut partition = |at: u32| PartitionSpec {
            id: id(at),
            version: Revision(1),
            demand: [(cpu.clone(), 50 + draw.below(101))].into_iter().collect(),
            observed_ppm: None,
            leaving: None,
            worker: None,
            requires: BTreeMap::new(),
            apart: BTreeSet::new(),
            rests: false,
            wish: Wish::default(),
        };
        let specs = (0..partitions).map(&mut partition).collect();
        let edges = (0..partitions).flat_map(|at| [(at, at + 1), (at, at + 2)]);
        let inside = edges.filter(|(from, to)| from / 100 == to / 100);
        let traffic =
            inside.map(|(from, to)| Traffic { from: id(from), to: id(to), rate: 1_000 }).collect();
        Self { workers: (0..WORKERS).map(worker).collect(), partitions: specs, traffic }
    }

    fn view(&self) -> ClusterView {
        ClusterView::new(self.workers.clone(), self.partitions.clone(), &self.traffic)
            .expect("a valid cluster")
    }

    fn carry_out(&mut self, plan: &Plan) {
        let to: BTreeMap<_, _> = plan.moves().map(|one| (&one.partition, &one.to)).collect();
        for partition in &mut self.partitions {
            if let Some(to) = to.get(&partition.id) {
                partition.worker = Some((*to).clone());
            }
        }
    }

    /// Plans three times; the middle time, in milliseconds, with that of making the view.
    fn timed(&self, moves: Moves) -> (Plan, f64, f64) {
        let policy = BalancePolicy { moves, ..BalancePolicy::default() };
        let mut runs: Vec<(f64, f64, Plan)> = (0..3)
            .map(|_| {
                let began = Instant::now();
                let view = self.view();
                let seen = began.elapsed().as_secs_f64() * 1e3;
                let plan = rebalance(&view, &policy);
                (began.elapsed().as_secs_f64() * 1e3 - seen, seen, plan)
            })
            .collect();
        assert!(runs.windows(2).all(|two| two[0].2 == two[1].2), "equal clusters, equal plans");
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (planned, seen, plan) = runs.swap_remove(1);
        assert!(plan.rejected.is_empty(), "there is room for all");
        (plan, planned, seen)
    }
}

fn row(partitions: u32, what: &str, plan: &Plan, planned: f64, seen: f64) {
    let moves = plan.moves().count();
    println!(
        "| {partitions} | {what} | {moves} | {:.2}% | {:.1}% | {:.1}% | {:.0} -> {:.0} | {planned:.0} | {seen:.0} |",
        moves as f64 * 100.0 / f64::from(partitions),
        plan.before.deviation_ppm as f64 / 1e4,
        plan.after.deviation_ppm as f64 / 1e4,
        plan.before.traffic as f64 / 1e3,
        plan.after.traffic as f64 / 1e3,
    );
}

fn main() {
    println!(
        "| partitions | what | moves | moved | deviation before | after | traffic | plan, ms | view, ms |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |");
    for partitions in [10_000, 100_000] {
        let mut draw = Draw(7);
        let mut cluster = Cluster::new(partitions, &mut draw);
        let (plan, planned, seen) = cluster.timed(Moves::Needed);
        assert_eq!(plan.moves().count(), partitions as usize, "all are placed");
        row(partitions, "all placed", &plan, planned, seen);
        cluster.carry_out(&plan);
        let mut rounds = 0;
        loop {
            let (plan, planned, seen) = cluster.timed(Moves::Worthwhile);
            if plan.waves.is_empty() {
                row(partitions, &format!("balanced, after {rounds} rounds"), &plan, planned, seen);
                break;
            }
            if rounds == 0 {
                row(partitions, "first round", &plan, planned, seen);
            }
            rounds += 1;
            assert!(rounds < 100, "it comes to rest");
            cluster.carry_out(&plan);
        }
        lost_and_new(partitions, &mut cluster);
        drift(partitions, &mut cluster, &mut draw);
    }
}

fn lost_and_new(partitions: u32, cluster: &mut Cluster) {
    cluster.workers[500].state = WorkerState::Down;
    let lost = cluster.workers[500].name.clone();
    let had = cluster.partitions.iter().filter(|it| it.worker.as_ref() == Some(&lost)).count();
    let (plan, planned, seen) = cluster.timed(Moves::Needed);
    assert_eq!(plan.moves().count(), had, "what it had, and nothing else");
    row(partitions, "worker lost", &plan, planned, seen);
    cluster.carry_out(&plan);
    cluster.workers[500].state = WorkerState::Active;
    let (plan, planned, seen) = cluster.timed(Moves::Worthwhile);
    assert!(plan.moves().any(|one| one.to == lost), "it gets its share");
    row(partitions, "worker added", &plan, planned, seen);
    cluster.carry_out(&plan);
}

/// A tenth of the partitions need half as much again.
fn drift(partitions: u32, cluster: &mut Cluster, draw: &mut Draw) {
    let cpu = name(Resources::CPU_MILLIS);
    for partition in &mut cluster.partitions {
        if draw.below(10) == 0 {
            let need = partition.demand.get(&cpu);
            partition.demand.set(cpu.clone(), need * 3 / 2);
        }
    }
    let (plan, planned, seen) = cluster.timed(Moves::Worthwhile);
    let worthwhile = |one: &&quorate_core::plan::Move| {
        matches!(one.reason, MoveReason::Balance | MoveReason::Traffic)
    };
    assert!(plan.moves().filter(worthwhile).count() <= partitions as usize / 20, "within 5%");
    row(partitions, "a tenth drifts by half", &plan, planned, seen);
}
