//! Sessions: kept alive over one stream, elsewhere when it breaks, lost in time.

use std::time::Duration;

use quorate_client::{Client, Error, Lost, Session, SessionOptions};
use quorate_proto::v1;
use tokio::time::Instant;

use crate::server::{Asked, Behaviour, Coordinator, client, eventually};

const TTL: Duration = Duration::from_millis(600);

async fn open(client: &Client) -> Result<Session, Error> {
    client.open_session(SessionOptions::new(TTL)).await
}

#[tokio::test]
async fn a_session_is_opened_kept_alive_and_closed() {
    let one = Coordinator::start([]).await;
    let client = client(&[one.endpoint()]);
    let options = SessionOptions { label: Some("me".into()), ..SessionOptions::new(TTL) };
    let session = client.open_session(options).await.unwrap();
    let Some(Asked::Open(request)) = one.asked().pop() else { panic!("no open") };
    assert_eq!((request.ttl_ms, request.label.as_str()), (600, "me"));
    let started = Instant::now();
    eventually("keep-alives flow", || one.keep_alives().len() >= 5).await;
    assert!(started.elapsed() > TTL, "it lived longer than without keep-alives");
    assert!(session.is_valid() && session.remaining() <= TTL);
    let sent = v1::SessionId::from(session.id());
    assert!(one.keep_alives().iter().all(|(_, request)| request.sessions == [sent]));
    client.put("k", "v").bound_to(&session).await.unwrap();
    let Some(Asked::Put(put)) = one.asked().pop() else { panic!("no put") };
    assert_eq!(put.session, Some(sent));
    session.close().await.unwrap();
    assert_eq!((session.is_valid(), session.lost().await), (false, Lost::Closed));
    assert_eq!(one.closed(), [sent]);
    let after = one.keep_alives().len();
    tokio::time::sleep(TTL).await;
    assert!(one.keep_alives().len() <= after + 1, "it is kept alive no longer");
}

#[tokio::test]
async fn many_sessions_go_together() {
    let one = Coordinator::start([]).await;
    let client = client(&[one.endpoint()]);
    let opening = (0..50).map(|_| open(&client));
    let sessions = futures::future::try_join_all(opening).await.unwrap();
    eventually("keep-alives flow", || {
        one.keep_alives().last().is_some_and(|(_, request)| request.sessions.len() == 50)
    })
    .await;
    assert!(sessions.iter().all(Session::is_valid));
}

#[tokio::test]
async fn another_coordinator_takes_over_when_one_breaks_or_is_silent() {
    for behaviour in [Behaviour::Break, Behaviour::Silent] {
        let first = Coordinator::start([]).await;
        let second = Coordinator::start([]).await;
        let client = client(&[first.endpoint(), second.endpoint()]);
        first.behave(behaviour);
        let session = open(&client).await.unwrap();
        eventually("the second keeps it alive", || second.keep_alives().len() >= 4).await;
        assert!(session.is_valid(), "{behaviour:?}");
        assert!(!first.keep_alives().is_empty());
    }
}

#[tokio::test]
async fn it_is_lost_before_the_cluster_may_end_it_when_nobody_answers() {
    let one = Coordinator::start([]).await;
    let client = client(&[one.endpoint()]);
    let session = open(&client).await.unwrap();
    eventually("a keep-alive was answered", || one.keep_alives().len() >= 2).await;
    one.behave(Behaviour::Silent);
    // The last that was answered arrived before this one, which is not.
    let silent_from = one.keep_alives().len();
    session.expires_within(TTL / 4).await;
    assert!(session.is_valid(), "there is a warning before the loss");
    assert_eq!(session.lost().await, Lost::Unheard);
    let answered = one.keep_alives()[silent_from - 1].0;
    assert!(answered.elapsed() < TTL, "lost {:?} after it", answered.elapsed());
    one.behave(Behaviour::Answer);
    tokio::time::sleep(TTL).await;
    assert_eq!((session.is_valid(), session.lost().await), (false, Lost::Unheard), "for good");
}

#[tokio::test]
async fn the_clusters_word_ends_one_session_and_not_the_other() {
    let one = Coordinator::start([]).await;
    let client = client(&[one.endpoint()]);
    let (ends, stays) = (open(&client).await.unwrap(), open(&client).await.unwrap());
    one.end_session(ends.id().into());
    assert_eq!(ends.lost().await, Lost::Ended);
    assert!(stays.is_valid());
}

#[tokio::test]
async fn a_dropped_session_is_closed() {
    let one = Coordinator::start([]).await;
    let client = client(&[one.endpoint()]);
    let session = open(&client).await.unwrap();
    let (id, clone) = (session.id(), session.clone());
    drop(session);
    assert!(clone.is_valid());
    drop(clone);
    eventually("it is closed", || one.closed() == [v1::SessionId::from(id)]).await;
}
