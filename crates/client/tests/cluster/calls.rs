//! Every call, through every coordinator.

use std::time::Duration;

use futures::TryStreamExt as _;
use quorate_client::{ErrorKind, Previous, Reason, Role, entries};
use quorate_core::{
    ApplyOutcome, MemberId, Name, NetworkSpec, OperationReply, PartitionPolicy, Process,
    ProcessEdge, Record, Resources, Versioned,
};
use tokio::time::Instant;

use crate::Cluster;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn value(found: &Versioned<Record>) -> &[u8] {
    match &found.value {
        Record::Entry(entry) => &entry.value,
        other => panic!("no entry: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_written_and_read_through_any_coordinator() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for (number, endpoint) in client.endpoints().iter().enumerate() {
        let key = format!("key/{number}");
        let written = client.put(key.clone(), "one").via(endpoint).await.unwrap();
        let again = client.put(key.clone(), "two").via(endpoint).returning_previous();
        assert_eq!(value(&again.await.unwrap().value.unwrap()), b"one");
        for other in client.endpoints() {
            // Local reads too: nobody sees an older state than this client has seen.
            for read in [client.get(key.clone()), client.get(key.clone()).local()] {
                let read = read.via(other).await.unwrap();
                assert_eq!(value(&read.value.unwrap()), b"two");
                assert!(read.header.revision > written.revision());
            }
        }
    }
    let everything = client.range(entries("key/")).limit(2).pages();
    let pages: Vec<_> = everything.try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.value.records.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(client.keys(entries("key/")).await.unwrap().value.keys.len(), 3);
    let deleted = client.delete(entries("key/")).returning_previous().await.unwrap().value;
    assert_eq!((deleted.deleted, deleted.previous.len()), (3, 3));
    assert_eq!(client.count(entries("key/")).await.unwrap().value, 0);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_choose_their_branch() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let take = |owner: &'static str| {
        let transaction = client.transaction().when_absent("lock").put("lock", owner);
        transaction.or_else().get("lock").commit()
    };
    assert!(take("alice").await.unwrap().value.succeeded);
    let reply = take("bob").await.unwrap().value;
    assert!(!reply.succeeded);
    let OperationReply::Get { records, .. } = &reply.results[0] else { panic!("{reply:?}") };
    assert_eq!(value(&records[0].1), b"alice");
    let given = client
        .transaction()
        .when_value("lock", "alice")
        .put_with("lock", "bob", Previous::Return)
        .commit()
        .await
        .unwrap();
    let OperationReply::Put { previous: Some(previous) } = &given.value.results[0] else {
        panic!("{given:?}")
    };
    assert_eq!(value(previous), b"alice");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_and_changes_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let before = client.put_setting(&name("value_bytes_max"), "1024").await.unwrap().revision();
    let error = client.put("k", vec![0; 2000]).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Rejected, Some(Reason::LimitExceeded)));
    assert!(error.rule().contains("value_bytes_max"), "{error:?}");
    assert!(!error.field().is_empty(), "{error:?}");
    let error = client.put_setting(&name("no_such_setting"), "1").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidField));
    let after = client.settings().await.unwrap();
    assert_eq!((after.revision(), after.value.records.len()), (before, 1));
    client.reset_setting(&name("value_bytes_max")).await.unwrap();
    client.put("k", vec![0; 2000]).await.unwrap();
    cluster.shutdown().await;
}

/// a -> b -> c -> d, one CPU each.
fn line() -> NetworkSpec {
    let process = |id: &str| Process {
        needs: Resources::from_iter([(name(Resources::CPU_MILLIS), 1000)]),
        ..Process::new(name(id), "copy")
    };
    let edge = |(from, to)| ProcessEdge { from: name(from), to: name(to), rate: 10 };
    NetworkSpec {
        processes: ["a", "b", "c", "d"].map(process).into(),
        connections: [("a", "b"), ("b", "c"), ("c", "d")].map(edge).into(),
        policy: PartitionPolicy { partitions: 2, ..PartitionPolicy::default() },
        connection: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_applied_listed_and_deleted() {
    let cluster = Cluster::start().await;
    let (client, net) = (cluster.client(), name("net"));
    let created = client.apply_network(&net, line()).await.unwrap();
    assert_eq!(created.value.outcome, ApplyOutcome::Created);
    let again = client.apply_network(&net, line()).await.unwrap();
    assert_eq!(again.value.outcome, ApplyOutcome::Unchanged);
    assert_eq!(again.revision(), created.revision());

    let partitions = client.list_partitions(Some(&net)).await.unwrap().value;
    let mut processes: Vec<_> = partitions
        .iter()
        .flat_map(|(_, partition)| &partition.value.processes)
        .map(|process| process.id.as_str())
        .collect();
    processes.sort_unstable();
    assert_eq!((partitions.len(), processes), (2, vec!["a", "b", "c", "d"]));
    let connections = client.list_connections(None).await.unwrap().value;
    let found = client.get_network(&net).await.unwrap().value;
    assert_eq!(found.numbers, created.value.network);
    assert_eq!(found.numbers.connections as usize, connections.len());
    assert_eq!(client.list_networks().await.unwrap().value, [found.numbers]);

    let deleted = client.delete_network(&net).await.unwrap().value;
    assert_eq!((deleted.partitions as usize, deleted.connections as usize), (2, connections.len()));
    for error in [
        client.get_network(&net).await.unwrap_err(),
        client.delete_network(&net).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.reason()), (ErrorKind::NotFound, Some(Reason::NotFound)));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_and_everybody_knows() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let members = client.members().await.unwrap().value;
    assert_eq!(members.members.len(), 3);
    for target in [1, 2, 3].map(MemberId) {
        let leader = client.transfer_leader(Some(target)).await.unwrap().value;
        assert_eq!(leader, target);
        client.put("k", "v").await.unwrap();
        let endpoint = client.endpoints()[usize::try_from(target.get()).unwrap() - 1].clone();
        let status = client.status(&endpoint).await.unwrap();
        assert_eq!(status.header.member_id, target);
        assert_eq!((status.value.role, status.value.leader), (Role::Leader, Some(target)));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_calls_fail_in_time_and_status_answers() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.put("before", "v").await.unwrap();
    cluster.stop(2).await;
    cluster.stop(3).await;

    let (limit, started) = (Duration::from_secs(3), Instant::now());
    let read = client.get("before").timeout(limit).await.unwrap_err();
    assert_eq!(read.kind(), ErrorKind::Unavailable, "{read}");
    let write = client.put("during", "v").timeout(limit).await.unwrap_err();
    assert!(matches!(write.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown), "{write}");
    assert!(started.elapsed() < limit * 3, "{:?}", started.elapsed());
    let status = client.status(&client.endpoints()[0]).await.unwrap();
    assert_eq!(status.header.member_id, MemberId(1));
    let stopped = client.status(&client.endpoints()[1]).timeout(limit).await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Unavailable);

    cluster.restart(2).await;
    client.put("after", "v").await.unwrap();
    assert!(client.get("before").await.unwrap().value.is_some());
    cluster.shutdown().await;
}
