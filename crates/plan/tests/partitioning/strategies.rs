//! What the strategies are good for, and what all of them keep to.

use proptest::{collection::vec, prelude::*};
use quorate_core::{Name, NetworkSpec};
use quorate_plan::{
    LoadBased, Multilevel, NetworkView, PartitionPlan, PartitionRequest, PartitionStrategy,
    RoundRobin, Seed, Strategies, imbalance_ppm, partition,
};

use crate::support::{edge, name, network, numbered, process};

fn plan(strategy: &dyn PartitionStrategy, spec: &NetworkSpec, partitions: u32) -> PartitionPlan {
    let view = NetworkView::new(spec).unwrap();
    partition(strategy, &PartitionRequest { view: &view, partitions, seed: Seed(7) }).unwrap()
}

fn imbalance(plan: &PartitionPlan) -> u64 {
    let loads: Vec<u64> =
        plan.facts.partitions.iter().map(|partition| partition.load_ppm).collect();
    imbalance_ppm(&loads)
}

/// How much more than an equal share any partition has of any resource, in parts per million.
fn worst_excess(plan: &PartitionPlan, spec: &NetworkSpec) -> u64 {
    let total = NetworkView::new(spec).unwrap().demand();
    let count = u128::from(plan.assignment.partitions());
    let shares = plan.facts.partitions.iter().flat_map(|partition| partition.demand.iter());
    let share = |(name, amount): (&Name, u64)| {
        u128::from(amount) * count * 1_000_000 / u128::from(total.get(name).max(1))
    };
    let worst = shares.map(share).max().unwrap_or(0);
    u64::try_from(worst.saturating_sub(1_000_000)).unwrap()
}

/// Data flows through `layers` of `width` processes to neighbors in the next one.
fn flow(layers: u32, width: u32, resources: &[&str]) -> NetworkSpec {
    let id = |layer: u32, place: u32| format!("p{layer:03}-{place:03}");
    let mut processes = Vec::new();
    let mut edges = Vec::new();
    for layer in 0..layers {
        for place in 0..width {
            let mut process = process(&id(layer, place), 0);
            for (at, resource) in (0..).zip(resources) {
                let need = 1 + u64::from((layer * 7 + place * 13 + at * 5) % 10);
                process.needs.set(name(resource), need);
            }
            processes.push(process);
            if layer + 1 < layers {
                for to in [place, (place + 1) % width] {
                    edges.push(edge(&id(layer, place), &id(layer + 1, to), 10));
                }
            }
        }
    }
    network(processes, edges)
}

#[test]
fn multilevel_cuts_little_and_balances_every_resource() {
    for resources in [&["cpu_millis"][..], &["cpu_millis", "memory_bytes", "slots"]] {
        let spec = flow(60, 50, resources);
        for partitions in [2, 7, 16] {
            let multilevel = plan(&Multilevel::default(), &spec, partitions);
            let dealt = plan(&RoundRobin, &spec, partitions);
            let (cut, cut_dealt) = (multilevel.facts.cut_rate, dealt.facts.cut_rate);
            assert!(cut * 4 < cut_dealt, "{partitions}: {cut} against {cut_dealt}");
            assert!(imbalance(&multilevel) <= 100_000, "{partitions}: {}", imbalance(&multilevel));
            let worst = worst_excess(&multilevel, &spec);
            assert!(worst <= 50_001, "{partitions}: {worst} ppm above");
        }
    }
}

#[test]
fn two_clusters_with_little_between_them_are_told_apart() {
    let mut edges = vec![(3, 17)];
    for side in [0, 10] {
        edges.extend((0..10).flat_map(|a| (0..a).map(move |b| (side + b, side + a))));
    }
    let plan = plan(&Multilevel::default(), &numbered(20, edges), 2);
    assert_eq!(plan.facts.cut_rate, 1);
    let of = plan.assignment.of_process();
    assert!(
        of[..10].iter().all(|part| *part == of[0]) && of[10..].iter().all(|part| *part != of[0])
    );
}

#[test]
fn load_based_balances_needs_that_round_robin_does_not() {
    let processes = (0..40).map(|at| process(&format!("p{at:02}"), 1 + at * at)).collect();
    let spec = network(processes, Vec::new());
    assert!(imbalance(&plan(&LoadBased, &spec, 4)) < 10_000);
    assert!(imbalance(&plan(&RoundRobin, &spec, 4)) > 10_000);
}

#[test]
fn processes_too_coarse_to_balance_are_still_assigned() {
    let needs = [1_000_000, 3, 2, 1, 1];
    let processes = (0..).zip(needs).map(|(at, need)| process(&format!("p{at}"), need)).collect();
    let spec = network(processes, vec![edge("p0", "p1", 5)]);
    let plan = plan(&Multilevel::default(), &spec, 3);
    let heaviest = plan.facts.partitions.iter().max_by_key(|part| part.load_ppm).unwrap();
    assert_eq!(heaviest.processes, 1, "nothing is put beside the one that is too heavy");
}

fn hostile() -> impl Strategy<Value = NetworkSpec> {
    (1..30_u32).prop_flat_map(|count| {
        let need = || prop_oneof![Just(0), 0..100_u64, Just(u64::MAX), any::<u64>()];
        let needs = vec((need(), need()), count as usize);
        let rate = prop_oneof![Just(0), 1..100_u64, Just(u64::MAX)];
        let edges = vec((0..count, 0..count, rate), 0..80);
        (needs, edges).prop_map(|(needs, edges)| {
            let id = |number: u32| format!("p{number:03}");
            let processes = (0..).zip(needs).map(|(at, (cpu, slots))| {
                let mut process = process(&id(at), cpu);
                process.needs.set(name("slots"), slots);
                process.parallelism.min = 1 + at % 3;
                process.parallelism.max = 3;
                process
            });
            let edges = edges.into_iter().map(|(from, to, rate)| edge(&id(from), &id(to), rate));
            network(processes.collect(), edges.collect())
        })
    })
}

proptest! {
    /// Every strategy answers every network, with no partition empty, and the same on two threads.
    #[test]
    fn every_network_is_partitioned_the_same_everywhere(
        spec in hostile(), draw in any::<u32>(), seed in any::<u64>(),
    ) {
        let view = NetworkView::new(&spec).unwrap();
        let partitions = draw % view.len() + 1;
        let strategies = Strategies::builtin();
        let names: Vec<String> = strategies.names().map(str::to_owned).collect();
        prop_assert_eq!(names.len(), 3);
        for name in &names {
            let strategy = strategies.get(name).unwrap();
            let request = PartitionRequest { view: &view, partitions, seed: Seed(seed) };
            // `partition` checks that each process is in one partition and none is empty.
            let plan = || partition(strategy, &request);
            let (one, other) = std::thread::scope(|scope| {
                let other = scope.spawn(plan);
                (plan(), other.join().unwrap())
            });
            prop_assert!(one.is_ok(), "{name}: {one:?}");
            prop_assert_eq!(one, other);
        }
    }
}
