//! What the strategies are good for, and what all of them keep to.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use quorate_core::{Name, NetworkSpec};
use quorate_plan::{
    BalanceStrategy, LoadBased, Multilevel, NetworkView, PartitionPlan, PartitionRequest,
    RoundRobin, Seed, Strategies, imbalance_ppm, partition,
};

use crate::support::{edge, name, network, numbered, process};

fn plan(strategy: &dyn BalanceStrategy, spec: &NetworkSpec, partitions: u32) -> PartitionPlan {
    let view = NetworkView::new(spec).unwrap();
    partition(strategy, &PartitionRequest { view: &view, partitions, seed: Seed(7), current: None })
        .unwrap()
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

type Places = BTreeMap<Name, u32>;

/// Where every process is, by its id.
fn places(spec: &NetworkSpec, plan: &PartitionPlan) -> Places {
    let ids = spec.processes.iter().map(|process| process.id.clone());
    ids.zip(plan.assignment.of_process().iter().copied()).collect()
}

/// Plans again for a network that was changed, from where its processes are.
fn replan(spec: &NetworkSpec, partitions: u32, places: &Places) -> PartitionPlan {
    let view = NetworkView::new(spec).unwrap();
    let current: Vec<_> =
        spec.processes.iter().map(|process| places.get(&process.id).copied()).collect();
    let request =
        PartitionRequest { view: &view, partitions, seed: Seed(7), current: Some(&current) };
    partition(&Multilevel::default(), &request).unwrap()
}

/// How many processes of both plans are in different partitions.
fn moved(spec: &NetworkSpec, plan: &PartitionPlan, before: &Places) -> usize {
    let places = places(spec, plan);
    places.iter().filter(|(id, place)| before.get(id).is_some_and(|home| home != *place)).count()
}

#[test]
fn a_network_that_has_not_changed_stays_as_it_is() {
    let spec = flow(30, 20, &["cpu_millis"]);
    let before = places(&spec, &plan(&Multilevel::default(), &spec, 8));
    assert_eq!(moved(&spec, &replan(&spec, 8, &before), &before), 0);
}

#[test]
fn new_processes_join_their_neighbors_and_nobody_else_moves() {
    let mut spec = flow(30, 20, &["cpu_millis"]);
    let before = places(&spec, &plan(&Multilevel::default(), &spec, 8));
    for at in 0..6 {
        let id = format!("q{at}");
        let neighbor = format!("p{:03}-004", at * 5);
        spec.processes.push(process(&id, 3));
        spec.connections.push(edge(&neighbor, &id, 1_000));
    }
    let spec = network(spec.processes, spec.connections);
    let after = replan(&spec, 8, &before);
    assert_eq!(moved(&spec, &after, &before), 0);
    let places = places(&spec, &after);
    let beside =
        |at: u32| places[&name(&format!("q{at}"))] == before[&name(&format!("p{:03}-004", at * 5))];
    assert!((0..6).filter(|at| beside(*at)).count() >= 5, "{places:?}");
    assert!(imbalance(&after) <= 100_000);
}

#[test]
fn what_leaves_is_made_up_for_and_other_counts_move_what_they_must() {
    let whole = flow(30, 20, &["cpu_millis"]);
    let before = places(&whole, &plan(&Multilevel::default(), &whole, 8));
    // Most of one partition leaves: others send some of theirs.
    let mut left = 0;
    let mut stays = |id: &Name| {
        left += u32::from(before[id] == 3);
        before[id] != 3 || left > 60
    };
    let processes: Vec<_> = whole.processes.iter().filter(|p| stays(&p.id)).cloned().collect();
    let there = |id: &Name| processes.iter().any(|process| process.id == *id);
    let both = whole.connections.iter().filter(|edge| there(&edge.from) && there(&edge.to));
    let spec = network(processes.clone(), both.cloned().collect());
    let after = replan(&spec, 8, &before);
    assert!(imbalance(&after) <= 100_000, "{}", imbalance(&after));
    let share = moved(&spec, &after, &before) * 100 / spec.processes.len();
    assert!(share < 25, "{share}% moved");
    // One partition more, and one less: what moves is about its share.
    for partitions in [7, 9] {
        let after = replan(&whole, partitions, &before);
        assert!(imbalance(&after) <= 100_000, "{partitions}: {}", imbalance(&after));
        let share = moved(&whole, &after, &before) * 100 / whole.processes.len();
        assert!(share < 30, "{partitions}: {share}% moved");
    }
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
    // Small networks are searched long.
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Every strategy answers every network, with no partition empty, and the same on two threads.
    #[test]
    fn every_network_is_partitioned_the_same_everywhere(
        spec in hostile(), draw in any::<u32>(), seed in any::<u64>(), homes in vec(any::<Option<u8>>(), 30),
    ) {
        let view = NetworkView::new(&spec).unwrap();
        let partitions = draw % view.len() + 1;
        let homes = homes.into_iter().map(|home| home.map(|home| u32::from(home % 9)));
        let current: Vec<Option<u32>> = homes.take(spec.processes.len()).collect();
        let strategies = Strategies::builtin();
        let names: Vec<String> = strategies.names().map(str::to_owned).collect();
        prop_assert_eq!(names.len(), 3);
        for name in &names {
            let strategy = strategies.get(name).unwrap();
            let current = (seed % 2 == 0).then_some(current.as_slice());
            let request = PartitionRequest { view: &view, partitions, seed: Seed(seed), current };
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
