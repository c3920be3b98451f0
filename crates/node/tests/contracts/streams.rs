//! Change streams: what they deliver. Lines 7, 8 and 12.

use std::collections::BTreeMap;

use quorate_core::{Filter, Key, MemberId, Revision};
use quorate_proto::convert::{Start, WatchEvent, WatchSpec, WatchedChange};

use crate::{
    clients::{Clients, Story, within},
    common::{TestCluster, deadline},
};

fn from(revision: u64) -> WatchSpec {
    WatchSpec { start: Start::From(Revision(revision)), ..WatchSpec::default() }
}

fn filtered(spec: WatchSpec, prefix: &str) -> WatchSpec {
    let filter = Filter { key_prefix: prefix.to_owned().into(), ..Filter::default() };
    WatchSpec { filter, ..spec }
}

/// Writes and deletes through every coordinator, with a change of leader in the middle. Returns
/// the revision of the last write.
async fn make_changes(cluster: &TestCluster, clients: &[Clients], count: usize) -> Revision {
    for number in 0..count {
        let writer = &clients[number % clients.len()];
        writer.put(&format!("k{}", number % 7), &number.to_string()).await.unwrap();
        if number % 10 == 9 {
            writer.delete("k3").await.unwrap();
        }
        if number == count / 2 {
            let target = Some(MemberId(u64::try_from(number % 3).unwrap() + 1));
            let coordinator = cluster.node(1).coordinator();
            coordinator.transfer_leader(target, deadline()).await.unwrap();
        }
    }
    clients[0].put("end", "v").await.unwrap()
}

