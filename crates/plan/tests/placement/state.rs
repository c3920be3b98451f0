//! Placement in states: what is read of them, what grants keep to, and what plans rely on.

use std::collections::BTreeMap;

use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Identity, Key, Name, NetworkSpec, Operation, Owner,
    PartitionId, PartitionPolicy, Process, Record, RegisterWorker, Reply, Resources, RestoreEpoch,
    SessionId, Stamp, State, Term, Transaction, apply, plan::Plan,
};
use quorate_plan::cluster::{BalancePolicy, Candidate, ClusterView, Moves, Wish, place, rebalance};

use crate::support::name;

fn run(state: &mut State, command: &Command) -> Reply {
    let applied = apply(state, Stamp { time_ms: 1, term: Term(1) }, command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.unwrap()
}

fn empty() -> State {
    State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) })
}

fn cpu(amount: u64) -> Resources {
    [(name("cpu_millis"), amount)].into_iter().collect()
}

fn worker(state: &mut State, text: &str, capacity: u64) -> SessionId {
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Reply::OpenSession { id: session, .. } = run(state, &open) else { panic!("no session") };
    let register = RegisterWorker {
        name: name(text),
        session,
        address: "127.0.0.1:1".into(),
        capacity: cpu(capacity),
        labels: BTreeMap::new(),
    };
    assert_eq!(run(state, &Command::RegisterWorker(register)), Reply::Done);
    session
}

/// A network whose processes need so much, each a partition of its own.
fn network(state: &mut State, text: &str, needs: &[u64]) {
    let process = |(at, need): (usize, &u64)| Process {
        needs: cpu(*need),
        ..Process::new(name(&format!("p{at:03}")), "test")
    };
    let partitions = u32::try_from(needs.len()).unwrap();
    let policy =
        PartitionPolicy { partitions, strategy: name("round-robin"), ..PartitionPolicy::default() };
    let processes = needs.iter().enumerate().map(process).collect();
    let spec =
        NetworkSpec { processes, connections: Vec::new(), policy, connection: Default::default() };
    let basis = state.get(&Key::network(&name(text))).map(|record| record.modified);
    let apply =
        ApplyNetwork { name: name(text), spec, assignment: (0..partitions).collect(), basis };
    run(state, &Command::ApplyNetwork(apply));
}

fn id(network: &str, index: u32) -> PartitionId {
    PartitionId { network: name(network), index }
}

fn assign(state: &mut State, partition: PartitionId, worker: &str, session: SessionId) {
    let grants = vec![Grant { partition, owner: Owner { worker: name(worker), session } }];
    let reply = run(state, &Command::AssignPartitions { grants });
    assert_eq!(reply, Reply::Changed { changed: 1 });
}

fn set(state: &mut State, text: &str, value: &str) {
    let (key, record) = (Key::setting(&name(text)), Record::Setting(value.into()));
    let put = Operation::Put { key, record, return_previous: false };
    run(state, &Command::Transaction(Transaction { success: vec![put], ..Transaction::default() }));
}

fn all(network: &str, partitions: u32) -> BTreeMap<PartitionId, Wish> {
    (0..partitions).map(|index| (id(network, index), Wish::default())).collect()
}

fn of_worker<'a>(grants: &'a [Grant], text: &str) -> Vec<&'a Grant> {
    grants.iter().filter(|grant| grant.owner.worker.as_str() == text).collect()
}

