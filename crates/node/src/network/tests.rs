//! Applying networks to a state in memory, alone and against others.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_core::{
    ApplyOutcome, ClusterId, Command, Generation, Identity, Key, KeyRange, Kind, LogIndex, Name,
    NetworkSpec, PartitionPolicy, Process, ProcessEdge, Record, Rejection, Resources, RestoreEpoch,
    Revision, Stamp, State, Term, apply, plan::Layout, rejection::Reason,
};
use quorate_plan::{BalanceStrategy, PartitionRequest, Strategies, StrategyFailure};
use quorate_storage::{Executor, View};
use tokio::time::Instant;

use super::*;
use crate::{
    coordinator::Committed,
    planner::{NoPlan, PLANS_MAX, Planner},
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A chain `p0 -> p1 -> ...`, each edge with rate 10.
fn chain(length: usize, policy: PartitionPolicy) -> NetworkSpec {
    let id = |at: usize| name(&format!("p{at:03}"));
    let process = |at| Process {
        needs: [(name(Resources::CPU_MILLIS), 100)].into_iter().collect(),
        ..Process::new(id(at), "c")
    };
    let edge = |at| ProcessEdge { from: id(at - 1), to: id(at), rate: 10 };
    NetworkSpec {
        processes: (0..length).map(process).collect(),
        connections: (1..length).map(edge).collect(),
        policy,
        connection: Default::default(),
    }
}

fn policy(partitions: u32) -> PartitionPolicy {
    PartitionPolicy { partitions, ..PartitionPolicy::default() }
}

/// Round-robin: what goes where is plain to see.
fn dealt(partitions: u32) -> PartitionPolicy {
    PartitionPolicy { partitions, strategy: name("round-robin"), ..PartitionPolicy::default() }
}

/// One coordinator's state, without consensus.
struct Store(Mutex<State>);

impl Store {
    fn new() -> Self {
        let identity = Identity { cluster_id: ClusterId(7), restore_epoch: RestoreEpoch(1) };
        Self(Mutex::new(State::new(identity)))
    }

    fn state(&self) -> State {
        self.0.lock().unwrap().clone()
    }

    fn view(&self) -> Arc<View> {
        let (state, membership) = (self.state(), Default::default());
        let (index, term) = (LogIndex(1), Term(1));
        Arc::new(View { state, index, term, membership, installs: 0 })
    }

    fn commit(&self, command: &Command) -> Committed {
        let mut state = self.0.lock().unwrap();
        let outcome = apply(&mut state, Stamp::at(1), command).outcome;
        state.check().unwrap();
        Committed { term: Term(1), index: LogIndex(1), outcome }
    }

    async fn apply(
        &self,
        network: &str,
        spec: NetworkSpec,
    ) -> Result<AppliedNetwork, ApplyError<Infallible>> {
        let read = || ready(Ok(self.view()));
        let propose = |command: Command| ready(Ok(self.commit(&command)));
        apply_network(&planner(Strategies::builtin()), wanted(network, spec), read, propose).await
    }

    /// The processes of each partition.
    fn partitions(&self, network: &str) -> Vec<Vec<String>> {
        let range = KeyRange::Prefix(Kind::Partition, format!("{network}/").into());
        let state = self.state();
        let processes = state.range(&range).map(|(_, record)| match &record.value {
            Record::Partition(partition) => {
                partition.processes.iter().map(|process| process.id.to_string()).collect()
            }
            other => panic!("{other:?}"),
        });
        processes.collect()
    }
}

fn planner(strategies: Strategies) -> Planner {
    Planner::new(strategies, Executor::Threads, 1)
}

fn wanted(network: &str, spec: NetworkSpec) -> Wanted<'static> {
    let deadline = Instant::now() + Duration::from_secs(60);
    Wanted { name: name(network), spec, call: None, deadline }
}

fn outcome(applied: &AppliedNetwork) -> (ApplyOutcome, u64) {
    match applied {
        AppliedNetwork::Committed { outcome, numbers, .. } => (*outcome, numbers.generation.get()),
        AppliedNetwork::Unchanged { numbers, .. } => {
            (ApplyOutcome::Unchanged, numbers.generation.get())
        }
    }
}

