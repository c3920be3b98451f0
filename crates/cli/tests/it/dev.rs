//! `dev`: data that survives, processes that can be killed, and a clean end.

use std::{net::TcpListener, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, NOWHERE, Running, command, eventually, run, runs, signal};

#[test]
fn a_temporary_cluster_leaves_nothing_behind() {
    let mut cluster = Cluster::start();
    let dir = cluster.dir().to_owned();
    assert!(dir.join("node1").exists());
    assert!(cluster.running.stop().success());
    assert!(!dir.exists());
    run(&cluster.endpoints, &["--timeout", "1s", "status"], b"").fails(4, &["tried "]);
}

#[test]
fn data_survives_with_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let mut first = Cluster::start_with(&["--dir", path, "--base-port", "0"]);
    first.run(&["kv", "put", "a", "kept"]).text(0);
    in_use(path);
    assert!(first.running.stop().success());

    let second = Cluster::start_with(&["--dir", path]);
    assert_eq!(second.endpoints, first.endpoints);
    assert_eq!(second.run(&["kv", "get", "a"]).text(0), "kept\n");
}

/// A second cluster in the same directory is refused.
fn in_use(dir: &str) {
    run(NOWHERE, &["dev", "--dir", dir], b"").fails(1, &["is in use", "--base-port"]);
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    // A base such that one of the nine ports is taken by us.
    let (_taken, base) = loop {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        if (2_000..60_000).contains(&port) {
            break (taken, (port - 2).to_string());
        }
    };
    run(NOWHERE, &["dev", "--base-port", &base], b"").fails(1, &["is in use"]);
}

#[test]
fn the_leader_is_killed_and_it_goes_on() {
    let mut cluster = Cluster::start_with(&["--base-port", "0", "--processes"]);
    let pids: Vec<u32> = members(&cluster).map(|member| pid(&member)).collect();
    assert!(pids.iter().all(|pid| runs(*pid)));
    cluster.run(&["kv", "put", "a", "before"]).text(0);

    let leader = leader(&cluster);
    let killed = members(&cluster).find(|member| member["member_id"] == leader).unwrap();
    signal(pid(&killed), Signal::KILL);
    let next = cluster.running.json_where(|line| line["event"] == "leader");
    assert_ne!(next["member_id"], leader);
    assert_eq!(cluster.run(&["kv", "get", "a"]).text(0), "before\n");
    cluster.run(&["kv", "put", "a", "after"]).text(0);

    back(&cluster, Path::new(killed["config"].as_str().unwrap()));
    assert!(cluster.running.stop().success());
    assert!(!pids.iter().any(|pid| runs(*pid)), "children end with it");
    assert!(!cluster.dir().exists());
}

/// The killed member is started again by hand, as `dev` says, and catches up.
fn back(cluster: &Cluster, config: &Path) {
    let mut again = Running::start(command().arg("serve").arg("--config").arg(config));
    cluster.running.json_where(|line| line["event"] == "back");
    eventually("all have the same state", || {
        let rows = cluster.json(&["status"]);
        rows.iter().all(|row| row["revision"] == 2).then_some(())
    });
    assert!(again.stop().success());
}

#[test]
fn children_do_not_outlive_a_killed_parent() {
    let mut cluster = Cluster::start_with(&["--base-port", "0", "--processes"]);
    let pids: Vec<u32> = members(&cluster).map(|member| pid(&member)).collect();
    let dir = cluster.dir().to_owned();
    signal(cluster.running.child.id(), Signal::KILL);
    assert!(!cluster.running.ended().success());
    eventually("the children end", || (!pids.iter().any(|pid| runs(*pid))).then_some(()));
    std::fs::remove_dir_all(dir).unwrap();
}

fn members(cluster: &Cluster) -> impl Iterator<Item = Value> {
    cluster.ready["members"].as_array().unwrap().clone().into_iter()
}

fn pid(member: &Value) -> u32 {
    member["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap()
}

fn leader(cluster: &Cluster) -> Value {
    let rows = cluster.json(&["status"]);
    rows.into_iter().find(|row| row["role"] == "leader").unwrap()["member_id"].clone()
}
