//! Ownership, sessions and requests that are sent twice, step by step.

use std::collections::BTreeMap;

use crate::{
    ApplyNetwork, Call, ClusterId, Command, Entry, Epoch, Grant, Guard, Identity, Key, MemberId,
    Name, NetworkSpec, Operation, Outcome, Owner, PartitionId, PartitionState, Reason, Record,
    RegisterWorker, Rejection, Reply, Request, Resources, RestoreEpoch, Revision, Serial,
    SessionId, Stamp, State, Term, Transaction, WorkerState, apply, apply_request, digest,
    invariant::tests::{key, name, partition, sound},
    plan::{Basis, Occupancy},
};

fn run(state: &mut State, command: Command) -> Result<Reply, Rejection> {
    let applied = apply(state, Stamp { time_ms: 9, term: Term(3) }, &command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result
}

fn reason(result: Result<Reply, Rejection>) -> Reason {
    result.expect_err("a rejection").reason
}

fn open(state: &mut State) -> SessionId {
    match run(state, Command::OpenSession { ttl_ms: 5_000, label: "test".into() }) {
        Ok(Reply::OpenSession { id, ttl_ms: 5_000 }) => id,
        other => panic!("{other:?}"),
    }
}

fn register(state: &mut State, worker: &str, session: SessionId) -> Result<Reply, Rejection> {
    run(
        state,
        Command::RegisterWorker(RegisterWorker {
            name: name(worker),
            session,
            address: "127.0.0.1:1".into(),
            capacity: Resources::default(),
            labels: BTreeMap::new(),
        }),
    )
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("n"), index }
}

fn grant(state: &mut State, index: u32, worker: &str, session: SessionId) -> Epoch {
    let owner = Owner { worker: name(worker), session };
    let grants = vec![Grant { partition: id(index), owner }];
    assert_eq!(run(state, Command::AssignPartitions { grants }), Ok(Reply::Changed { changed: 1 }));
    partition(state, &id(index).to_string()).epoch.expect("an epoch")
}

/// A state in which worker `w` owns `n/0`.
fn owned() -> (State, SessionId, Epoch) {
    let mut state = sound();
    let session = open(&mut state);
    assert_eq!(register(&mut state, "w", session), Ok(Reply::Done));
    let epoch = grant(&mut state, 0, "w", session);
    assert_eq!(epoch.revision, state.revision());
    (state, session, epoch)
}

fn reapply(state: &mut State, change: impl FnOnce(&mut NetworkSpec), assignment: Vec<u32>) {
    let record = state.get(&Key::network(&name("n"))).unwrap();
    let Record::Network(network) = &record.value else { panic!("{record:?}") };
    let (mut spec, basis) = (network.spec.clone(), Some(record.modified));
    change(&mut spec);
    let command = ApplyNetwork { name: name("n"), spec, assignment, basis };
    run(state, Command::ApplyNetwork(command)).unwrap();
}

fn release(state: &mut State, index: u32, epoch: Epoch) -> Result<Reply, Rejection> {
    run(state, Command::ReleasePartition { id: id(index), epoch })
}

#[test]
fn a_kept_partition_keeps_its_owner() {
    let (mut state, session, epoch) = owned();
    let owner = Some(Owner { worker: name("w"), session });
    reapply(&mut state, |spec| spec.processes[0].parallelism.min = 2, vec![0, 1, 1]);
    let kept = partition(&state, "n/0");
    assert_eq!((&kept.owner, kept.epoch), (&owner, Some(epoch)));
    assert_eq!(kept.state, PartitionState::Assigned);
    assert_eq!(partition(&state, "n/1").owner, None);
    // With another process it is the same owner's in a new epoch.
    reapply(&mut state, |spec| spec.processes[0].parallelism.min = 1, vec![0, 1, 0]);
    let grown = partition(&state, "n/0");
    assert_eq!((&grown.owner, grown.state), (&owner, PartitionState::Assigned));
    assert_eq!(grown.epoch.map(|epoch| epoch.revision), Some(state.revision()));
    assert_eq!(grown.processes.len(), 2);
}

