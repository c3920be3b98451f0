//! What holds for every plan, whatever the cluster.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
};
use quorate_core::{Name, Resources, Revision, WorkerState};
use quorate_plan::cluster::{
    BalancePolicy, Moves, PartitionSpec, Traffic, WorkerSpec, explain, rebalance,
};

use crate::{
    checker::check,
    support::{Cluster, id, name},
};

fn amounts(most: u64) -> impl Strategy<Value = Resources> {
    let amount = prop_oneof![4 => 0..=most, 1 => Just(0), 1 => Just(most)];
    vec(amount, 3).prop_map(|amounts| {
        let names = ["cpu_millis", "memory_bytes", "slots"].map(name);
        names.into_iter().zip(amounts).collect()
    })
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof![Just("zone".to_owned()), Just("rack".to_owned())];
    btree_map(key, prop_oneof![Just("x".to_owned()), Just("y".to_owned())], 0..=2)
}

fn worker(at: usize, most: u64) -> impl Strategy<Value = WorkerSpec> {
    let state = prop_oneof![
        6 => Just(WorkerState::Active),
        1 => Just(WorkerState::Draining),
        1 => Just(WorkerState::Down),
        1 => Just(WorkerState::Joining),
    ];
    let room = prop_oneof![3 => Just(u64::MAX), 1 => 0_u64..6];
    (amounts(most), labels(), room, state).prop_map(
        move |(capacity, labels, partitions_max, state)| WorkerSpec {
            name: name(&format!("w{at}")),
            version: Revision(at as u64),
            capacity,
            labels,
            partitions_max,
            state,
        },
    )
}

fn partition(at: u32, workers: usize, most: u64) -> impl Strategy<Value = PartitionSpec> {
    // One worker more than there are: it is not known any more.
    let requires = prop_oneof![3 => Just(BTreeMap::new()), 1 => labels()];
    let group = prop_oneof![Just(name("g")), Just(name("h"))];
    let apart = prop_oneof![3 => Just(BTreeSet::new()), 1 => btree_set(group, 0..=2)];
    let rests = prop::bool::weighted(0.1);
    let seen =
        prop_oneof![3 => Just(None), 2 => option::of(0..=2_000_000_u64), 1 => any::<Option<u64>>()];
    (amounts(most), option::of(0..=workers), requires, apart, rests, seen).prop_map(
        move |(demand, home, requires, apart, rests, observed_ppm)| PartitionSpec {
            observed_ppm,
            worker: home.map(|home| name(&format!("w{home}"))),
            requires,
            apart,
            rests,
            ..PartitionSpec::new(id(at), Revision(u64::from(at)), demand)
        },
    )
}

/// Small and large amounts, up to the largest there are.
fn cluster() -> impl Strategy<Value = Cluster> {
    let most = prop_oneof![Just(10_u64), Just(1_000), Just(1 << 40), Just(u64::MAX)];
    (0_usize..8, 0_u32..24, most).prop_flat_map(|(workers, partitions, most)| {
        let all_workers: Vec<_> = (0..workers).map(|at| worker(at, most)).collect();
        let needs = (most / 6).max(1);
        let all: Vec<_> = (0..partitions).map(|at| partition(at, workers, needs)).collect();
        let end = 0..partitions.max(1);
        // The largest that counts as it is.
        let rate = prop_oneof![0_u64..100, Just(1 << 40)];
        let traffic = vec((end.clone(), end, rate), 0..40);
        (all_workers, all, traffic).prop_map(move |(workers, partitions, traffic)| {
            let some = !partitions.is_empty();
            let traffic = traffic.into_iter().filter(|_| some);
            let traffic =
                traffic.map(|(from, to, rate)| Traffic { from: id(from), to: id(to), rate });
            Cluster { workers, traffic: traffic.collect(), partitions }
        })
    })
}

