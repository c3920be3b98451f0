//! Nobody sees an older state than before, nor another cluster's.

use futures::TryStreamExt as _;
use quorate_client::{ErrorKind, Reason, entries};
use quorate_core::Revision;
use quorate_proto::v1;

use crate::server::{Asked, Coordinator, Step, client, header};

/// How the last range was to be read.
fn read_as(coordinator: &Coordinator) -> (v1::Consistency, u64) {
    let Some(Asked::Range(request)) = coordinator.asked().pop() else { panic!("no range") };
    let read = request.read.unwrap();
    (read.consistency(), read.min_revision)
}

#[tokio::test]
async fn a_local_read_is_never_older_than_what_was_seen() {
    let one = Coordinator::start([
        Step::Answer(header(0)),
        Step::Answer(header(5)),
        Step::Answer(header(6)),
        Step::Answer(header(6)),
        Step::Answer(header(9)),
    ])
    .await;
    let client = client(&[one.endpoint()]);
    client.get("k").local().await.unwrap();
    assert_eq!(read_as(&one), (v1::Consistency::Local, 0), "nothing was seen yet");

    client.put("k", "v").await.unwrap();
    client.get("k").local().await.unwrap();
    assert_eq!(read_as(&one), (v1::Consistency::AtLeast, 5));
    assert_eq!(client.seen_revision(), Revision(6));

    client.get("k").at_least(Revision(3)).await.unwrap();
    assert_eq!(read_as(&one), (v1::Consistency::AtLeast, 6));
    client.get("k").at_least(Revision(9)).await.unwrap();
    assert_eq!(read_as(&one), (v1::Consistency::AtLeast, 9));
    let short = std::time::Duration::from_millis(100);
    client.get("k").at_least(Revision(9)).timeout(short).await.unwrap_err();
}

#[tokio::test]
async fn a_stale_answer_is_not_taken() {
    let stale = Coordinator::start([Step::Answer(header(5)), Step::Answer(header(4))]).await;
    let fresh = Coordinator::start([Step::Answer(header(5))]).await;
    let client = client(&[stale.endpoint(), fresh.endpoint()]);
    client.put("k", "v").await.unwrap();
    let read = client.get("k").await.unwrap();
    assert_eq!(read.revision(), Revision(5));
    assert_eq!((stale.asked().len(), fresh.asked().len()), (2, 1));
}

#[tokio::test]
async fn clones_share_what_was_seen() {
    let one = Coordinator::start([Step::Answer(header(5)), Step::Answer(header(5))]).await;
    let client = client(&[one.endpoint()]);
    client.clone().put("k", "v").await.unwrap();
    client.get("k").local().await.unwrap();
    assert_eq!(read_as(&one), (v1::Consistency::AtLeast, 5));
}

#[tokio::test]
async fn another_cluster_or_epoch_is_refused() {
    let others = [
        v1::ResponseHeader { cluster_id: 0xc2, ..header(50) },
        v1::ResponseHeader { restore_epoch: 1, ..header(50) },
    ];
    for other in others {
        let steps = [Step::Answer(header(5)), Step::Answer(other), Step::Answer(other)];
        let one = Coordinator::start(steps).await;
        let client = client(&[one.endpoint()]);
        client.get("k").await.unwrap();
        let error = client.get("k").await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::WrongCluster));
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let error = client.put("k", "v").await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::WrongCluster));
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "something was written somewhere");
        assert_eq!(client.seen_revision(), Revision(5));
    }
}

#[tokio::test]
async fn pages_go_on_after_the_last_key_and_never_back_in_time() {
    let record = |key: &'static str| v1::Record {
        key: Some(v1::Key { kind: v1::Kind::Entry.into(), key: key.into() }),
        created: 1,
        modified: 1,
        version: 1,
        value: Some(v1::record::Value::Entry("v".into())),
        ..v1::Record::default()
    };
    let page = |revision, keys: &[&'static str], more| {
        Step::Range(v1::RangeResponse {
            header: Some(header(revision)),
            records: keys.iter().map(|key| record(key)).collect(),
            more,
            count: 3,
        })
    };
    let one = Coordinator::start([page(4, &["p/a", "p/b"], true), page(6, &["p/c"], false)]).await;
    let client = client(&[one.endpoint()]);
    let pages: Vec<_> = client.range(entries("p/")).limit(2).pages().try_collect().await.unwrap();
    let keys = pages.iter().flat_map(|page| &page.value.records).map(|(key, _)| key.bytes.clone());
    assert_eq!(keys.collect::<Vec<_>>(), ["p/a", "p/b", "p/c"]);
    assert_eq!(read_as(&one), (v1::Consistency::AtLeast, 4));
    let Some(Asked::Range(second)) = one.asked().pop() else { panic!("no range") };
    let bounds = v1::KeyBounds { start: "p/b\0".into(), end: "p0".into() };
    assert_eq!(second.selector.unwrap().target, Some(v1::selector::Target::Bounds(bounds)));
    assert_eq!(second.limit, 2);
}