/// Whoever runs a process that has gone elsewhere, since it does not know yet, can do nothing for it.
#[test]
fn what_went_elsewhere_is_fenced() {
    let (mut state, session, epoch) = owned();
    grant(&mut state, 1, "w", session);
    let guarded = |state: &mut State, index, epoch| {
        let guards = vec![Guard::Partition { id: id(index), epoch }];
        run(state, Command::Transaction(Transaction { guards, ..Transaction::default() }))
    };
    guarded(&mut state, 0, epoch).unwrap();
    // Process 2 goes from n/1 to n/0: both have new epochs.
    let old = [0, 1].map(|at| partition(&state, &format!("n/{at}")).epoch.unwrap());
    reapply(&mut state, |spec| spec.processes[0].parallelism.min = 2, vec![0, 1, 0]);
    for at in [0, 1] {
        let now = partition(&state, &format!("n/{at}"));
        assert_eq!(now.epoch.map(|epoch| epoch.revision), Some(state.revision()));
        assert_eq!(reason(guarded(&mut state, at, old[at as usize])), Reason::StaleEpoch);
        guarded(&mut state, at, now.epoch.unwrap()).unwrap();
    }
    // All into one: nothing can be done for the other one any more, though it is not released.
    let old = partition(&state, "n/1").epoch.unwrap();
    let one = |spec: &mut NetworkSpec| spec.policy.partitions = 1;
    reapply(&mut state, one, vec![0, 0, 0]);
    let gone = partition(&state, "n/1");
    assert_eq!((gone.state, gone.owner.is_some()), (PartitionState::Deleted, true));
    assert_eq!(reason(guarded(&mut state, 1, old)), Reason::StaleEpoch);
    assert_eq!(reason(release(&mut state, 1, old)), Reason::StaleEpoch);
    assert_eq!(release(&mut state, 1, gone.epoch.unwrap()), Ok(Reply::Done));
    assert!(state.partition(&id(1)).is_none());
}

#[test]
fn a_removed_partition_stays_until_its_owner_releases_it() {
    let (mut state, session, epoch) = owned();
    let network = state.get(&Key::network(&name("n"))).unwrap().clone();
    let deleted = run(&mut state, Command::DeleteNetwork { name: name("n") });
    assert_eq!(deleted, Ok(Reply::DeleteNetwork { partitions: 2, connections: 1 }));
    assert_eq!(partition(&state, "n/0").state, PartitionState::Deleted);
    assert!(state.partition(&id(1)).is_none());
    // The same network again: the old owner still has to release it.
    let Record::Network(network) = &network.value else { panic!("{network:?}") };
    let (spec, assignment) = (network.spec.clone(), vec![0, 1, 1]);
    let again = ApplyNetwork { name: name("n"), spec, assignment, basis: None };
    run(&mut state, Command::ApplyNetwork(again)).unwrap();
    let new = partition(&state, "n/0");
    assert_eq!(new.state, PartitionState::Releasing);
    assert_eq!(new.owner.map(|owner| owner.session), Some(session));
    assert_eq!(reason(release(&mut state, 0, epoch)), Reason::StaleEpoch);
    let ending = new.epoch.unwrap();
    assert_eq!(release(&mut state, 0, ending), Ok(Reply::Done));
    assert!(grant(&mut state, 0, "w", session) > ending);
    // Deleted for good.
    run(&mut state, Command::DeleteNetwork { name: name("n") }).unwrap();
    let epoch = partition(&state, "n/0").epoch.unwrap();
    assert_eq!(release(&mut state, 0, epoch), Ok(Reply::Done));
    assert!(state.partition(&id(0)).is_none());
}

