//! 19 and 20: grants, releases and what ends them, as the leader's assigner drives them.

use std::{collections::BTreeMap, time::Duration};

use quorate_core::{
    ApplyNetwork, Command, Entry, Epoch, Guard, Key, KeyRange, Kind, Name, NetworkSpec, Operation,
    Partition, PartitionId, PartitionPolicy, PartitionState, Process, Reason, Record,
    RegisterWorker, Rejection, Reply, Resources, SessionId, State, Transaction, WorkerState,
};
use quorate_node::{
    Coordinator,
    coordinator::{Freshness, Role},
};

use crate::common::{PATIENCE, TestCluster, deadline};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

pub(crate) async fn propose(
    coordinator: &Coordinator,
    command: Command,
) -> Result<Reply, Rejection> {
    coordinator.propose(command, deadline()).await.unwrap().outcome.result
}

pub(crate) async fn done(coordinator: &Coordinator, command: Command) -> Reply {
    propose(coordinator, command).await.unwrap()
}

/// Waits until the state here is as wanted.
pub(crate) async fn until(coordinator: &Coordinator, wanted: impl Fn(&State) -> bool) {
    let mut applied = coordinator.applied();
    let waiting = async {
        while !wanted(&coordinator.view().state) {
            applied.changed().await.unwrap();
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("not in time: {:?}", owners(&coordinator.view().state));
    }
}

/// How many partitions each worker owns, and under "-" nobody; those to be released too.
fn owners(state: &State) -> BTreeMap<String, usize> {
    let mut owners = BTreeMap::new();
    for (_, record) in state.range(&KeyRange::Prefix(Kind::Partition, bytes::Bytes::new())) {
        let Record::Partition(partition) = &record.value else { panic!("{record:?}") };
        let owner = partition.owner.as_ref().map_or("-", |owner| owner.worker.as_str());
        *owners.entry(owner.to_owned()).or_default() += 1;
    }
    owners
}

fn owned<const N: usize>(state: &State, expected: [(&str, usize); N]) -> bool {
    owners(state) == expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

pub(crate) fn partition(state: &State, index: u32) -> Partition {
    state.partition(&id(index)).unwrap().as_ref().clone()
}

fn epoch(state: &State, index: u32) -> Epoch {
    partition(state, index).epoch.unwrap()
}

pub(crate) async fn open(coordinator: &Coordinator) -> SessionId {
    // Long: nothing here waits for an expiry.
    let open = Command::OpenSession { ttl_ms: 600_000, label: "test".into() };
    match done(coordinator, open).await {
        Reply::OpenSession { id, .. } => id,
        reply => panic!("{reply:?}"),
    }
}

async fn register(
    coordinator: &Coordinator,
    worker: &str,
    session: SessionId,
) -> Result<Reply, Rejection> {
    let command = RegisterWorker {
        name: name(worker),
        session,
        address: "127.0.0.1:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
    };
    propose(coordinator, Command::RegisterWorker(command)).await
}

pub(crate) async fn worker(coordinator: &Coordinator, worker: &str) -> SessionId {
    let session = open(coordinator).await;
    assert_eq!(register(coordinator, worker, session).await, Ok(Reply::Done));
    session
}

/// A network with so many processes, each a partition of its own.
pub(crate) async fn network(coordinator: &Coordinator, partitions: u32) {
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
    let assignment = (0..partitions).collect();
    let command = ApplyNetwork { name: name("net"), spec, assignment, basis: None };
    done(coordinator, Command::ApplyNetwork(command)).await;
}

async fn release_all(coordinator: &Coordinator) {
    let view = coordinator.view();
    for (key, record) in view.state.range(&KeyRange::Prefix(Kind::Partition, bytes::Bytes::new())) {
        let Record::Partition(partition) = &record.value else { panic!("{record:?}") };
        if matches!(partition.state, PartitionState::Releasing | PartitionState::Deleted) {
            let id = PartitionId::parse(std::str::from_utf8(&key.bytes).unwrap()).unwrap();
            let epoch = partition.epoch.unwrap();
            done(coordinator, Command::ReleasePartition { id, epoch }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_go_to_active_workers_and_to_others_when_a_session_ends() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    network(one, 6).await;
    assert!(owned(&one.view().state, [("-", 6)]), "nobody takes any");
    let first = worker(one, "a").await;
    until(one, |state| owned(state, [("a", 6)])).await;
    let before = epoch(&one.view().state, 0);
    // Refused while the session lives, whoever asks.
    let second = open(one).await;
    let taken = register(one, "a", second).await.unwrap_err();
    assert_eq!(taken.reason, Reason::AlreadyExists);
    assert_eq!(register(one, "b", second).await, Ok(Reply::Done));
    let third = worker(one, "c").await;
    assert!(owned(&one.view().state, [("a", 6)]), "who comes later takes nothing away");
    // Closed: its partitions go to the others.
    done(one, Command::CloseSession { id: first }).await;
    until(one, |state| owned(state, [("b", 3), ("c", 3)])).await;
    assert!(epoch(&one.view().state, 0) > before);
    assert_eq!(one.view().state.worker(&name("a")).unwrap().state, WorkerState::Down);
    // Expired: the same. Only the term of the entry counts.
    let term = one.status().term;
    done(one, Command::ExpireSession { id: third, term }).await;
    until(one, |state| owned(state, [("b", 6)])).await;
    // The same name at once, in a new session: another incarnation with new epochs.
    let before = epoch(&one.view().state, 0);
    done(one, Command::CloseSession { id: second }).await;
    let again = worker(one, "b").await;
    until(one, |state| owned(state, [("b", 6)])).await;
    let now = partition(&one.view().state, 0);
    assert_eq!(now.owner.unwrap().session, again);
    assert!(now.epoch.unwrap() > before);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_move_and_a_drain_wait_for_releases_only() {
    let cluster = TestCluster::start(1).await;
    let one = cluster.node(1).coordinator();
    worker(one, "a").await;
    network(one, 3).await;
    until(one, |state| owned(state, [("a", 3)])).await;
    worker(one, "b").await;
    let before = epoch(&one.view().state, 1);
    let moves = vec![(id(1), Some(name("b")))];
    done(one, Command::MovePartitions { moves, basis: Default::default() }).await;
    let asked = partition(&one.view().state, 1);
    assert_eq!((asked.state, asked.target), (PartitionState::Releasing, Some(name("b"))));
    release_all(one).await;
    until(one, |state| owned(state, [("a", 2), ("b", 1)])).await;
    let moved = partition(&one.view().state, 1);
    assert_eq!((moved.state, moved.target), (PartitionState::Assigned, None));
    assert!(moved.epoch.unwrap() > before);
    // To anybody: to another than the one that had it.
    done(one, Command::MovePartitions { moves: vec![(id(1), None)], basis: Default::default() })
        .await;
    release_all(one).await;
    until(one, |state| owned(state, [("a", 3)])).await;
    // Drained: nothing stays, nothing new comes.
    let drain = |drain| Command::DrainWorker { name: name("a"), drain };
    assert_eq!(done(one, drain(true)).await, Reply::Changed { changed: 3 });
    release_all(one).await;
    until(one, |state| owned(state, [("b", 3)])).await;
    let leave = |session| Command::LeaveWorker { name: name("b"), session };
    let session = one.view().state.worker(&name("b")).unwrap().session;
    done(one, leave(session)).await;
    assert!(owned(&one.view().state, [("-", 3)]), "a worker that drains takes nothing");
    done(one, drain(false)).await;
    until(one, |state| owned(state, [("a", 3)])).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_partition_stays_until_it_is_released() {
    let cluster = TestCluster::start(1).await;
    let one = cluster.node(1).coordinator();
    let first = worker(one, "a").await;
    network(one, 2).await;
    until(one, |state| owned(state, [("a", 2)])).await;
    done(one, Command::DeleteNetwork { name: name("net") }).await;
    assert_eq!(partition(&one.view().state, 0).state, PartitionState::Deleted);
    // The same network again: what is owned still has to be released first.
    network(one, 2).await;
    worker(one, "b").await;
    assert_eq!(partition(&one.view().state, 0).state, PartitionState::Releasing);
    let epochs = [0, 1].map(|index| epoch(&one.view().state, index));
    done(one, Command::ReleasePartition { id: id(0), epoch: epochs[0] }).await;
    until(one, |state| partition(state, 0).epoch > Some(epochs[0])).await;
    // The other one goes with the session.
    assert_eq!(partition(&one.view().state, 1).epoch, Some(epochs[1]));
    done(one, Command::CloseSession { id: first }).await;
    until(one, |state| owned(state, [("b", 2)])).await;
    // Deleted without an owner: gone.
    done(one, Command::DeleteNetwork { name: name("net") }).await;
    release_all(one).await;
    assert!(owners(&one.view().state).is_empty());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_write_of_an_old_epoch_is_refused() {
    let cluster = TestCluster::start(1).await;
    let one = cluster.node(1).coordinator();
    let session = worker(one, "a").await;
    network(one, 1).await;
    until(one, |state| owned(state, [("a", 1)])).await;
    let guarded = |epoch| {
        let record = Record::Entry(Entry { value: "v".into(), session: None });
        let key = Key::entry("guarded");
        let put = Operation::Put { key, record, return_previous: false };
        let guards = vec![Guard::Partition { id: id(0), epoch }];
        let transaction = Transaction { success: vec![put], guards, ..Transaction::default() };
        propose(one, Command::Transaction(transaction))
    };
    let first = epoch(&one.view().state, 0);
    guarded(first).await.unwrap();
    // Granted again to the same worker and session: the old epoch does not count any more.
    done(one, Command::ReleasePartition { id: id(0), epoch: first }).await;
    until(one, |state| owned(state, [("a", 1)])).await;
    let second = epoch(&one.view().state, 0);
    assert!(second > first);
    assert_eq!(guarded(first).await.unwrap_err().reason, Reason::StaleEpoch);
    guarded(second).await.unwrap();
    // The same serves to release: twice is once.
    let release = Command::ReleasePartition { id: id(0), epoch: first };
    assert_eq!(propose(one, release).await.unwrap_err().reason, Reason::StaleEpoch);
    done(one, Command::CloseSession { id: session }).await;
    assert_eq!(guarded(second).await.unwrap_err().reason, Reason::StaleEpoch);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_goes_on_and_moves_nothing() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    worker(one, "a").await;
    worker(one, "b").await;
    network(one, 8).await;
    until(one, |state| owned(state, [("a", 4), ("b", 4)])).await;
    let settled = one.view().state.revision();
    for _ in 0..3 {
        let target = one.status().leader.map(|leader| leader.get() % 3 + 1).unwrap();
        let target = quorate_core::MemberId(target);
        one.transfer_leader(Some(target), deadline()).await.unwrap();
        let read = quorate_node::coordinator::Freshness::Linearizable;
        let view = one.read(read, deadline()).await.unwrap();
        assert_eq!(view.state.revision(), settled, "a new leader changes nothing");
    }
    // And it grants what comes up. What any of the leaders had done would be counted below.
    let session = one.view().state.worker(&name("a")).unwrap().session.unwrap();
    done(one, Command::CloseSession { id: session }).await;
    until(one, |state| owned(state, [("b", 8)])).await;
    let history = one.view();
    let changed = history.state.history().from(settled.next());
    assert_eq!(changed.count(), 2, "the end of the session, and one grant");
    cluster.shutdown().await;
}

/// Waits until the balancer here has looked twice more and found nothing in its way.
async fn looked_twice(coordinator: &Coordinator) {
    let since = coordinator.activity().balancer().looks;
    let looked = async {
        loop {
            let balancer = coordinator.activity().balancer();
            if balancer.looks >= since + 2 && balancer.held.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it looks in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_leader_move_nothing_in_a_balanced_cluster() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    for (setting, value) in [("balance_interval_ms", "100"), ("balance_cooldown_ms", "0")] {
        let record = Record::Setting(value.into());
        let key = Key::setting(&name(setting));
        let put = Operation::Put { key, record, return_previous: false };
        let success = vec![put];
        done(one, Command::Transaction(Transaction { success, ..Default::default() })).await;
    }
    for text in ["a", "b", "c"] {
        worker(one, text).await;
    }
    network(one, 12).await;
    until(one, |state| owned(state, [("a", 4), ("b", 4), ("c", 4)])).await;
    let epochs = |state: &State| (0..12).map(|index| epoch(state, index)).collect::<Vec<_>>();
    let before = epochs(&one.view().state);
    let rounds = std::env::var("QUORATE_LEADER_CHANGES").map_or(10, |text| text.parse().unwrap());
    for round in 0..rounds {
        let to = cluster.node(round % 3 + 1).coordinator();
        one.transfer_leader(Some(to.member_id()), deadline()).await.ok();
        until(to, |_| to.status().role == Role::Leader).await;
        looked_twice(to).await;
    }
    let view = one.read(Freshness::Linearizable, deadline()).await.unwrap();
    assert_eq!(epochs(&view.state), before, "nothing was granted anew");
    cluster.shutdown().await;
}
