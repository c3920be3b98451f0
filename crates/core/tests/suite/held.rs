//! What one session, or one worker, may hold, and that its end is possible whatever the limits are.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use quorate_core::{
    Applied, ApplyNetwork, Change, Command, Entry, Grant, Key, Kind, LoadId, Name, NetworkSpec,
    Operation, Owner, PartitionId, PartitionPolicy, PartitionState, Process, ProcessEdge, Reason,
    Record, RegisterWorker, Rejection, Reply, Resources, SessionId, Stamp, State, Term,
    Transaction, WorkerState, apply, codec,
};

use crate::{
    generate::{IDENTITY, steps},
    sessions::TERM,
};

const MIB: usize = 1 << 20;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at() -> Stamp {
    Stamp { time_ms: 1, term: TERM }
}

fn run(state: &mut State, command: &Command) -> Applied {
    apply(state, at(), command)
}

fn done(state: &mut State, command: &Command) -> Reply {
    let reply = run(state, command).outcome.result.unwrap();
    assert_eq!(state.check(), Ok(()));
    reply
}

/// Rejected for this limit: gives the field and the rule.
fn over(applied: Applied) -> (String, String) {
    let Rejection { reason, field, rule, .. } = applied.outcome.result.unwrap_err();
    assert_eq!(reason, Reason::LimitExceeded);
    (field, rule)
}

fn limit(field: &str, rule: &str) -> (String, String) {
    (field.to_owned(), rule.to_owned())
}

fn write(operation: Operation) -> Command {
    Command::Transaction(Transaction { success: vec![operation], ..Transaction::default() })
}

fn set(setting: &str, value: u64) -> Command {
    let record = Record::Setting(Arc::from(value.to_string()));
    write(Operation::Put { key: Key::setting(&name(setting)), record, return_previous: false })
}

fn bind(key: &str, bytes: usize, session: SessionId) -> Command {
    let record = Record::Entry(Entry { value: vec![7; bytes].into(), session: Some(session) });
    let key = Key::entry(key.to_owned());
    write(Operation::Put { key, record, return_previous: false })
}

