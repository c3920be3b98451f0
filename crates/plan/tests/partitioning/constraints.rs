//! Which processes may be together, and how large partitions are to be.
//!
//! What must hold is checked by code of its own, which shares nothing with the planner.

use proptest::{collection::vec, option, prelude::*, sample::select};
use quorate_core::{Name, NetworkSpec};
use quorate_plan::{
    BalanceStrategy, LoadBased, Multilevel, NetworkView, PartitionPlan, PartitionRequest,
    PlanError, Seed, Strategies, StrategyFailure, partition,
};

use crate::support::{edge, name, network, process};

fn plan(
    strategy: &dyn BalanceStrategy,
    spec: &NetworkSpec,
    (partitions, shares): (u32, &[u32]),
    current: Option<&[Option<u32>]>,
) -> Result<PartitionPlan, PlanError> {
    let view = NetworkView::new(spec).unwrap();
    let request = PartitionRequest { view: &view, partitions, shares, seed: Seed(7), current };
    partition(strategy, &request)
}

/// Each pair of processes, by the words of the rules.
fn broken(spec: &NetworkSpec, of: &[u32]) -> Option<String> {
    let processes = &spec.processes;
    for (at, one) in processes.iter().enumerate() {
        for (other, to) in processes[at + 1..].iter().zip(&of[at + 1..]) {
            let (together, ids) = (of[at] == *to, format!("{} {}", one.id, other.id));
            let same = |a: &Option<Name>, b: &Option<Name>| a.is_some() && a == b;
            if same(&one.affinity, &other.affinity) && !together {
                return Some(format!("{ids} are apart"));
            }
            if same(&one.anti_affinity, &other.anti_affinity) && together {
                return Some(format!("{ids} are together"));
            }
            let differ = |(label, value)| other.requires.get(label).is_some_and(|it| it != value);
            if together && one.requires.iter().any(differ) {
                return Some(format!("{ids} require different labels"));
            }
        }
    }
    None
}

/// Whether there is an assignment at all: tries every one.
fn is_possible(spec: &NetworkSpec, partitions: u32) -> bool {
    let mut of = vec![0; spec.processes.len()];
    loop {
        let all = (0..partitions).all(|partition| of.contains(&partition));
        if all && broken(spec, &of).is_none() {
            return true;
        }
        let Some(at) = of.iter().position(|place| place + 1 < partitions) else { return false };
        of[at] += 1;
        of[..at].fill(0);
    }
}

fn constrained(processes: std::ops::Range<u32>) -> impl Strategy<Value = NetworkSpec> {
    processes.prop_flat_map(|count| {
        let group = || option::weighted(0.25, select(vec!["f", "g", "h"]));
        let label = || option::weighted(0.25, select(vec!["a", "b", "c"]));
        let processes = vec((0..9_u64, group(), group(), label(), label()), count as usize);
        let edges = vec((0..count, 0..count, 0..9_u64), 0..40);
        (processes, edges).prop_map(|(processes, edges)| {
            let id = |number: u32| format!("p{number:03}");
            let processes = (0..).zip(processes).map(|(at, (cpu, with, apart, zone, disk))| {
                let mut process = process(&id(at), cpu);
                process.affinity = with.map(name);
                process.anti_affinity = apart.map(name);
                let labels = [("zone", zone), ("disk", disk)].into_iter();
                let labels = labels.filter_map(|(label, value)| Some((label, value?)));
                process.requires =
                    labels.map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
                process
            });
            let edges = edges.into_iter().map(|(from, to, rate)| edge(&id(from), &id(to), rate));
            network(processes.collect(), edges.collect())
        })
    })
}

