//! Backups over the wire, and what belongs to the cluster that was: line 10.

use std::time::{Duration, Instant};

use quorate_core::{
    Command, Entry, Epoch, Grant, Key, MemberId, Name, Operation, Owner, PartitionId, Record,
    RegisterWorker, Reply, Resources, SessionId, Transaction,
};
use quorate_node::{
    Coordinator,
    config::Config,
    core::{ApplyNetwork, NetworkSpec, PartitionPolicy, Process},
    restore::{self, Choice},
    storage::backup,
};
use quorate_proto::{
    Reason,
    convert::{Start, WatchSpec},
    v1::{self, snapshot_service_client::SnapshotServiceClient},
};
use tonic::{Code, Status};

use crate::{
    clients::{Clients, assert_error, entry, put_request},
    common::{PATIENCE, TestCluster, deadline},
};

/// What somebody held before the restore.
struct Held {
    session: SessionId,
    epoch: Epoch,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn partition() -> PartitionId {
    PartitionId { network: name("net"), index: 0 }
}

async fn commit(coordinator: &Coordinator, command: Command) -> Reply {
    coordinator.propose(command, deadline()).await.unwrap().outcome.result.unwrap()
}

async fn open_session(coordinator: &Coordinator) -> SessionId {
    let command = Command::OpenSession { ttl_ms: 60_000, label: "test".into() };
    match commit(coordinator, command).await {
        Reply::OpenSession { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

/// A worker registers and is granted the partition; its epoch.
async fn own(coordinator: &Coordinator, session: SessionId) -> Epoch {
    let register = RegisterWorker {
        name: name("w"),
        session,
        address: "127.0.0.1:1".into(),
        capacity: Resources::default(),
        labels: std::collections::BTreeMap::new(),
    };
    commit(coordinator, Command::RegisterWorker(register)).await;
    let owner = Owner { worker: name("w"), session };
    let grants = vec![Grant { partition: partition(), owner }];
    // Whoever grants partitions may have been faster.
    commit(coordinator, Command::AssignPartitions { grants }).await;
    let view = coordinator
        .read(quorate_node::coordinator::Freshness::Linearizable, deadline())
        .await
        .unwrap();
    view.state.partition(&partition()).unwrap().epoch.expect("it is granted")
}

/// A session with an entry that is bound to it, and a worker that owns a partition.
async fn hold(coordinator: &Coordinator) -> Held {
    let process = Process::new(name("p"), "c");
    let spec = NetworkSpec {
        processes: vec![process],
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions: 1,
            strategy: name("any"),
            ..PartitionPolicy::default()
        },
        connection: Default::default(),
    };
    let network = ApplyNetwork { name: name("net"), spec, assignment: vec![0], basis: None };
    commit(coordinator, Command::ApplyNetwork(network)).await;
    let session = open_session(coordinator).await;
    let lock = Operation::Put {
        key: Key::entry("lock"),
        record: Record::Entry(Entry { value: "mine".into(), session: Some(session) }),
        return_previous: false,
    };
    let transaction = Transaction { success: vec![lock], ..Transaction::default() };
    commit(coordinator, Command::Transaction(transaction)).await;
    Held { session, epoch: own(coordinator, session).await }
}

/// A whole backup through one coordinator.
async fn save(clients: &Clients) -> Vec<u8> {
    let mut service = SnapshotServiceClient::new(clients.channel.clone());
    let mut stream = service.save(v1::SaveSnapshotRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.header.is_some() && first.chunk.is_empty());
    let mut bytes = Vec::new();
    loop {
        let message = stream.message().await.unwrap().expect("it ends with the last part");
        assert!(message.header.is_none() && message.chunk.len() <= 512 << 10);
        bytes.extend_from_slice(&message.chunk);
        if message.last {
            assert_eq!(message.records_sent, first.records_total);
            return bytes;
        }
    }
}

async fn guarded(clients: &Clients, guard: v1::guard::Guard) -> Status {
    let request = v1::TransactionRequest {
        guards: vec![v1::Guard { guard: Some(guard) }],
        ..v1::TransactionRequest::default()
    };
    clients.store.clone().transaction(request).await.expect_err("the guard does not hold")
}

/// What was drawn from the old cluster is refused, not misread.
async fn old_claims_are_refused(clients: &Clients, held: &Held) {
    let session = guarded(clients, v1::guard::Guard::Session(held.session.into())).await;
    assert_error(&session, Code::FailedPrecondition, Reason::SessionExpired);
    let guard =
        v1::PartitionGuard { partition: partition().to_string(), epoch: Some(held.epoch.into()) };
    let epoch = guarded(clients, v1::guard::Guard::Partition(guard)).await;
    assert_error(&epoch, Code::FailedPrecondition, Reason::StaleEpoch);
    let context = v1::WriteContext {
        session: Some(held.session.into()),
        serial: 1,
        ..v1::WriteContext::default()
    };
    let put = v1::PutRequest { context: Some(context), ..put_request(entry("k"), "v") };
    let put = clients.store.clone().put(put).await.unwrap_err();
    assert_error(&put, Code::FailedPrecondition, Reason::SessionExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn line_10_a_restore_refuses_what_belongs_to_the_cluster_that_was() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(2)).await;
    let held = hold(cluster.node(1).coordinator()).await;
    let last = clients.put("kept", "value").await.unwrap();
    let mut watched = clients.watch_from(last).await.unwrap();
    watched.next().await.unwrap();
    let token = watched.resume.expect("a token");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), save(&clients).await).unwrap();
    // Changed after the backup: not restored.
    clients.put("later", "value").await.unwrap();
    drop((watched, clients));

    let ids = [1, 2, 3];
    for id in ids {
        cluster.stop(id).await;
    }
    let configs: Vec<Config> = ids.map(|id| cluster.config(id)).into();
    let refused = restore::restore(file.path(), &configs, Choice::default()).await.unwrap_err();
    assert!(matches!(refused, restore::RestoreFailure::NotEmpty(_)), "{refused}");
    for config in &configs {
        std::fs::remove_dir_all(&config.node.data_dir).unwrap();
    }
    let restored = restore::restore(file.path(), &configs, Choice::default()).await.unwrap();
    assert_eq!(restored.members, ids.map(MemberId));
    assert!(restored.missing.is_empty() && restored.identity.cluster_id != token.cluster_id);
    assert!(restored.identity.restore_epoch > token.restore_epoch);
    cluster.restart_all().await;

    let clients = Clients::of(cluster.node(3)).await;
    assert_eq!(clients.get("kept", None).await.unwrap(), (Some("value".into()), last));
    for gone in ["later", "lock"] {
        assert_eq!(clients.get(gone, None).await.unwrap().0, None, "{gone}");
    }
    let resume = WatchSpec { start: Start::Resume(token), ..WatchSpec::default() };
    let resumed = clients.watch(resume).await.err().expect("an old token");
    assert_error(&resumed, Code::FailedPrecondition, Reason::WrongCluster);
    old_claims_are_refused(&clients, &held).await;

    let coordinator = cluster.node(1).coordinator();
    let session = open_session(coordinator).await;
    assert_eq!(session.restore, restored.identity.restore_epoch);
    assert!(own(coordinator, session).await > held.epoch, "epochs grow over restores");
    old_claims_are_refused(&clients, &held).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_nobody_takes_is_given_up_and_makes_room() {
    let cluster = TestCluster::start_with(1, |config| {
        config.limits.snapshots_max = 1;
        config.limits.snapshot_idle_ms_max = 300;
    })
    .await;
    let clients = Clients::of(cluster.node(1)).await;
    // More than the windows of a connection hold.
    for number in 0..80 {
        clients.put(&format!("large/{number}"), &"x".repeat(1_000_000)).await.unwrap();
    }
    let mut service = SnapshotServiceClient::new(clients.channel.clone());
    let request = v1::SaveSnapshotRequest::default;
    let mut stands_still = service.save(request()).await.unwrap().into_inner();
    assert!(stands_still.message().await.unwrap().unwrap().records_total >= 80);
    let busy = service.save(request()).await.expect_err("one at a time");
    let details = assert_error(&busy, Code::ResourceExhausted, Reason::LimitExceeded);
    assert_eq!(details.rule, "limits.snapshots_max = 1");

    let began = Instant::now();
    let other = Clients::of(cluster.node(1)).await;
    let mut service = SnapshotServiceClient::new(other.channel.clone());
    while let Err(refused) = service.save(request()).await {
        assert_error(&refused, Code::ResourceExhausted, Reason::LimitExceeded);
        assert!(began.elapsed() < PATIENCE, "it is still being made");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let given_up = loop {
        match stands_still.message().await {
            Ok(Some(message)) => assert!(!message.last, "it was whole"),
            Ok(None) => panic!("it ended as if it were whole"),
            Err(status) => break status,
        }
    };
    let details = assert_error(&given_up, Code::DeadlineExceeded, Reason::LimitExceeded);
    assert_eq!(details.rule, "limits.snapshot_idle_ms_max = 300");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_without_a_majority_saves_what_it_has_when_asked_so() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    let written = clients.put("k", "v").await.unwrap();
    assert!(clients.revision().await >= written);
    cluster.stop(2).await;
    cluster.stop(3).await;
    let mut service = SnapshotServiceClient::new(clients.channel.clone());
    let refused = service.save(v1::SaveSnapshotRequest::default()).await.err();
    assert_error(&refused.expect("no majority"), Code::Unavailable, Reason::NoQuorum);
    let request = v1::SaveSnapshotRequest { read: crate::clients::local() };
    let mut stream = service.save(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        bytes.extend_from_slice(&message.chunk);
    }
    let read = backup::read(&bytes[..]).unwrap();
    assert_eq!(read.state.revision(), written);
    cluster.shutdown().await;
}
