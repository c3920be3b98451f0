//! `status`, `member` and `bench`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Cluster, fields};

#[test]
fn coordinators_and_measurements() {
    let cluster = Cluster::start();
    status(&cluster);
    members(&cluster);
    measurements(&cluster);
}

fn status(cluster: &Cluster) {
    let table = cluster.run(&["status"]);
    assert!(table.text(0).starts_with("MEMBER  ENDPOINT"), "{table:?}");
    assert_eq!(table.text(0).lines().count(), 4);
    let rows = cluster.json(&["status"]);
    assert_eq!(rows.iter().filter(|row| row["role"] == "leader").count(), 1);
    for field in ["member_id", "endpoint", "role", "term", "leader_id", "applied_index", "revision"]
    {
        assert!(rows.iter().all(|row| !row[field].is_null()), "{field}: {rows:?}");
    }

    let endpoints = format!("{},127.0.0.1:1", cluster.endpoints);
    let start = Instant::now();
    let rows = cluster.json(&["--endpoints", &endpoints, "status"]);
    assert!(start.elapsed() < Duration::from_secs(10), "one that is down is asked only once");
    assert_eq!(rows[3]["role"], "unreachable");
    assert!(rows[3]["error"].as_str().unwrap().contains("refused"), "{}", rows[3]);
}

fn members(cluster: &Cluster) {
    let table = cluster.run(&["member", "list"]);
    assert!(table.text(0).starts_with("MEMBER  CLIENTS"), "{table:?}");
    let rows = cluster.json(&["member", "list"]);
    assert_eq!(rows.iter().map(|row| &row["member_id"]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(rows.iter().filter(|row| row["leader"] == true).count(), 1);
    assert!(rows.iter().all(|row| row["voter"] == true && row["state"] == "voter"));

    let other = rows.iter().find(|row| row["leader"] == false).unwrap()["member_id"].to_string();
    let moved = cluster.run(&["member", "transfer", &other]);
    assert_eq!(moved.text(0), format!("member {other} leads\n"));
    let leads = cluster.json(&["status"]).into_iter().find(|row| row["role"] == "leader");
    assert_eq!(leads.unwrap()["member_id"].to_string(), other);
    cluster.run(&["member", "transfer", "9"]).fails(3, &["9", "NOT_FOUND"]);
}

fn failover(cluster: &Cluster) {
    let some = ["bench", "failover", "--workers", "5", "--partitions", "30", "--ttl", "1s"];
    let line = cluster.json(&[&some[..], &["--kill", "2"]].concat()).pop().unwrap();
    for (field, value) in [("op", "failover".into()), ("errors", Value::from(0))] {
        assert_eq!(line[field], value, "{line}");
    }
    let replaced = line["replaced"].as_u64().unwrap();
    assert!((2..=30).contains(&replaced), "{line}");
    assert!(line["first_expiry_ms"].as_u64().unwrap() >= 900, "{line}");
    for list in ["worker", "network"] {
        assert_eq!(cluster.json(&[list, "list"]), [] as [Value; 0], "a measurement cleans up");
    }
    cluster.run(&[&some[..], &["--kill", "5"]].concat()).fails(2, &["--kill 5", "one must stay"]);
}

fn measurements(cluster: &Cluster) {
    let load = ["--clients", "4", "--total", "40", "--warmup", "4", "--keys", "8"];
    const FIELDS: [&str; 7] =
        ["clients", "errors", "op", "ops_per_second", "p50_us", "p99_us", "total"];
    for op in ["put", "get"] {
        let line = cluster.json(&[&["bench", op], &load[..]].concat()).pop().unwrap();
        assert_eq!(fields(&line), FIELDS);
        assert_eq!(
            (&line["op"], &line["total"], &line["errors"]),
            (&op.into(), &40.into(), &0.into())
        );
        assert!(line["ops_per_second"].as_f64().unwrap() > 0.0);
    }
    let watch = [&["bench", "watch", "--watchers", "3"], &load[..]].concat();
    let line = cluster.json(&watch).pop().unwrap();
    assert_eq!(line["errors"], 0);
    assert!(line["deliveries_per_second"].as_f64().unwrap() > 0.0);
    let table = cluster.run(&watch);
    assert!(table.text(0).contains("deliveries "), "{table:?}");
    assert_eq!(cluster.json(&["kv", "list"]), [] as [Value; 0], "a measurement cleans up");

    failover(cluster);

    let oversized = ["bench", "put", "--clients", "1", "--total", "2", "--warmup", "0"];
    cluster
        .run(&[&oversized[..], &["--value-size", "1048577"]].concat())
        .fails(1, &["2 errors", "value_bytes_max"]);
}
