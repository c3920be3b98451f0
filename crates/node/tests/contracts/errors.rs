//! Errors and limits: line 25.

use quorate_core::{Filter, Revision};
use quorate_proto::{Reason, WriteOutcome, convert::WatchSpec, v1};
use tonic::{Code, Status};

use crate::{
    clients::{Clients, assert_error, entry, prefixed, put_request},
    common::TestCluster,
};

/// Requests that break a rule, with the field that each should name.
async fn break_rules(clients: &Clients) -> Vec<(Status, &'static str)> {
    let mut store = clients.store.clone();
    let mut network = clients.network.clone();
    let key = |kind: v1::Kind, key: &'static str| v1::Key { kind: kind.into(), key: key.into() };
    let put = |key| put_request(key, "v");
    let mut broken = Vec::new();
    let bad_kind = put(v1::Key { kind: 99, key: "k".into() });
    broken.push((store.put(bad_kind).await.unwrap_err(), "key.kind"));
    broken.push((store.put(put(key(v1::Kind::Partition, "n/0"))).await.unwrap_err(), "key.kind"));
    broken.push((store.put(v1::PutRequest::default()).await.unwrap_err(), "key"));
    broken.push((store.put(put(entry(""))).await.unwrap_err(), "key"));
    let unknown = put(key(v1::Kind::Setting, "no_such_setting"));
    broken.push((store.put(unknown).await.unwrap_err(), "key"));
    let unset = v1::DeleteRequest::default();
    broken.push((store.delete(unset).await.unwrap_err(), "selector"));
    let untested = v1::TransactionRequest {
        preconditions: vec![v1::Precondition { target: Some(prefixed("")), test: None }],
        ..v1::TransactionRequest::default()
    };
    broken.push((store.transaction(untested).await.unwrap_err(), "preconditions[0]"));
    let odd_read = v1::RangeRequest {
        selector: Some(prefixed("")),
        read: Some(v1::ReadOptions { consistency: 9, min_revision: 0 }),
        ..v1::RangeRequest::default()
    };
    broken.push((store.range(odd_read).await.unwrap_err(), "read.consistency"));
    let nameless = v1::ApplyNetworkRequest {
        name: "a b".into(),
        spec: None,
        ..v1::ApplyNetworkRequest::default()
    };
    broken.push((network.apply(nameless).await.unwrap_err(), "name"));
    let empty = v1::ApplyNetworkRequest {
        name: "n".into(),
        spec: Some(Default::default()),
        ..v1::ApplyNetworkRequest::default()
    };
    broken.push((network.apply(empty).await.unwrap_err(), "processes"));
    broken
}