/// Some of many partitions exchange with all others.
fn hubs() -> impl Strategy<Value = Cluster> {
    let most = prop_oneof![Just(1_000_u64), Just(100_000)];
    (1_usize..8, 34_u32..70, 1_u32..4, most).prop_flat_map(|(workers, partitions, hubs, most)| {
        let all_workers: Vec<_> = (0..workers).map(|at| worker(at, most)).collect();
        let needs = most / 12;
        let all: Vec<_> = (0..partitions).map(|at| partition(at, workers, needs)).collect();
        let edges = 0..hubs * partitions;
        let rates: Vec<_> = edges.clone().map(|_| 0_u64..100).collect();
        let others = vec((0..partitions, 0..partitions, 0_u64..100), 0..80);
        (all_workers, all, rates, others).prop_map(move |(workers, partitions, rates, others)| {
            let count = u32::try_from(partitions.len()).unwrap();
            let spokes = edges.clone().zip(rates).map(|(at, rate)| (at / count, at % count, rate));
            let traffic = spokes.chain(others);
            let traffic =
                traffic.map(|(from, to, rate)| Traffic { from: id(from), to: id(to), rate });
            Cluster { workers, traffic: traffic.collect(), partitions }
        })
    })
}

fn policy() -> impl Strategy<Value = BalancePolicy> {
    let moves = prop_oneof![
        1 => Just(Moves::Grants),
        1 => Just(Moves::Needed),
        4 => Just(Moves::Worthwhile),
    ];
    (0_u32..=1_000_000, 0_u32..=1_000_000, 0_u32..10_000, moves).prop_map(
        |(moved_ppm_max, moved_load_ppm_max, gain_ppm_min, moves)| BalancePolicy {
            moved_ppm_max,
            moved_load_ppm_max,
            gain_ppm_min,
            moves,
            ..BalancePolicy::default()
        },
    )
}

proptest! {
    #[test]
    fn every_plan_keeps_every_rule(cluster in cluster(), policy in policy()) {
        let plan = rebalance(&cluster.view(), &policy);
        check(&cluster, &policy, &plan);
    }

    #[test]
    fn so_does_every_plan_with_hubs(cluster in hubs(), policy in policy()) {
        let plan = rebalance(&cluster.view(), &policy);
        check(&cluster, &policy, &plan);
    }

    /// On two threads at once, and with what was given in another order.
    #[test]
    fn equal_clusters_give_equal_plans(cluster in cluster(), policy in policy()) {
        let mut turned = cluster.clone();
        turned.workers.reverse();
        turned.partitions.reverse();
        turned.traffic.reverse();
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| rebalance(&cluster.view(), &policy));
            let other = scope.spawn(|| rebalance(&turned.view(), &policy));
            (one.join().unwrap(), other.join().unwrap())
        });
        prop_assert_eq!(one, other);
    }

    /// When moves were made, planning again goes on from there and ends: nothing goes back and forth.
    #[test]
    fn planning_again_and_again_ends(cluster in prop_oneof![3 => cluster(), 1 => hubs()]) {
        let policy = BalancePolicy::default();
        let mut now = cluster;
        for _ in 0..200 {
            let plan = rebalance(&now.view(), &policy);
            if plan.waves.is_empty() {
                return Ok(());
            }
            let places: BTreeMap<_, Name> =
                plan.moves().map(|one| (one.partition.clone(), one.to.clone())).collect();
            for partition in &mut now.partitions {
                if let Some(to) = places.get(&partition.id) {
                    partition.worker = Some(to.clone());
                }
            }
        }
        prop_assert!(false, "it goes on and on");
    }

    #[test]
    fn every_partition_can_be_explained(cluster in cluster(), policy in policy()) {
        let view = cluster.view();
        for partition in &cluster.partitions {
            let why = explain(&view, &policy, &partition.id).unwrap();
            let here = usize::from(why.worker.is_some());
            prop_assert_eq!(why.others.len() + here, cluster.workers.len());
        }
    }
}
