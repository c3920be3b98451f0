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

#[path = "../benches/clusters/mod.rs"]
mod clusters;

use std::time::Instant;

use quorate_core::{
    Resources, WorkerState,
    plan::{MoveReason, Plan},
};
use quorate_plan::cluster::{BalancePolicy, Moves, rebalance};

use self::clusters::{Cluster, Draw, name};

const WORKERS: u32 = 1_000;

/// Plans three times; the middle time, in milliseconds, with that of making the view.
fn timed(cluster: &Cluster, moves: Moves) -> (Plan, f64, f64) {
    let policy = BalancePolicy { moves, ..BalancePolicy::default() };
    let mut runs: Vec<(f64, f64, Plan)> = (0..3)
        .map(|_| {
            let began = Instant::now();
            let view = cluster.view();
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
        let mut cluster = Cluster::new(WORKERS, partitions, &mut draw);
        let (plan, planned, seen) = timed(&cluster, Moves::Needed);
        assert_eq!(plan.moves().count(), partitions as usize, "all are placed");
        row(partitions, "all placed", &plan, planned, seen);
        cluster.carry_out(&plan);
        let mut rounds = 0;
        loop {
            let (plan, planned, seen) = timed(&cluster, Moves::Worthwhile);
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
    let (plan, planned, seen) = timed(cluster, Moves::Needed);
    assert_eq!(plan.moves().count(), had, "what it had, and nothing else");
    row(partitions, "worker lost", &plan, planned, seen);
    cluster.carry_out(&plan);
    cluster.workers[500].state = WorkerState::Active;
    let (plan, planned, seen) = timed(cluster, Moves::Worthwhile);
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
    let (plan, planned, seen) = timed(cluster, Moves::Worthwhile);
    let worthwhile = |one: &&quorate_core::plan::Move| {
        matches!(one.reason, MoveReason::Balance | MoveReason::Traffic)
    };
    assert!(plan.moves().filter(worthwhile).count() <= partitions as usize / 20, "within 5%");
    row(partitions, "a tenth drifts by half", &plan, planned, seen);
}