#[tokio::test(flavor = "multi_thread")]
async fn line_25_bad_input_names_the_field_and_changes_nothing() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(2)).await;
    let before = clients.put("k", "v").await.unwrap();
    for (status, field) in break_rules(&clients).await {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let details = assert_error(&status, Code::InvalidArgument, Reason::InvalidField);
        assert!(details.field.contains(field), "{} is not {field}", details.field);
        assert!(!details.rule.is_empty(), "{status:?}");
        assert_eq!(details.outcome, WriteOutcome::NotApplied);
    }
    assert_eq!(clients.revision().await, before, "nothing changed");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_25_every_limit_has_a_named_error() {
    let cluster = TestCluster::start_with(3, |config| {
        config.limits.request_bytes_max = 2 << 20;
        config.limits.watchers_max = 3;
    })
    .await;
    let clients = Clients::of(cluster.node(1)).await;
    let before = clients.put("k", "v").await.unwrap();

    let large_value = clients.put("k", &"x".repeat((1 << 20) + 1)).await.unwrap_err();
    let details = assert_error(&large_value, Code::InvalidArgument, Reason::LimitExceeded);
    assert!(details.rule.contains("value_bytes_max"), "{}", details.rule);
    assert!(details.field.contains("value"), "{}", details.field);

    let large_request = clients.put("k", &"x".repeat(3 << 20)).await.unwrap_err();
    let details = assert_error(&large_request, Code::InvalidArgument, Reason::LimitExceeded);
    assert_eq!(details.rule, "limits.request_bytes_max = 2097152");

    let long_key = clients.put(&"k".repeat(100_000), "v").await.unwrap_err();
    let details = assert_error(&long_key, Code::InvalidArgument, Reason::LimitExceeded);
    assert!(details.rule.contains("key_bytes_max"), "{}", details.rule);

    let put = |_| v1::Operation {
        operation: Some(v1::operation::Operation::Put(v1::PutOperation {
            key: Some(entry("k")),
            ..v1::PutOperation::default()
        })),
    };
    let request = v1::TransactionRequest {
        success: (0..10_000).map(put).collect(),
        ..v1::TransactionRequest::default()
    };
    let many = clients.store.clone().transaction(request).await.unwrap_err();
    let details = assert_error(&many, Code::InvalidArgument, Reason::LimitExceeded);
    assert!(details.rule.contains("transaction_operations_max"), "{}", details.rule);
    assert_eq!(clients.revision().await, before, "nothing changed");

    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(clients.watch(WatchSpec::default()).await.unwrap());
    }
    let refused = clients.watch(WatchSpec::default()).await.err().expect("it is one too many");
    let details = assert_error(&refused, Code::ResourceExhausted, Reason::LimitExceeded);
    assert_eq!(details.rule, "limits.watchers_max = 3");
    // Who leaves makes room, as soon as the coordinator has noticed.
    drop(streams);
    let began = std::time::Instant::now();
    while let Err(refused) = clients.watch(WatchSpec::default()).await {
        assert_error(&refused, Code::ResourceExhausted, Reason::LimitExceeded);
        assert!(began.elapsed() < crate::common::PATIENCE, "nobody noticed that they left");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_25_a_full_queue_is_refused_with_a_retry_hint() {
    let cluster = TestCluster::start_with(3, |config| config.limits.proposals_max = 2).await;
    let clients = Clients::of(cluster.node(1)).await;
    let mut refused = 0;
    for _ in 0..20 {
        let writes = (0..200).map(|number| {
            let clients = clients.clone();
            async move { clients.put(&format!("k{number}"), "v").await }
        });
        for write in futures::future::join_all(writes).await {
            if let Err(status) = write {
                let details = assert_error(&status, Code::ResourceExhausted, Reason::Overloaded);
                assert_eq!(details.outcome, WriteOutcome::NotApplied);
                assert!(details.retry_after.is_some());
                refused += 1;
            }
        }
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "200 writes at once never filled a queue of two");
    clients.put("after", "v").await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_25_an_answer_is_bounded_and_says_that_there_is_more() {
    let cluster = TestCluster::start_with(3, |config| {
        config.limits.response_bytes_max = 100_000;
    })
    .await;
    let clients = Clients::of(cluster.node(3)).await;
    for number in 0..20 {
        clients.put(&format!("k{number:02}"), &"x".repeat(9_000)).await.unwrap();
    }
    let page = clients.range("k", None).await.unwrap();
    assert!(page.more);
    assert_eq!((page.count, page.records.len()), (20, 11));
    let bounds = v1::KeyBounds { start: "k10\0".into(), end: "l".into() };
    let rest = v1::RangeRequest {
        selector: Some(v1::Selector {
            kind: v1::Kind::Entry.into(),
            target: Some(v1::selector::Target::Bounds(bounds)),
        }),
        ..v1::RangeRequest::default()
    };
    let rest = clients.store.clone().range(rest).await.unwrap().into_inner();
    assert_eq!((rest.more, rest.records.len()), (false, 9));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_25_a_bad_watch_names_its_field() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    let bad = [
        v1::WatchRequest {
            filter: Some(v1::WatchFilter { network: "a b".into(), ..Default::default() }),
            ..Default::default()
        },
        v1::WatchRequest {
            filter: Some(v1::WatchFilter { partition: "n".into(), ..Default::default() }),
            ..Default::default()
        },
        v1::WatchRequest {
            filter: Some(v1::WatchFilter { kinds: vec![77], ..Default::default() }),
            ..Default::default()
        },
    ];
    for (request, field) in bad.into_iter().zip(["network", "partition", "kinds"]) {
        let refused = clients.watch.clone().watch(request).await.unwrap_err();
        let details = assert_error(&refused, Code::InvalidArgument, Reason::InvalidField);
        assert!(details.field.contains(field), "{}", details.field);
    }
    let spec = WatchSpec {
        filter: Filter { key_prefix: "k".into(), ..Filter::default() },
        start: quorate_proto::convert::Start::From(Revision(1_000)),
        ..WatchSpec::default()
    };
    let refused = clients.watch(spec).await.err().expect("it is in the future");
    assert_error(&refused, Code::OutOfRange, Reason::FutureRevision);
    cluster.shutdown().await;
}
