//! Consistency: lines 1 to 4.

use std::time::{Duration, Instant};

use quorate_core::{MemberId, Revision};
use quorate_proto::{Reason, WriteOutcome, v1};
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::{
    clients::{Clients, assert_error, at_least, entry, local, prefixed},
    common::{PATIENCE, TestCluster, deadline},
};

/// Adds one to a counter if it still has the value that was read; whether it did.
async fn increment(clients: &Clients, seen: Option<&String>) -> Result<bool, Status> {
    let target = Some(v1::Selector {
        kind: v1::Kind::Entry.into(),
        target: Some(v1::selector::Target::Key("counter".into())),
    });
    let test = match seen {
        None => v1::precondition::Test::Absent(true),
        Some(value) => v1::precondition::Test::Value(value.clone().into()),
    };
    let next = seen.map_or(0, |value| value.parse::<u64>().unwrap()) + 1;
    let put = v1::operation::Operation::Put(v1::PutOperation {
        key: Some(entry("counter")),
        value: next.to_string().into(),
        return_previous: false,
        ..v1::PutOperation::default()
    });
    let request = v1::TransactionRequest {
        preconditions: vec![v1::Precondition { target, test: Some(test) }],
        success: vec![v1::Operation { operation: Some(put) }],
        failure: Vec::new(),
        ..v1::TransactionRequest::default()
    };
    Ok(clients.store.clone().transaction(request).await?.into_inner().succeeded)
}

/// What a writer has seen of its increments.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: u64,
    unknown: u64,
}

/// Increments through one coordinator until the counter is `goal`. Every read sees at least what
/// was acknowledged, by anybody, before it began.
async fn count(clients: Clients, acknowledged: watch::Sender<u64>, goal: u64) -> Tally {
    let mut tally = Tally::default();
    loop {
        let before = *acknowledged.borrow();
        let Ok((seen, _)) = clients.get("counter", None).await else { continue };
        let value = seen.as_ref().map_or(0, |value| value.parse().unwrap());
        assert!(value >= before, "read {value} after {before} was acknowledged");
        if value >= goal {
            return tally;
        }
        match increment(&clients, seen.as_ref()).await {
            Ok(true) => {
                tally.acknowledged += 1;
                acknowledged.send_if_modified(|newest| {
                    let newer = value + 1 > *newest;
                    *newest = (*newest).max(value + 1);
                    newer
                });
            }
            Ok(false) => {}
            Err(status) => {
                let details = quorate_proto::ErrorDetails::from_status(&status).expect("details");
                tally.unknown += u64::from(details.outcome == WriteOutcome::Unknown);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn line_1_reads_and_writes_are_linearizable_through_any_coordinator() {
    const GOAL: u64 = 60;
    let cluster = TestCluster::start(3).await;
    let acknowledged = watch::Sender::new(0);
    let clients = Clients::all(cluster.nodes()).await;
    let writers: Vec<_> = (0..6)
        .map(|n| tokio::spawn(count(clients[n % 3].clone(), acknowledged.clone(), GOAL)))
        .collect();
    // Leadership moves while they count.
    let mut progress = acknowledged.subscribe();
    for (after, target) in [(10, 1), (20, 2), (30, 3), (40, 1)] {
        let reached = progress.wait_for(|newest| *newest >= after);
        tokio::time::timeout(6 * PATIENCE, reached).await.expect("writes go on").unwrap();
        let target = Some(MemberId(target));
        cluster.node(1).coordinator().transfer_leader(target, deadline()).await.unwrap();
    }
    let mut total = Tally::default();
    for writer in writers {
        let one = writer.await.unwrap();
        total.acknowledged += one.acknowledged;
        total.unknown += one.unknown;
    }
    let (value, _) = clients[0].get("counter", None).await.unwrap();
    let value: u64 = value.unwrap().parse().unwrap();
    // Each acknowledged increment counted once; of the unknown ones, some.
    let possible = total.acknowledged..=total.acknowledged + total.unknown;
    assert!(value >= GOAL && possible.contains(&value), "{value}, {total:?}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_2_without_a_majority_calls_fail_in_time_and_say_what_became_of_them() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    clients.put("before", "v").await.unwrap();
    cluster.stop(2).await;
    cluster.stop(3).await;
    let bound = 2 * Duration::from_millis(cluster.config(1).raft.election_ms_max);
    // The machine may be busy: what matters is that it is no deadline of seconds.
    let bound = bound + Duration::from_secs(1);

    let began = Instant::now();
    let (read, write) = tokio::join!(clients.get("before", None), clients.put("during", "v"));
    assert!(began.elapsed() <= bound, "{:?}", began.elapsed());
    let read = assert_error(&read.unwrap_err(), Code::Unavailable, Reason::NoQuorum);
    assert_eq!(read.outcome, WriteOutcome::NotApplied);
    assert_error(&write.unwrap_err(), Code::Unavailable, Reason::NoQuorum);

    let began = Instant::now();
    let write = clients.put("during", "v").await.unwrap_err();
    assert!(began.elapsed() <= bound, "{:?}", began.elapsed());
    let write = assert_error(&write, Code::Unavailable, Reason::NoQuorum);
    assert_eq!(write.outcome, WriteOutcome::NotApplied, "by now it knows that nobody leads");
    let (value, _) = clients.get("before", local()).await.unwrap();
    assert_eq!(value.as_deref(), Some("v"), "local reads go on");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_3_at_least_waits_and_local_says_where_it_is() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    for number in 0..30 {
        let wrote = clients[number % 3].put("k", &number.to_string()).await.unwrap();
        for reader in &clients {
            let (value, at) = reader.get("k", at_least(wrote)).await.unwrap();
            assert!(at >= wrote);
            assert_eq!(value, Some(number.to_string()));
            let (value, at) = reader.get("k", local()).await.unwrap();
            assert_eq!((value, at >= wrote), (Some(number.to_string()), true));
        }
    }

    let revision = clients[0].revision().await;
    let waiting = {
        let reader = clients[1].clone();
        tokio::spawn(async move { reader.get("k", at_least(revision.next())).await })
    };
    let wrote = clients[2].put("k", "last").await.unwrap();
    let (value, at) = waiting.await.unwrap().unwrap();
    assert_eq!((value.as_deref(), at >= wrote), (Some("last"), true));

    let mut request = tonic::Request::new(v1::RangeRequest {
        selector: Some(prefixed("")),
        read: at_least(Revision(wrote.get() + 100)),
        ..v1::RangeRequest::default()
    });
    request.set_timeout(Duration::from_millis(500));
    let early = clients[0].store.clone().range(request).await.unwrap_err();
    assert_error(&early, Code::DeadlineExceeded, Reason::FutureRevision);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_4_a_client_never_sees_an_older_revision_than_before() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let writer = {
        let clients = clients[0].clone();
        tokio::spawn(async move {
            for number in 0..80 {
                clients.put("other", &number.to_string()).await.unwrap();
            }
        })
    };
    let mut newest = Revision(0);
    for number in 0..40 {
        let wrote = clients[number % 3].put("own", &number.to_string()).await.unwrap();
        assert!(wrote > newest);
        let (value, at) = clients[(number + 1) % 3].get("own", None).await.unwrap();
        assert_eq!(value, Some(number.to_string()), "it reads its own write");
        assert!(at >= wrote);
        let (_, later) = clients[(number + 2) % 3].get("own", None).await.unwrap();
        assert!(later >= at);
        newest = later;
    }
    writer.await.unwrap();
    cluster.shutdown().await;
}
