//! Which coordinator is asked, how often, for how long, and what is said in the end.

use std::time::Duration;

use quorate_client::{ClientConfig, Error, ErrorKind, Reason, WriteOutcome};
use quorate_proto::ErrorDetails;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::server::{Coordinator, Step, breaker, client, header, nobody};

const SHORT: Duration = Duration::from_millis(300);
/// Less than a call has by default.
const LONG: Duration = Duration::from_secs(4);

fn no_quorum(outcome: WriteOutcome) -> Step {
    let details = ErrorDetails::new(Reason::NoQuorum, "no leader").with_outcome(outcome);
    Step::Fail(details.into())
}

fn repeat(step: impl Fn() -> Step) -> impl Iterator<Item = Step> {
    (0..200).map(move |_| step())
}

#[tokio::test]
async fn a_read_moves_on_and_stays_with_who_answered() {
    let first = Coordinator::start([no_quorum(WriteOutcome::NotApplied)]).await;
    let second = Coordinator::start([]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    client.get("k").await.unwrap();
    client.get("k").await.unwrap();
    assert_eq!((first.asked().len(), second.asked().len()), (1, 2));
}

#[tokio::test]
async fn a_write_that_was_not_applied_is_sent_again() {
    let first = Coordinator::start([no_quorum(WriteOutcome::NotApplied)]).await;
    let second = Coordinator::start([Step::Answer(header(7))]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    assert_eq!(client.put("k", "v").await.unwrap().revision().get(), 7);
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_write_with_an_unknown_outcome_is_not_sent_again() {
    let first = Coordinator::start([no_quorum(WriteOutcome::Unknown)]).await;
    let second = Coordinator::start([]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(error.outcome(), WriteOutcome::Unknown);
    assert_eq!(error.reason(), Some(Reason::NoQuorum));
    assert!(!error.is_retryable());
    assert_eq!(second.asked().len(), 0);
}

#[tokio::test]
async fn a_bare_status_leaves_a_write_unknown_and_a_read_unavailable() {
    let bare = || Step::Fail(Status::new(Code::Internal, "broken"));
    let first = Coordinator::start(repeat(bare)).await;
    let client = client(&[first.endpoint()]);
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    let error = client.get("k").timeout(SHORT).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Unavailable, WriteOutcome::NotApplied));
    assert!(first.asked().len() > 2, "the read was repeated");
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_applies_nothing() {
    let second = Coordinator::start([Step::Answer(header(9))]).await;
    let moved = client(&[nobody().await, second.endpoint()]);
    assert_eq!(moved.put("k", "v").await.unwrap().revision().get(), 9);

    let alone = client(&[nobody().await, nobody().await]);
    let started = Instant::now();
    let error = alone.put("k", "v").timeout(SHORT).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Unavailable, WriteOutcome::NotApplied));
    assert!(error.to_string().contains("cannot connect"), "{error}");
    assert!(started.elapsed() < LONG);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_a_write_unknown() {
    let (address, task) = breaker().await;
    let second = Coordinator::start([]).await;
    let client = client(&[address, second.endpoint()]);
    let error = client.put("key", "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(second.asked().len(), 0);
    client.get("key").await.unwrap();
    task.abort();
}

#[tokio::test]
async fn overload_is_waited_out_as_told() {
    let delay = Duration::from_millis(150);
    let overloaded = ErrorDetails::new(Reason::Overloaded, "full").with_retry_after(delay);
    let first = Coordinator::start([Step::Fail(overloaded.into()), Step::Answer(header(2))]).await;
    let client = client(&[first.endpoint()]);
    let started = Instant::now();
    client.put("k", "v").await.unwrap();
    assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
    assert_eq!(first.asked().len(), 2);
}

#[tokio::test]
async fn a_delay_beyond_the_deadline_is_not_waited_for() {
    let details =
        ErrorDetails::new(Reason::Overloaded, "full").with_retry_after(Duration::from_secs(60));
    let first = Coordinator::start([Step::Fail(details.into())]).await;
    let started = Instant::now();
    let error = client(&[first.endpoint()]).put("k", "v").await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Unavailable, Some(Reason::Overloaded)));
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    assert!(started.elapsed() < LONG);
}

#[tokio::test]
async fn a_rejection_is_final_and_says_why() {
    let rejection = quorate_core::Rejection::invalid("put.value", "at most 5 bytes");
    let rejected = || Step::Fail(ErrorDetails::from(rejection.clone()).into());
    let first = Coordinator::start(repeat(rejected)).await;
    let second = Coordinator::start([]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let error = client.put("k", "too long").await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Rejected, Some(Reason::InvalidField)));
    assert_eq!((error.field(), error.rule()), ("put.value", "at most 5 bytes"));
    assert_eq!(error.endpoint().unwrap().as_str(), first.endpoint());
    client.put("k", "still too long").await.unwrap_err();
    assert_eq!((first.asked().len(), second.asked().len()), (2, 0));
}

#[tokio::test]
async fn a_write_that_hangs_is_unknown_at_its_deadline() {
    let first = Coordinator::start([Step::Hang]).await;
    let second = Coordinator::start([]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let started = Instant::now();
    let error = client.put("k", "v").timeout(SHORT).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::OutcomeUnknown, WriteOutcome::Unknown));
    assert!(started.elapsed() >= SHORT && started.elapsed() < LONG);
    assert_eq!(second.asked().len(), 0);
    let told = first.timeouts()[0].clone().expect("the coordinator is told the deadline");
    assert!(told.ends_with('u') || told.ends_with('n') || told.ends_with('m'), "{told}");
}

#[tokio::test]
async fn a_read_that_hangs_is_tried_elsewhere() {
    let first = Coordinator::start(repeat(|| Step::Hang)).await;
    let second = Coordinator::start([]).await;
    let config = ClientConfig {
        attempt_timeout: Duration::from_millis(100),
        ..ClientConfig::new([first.endpoint(), second.endpoint()])
    };
    let client = quorate_client::Client::new(config).unwrap();
    client.get("k").await.unwrap();
    assert!(!first.asked().is_empty() && !second.asked().is_empty());
}

#[tokio::test]
async fn a_named_coordinator_alone_is_asked() {
    let first = Coordinator::start([]).await;
    let second = Coordinator::start([no_quorum(WriteOutcome::NotApplied)]).await;
    let client = client(&[first.endpoint(), second.endpoint()]);
    let endpoint = client.endpoints()[1].clone();
    client.get("k").via(&endpoint).await.unwrap();
    assert_eq!((first.asked().len(), second.asked().len()), (0, 2));
    let other = quorate_client::Endpoint::parse("127.0.0.1:1").unwrap();
    let error = client.get("k").via(&other).await.unwrap_err();
    assert_eq!(error.field(), "via");
}

#[test]
fn endpoints_are_checked() {
    for wrong in ["", "host", ":1", "host:", "host:0", "host:70000", "a/b:1", "https://h:1"] {
        let error: Error = quorate_client::Endpoint::parse(wrong).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Rejected, "endpoints"), "{wrong}");
    }
    for right in ["localhost:7101", "http://127.0.0.1:7101/", "[::1]:7101"] {
        quorate_client::Endpoint::parse(right).unwrap();
    }
    let error = quorate_client::Client::new(ClientConfig::new(Vec::<String>::new())).unwrap_err();
    assert_eq!(error.rule(), "must not be empty");
}