fn all(check: impl Fn(&dyn BalanceStrategy)) {
    let strategies = Strategies::builtin();
    strategies.names().for_each(|name| check(strategies.get(name).unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every strategy, from nothing and from anywhere, keeps the rules or says what it cannot keep.
    #[test]
    fn rules_are_kept_or_it_is_said_which_are_not(
        spec in constrained(1..40),
        draw in any::<u32>(),
        shares in vec(1..9_u32, 40),
        homes in vec(option::of(0..9_u32), 40),
    ) {
        let count = u32::try_from(spec.processes.len()).unwrap();
        let partitions = draw % count.min(9) + 1;
        let shares = if draw % 2 == 0 { &shares[..partitions as usize] } else { &[] };
        all(|strategy| for current in [None, Some(&homes[..spec.processes.len()])] {
            match plan(strategy, &spec, (partitions, shares), current) {
                Ok(plan) => {
                    let of = plan.assignment.of_process();
                    assert_eq!(broken(&spec, of), None, "{}", strategy.name());
                    assert!((0..partitions).all(|partition| of.contains(&partition)));
                }
                Err(PlanError::Contradiction { .. } | PlanError::Together { .. }) => {}
                Err(PlanError::NoPlace { place, .. }) => assert!(!place.constraints.is_empty()),
                Err(error) => panic!("{}: {error}", strategy.name()),
            }
        });
    }

    /// Small networks are planned whenever that is possible.
    #[test]
    fn what_is_possible_is_found(spec in constrained(1..8), partitions in 1..5_u32) {
        let count = u32::try_from(spec.processes.len()).unwrap();
        let partitions = partitions.min(count);
        let possible = is_possible(&spec, partitions);
        all(|strategy| {
            let plan = plan(strategy, &spec, (partitions, &[]), None);
            assert_eq!(plan.is_ok(), possible, "{}: {plan:?}", strategy.name());
        });
    }
}

/// A grid of processes that each need 1, with traffic to their neighbors.
fn grid(width: u32, height: u32) -> NetworkSpec {
    let id = |x: u32, y: u32| format!("p{y:03}-{x:03}");
    let all = || (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)));
    let right = all().filter(|(x, _)| x + 1 < width);
    let down = all().filter(|(_, y)| y + 1 < height);
    let edges = right.map(|(x, y)| edge(&id(x, y), &id(x + 1, y), 10));
    let edges = edges.chain(down.map(|(x, y)| edge(&id(x, y), &id(x, y + 1), 10)));
    network(all().map(|(x, y)| process(&id(x, y), 1)).collect(), edges.collect())
}

#[test]
fn loads_are_in_proportion_to_shares() {
    let (spec, shares) = (grid(60, 40), [4, 2, 1, 1]);
    for strategy in [&Multilevel::default() as &dyn BalanceStrategy, &LoadBased] {
        let plan = plan(strategy, &spec, (4, &shares), None).unwrap();
        for (facts, share) in plan.facts.partitions.iter().zip(shares) {
            let target = 1_000_000 * u64::from(share) / 8;
            let within = target * 9 / 10..=target * 21 / 20 + 1;
            assert!(within.contains(&facts.load_ppm), "{}: {facts:?}", strategy.name());
        }
        assert!(plan.facts.imbalance_ppm <= 75_000, "{}", plan.facts.imbalance_ppm);
    }
}

#[test]
fn shares_that_differ_very_much_leave_no_partition_empty() {
    let spec = grid(3, 2);
    for shares in [[u32::MAX, 1, 1], [1, u32::MAX, u32::MAX]] {
        all(|strategy| drop(plan(strategy, &spec, (3, &shares), None).unwrap()));
    }
}

#[test]
fn another_plan_follows_other_shares() {
    let spec = grid(40, 20);
    let before = plan(&Multilevel::default(), &spec, (4, &[]), None).unwrap();
    let current: Vec<_> = before.assignment.of_process().iter().copied().map(Some).collect();
    let after = plan(&Multilevel::default(), &spec, (4, &[4, 2, 1, 1]), Some(&current)).unwrap();
    assert!(after.facts.imbalance_ppm <= 90_000, "{}", after.facts.imbalance_ppm);
    let again = plan(&Multilevel::default(), &spec, (4, &[]), Some(&current)).unwrap();
    assert_eq!(again.assignment, before.assignment);
}

/// Requires `zone=a` of three processes in five, `zone=b` of the others.
fn in_zones(mut spec: NetworkSpec) -> NetworkSpec {
    for (at, process) in spec.processes.iter_mut().enumerate() {
        let zone = if at * 7 % 5 < 3 { "a" } else { "b" };
        process.requires.insert("zone".into(), zone.into());
    }
    spec
}

#[test]
fn partitions_are_claimed_for_the_labels_that_fill_them() {
    let spec = in_zones(grid(40, 30));
    all(|strategy| {
        let plan = plan(strategy, &spec, (10, &[]), None).unwrap();
        assert_eq!(broken(&spec, plan.assignment.of_process()), None);
        let imbalance = plan.facts.imbalance_ppm;
        assert!(imbalance <= 100_000, "{}: {imbalance}", strategy.name());
    });
}

