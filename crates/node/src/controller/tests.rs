//! The ledger follows what a look at everything finds, and its grants end where they should.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Identity, Name, NetworkSpec, Operation, Owner,
    PartitionId, PartitionPolicy, Process, Record, RegisterWorker, Reply, Resources, RestoreEpoch,
    SessionId, Stamp, State, Term, Transaction, apply,
};

use super::ledger::Ledger;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn empty() -> State {
    State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) })
}

fn run(state: &mut State, command: &Command) -> Option<Reply> {
    let applied = apply(state, Stamp { time_ms: 1, term: Term(1) }, command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.ok()
}

fn open(state: &mut State) -> SessionId {
    match run(state, &Command::OpenSession { ttl_ms: 5_000, label: "".into() }) {
        Some(Reply::OpenSession { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

fn register(name: &Name, session: SessionId) -> Command {
    labeled(name, session, &[])
}

fn labeled(name: &Name, session: SessionId, labels: &[(&str, &str)]) -> Command {
    let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Command::RegisterWorker(RegisterWorker {
        name: name.clone(),
        session,
        address: "127.0.0.1:1".into(),
        capacity: Resources::default(),
        labels: labels.iter().map(label).collect(),
    })
}

fn worker(state: &mut State, text: &str) -> SessionId {
    let session = open(state);
    assert_eq!(run(state, &register(&name(text), session)), Some(Reply::Done));
    session
}

/// A network with so many processes, each a partition of its own.
fn network(state: &State, partitions: u32) -> Command {
    let process = |number| Process::new(name(&format!("p{number:03}")), "test");
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
    let basis = state.get(&quorate_core::Key::network(&name("net"))).map(|it| it.modified);
    let assignment = (0..partitions).collect();
    Command::ApplyNetwork(ApplyNetwork { name: name("net"), spec, assignment, basis })
}

fn apply_network(state: &mut State, partitions: u32) {
    let command = network(state, partitions);
    run(state, &command).unwrap();
}

fn set(text: &str, value: &str) -> Command {
    let record = Record::Setting(value.into());
    let key = quorate_core::Key::setting(&name(text));
    let put = Operation::Put { key, record, return_previous: false };
    Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

/// Grants until there is nothing to grant. How many commands that took.
fn settle(state: &mut State, ledger: &mut Ledger, max: usize) -> usize {
    for commands in 0.. {
        ledger.follow(state);
        let mut grants = ledger.grants(state);
        grants.truncate(max);
        if grants.is_empty() {
            return commands;
        }
        let changed = u32::try_from(grants.len()).unwrap();
        let reply = run(state, &Command::AssignPartitions { grants });
        assert_eq!(reply, Some(Reply::Changed { changed }), "every grant fits");
    }
    unreachable!("grants end")
}

/// How many partitions each worker owns, and how many nobody.
fn owners(state: &State) -> BTreeMap<String, usize> {
    let all = quorate_core::KeyRange::Prefix(quorate_core::Kind::Partition, bytes::Bytes::new());
    let mut owners = BTreeMap::new();
    for (_, record) in state.range(&all) {
        let Record::Partition(partition) = &record.value else { panic!("{record:?}") };
        let owner = partition.owner.as_ref().map_or("-", |owner| owner.worker.as_str());
        *owners.entry(owner.to_owned()).or_default() += 1;
    }
    owners
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn partitions_are_dealt_evenly_in_bounded_commands() {
    let mut state = empty();
    let mut ledger = Ledger::of(&state);
    worker(&mut state, "a");
    worker(&mut state, "b");
    apply_network(&mut state, 10);
    assert_eq!(settle(&mut state, &mut ledger, 4), 3);
    assert_eq!(owners(&state), counts([("a", 5), ("b", 5)]));
    // One that registers later gets what comes then: nothing is moved.
    worker(&mut state, "c");
    apply_network(&mut state, 13);
    settle(&mut state, &mut ledger, 4);
    assert_eq!(owners(&state), counts([("a", 5), ("b", 5), ("c", 3)]));
}

#[test]
fn a_partition_goes_only_to_a_worker_with_the_labels_that_it_requires() {
    let mut state = empty();
    let mut ledger = Ledger::of(&state);
    let Command::ApplyNetwork(mut network) = network(&state, 6) else { panic!("a network") };
    for process in &mut network.spec.processes[..4] {
        process.requires.insert("zone".into(), "a".into());
    }
    run(&mut state, &Command::ApplyNetwork(network)).unwrap();
    worker(&mut state, "none");
    let other = open(&mut state);
    run(&mut state, &labeled(&name("other"), other, &[("zone", "b")])).unwrap();
    settle(&mut state, &mut ledger, 100);
    assert_eq!(owners(&state), counts([("-", 4), ("none", 1), ("other", 1)]));
    // One that comes with the label gets them, and one that gets the label later would, too.
    run(&mut state, &labeled(&name("other"), other, &[("zone", "a"), ("disk", "ssd")])).unwrap();
    settle(&mut state, &mut ledger, 100);
    assert_eq!(owners(&state), counts([("none", 1), ("other", 5)]));
    for index in 0..4 {
        let partition = state.partition(&id(index)).unwrap();
        assert_eq!(partition.owner.as_ref().unwrap().worker, name("other"));
    }
}

#[test]
fn limits_of_workers_and_sessions_hold() {
    let mut state = empty();
    let mut ledger = Ledger::of(&state);
    run(&mut state, &set("worker_partitions_max", "3")).unwrap();
    run(&mut state, &set("session_records_max", "3")).unwrap();
    run(&mut state, &set("command_changes_max", "21")).unwrap();
    worker(&mut state, "a");
    apply_network(&mut state, 10);
    settle(&mut state, &mut ledger, 100);
    // The worker's own record is one of the three.
    assert_eq!(owners(&state), counts([("a", 2), ("-", 8)]));
    run(&mut state, &set("session_records_max", "100")).unwrap();
    settle(&mut state, &mut ledger, 100);
    assert_eq!(owners(&state), counts([("a", 3), ("-", 7)]));
}

#[test]
fn bytes_of_sessions_hold_and_others_take_what_does_not_fit() {
    let mut state = empty();
    let mut ledger = Ledger::of(&state);
    worker(&mut state, "a");
    apply_network(&mut state, 10);
    let session = state.worker(&name("a")).unwrap().session.unwrap();
    let owner = Owner { worker: name("a"), session };
    let each = state.bytes_of_grant(&Grant { partition: id(0), owner });
    let room = state.bytes_bound_to(session) + 3 * each;
    run(&mut state, &set("session_record_bytes_max", &room.to_string())).unwrap();
    settle(&mut state, &mut ledger, 100);
    assert_eq!(owners(&state), counts([("a", 3), ("-", 7)]));
    assert_eq!(state.bytes_bound_to(session), room);
    worker(&mut state, "b");
    settle(&mut state, &mut ledger, 100);
    assert_eq!(owners(&state), counts([("a", 3), ("b", 3), ("-", 4)]));
}

#[test]
fn a_partition_that_is_moved_to_anybody_goes_to_another() {
    let mut state = empty();
    let mut ledger = Ledger::of(&state);
    worker(&mut state, "a");
    apply_network(&mut state, 1);
    settle(&mut state, &mut ledger, 100);
    worker(&mut state, "b");
    let epoch = |state: &State| state.partition(&id(0)).unwrap().epoch.unwrap();
    for (target, owner) in [(None, "b"), (None, "a"), (Some(name("a")), "a")] {
        run(
            &mut state,
            &Command::MovePartitions { moves: vec![(id(0), target)], basis: Default::default() },
        )
        .unwrap();
        ledger.follow(&state);
        assert_eq!(ledger.grants(&state), [], "not before it is released");
        let release = Command::ReleasePartition { id: id(0), epoch: epoch(&state) };
        run(&mut state, &release);
        settle(&mut state, &mut ledger, 100);
        assert_eq!(owners(&state), counts([(owner, 1)]));
    }
}

#[test]
fn a_history_that_is_gone_is_no_obstacle() {
    let mut state = empty();
    let mut ledger = Ledger::of(&state);
    run(&mut state, &set("history_bytes_max", "0")).unwrap();
    worker(&mut state, "a");
    apply_network(&mut state, 3);
    assert!(state.history().len() < 2);
    settle(&mut state, &mut ledger, 100);
    assert_eq!(owners(&state), counts([("a", 3)]));
}

/// A step of a random story; numbers are reduced to what there is.
#[derive(Debug, Clone)]
enum Step {
    Register(u8),
    End(u8),
    Drain(u8, bool),
    Leave(u8),
    Apply(u8),
    Delete,
    Move(u8, Option<u8>),
    Release(u8),
    Settle(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..4).prop_map(Step::Register),
        1 => (0u8..4).prop_map(Step::End),
        1 => (0u8..4, any::<bool>()).prop_map(|(worker, drain)| Step::Drain(worker, drain)),
        1 => (0u8..4).prop_map(Step::Leave),
        2 => (1u8..12).prop_map(Step::Apply),
        1 => Just(Step::Delete),
        2 => (0u8..12, proptest::option::of(0u8..4)).prop_map(|(id, to)| Step::Move(id, to)),
        2 => (0u8..12).prop_map(Step::Release),
        2 => (1u8..5).prop_map(Step::Settle),
    ]
}

fn take(state: &mut State, ledger: &mut Ledger, step: Step) {
    let worker = |number: u8| name(&format!("w{number}"));
    let session = |state: &State, number| state.worker(&worker(number)).and_then(|it| it.session);
    let command = match step {
        Step::Register(number) => {
            let session = session(state, number).unwrap_or_else(|| open(state));
            register(&worker(number), session)
        }
        Step::End(number) => match session(state, number) {
            Some(id) => Command::CloseSession { id },
            None => return,
        },
        Step::Drain(number, drain) => Command::DrainWorker { name: worker(number), drain },
        Step::Leave(number) => {
            Command::LeaveWorker { name: worker(number), session: session(state, number) }
        }
        Step::Apply(partitions) => network(state, partitions.into()),
        Step::Delete => Command::DeleteNetwork { name: name("net") },
        Step::Move(index, to) => Command::MovePartitions {
            moves: vec![(id(index.into()), to.map(worker))],
            basis: Default::default(),
        },
        Step::Release(index) => {
            let partition = state.partition(&id(index.into()));
            let epoch = partition.and_then(|it| it.epoch).unwrap_or_default();
            Command::ReleasePartition { id: id(index.into()), epoch }
        }
        Step::Settle(max) => {
            settle(state, ledger, max.into());
            return;
        }
    };
    run(state, &command);
}

proptest! {
    #[test]
    fn following_finds_what_a_full_look_finds(steps in prop::collection::vec(step(), 1..60)) {
        let mut state = empty();
        let mut ledger = Ledger::of(&state);
        for step in steps {
            take(&mut state, &mut ledger, step);
            ledger.follow(&state);
            ledger.forget_hints();
            prop_assert_eq!(&ledger, &Ledger::of(&state));
        }
        settle(&mut state, &mut ledger, 1_000);
        let waits = owners(&state).contains_key("-");
        prop_assert!(!waits || !ledger.has_takers());
    }
}

/// What a worker still runs takes its room, though it is to be released or its network has it no more.
#[test]
fn what_is_to_be_released_still_takes_room() {
    let mut state = empty();
    let mut ledger = Ledger::of(&state);
    run(&mut state, &set("worker_partitions_max", "4")).unwrap();
    worker(&mut state, "a");
    apply_network(&mut state, 4);
    settle(&mut state, &mut ledger, 100);
    worker(&mut state, "b");
    let moves = vec![(id(0), Some(name("b")))];
    run(&mut state, &Command::MovePartitions { moves, basis: Default::default() }).unwrap();
    apply_network(&mut state, 3);
    apply_network(&mut state, 12);
    settle(&mut state, &mut ledger, 100);
    let owners = owners(&state);
    assert_eq!(owners["a"], 4, "{owners:?}");
    assert_eq!(owners["b"], 4, "{owners:?}");
}
