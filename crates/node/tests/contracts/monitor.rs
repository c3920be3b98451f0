//! The health monitor on a running coordinator: what a check that hangs or panics does, and recovery.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quorate_core::{Kind, MemberId, Name, Settings, Severity};
use quorate_node::{
    Node,
    config::{Config, Listeners},
    health::{CheckSeen, Checks, Finding, Findings, HealthCheck, HealthContext, Pace, Recovery},
    replica::Environment,
};
use tokio::time::{Instant, sleep};

use crate::common::PATIENCE;

const FINDS: usize = 0;
const HANGS: usize = 1;
const PANICS: usize = 2;

/// Does as it is told.
struct Told {
    name: &'static str,
    what: Arc<AtomicUsize>,
    recovered: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl HealthCheck for Told {
    fn name(&self) -> Name {
        Name::new(self.name).unwrap()
    }

    fn pace(&self, _: &Settings) -> Pace {
        let (interval, timeout) = (Duration::from_millis(50), Duration::from_millis(50));
        Pace { interval, timeout, failures: 1, successes: 1 }
    }

    async fn check(&self, _: &HealthContext) -> Result<Findings, String> {
        match self.what.load(Ordering::SeqCst) {
            HANGS => std::future::pending().await,
            PANICS => panic!("a bug in a check, as told"),
            _ => {}
        }
        let finding =
            Finding { recovery: Recovery::Custom, ..Finding::new(Severity::Warning, "as told") };
        Ok([("a".to_owned(), finding.clone()), ("b".to_owned(), finding)].into())
    }

    async fn recover(&self, _: &HealthContext, _: &str) -> Result<(), String> {
        self.recovered.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

async fn start(checks: Checks) -> (Node, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let listeners = Listeners::local().await.unwrap();
    let member = listeners.member(MemberId(1)).unwrap();
    let config = Config::local(MemberId(1), &[member], dir.path());
    let environment = Environment::of_machine(&config).unwrap();
    let environment = Environment { checks, ..environment };
    (Node::start_in(config, listeners, environment).await.unwrap(), dir)
}

fn raised(node: &Node) -> Vec<String> {
    let view = node.coordinator().view();
    let alerts = view.state.records_of(Kind::Alert);
    alerts.map(|(key, _)| String::from_utf8(key.bytes.to_vec()).unwrap()).collect()
}

fn seen(node: &Node, check: &str) -> CheckSeen {
    let told = node.coordinator().health_seen().told();
    told.checks.get(&Name::new(check).unwrap()).cloned().unwrap_or_default()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_without_an_answer_neither_raises_nor_clears_and_takes_none_along() {
    let what = |what| Arc::new(AtomicUsize::new(what));
    let (bad, good, recovered) = (what(HANGS), what(FINDS), what(0));
    let told = |name, what: &Arc<AtomicUsize>| Told {
        name,
        what: what.clone(),
        recovered: recovered.clone(),
    };
    let (node, _dir) =
        start(Checks::none().with(told("bad", &bad)).with(told("good", &good))).await;
    until("the good one's", || raised(&node) == ["good/a", "good/b"]).await;
    until("three without an answer", || seen(&node, "bad").failed >= 3).await;
    assert_eq!(raised(&node), ["good/a", "good/b"]);

    bad.store(FINDS, Ordering::SeqCst);
    let all = ["bad/a", "bad/b", "good/a", "good/b"];
    until("all", || raised(&node) == all).await;
    for without in [HANGS, PANICS] {
        bad.store(without, Ordering::SeqCst);
        let (failed, found) = (seen(&node, "bad").failed, seen(&node, "good").found);
        until("three more", || seen(&node, "bad").failed >= failed + 3).await;
        until("the other goes on", || seen(&node, "good").found >= found + 3).await;
        assert_eq!(raised(&node), all);
    }
    // Four alerts want something to be done, and one is acted upon in a minute.
    assert_eq!(recovered.load(Ordering::SeqCst), 1);
    let view = node.coordinator().view();
    let events = view.state.history().from(view.state.history().oldest());
    let of_alerts =
        events.filter(|event| event.changes.iter().any(|change| change.key.kind == Kind::Alert));
    let labels: Vec<_> = of_alerts.map(|event| event.origin.label.to_string()).collect();
    assert!(!labels.is_empty() && labels.iter().all(|label| label == "health"), "{labels:?}");
    node.shutdown().await;
}
