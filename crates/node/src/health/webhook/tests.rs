//! What is posted, and that a listener that fails or hangs holds up nothing.

use quorate_core::{
    ClusterId, Command, Identity, Name, Raised, RestoreEpoch, Severity, Stamp, apply,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::health::seen::WebhookSeen;

fn empty() -> State {
    State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) })
}

/// An alert is raised at 1 s, becomes critical, stays so with other words, and is cleared.
fn state() -> State {
    let mut state = empty();
    let id = quorate_core::AlertId { check: Name::new("load").unwrap(), subject: "w".into() };
    let mut set = |time_ms, severity, clear: bool| {
        let message = format!("\"busy\" at {time_ms}");
        let raised = (id.clone(), Raised { severity, message, value: 7 });
        let raise = if clear { vec![] } else { vec![raised] };
        let clear = if clear { vec![id.clone()] } else { vec![] };
        let applied = apply(&mut state, Stamp::at(time_ms), &Command::SetAlerts { raise, clear });
        applied.outcome.result.unwrap();
    };
    set(1_000, Severity::Warning, false);
    set(2_000, Severity::Critical, false);
    set(3_000, Severity::Critical, false);
    set(4_000, Severity::Critical, true);
    state
}

fn cluster() -> Cluster {
    Cluster { name: "quorate".into(), id: "1".into() }
}

fn follower(capacity: usize) -> (Follower, mpsc::Receiver<Bytes>) {
    let (queue, waiting) = mpsc::channel(capacity);
    let (seen, cluster) = (HealthSeen::default(), Arc::new(cluster()));
    let mut follower = Follower { seen, cluster, queue, news: News::default() };
    // It leads since before anything happened.
    follower.follow(&empty(), true);
    (follower, waiting)
}

fn seen(seen: &HealthSeen) -> [u64; 3] {
    let WebhookSeen { sent, failed, dropped } = seen.told().webhook;
    [sent, failed, dropped]
}

#[test]
fn an_alert_is_told_when_it_fires_changes_severity_and_is_resolved() {
    let (mut follower, mut waiting) = follower(10);
    let state = state();
    follower.follow(&state, true);
    follower.follow(&state, true);
    let mut told = Vec::new();
    while let Ok(body) = waiting.try_recv() {
        told.push(serde_json::from_slice::<Value>(&body).unwrap());
    }
    let words: Vec<_> = told.iter().map(|it| (&it["state"], &it["alert"]["severity"])).collect();
    let expected = [["firing", "warning"], ["firing", "critical"], ["resolved", "critical"]];
    let expected = expected.map(|pair| pair.map(Value::from));
    assert_eq!(words, expected.each_ref().map(|[state, severity]| (state, severity)));
    let first = json!({
        "cluster": {"name": "quorate", "id": "1"},
        "alert": {
            "check": "load",
            "subject": "w",
            "severity": "warning",
            "message": "\"busy\" at 1000",
            "value": 7,
            "since_ms": 1_000,
        },
        "state": "firing",
        "revision": 1,
    });
    assert_eq!(told[0], first);
}

#[test]
fn only_who_leads_tells_and_what_does_not_fit_is_counted() {
    let (mut follower, mut waiting) = follower(2);
    follower.follow(&state(), false);
    follower.follow(&state(), true);
    assert!(waiting.try_recv().is_err(), "that was before it led");
    follower.follow(&empty(), false);
    follower.follow(&empty(), true);
    follower.follow(&state(), true);
    assert_eq!((waiting.len(), seen(&follower.seen)), (2, [0, 0, 1]));
}

/// Reads one request; its body.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "it ended after {text}");
        text.push_str(std::str::from_utf8(&some[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.expect("a length").parse().unwrap() {
            assert!(head.starts_with("POST /alerts HTTP/1.1\r\n"), "{head}");
            return body.to_owned();
        }
    }
}

async fn listen() -> (TcpListener, Hook) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/alerts", listener.local_addr().unwrap()).parse().unwrap();
    let timeout = Duration::from_millis(200);
    (listener, Hook { url, timeout, cluster_name: "quorate".into() })
}

#[tokio::test]
async fn a_listener_that_refuses_twice_gets_it_the_third_time() {
    let (listener, hook) = listen().await;
    let hook = Hook { timeout: Duration::from_secs(20), ..hook };
    let (queue, waiting) = mpsc::channel(10);
    let counted = HealthSeen::default();
    let sending = tokio::spawn(send(hook, waiting, counted.clone()));
    for body in ["one", "two"] {
        queue.send(Bytes::from(body)).await.unwrap();
    }
    drop(queue);
    let answers = ["503 Busy", "500 Broken", "200 OK", "204 None"];
    let mut got = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        got.push(request(&mut stream).await);
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    sending.await.unwrap();
    assert_eq!(got, ["one", "one", "one", "two"]);
    assert_eq!(seen(&counted), [2, 0, 0]);
}

#[tokio::test]
async fn a_listener_that_never_answers_is_given_up() {
    let (listener, hook) = listen().await;
    let hook = Hook { timeout: Duration::from_millis(20), ..hook };
    let (queue, waiting) = mpsc::channel(10);
    queue.send(Bytes::from("one")).await.unwrap();
    drop(queue);
    let counted = HealthSeen::default();
    send(hook, waiting, counted.clone()).await;
    assert_eq!(seen(&counted), [0, 1, 0]);
    drop(listener);
}
