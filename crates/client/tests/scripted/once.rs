//! Writes that are applied at most once: which serial an attempt has, what is acknowledged, and
//! what is said when a session ends.

use std::time::Duration;

use quorate_client::{Client, ErrorKind, Reason, WriteOutcome};
use quorate_core::Rejection;
use quorate_proto::{ErrorDetails, v1};
use tonic::{Code, Status};

use crate::server::{Asked, Coordinator, Step, breaker, config, eventually, header, once};

const SHORT: Duration = Duration::from_millis(300);

fn no_quorum(outcome: WriteOutcome) -> Step {
    let details = ErrorDetails::new(Reason::NoQuorum, "no leader").with_outcome(outcome);
    Step::Fail(details.into())
}

fn session_ended(outcome: WriteOutcome) -> Step {
    let details = ErrorDetails::new(Reason::SessionExpired, "session 0.1 has ended");
    Step::Fail(details.with_field("call.session", "").with_outcome(outcome).into())
}

fn repeat(step: impl Fn() -> Step) -> impl Iterator<Item = Step> {
    (0..2_000).map(move |_| step())
}

/// (session, serial, acknowledged) of each put.
fn calls(coordinator: &Coordinator) -> Vec<(u64, u64, u64)> {
    let call = |context: v1::WriteContext| {
        (context.session.unwrap().revision, context.serial, context.acknowledged)
    };
    coordinator.contexts().into_iter().map(call).collect()
}

