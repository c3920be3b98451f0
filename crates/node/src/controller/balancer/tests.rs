//! What the balancer decides, state by state; and that balancing ends.

mod drift;

use std::collections::BTreeMap;

use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Identity, Kind, Load, LoadId, Name, NetworkSpec,
    Operation, Owner, PartitionId, PartitionPolicy, PartitionState, Process, Record,
    RegisterWorker, Reply, Resources, RestoreEpoch, SessionId, Stamp, State, Term, Transaction,
    apply,
};

use super::{
    decide::{Asked, Decision, Held, Why, decide, plan_now},
    is_unchanged, reason,
};

const NOW: u64 = 100_000_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

fn run_at(state: &mut State, time_ms: u64, command: &Command) -> Reply {
    let applied = apply(state, Stamp { time_ms, term: Term(1) }, command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.unwrap()
}

fn run(state: &mut State, command: &Command) -> Reply {
    run_at(state, NOW, command)
}

fn worker(state: &mut State, text: &str, cpu_millis: u64) -> SessionId {
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Reply::OpenSession { id: session, .. } = run(state, &open) else { panic!("not opened") };
    let cpu = name(Resources::CPU_MILLIS);
    let register = RegisterWorker {
        name: name(text),
        session,
        address: "127.0.0.1:1".into(),
        capacity: [(cpu, cpu_millis)].into_iter().collect(),
        labels: BTreeMap::new(),
    };
    run(state, &Command::RegisterWorker(register));
    session
}

/// A network of so many partitions, each of one process that needs a CPU.
fn network(state: &mut State, partitions: u32) {
    let process = |number| Process {
        needs: [(name(Resources::CPU_MILLIS), 1_000)].into_iter().collect(),
        ..Process::new(name(&format!("p{number:03}")), "test")
    };
    let spec = NetworkSpec {
        processes: (0..partitions).map(process).collect(),
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions,
            strategy: name("round-robin"),
            ..PartitionPolicy::default()
        },
        connection: Default::default(),
    };
    let assignment = (0..partitions).collect();
    let command = ApplyNetwork { name: name("net"), spec, assignment, basis: None };
    run(state, &Command::ApplyNetwork(command));
}

fn grant(state: &mut State, time_ms: u64, partitions: impl Iterator<Item = u32>, owner: &Owner) {
    let grant = |index| Grant { partition: id(index), owner: owner.clone() };
    let grants: Vec<Grant> = partitions.map(grant).collect();
    let changed = u32::try_from(grants.len()).unwrap();
    let reply = run_at(state, time_ms, &Command::AssignPartitions { grants });
    assert_eq!(reply, Reply::Changed { changed });
}

fn set(state: &mut State, text: &str, value: u64) {
    let record = Record::Setting(value.to_string().into());
    let key = quorate_core::Key::setting(&name(text));
    let put = Operation::Put { key, record, return_previous: false };
    run(state, &Command::Transaction(Transaction { success: vec![put], ..Transaction::default() }));
}

/// All partitions on one worker, granted long ago, and another one that has nothing.
fn lopsided(partitions: u32) -> (State, BTreeMap<Name, SessionId>) {
    let mut state =
        State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) });
    let old = worker(&mut state, "old", 1_000_000);
    network(&mut state, partitions);
    let owner = Owner { worker: name("old"), session: old };
    grant(&mut state, NOW, 0..partitions, &owner);
    let new = worker(&mut state, "new", 1_000_000);
    (state, [(name("old"), old), (name("new"), new)].into())
}

/// The worker that has everything gives less from now on.
fn shrink(state: &mut State, session: SessionId, cpu_millis: u64) {
    let register = RegisterWorker {
        name: name("old"),
        session,
        address: "127.0.0.1:1".into(),
        capacity: [(name(Resources::CPU_MILLIS), cpu_millis)].into_iter().collect(),
        labels: BTreeMap::new(),
    };
    run(state, &Command::RegisterWorker(register));
}