fn rejected<T: std::fmt::Debug>(result: Result<T, ApplyError<Infallible>>) -> Rejection {
    match result {
        Err(ApplyError::Rejected(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_network_is_created_kept_updated_and_left_alone() {
    let store = Store::new();
    let created = store.apply("net", chain(5, policy(2))).await.unwrap();
    assert_eq!(outcome(&created), (ApplyOutcome::Created, 1));
    let mut sizes: Vec<usize> = store.partitions("net").iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 3]);
    assert_eq!(summary(&store.state(), &name("net")).unwrap().cut_rate, 10, "one edge crosses");
    let at = store.state().revision();

    let mut shuffled = chain(5, policy(2));
    shuffled.processes.reverse();
    shuffled.connections.reverse();
    let again = store.apply("net", shuffled).await.unwrap();
    assert!(matches!(again, AppliedNetwork::Unchanged { .. }));
    assert_eq!(store.state().revision(), at, "nothing was proposed");

    let mut changed = chain(5, policy(2));
    changed.connections[0].rate = 11;
    let updated = store.apply("net", changed).await.unwrap();
    assert_eq!(outcome(&updated), (ApplyOutcome::Updated, 2));
    assert_eq!(store.state().revision(), at.next());

    store.commit(&Command::DeleteNetwork { name: name("net") });
    assert!(store.state().is_empty());
    assert_eq!(summaries(&store.state()), []);
}

#[tokio::test]
async fn processes_stay_where_they_are_unless_another_strategy_is_asked_for() {
    let store = Store::new();
    store.apply("net", chain(200, policy(4))).await.unwrap();
    let before = store.partitions("net");
    store.apply("net", chain(202, policy(0))).await.unwrap();
    for (now, before) in store.partitions("net").iter().zip(&before) {
        assert!(before.iter().all(|process| now.contains(process)), "{now:?} from {before:?}");
    }
    let numbers = || summary(&store.state(), &name("net")).unwrap();
    assert_eq!((numbers().cut_rate, numbers().strategy.as_str()), (30, "multilevel"));
    store.apply("net", chain(202, dealt(4))).await.unwrap();
    assert_eq!((numbers().cut_rate, numbers().strategy.as_str()), (2_010, "round-robin"));
}

#[tokio::test]
async fn a_policy_that_is_not_given_is_what_it_is_now() {
    let store = Store::new();
    let partitions = async |spec| {
        store.apply("net", spec).await.unwrap();
        store.partitions("net").len()
    };
    assert_eq!(partitions(chain(3, policy(0))).await, 3, "not more than processes");
    assert_eq!(partitions(chain(10, policy(0))).await, 3, "as it is");
    assert_eq!(partitions(chain(10, policy(7))).await, 7, "as asked");
    assert_eq!(partitions(chain(10, policy(0))).await, 7, "as it is");
    assert_eq!(partitions(chain(5, policy(0))).await, 5, "not more than processes");
    let other = store.apply("other", chain(10, policy(0))).await.unwrap();
    assert_eq!(outcome(&other), (ApplyOutcome::Created, 1));
    let numbers = summary(&store.state(), &name("other")).unwrap();
    assert_eq!(numbers.partitions, PARTITIONS_DEFAULT);
    assert_eq!(numbers.strategy.as_str(), "multilevel");
}

/// The labels that each partition requires, and its anti-affinity groups.
fn constraints(state: &State, network: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let range = KeyRange::Prefix(Kind::Partition, format!("{network}/").into());
    let of = |record: &Record| match record {
        Record::Partition(partition) => {
            let labels = partition.requires.iter().map(|(name, value)| format!("{name}={value}"));
            (labels.collect(), partition.apart.iter().map(ToString::to_string).collect())
        }
        other => panic!("{other:?}"),
    };
    state.range(&range).map(|(_, record)| of(&record.value)).collect()
}

#[tokio::test]
async fn constraints_are_kept_and_stored_with_the_partitions() {
    let store = Store::new();
    let mut spec = chain(12, policy(0));
    spec.policy.shares = vec![2, 1, 1];
    let [p0, p1, p2, p3, .., p10, p11] = spec.processes.as_mut_slice() else { panic!("twelve") };
    (p0.affinity, p11.affinity) = (Some(name("ends")), Some(name("ends")));
    for apart in [p1, p2, p3] {
        apart.anti_affinity = Some(name("replicas"));
    }
    p0.requires.insert("zone".into(), "a".into());
    p10.requires = [("zone".to_owned(), "b".to_owned()), ("disk".into(), "ssd".into())].into();
    store.apply("net", spec.clone()).await.unwrap();
    let partitions = store.partitions("net");
    assert_eq!(partitions.len(), 3, "one per share");
    let of = |id: &str| partitions.iter().position(|all| all.iter().any(|it| it == id)).unwrap();
    assert_eq!(of("p000"), of("p011"));
    let apart: BTreeSet<usize> = ["p001", "p002", "p003"].map(of).into();
    assert_eq!(apart.len(), 3);
    let stored = constraints(&store.state(), "net");
    assert!(stored.iter().all(|(_, apart)| *apart == ["replicas"]));
    assert_eq!(stored[of("p000")].0, ["zone=a"]);
    assert_eq!(stored[of("p010")].0, ["disk=ssd", "zone=b"]);
    // What a network does not say may be what it has, but not if that is too few.
    spec.policy.shares.clear();
    for process in &mut spec.processes[1..8] {
        process.anti_affinity = Some(name("replicas"));
    }
    store.apply("net", spec.clone()).await.unwrap();
    assert_eq!(store.partitions("net").len(), 7);
    spec.policy.partitions = 6;
    let refused = rejected(store.apply("net", spec).await);
    assert_eq!(refused.field, "processes[7].anti_affinity");
    assert_eq!(refused.rule, "at most policy.partitions, 6, processes of group \"replicas\"");
}

#[test]
fn a_deviation_is_relative_to_shares() {
    let mut spec = chain(80, policy(0));
    spec.policy.shares = vec![3, 1];
    let state = Store::new().state();
    let run = dry_run(&state, &Strategies::builtin(), &name("net"), spec, None).unwrap();
    let after = run.plan.after;
    let loads: Vec<u64> = after.partitions.iter().map(|partition| partition.load_ppm).collect();
    assert!((700_000..=800_000).contains(&loads[0]) && loads.len() == 2, "{loads:?}");
    assert!(after.deviation_ppm <= 100_000, "{}", after.deviation_ppm);
}

#[tokio::test]
async fn constraints_that_cannot_be_kept_together_name_a_process() {
    let store = Store::new();
    let mut spec = chain(4, policy(2));
    for (at, zone, group) in [(0, "a", None), (1, "b", Some("g")), (2, "b", Some("g"))] {
        spec.processes[at].requires.insert("zone".into(), zone.into());
        spec.processes[at].anti_affinity = group.map(name);
    }
    let refused = rejected(store.apply("net", spec.clone()).await);
    assert_eq!(
        (refused.reason, refused.field.as_str()),
        (Reason::InvalidField, "policy.partitions")
    );
    assert!(refused.rule.contains("no partition was found for process"), "{}", refused.rule);
    spec.policy.partitions = 3;
    store.apply("net", spec).await.unwrap();
}

#[tokio::test]
async fn the_numbers_of_a_plan_are_those_of_what_it_makes() {
    let store = Store::new();
    let mut spec = chain(9, dealt(4));
    spec.connections.push(ProcessEdge { from: name("p008"), to: name("p000"), rate: 5 });
    spec.connections.push(ProcessEdge { from: name("p000"), to: name("p000"), rate: 3 });
    let AppliedNetwork::Committed { numbers, .. } = store.apply("net", spec).await.unwrap() else {
        panic!("nothing was committed")
    };
    assert_eq!(Some(&numbers), summary(&store.state(), &name("net")).as_ref());
    assert_eq!(summaries(&store.state()), std::slice::from_ref(&numbers));
    let connections = KeyRange::Prefix(Kind::Connection, "".into());
    let stored = store.state().range(&connections).count();
    assert_eq!(usize::try_from(numbers.connections).unwrap(), stored);
    assert_eq!((numbers.total_rate, numbers.edges, numbers.processes), (88, 10, 9));
    // p008 and p000 share partition 0, everything else crosses.
    assert_eq!(numbers.cut_rate, 80);
}

#[tokio::test]
async fn networks_whose_names_begin_alike_are_counted_apart() {
    let store = Store::new();
    for network in ["a", "a-b", "a.b", "ab"] {
        store.apply(network, chain(4, dealt(2))).await.unwrap();
    }
    let all = summaries(&store.state());
    let names: BTreeSet<_> = all.iter().map(|numbers| numbers.name.to_string()).collect();
    assert_eq!(names.len(), 4);
    // A chain dealt to two partitions crosses there and back.
    assert!(all.iter().all(|numbers| numbers.connections == 2 && numbers.cut_rate == 30));
    assert_eq!(summary(&store.state(), &name("none")), None);
}

#[tokio::test]
async fn what_breaks_a_rule_is_rejected_before_it_is_proposed() {
    let store = Store::new();
    let too_many = rejected(store.apply("net", chain(3, policy(4))).await);
    assert_eq!(
        (too_many.reason, too_many.field.as_str()),
        (Reason::InvalidField, "policy.partitions")
    );
    let empty = rejected(store.apply("net", chain(0, policy(0))).await);
    assert_eq!(empty.field, "processes");
    let mut psychic = chain(3, policy(1));
    psychic.policy.strategy = name("psychic");
    let unknown = rejected(store.apply("net", psychic).await);
    assert_eq!(unknown.field, "policy.strategy");
    assert!(
        unknown.message.contains("known: load-based, multilevel, round-robin"),
        "{}",
        unknown.message
    );
    let mut ghost = chain(3, policy(1));
    ghost.connections[1].to = name("ghost");
    assert_eq!(rejected(store.apply("net", ghost).await).field, "connections[1].to");
    assert_eq!(store.state().revision(), Revision(0));
}

/// Applies to a store in which somebody else changes the network right before the first
/// `interruptions` proposals. Returns also how many proposals there were.
async fn against(
    interruptions: usize,
) -> (Store, usize, Result<AppliedNetwork, ApplyError<Infallible>>) {
    let store = Store::new();
    let proposals = Mutex::new(0);
    let read = || ready(Ok(store.view()));
    let propose = |command: Command| {
        let mut proposals = proposals.lock().unwrap();
        if *proposals < interruptions {
            let other = chain(10 + *proposals, policy(2));
            let planned =
                plan_apply(&store.state(), &Strategies::builtin(), &name("net"), other).unwrap();
            let Planned::Change(other, _) = planned else { panic!("nothing to do") };
            store.commit(&other).outcome.result.unwrap();
        }
        *proposals += 1;
        ready(Ok(store.commit(&command)))
    };
    let spec = chain(3, policy(3));
    let planner = planner(Strategies::builtin());
    let applied = apply_network(&planner, wanted("net", spec), read, propose).await;
    let proposals = *proposals.lock().unwrap();
    (store, proposals, applied)
}

#[tokio::test]
async fn a_stale_plan_is_made_again() {
    for interruptions in 0..PLANS_MAX {
        let (store, proposals, applied) = against(interruptions).await;
        assert_eq!(proposals, interruptions + 1);
        let expected =
            if interruptions == 0 { ApplyOutcome::Created } else { ApplyOutcome::Updated };
        let generation = interruptions as u64 + 1;
        assert_eq!(outcome(&applied.unwrap()), (expected, generation));
        assert_eq!(store.partitions("net").len(), 3);
        let numbers = summary(&store.state(), &name("net")).unwrap();
        assert_eq!(numbers.generation, Generation(generation));
    }
}

#[tokio::test]
async fn planning_again_has_an_end() {
    let (store, proposals, applied) = against(usize::MAX).await;
    assert_eq!(proposals, PLANS_MAX);
    assert_eq!(rejected(applied).reason, Reason::StalePlan);
    let stored = store.state().get(&Key::network(&name("net"))).unwrap().value.clone();
    assert!(matches!(stored, Record::Network(network) if network.spec.processes.len() > 3));
}

#[tokio::test]
async fn no_answer_is_passed_on_as_it_is() {
    let store = Store::new();
    let planner = planner(Strategies::builtin());
    let read = || ready(Err::<Arc<View>, _>("no quorum"));
    let propose = |_: Command| ready(Err::<Committed, _>("unreachable"));
    let wanted = || wanted("net", chain(3, policy(1)));
    let unread = apply_network(&planner, wanted(), read, propose).await;
    assert_eq!(unread.unwrap_err(), ApplyError::Unanswered("no quorum"));
    let read = || ready(Ok(store.view()));
    let unsent = apply_network(&planner, wanted(), read, propose).await;
    assert_eq!(unsent.unwrap_err(), ApplyError::Unanswered("unreachable"));
}

/// An embedder's strategy with a bug.
struct Panics;

impl BalanceStrategy for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn assign(&self, _: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_strategy_that_panics_changes_nothing() {
    let store = Store::new();
    let mut strategies = Strategies::builtin();
    strategies.register(Arc::new(Panics)).unwrap();
    let read = || ready(Ok::<_, Infallible>(store.view()));
    let propose = |command: Command| ready(Ok(store.commit(&command)));
    let spec = chain(
        3,
        PartitionPolicy { partitions: 2, strategy: name("panics"), ..PartitionPolicy::default() },
    );
    let applied = apply_network(&planner(strategies), wanted("net", spec), read, propose).await;
    assert_eq!(applied.unwrap_err(), ApplyError::NoPlan(NoPlan::Panicked));
    assert_eq!(store.state().revision(), Revision(0));
}

#[test]
fn a_plan_says_which_process_keeps_loads_apart() {
    let store = Store::new();
    let limited = |large: u64, partitions: u32| {
        let mut spec = chain(40, policy(partitions));
        spec.processes[7].needs = [(name(Resources::CPU_MILLIS), large)].into_iter().collect();
        let run = dry_run(&store.state(), &Strategies::builtin(), &name("net"), spec, None);
        run.unwrap().plan.after.limited.map(|it| (it.process.to_string(), it.share_ppm))
    };
    assert_eq!(limited(100, 4), None, "all are small");
    assert_eq!(limited(500, 4), None, "large, and loads are even all the same");
    let (process, share_ppm) = limited(9_000, 4).unwrap();
    // 9,000 of 12,900 in four partitions.
    assert_eq!((process.as_str(), share_ppm / 10_000), ("p007", 279));
}

/// What crosses partitions of the old edges.
fn crossing(spec: &NetworkSpec, layout: &Layout) -> i64 {
    let place = |id: &Name| layout.partitions.iter().position(|it| it.processes.contains(id));
    let ends = spec.connections.iter().map(|e| (place(&e.from), place(&e.to), e.rate));
    let rates = ends.filter(|(from, to, _)| from != to).map(|(.., rate)| rate);
    i64::try_from(rates.sum::<u64>()).unwrap()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever moves, and whoever moves together.
    #[test]
    fn gains_add_up_to_what_does_not_cross_any_more(
        partitions in 1_u32..6,
        then in 1_u32..6,
        pairs in proptest::collection::btree_map((0_usize..12, 0_usize..12), 1_u64..100, 0..30),
    ) {
        let store = Store::new();
        let edge = |((from, to), rate): (&(usize, usize), &u64)| ProcessEdge {
            from: name(&format!("p{from:03}")),
            to: name(&format!("p{to:03}")),
            rate: *rate,
        };
        let spec = |partitions, strategy: &str| NetworkSpec {
            connections: pairs.iter().map(edge).collect(),
            ..chain(12, PartitionPolicy { strategy: name(strategy), ..policy(partitions) })
        };
        let planned = plan_apply(
            &store.state(),
            &Strategies::builtin(),
            &name("net"),
            spec(partitions, "round-robin"),
        );
        let Ok(Planned::Change(command, _)) = planned else { panic!("{planned:?}") };
        store.commit(&command).outcome.result.unwrap();
        let to = spec(then, "load-based");
        let run = dry_run(&store.state(), &Strategies::builtin(), &name("net"), to.clone(), None);
        let plan = run.unwrap().plan;
        let gains: i64 = plan.moves.iter().map(|one| one.gain).sum();
        proptest::prop_assert_eq!(gains, crossing(&to, &plan.before) - crossing(&to, &plan.after));
    }
}
