//! Change streams over coordinators that break off, lag, repeat and contradict.

use std::time::Duration;

use futures::StreamExt as _;
use quorate_client::{ErrorKind, Reason, ResumeToken, Start, Watch, WatchEvent, WatchOptions};
use quorate_core::{ClusterId, RestoreEpoch, Revision};
use quorate_proto::{ErrorDetails, v1, v1::watch_request::Start as Sent};
use tonic::Status;

use crate::server::{CLUSTER, Coordinator, End, Step, client, header, nobody};

fn record(key: &'static str, revision: u64) -> v1::Record {
    v1::Record {
        key: Some(v1::Key { kind: v1::Kind::Entry.into(), key: key.into() }),
        created: revision,
        modified: revision,
        version: 1,
        value: Some(v1::record::Value::Entry("v".into())),
        ..v1::Record::default()
    }
}

fn event(r#type: v1::EventType, revision: u64) -> v1::Event {
    v1::Event { revision, r#type: r#type.into(), ..v1::Event::default() }
}

fn change(revision: u64) -> v1::Event {
    let op = v1::ChangeOp::Put.into();
    let record = Some(record("k", revision));
    let changes = vec![v1::Change { op, created: true, record, previous: None }];
    v1::Event { changes, ..event(v1::EventType::Changes, revision) }
}

fn snapshot(revision: u64, key: &'static str) -> v1::Event {
    v1::Event { records: vec![record(key, 1)], ..event(v1::EventType::Snapshot, revision) }
}

fn token(revision: u64) -> v1::ResumeToken {
    v1::ResumeToken { cluster_id: CLUSTER, restore_epoch: 0, revision }
}

fn message(events: Vec<v1::Event>, resume: Option<u64>) -> v1::WatchResponse {
    let revision = events.iter().map(|event| event.revision).max().unwrap_or(1);
    v1::WatchResponse { header: Some(header(revision)), events, resume: resume.map(token) }
}

fn lost() -> End {
    End::Fail(ErrorDetails::new(Reason::NoQuorum, "out of contact").into())
}

fn from(revision: u64) -> WatchOptions {
    WatchOptions { start: Start::From(Revision(revision)), ..WatchOptions::default() }
}

/// The next events in short: `c5` for changes of revision 5.
async fn next(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..count {
        let event = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
        events.push(match event.expect("an event comes").unwrap() {
            WatchEvent::Changes { revision, .. } => format!("c{revision}"),
            WatchEvent::Snapshot { revision, records } => {
                format!("s{revision}:{}", String::from_utf8_lossy(&records[0].0.bytes))
            }
            WatchEvent::SnapshotEnd { revision } => format!("e{revision}"),
            WatchEvent::Progress { revision } => format!("p{revision}"),
            WatchEvent::Resync { revision } => format!("r{revision}"),
        });
    }
    events
}

#[tokio::test]
async fn a_broken_stream_resumes_elsewhere_without_gap_or_repeat() {
    let first = Coordinator::start([Step::Stream(
        vec![message(vec![change(3), change(5)], Some(6))],
        lost(),
    )])
    .await;
    let second = Coordinator::start([Step::Stream(
        // Revision 6 was covered by the token: a coordinator must not repeat it, but this one does.
        vec![message(vec![change(6), change(7)], Some(7)), message(vec![change(9)], None)],
        End::Hang,
    )])
    .await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let mut watch = client.watch(from(3));
    assert_eq!(next(&mut watch, 4).await, ["c3", "c5", "c7", "c9"]);
    assert_eq!(first.watches()[0].start, Some(Sent::FromRevision(3)));
    assert_eq!(second.watches()[0].start, Some(Sent::Resume(token(6))));
    assert_eq!(watch.token().unwrap().revision, Revision(9));
}

#[tokio::test]
async fn a_lost_connection_before_the_first_message_starts_again() {
    let first = Coordinator::start([Step::Stream(vec![], End::Close)]).await;
    let messages = vec![message(vec![change(3)], Some(3))];
    let second = Coordinator::start([Step::Stream(messages, End::Hang)]).await;
    let client = client(&[nobody().await, first.endpoint(), second.endpoint()]);
    let mut watch = client.watch(from(3));
    assert_eq!(next(&mut watch, 1).await, ["c3"]);
    assert_eq!(second.watches()[0].start, Some(Sent::FromRevision(3)));
}

#[tokio::test]
async fn a_token_never_runs_ahead_of_the_caller() {
    let messages = vec![message(vec![change(3), change(5)], Some(8))];
    let one = Coordinator::start([Step::Stream(messages, End::Hang)]).await;
    let mut watch = client(&[one.endpoint()]).watch(from(1));
    assert_eq!(watch.token(), None);
    next(&mut watch, 1).await;
    let token = |revision| ResumeToken {
        cluster_id: ClusterId(CLUSTER),
        restore_epoch: RestoreEpoch(0),
        revision: Revision(revision),
    };
    assert_eq!(watch.token(), Some(token(3)));
    next(&mut watch, 1).await;
    assert_eq!(watch.token(), Some(token(8)));
}

#[tokio::test]
async fn from_now_is_a_revision_so_that_nothing_is_lost() {
    let first = Coordinator::start([Step::Answer(header(41)), Step::Stream(vec![], lost())]).await;
    let messages = vec![message(vec![change(42)], Some(42))];
    let second = Coordinator::start([Step::Stream(messages, End::Hang)]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let mut watch = client.watch(WatchOptions::default());
    assert_eq!(next(&mut watch, 1).await, ["c42"]);
    assert_eq!(second.watches()[0].start, Some(Sent::Resume(token(41))));
}

#[tokio::test]
async fn a_snapshot_that_breaks_off_begins_again_after_a_resync() {
    let first = Coordinator::start([
        Step::Stream(vec![message(vec![snapshot(5, "a")], None)], lost()),
        Step::Stream(vec![message(vec![change(9)], Some(9))], End::Hang),
    ])
    .await;
    let second = Coordinator::start([Step::Stream(
        vec![
            message(vec![snapshot(7, "b"), event(v1::EventType::SnapshotEnd, 7)], Some(7)),
            message(vec![change(8)], Some(8)),
        ],
        lost(),
    )])
    .await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let options = WatchOptions { start: Start::Snapshot, ..WatchOptions::default() };
    let mut watch = client.watch(options);
    assert_eq!(next(&mut watch, 1).await, ["s5:a"]);
    assert_eq!(watch.token(), None, "in the middle of a snapshot");
    assert_eq!(next(&mut watch, 4).await, ["r7", "s7:b", "e7", "c8"]);
    assert_eq!(second.watches()[0].start, Some(Sent::Snapshot(true)));
    // Once the snapshot has ended, the stream goes on from there.
    assert_eq!(next(&mut watch, 1).await, ["c9"]);
    assert_eq!(first.watches()[1].start, Some(Sent::Resume(token(8))));
}

#[tokio::test]
async fn a_resync_of_the_coordinator_restarts_the_snapshot() {
    let resync = event(v1::EventType::Resync, 90);
    let first = Coordinator::start([Step::Stream(
        vec![message(vec![resync, snapshot(90, "a")], None)],
        lost(),
    )])
    .await;
    let end = event(v1::EventType::SnapshotEnd, 95);
    let messages = vec![message(vec![end], Some(95))];
    let second = Coordinator::start([Step::Stream(messages, End::Hang)]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let mut watch = client.watch(WatchOptions { resync: true, ..from(1) });
    assert_eq!(next(&mut watch, 4).await, ["r90", "s90:a", "r95", "e95"]);
    assert!(first.watches()[0].resync);
    assert_eq!(second.watches()[0].start, Some(Sent::Snapshot(true)));
}

#[tokio::test]
async fn lost_history_ends_it_and_says_what_is_left() {
    let compacted = || -> Status {
        ErrorDetails::new(Reason::Compacted, "gone").with_oldest(Revision(70)).into()
    };
    let messages = vec![message(vec![change(3)], Some(3))];
    let one = Coordinator::start([Step::Stream(messages, End::Fail(compacted()))]).await;
    let mut watch = client(&[one.endpoint()]).watch(from(1));
    next(&mut watch, 1).await;
    for _ in 0..2 {
        let error = watch.next().await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Compacted));
        assert_eq!(error.oldest(), Some(Revision(70)));
        assert_eq!(error.kind(), ErrorKind::Rejected);
    }
    assert_eq!(one.watches().len(), 1, "it was not tried again");
}

#[tokio::test]
async fn wrong_starts_end_it() {
    for reason in [Reason::FutureRevision, Reason::InvalidField, Reason::WrongCluster] {
        let status = Status::from(ErrorDetails::new(reason, "no"));
        let one = Coordinator::start([Step::Fail(status)]).await;
        let events: Vec<_> = client(&[one.endpoint()]).watch(from(9)).into_stream().collect().await;
        assert_eq!(events.len(), 1, "the stream ends after its error");
        assert_eq!(events[0].as_ref().unwrap_err().reason(), Some(reason));
    }
}

#[tokio::test]
async fn another_cluster_ends_it() {
    let mut other = message(vec![change(4)], Some(4));
    other.header = Some(v1::ResponseHeader { cluster_id: 0xc2, ..header(4) });
    let messages = vec![message(vec![change(3)], Some(3)), other];
    let one = Coordinator::start([Step::Stream(messages, End::Hang)]).await;
    let mut watch = client(&[one.endpoint()]).watch(from(1));
    assert_eq!(next(&mut watch, 1).await, ["c3"]);
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::WrongCluster));
}

