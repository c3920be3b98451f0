//! Connections of a real cluster: they follow their partitions, and are retried by their rules.

use std::{collections::BTreeMap, time::Duration};

use quorate_core::{
    ApplyNetwork, Command, ConnectionId, ConnectionPolicy, ConnectionReport, ConnectionState,
    ConnectionStatus, Epoch, Key, Kind, NetworkSpec, Operation, PartitionPolicy, Process,
    ProcessEdge, Record, Reply, Revision, Seen, SessionId, State, Transaction,
};
use quorate_node::{
    Coordinator,
    coordinator::{Freshness, Role},
};
use quorate_proto::{
    Reason,
    v1::{self, connection_service_client::ConnectionServiceClient},
};
use tonic::Code;

use crate::{
    clients::{Clients, assert_error},
    common::{PATIENCE, TestCluster, deadline},
    ownership::{done, id, name, until, worker},
};

/// A ring of partitions; a connection is retried twice, soon.
async fn ring(coordinator: &Coordinator, partitions: u32) {
    ring_with(coordinator, partitions, 20).await;
}

/// The same with another back-off.
async fn ring_with(coordinator: &Coordinator, partitions: u32, backoff_ms: u64) {
    let process = |index: u32| name(&format!("p{index}"));
    let edge =
        |from| ProcessEdge { from: process(from), to: process((from + 1) % partitions), rate: 1 };
    let spec = NetworkSpec {
        processes: (0..partitions).map(|index| Process::new(process(index), "test")).collect(),
        connections: (0..partitions).map(edge).collect(),
        policy: PartitionPolicy {
            partitions,
            strategy: name("round-robin"),
            ..PartitionPolicy::default()
        },
        connection: ConnectionPolicy {
            attempts_max: 2,
            backoff_ms,
            backoff_ms_max: backoff_ms,
            connect_timeout_ms: 1_000_000,
            ..ConnectionPolicy::default()
        },
    };
    let basis = coordinator.view().state.get(&Key::network(&name("net"))).map(|it| it.modified);
    let assignment = (0..partitions).collect();
    let network = ApplyNetwork { name: name("net"), spec, assignment, basis };
    done(coordinator, Command::ApplyNetwork(network)).await;
}

async fn set(coordinator: &Coordinator, setting: &str, value: &str) {
    let (key, record) = (Key::setting(&name(setting)), Record::Setting(value.into()));
    let put = Operation::Put { key, record, return_previous: false };
    let success = vec![put];
    done(coordinator, Command::Transaction(Transaction { success, ..Default::default() })).await;
}

fn connection(from: u32, to: u32) -> ConnectionId {
    ConnectionId { network: name("net"), from, to }
}

fn status(state: &State, from: u32, to: u32) -> Option<ConnectionStatus> {
    state.connection_status(&connection(from, to)).map(|status| status.as_ref().clone())
}

fn statuses(state: &State) -> usize {
    state.records_of(Kind::ConnectionStatus).count()
}

fn is(state: &State, wanted: ConnectionState) -> bool {
    status(state, 0, 1).is_some_and(|status| status.state == wanted)
}

fn report(
    id: ConnectionId,
    status: &ConnectionStatus,
    seen: Seen,
) -> (SessionId, ConnectionReport) {
    let (from_epoch, to_epoch) = (status.from.epoch, status.to.epoch);
    (status.from.session, ConnectionReport { id, from_epoch, to_epoch, seen })
}

async fn tell(coordinator: &Coordinator, from: u32, to: u32, seen: Seen) -> Reply {
    let known = status(&coordinator.view().state, from, to).unwrap();
    let (session, report) = report(connection(from, to), &known, seen);
    done(coordinator, Command::ReportConnections { session, reports: vec![report] }).await
}

