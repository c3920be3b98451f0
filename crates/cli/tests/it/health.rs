//! `events` and `health`: what happened, and what is wrong.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, Running, command, eventually, fields, signal};

/// Its process, too.
fn register(cluster: &Cluster, name: &str) -> (Running, u32) {
    let mut command = command();
    command.env("QUORATE_ENDPOINTS", &cluster.endpoints).args(["--output", "json"]);
    command.args(["worker", "register", "--name", name, "--address", "127.0.0.1:7400"]);
    command.args(["--capacity", "cpu=4", "--ttl", "2s"]);
    let worker = Running::start(&mut command);
    let pid = worker.json_where(|line| line["type"] == "registered")["pid"].as_u64();
    (worker, u32::try_from(pid.unwrap()).unwrap())
}

const NETWORK: &str = "\
[[processes]]
id = \"a\"
component = \"test\"
";

/// Types and subjects of what happened, without settings and sessions.
fn told(events: &[Value]) -> Vec<String> {
    let told = events.iter().filter(|line| line["type"] != "session_ended");
    told.map(|line| format!("{} {}", line["type"], line["subject"]).replace('"', "")).collect()
}

#[test]
fn a_lost_worker_and_its_partition_are_told_of() {
    let cluster = Cluster::start();
    assert_eq!(cluster.run(&["events"]).text(0), "");
    assert_eq!(cluster.run(&["health"]).text(0), "healthy\n");
    assert_eq!(cluster.run(&["health", "--output", "json"]).text(0), "");
    let file = cluster.dir().join("net.toml");
    std::fs::write(&file, NETWORK).unwrap();
    let (one, pid) = register(&cluster, "w1");
    cluster.run(&["network", "apply", file.to_str().unwrap(), "--reason", "first"]).text(0);
    one.json_where(|line| line["type"] == "assigned");
    let _two = register(&cluster, "w2");
    let follow = Running::start(command().args([
        "--endpoints",
        &cluster.endpoints,
        "--output",
        "json",
        "events",
        "--follow",
    ]));
    follow.json_where(|line| line["type"] == "network_created");
    signal(pid, Signal::KILL);
    let recovered = follow.json_where(|line| line["type"] == "partition_recovered");
    assert_eq!(fields(&recovered), ["by", "reason", "revision", "subject", "text", "time", "type"]);
    assert_eq!((&recovered["by"], &recovered["subject"]), (&"assigner".into(), &"net/0".into()));

    let events = eventually("the takeover in the history", || {
        let events = cluster.json(&["events"]);
        told(&events).contains(&"partition_recovered net/0".to_owned()).then_some(events)
    });
    let expected = [
        "worker_joined w1",
        "network_created net",
        "partition_assigned net/0",
        "worker_joined w2",
        "worker_lost w1",
        "partition_failed net/0",
        "partition_recovered net/0",
    ];
    assert_eq!(told(&events), expected);
    let created = events.iter().find(|line| line["type"] == "network_created").unwrap();
    assert_eq!(created["reason"], "first");

    let lost = cluster.json(&["events", "--type", "worker_lost,partition_failed"]);
    assert_eq!(told(&lost), ["worker_lost w1", "partition_failed net/0"]);
    let of_two = cluster.json(&["events", "--worker", "w2"]);
    assert_eq!(told(&of_two), ["worker_joined w2", "partition_recovered net/0"]);
    let of_net = cluster.json(&["events", "--network", "net", "--type", "partition_assigned"]);
    assert_eq!(told(&of_net), ["partition_assigned net/0"]);
    let from = recovered["revision"].to_string();
    assert_eq!(told(&cluster.json(&["events", "--from", &from])), ["partition_recovered net/0"]);
}
