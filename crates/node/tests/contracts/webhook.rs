//! Alerts are posted, and who takes the posts holds up nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_core::{Kind, MemberId, Name, Settings, Severity};
use quorate_node::{
    Node,
    config::{Config, Listeners},
    health::{Checks, Finding, Findings, HealthCheck, HealthContext, Pace},
    replica::Environment,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::common::PATIENCE;

/// Finds something while it is told to.
struct Told(Arc<AtomicBool>);

#[async_trait::async_trait]
impl HealthCheck for Told {
    fn name(&self) -> Name {
        Name::new("told").unwrap()
    }

    fn pace(&self, settings: &Settings) -> Pace {
        let interval = Duration::from_millis(50);
        Pace { interval, failures: 1, successes: 1, ..Pace::of(settings) }
    }

    async fn check(&self, _: &HealthContext) -> Result<Findings, String> {
        let wrong = self.0.load(Ordering::SeqCst);
        let found = wrong.then(|| ("it".into(), Finding::new(Severity::Critical, "as told")));
        Ok(found.into_iter().collect())
    }
}

/// A cluster of one that posts to this listener.
async fn start(to: &TcpListener, wrong: &Arc<AtomicBool>) -> (Node, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let listeners = Listeners::local().await.unwrap();
    let member = listeners.member(MemberId(1)).unwrap();
    let mut config = Config::local(MemberId(1), &[member], dir.path());
    config.health.webhook_url = format!("http://{}/x", to.local_addr().unwrap());
    config.health.webhook_timeout_ms = 60_000;
    let environment = Environment::of_machine(&config).unwrap();
    let checks = Checks::none().with(Told(wrong.clone()));
    let environment = Environment { checks, ..environment };
    (Node::start_in(config, listeners, environment).await.unwrap(), dir)
}

/// Reads until this is in it.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "it ended after {text}");
        text.push_str(std::str::from_utf8(&some[..count]).unwrap());
    }
    text
}

async fn alerts(node: &Node, count: usize) {
    let mut applied = node.coordinator().applied();
    while node.coordinator().view().state.records_of(Kind::Alert).count() != count {
        tokio::time::timeout(PATIENCE, applied.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_posted_when_it_fires_and_when_it_is_resolved() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wrong = Arc::new(AtomicBool::new(true));
    let (node, _dir) = start(&listener, &wrong).await;
    for state in ["firing", "resolved"] {
        let (mut stream, _) =
            tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let text = read_until(&mut stream, "\"revision\":").await;
        assert!(text.contains(&format!("\"state\":\"{state}\"")), "{text}");
        assert!(text.contains("{\"check\":\"told\",\"subject\":\"it\",\"severity\":\"critical\""));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        wrong.store(false, Ordering::SeqCst);
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_hangs_holds_up_neither_alerts_nor_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wrong = Arc::new(AtomicBool::new(true));
    let (node, _dir) = start(&listener, &wrong).await;
    let (mut stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    read_until(&mut stream, "firing").await;
    for count in [0, 1, 0] {
        wrong.store(count == 1, Ordering::SeqCst);
        alerts(&node, count).await;
    }
    // It would be tried for minutes, and a stop leaves what does not end in 5 s.
    let began = std::time::Instant::now();
    node.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
}