fn later(state: &State) -> u64 {
    NOW + state.settings().balance_cooldown_ms
}

fn asked(decision: Decision) -> Asked {
    match decision {
        Decision::Ask(asked) => asked,
        Decision::Held(held) => panic!("held: {held:?}"),
    }
}

#[test]
fn settings_hold_it_back() {
    let (mut state, _) = lopsided(10);
    let then = later(&state);
    assert_eq!(asked(decide(&state, then).unwrap()).moves.len(), 1, "one of ten at a time");
    set(&mut state, "balance_enabled", 0);
    assert_eq!(decide(&state, then).unwrap(), Decision::Held(Held::Disabled));
    set(&mut state, "maintenance", 1);
    assert_eq!(decide(&state, then).unwrap(), Decision::Held(Held::Maintenance));
    set(&mut state, "balance_enabled", 1);
    assert_eq!(decide(&state, then).unwrap(), Decision::Held(Held::Maintenance));
}

#[test]
fn what_was_granted_lately_stays() {
    let (state, _) = lopsided(10);
    let then = later(&state);
    let resting = asked(decide(&state, then - 1).unwrap());
    assert_eq!((resting.moves.len(), resting.resting), (0, 10));
    let free = asked(decide(&state, then).unwrap());
    assert_eq!((free.moves.len(), free.resting), (1, 0));
    assert_eq!(free.moves[0].1, name("new"));
    assert_eq!(free.moves[0].2, Why::Balance);
    // Granted by a clock that was far ahead: long ago, for all that is known.
    let behind = NOW - state.settings().balance_cooldown_ms;
    assert_eq!(asked(decide(&state, behind).unwrap()).moves.len(), 1);
    assert_eq!(asked(decide(&state, behind + 1).unwrap()).moves.len(), 0);
}

#[test]
fn what_is_on_its_way_counts() {
    let (mut state, sessions) = lopsided(100);
    let then = later(&state);
    let first = asked(decide(&state, then).unwrap());
    assert_eq!(first.moves.len(), 5, "5% of 100");
    let moves = first.moves.iter().take(3).map(|(id, to, _)| (id.clone(), Some(to.clone())));
    let command = Command::MovePartitions { moves: moves.collect(), basis: first.basis };
    assert_eq!(run(&mut state, &command), Reply::Changed { changed: 3 });
    let second = asked(decide(&state, then).unwrap());
    assert_eq!(second.moves.len(), 2);
    assert!(second.moves.iter().all(|(id, ..)| first.moves.iter().take(3).all(|m| m.0 != *id)));
    let moves = second.moves.iter().map(|(id, to, _)| (id.clone(), Some(to.clone()))).collect();
    run(&mut state, &Command::MovePartitions { moves, basis: second.basis });
    assert_eq!(decide(&state, then).unwrap(), Decision::Held(Held::UnderWay));
    // What must leave is asked for all the same.
    shrink(&mut state, sessions[&name("old")], 90_000);
    let needed = asked(decide(&state, then).unwrap());
    assert!(needed.moves.iter().all(|it| it.2 == Why::Overload) && !needed.moves.is_empty());
}

#[test]
fn an_overloaded_worker_is_relieved() {
    let (mut state, sessions) = lopsided(4);
    shrink(&mut state, sessions[&name("old")], 3_000);
    let asked = asked(decide(&state, later(&state)).unwrap());
    assert_eq!(asked.moves.iter().map(|it| it.2).next(), Some(Why::Overload));
}