#[tokio::test]
async fn ones_own_write_is_waited_for() {
    let messages = vec![
        message(vec![change(3)], Some(3)),
        message(vec![event(v1::EventType::Progress, 7)], Some(7)),
    ];
    let one = Coordinator::start([Step::Stream(messages, End::Hang)]).await;
    let mut watch = client(&[one.endpoint()]).watch(from(1));
    let mut position = watch.position();
    assert_eq!(position.revision(), Revision(0));
    let waiting = tokio::spawn(async move {
        let passed = position.wait_for(Revision(6)).await;
        (passed, position)
    });
    assert_eq!(next(&mut watch, 2).await, ["c3", "p7"]);
    let (passed, mut position) = waiting.await.unwrap();
    assert_eq!(passed.unwrap(), Revision(7));
    drop(watch);
    position.wait_for(Revision(8)).await.unwrap_err();
}

#[tokio::test]
async fn cancelling_loses_nothing() {
    let messages = || vec![message(vec![change(3), change(4)], Some(4))];
    let one = Coordinator::start((0..50).map(|_| Step::Stream(messages(), End::Hang))).await;
    let mut watch = client(&[one.endpoint()]).watch(from(1));
    // Given up at ever later stages of connecting.
    let (mut events, mut patience) = (Vec::new(), Duration::from_micros(10));
    while events.len() < 2 {
        if let Ok(event) = tokio::time::timeout(patience, watch.next()).await {
            events.push(event.unwrap().revision().get());
        }
        patience = (patience * 2).min(Duration::from_secs(5));
    }
    assert_eq!(events, [3, 4]);
    assert_eq!(watch.token().unwrap().revision, Revision(4));
}

#[tokio::test]
async fn it_gives_up_when_told_to_and_can_go_on() {
    let options = WatchOptions { give_up_after: Some(Duration::from_millis(100)), ..from(1) };
    let address = nobody().await;
    let mut watch = client(&[address]).watch(options);
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "it tried again");
}

#[tokio::test]
async fn a_full_coordinator_is_left_for_another() {
    let full =
        ErrorDetails::new(Reason::LimitExceeded, "full").with_code(tonic::Code::ResourceExhausted);
    let first = Coordinator::start([Step::Fail(full.into())]).await;
    let messages = vec![message(vec![change(3)], Some(3))];
    let second = Coordinator::start([Step::Stream(messages, End::Hang)]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    assert_eq!(next(&mut client.watch(from(1)), 1).await, ["c3"]);
}
