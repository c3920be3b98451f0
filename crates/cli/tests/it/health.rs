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

/// What there is of one check.
fn alerts(cluster: &Cluster, check: &str) -> (Option<i32>, Vec<Value>) {
    let ran = cluster.run(&["health", "--output", "json"]);
    let text = std::str::from_utf8(&ran.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    (ran.code, lines.filter(|line| line["check"] == check).collect())
}

#[test]
fn a_partition_that_nobody_takes_is_an_alert_until_somebody_does() {
    let cluster = Cluster::start();
    for (setting, value) in [
        ("health_interval_ms", "100"),
        ("health_failures_min", "2"),
        ("health_successes_min", "2"),
        ("health_unowned_ms_max", "0"),
    ] {
        cluster.run(&["settings", "set", setting, value]).text(0);
    }
    let file = cluster.dir().join("net.toml");
    std::fs::write(&file, NETWORK).unwrap();
    cluster.run(&["network", "apply", file.to_str().unwrap()]).text(0);
    let alert = eventually("the alert", || {
        let (code, mut found) = alerts(&cluster, "partition_unowned");
        (code == Some(1)).then(|| found.remove(0))
    });
    assert_eq!(fields(&alert), ["check", "message", "severity", "since", "subject", "value"]);
    assert_eq!((&alert["subject"], &alert["severity"]), (&"net/0".into(), &"critical".into()));
    assert_eq!(alert["message"], "nobody owns it: no worker takes partitions");

    let _worker = register(&cluster, "w1");
    eventually("the end of the alert", || {
        let (code, found) = alerts(&cluster, "partition_unowned");
        (code == Some(0) && found.is_empty()).then_some(())
    });
    let told = cluster.json(&["events", "--type", "alert_raised,alert_cleared"]);
    let ours: Vec<_> =
        told.iter().filter(|line| line["subject"] == "partition_unowned/net/0").collect();
    assert_eq!(ours.len(), 2);
    assert_eq!(
        (&ours[0]["type"], &ours[1]["type"]),
        (&"alert_raised".into(), &"alert_cleared".into())
    );
    assert_eq!((&ours[0]["by"], &ours[1]["by"]), (&"health".into(), &"health".into()));
}