/// Carries out what is decided until nothing is; how many moves there were.
fn settle(state: &mut State, sessions: &BTreeMap<Name, SessionId>) -> usize {
    let mut total = 0;
    for round in 1.. {
        assert!(round < 1_000, "it does not end");
        let now = later(state) * round;
        let Asked { moves, basis, .. } = asked(decide(state, now).unwrap());
        if moves.is_empty() {
            return total;
        }
        assert!(moves.len() <= 4.max(state.records_of(Kind::Partition).count() / 20));
        total += moves.len();
        let targets = moves.iter().map(|(id, to, _)| (id.clone(), Some(to.clone())));
        run(state, &Command::MovePartitions { moves: targets.collect(), basis });
        for (partition, to, _) in moves {
            let epoch = state.partition(&partition).unwrap().epoch.unwrap();
            run(state, &Command::ReleasePartition { id: partition.clone(), epoch });
            let owner = Owner { worker: to.clone(), session: sessions[&to] };
            grant(state, now, [partition.index].into_iter(), &owner);
        }
    }
    unreachable!("it ends or fails")
}

#[test]
fn a_lopsided_cluster_gets_even_and_then_stays_as_it_is() {
    let (mut state, sessions) = lopsided(40);
    let moved = settle(&mut state, &sessions);
    // Every move was needed: within the tolerance, not a move more.
    assert!((18..=20).contains(&moved), "{moved} moves");
    let mut owned: BTreeMap<Name, u64> = BTreeMap::new();
    for (_, record) in state.records_of(Kind::Partition) {
        let Record::Partition(partition) = &record.value else { panic!("{record:?}") };
        assert_eq!(partition.state, PartitionState::Assigned);
        *owned.entry(partition.owner.clone().unwrap().worker).or_default() += 1;
    }
    assert!(owned.values().all(|count| (18..=22).contains(count)), "{owned:?}");
    assert_eq!(settle(&mut state, &sessions), 0, "an even cluster stays");
}

/// The deviation of the workers' loads, parts per million.
fn deviation(state: &State) -> u64 {
    plan_now(state).unwrap().before.deviation_ppm
}

#[test]
fn loads_that_drift_apart_are_brought_together_within_the_budget() {
    let mut state =
        State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) });
    let workers = ["a", "b", "c", "d"];
    let sessions = workers.map(|text| (name(text), worker(&mut state, text, 100_000)));
    network(&mut state, 80);
    for (at, (worker, session)) in (0..).zip(&sessions) {
        let owner = Owner { worker: worker.clone(), session: *session };
        grant(&mut state, NOW, at * 20..(at + 1) * 20, &owner);
    }
    // What a has gets three times as busy as the rest.
    let load = |index: u32| {
        let load_ppm = if index < 20 { 900_000 } else { 300_000 };
        (LoadId::Partition(id(index)), Load { load_ppm })
    };
    run(&mut state, &Command::ReportLoads { loads: (0..80).map(load).collect() });
    assert!(deviation(&state) > 500_000, "{}", deviation(&state));
    let moved = settle(&mut state, &sessions.into());
    assert!(deviation(&state) < 100_000, "{}", deviation(&state));
    assert!(moved <= 12, "{moved} moves; ten busy ones leave a, or a few more idle ones come");
}

#[test]
fn a_write_that_concerns_no_partition_is_no_change() {
    let (mut state, _) = lopsided(2);
    let before = state.revision();
    let put = |key: &str| {
        let key = quorate_core::Key::entry(key.to_owned());
        let record = Record::Entry(bytes::Bytes::from_static(b"v").into());
        let put = Operation::Put { key, record, return_previous: false };
        Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
    };
    run(&mut state, &put("a"));
    assert!(is_unchanged(&state, before));
    set(&mut state, "maintenance", 0);
    assert!(!is_unchanged(&state, before));
    assert!(is_unchanged(&state, state.revision()));
}

#[test]
fn the_reason_counts_each_kind() {
    let moves = [(id(0), name("a"), Why::Balance), (id(1), name("a"), Why::Overload)];
    let more = [(id(2), name("a"), Why::Balance)];
    assert_eq!(reason(&[&moves[..], &more].concat()), "overload: 1, balance: 2");
}