#[test]
fn grants_are_as_large_as_sessions_have_room_for() {
    let mut state = empty();
    let sessions =
        [("a", worker(&mut state, "a", 0)), ("much-longer", worker(&mut state, "much-longer", 0))];
    network(&mut state, "n", &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    let bytes = |worker: &str, session| {
        let owner = Owner { worker: name(worker), session };
        state.bytes_of_grant(&Grant { partition: id("n", 0), owner })
    };
    for (rooms, granted) in [([3, 2], [3, 2]), ([0, 2], [0, 2]), ([100, 0], [10, 0])] {
        let candidates = sessions.iter().zip(rooms).map(|((worker, session), room)| {
            let bytes_left = room * bytes(worker, *session);
            (name(worker), Candidate { session: *session, owned: 0, room: 100, bytes_left })
        });
        let candidates: BTreeMap<_, _> = candidates.collect();
        let grants = place(&state, &all("n", 10), &candidates).unwrap();
        let counts = ["a", "much-longer"].map(|worker| of_worker(&grants, worker).len());
        assert_eq!(counts, granted);
        for (worker, candidate) in &candidates {
            let grants = of_worker(&grants, worker.as_str());
            let bytes: u64 = grants.into_iter().map(|grant| state.bytes_of_grant(grant)).sum();
            assert!(bytes <= candidate.bytes_left, "{bytes} bytes for {worker}");
        }
    }
    // A byte less is a grant less.
    let (worker, session) = sessions[1];
    let bytes_left = 3 * bytes(worker, session) - 1;
    let candidate = Candidate { session, owned: 0, room: 100, bytes_left };
    let candidates = [(name(worker), candidate)].into_iter().collect();
    assert_eq!(place(&state, &all("n", 10), &candidates).unwrap().len(), 2);
}

#[test]
fn grants_keep_to_room_in_number_and_to_what_workers_give() {
    let mut state = empty();
    let (a, b) = (worker(&mut state, "a", 10), worker(&mut state, "b", 100));
    network(&mut state, "n", &[6, 6, 6, 6, 200]);
    let candidate = |session, room| Candidate { session, owned: 0, room, bytes_left: u64::MAX };
    let candidates = [(name("a"), candidate(a, 9)), (name("b"), candidate(b, 2))];
    let candidates: BTreeMap<_, _> = candidates.into_iter().collect();
    let grants = place(&state, &all("n", 5), &candidates).unwrap();
    assert_eq!(["a", "b"].map(|worker| of_worker(&grants, worker).len()), [1, 2]);
}

type Sessions = BTreeMap<&'static str, SessionId>;

/// Two workers, of which b is to get what waits.
fn planned() -> (State, Sessions) {
    let mut state = empty();
    let (a, b) = (worker(&mut state, "a", 10), worker(&mut state, "b", 100));
    network(&mut state, "n", &[6, 20, 1]);
    network(&mut state, "m", &[1, 1]);
    for (id, worker, session) in
        [(id("n", 0), "a", a), (id("n", 2), "a", a), (id("m", 0), "b", b), (id("m", 1), "a", a)]
    {
        assign(&mut state, id, worker, session);
    }
    (state, [("a", a), ("b", b)].into_iter().collect())
}

fn plan_of(state: &State) -> Plan {
    let policy = BalancePolicy { moves: Moves::Grants, ..BalancePolicy::default() };
    rebalance(&ClusterView::of(state).unwrap(), &policy)
}

#[test]
fn a_basis_names_what_makes_its_moves_possible() {
    let (mut state, _) = planned();
    let plan = plan_of(&state);
    let moves: Vec<_> = plan.moves().map(|it| (it.partition.clone(), it.to.clone())).collect();
    assert_eq!(moves, [(id("n", 1), name("b"))]);
    let keys: Vec<String> = plan.basis.records.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["worker b", "network n", "partition n/1", "setting worker_partitions_max"]);
    let targets: Vec<_> =
        plan.basis.targets.iter().map(|it| (it.worker.as_str(), it.partitions)).collect();
    assert_eq!(targets, [("b", 1)]);
    assert_eq!(plan.basis.changed(&state), None);
    // What is elsewhere has nothing to do with it.
    drain(&mut state, "a");
    network(&mut state, "o", &[1]);
    assert_eq!(plan.basis.changed(&state), None);
}

#[test]
fn a_plan_is_stale_when_anything_it_relied_on_has_changed() {
    type Change = fn(&mut State, &Sessions);
    let on_b = || Key::worker(&name("b"));
    let changes: [(&str, Change, Key); 8] = [
        ("the target is drained", |state, _| drain(state, "b"), on_b()),
        ("one comes to the target", comes, on_b()),
        ("one of the target leaves", |state, _| release(state, id("m", 0)), on_b()),
        ("one of the target needs more", |state, _| network(state, "m", &[99, 1]), on_b()),
        ("one is on its way to the target", |state, _| send(state, id("n", 0), Some("b")), on_b()),
        (
            "what moves has a worker",
            |state, of| assign(state, id("n", 1), "b", of["b"]),
            Key::partition(&id("n", 1)),
        ),
        (
            "the network is another",
            |state, _| network(state, "n", &[6, 20, 1, 1]),
            Key::network(&name("n")),
        ),
        (
            "workers may have less",
            |state, _| set(state, "worker_partitions_max", "1"),
            Key::setting(&name("worker_partitions_max")),
        ),
    ];
    for (what, change, key) in changes {
        let (mut state, sessions) = planned();
        let plan = plan_of(&state);
        assert!(plan.moves().any(|it| it.partition == id("n", 1)), "{what}");
        change(&mut state, &sessions);
        assert_eq!(plan.basis.changed(&state), Some(key), "{what}");
    }
}

fn drain(state: &mut State, worker: &str) {
    run(state, &Command::DrainWorker { name: name(worker), drain: true });
}

fn comes(state: &mut State, sessions: &Sessions) {
    release(state, id("m", 1));
    assign(state, id("m", 1), "b", sessions["b"]);
}

fn send(state: &mut State, id: PartitionId, to: Option<&str>) {
    run(
        state,
        &Command::MovePartitions { moves: vec![(id, to.map(name))], basis: Default::default() },
    );
}

fn release(state: &mut State, id: PartitionId) {
    let epoch = state.partition(&id).unwrap().epoch.unwrap();
    send(state, id.clone(), None);
    run(state, &Command::ReleasePartition { id, epoch });
}

#[test]
fn what_nobody_has_goes_to_its_target() {
    let mut state = empty();
    worker(&mut state, "a", 100);
    worker(&mut state, "b", 100);
    network(&mut state, "n", &[1]);
    send(&mut state, id("n", 0), Some("b"));
    let plan = plan_of(&state);
    let to: Vec<&Name> = plan.moves().map(|it| &it.to).collect();
    assert_eq!(to, [&name("b")]);
}
