//! `--watch` of lists against a running cluster: the list, what changes, and a good end.

use std::process::Stdio;

use rustix::{io::ioctl_fionread, process::Signal};
use serde_json::Value;

use crate::harness::{Cluster, NETWORK, Running, command, eventually, signal};

fn start(cluster: &Cluster, args: &[&str]) -> Running {
    let mut command = command();
    command.env("QUORATE_ENDPOINTS", &cluster.endpoints).args(args).arg("--watch");
    Running::start(&mut command)
}

/// Ctrl-C is how it is to end.
fn interrupt(mut running: Running) {
    signal(running.child.id(), Signal::INT);
    assert!(running.ended().success());
    while running.line().is_some() {}
}

#[test]
fn lists_are_followed_until_they_are_interrupted() {
    let cluster = Cluster::start();
    partitions(&cluster);
    members(&cluster);
}

fn partitions(cluster: &Cluster) {
    let apply = |network: &str, partitions: &str| {
        let file = cluster.dir().join(format!("{network}.toml"));
        std::fs::write(&file, NETWORK).unwrap();
        cluster.json(&["network", "apply", file.to_str().unwrap(), "--partitions", partitions]);
    };
    // With something to show, it is seen that they follow.
    apply("first", "1");
    let shown = start(cluster, &["partition", "list"]);
    let json = start(cluster, &["--output", "json", "partition", "list"]);
    let header = shown.line().unwrap();
    assert!(header.starts_with("ID "), "{header}");
    assert!(shown.line().unwrap().starts_with("first/0"));
    json.json_where(|line| line["op"] == "list" && line["network"] == "first");
    apply("net", "2");
    for index in 0..2 {
        let line = shown.line().unwrap();
        assert!(line.starts_with("+ ") && line.contains(&format!("net/{index}")), "{line}");
        let line = json.json_where(|line| line["created"] == true);
        assert_eq!((&line["op"], &line["network"]), (&"put".into(), &"net".into()), "{line}");
    }
    cluster.run(&["network", "delete", "net"]).text(0);
    let line = shown.line().unwrap();
    assert!(line.starts_with("- ") && line.contains("net/0"), "{line}");
    json.json_where(|line| line["op"] == "delete");
    interrupt(shown);
    interrupt(json);
}

fn members(cluster: &Cluster) {
    let shown = start(cluster, &["--output", "json", "member", "list"]);
    let rows: Vec<Value> = (0..3).map(|_| shown.json_where(|line| line["op"] == "list")).collect();
    let other = rows.iter().find(|row| row["leader"] == false).unwrap()["member_id"].clone();
    cluster.run(&["member", "transfer", &other.to_string()]).text(0);
    let leads = |line: &Value| line["leader"] == true && line["member_id"] == other;
    assert_eq!(shown.json_where(leads)["op"], "put");
    let addresses = ["--peer", "127.0.0.1:2", "--client", "127.0.0.1:3"];
    cluster.run(&[&["member", "add", "9"], &addresses[..]].concat()).text(0);
    let line = shown.json_where(|line| line["member_id"] == 9);
    assert_eq!((&line["created"], &line["state"]), (&true.into(), &"joining".into()));
    cluster.run(&["member", "remove", "9"]).text(0);
    shown.json_where(|line| line["member_id"] == 9 && line["op"] == "delete");
    interrupt(shown);
}

/// It waits for whoever reads its output, and nobody does.
#[test]
fn a_follower_whose_output_nobody_reads_can_be_interrupted() {
    let cluster = Cluster::start();
    let mut command = command();
    command.env("QUORATE_ENDPOINTS", &cluster.endpoints).args([
        "--output",
        "json",
        "watch",
        "--snapshot",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let value = "v".repeat(50_000);
    for key in 0..4 {
        cluster.run(&["kv", "put", &format!("k{key}"), &value]).text(0);
    }
    // What a pipe holds, of which a whole line does not fit.
    eventually("the pipe is full", || (ioctl_fionread(&output).unwrap() >= 60_000).then_some(()));
    signal(child.id(), Signal::INT);
    let status = eventually("the command ends", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