#[test]
fn nobody_else_is_granted_what_somebody_owns() {
    let (mut state, session, epoch) = owned();
    let other = open(&mut state);
    assert_eq!(reason(register(&mut state, "w", other)), Reason::AlreadyExists);
    assert_eq!(register(&mut state, "v", other), Ok(Reply::Done));
    let to = |worker: &str, session| Grant {
        partition: id(0),
        owner: Owner { worker: name(worker), session },
    };
    for grant in [to("v", other), to("w", session), to("v", session)] {
        let grants = vec![grant];
        let assigned = run(&mut state, Command::AssignPartitions { grants });
        assert_eq!(assigned, Ok(Reply::Changed { changed: 0 }));
    }
    // Moved: asked back, released, granted.
    let moves = vec![(id(0), Some(name("v")))];
    run(&mut state, Command::MovePartitions { moves, basis: Default::default() }).unwrap();
    assert_eq!(partition(&state, "n/0").state, PartitionState::Releasing);
    assert_eq!(release(&mut state, 0, epoch), Ok(Reply::Done));
    assert_eq!(partition(&state, "n/0").target, Some(name("v")));
    assert_eq!(reason(release(&mut state, 0, epoch)), Reason::StaleEpoch);
    assert!(grant(&mut state, 0, "v", other) > epoch);
}

#[test]
fn a_worker_without_the_labels_is_neither_granted_nor_meant() {
    let (mut state, session, _) = owned();
    let zone = |spec: &mut NetworkSpec| {
        spec.processes[1].requires = [("zone".into(), "a".into())].into();
    };
    reapply(&mut state, zone, vec![0, 1, 1]);
    let owner = Owner { worker: name("w"), session };
    let grants = vec![Grant { partition: id(1), owner }];
    let assigned = run(&mut state, Command::AssignPartitions { grants: grants.clone() });
    assert_eq!(assigned, Ok(Reply::Changed { changed: 0 }));
    let moves = vec![(id(1), Some(name("w")))];
    let moved = Command::MovePartitions { moves, basis: Basis::default() };
    let refused = run(&mut state, moved.clone()).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), (Reason::PreconditionFailed, "target"));
    assert_eq!(refused.message, "worker w is not zone=a");
    let labels = [("zone".into(), "a".into())].into();
    let register = RegisterWorker {
        name: name("w"),
        session,
        address: "127.0.0.1:1".into(),
        capacity: Resources::default(),
        labels,
    };
    run(&mut state, Command::RegisterWorker(register)).unwrap();
    assert_eq!(run(&mut state, moved), Ok(Reply::Changed { changed: 1 }));
    let assigned = run(&mut state, Command::AssignPartitions { grants });
    assert_eq!(assigned, Ok(Reply::Changed { changed: 1 }));
}

#[test]
fn nothing_is_meant_for_a_worker_that_has_another_of_its_group() {
    let (mut state, session, epoch) = owned();
    let groups = |spec: &mut NetworkSpec| {
        spec.processes[0].anti_affinity = Some(name("g"));
        spec.processes[1].anti_affinity = Some(name("g"));
    };
    reapply(&mut state, groups, vec![0, 1, 1]);
    let moves = vec![(id(1), Some(name("w")))];
    let moved = Command::MovePartitions { moves, basis: Basis::default() };
    let refused = run(&mut state, moved.clone()).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), (Reason::PreconditionFailed, "target"));
    assert_eq!(refused.message, "worker w has n/0 of the group g");
    let other = open(&mut state);
    register(&mut state, "v", other).unwrap();
    let away = vec![(id(0), Some(name("v")))];
    run(&mut state, Command::MovePartitions { moves: away, basis: Basis::default() }).unwrap();
    assert_eq!(run(&mut state, moved), Ok(Reply::Changed { changed: 1 }), "it is on its way");
    // It is not granted there before that has left.
    let owner = Owner { worker: name("w"), session };
    let early = Command::AssignPartitions { grants: vec![Grant { partition: id(1), owner }] };
    assert_eq!(run(&mut state, early), Ok(Reply::Changed { changed: 0 }));
    release(&mut state, 0, epoch).unwrap();
    assert!(grant(&mut state, 1, "w", session) > epoch);
}