#[tokio::test]
async fn the_first_write_opens_a_session_and_reads_do_not() {
    let one = Coordinator::start([]).await;
    let client = once(&[one.endpoint()]);
    client.get("k").await.unwrap();
    assert_eq!(one.opened(), 0);
    let puts = (0..20).map(|_| client.put("k", "v").into_future());
    futures::future::try_join_all(puts).await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(one.opened(), 1);
    let mut calls = calls(&one);
    assert_eq!(calls.last(), Some(&(1, 21, 20)), "all before it are acknowledged");
    calls.sort_unstable_by_key(|call| call.1);
    assert_eq!(calls.iter().map(|call| call.1).collect::<Vec<_>>(), (1..=21).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_again_with_the_same_serial() {
    let first = Coordinator::start([no_quorum(WriteOutcome::Unknown)]).await;
    let second = Coordinator::start([Step::Answer(header(8))]).await;
    let client = once(&[first.endpoint(), second.endpoint()]);
    let written = client.put("k", "v").await.unwrap();
    assert_eq!(written.revision().get(), 8);
    assert_eq!((calls(&first), calls(&second)), (vec![(1, 1, 0)], vec![(1, 1, 0)]));
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_reason_to_give_up() {
    let (address, task) = breaker().await;
    let second = Coordinator::start([Step::Answer(header(8))]).await;
    // The breaker takes the opening for nothing that it knows: the session comes from the second.
    let client = once(&[second.endpoint(), address]);
    let broken = client.endpoints()[1].clone();
    client.put("other", "v").await.unwrap();
    let error = client.put("key", "v").via(&broken).timeout(SHORT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    client.put("key", "v").await.unwrap();
    assert_eq!(calls(&second), [(1, 1, 0), (1, 3, 2)], "the broken one counts as finished");
    task.abort();
}

#[tokio::test]
async fn an_attempt_that_hangs_is_repeated_elsewhere() {
    let first = Coordinator::start([Step::Hang]).await;
    let second = Coordinator::start([]).await;
    let mut config = config(&[first.endpoint(), second.endpoint()]).with_exactly_once();
    config.attempt_timeout = Duration::from_millis(100);
    let client = Client::new(config).unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!((calls(&first), calls(&second)), (vec![(1, 1, 0)], vec![(1, 1, 0)]));
}

#[tokio::test]
async fn the_first_outcome_of_a_serial_is_known_even_if_it_is_a_rejection() {
    let rejection = Rejection::invalid("put.value", "at most 5 bytes");
    let rejected = Step::Fail(ErrorDetails::from(rejection).into());
    let one = Coordinator::start([no_quorum(WriteOutcome::Unknown), rejected]).await;
    let error = once(&[one.endpoint()]).put("k", "v").await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Rejected, WriteOutcome::NotApplied));
}

#[tokio::test]
async fn a_refusal_by_something_in_between_settles_nothing() {
    for refused in [
        Status::new(Code::PermissionDenied, "a proxy says no"),
        ErrorDetails::new(Reason::StalePlan, "planned anew too often").into(),
        ErrorDetails::new(Reason::SerialTooOld, "acknowledged").into(),
    ] {
        let steps = [no_quorum(WriteOutcome::Unknown), Step::Fail(refused)];
        let one = Coordinator::start(steps).await;
        let error = once(&[one.endpoint()]).put("k", "v").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
        assert_eq!(one.contexts().len(), 2, "it is not sent again");
    }
}

#[tokio::test]
async fn a_missed_deadline_is_unknown_and_its_serial_never_applies_later() {
    let one = Coordinator::start([Step::Hang]).await;
    let client = once(&[one.endpoint()]);
    let waiting = client.put("k", "v").timeout(SHORT).into_future();
    let waiting = tokio::spawn(waiting);
    eventually("it is sent", || one.contexts().len() == 1).await;
    client.put("k", "second").await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::OutcomeUnknown, WriteOutcome::Unknown));
    client.put("k", "third").await.unwrap();
    assert_eq!(
        calls(&one),
        [(1, 1, 0), (1, 2, 0), (1, 3, 2)],
        "acknowledged stays below a serial in use, and passes it when its call has ended"
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_is_finished_too() {
    let one = Coordinator::start([Step::Hang]).await;
    let client = once(&[one.endpoint()]);
    let dropped = tokio::time::timeout(SHORT, client.put("k", "v").into_future()).await;
    dropped.unwrap_err();
    client.put("k", "v").await.unwrap();
    assert_eq!(calls(&one), [(1, 1, 0), (1, 2, 1)]);
}

#[tokio::test]
async fn a_write_of_an_ended_session_that_was_never_in_doubt_uses_another() {
    let steps = [session_ended(WriteOutcome::NotApplied), Step::Answer(header(9))];
    let one = Coordinator::start(steps).await;
    let written = once(&[one.endpoint()]).put("k", "v").await.unwrap();
    assert_eq!(written.revision().get(), 9);
    assert_eq!(calls(&one), [(1, 1, 0), (2, 1, 0)]);
}

#[tokio::test]
async fn a_write_in_doubt_is_never_sent_under_another_session() {
    for steps in [
        vec![no_quorum(WriteOutcome::Unknown), session_ended(WriteOutcome::NotApplied)],
        vec![session_ended(WriteOutcome::Unknown)],
    ] {
        let sent = steps.len();
        let one = Coordinator::start(steps).await;
        let client = once(&[one.endpoint()]);
        let error = client.put("k", "v").await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), {
            (ErrorKind::OutcomeUnknown, Some(Reason::SessionExpired))
        });
        assert!(calls(&one).iter().all(|call| call.0 == 1), "{:?}", calls(&one));
        assert_eq!(calls(&one).len(), sent);
        client.put("k", "v").await.unwrap();
        assert_eq!(calls(&one).last(), Some(&(2, 1, 0)), "the next one has a new session");
    }
}

#[tokio::test]
async fn a_guard_that_fails_says_nothing_of_the_writes_own_session() {
    let guard = ErrorDetails::new(Reason::SessionExpired, "session 0.7 has ended");
    let one = Coordinator::start([Step::Fail(guard.into())]).await;
    let client = once(&[one.endpoint()]);
    let error = client.transaction().put("k", "v").commit().await.unwrap_err();
    let told = (error.kind(), error.reason(), error.outcome());
    let expected = (ErrorKind::Rejected, Some(Reason::SessionExpired), WriteOutcome::NotApplied);
    assert_eq!(told, expected);
    client.put("k", "v").await.unwrap();
    assert_eq!(one.opened(), 1);
}

