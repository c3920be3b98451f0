//! Change streams: where they may start, and how they end. Lines 9, 10 and 11.

use std::time::{Duration, Instant};

use quorate_core::{Filter, MemberId, RestoreEpoch, Revision};
use quorate_proto::{
    Reason,
    convert::{ResumeToken, Start, WatchEvent, WatchSpec},
};
use tonic::Code;

use crate::{
    clients::{Clients, Story, assert_error},
    common::{TestCluster, deadline},
    http::metric,
};

#[tokio::test(flavor = "multi_thread")]
async fn line_9_a_start_right_after_the_newest_revision_waits_on_any_coordinator() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    for number in 0..40 {
        // The reader may not have applied the write yet: it must wait, not refuse.
        let wrote = clients[number % 3].put("k", &number.to_string()).await.unwrap();
        let reader = &clients[(number + 1) % 3];
        let mut stream = reader.watch_from(wrote.next()).await.unwrap();
        let next = clients[number % 3].put("k", "next").await.unwrap();
        let story = stream.story(next).await;
        assert_eq!(story.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [next]);

        let beyond =
            reader.watch_from(next.next().next()).await.err().expect("it is in the future");
        let details = assert_error(&beyond, Code::OutOfRange, Reason::FutureRevision);
        assert_eq!(details.field, "from_revision");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_9_from_now_begins_after_everything_acknowledged() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    for number in 0..30 {
        let before = clients[number % 3].put("before", &number.to_string()).await.unwrap();
        let reader = &clients[(number + 1) % 3];
        let mut stream = reader.watch(WatchSpec::default()).await.unwrap();
        let after = clients[(number + 2) % 3].put("after", "v").await.unwrap();
        let story = stream.story(after).await;
        let revisions: Vec<_> = story.iter().map(|(revision, _)| *revision).collect();
        assert_eq!(revisions, [after], "not {before}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_9_streams_end_when_contact_with_the_majority_is_lost() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    clients.put("k", "v").await.unwrap();
    let mut stream = clients.watch_from(Revision(1)).await.unwrap();
    assert!(matches!(stream.next().await.unwrap(), WatchEvent::Changes { .. }));
    cluster.stop(2).await;
    cluster.stop(3).await;
    let began = Instant::now();
    assert_error(&stream.end().await, Code::Unavailable, Reason::NoQuorum);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let refused = clients.watch_from(Revision(1)).await.err().expect("there is no majority");
    assert_error(&refused, Code::Unavailable, Reason::NoQuorum);

    cluster.restart(2).await;
    let mut again = clients.watch_from(Revision(1)).await.unwrap();
    assert_eq!(again.story(Revision(1)).await.len(), 1, "and begin again when it is back");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_9_a_change_of_leader_ends_no_stream() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let mut streams = Vec::new();
    for one in &clients {
        streams.push(one.watch_from(Revision(1)).await.unwrap());
    }
    let mut last = Revision(0);
    for target in [2, 3, 1] {
        let leads =
            cluster.node(1).coordinator().transfer_leader(Some(MemberId(target)), deadline());
        assert_eq!(leads.await, Ok(MemberId(target)));
        last = clients[0].put("k", "v").await.unwrap();
    }
    for stream in &mut streams {
        assert_eq!(stream.story(last).await.len(), 3, "every write, on the stream it began with");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_9_a_stopping_coordinator_ends_its_streams() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(2)).await;
    let mut stream = clients.watch(WatchSpec::default()).await.unwrap();
    stream.next().await.unwrap();
    let (end, ()) = tokio::join!(stream.end(), cluster.stop(2));
    assert_error(&end, Code::Unavailable, Reason::NoQuorum);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_9_who_falls_behind_the_kept_history_is_told() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let writer = &clients[0];
    writer.set("history_bytes_max", 200_000).await;
    // Nobody reads these two while much more is written than history and sockets hold.
    let mut ends = clients[1].watch_from(Revision(1)).await.unwrap();
    let resync = WatchSpec {
        start: Start::From(Revision(1)),
        filter: Filter { key_prefix: "k".into(), ..Filter::default() },
        resync: true,
        ..WatchSpec::default()
    };
    let mut resyncs = clients[2].watch(resync).await.unwrap();
    let mut last = Revision(0);
    for number in 0..60 {
        last = writer.put(&format!("k{}", number % 5), &"x".repeat(100_000)).await.unwrap();
    }

    let mut next = Revision(1);
    let end = loop {
        match ends.next().await {
            Ok(WatchEvent::Changes { revision, .. }) => {
                assert_eq!(revision, next, "what comes before the end has no gap");
                next = revision.next();
            }
            Ok(WatchEvent::Progress { .. }) => {}
            Ok(other) => panic!("{other:?}"),
            Err(end) => break end,
        }
    };
    let told = assert_error(&end, Code::OutOfRange, Reason::Compacted).oldest.unwrap();
    assert!(next < told && told <= last);
    // The stream may have ended while writing went on, so what it was told may be gone as well.
    let oldest = clients[1].oldest_at(last).await;
    assert!(told <= oldest);
    let mut from_oldest = clients[1].watch_from(oldest).await.unwrap();
    assert_eq!(from_oldest.story(last).await.first().unwrap().0, oldest);

    let (mut announced, mut end, mut records) = (0, None, 0);
    while end != Some(last) {
        match resyncs.next().await.unwrap() {
            WatchEvent::Resync { .. } => (announced, end, records) = (announced + 1, None, 0),
            WatchEvent::Snapshot { records: some, .. } => records += some.len(),
            WatchEvent::SnapshotEnd { revision } => end = Some(revision),
            WatchEvent::Changes { revision, .. } | WatchEvent::Progress { revision } => {
                if let Some(at) = &mut end {
                    assert!(revision <= at.next());
                    *at = revision;
                }
            }
        }
    }
    assert!(announced >= 1, "never a silent jump");
    assert_eq!(records, 5);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_9_a_compacted_start_is_refused_or_resynced() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    clients[0].put("k", "v").await.unwrap();
    clients[0].set("history_bytes_max", 0).await;
    let last = clients[0].put("k", "w").await.unwrap();
    for one in &clients {
        one.revision().await;
        let refused = one.watch_from(Revision(1)).await.err().expect("it is compacted");
        let details = assert_error(&refused, Code::OutOfRange, Reason::Compacted);
        assert_eq!(details.oldest, Some(last));
        let spec =
            WatchSpec { start: Start::From(Revision(1)), resync: true, ..WatchSpec::default() };
        let mut stream = one.watch(spec).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), WatchEvent::Resync { revision: last });
        assert!(matches!(stream.next().await.unwrap(), WatchEvent::Snapshot { .. }));
        assert_eq!(stream.next().await.unwrap(), WatchEvent::SnapshotEnd { revision: last });
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_10_tokens_of_another_cluster_or_before_a_restore_are_refused() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let last = clients[0].put("k", "v").await.unwrap();
    let mut stream = clients[0].watch_from(Revision(1)).await.unwrap();
    stream.story(last).await;
    let token = stream.resume.unwrap();
    assert_eq!(token.cluster_id, cluster.node(1).coordinator().cluster_id());
    let epoch = token.restore_epoch.get();
    let wrong = [
        ResumeToken { cluster_id: quorate_core::ClusterId(token.cluster_id.get() ^ 1), ..token },
        ResumeToken { restore_epoch: RestoreEpoch(epoch + 1), ..token },
    ];
    for one in &clients {
        one.revision().await;
        let resume = |token| WatchSpec { start: Start::Resume(token), ..WatchSpec::default() };
        one.watch(resume(token)).await.unwrap();
        for wrong in wrong {
            let refused = one.watch(resume(wrong)).await.err().expect("it is not of this cluster");
            assert_error(&refused, Code::FailedPrecondition, Reason::WrongCluster);
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_11_an_installed_checkpoint_is_a_continuation() {
    let mut cluster = TestCluster::start_with(3, |config| {
        config.raft.checkpoint_entries = 20;
        config.raft.kept_entries = 5;
        config.raft.purge_entries = 1;
    })
    .await;
    let writer = Clients::of(cluster.node(1)).await;
    let mut story = Story::new();
    let mut token = None;
    for round in 0..2 {
        let last = writer.put("round", &round.to_string()).await.unwrap();
        let reader = Clients::of(cluster.node(3)).await;
        let start = token.map_or(Start::From(Revision(1)), Start::Resume);
        let mut stream = reader.watch(WatchSpec { start, ..WatchSpec::default() }).await.unwrap();
        story.extend(stream.story(last).await);
        token = stream.resume;
        drop((stream, reader));
        cluster.stop(3).await;
        for number in 0..60 {
            writer.put(&format!("k{number}"), "v").await.unwrap();
        }
        cluster.restart(3).await;
    }
    let last = writer.put("end", "v").await.unwrap();
    let reader = Clients::of(cluster.node(3)).await;
    let start = Start::Resume(token.unwrap());
    let mut stream = reader.watch(WatchSpec { start, ..WatchSpec::default() }).await.unwrap();
    story.extend(stream.story(last).await);
    let revisions: Vec<u64> = story.iter().map(|(revision, _)| revision.get()).collect();
    assert_eq!(revisions, (1..=last.get()).collect::<Vec<_>>(), "no silent jump");
    let installs = metric(cluster.node(3), "quorate_storage_installs_total").await;
    assert!(installs >= 1.0, "the log was purged, so a checkpoint must have been installed");
    cluster.shutdown().await;
}
