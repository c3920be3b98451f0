//! Rules that hold for every network, checked on random and on hostile ones.

use std::sync::Arc;

use crate::support::{edge, network, numbered, process};
use proptest::prelude::*;
use quorate_core::NetworkSpec;
use quorate_plan::{
    Assignment, BalanceStrategy, MalformedAssignment, NetworkView, PartitionPlan, PartitionRequest,
    PlanError, RoundRobin, Seed, Strategies, StrategyFailure, ViewError, imbalance_ppm, partition,
    topological_order,
};

fn round_robin(spec: &NetworkSpec, partitions: u32, seed: Seed) -> PartitionPlan {
    let view = NetworkView::new(spec).unwrap();
    partition(
        &RoundRobin,
        &PartitionRequest { view: &view, partitions, shares: &[], seed, current: None },
    )
    .unwrap()
}

/// Who reaches whom, by Warshall's closure: an oracle that shares nothing with the planner.
fn reaches(n: usize, edges: &[(u32, u32)]) -> Vec<Vec<bool>> {
    let mut reach = vec![vec![false; n]; n];
    for (from, to) in edges {
        reach[*from as usize][*to as usize] = true;
    }
    for via in 0..n {
        for from in 0..n {
            for to in 0..n {
                reach[from][to] |= reach[from][via] && reach[via][to];
            }
        }
    }
    reach
}

fn graphs() -> impl Strategy<Value = (u32, Vec<(u32, u32)>)> {
    (1..24_u32).prop_flat_map(|n| (Just(n), prop::collection::vec((0..n, 0..n), 0..60)))
}

fn weighted() -> impl Strategy<Value = NetworkSpec> {
    graphs().prop_flat_map(|(n, edges)| {
        let needs = prop::collection::vec(prop_oneof![0..2000_u64, any::<u64>()], n as usize);
        (needs, Just(edges), any::<u64>()).prop_map(|(needs, edges, rate)| {
            let id = |number: usize| format!("p{number:03}");
            let processes =
                needs.iter().enumerate().map(|(at, need)| process(&id(at), *need)).collect();
            let connections = edges
                .iter()
                .map(|(from, to)| edge(&id(*from as usize), &id(*to as usize), rate))
                .collect();
            network(processes, connections)
        })
    })
}

proptest! {
    #[test]
    fn every_process_is_in_one_partition_and_none_is_empty(
        spec in weighted(), draw in any::<u32>(), seed in any::<u64>(),
    ) {
        let n = u32::try_from(spec.processes.len()).unwrap();
        let partitions = draw % n + 1;
        let plan = round_robin(&spec, partitions, Seed(seed));
        prop_assert_eq!(plan.assignment.of_process().len(), spec.processes.len());
        let sizes: Vec<u32> = plan.facts.partitions.iter().map(|p| p.processes).collect();
        prop_assert_eq!(sizes.len(), partitions as usize);
        prop_assert_eq!(sizes.iter().sum::<u32>(), n);
        prop_assert!(sizes.iter().all(|size| *size == n / partitions || *size == n.div_ceil(partitions)));
        prop_assert!(plan.facts.cut_rate <= plan.facts.total_rate);
        let again = round_robin(&spec, partitions, Seed(seed));
        prop_assert_eq!(plan, again);
    }

    #[test]
    fn the_order_follows_the_flow((n, edges) in graphs()) {
        let spec = numbered(n, edges.iter().copied());
        let view = NetworkView::new(&spec).unwrap();
        let order = topological_order(&view);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        let reach = reaches(n as usize, &edges);
        for (at, later) in order.iter().enumerate() {
            for earlier in &order[..at] {
                let (earlier, later) = (*earlier as usize, *later as usize);
                prop_assert!(reach[earlier][later] || !reach[later][earlier]);
            }
        }
        // Members of one cycle stand together, and in order of their numbers.
        for pair in order.windows(3) {
            let [a, b, c] = [pair[0] as usize, pair[1] as usize, pair[2] as usize];
            if reach[a][c] && reach[c][a] {
                prop_assert!(reach[a][b] && reach[b][a] && a < b && b < c);
            }
        }
    }

    #[test]
    fn without_edges_the_order_is_that_of_the_ids(n in 1..200_u32) {
        let spec = numbered(n, []);
        let order = topological_order(&NetworkView::new(&spec).unwrap());
        prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
    }

    #[test]
    fn facts_agree_with_a_count_by_hand(spec in weighted(), draw in any::<u32>()) {
        let n = u32::try_from(spec.processes.len()).unwrap();
        let plan = round_robin(&spec, draw % n + 1, Seed(0));
        let of = |id| {
            let at = spec.processes.iter().position(|process| &process.id == id).unwrap();
            plan.assignment.of_process()[at]
        };
        let (mut cut, mut total) = (0_u64, 0_u64);
        for edge in &spec.connections {
            total = total.saturating_add(edge.rate);
            if of(&edge.from) != of(&edge.to) {
                cut = cut.saturating_add(edge.rate);
            }
        }
        prop_assert_eq!((plan.facts.cut_rate, plan.facts.total_rate), (cut, total));
    }

    #[test]
    fn imbalance_is_the_deviation_over_the_mean(loads in prop::collection::vec(0..1_000_000_u64, 1..50)) {
        let count = loads.len() as f64;
        let mean = loads.iter().sum::<u64>() as f64 / count;
        let variance = loads.iter().map(|load| (*load as f64 - mean).powi(2)).sum::<f64>() / count;
        let expected = if mean == 0.0 { 0.0 } else { variance.sqrt() / mean * 1e6 };
        prop_assert!((imbalance_ppm(&loads) as f64 - expected).abs() <= 1.0 + expected * 1e-9);
    }
}

