//! `network`, `partition` and `connection` with both sample files, and with bad ones.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::harness::{Cluster, fields};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/networks");

#[test]
fn networks_partitions_and_connections() {
    let cluster = Cluster::start();
    let dir = tempfile::tempdir().unwrap();
    apply(&cluster, dir.path());
    show(&cluster);
    every_process_is_in_one_partition_and_connections_are_what_crosses(&cluster);
    refuse(&cluster, dir.path());
    both_samples(&cluster);
    delete(&cluster);
}

const NET: &str = r#"
[[processes]]
id = "source"
component = "generate"
needs = { cpu_millis = 500 }

[[processes]]
id = "middle"
component = "transform"

[[processes]]
id = "sink"
component = "store"

[[connections]]
from = "source"
to = "middle"
rate = 100

[[connections]]
from = "middle"
to = "sink"
rate = 50
"#;

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn apply(cluster: &Cluster, dir: &Path) {
    let file = write(dir, "net.toml", NET);
    let applied = cluster.run(&["network", "apply", &file, "--partitions", "3"]);
    assert_eq!(
        applied.text(0),
        "network net created at revision 1: generation 1, 3 processes in 3 partitions, \
         2 connections\n"
    );
    let again = &cluster.json(&["network", "apply", &file, "--partitions", "3"])[0];
    assert_eq!((&again["outcome"], &again["revision"]), (&"unchanged".into(), &1.into()));
    let changed = &cluster.json(&["network", "apply", &file, "--partitions", "2"])[0];
    assert_eq!((&changed["outcome"], &changed["generation"]), (&"updated".into(), &2.into()));
    let named = cluster.run(&["network", "apply", &file, "--name", "other", "--partitions", "1"]);
    assert!(named.text(0).starts_with("network other created at revision 3"), "{named:?}");
}

fn show(cluster: &Cluster) {
    let table = cluster.run(&["network", "list"]);
    assert!(table.text(0).starts_with("NAME   GENERATION  PROCESSES  PARTITIONS"), "{table:?}");
    assert_eq!(table.text(0).lines().count(), 3);
    let rows = cluster.json(&["network", "list"]);
    assert_eq!(rows[0]["name"], "net");
    assert_eq!(rows[0]["processes"], 3);
    assert_eq!(rows[0]["partitions"], 2);

    let table = cluster.run(&["network", "get", "net"]);
    assert!(table.text(0).contains("source -> middle  100 bytes/s"), "{table:?}");
    let network = &cluster.json(&["network", "get", "net"])[0];
    assert_eq!(network["generation"], 2);
    assert_eq!(network["processes"][2]["id"], "source");
    assert_eq!(network["connections"][1]["rate"], 100);
    cluster.run(&["network", "get", "nothing"]).fails(3, &["nothing", "NOT_FOUND"]);

    let table = cluster.run(&["partition", "list", "--network", "net"]);
    assert!(table.text(0).starts_with("ID     STATE       OWNER"), "{table:?}");
    let partition = &cluster.json(&["partition", "list", "--network", "net"])[0];
    for field in ["id", "network", "processes", "demand", "load_ppm", "owner", "epoch", "state"] {
        assert!(fields(partition).contains(&field), "{partition}");
    }
    assert_eq!(partition["id"], "net/0");
    assert_eq!(partition["state"], "unassigned");
    assert_eq!(cluster.json(&["partition", "list"]).len(), 3);

    let table = cluster.run(&["connection", "list"]);
    assert!(table.text(0).contains("net/1->net/0"), "{table:?}");
    let connection = &cluster.json(&["connection", "list", "--network", "net"])[0];
    assert_eq!(connection["from"], "net/1");
    assert_eq!(connection["to"], "net/0");
    assert_eq!(connection["edges"], 1);
    assert_eq!(connection["state"], "pending");
}

fn every_process_is_in_one_partition_and_connections_are_what_crosses(cluster: &Cluster) {
    let partitions = cluster.json(&["partition", "list", "--network", "net"]);
    let mut placed: Vec<(String, String)> = Vec::new();
    for partition in &partitions {
        for process in partition["processes"].as_array().unwrap() {
            placed.push((text(process), text(&partition["id"])));
        }
    }
    placed.sort();
    let ids: Vec<_> = placed.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["middle", "sink", "source"]);
    let home = |process: &str| &placed.iter().find(|(id, _)| id == process).unwrap().1;

    let crossing: BTreeSet<_> = [("source", "middle"), ("middle", "sink")]
        .into_iter()
        .filter(|(from, to)| home(from) != home(to))
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .collect();
    let connections = cluster.json(&["connection", "list", "--network", "net"]);
    let carried: BTreeSet<_> = connections
        .iter()
        .flat_map(|connection| connection["process_edges"].as_array().unwrap())
        .map(|edge| (text(&edge["from"]), text(&edge["to"])))
        .collect();
    assert_eq!(carried, crossing);
}

fn refuse(cluster: &Cluster, dir: &Path) {
    let before = cluster.json(&["network", "list"]);
    for (name, text, says) in [
        ("missing.toml", NET.replace("to = \"sink\"", "to = \"nowhere\""), "nowhere"),
        ("twice.toml", NET.replace("id = \"sink\"", "id = \"middle\""), "middle"),
        ("negative.toml", NET.replace("cpu_millis = 500", "cpu_millis = -5"), "cpu_millis"),
        ("unknown.toml", NET.replace("rate = 50", "speed = 50"), "speed"),
        ("broken.toml", "[[processes".to_owned(), "broken.toml"),
        ("broken.json", "{".to_owned(), "broken.json"),
    ] {
        let file = write(dir, name, &text);
        cluster.run(&["network", "apply", &file]).fails(1, &[says]);
    }
    let good = write(dir, "good.toml", NET);
    cluster.run(&["network", "apply", &good, "--partitions", "4"]).fails(1, &["partitions"]);
    cluster.run(&["network", "apply", "/no/such/file.toml"]).fails(2, &["/no/such/file.toml"]);
    let unnamed = write(dir, "-.toml", NET);
    cluster.run(&["network", "apply", &unnamed]).fails(2, &["--name"]);
    assert_eq!(cluster.json(&["network", "list"]), before);
}

fn both_samples(cluster: &Cluster) {
    for (file, name) in [("clickstream.toml", "clickstream"), ("survey.json", "survey")] {
        let path = format!("{SAMPLES}/{file}");
        let applied = &cluster.json(&["network", "apply", &path])[0];
        assert_eq!(applied["name"], name);
        assert_eq!(applied["outcome"], "created");
    }
}

fn delete(cluster: &Cluster) {
    for name in ["net", "other", "clickstream", "survey"] {
        let deleted = cluster.run(&["network", "delete", name]);
        assert!(deleted.text(0).starts_with(&format!("network {name} deleted at revision ")));
    }
    cluster.run(&["network", "delete", "net"]).fails(3, &["net", "NOT_FOUND"]);
    for group in ["network", "partition", "connection"] {
        assert_eq!(cluster.json(&[group, "list"]), [] as [Value; 0], "{group}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
