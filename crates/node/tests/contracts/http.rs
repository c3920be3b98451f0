//! Metrics and health over HTTP.

use quorate_node::Node;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{clients::Clients, common::TestCluster};

/// Gets a path; the status code and the body.
async fn get(node: &Node, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(node.metrics_address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: quorate\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

/// The value of a metric, given with its labels.
pub(crate) async fn metric(node: &Node, name: &str) -> f64 {
    let (code, text) = get(node, "/metrics").await;
    assert_eq!(code, 200);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happened() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    let mut stream = clients.watch(Default::default()).await.unwrap();
    let mut last = quorate_core::Revision(0);
    for number in 0..10 {
        last = clients.put("k", &number.to_string()).await.unwrap();
    }
    stream.story(last).await;
    clients.put("", "v").await.unwrap_err();
    clients.revision().await;
    let node = cluster.node(1);
    let puts = "quorate_rpc_requests_total{code=\"OK\",method=\"StoreService/Put\"}";
    assert_eq!(metric(node, puts).await, 10.0);
    let bad = "quorate_rpc_requests_total{code=\"INVALID_ARGUMENT\",method=\"StoreService/Put\"}";
    assert_eq!(metric(node, bad).await, 1.0);
    let timed = "quorate_rpc_seconds_count{method=\"StoreService/Put\"}";
    assert_eq!(metric(node, timed).await, 11.0);
    assert_eq!(metric(node, "quorate_watchers").await, 1.0);
    assert_eq!(metric(node, "quorate_watch_changes_sent_total").await, 10.0);
    assert_eq!(metric(node, "quorate_revision").await, 10.0);
    assert_eq!(metric(node, "quorate_records").await, 1.0);
    assert_eq!(metric(node, "quorate_proposals_pending").await, 0.0);
    assert_eq!(metric(node, "quorate_in_contact").await, 1.0);
    assert!(metric(node, "quorate_storage_barrier_seconds_count").await >= 10.0);
    assert!(metric(node, "quorate_storage_entries_total").await >= 10.0);
    let term = metric(node, "quorate_term").await;
    let mut leaders = 0.0;
    for node in cluster.nodes() {
        assert_eq!(metric(node, "quorate_term").await, term);
        leaders += metric(node, "quorate_role{role=\"leader\"}").await;
    }
    assert_eq!(leaders, 1.0);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_named_and_described() {
    let cluster = TestCluster::start(1).await;
    let (_, text) = get(cluster.node(1), "/metrics").await;
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(samples.len() > 40, "{text}");
    for sample in samples {
        assert!(sample.starts_with("quorate_"), "{sample}");
        assert!(sample.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{sample}");
    }
    let described = text.lines().filter(|line| line.starts_with("# HELP")).count();
    let typed = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(described, typed);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_good_only_while_it_can_serve() {
    let mut cluster = TestCluster::start(3).await;
    for path in ["/live", "/ready", "/health"] {
        assert_eq!(get(cluster.node(1), path).await.0, 200, "{path}");
    }
    assert_eq!(get(cluster.node(1), "/nothing").await.0, 404);
    let (_, health) = get(cluster.node(1), "/health").await;
    for part in ["\"status\":\"serving\"", "\"serving\":true", "\"member_id\":1,", "\"leader_id\":"]
    {
        assert!(health.contains(part), "{health}");
    }

    cluster.stop(2).await;
    cluster.stop(3).await;
    let mut contact = cluster.node(1).coordinator().in_contact();
    contact.wait_for(|there| !there).await.unwrap();
    assert_eq!(get(cluster.node(1), "/live").await.0, 200);
    assert_eq!(get(cluster.node(1), "/ready").await.0, 503);
    let (code, health) = get(cluster.node(1), "/health").await;
    assert_eq!(code, 503);
    assert!(health.contains("\"status\":\"no quorum\",\"serving\":false"), "{health}");
    cluster.shutdown().await;
}
