//! Each notice, from the commands that cause it.

use std::collections::BTreeMap;

use super::*;
use crate::{
    AlertId, Command, Grant, MemberId, Operation, Owner, PartitionId, RegisterWorker, Reply,
    Request, Resources, Severity, Stamp, State, Term, Transaction,
    alert::Raised,
    apply_request,
    invariant::tests::{name, partition, sound},
    plan::Basis,
};

/// What is told of a command, as `type subject: text`, without sessions.
fn told(state: &mut State, command: Command) -> Vec<String> {
    let origin = Origin::new("ops", "for a test");
    let request = Request { command, call: None, origin };
    let applied = apply_request(state, Stamp { time_ms: 9_000, term: Term(3) }, &request);
    applied.outcome.result.expect("no rejection");
    let event = applied.event.expect("a change");
    let notices = of_event(&event);
    for notice in &notices {
        assert_eq!((notice.revision, notice.time_ms), (event.revision, event.time_ms));
        assert_eq!(&*notice.origin.reason, "for a test");
    }
    let line = |it: &Notice| format!("{} {}: {}", it.kind.as_str(), it.subject, it.text);
    notices.iter().filter(|it| it.kind != NoticeKind::SessionEnded).map(line).collect()
}

fn open(state: &mut State) -> SessionId {
    let command = Command::OpenSession { ttl_ms: 5_000, label: "worker".into() };
    match apply_request(state, Stamp::at(1), &command.into()).outcome.result {
        Ok(Reply::OpenSession { id, .. }) => id,
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

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("n"), index }
}

fn grant(index: u32, worker: &str, session: SessionId) -> Command {
    let owner = Owner { worker: name(worker), session };
    Command::AssignPartitions { grants: vec![Grant { partition: id(index), owner }] }
}

fn release(state: &State, index: u32) -> Command {
    let epoch = partition(state, &id(index).to_string()).epoch.expect("an owner");
    Command::ReleasePartition { id: id(index), epoch }
}

fn drain(worker: &str, drain: bool) -> Command {
    Command::DrainWorker { name: name(worker), drain }
}

fn to(worker: Option<&str>) -> Command {
    Command::MovePartitions { moves: vec![(id(0), worker.map(name))], basis: Basis::default() }
}

/// Workers a and b, of whom a owns `n/0`.
fn owned() -> (State, [SessionId; 2]) {
    let mut state = sound();
    let sessions = ["a", "b"].map(|worker| {
        let session = open(&mut state);
        assert_eq!(
            told(&mut state, register(worker, session)),
            [format!("worker_joined {worker}: joined")]
        );
        session
    });
    let granted = told(&mut state, grant(0, "a", sessions[0]));
    assert_eq!(granted, ["partition_assigned n/0: granted to worker a"]);
    (state, sessions)
}

#[test]
fn a_lost_worker_takes_its_partitions_along_and_another_takes_over() {
    let (mut state, [a, b]) = owned();
    assert_eq!(
        told(&mut state, Command::ExpireSession { id: a, term: Term(3) }),
        [
            "worker_lost a: its session ended without its leaving",
            "partition_failed n/0: worker a was lost, nobody owns it",
        ]
    );
    assert_eq!(
        told(&mut state, grant(0, "b", b)),
        ["partition_recovered n/0: taken over by worker b"]
    );
    let again = open(&mut state);
    assert_eq!(told(&mut state, register("a", again)), ["worker_joined a: joined again"]);
}

#[test]
fn a_worker_that_leaves_was_not_lost() {
    let (mut state, [a, _]) = owned();
    assert_eq!(
        told(&mut state, Command::LeaveWorker { name: name("a"), session: Some(a) }),
        ["partition_released n/0: worker a gave it up, nobody owns it", "worker_left a: left"]
    );
}

#[test]
fn a_drain_asks_for_what_a_worker_has() {
    let (mut state, _) = owned();
    assert_eq!(
        told(&mut state, drain("a", true)),
        [
            "worker_draining a: gives its partitions away",
            "partition_asked_back n/0: worker a is asked to release it",
        ]
    );
    assert_eq!(told(&mut state, drain("a", false)), ["worker_active a: takes partitions"]);
    assert_eq!(
        told(&mut state, to(Some("a"))),
        ["partition_kept n/0: worker a keeps it"],
        "it was not released yet"
    );
}

#[test]
fn a_move_is_asked_for_released_and_assigned() {
    let (mut state, [_, b]) = owned();
    assert_eq!(
        told(&mut state, to(Some("b"))),
        ["partition_asked_back n/0: worker a is asked to release it, for worker b"]
    );
    let command = release(&state, 0);
    assert_eq!(
        told(&mut state, command),
        ["partition_released n/0: worker a gave it up, nobody owns it"]
    );
    assert_eq!(told(&mut state, grant(0, "b", b)), ["partition_assigned n/0: moved to worker b"]);
}

