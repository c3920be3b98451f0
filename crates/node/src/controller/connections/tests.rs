//! The timers follow what a look at everything finds, and fire when they should.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use quorate_core::{
    ApplyNetwork, ClusterId, Command, ConnectionId, ConnectionPolicy, ConnectionReport,
    ConnectionState, Due, Grant, Identity, Key, Kind, Name, NetworkSpec, Owner, PartitionId,
    PartitionPolicy, Process, ProcessEdge, RegisterWorker, Reply, Resources, RestoreEpoch,
    Revision, Seen, SessionId, Stamp, State, Term, apply,
};
use tokio::time::Instant;

use super::timers::Timers;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run(state: &mut State, command: Command) -> Reply {
    // Its clock moves with its revisions.
    let stamp = Stamp { time_ms: state.revision().get() * 10, term: Term(1) };
    let reply = apply(state, stamp, &command).outcome.result;
    assert_eq!(state.check(), Ok(()));
    reply.unwrap()
}

fn network(state: &State, partitions: u32, attempts_max: u64) -> Command {
    let id = |index: u32| name(&format!("p{index}"));
    let pairs = (0..partitions).map(|from| (from, (from + 1) % partitions));
    let edges = pairs.filter(|(from, to)| from != to);
    let spec = NetworkSpec {
        processes: (0..partitions).map(|index| Process::new(id(index), "test")).collect(),
        connections: edges
            .map(|(from, to)| ProcessEdge { from: id(from), to: id(to), rate: 1 })
            .collect(),
        policy: PartitionPolicy { partitions, strategy: name("any"), ..PartitionPolicy::default() },
        connection: ConnectionPolicy {
            attempts_max,
            backoff_ms: 100,
            connect_timeout_ms: 1_000,
            ..ConnectionPolicy::default()
        },
    };
    let basis = state.get(&Key::network(&name("net"))).map(|it| it.modified);
    let assignment = (0..partitions).collect();
    Command::ApplyNetwork(ApplyNetwork { name: name("net"), spec, assignment, basis })
}

fn grants(state: &State, session: SessionId) -> Command {
    let owner = Owner { worker: name("w"), session };
    let all = state.records_of(Kind::Partition).filter_map(|(key, _)| key.as_partition());
    let grants = all.map(|partition| Grant { partition, owner: owner.clone() });
    Command::AssignPartitions { grants: grants.collect() }
}

/// A ring of partitions that one worker owns.
fn ring(partitions: u32) -> (State, SessionId) {
    let mut state =
        State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) });
    let command = network(&state, partitions, 1);
    run(&mut state, command);
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Reply::OpenSession { id: session, .. } = run(&mut state, open) else { panic!() };
    let worker = RegisterWorker {
        name: name("w"),
        session,
        address: "w:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
    };
    run(&mut state, Command::RegisterWorker(worker));
    let command = grants(&state, session);
    run(&mut state, command);
    (state, session)
}

fn report(state: &mut State, session: SessionId, id: &ConnectionId, seen: Seen) {
    let Some(status) = state.connection_status(id) else { return };
    let (from_epoch, to_epoch) = (status.from.epoch, status.to.epoch);
    let reports = vec![ConnectionReport { id: id.clone(), from_epoch, to_epoch, seen }];
    run(state, Command::ReportConnections { session, reports });
}

fn first() -> ConnectionId {
    ConnectionId::parse("net/0->net/1").unwrap()
}

fn state_of(state: &State) -> ConnectionState {
    state.connection_status(&first()).unwrap().state
}

#[test]
fn what_is_broken_is_retried_after_its_back_off_and_then_fails() {
    let (mut state, session) = ring(2);
    let (start, mut timers) = (Instant::now(), Timers::default());
    let after = |ms| start + Duration::from_millis(ms);
    let mut step = |state: &mut State, ms: u64| {
        timers.follow(state, after(ms));
        let steps = timers.due(after(ms), 10);
        let dues: Vec<Due> = steps.iter().map(|step| step.due).collect();
        if !steps.is_empty() {
            run(state, Command::ManageConnections { steps });
        }
        dues
    };
    assert_eq!(step(&mut state, 0), []);
    report(&mut state, session, &ConnectionId::parse("net/1->net/0").unwrap(), Seen::Up);
    report(&mut state, session, &first(), Seen::Broken("reset".into()));
    assert_eq!(step(&mut state, 500), []);
    assert_eq!(step(&mut state, 599), []);
    assert_eq!(step(&mut state, 600), [Due::Retry]);
    assert_eq!(state_of(&state), ConnectionState::Connecting);
    assert_eq!(step(&mut state, 700), []);
    assert_eq!(step(&mut state, 1_699), []);
    assert_eq!(step(&mut state, 1_700), [Due::TimeOut]);
    assert_eq!(state_of(&state), ConnectionState::Broken);
    // Its second back-off is twice the first.
    assert_eq!(step(&mut state, 1_800), []);
    assert_eq!(step(&mut state, 1_999), []);
    assert_eq!(step(&mut state, 2_000), [Due::Retry]);
    assert_eq!(state_of(&state), ConnectionState::Failed);
    assert_eq!(step(&mut state, 999_999), []);
    run(&mut state, Command::RetryConnection { id: first() });
    assert_eq!(step(&mut state, 1_000_000), []);
    assert_eq!(step(&mut state, 1_001_000), [Due::TimeOut]);
}