#[test]
fn imbalance_of_known_loads() {
    assert_eq!(imbalance_ppm(&[]), 0);
    assert_eq!(imbalance_ppm(&[0, 0]), 0);
    assert_eq!(imbalance_ppm(&[5, 5, 5]), 0);
    // Mean 2, deviation 1.
    assert_eq!(imbalance_ppm(&[1, 3]), 500_000);
    // Everything in one of four: sqrt(k - 1).
    assert_eq!(imbalance_ppm(&[1_000_000, 0, 0, 0]), 1_732_050);
    assert_eq!(imbalance_ppm(&[u64::MAX, u64::MAX]), u64::MAX);
}

#[test]
fn a_chain_of_100_000_needs_no_deep_stack() {
    let n = 100_000;
    // Against the order of the ids, so that the search goes to full depth from the first process
    // in one case and the queue does all the work in the other.
    for spec in [numbered(n, (1..n).map(|i| (i - 1, i))), numbered(n, (1..n).map(|i| (i, i - 1)))] {
        let view = NetworkView::new(&spec).unwrap();
        let order = topological_order(&view);
        let forward = view.edges()[0].to > view.edges()[0].from;
        let expected: Vec<u32> = if forward { (0..n).collect() } else { (0..n).rev().collect() };
        assert_eq!(order, expected);
        let plan = round_robin(&spec, 64, Seed(0));
        assert_eq!(plan.facts.cut_rate, plan.facts.total_rate);
    }
}

#[test]
fn one_big_cycle_is_one_component() {
    let n = 100_000;
    let spec = numbered(n, (0..n).map(|i| (i, (i + 7) % n)));
    let order = topological_order(&NetworkView::new(&spec).unwrap());
    assert_eq!(order, (0..n).collect::<Vec<_>>());
}

#[test]
fn self_loops_do_not_block_the_order() {
    let spec = numbered(3, [(0, 0), (1, 1), (2, 2), (2, 0), (0, 1)]);
    let order = topological_order(&NetworkView::new(&spec).unwrap());
    assert_eq!(order, [2, 0, 1]);
    assert_eq!(round_robin(&spec, 3, Seed(0)).facts.cut_edges, 2);
}

#[test]
fn a_hub_of_100_000_edges_is_ordered() {
    let n = 100_000;
    let spec = numbered(n, (1..n).flat_map(|i| [(0, i), (i, 0)]));
    let order = topological_order(&NetworkView::new(&spec).unwrap());
    assert_eq!(order, (0..n).collect::<Vec<_>>());
}

#[test]
fn a_view_refuses_what_is_not_canonical() {
    let mut swapped = numbered(2, []);
    swapped.processes.reverse();
    assert!(matches!(NetworkView::new(&swapped), Err(ViewError::ProcessOrder { .. })));
    let mut twice = numbered(1, []);
    twice.processes.push(twice.processes[0].clone());
    assert!(matches!(NetworkView::new(&twice), Err(ViewError::ProcessOrder { .. })));
    let mut edges = numbered(3, [(0, 1), (1, 2)]);
    edges.connections.reverse();
    assert!(matches!(NetworkView::new(&edges), Err(ViewError::ConnectionOrder { .. })));
    edges.connections[1] = edges.connections[0].clone();
    assert!(matches!(NetworkView::new(&edges), Err(ViewError::ConnectionOrder { .. })));
}

/// Answers what it is told to.
struct Scripted(Result<Vec<u32>, StrategyFailure>);

impl BalanceStrategy for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn assign(&self, _: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
        self.0.clone()
    }
}

fn ask(answer: Result<Vec<u32>, StrategyFailure>) -> Result<PartitionPlan, PlanError> {
    let spec = numbered(3, []);
    let view = NetworkView::new(&spec).unwrap();
    partition(
        &Scripted(answer),
        &PartitionRequest { view: &view, partitions: 2, shares: &[], seed: Seed(0), current: None },
    )
}

fn malformed(answer: Vec<u32>) -> MalformedAssignment {
    match ask(Ok(answer)) {
        Err(PlanError::Malformed { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_faulty_strategy_cannot_break_a_network() {
    assert_eq!(malformed(vec![0, 1]), MalformedAssignment::Length { actual: 2, expected: 3 });
    assert_eq!(malformed(vec![0; 4]), MalformedAssignment::Length { actual: 4, expected: 3 });
    assert_eq!(
        malformed(vec![0, 1, 2]),
        MalformedAssignment::NoSuchPartition { process: 2, partition: 2, partitions: 2 }
    );
    assert_eq!(malformed(vec![1, 1, 1]), MalformedAssignment::EmptyPartition { partition: 0 });
    assert_eq!(malformed(vec![0, 0, 0]), MalformedAssignment::EmptyPartition { partition: 1 });
    let failed = ask(Err(StrategyFailure::new("no idea"))).unwrap_err();
    assert_eq!(failed.to_string(), "strategy scripted: no idea");
    assert_eq!(ask(Ok(vec![1, 0, 1])).unwrap().assignment.of_process(), [1, 0, 1]);
    assert!(Assignment::new(u32::MAX, 1, vec![0]).is_err());
}

#[test]
fn strategies_are_found_by_name_and_names_are_taken_once() {
    let mut strategies = Strategies::builtin();
    strategies.register(Arc::new(Scripted(Ok(vec![])))).unwrap();
    let taken = strategies.register(Arc::new(RoundRobin)).unwrap_err();
    assert_eq!(taken.name, "round-robin");
    assert_eq!(strategies.get("scripted").map(BalanceStrategy::name), Ok("scripted"));
    let Err(unknown) = strategies.get("psychic") else { panic!("found a psychic") };
    assert_eq!(unknown.known, ["load-based", "multilevel", "round-robin", "scripted"]);
}
