//! Dry runs and explanations: what they say is what then happens, and they change nothing.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::harness::{Cluster, Running, command, eventually};

const NET: &str = r#"
[[processes]]
id = "a"
component = "test"
needs = { cpu_millis = 1000 }

[[processes]]
id = "b"
component = "test"
needs = { cpu_millis = 1000 }

[[processes]]
id = "c"
component = "test"
needs = { cpu_millis = 1000 }

[[connections]]
from = "a"
to = "b"
rate = 900

[[connections]]
from = "b"
to = "c"
rate = 100
"#;

fn register(cluster: &Cluster, name: &str, capacity: &str) -> Running {
    let mut command = command();
    command.env("QUORATE_ENDPOINTS", &cluster.endpoints).args(["--output", "json"]);
    command.args(["worker", "register", "--name", name, "--capacity", capacity]);
    let worker = Running::start(&mut command);
    worker.json_where(|line| line["type"] == "registered");
    worker
}

/// Where the moves of a plan go.
fn goes(plan: &Value) -> BTreeMap<String, String> {
    let waves = plan["waves"].as_array().unwrap();
    let moves = waves.iter().flat_map(|wave| wave.as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    moves.map(|one| (text(&one["partition"]), text(&one["to"]))).collect()
}

/// Who owns each partition; None while one has no owner.
fn owners(cluster: &Cluster) -> Option<BTreeMap<String, String>> {
    let rows = cluster.json(&["partition", "list"]);
    let owner =
        |row: &Value| Some((row["id"].as_str()?.to_owned(), row["owner"].as_str()?.to_owned()));
    rows.iter().map(owner).collect()
}

#[test]
fn what_is_planned_is_what_happens() {
    let cluster = Cluster::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("net.toml");
    fs::write(&file, NET).unwrap();
    let file = file.to_str().unwrap();
    let plan = ["network", "plan", file, "--partitions", "3"];

    let text = cluster.run(&plan);
    assert!(text.text(0).starts_with("Network net would be created: 3 processes"), "{text:?}");
    assert!(text.text(0).contains("no worker takes partitions"), "{text:?}");
    assert_eq!(cluster.json(&["network", "list"]), Vec::<Value>::new(), "nothing was applied");

    let _large = register(&cluster, "large", "cpu=2.5");
    let _small = register(&cluster, "small", "cpu=1");
    let planned = &cluster.json(&plan)[0];
    assert_eq!(planned["outcome"], "created");
    let goes_to = goes(&planned["placement"]);
    let count = |name: &str| goes_to.values().filter(|to| *to == name).count();
    assert_eq!((count("large"), count("small")), (2, 1), "as much as each gives");
    cluster.run(&["network", "apply", file, "--partitions", "3"]).text(0);
    eventually("the plan is what happens", || owners(&cluster).filter(|owners| *owners == goes_to));

    let again = cluster.run(&plan);
    assert!(again.text(0).starts_with("Network net would stay as it is: 3 processes"), "{again:?}");
    assert!(again.text(0).contains("No partition has to move."), "{again:?}");
    explained(&cluster, &goes_to);
    lost(&cluster);
    drawn(&cluster);
    supposed(&cluster, &dir, file);
}

fn explained(cluster: &Cluster, goes_to: &BTreeMap<String, String>) {
    let (id, _) = goes_to.iter().find(|(_, to)| *to == "large").unwrap();
    let explained = &cluster.json(&["partition", "explain", id])[0];
    assert_eq!(explained["worker"], "large");
    assert_eq!(explained["others"][0]["worker"], "small");
    assert_eq!(explained["others"][0]["blocked"]["rule"], "capacity");
    let text = cluster.run(&["partition", "explain", id, "--not-on", "small"]);
    assert!(text.text(0).contains("1000 cpu_millis are missing"), "{text:?}");
    let text = cluster.run(&["partition", "explain", id, "--not-on", "large"]);
    assert_eq!(text.text(0), format!("Partition {id} is on large.\n"));
    cluster.run(&["partition", "explain", "net/9"]).fails(3, &["there is no partition net/9"]);
    cluster
        .run(&["partition", "explain", id, "--not-on", "nobody"])
        .fails(3, &["no worker nobody"]);

    let text = cluster.run(&["network", "explain", "net"]);
    assert!(text.text(0).contains("100.0% of the traffic goes across"), "{text:?}");
    let told = &cluster.json(&["network", "explain", "net"])[0];
    assert_eq!(told["explained"].as_array().unwrap().len(), 3);
    assert_eq!(told["explained"][0]["inside_rate"], 0);
    cluster.run(&["network", "explain", "nothing"]).fails(3, &["nothing"]);
}

/// Without the large worker, the small one has room for none of its two.
fn lost(cluster: &Cluster) {
    let plan = &cluster.json(&["worker", "what-if-lost", "large"])[0];
    assert_eq!(plan["rejected"].as_array().unwrap().len(), 2, "{plan}");
    assert_eq!(plan["rejected"][0]["because"]["rule"], "capacity");
    let text = cluster.run(&["worker", "what-if-lost", "small"]);
    assert!(text.text(0).contains("500 cpu_millis are missing"), "{text:?}");
    cluster.run(&["worker", "what-if-lost", "nobody"]).fails(3, &["no worker nobody"]);
    assert!(owners(cluster).is_some(), "nothing moved");
}

fn drawn(cluster: &Cluster) {
    let dot = cluster.run(&["network", "graph", "net"]);
    assert!(dot.text(0).contains("\"a\" -> \"b\" [label=\"900\", style=dashed];"), "{dot:?}");
    let svg = cluster.run(&["network", "graph", "net", "--svg"]);
    assert!(svg.text(0).starts_with("<svg ") && svg.text(0).ends_with("</svg>\n"), "{svg:?}");
    cluster.run(&["network", "graph", "net", "--svg", "--dot"]).fails(2, &["--svg"]);
    cluster.run(&["network", "graph", "nothing"]).fails(3, &["nothing"]);
}

fn supposed(cluster: &Cluster, dir: &tempfile::TempDir, net: &str) {
    let file = dir.path().join("workers.toml");
    let plan = ["network", "plan", net, "--workers", file.to_str().unwrap()];
    fs::write(&file, "[[workers]]\nname = \"x\"\ncapacity = { cpu_millis = 2000 }\n").unwrap();
    let planned = &cluster.json(&plan)[0]["placement"];
    assert_eq!(goes(planned).values().collect::<Vec<_>>(), ["x", "x"]);
    assert_eq!(planned["rejected"][0]["because"]["text"], "1000 cpu_millis are missing");
    fs::write(&file, "[[workers]]\nname = \"x y\"\n").unwrap();
    cluster.run(&plan).fails(1, &["workers.toml", "name"]);
    fs::remove_file(&file).unwrap();
    cluster.run(&plan).fails(2, &["cannot read"]);
}