/// A new leader, which knows only the state, and one whose history is gone.
#[test]
fn a_new_leader_waits_from_the_start_and_a_lost_history_restarts_nothing() {
    let (mut state, session) = ring(3);
    let (start, mut timers) = (Instant::now(), Timers::default());
    let after = |ms| start + Duration::from_millis(ms);
    timers.follow(&state, start);
    report(&mut state, session, &first(), Seen::Broken("reset".into()));
    let state = state.without_history();
    timers.follow(&state, after(990));
    assert_eq!(timers.due(after(999), 10), []);
    // The one that broke is due; of the two that connect nobody has ever said anything.
    assert_eq!(timers.due(after(1_089), 10), []);
    assert_eq!(timers.due(after(1_090), 10).len(), 1);
    assert_eq!(timers.len(), 1);
    let mut new = Timers::default();
    new.follow(&state, after(1_000));
    assert_eq!(new.due(after(1_099), 10), []);
    assert_eq!(new.due(after(1_100), 10).len(), 1);
    assert_eq!(new.due(after(1_990), 10).len(), 1);
    assert_eq!(new.len(), 1);
}

/// A step of a random story.
#[derive(Debug, Clone)]
enum Step {
    Network(u32, u64),
    Release(u32),
    Assign,
    Report(u32, bool),
    Manage(u64),
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..5_u32, 1..3_u64).prop_map(|(partitions, attempts)| Step::Network(partitions, attempts)),
        2 => (0..4_u32).prop_map(Step::Release),
        4 => Just(Step::Assign),
        6 => (0..4_u32, any::<bool>()).prop_map(|(from, up)| Step::Report(from, up)),
        6 => (0..2_000_u64).prop_map(Step::Manage),
        1 => Just(Step::Delete),
    ]
}

proptest! {
    #[test]
    fn following_finds_what_a_full_look_finds(steps in prop::collection::vec(step(), 1..60)) {
        let (mut state, session) = ring(4);
        let (mut now, mut timers) = (Instant::now(), Timers::default());
        for step in steps {
            timers.follow(&state, now);
            match step {
                Step::Network(partitions, attempts) => {
                    let command = network(&state, partitions, attempts);
                    run(&mut state, command);
                }
                Step::Delete if state.get(&Key::network(&name("net"))).is_some() => {
                    run(&mut state, Command::DeleteNetwork { name: name("net") });
                }
                Step::Delete => {}
                Step::Release(index) => {
                    let id = PartitionId { network: name("net"), index };
                    let owned = state.partition(&id).filter(|it| it.owner.is_some());
                    if let Some(epoch) = owned.and_then(|it| it.epoch) {
                        run(&mut state, Command::ReleasePartition { id, epoch });
                    }
                }
                Step::Assign => {
                    let command = grants(&state, session);
                    run(&mut state, command);
                }
                Step::Report(from, up) => {
                    let known = state.records_of(Kind::ConnectionStatus);
                    let ids: Vec<_> = known.filter_map(|(key, _)| key.as_connection()).collect();
                    if let Some(id) = ids.get(from as usize) {
                        let seen = if up { Seen::Up } else { Seen::Broken("x".into()) };
                        report(&mut state, session, id, seen);
                    }
                }
                Step::Manage(ms) => {
                    now += Duration::from_millis(ms);
                    let steps = timers.due(now, 3);
                    let count = u32::try_from(steps.len()).unwrap();
                    let reply = run(&mut state, Command::ManageConnections { steps });
                    prop_assert_eq!(reply, Reply::Changed { changed: count }, "what is due is due");
                }
            }
            timers.follow(&state, now);
            let mut all = Timers::default();
            all.follow(&state, now);
            prop_assert_eq!(timers.parts(), all.parts());
        }
        prop_assert!(state.revision() > Revision(0));
    }
}