#[test]
fn a_move_that_was_planned_on_something_else_is_refused() {
    let (mut state, _, _) = owned();
    let other = open(&mut state);
    register(&mut state, "v", other).unwrap();
    let keys = [Key::partition(&id(0)), Key::worker(&name("v")), Key::worker(&name("later"))];
    let basis = Basis::of(&state, keys.clone());
    let moved = |state: &mut State, basis: Basis| {
        run(state, Command::MovePartitions { moves: vec![(id(0), Some(name("v")))], basis })
    };
    let mut crowded = basis.clone();
    crowded.targets =
        vec![Occupancy { worker: name("v"), partitions: 1, newest: state.revision() }];
    let before = state.hash();
    assert_eq!(reason(moved(&mut state, crowded)), Reason::StalePlan, "it has nothing");
    for at in 0..keys.len() {
        let mut stale = basis.clone();
        stale.records[at].1 = Revision(stale.records[at].1.0 + 1);
        let refused = moved(&mut state, stale).unwrap_err();
        assert_eq!((refused.reason, refused.field.as_str()), (Reason::StalePlan, "basis"));
        assert!(refused.message.ends_with("has changed since this was planned"), "{refused:?}");
    }
    assert_eq!(state.hash(), before, "nothing was changed");
    assert_eq!(moved(&mut state, basis.clone()), Ok(Reply::Changed { changed: 1 }));
    assert_eq!(reason(moved(&mut state, basis)), Reason::StalePlan, "a repeat finds it moved");
}

#[test]
fn a_session_ends_with_all_that_it_holds() {
    let (mut state, session, epoch) = owned();
    let put = |session| {
        let record = Record::Entry(Entry { value: "v".into(), session: Some(session) });
        let put = Operation::Put { key: Key::entry("bound"), record, return_previous: false };
        Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
    };
    run(&mut state, put(session)).unwrap();
    // An expiry counts only in the term of whoever proposed it.
    let expire = |term| Command::ExpireSession { id: session, term };
    assert_eq!(reason(run(&mut state, expire(Term(2)))), Reason::PreconditionFailed);
    assert!(state.session(session).is_some());
    let before = state.revision();
    assert_eq!(run(&mut state, expire(Term(3))), Ok(Reply::Done));
    assert_eq!(state.revision(), before.next());
    assert!(state.get(&Key::entry("bound")).is_none());
    let left = partition(&state, "n/0");
    assert_eq!((left.owner, left.state), (None, PartitionState::Unassigned));
    assert_eq!(left.epoch, Some(epoch));
    assert_eq!(state.worker(&name("w")).map(|worker| worker.state), Some(WorkerState::Down));
    assert_eq!(reason(run(&mut state, expire(Term(3)))), Reason::SessionExpired);
    assert_eq!(reason(run(&mut state, put(session))), Reason::SessionExpired);
    assert_eq!(reason(register(&mut state, "w", session)), Reason::SessionExpired);
    assert_eq!(reason(release(&mut state, 0, epoch)), Reason::StaleEpoch);
    // A new incarnation.
    let session = open(&mut state);
    assert_eq!(register(&mut state, "w", session), Ok(Reply::Done));
    assert!(grant(&mut state, 0, "w", session) > epoch);
}

#[test]
fn a_draining_worker_gives_back_and_takes_nothing() {
    let (mut state, session, epoch) = owned();
    let drain = |drain| Command::DrainWorker { name: name("w"), drain };
    assert_eq!(run(&mut state, drain(true)), Ok(Reply::Changed { changed: 1 }));
    assert_eq!(partition(&state, "n/0").state, PartitionState::Releasing);
    assert_eq!(release(&mut state, 0, epoch), Ok(Reply::Done));
    let owner = Owner { worker: name("w"), session };
    let grants = vec![Grant { partition: id(0), owner }];
    let assigned = run(&mut state, Command::AssignPartitions { grants });
    assert_eq!(assigned, Ok(Reply::Changed { changed: 0 }));
    assert_eq!(run(&mut state, drain(false)), Ok(Reply::Changed { changed: 0 }));
    grant(&mut state, 0, "w", session);
    let leave = |session| Command::LeaveWorker { name: name("w"), session };
    assert_eq!(reason(run(&mut state, leave(None))), Reason::PreconditionFailed);
    assert_eq!(run(&mut state, leave(Some(session))), Ok(Reply::Done));
    assert_eq!(partition(&state, "n/0").owner, None);
    assert_eq!(reason(run(&mut state, leave(Some(session)))), Reason::NotFound);
}