#[test]
fn a_deleted_network_asks_for_its_partitions() {
    let (mut state, _) = owned();
    let deleted = told(&mut state, Command::DeleteNetwork { name: name("n") });
    assert!(deleted.contains(&"network_deleted n: deleted".to_owned()), "{deleted:?}");
    let asked = "partition_asked_back n/0: worker a is asked to release it: its network does not \
                 have it any more";
    assert!(deleted.contains(&asked.to_owned()), "{deleted:?}");
    assert_eq!(deleted.len(), 2);
    let command = release(&state, 0);
    assert_eq!(
        told(&mut state, command),
        ["partition_released n/0: worker a released it, and its network does not have it any more"]
    );
}

#[test]
fn networks_come_and_change() {
    let mut state = sound();
    let created = state.history().from(Revision(1)).flat_map(|event| of_event(event));
    let created = created.filter(|it| it.network.is_some());
    let created: Vec<_> = created.map(|it| (it.kind, it.subject, it.network)).collect();
    assert_eq!(created, [(NoticeKind::NetworkCreated, "n".to_owned(), Some(name("n")))]);
    let record = state.get(&Key::network(&name("n"))).unwrap();
    let Record::Network(network) = &record.value else { panic!("{record:?}") };
    let (mut spec, basis) = (network.spec.clone(), Some(record.modified));
    spec.processes[0].component = "other".into();
    let partitions = spec.policy.partitions;
    let assignment = (0..spec.processes.len())
        .map(|at| u32::try_from(at).unwrap().min(partitions - 1))
        .collect();
    let command = crate::ApplyNetwork { name: name("n"), spec, assignment, basis };
    let changed = told(&mut state, Command::ApplyNetwork(command));
    assert!(changed[0].starts_with("network_changed n: generation 2: "), "{changed:?}");
}

fn put(setting: &str, value: Option<&str>) -> Command {
    let key = Key::setting(&name(setting));
    let operation = match value {
        Some(value) => {
            let record = Record::Setting(value.into());
            Operation::Put { key, record, return_previous: false }
        }
        None => Operation::Delete { range: crate::KeyRange::Single(key), return_previous: false },
    };
    Command::Transaction(Transaction { success: vec![operation], ..Transaction::default() })
}

#[test]
fn settings_say_what_they_were() {
    let mut state = sound();
    assert_eq!(
        told(&mut state, put("workers_max", Some("7"))),
        ["setting_changed workers_max: 7, was 10000"]
    );
    assert_eq!(
        told(&mut state, put("workers_max", None)),
        ["setting_changed workers_max: 10000, was 7"]
    );
    assert_eq!(
        told(&mut state, put("maintenance", Some("1"))),
        ["maintenance_on maintenance: nothing moves that could stay"]
    );
    assert_eq!(
        told(&mut state, put("maintenance", None)),
        ["maintenance_off maintenance: what could stay may move"]
    );
    assert!(told(&mut state, put("workers_max", Some("10000"))).is_empty(), "as it was");
}

#[test]
fn members_are_added_and_removed() {
    let mut state = sound();
    let add = Command::AddMember { id: MemberId(4), peer: "p:1".into(), client: "c:1".into() };
    assert_eq!(told(&mut state, add), ["member_added 4: serves clients on c:1"]);
    assert_eq!(
        told(&mut state, Command::RetireMember { id: MemberId(4) }),
        ["member_removed 4: its id is never used again"]
    );
}

#[test]
fn alerts_are_raised_and_cleared() {
    let mut state = sound();
    let id = AlertId { check: name("worker_load"), subject: "a".into() };
    let raised = |severity| Raised { severity, message: "load of 130 %".into(), value: 1_300_000 };
    let set = |raise, clear| Command::SetAlerts { raise, clear };
    let raise = |severity| set(vec![(id.clone(), raised(severity))], vec![]);
    assert_eq!(
        told(&mut state, raise(Severity::Warning)),
        ["alert_raised worker_load/a: warning: load of 130 %"]
    );
    assert_eq!(
        told(&mut state, raise(Severity::Critical)),
        ["alert_raised worker_load/a: critical: load of 130 %"]
    );
    assert_eq!(
        told(&mut state, set(vec![], vec![id])),
        ["alert_cleared worker_load/a: no more: load of 130 %"]
    );
}

#[test]
fn a_session_says_whose_it_was() {
    let mut state = sound();
    let session = open(&mut state);
    let applied =
        apply_request(&mut state, Stamp::at(1), &Command::CloseSession { id: session }.into());
    let notices = of_event(&applied.event.unwrap());
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].kind, NoticeKind::SessionEnded);
    assert_eq!(notices[0].text, "the session of worker ended");
}

#[test]
fn names_are_read_back() {
    for kind in NoticeKind::ALL {
        assert_eq!(NoticeKind::from_text(kind.as_str()), Some(*kind));
    }
    assert_eq!(NoticeKind::from_text("worker"), None);
}