#[tokio::test]
async fn a_full_window_is_waited_out() {
    let full = || {
        let rejection = Rejection::limit("call.serial", "session_window_max", 2, 1);
        Step::Fail(ErrorDetails::from(rejection).into())
    };
    let one = Coordinator::start([full(), full(), Step::Answer(header(3))]).await;
    let written = once(&[one.endpoint()]).put("k", "v").await.unwrap();
    assert_eq!(written.revision().get(), 3);
    assert_eq!(calls(&one), [(1, 1, 0); 3]);
}

#[tokio::test]
async fn five_thousand_writes_at_once_wait_for_their_turn() {
    let one = Coordinator::start([]).await;
    let mut config = config(&[one.endpoint()]).with_exactly_once();
    (config.timeout, config.attempt_timeout) = (Duration::from_secs(60), Duration::from_secs(60));
    let client = Client::new(config).unwrap();
    let puts = (0..5_000).map(|_| client.put("k", "v").into_future());
    futures::future::try_join_all(puts).await.unwrap();
    let calls = calls(&one);
    assert_eq!(calls.len(), 5_000);
    assert!(calls.iter().all(|(_, serial, acknowledged)| serial - acknowledged <= 4_096));
}

#[tokio::test]
async fn without_a_session_nothing_is_written() {
    let one = Coordinator::start([]).await;
    one.refuse_to_open([ErrorDetails::new(Reason::NoQuorum, "no leader").into()]);
    let client = once(&[one.endpoint()]);
    client.put("k", "v").await.unwrap();
    assert_eq!(one.opened(), 1, "it was asked for again");

    let limit = Rejection::limit("sessions", "sessions_max", 11, 10);
    let two = Coordinator::start([]).await;
    two.refuse_to_open([ErrorDetails::from(limit).into()]);
    let error = once(&[two.endpoint()]).put("k", "v").await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Rejected, Some(Reason::LimitExceeded)));
    let unknown = || {
        let details = ErrorDetails::new(Reason::NoQuorum, "no leader");
        Status::from(details.with_outcome(WriteOutcome::Unknown))
    };
    two.refuse_to_open((0..1_000).map(|_| unknown()));
    let error = once(&[two.endpoint()]).put("k", "v").timeout(SHORT).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Unavailable, WriteOutcome::NotApplied));
    assert_eq!(two.contexts().len(), 0);
}

#[tokio::test]
async fn writes_say_who_asks_and_why() {
    let one = Coordinator::start([]).await;
    let config = config(&[one.endpoint()]).without_exactly_once().with_label("billing");
    let client = Client::new(config).unwrap();
    client.put("k", "v").reason("because").await.unwrap();
    let context = one.contexts().pop().unwrap();
    assert_eq!((context.label.as_str(), context.reason.as_str()), ("billing", "because"));
    assert_eq!((context.session, context.serial), (None, 0));
    let named = once(&[one.endpoint()]);
    named.put("k", "v").await.unwrap();
    assert!(one.contexts().pop().unwrap().label.starts_with("scripted"), "the program's name");
}

#[tokio::test]
async fn the_session_is_closed_with_its_client() {
    let one = Coordinator::start([]).await;
    let client = once(&[one.endpoint()]);
    client.put("k", "v").await.unwrap();
    client.close().await;
    assert_eq!(one.closed(), [v1::SessionId { restore: 0, revision: 1 }]);
    client.put("k", "v").await.unwrap();
    assert_eq!(calls(&one).last(), Some(&(2, 1, 0)));
    let clone = client.clone();
    drop(client);
    clone.put("k", "v").await.unwrap();
    drop(clone);
    eventually("it is closed", || one.closed().len() == 2).await;
}

#[tokio::test]
async fn what_is_unknown_stays_unknown_until_the_deadline() {
    let steps = std::iter::once(no_quorum(WriteOutcome::Unknown))
        .chain(repeat(|| no_quorum(WriteOutcome::NotApplied)));
    let one = Coordinator::start(steps).await;
    let error = once(&[one.endpoint()]).put("k", "v").timeout(SHORT).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::OutcomeUnknown, WriteOutcome::Unknown));
    assert!(calls(&one).len() > 1 && calls(&one).iter().all(|call| *call == (1, 1, 0)));
    assert!(one.asked().iter().all(|asked| matches!(asked, Asked::Put(_) | Asked::Open(_))));
}