/// The epochs of both ends, as every revision from `since` on left them, must be those of the owners
/// at that revision: the story of the changes alone tells it.
fn follows_at_every_revision(state: &State, since: Revision) {
    let mut owners: BTreeMap<Vec<u8>, Option<Epoch>> = BTreeMap::new();
    let mut known: BTreeMap<ConnectionId, (Epoch, Epoch)> = BTreeMap::new();
    let mut connections = std::collections::BTreeSet::new();
    for event in state.history().from(since) {
        for change in &event.changes {
            let now = change.current.as_deref().map(|record| &record.value);
            match (change.key.kind, now) {
                (Kind::Partition, Some(Record::Partition(partition))) => {
                    let epoch = partition.owner.as_ref().and(partition.epoch);
                    owners.insert(change.key.bytes.to_vec(), epoch);
                }
                (Kind::Partition, None) => _ = owners.remove(&change.key.bytes.to_vec()),
                (Kind::Connection, now) => {
                    let id = change.key.as_connection().unwrap();
                    if now.is_some() {
                        connections.insert(id)
                    } else {
                        connections.remove(&id)
                    };
                }
                (Kind::ConnectionStatus, Some(Record::ConnectionStatus(status))) => {
                    let id = change.key.as_connection().unwrap();
                    known.insert(id, (status.from.epoch, status.to.epoch));
                }
                (Kind::ConnectionStatus, None) => {
                    known.remove(&change.key.as_connection().unwrap());
                }
                _ => {}
            }
        }
        let owner = |id: quorate_core::PartitionId| {
            owners.get(id.to_string().as_bytes()).copied().flatten()
        };
        let expected = connections.iter().filter_map(|id: &ConnectionId| {
            let [from, to] = id.ends();
            Some((id.clone(), (owner(from)?, owner(to)?)))
        });
        assert_eq!(known, expected.collect(), "at revision {}", event.revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_moves_and_its_connections_follow_at_the_same_revision() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    set(one, "balance_enabled", "0").await;
    ring(one, 4).await;
    assert_eq!(statuses(&one.view().state), 0, "nobody owns anything");
    worker(one, "a").await;
    until(one, |state| statuses(state) == 4).await;
    assert_eq!(tell(one, 0, 1, Seen::Up).await, Reply::ReportConnections { changed: 1, stale: 0 });
    let b = worker(one, "b").await;

    // It moves: released, then granted to the other.
    let before = status(&one.view().state, 0, 1).unwrap();
    let moves = vec![(id(1), Some(name("b")))];
    done(one, Command::MovePartitions { moves, basis: Default::default() }).await;
    assert_eq!(status(&one.view().state, 0, 1), Some(before.clone()), "up until it is released");
    let release = Command::ReleasePartition { id: id(1), epoch: before.to.epoch };
    done(one, release).await;
    until(one, |state| statuses(state) == 4).await;
    let view = one.view();
    let after = status(&view.state, 0, 1).unwrap();
    assert_eq!((after.state, after.attempts), (ConnectionState::Connecting, 0));
    assert_eq!((after.from, after.to.session), (before.from, b));
    assert!(after.to.epoch > before.to.epoch);
    let granted = view.state.history().get(after.to.epoch.revision).unwrap();
    let kinds = granted.changes.iter().map(|change| change.key.kind);
    let expected = [Kind::Partition, Kind::ConnectionStatus, Kind::ConnectionStatus];
    assert_eq!(kinds.collect::<Vec<_>>(), expected, "both its connections, at that revision");

    // What was seen of the old epochs is left out.
    let (session, old) = report(connection(0, 1), &before, Seen::Broken("old".into()));
    let reply = done(one, Command::ReportConnections { session, reports: vec![old] }).await;
    assert_eq!(reply, Reply::ReportConnections { changed: 0, stale: 1 });

    // A session ends, a network shrinks, and goes: what is stale vanishes with its ends and edges.
    done(one, Command::CloseSession { id: b }).await;
    until(one, |state| statuses(state) == 4).await;
    ring(one, 2).await;
    assert_eq!(statuses(&one.view().state), 2);
    done(one, Command::DeleteNetwork { name: name("net") }).await;
    let view = one.read(Freshness::Linearizable, deadline()).await.unwrap();
    assert_eq!(statuses(&view.state), 0);
    follows_at_every_revision(&view.state, Revision(1));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_retried_by_its_rules_until_it_has_failed() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    set(one, "connection_interval_ms", "10").await;
    ring(one, 2).await;
    let session = worker(one, "a").await;
    until(one, |state| statuses(state) == 2).await;
    tell(one, 1, 0, Seen::Up).await;
    for attempt in 1..=2 {
        tell(one, 0, 1, Seen::Broken("refused".into())).await;
        until(one, |state| is(state, ConnectionState::Connecting)).await;
        let status = status(&one.view().state, 0, 1).unwrap();
        assert_eq!((status.attempts, status.error.as_ref()), (attempt, "refused"));
    }
    tell(one, 0, 1, Seen::Broken("refused".into())).await;
    until(one, |state| is(state, ConnectionState::Failed)).await;
    says_who_and_why(&one.view().state);

    // Through the service, on a node that does not lead: failed, listed, and retried when asked for.
    let follower =
        (1..=3).find(|id| cluster.node(*id).coordinator().status().role != Role::Leader).unwrap();
    let clients = Clients::of(cluster.node(follower)).await;
    let mut service = ConnectionServiceClient::new(clients.channel.clone());
    let failed = |states: Vec<v1::ConnectionState>, partition: &str| v1::ListConnectionsRequest {
        partition: partition.into(),
        states: states.into_iter().map(Into::into).collect(),
        ..Default::default()
    };
    let listed = service.list(failed(vec![v1::ConnectionState::Failed], "net/1")).await.unwrap();
    let listed = listed.into_inner().connections;
    assert_eq!(listed.len(), 1);
    let Some(v1::record::Value::Connection(found)) = &listed[0].value else { panic!("{listed:?}") };
    assert_eq!((found.from, found.to, found.state()), (0, 1, v1::ConnectionState::Failed));
    assert_eq!(found.policy.unwrap().attempts_max, 2);
    assert_eq!(found.status.as_ref().unwrap().error, "refused");
    for (states, partition, count) in
        [(vec![], "net/0", 2), (vec![v1::ConnectionState::Pending], "", 0)]
    {
        let listed = service.list(failed(states, partition)).await.unwrap().into_inner();
        assert_eq!(listed.connections.len(), count);
    }
    let retry = v1::RetryConnectionRequest { connection: "net/0->net/1".into(), context: None };
    assert!(service.retry(retry.clone()).await.unwrap().into_inner().changed);
    assert!(!service.retry(retry).await.unwrap().into_inner().changed);
    let get = |id: &str| v1::GetConnectionRequest { connection: id.into(), read: None };
    let got = service.get(get("net/0->net/1")).await.unwrap().into_inner().connection.unwrap();
    let Some(v1::record::Value::Connection(got)) = got.value else { panic!("no connection") };
    assert_eq!(got.state(), v1::ConnectionState::Connecting);
    let up = v1::ReportConnectionsRequest {
        session: Some(session.into()),
        reports: vec![v1::ConnectionReport {
            connection: "net/0->net/1".into(),
            from_epoch: got.status.as_ref().unwrap().from_epoch,
            to_epoch: got.status.as_ref().unwrap().to_epoch,
            seen: Some(v1::connection_report::Seen::Up(true)),
        }],
        context: None,
    };
    assert_eq!(service.report(up).await.unwrap().into_inner().changed, 1);
    names_what_is_wrong(service).await;
    let activity = total(&cluster);
    assert_eq!(
        activity,
        BTreeMap::from([(ConnectionState::Connecting, 2), (ConnectionState::Failed, 1)])
    );
    cluster.shutdown().await;
}

/// The last change of the connection is the connection manager's.
fn says_who_and_why(state: &State) {
    let last = state.get(&Key::connection_status(&connection(0, 1))).unwrap().modified;
    let origin = &state.history().get(last).unwrap().origin;
    assert_eq!(origin.label.as_ref(), "connection-manager");
    assert_eq!(origin.reason.as_ref(), "back-off is over: 1");
}

/// What is not there, and what is no connection.
async fn names_what_is_wrong(mut service: ConnectionServiceClient<tonic::transport::Channel>) {
    let get = |id: &str| v1::GetConnectionRequest { connection: id.into(), read: None };
    let absent = service.get(get("net/7->net/8")).await.unwrap_err();
    assert_error(&absent, Code::NotFound, Reason::NotFound);
    let wrong = service.get(get("net/7")).await.unwrap_err();
    assert_eq!(
        assert_error(&wrong, Code::InvalidArgument, Reason::InvalidField).field,
        "connection"
    );
}

/// What the connection managers of all coordinators did.
fn total(cluster: &TestCluster) -> BTreeMap<ConnectionState, u64> {
    let mut all = BTreeMap::new();
    for node in cluster.nodes() {
        for (state, count) in node.coordinator().activity().connections().changes {
            *all.entry(state).or_default() += count;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_changes_of_leader_break_nothing() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    set(one, "connection_interval_ms", "10").await;
    // What breaks is to be retried long after the test.
    set(one, "connections_enabled", "0").await;
    ring_with(one, 6, 3_600_000).await;
    worker(one, "a").await;
    worker(one, "b").await;
    until(one, |state| statuses(state) == 6).await;
    tell(one, 0, 1, Seen::Up).await;
    for from in 1..6 {
        tell(one, from, (from + 1) % 6, Seen::Broken("reset".into())).await;
    }
    set(one, "connections_enabled", "1").await;
    let before = one.read(Freshness::Linearizable, deadline()).await.unwrap().state.revision();
    for round in 0..10 {
        let to = cluster.node(round % 3 + 1).coordinator();
        one.transfer_leader(Some(to.member_id()), deadline()).await.ok();
        until(to, |_| to.status().role == Role::Leader).await;
        looked_twice(to).await;
    }
    let view = one.read(Freshness::Linearizable, deadline()).await.unwrap();
    assert_eq!(view.state.revision(), before, "nothing has changed");
    assert_eq!(total(&cluster), BTreeMap::new());
    cluster.shutdown().await;
}

/// Waits until the connection manager here has looked twice more and nothing held it back.
async fn looked_twice(coordinator: &Coordinator) {
    let since = coordinator.activity().connections().looks;
    let looked = async {
        loop {
            let manager = coordinator.activity().connections();
            if manager.looks >= since + 2 && manager.held.is_none() && manager.waiting == 5 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it looks in time");
}

/// Waits until the connection manager here has come by five times, held back or not.
async fn look_on(coordinator: &Coordinator) {
    let looks = || coordinator.activity().connections().looks;
    let since = looks();
    let looked = async {
        while looks() < since + 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it looks in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_report_it_is_broken_in_time_and_not_when_switched_off() {
    let cluster = TestCluster::start(1).await;
    let one = cluster.node(1).coordinator();
    set(one, "connection_interval_ms", "10").await;
    set(one, "connections_enabled", "0").await;
    ring(one, 2).await;
    // Rules that wait for nothing.
    let Some(Record::Network(network)) =
        one.view().state.get(&Key::network(&name("net"))).map(|it| it.value.clone())
    else {
        panic!("no network")
    };
    let mut spec = network.spec.clone();
    spec.connection.connect_timeout_ms = 10;
    let basis = one.view().state.get(&Key::network(&name("net"))).map(|it| it.modified);
    let network = ApplyNetwork { name: name("net"), spec, assignment: vec![0, 1], basis };
    done(one, Command::ApplyNetwork(network)).await;
    worker(one, "a").await;
    until(one, |state| statuses(state) == 2).await;
    look_on(one).await;
    assert!(is(&one.view().state, ConnectionState::Connecting), "nobody sees to it");
    set(one, "connections_enabled", "1").await;
    // Nobody has ever said anything of it: it is left alone.
    look_on(one).await;
    assert!(is(&one.view().state, ConnectionState::Connecting), "as if nobody reported here");
    tell(one, 0, 1, Seen::Broken("reset".into())).await;
    until(one, |state| is(state, ConnectionState::Failed)).await;
    let failed = status(&one.view().state, 0, 1).unwrap();
    assert_eq!((failed.attempts, failed.error.as_ref()), (2, "no report in time"));
    cluster.shutdown().await;
}
