//! What the janitor removes, look by look, on states in memory.

use quorate_core::{
    ApplyNetwork, ClusterId, Identity, NetworkSpec, PartitionPolicy, Process, RegisterWorker,
    Reply, Resources, RestoreEpoch, SessionId, Stamp, apply,
};

use super::*;

const DAY_MS: u64 = 86_400_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run(state: &mut State, command: &Command) -> Reply {
    let applied = apply(state, Stamp::at(1), command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.unwrap()
}

fn worker(state: &mut State, text: &str) -> SessionId {
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Reply::OpenSession { id: session, .. } = run(state, &open) else { panic!("no session") };
    let register = RegisterWorker {
        name: name(text),
        session,
        address: "w:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
    };
    run(state, &Command::RegisterWorker(register));
    session
}

fn empty() -> State {
    State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) })
}

fn look(janitor: &mut Janitor, state: &mut State, elapsed_ms: u64) -> usize {
    let now = Now { elapsed_ms, unix_ms: 0 };
    let acts = janitor.decide(state, &Strategies::builtin(), now);
    acts.into_iter().map(|act| run(state, &act.command)).count()
}

#[test]
fn a_worker_that_is_down_for_a_day_is_removed_once() {
    let mut state = empty();
    let (lost, _) = (worker(&mut state, "lost"), worker(&mut state, "alive"));
    let mut janitor = Janitor::default();
    assert_eq!(look(&mut janitor, &mut state, 0), 0);
    run(&mut state, &Command::CloseSession { id: lost });
    assert_eq!(look(&mut janitor, &mut state, 5), 0, "from now on it is down");
    assert_eq!(look(&mut janitor, &mut state, 4 + DAY_MS), 0);
    // A new leader counts anew.
    assert_eq!(look(&mut Janitor::default(), &mut state, 5 + DAY_MS), 0);
    assert_eq!(look(&mut janitor, &mut state, 5 + DAY_MS), 1);
    assert!(state.worker(&name("lost")).is_none());
    assert_eq!(look(&mut janitor, &mut state, 6 + 2 * DAY_MS), 0);
    assert!(state.worker(&name("alive")).is_some());
}

#[test]
fn a_worker_that_came_back_begins_anew() {
    let mut state = empty();
    let session = worker(&mut state, "w");
    let mut janitor = Janitor::default();
    run(&mut state, &Command::CloseSession { id: session });
    look(&mut janitor, &mut state, 0);
    let session = worker(&mut state, "w");
    look(&mut janitor, &mut state, DAY_MS - 1);
    run(&mut state, &Command::CloseSession { id: session });
    assert_eq!(look(&mut janitor, &mut state, DAY_MS), 0);
    assert_eq!(look(&mut janitor, &mut state, 2 * DAY_MS - 1), 0);
    assert_eq!(look(&mut janitor, &mut state, 2 * DAY_MS), 1);
}

#[test]
fn a_look_removes_so_many_and_no_more() {
    let mut state = empty();
    for at in 0..REMOVED_MAX + 20 {
        let session = worker(&mut state, &format!("w{at:03}"));
        run(&mut state, &Command::CloseSession { id: session });
    }
    let mut janitor = Janitor::default();
    look(&mut janitor, &mut state, 0);
    assert_eq!(look(&mut janitor, &mut state, DAY_MS), REMOVED_MAX);
    assert_eq!(look(&mut janitor, &mut state, DAY_MS), 20);
    assert_eq!(look(&mut janitor, &mut state, DAY_MS), 0);
}

#[test]
fn nobody_waits_for_a_worker_that_is_gone() {
    let mut state = empty();
    let session = worker(&mut state, "w");
    let spec = NetworkSpec {
        processes: vec![Process::new(name("p"), "c")],
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions: 1,
            strategy: name("any"),
            ..PartitionPolicy::default()
        },
        connection: quorate_core::ConnectionPolicy::default(),
    };
    let network = ApplyNetwork { name: name("net"), spec, assignment: vec![0], basis: None };
    run(&mut state, &Command::ApplyNetwork(network));
    let id = PartitionId { network: name("net"), index: 0 };
    let moves = vec![(id.clone(), Some(name("w")))];
    run(&mut state, &Command::MovePartitions { moves, basis: Basis::default() });
    let mut janitor = Janitor::default();
    assert_eq!(look(&mut janitor, &mut state, 0), 0);
    run(&mut state, &Command::LeaveWorker { name: name("w"), session: Some(session) });
    assert_eq!(state.partition(&id).unwrap().target, Some(name("w")));
    assert_eq!(look(&mut janitor, &mut state, 1), 1);
    assert_eq!(state.partition(&id).unwrap().target, None);
    assert_eq!(look(&mut janitor, &mut state, 2), 0);
}

#[test]
fn settings_hold_it_back() {
    assert_eq!(Janitor::held(&Settings::default()), None);
    let disabled = Settings { janitor_enabled: 0, ..Settings::default() };
    assert_eq!(Janitor::held(&disabled), Some(Idle::Disabled));
}
