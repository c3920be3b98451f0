//! `session`, with sessions that this process holds.

use std::time::Duration;

use quorate_client::{Client, ClientConfig, SessionOptions};

use crate::harness::{Cluster, eventually, fields};

#[test]
fn sessions_are_listed_while_they_are_alive() {
    let cluster = Cluster::start();
    assert_eq!(cluster.run(&["session", "list"]).text(0), "ID  TTL MS  HELD  LABEL\n");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let endpoints = cluster.endpoints.split(',').map(str::to_owned).collect::<Vec<_>>();
    let client = Client::new(ClientConfig::new(&endpoints)).unwrap();
    let options = SessionOptions { label: Some("worker 1".into()), ..SessionOptions::new(TTL) };
    let session = runtime.block_on(client.open_session(options)).unwrap();

    let listed = cluster.json(&["session", "list"]);
    assert_eq!(fields(&listed[0]), ["held", "id", "label", "ttl_ms"]);
    let ours = listed.iter().find(|row| row["id"] == session.id().to_string()).unwrap();
    assert_eq!((ours["ttl_ms"].as_u64(), ours["held"].as_u64()), (Some(10_000), Some(0)));
    assert_eq!(ours["label"], "worker 1");
    let table = cluster.run(&["session", "list"]);
    let row = format!("{}   10000     0  worker 1", session.id());
    assert!(table.text(0).contains(&row), "{}", table.text(0));

    runtime.block_on(session.close()).unwrap();
    eventually("the session to end", || {
        let listed = cluster.json(&["session", "list"]);
        listed.iter().all(|row| row["id"] != session.id().to_string()).then_some(())
    });
}

const TTL: Duration = Duration::from_secs(10);