#[test]
fn guards_reject_who_has_lost_what_they_name() {
    let (mut state, session, epoch) = owned();
    let guarded = |guards: Vec<Guard>| {
        let put = Operation::Put {
            key: Key::entry("k"),
            record: Record::Entry("guarded".into()),
            return_previous: false,
        };
        Command::Transaction(Transaction { success: vec![put], guards, ..Transaction::default() })
    };
    let all = vec![Guard::Session(session), Guard::Partition { id: id(0), epoch }];
    run(&mut state, guarded(all.clone())).unwrap();
    run(&mut state, Command::CloseSession { id: session }).unwrap();
    assert_eq!(reason(run(&mut state, guarded(all))), Reason::SessionExpired);
    let partition = vec![Guard::Partition { id: id(0), epoch }];
    assert_eq!(reason(run(&mut state, guarded(partition))), Reason::StaleEpoch);
}

/// Sends a put as request `serial` of a session.
fn send(
    state: &mut State,
    session: SessionId,
    serial: u64,
    acknowledged: u64,
    value: &'static str,
) -> Outcome {
    let put = Operation::Put {
        key: Key::entry("counter"),
        record: Record::Entry(value.into()),
        return_previous: true,
    };
    let transaction = Transaction { success: vec![put], ..Transaction::default() };
    let digest = digest(&transaction);
    let (serial, acknowledged) = (Serial(serial), Serial(acknowledged));
    let call = Some(Call { session, serial, acknowledged, digest });
    let command = Command::Transaction(transaction);
    let request = Request { call, ..Request::from(command) };
    let applied = apply_request(state, Stamp::at(9), &request);
    assert_eq!(state.check(), Ok(()));
    applied.outcome
}

fn refused(outcome: Outcome) -> Reason {
    outcome.result.expect_err("a rejection").reason
}

#[test]
fn a_repeat_returns_the_first_outcome_and_changes_nothing() {
    let mut state = sound();
    let session = open(&mut state);
    let first = send(&mut state, session, 2, 0, "a");
    let second = send(&mut state, session, 1, 0, "b");
    assert!(second.revision > first.revision);
    let hash = state.hash();
    assert_eq!(send(&mut state, session, 2, 0, "a"), first);
    assert_eq!(send(&mut state, session, 1, 0, "b"), second);
    assert_eq!(state.hash(), hash);
    assert_eq!(refused(send(&mut state, session, 1, 0, "c")), Reason::InvalidField);
    // Forgotten once acknowledged, and never applied again.
    send(&mut state, session, 3, 2, "d");
    assert_eq!(refused(send(&mut state, session, 1, 0, "b")), Reason::SerialTooOld);
    assert_eq!(refused(send(&mut state, session, 2, 2, "a")), Reason::SerialTooOld);
    let max = state.settings().session_window_max;
    assert_eq!(refused(send(&mut state, session, max + 3, 2, "e")), Reason::LimitExceeded);
    assert_eq!(send(&mut state, session, max + 2, 2, "e").revision, state.revision());
}

#[test]
fn rejections_are_kept_too_and_all_goes_with_the_session() {
    let mut state = sound();
    let session = open(&mut state);
    let long: &'static str = "x".repeat(100).leak();
    let rejected = send(&mut state, session, 1, 0, long);
    assert_eq!(refused(rejected.clone()), Reason::LimitExceeded);
    // What would be allowed now was refused then.
    let setting = Key::setting(&name("value_bytes_max"));
    let range = crate::KeyRange::Single(setting);
    let delete = Operation::Delete { range, return_previous: false };
    let transaction = Transaction { success: vec![delete], ..Transaction::default() };
    run(&mut state, Command::Transaction(transaction)).unwrap();
    let repeated = send(&mut state, session, 1, 0, long);
    assert_eq!(repeated, rejected);
    let internal = |state: &State| state.records_from(&key(crate::Kind::Window, "")).count();
    assert_eq!(internal(&state), 2);
    run(&mut state, Command::CloseSession { id: session }).unwrap();
    assert_eq!(internal(&state), 0);
    assert_eq!(refused(send(&mut state, session, 2, 0, "a")), Reason::SessionExpired);
}

