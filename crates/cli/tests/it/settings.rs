//! Settings, maintenance, and moving what should be elsewhere.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use serde_json::Value;

use crate::harness::{Cluster, Running, command, eventually};

#[test]
fn settings_are_listed_changed_and_reset() {
    let cluster = Cluster::start();
    let rows = cluster.json(&["settings", "list"]);
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.contains(&"balance_cooldown_ms"), "{names:?}");
    assert!(rows.iter().all(|row| row["set"] == false && row["value"] == row["default"]));

    let text = cluster.run(&["settings", "set", "balance_cooldown_ms", "60000"]);
    assert_eq!(text.text(0), "balance_cooldown_ms = 60000\n");
    let row = &cluster.json(&["settings", "get", "balance_cooldown_ms"])[0];
    assert_eq!((&row["value"], &row["set"]), (&Value::from(60_000), &Value::from(true)));
    let text = cluster.run(&["settings", "reset", "balance_cooldown_ms"]);
    assert_eq!(text.text(0), "balance_cooldown_ms = 300000\n");

    cluster.run(&["maintenance", "on"]).text(0);
    assert_eq!(cluster.run(&["settings", "get", "maintenance"]).text(0), "maintenance = 1\n");
    cluster.run(&["maintenance", "off"]).text(0);
    assert_eq!(cluster.json(&["settings", "get", "maintenance"])[0]["value"], 0);

    let wrong = ["settings", "set", "balance_enabled", "2"];
    cluster.run(&wrong).fails(2, &["balance_enabled: must be from 0 to 1"]);
    let wrong = ["settings", "set", "balance_enabled", "yes"];
    cluster.run(&wrong).fails(2, &["must be a whole number"]);
    cluster.run(&["settings", "get", "no_such"]).fails(3, &["no setting no_such"]);
}

fn register(cluster: &Cluster, name: &str) -> Running {
    let mut command = command();
    command.env("QUORATE_ENDPOINTS", &cluster.endpoints).args(["--output", "json"]);
    command.args(["worker", "register", "--name", name]);
    let worker = Running::start(&mut command);
    worker.json_where(|line| line["type"] == "registered");
    worker
}

/// How many partitions each worker owns; None while one has no owner.
fn owned(cluster: &Cluster) -> Option<BTreeMap<String, usize>> {
    let mut owned = BTreeMap::new();
    for row in cluster.json(&["partition", "list"]) {
        *owned.entry(row["owner"].as_str()?.to_owned()).or_default() += 1;
    }
    Some(owned)
}

#[test]
fn what_should_be_elsewhere_is_shown_asked_for_and_moved() {
    let cluster = Cluster::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("net.toml");
    let mut spec = String::new();
    for at in 0..4 {
        writeln!(spec, "[[processes]]\nid = \"p{at}\"\ncomponent = \"test\"\n").unwrap();
    }
    fs::write(&file, spec).unwrap();
    let _old = register(&cluster, "old");
    cluster.run(&["network", "apply", file.to_str().unwrap(), "--partitions", "4"]).text(0);
    eventually("all are granted", || owned(&cluster).filter(|it| it.get("old") == Some(&4)));
    let text = cluster.run(&["balance", "--dry-run"]);
    assert!(text.text(0).starts_with("No partition has to move."), "{text:?}");

    let _new = register(&cluster, "new");
    // By itself the leader moves nothing that was granted lately.
    let plan = &cluster.json(&["balance", "--dry-run"])[0];
    let moves = plan["waves"][0].as_array().unwrap();
    assert_eq!((moves.len(), &moves[0]["to"]), (1, &Value::from("new")), "one at a time");
    cluster.run(&["maintenance", "on"]).text(0);
    let done = &cluster.json(&["balance"])[0];
    assert_eq!((&done["changed"], &done["plan"]["waves"][0]), (&Value::from(1), &plan["waves"][0]));
    let has = |old, new| {
        move |it: &BTreeMap<String, usize>| {
            it.get("old") == Some(&old) && it.get("new") == Some(&new)
        }
    };
    eventually("one has moved", || owned(&cluster).filter(has(3, 1)));

    cluster.run(&["settings", "set", "balance_cooldown_ms", "0"]).text(0);
    cluster.run(&["settings", "set", "balance_interval_ms", "100"]).text(0);
    cluster.run(&["maintenance", "off"]).text(0);
    eventually("the leader does the rest", || owned(&cluster).filter(has(2, 2)));
    let text = cluster.run(&["balance"]);
    assert!(text.text(0).starts_with("No owner was asked for a partition."), "{text:?}");
    let history = cluster.json(&["history"]);
    let by_leader = history.iter().find(|line| line["label"] == "balancer").unwrap();
    assert_eq!(by_leader["reason"], "balance: 1");
}