/// Follows a story change by change: what it says of before and after must fit.
fn fold(story: &Story, with_previous: bool) -> BTreeMap<Key, Revision> {
    let mut records = BTreeMap::new();
    for (revision, changes) in story {
        for WatchedChange { key, current, created, previous } in changes {
            let before = records.get(key).copied();
            assert_eq!(*created, before.is_none() && current.is_some(), "{key} at {revision}");
            let told = previous.as_ref().map(|record| record.modified);
            assert_eq!(told, before.filter(|_| with_previous), "{key} at {revision}");
            match current {
                Some(record) => {
                    assert_eq!(record.modified, *revision);
                    records.insert(key.clone(), *revision);
                }
                None => {
                    assert!(before.is_some(), "{key} was deleted at {revision}, but was not there");
                    records.remove(key);
                }
            }
        }
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn line_7_every_coordinator_tells_the_same_story_in_order_and_once() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let spec = WatchSpec { with_previous: true, ..from(1) };
    let mut early = Vec::new();
    for one in &clients {
        early.push(one.watch(spec.clone()).await.unwrap());
    }
    let last = make_changes(&cluster, &clients, 60).await;
    let mut stories = Vec::new();
    for stream in &mut early {
        stories.push(stream.story(last).await);
    }
    for one in &clients {
        stories.push(one.watch(spec.clone()).await.unwrap().story(last).await);
    }
    let revisions: Vec<u64> = stories[0].iter().map(|(revision, _)| revision.get()).collect();
    assert_eq!(revisions, (1..=last.get()).collect::<Vec<_>>(), "no gap, no repeat");
    for story in &stories[1..] {
        assert_eq!(*story, stories[0]);
    }
    let records = fold(&stories[0], true);
    let read = clients[1].range("", None).await.unwrap();
    assert_eq!(records.len(), read.records.len());
    for record in read.records {
        let key = Key::try_from(record.key.unwrap()).unwrap();
        assert_eq!(records[&key], Revision(record.modified));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_7_filters_show_what_matches_and_nothing_else() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let last = make_changes(&cluster, &clients, 40).await;
    let whole = clients[0].watch(from(1)).await.unwrap().story(last).await;
    for prefix in ["k3", "k", "end", "none"] {
        let expected: Story = whole
            .iter()
            .map(|(revision, changes)| {
                let matching =
                    changes.iter().filter(|c| c.key.bytes.starts_with(prefix.as_bytes()));
                (*revision, matching.cloned().collect::<Vec<_>>())
            })
            .filter(|(_, changes)| !changes.is_empty())
            .collect();
        for one in &clients {
            let mut stream = one.watch(filtered(from(1), prefix)).await.unwrap();
            assert_eq!(stream.story(last).await, expected, "{prefix}");
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_7_a_stream_resumes_on_any_coordinator_after_leader_changes_and_restarts() {
    let mut cluster = TestCluster::start(3).await;
    let mut story = Story::new();
    let mut token = None;
    for round in 0..4_u64 {
        let clients = Clients::all(cluster.nodes()).await;
        let last = make_changes(&cluster, &clients, 12).await;
        let start = token.map_or(Start::From(Revision(1)), Start::Resume);
        let spec = WatchSpec { start, ..WatchSpec::default() };
        let reader = &clients[usize::try_from(round % 3).unwrap()];
        let mut stream = reader.watch(spec).await.unwrap();
        story.extend(stream.story(last).await);
        token = stream.resume;
        assert_eq!(token.unwrap().revision, last);
        drop((stream, clients));
        let member = round % 3 + 1;
        cluster.stop(member).await;
        cluster.restart(member).await;
    }
    let revisions: Vec<u64> = story.iter().map(|(revision, _)| revision.get()).collect();
    let last = *revisions.last().unwrap();
    assert_eq!(revisions, (1..=last).collect::<Vec<_>>(), "no gap, no repeat");
    fold(&story, false);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_7_a_revision_is_one_event_however_large() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    let mut stream = clients.watch(from(1)).await.unwrap();
    for number in 0..60 {
        clients.put(&format!("k{number}"), &"x".repeat(20_000)).await.unwrap();
    }
    assert_eq!(clients.delete("k").await.unwrap(), 60);
    let last = clients.put("end", "v").await.unwrap();
    let story = stream.story(last).await;
    assert_eq!(story.len(), 62);
    assert_eq!(story[60].1.len(), 60, "all deletes of one revision, together");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_7_quiet_streams_say_how_far_they_are() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let last = clients[0].put("k", "v").await.unwrap();
    for one in &clients {
        let spec = WatchSpec { progress_interval: within(100), ..WatchSpec::default() };
        let mut stream = one.watch(spec).await.unwrap();
        for _ in 0..3 {
            assert_eq!(stream.next().await.unwrap(), WatchEvent::Progress { revision: last });
            assert_eq!(stream.resume.unwrap().revision, last);
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_8_a_snapshot_is_followed_by_every_change_after_it() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    for number in 0..40 {
        clients[0].put(&format!("k{number}"), &"x".repeat(10_000)).await.unwrap();
    }
    let writer = {
        let clients = clients.clone();
        tokio::spawn(async move {
            let mut last = Revision(0);
            for number in 0..150 {
                let key = format!("k{}", number % 50);
                last = clients[number % 3].put(&key, &number.to_string()).await.unwrap();
            }
            last
        })
    };
    let mut streams = Vec::new();
    for number in 0..6 {
        let spec = WatchSpec { start: Start::Snapshot, ..WatchSpec::default() };
        streams.push(clients[number % 3].watch(filtered(spec, "k")).await.unwrap());
    }
    let last = writer.await.unwrap();
    let read = clients[0].range("k", None).await.unwrap();
    for mut stream in streams {
        let mut records = BTreeMap::new();
        let at = loop {
            match stream.next().await.unwrap() {
                WatchEvent::Snapshot { records: some, .. } => {
                    records.extend(some.into_iter().map(|(key, record)| (key, record.modified)));
                }
                WatchEvent::SnapshotEnd { revision } => break revision,
                other => panic!("{other:?}"),
            }
        };
        assert!(records.values().all(|modified| *modified <= at));
        let mut next = at.next();
        for (revision, changes) in stream.story(last).await {
            assert_eq!(revision, next, "every change after the snapshot, without a gap");
            next = revision.next();
            for change in changes {
                records.insert(change.key, change.current.unwrap().modified);
            }
        }
        assert_eq!(next, last.next());
        assert_eq!(records.len(), read.records.len());
        for record in &read.records {
            let key = Key::try_from(record.key.clone().unwrap()).unwrap();
            assert_eq!(records[&key], Revision(record.modified));
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_12_a_client_can_wait_until_a_stream_has_passed_its_own_write() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let quick = WatchSpec { progress_interval: within(100), ..WatchSpec::default() };
    let mut matching = clients[1].watch(quick.clone()).await.unwrap();
    let mut other = clients[2].watch(filtered(quick, "nothing like it")).await.unwrap();
    for number in 0..5 {
        let wrote = clients[0].put("own", &number.to_string()).await.unwrap();
        let story = matching.story(wrote).await;
        assert_eq!(story.last().unwrap().0, wrote);
        assert_eq!(other.story(wrote).await, [], "it does not match, but it was passed");
    }
    cluster.shutdown().await;
}