#[test]
fn replies_that_are_kept_are_bounded() {
    let mut state = sound();
    let delete = Name::new("session_reply_bytes_max").unwrap();
    let record = Record::Setting("1024".into());
    let put = Operation::Put { key: Key::setting(&delete), record, return_previous: false };
    let transaction = Transaction { success: vec![put], ..Transaction::default() };
    run(&mut state, Command::Transaction(transaction)).unwrap();
    let session = open(&mut state);
    let outcomes: Vec<_> =
        (1..10).map(|serial| send(&mut state, session, serial, 0, "a")).collect();
    let accepted = outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
    assert!((2..5).contains(&accepted), "{accepted}");
    // Acknowledging makes room.
    assert!(send(&mut state, session, 10, 9, "a").result.is_ok());
}

#[test]
fn a_restore_ends_all_that_was_granted_and_keeps_the_rest() {
    let (mut state, session, epoch) = owned();
    let put = Operation::Put {
        key: Key::entry("lock"),
        record: Record::Entry(Entry { value: "mine".into(), session: Some(session) }),
        return_previous: false,
    };
    let transaction = Transaction { success: vec![put], ..Transaction::default() };
    run(&mut state, Command::Transaction(transaction)).unwrap();
    send(&mut state, session, 1, 0, "a");
    let (peer, client) = ("p:1".into(), "c:1".into());
    run(&mut state, Command::AddMember { id: MemberId(4), peer, client }).unwrap();
    let second = grant(&mut state, 1, "w", session);
    // A partition that its owner is to release before it goes.
    run(&mut state, Command::DeleteNetwork { name: name("n") }).unwrap();
    assert_eq!(partition(&state, "n/1").state, PartitionState::Deleted);
    assert!(second > epoch);

    let identity = Identity { cluster_id: ClusterId(8), restore_epoch: RestoreEpoch(77) };
    let old = state.clone();
    let mut restored = state.restored(identity);
    assert_eq!(restored.check(), Ok(()));
    assert_eq!((restored.identity(), restored.revision()), (identity, old.revision()));
    assert_eq!(restored.sessions().len(), 0);
    for gone in [Key::entry("lock"), Key::member(MemberId(4)), key(crate::Kind::Partition, "n/0")] {
        assert!(old.get(&gone).is_some() && restored.get(&gone).is_none(), "{gone}");
    }
    assert_eq!(restored.get(&Key::entry("counter")), old.get(&Key::entry("counter")));
    let worker = restored.worker(&name("w")).unwrap();
    assert_eq!((worker.state, worker.session), (WorkerState::Down, None));
    assert_eq!(restored.records_from(&key(crate::Kind::Window, "")).count(), 0);

    // What was drawn before means nothing any more.
    assert_eq!(refused(send(&mut restored, session, 2, 0, "b")), Reason::SessionExpired);
    assert_eq!(reason(release(&mut restored, 0, epoch)), Reason::StaleEpoch);
}

#[test]
fn a_restored_partition_is_granted_in_a_larger_epoch() {
    let (state, _, epoch) = owned();
    let identity = Identity { cluster_id: ClusterId(8), restore_epoch: RestoreEpoch(77) };
    let mut restored = state.restored(identity);
    assert_eq!(restored.check(), Ok(()));
    let free = partition(&restored, "n/0");
    assert_eq!((free.owner, free.state), (None, PartitionState::Unassigned));
    assert_eq!(free.epoch, Some(epoch));
    let session = open(&mut restored);
    assert_eq!(session.restore, RestoreEpoch(77));
    assert_eq!(register(&mut restored, "w", session), Ok(Reply::Done));
    assert!(grant(&mut restored, 0, "w", session) > epoch);
    assert_eq!(reason(release(&mut restored, 0, epoch)), Reason::StaleEpoch);
}

#[test]
fn sessions_after_one_come_in_the_order_in_which_they_were_opened() {
    let mut state = sound();
    let mut all: Vec<_> = state.sessions().map(|(id, _)| id).collect();
    all.extend((0..120).map(|_| open(&mut state)));
    let mut found = Vec::new();
    while let Some(next) = state.sessions_after(found.last().copied()).next() {
        found.push(next.0);
    }
    assert_eq!(found, all);
    assert_eq!(state.sessions_after(None).count(), all.len());
}