fn open(state: &mut State) -> SessionId {
    match done(state, &Command::OpenSession { ttl_ms: 5_000, label: "holder".into() }) {
        Reply::OpenSession { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn register(worker: &str, session: SessionId) -> Command {
    Command::RegisterWorker(RegisterWorker {
        name: name(worker),
        session,
        address: "127.0.0.1:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
    })
}

/// A network of so many processes, each a partition of its own.
fn network(partitions: u32) -> Command {
    let process = |number| Process::new(name(&format!("p{number:03}")), "stage");
    let spec = NetworkSpec {
        processes: (0..partitions).map(process).collect(),
        connections: Vec::new(),
        policy: PartitionPolicy { partitions, strategy: name("any"), ..PartitionPolicy::default() },
        connection: Default::default(),
    };
    let assignment = (0..partitions).collect();
    Command::ApplyNetwork(ApplyNetwork { name: name("n"), spec, assignment, basis: None })
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("n"), index }
}

fn grant(worker: &str, session: SessionId, partitions: std::ops::Range<u32>) -> Command {
    let owner = Owner { worker: name(worker), session };
    let grant = |index| Grant { partition: id(index), owner: owner.clone() };
    Command::AssignPartitions { grants: partitions.map(grant).collect() }
}

fn move_to(partitions: std::ops::Range<u32>, target: &str) -> Command {
    let moves = partitions.map(|index| (id(index), Some(name(target)))).collect();
    Command::MovePartitions { moves, basis: Default::default() }
}

/// A state in which a worker holds a session.
fn with_worker(worker: &str) -> (State, SessionId) {
    let mut state = State::new(IDENTITY);
    let session = open(&mut state);
    done(&mut state, &register(worker, session));
    (state, session)
}

#[test]
fn the_bytes_that_one_session_holds_are_bounded_and_end_at_one_revision() {
    let mut state = State::new(IDENTITY);
    let session = open(&mut state);
    let mut held = 0;
    let refused = loop {
        let applied = run(&mut state, &bind(&format!("{held:03}"), MIB, session));
        if applied.outcome.result.is_err() {
            break applied;
        }
        held += 1;
        assert!(held <= 64, "no limit");
    };
    let max = state.settings().session_record_bytes_max;
    let rule = format!("session_record_bytes_max = {max}");
    assert_eq!(over(refused), limit("session", &rule));
    assert_eq!(held, 31);
    // What is not bound, or bound to another, has room; so has what replaces something larger.
    let other = open(&mut state);
    done(&mut state, &bind("other", MIB, other));
    done(&mut state, &bind("000", MIB / 2, session));
    done(&mut state, &bind("small", MIB / 4, session));

    let ended = run(&mut state, &Command::ExpireSession { id: session, term: TERM });
    assert_eq!(ended.outcome.result, Ok(Reply::Done));
    let event = ended.event.unwrap();
    assert_eq!(event.changes.len(), held + 2, "all at one revision");
    assert!(codec::encode(&*event).len() as u64 <= max);
    assert_eq!(state.check(), Ok(()));
    assert_eq!(state.sessions().count(), 1);
}

#[test]
fn the_records_that_one_session_holds_are_bounded() {
    let (mut state, session) = with_worker("w");
    done(&mut state, &network(3));
    done(&mut state, &set("session_records_max", 3));
    let rule = limit("session", "session_records_max = 3");
    done(&mut state, &bind("a", 1, session));
    assert_eq!(over(run(&mut state, &grant("w", session, 0..2))), rule);
    done(&mut state, &grant("w", session, 0..1));
    for refused in [bind("b", 1, session), register("v", session), grant("w", session, 1..2)] {
        assert_eq!(over(run(&mut state, &refused)), rule, "{refused:?}");
    }
    // To be one more is refused before anybody is asked to release anything.
    let other = open(&mut state);
    done(&mut state, &register("v", other));
    done(&mut state, &grant("v", other, 1..3));
    let refused = run(&mut state, &move_to(1..2, "w"));
    assert_eq!(over(refused), limit("target", "session_records_max = 3"));
    // The same again, and one for another, are no more than before.
    done(&mut state, &bind("a", 9, session));
    let delete = Operation::Delete {
        range: quorate_core::KeyRange::Single(Key::entry("a")),
        return_previous: false,
    };
    done(&mut state, &write(delete));
    done(&mut state, &move_to(1..2, "w"));
    done(&mut state, &bind("b", 1, session));
    assert_eq!(state.bound_to(session).unwrap().len(), 3);
}

/// Whatever the settings are now.
#[test]
fn what_was_bound_ends_after_every_limit_was_lowered() {
    let ends: [fn(SessionId) -> Command; 2] =
        [|id| Command::CloseSession { id }, |id| Command::ExpireSession { id, term: Term(TERM.0) }];
    for end in ends {
        let (mut state, session) = with_worker("w");
        done(&mut state, &network(3));
        done(&mut state, &grant("w", session, 0..3));
        for at in 0..20 {
            done(&mut state, &bind(&at.to_string(), 1_000, session));
        }
        for (setting, value) in [
            ("session_records_max", 1),
            ("session_record_bytes_max", 1_024),
            ("worker_partitions_max", 1),
            ("workers_max", 1),
            ("command_bytes_max", 2_048),
            ("command_changes_max", 1),
        ] {
            done(&mut state, &set(setting, value));
        }
        // It may hold less, and the same, and no more.
        done(&mut state, &bind("0", 500, session));
        let refused = run(&mut state, &bind("0", 501, session));
        assert_eq!(over(refused), limit("session", "session_record_bytes_max = 1024"));
        let refused = run(&mut state, &bind("more", 1, session));
        assert_eq!(over(refused), limit("session", "session_records_max = 1"));

        let mut left = state.clone();
        let leave = Command::LeaveWorker { name: name("w"), session: Some(session) };
        let event = run(&mut left, &leave).event.unwrap();
        assert_eq!((event.changes.len(), left.check()), (4, Ok(())));

        let event = run(&mut state, &end(session)).event.unwrap();
        assert_eq!(event.changes.len(), 20 + 1 + 3 + 1);
        assert_eq!(state.check(), Ok(()));
        assert_eq!(state.sessions().count(), 0);
        assert_eq!(state.worker(&name("w")).unwrap().state, WorkerState::Down);
    }
}

#[test]
fn a_worker_is_granted_no_more_than_the_settings_allow() {
    let (mut state, session) = with_worker("full");
    let other = open(&mut state);
    done(&mut state, &register("other", other));
    done(&mut state, &network(5));
    done(&mut state, &set("worker_partitions_max", 2));
    let rule = "worker_partitions_max = 2";
    let refused = run(&mut state, &grant("full", session, 0..3));
    assert_eq!(over(refused), limit("grants", rule));
    assert_eq!(state.bound_to(session).unwrap().len(), 1, "all or none");
    assert_eq!(done(&mut state, &grant("full", session, 0..2)), Reply::Changed { changed: 2 });
    assert_eq!(over(run(&mut state, &grant("full", session, 2..3))), limit("grants", rule));
    assert_eq!(done(&mut state, &grant("full", session, 0..2)), Reply::Changed { changed: 0 });
    assert_eq!(done(&mut state, &grant("other", other, 2..4)), Reply::Changed { changed: 2 });

    // Owned or not, it does not go where there is no room.
    for partition in [2, 4] {
        let refused = run(&mut state, &move_to(partition..partition + 1, "full"));
        assert_eq!(over(refused), limit("target", rule), "{partition}");
    }
    // What it was granted before it may keep, whatever the limit is now.
    done(&mut state, &set("worker_partitions_max", 1));
    assert_eq!(done(&mut state, &move_to(0..2, "full")), Reply::Changed { changed: 0 });
}

#[test]
fn a_move_counts_what_is_on_its_way() {
    let (mut state, session) = with_worker("from");
    let other = open(&mut state);
    done(&mut state, &register("to", other));
    done(&mut state, &network(4));
    done(&mut state, &grant("from", session, 0..4));
    done(&mut state, &set("worker_partitions_max", 2));
    let rule = limit("target", "worker_partitions_max = 2");
    assert_eq!(over(run(&mut state, &move_to(0..3, "to"))), rule);
    assert_eq!(state.partition(&id(0)).unwrap().state, PartitionState::Assigned);
    assert_eq!(done(&mut state, &move_to(0..2, "to")), Reply::Changed { changed: 2 });
    assert_eq!(done(&mut state, &move_to(0..2, "to")), Reply::Changed { changed: 0 });
    assert_eq!(over(run(&mut state, &move_to(2..3, "to"))), rule);
    // It owns more than it may be granted now, and keeps what it was asked for.
    assert_eq!(done(&mut state, &move_to(1..2, "from")), Reply::Changed { changed: 1 });
    assert_eq!(done(&mut state, &move_to(2..3, "to")), Reply::Changed { changed: 1 });
}

#[test]
fn a_move_goes_to_a_worker_that_takes_partitions() {
    let (mut state, session) = with_worker("w");
    done(&mut state, &network(1));
    let refused = |state: &mut State, target: &str| {
        let rejection = run(state, &move_to(0..1, target)).outcome.result.unwrap_err();
        assert_eq!(rejection.field, "target");
        (rejection.reason, rejection.message)
    };
    let (reason, message) = refused(&mut state, "nobody");
    assert_eq!((reason, message.as_str()), (Reason::NotFound, "no worker nobody"));
    done(&mut state, &Command::DrainWorker { name: name("w"), drain: true });
    let (reason, message) = refused(&mut state, "w");
    assert_eq!(reason, Reason::PreconditionFailed);
    assert!(message.contains("drains"), "{message}");
    done(&mut state, &Command::CloseSession { id: session });
    let (reason, message) = refused(&mut state, "w");
    assert_eq!(reason, Reason::PreconditionFailed);
    assert!(message.contains("is down"), "{message}");
}

#[test]
fn workers_are_bounded_and_those_that_are_down_can_be_made_to_leave() {
    let (mut state, session) = with_worker("a");
    done(&mut state, &register("b", session));
    done(&mut state, &set("workers_max", 2));
    assert_eq!(over(run(&mut state, &register("c", session))), limit("name", "workers_max = 2"));
    done(&mut state, &register("a", session));
    // Down, they count: what is known of them is kept until they leave.
    done(&mut state, &Command::CloseSession { id: session });
    let session = open(&mut state);
    assert_eq!(over(run(&mut state, &register("c", session))), limit("name", "workers_max = 2"));
    done(&mut state, &register("a", session));
    done(&mut state, &Command::LeaveWorker { name: name("b"), session: None });
    done(&mut state, &register("c", session));
    assert_eq!(state.workers(), 2);
}

/// A network of so many processes, each a partition of its own that sends to all others.
fn meshed(partitions: u32) -> Command {
    let Command::ApplyNetwork(mut command) = network(partitions) else { panic!("a network") };
    let ids: Vec<Name> = command.spec.processes.iter().map(|it| it.id.clone()).collect();
    let pairs = ids.iter().flat_map(|from| ids.iter().map(move |to| (from, to)));
    let edge =
        |(from, to): (&Name, &Name)| ProcessEdge { from: from.clone(), to: to.clone(), rate: 1 };
    command.spec.connections = pairs.filter(|(from, to)| from != to).map(edge).collect();
    Command::ApplyNetwork(command)
}

/// Connections end with the ownership of their ends: their room is taken when the partition is granted, in the owner's
/// session alone.
#[test]
fn the_connections_of_a_partition_take_room_of_its_owners_session() {
    let (mut state, session) = with_worker("w");
    let other = open(&mut state);
    done(&mut state, &register("other", other));
    done(&mut state, &meshed(12));
    let grant_of = |index, worker: &str, session| Grant {
        partition: id(index),
        owner: Owner { worker: name(worker), session },
    };
    let each = state.bytes_of_grant(&grant_of(0, "w", session));
    assert!(each > 22 * 300, "22 connections are counted: {each}");
    let before = state.bytes_bound_to(session);
    done(&mut state, &grant("w", session, 0..3));
    assert_eq!(state.bytes_bound_to(session), before + 3 * each);
    done(&mut state, &set("session_record_bytes_max", before + 4 * each - 1));
    let rule = format!("session_record_bytes_max = {}", before + 4 * each - 1);
    assert_eq!(over(run(&mut state, &grant("w", session, 3..4))), limit("session", &rule));
    // Others take no room of it, though they bring its connections to life.
    done(&mut state, &grant("other", other, 3..6));
    assert_eq!(over(run(&mut state, &move_to(3..4, "w"))), limit("target", &rule));
    assert_eq!(state.bytes_bound_to(session), before + 3 * each);
    assert_eq!(state.records_of(Kind::ConnectionStatus).count(), 6 * 5);

    // No limit of commands stops what ends.
    for setting in ["command_changes_max", "command_bytes_max"] {
        let least = if setting == "command_bytes_max" { 1_024 } else { 1 };
        done(&mut state, &set(setting, least));
    }
    let epoch = state.partition(&id(0)).unwrap().epoch.unwrap();
    let released = run(&mut state, &Command::ReleasePartition { id: id(0), epoch });
    assert_eq!(released.event.unwrap().changes.len(), 1 + 2 * 5);
    assert_eq!(state.bytes_bound_to(session), before + 2 * each);
    let event = run(&mut state, &Command::CloseSession { id: session }).event.unwrap();
    assert_eq!(event.changes.len(), 1 + 1 + 2 + (5 * 4 - 3 * 2));
    assert_eq!(state.check(), Ok(()));
    assert_eq!(state.records_of(Kind::ConnectionStatus).count(), 3 * 2);
}

/// A network that takes more connections to its owned partitions takes more room of their owners.
#[test]
fn a_network_that_grows_takes_room_of_owners() {
    let (mut state, session) = with_worker("w");
    done(&mut state, &network(6));
    done(&mut state, &grant("w", session, 0..6));
    let bytes = state.bytes_bound_to(session);
    done(&mut state, &set("session_record_bytes_max", bytes));
    let Command::ApplyNetwork(mut grown) = meshed(6) else { panic!("a network") };
    grown.basis = state.get(&Key::network(&name("n"))).map(|it| it.modified);
    let rule = format!("session_record_bytes_max = {bytes}");
    let refused = run(&mut state, &Command::ApplyNetwork(grown.clone()));
    assert_eq!(over(refused), limit("session", &rule));
    done(&mut state, &set("session_record_bytes_max", 1 << 25));
    done(&mut state, &Command::ApplyNetwork(grown));
    assert_eq!(state.records_of(Kind::ConnectionStatus).count(), 30);
    assert!(state.bytes_bound_to(session) > bytes);
}

/// What could be applied can be deleted, with the status of all its connections.
#[test]
fn a_network_that_was_applied_can_go() {
    let (mut state, session) = with_worker("w");
    // One network, 6 partitions with a load each, 30 connections with a status each.
    done(&mut state, &set("command_changes_max", 72));
    let (field, rule) = over(run(&mut state, &meshed(6)));
    assert_eq!((field.as_str(), rule.as_str()), ("changes", "command_changes_max = 72"));
    done(&mut state, &set("command_changes_max", 73));
    done(&mut state, &meshed(6));
    done(&mut state, &grant("w", session, 0..6));
    let load = |index| {
        let id = PartitionId { network: name("n"), index };
        (LoadId::Partition(id), quorate_core::Load { load_ppm: 1 })
    };
    done(&mut state, &Command::ReportLoads { loads: (0..6).map(load).collect() });
    done(&mut state, &Command::DeleteNetwork { name: name("n") });
    assert_eq!(state.records_of(Kind::ConnectionStatus).count(), 0);
}

/// What each session holds: records and bytes.
fn held(state: &State) -> BTreeMap<SessionId, (u64, u64)> {
    let sessions = state.sessions();
    sessions.map(|(id, keys)| (id, (keys.len() as u64, state.bytes_bound_to(id)))).collect()
}

proptest! {
    #![proptest_config(crate::cases(96))]

    #[test]
    fn every_session_can_end_after_any_commands(steps in steps(60)) {
        let mut state = State::new(IDENTITY);
        for step in &steps {
            step.run(&mut state);
        }
        // What is known of the use of an allocation goes with its grant.
        let used = |key: &&Key| {
            let id = key.as_allocation();
            id.is_some_and(|id| state.get(&Key::load(&LoadId::Allocation(id))).is_some())
        };
        let sessions: Vec<_> = state
            .sessions()
            .map(|(id, keys)| (id, keys.len() + keys.iter().filter(used).count()))
            .collect();
        for (id, count) in sessions {
            for end in [Command::CloseSession { id }, Command::ExpireSession { id, term: TERM }] {
                let mut ended = state.clone();
                let applied = run(&mut ended, &end);
                prop_assert_eq!(applied.outcome.result, Ok(Reply::Done));
                let event = applied.event.unwrap();
                let status = |change: &&Change| change.key.kind == Kind::ConnectionStatus;
                let statuses = event.changes.iter().filter(status).count();
                prop_assert_eq!(event.changes.len(), count + statuses + 1);
                // Its own record and its label are little more.
                let bytes = codec::encode(&*event).len() as u64;
                prop_assert!(bytes <= state.bytes_bound_to(id) + 512, "{} bytes", bytes);
                prop_assert!(ended.bound_to(id).is_none());
                prop_assert_eq!(ended.check(), Ok(()));
            }
        }
    }

    #[test]
    fn what_is_held_grows_within_the_limits_only(steps in steps(60)) {
        let mut state = State::new(IDENTITY);
        for step in &steps {
            let before = state.clone();
            step.run(&mut state);
            let (known, settings) = (held(&before), before.settings());
            for (id, (records, bytes)) in held(&state) {
                let (had_records, had_bytes) = known.get(&id).copied().unwrap_or_default();
                prop_assert!(records <= had_records.max(settings.session_records_max));
                prop_assert!(bytes <= had_bytes.max(settings.session_record_bytes_max));
            }
            let workers = (before.workers() as u64).max(settings.workers_max);
            prop_assert!(state.workers() as u64 <= workers);
        }
    }
}