#[test]
fn a_changed_network_keeps_the_rules_and_moves_only_what_must() {
    let mut spec = grid(30, 20);
    let before = plan(&Multilevel::default(), &spec, (6, &[]), None).unwrap();
    let of = before.assignment.of_process();
    let current: Vec<_> = of.iter().copied().map(Some).collect();
    // Two of one partition must be apart, and two of different ones together.
    let in_first: Vec<usize> = (0..of.len()).filter(|at| of[*at] == 0).take(3).collect();
    let elsewhere = (0..of.len()).find(|at| of[*at] == 3).unwrap();
    for at in &in_first[..2] {
        spec.processes[*at].anti_affinity = Some(name("apart"));
    }
    for at in [in_first[2], elsewhere] {
        spec.processes[at].affinity = Some(name("with"));
    }
    let after = plan(&Multilevel::default(), &spec, (6, &[]), Some(&current)).unwrap();
    assert_eq!(broken(&spec, after.assignment.of_process()), None);
    let moved = after.assignment.of_process().iter().zip(of).filter(|(now, was)| now != was);
    assert!((2..=4).contains(&moved.count()));
    let kept: Vec<_> = after.assignment.of_process().iter().copied().map(Some).collect();
    let again = plan(&Multilevel::default(), &spec, (6, &[]), Some(&kept)).unwrap();
    assert_eq!(again.assignment, after.assignment);
    // Zones that were not there before: nobody is where it may not be.
    let zoned = in_zones(spec);
    let zoned = NetworkSpec { processes: zoned.processes, ..zoned };
    match plan(&Multilevel::default(), &zoned, (6, &[]), Some(&kept)) {
        Ok(plan) => assert_eq!(broken(&zoned, plan.assignment.of_process()), None),
        Err(error) => assert!(matches!(error, PlanError::Contradiction { .. }), "{error}"),
    }
}

/// Everything into the first partitions, whatever must not meet.
struct Careless;

impl BalanceStrategy for Careless {
    fn name(&self) -> &str {
        "careless"
    }

    fn assign(&self, request: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
        let last = request.partitions - 1;
        Ok(request.view.numbers().map(|process| process.min(last)).collect())
    }
}

#[test]
fn what_cannot_be_kept_is_said() {
    let with =
        |changes: &[(usize, &str, &str)], partitions: u32, strategy: &dyn BalanceStrategy| {
            let mut spec = grid(3, 1);
            for (at, what, value) in changes {
                let process = &mut spec.processes[*at];
                match *what {
                    "with" => process.affinity = Some(name(value)),
                    "apart" => process.anti_affinity = Some(name(value)),
                    label => drop(process.requires.insert(label.to_owned(), (*value).to_owned())),
                }
            }
            plan(strategy, &spec, (partitions, &[]), None).unwrap_err().to_string()
        };
    let apart = [(0, "apart", "g"), (1, "apart", "g"), (2, "apart", "g")];
    all(|strategy| {
        let said = with(&apart, 2, strategy);
        let begin = format!("strategy {}: no partition was found for process", strategy.name());
        assert!(
            said.starts_with(&begin) && said.ends_with(": anti-affinity group \"g\""),
            "{said}"
        );
        let zones = [(0, "zone", "a"), (1, "zone", "b")];
        let said = with(&zones, 1, strategy);
        assert!(said.ends_with(": label \"zone\""), "{said}");
    });
    let careless = |changes: &[(usize, &str, &str)]| with(changes, 2, &Careless);
    assert_eq!(
        careless(&[(1, "apart", "g"), (2, "apart", "g")]),
        "strategy careless broke a constraint: \"p000-001\" and \"p000-002\" are of anti-affinity \
         group \"g\": they are in different partitions"
    );
    assert_eq!(
        careless(&[(0, "with", "f"), (2, "with", "f"), (0, "zone", "a"), (2, "zone", "b")]),
        "affinity group \"f\": \"p000-000\" and \"p000-002\" require \"zone\" to be \"a\" and \"b\": \
         they are in different partitions"
    );
    assert_eq!(
        careless(&[(0, "with", "f"), (1, "with", "f"), (2, "with", "f")]),
        "1 processes may be apart, those of one affinity group being one; 2 partitions were asked for"
    );
    let spec = grid(2, 1);
    for shares in [&[1][..], &[1, 0]] {
        let error = plan(&Careless, &spec, (2, shares), None).unwrap_err();
        assert!(matches!(error, PlanError::Shares { .. }), "{error}");
    }
}
