//! Change streams while coordinators come and go.

use std::{collections::BTreeMap, time::Duration};

use quorate_client::{Client, ErrorKind, Reason, Start, Watch, WatchEvent, WatchOptions, entries};
use quorate_core::{Filter, Kind, Name, Record, Revision};

use crate::Cluster;

fn only_entries(start: Start) -> WatchOptions {
    let filter = Filter { kinds: vec![Kind::Entry], ..Filter::default() };
    let progress_interval = Duration::from_millis(100);
    WatchOptions { start, filter, progress_interval, ..WatchOptions::default() }
}

/// The next event, in time.
async fn next(watch: &mut Watch) -> WatchEvent {
    tokio::time::timeout(Duration::from_secs(60), watch.next()).await.expect("in time").unwrap()
}

/// Follows until it has passed a revision; the revisions that changed something.
async fn follow(mut watch: Watch, until: Revision) -> Vec<Revision> {
    let mut seen = Vec::new();
    while watch.token().is_none_or(|token| token.revision < until) {
        if let WatchEvent::Changes { revision, changes, .. } = next(&mut watch).await {
            assert_eq!(changes.len(), 1);
            seen.push(revision);
        }
    }
    seen
}

/// Writes so many entries, one after the other; the revisions that they were written at.
async fn write(client: &Client, count: usize) -> Vec<Revision> {
    let mut revisions = Vec::new();
    for number in 0..count {
        let key = format!("key/{}", number % 7);
        // The same value again is a write all the same; the stream shows whether it came twice.
        let written = client.put(key, format!("{number}")).await;
        revisions.push(written.unwrap().revision());
    }
    revisions
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_on_while_their_coordinators_stop() {
    let mut cluster = Cluster::start().await;
    let writer = cluster.client();
    let watchers: Vec<_> = (0..3)
        .map(|first| {
            // Each begins at another coordinator.
            let mut config = cluster.client().config().clone();
            config.endpoints.rotate_left(first);
            Client::new(config).unwrap().watch(only_entries(Start::From(Revision(1))))
        })
        .collect();
    let mut written = write(&writer, 20).await;
    let last = written[19];
    let positions: Vec<_> = watchers.iter().map(Watch::position).collect();
    // 20 before, 20 with each coordinator away, and 20 after.
    let until = Revision(last.get() + 80);
    let following: Vec<_> =
        watchers.into_iter().map(|watch| tokio::spawn(follow(watch, until))).collect();
    for id in 1..=3 {
        for mut position in positions.clone() {
            position.wait_for(*written.last().unwrap()).await.unwrap();
        }
        cluster.stop(id).await;
        written.extend(write(&writer, 20).await);
        cluster.restart(id).await;
    }
    written.extend(write(&writer, 20).await);
    let expected: Vec<_> = (written[0].get()..=until.get()).map(Revision).collect();
    assert_eq!(written, expected, "one revision for each write");
    for task in following {
        assert_eq!(task.await.unwrap(), expected, "every change, once and in order");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_what_follows_are_the_state() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    write(&client, 10).await;
    let mut watch = client.watch(only_entries(Start::Snapshot));
    let background = client.clone();
    let writing = tokio::spawn(async move { *write(&background, 60).await.last().unwrap() });
    let (mut state, mut ended) = (BTreeMap::new(), None);
    let last = loop {
        match next(&mut watch).await {
            WatchEvent::Snapshot { records, .. } => state.extend(records),
            WatchEvent::SnapshotEnd { revision } => ended = Some(revision),
            WatchEvent::Changes { revision, changes, .. } => {
                assert!(Some(revision) > ended, "changes after the snapshot");
                for change in changes {
                    state.insert(change.key, change.current.unwrap());
                }
            }
            WatchEvent::Progress { .. } | WatchEvent::Resync { .. } => {}
        }
        let passed = watch.token().map(|token| token.revision);
        if writing.is_finished() && passed >= Some(client.seen_revision()) {
            break writing.await.unwrap();
        }
    };
    assert!(watch.token().unwrap().revision >= last);
    let page = client.range(entries("")).await.unwrap().value;
    assert_eq!(page.records, state.into_iter().collect::<Vec<_>>());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_now_sees_what_is_written_after() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let before = client.put("key", "old").await.unwrap().revision();
    let mut watch = client.watch(WatchOptions { with_previous: true, ..only_entries(Start::Now) });
    assert_eq!(next(&mut watch).await, WatchEvent::Progress { revision: before });
    let written = client.put("key", "new").await.unwrap().revision();
    let change = loop {
        match next(&mut watch).await {
            WatchEvent::Changes { revision, mut changes, .. } => {
                assert_eq!(revision, written);
                break changes.remove(0);
            }
            WatchEvent::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(!change.created);
    assert_eq!(change.previous.unwrap().value, Record::Entry("old".into()));
    // What does not match the filter is passed by a progress notice.
    let setting = Name::new("range_records_max").unwrap();
    let other = client.put_setting(&setting, "500").await.unwrap().revision();
    let mut position = watch.position();
    let passed = tokio::spawn(async move { position.wait_for(other).await });
    while !matches!(next(&mut watch).await, WatchEvent::Progress { revision } if revision >= other)
    {
    }
    assert!(passed.await.unwrap().unwrap() >= other);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_is_an_error_or_a_new_snapshot() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let setting = Name::new("history_bytes_max").unwrap();
    client.put_setting(&setting, "0").await.unwrap();
    let last = *write(&client, 20).await.last().unwrap();
    let from_first = only_entries(Start::From(Revision(1)));
    let error = client.watch(from_first.clone()).next().await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Rejected, Some(Reason::Compacted)));
    assert!(error.oldest().unwrap() > Revision(1));

    let mut watch = client.watch(WatchOptions { resync: true, ..from_first });
    assert!(matches!(next(&mut watch).await, WatchEvent::Resync { .. }));
    let mut records = 0;
    loop {
        match next(&mut watch).await {
            WatchEvent::Snapshot { records: some, .. } => records += some.len(),
            WatchEvent::SnapshotEnd { revision } => {
                assert!(revision >= last);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(records, 7);
    let future = only_entries(Start::From(Revision(last.get() + 1000)));
    let error = client.watch(future).next().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::FutureRevision));
    cluster.shutdown().await;
}
