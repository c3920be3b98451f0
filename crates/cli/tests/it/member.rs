//! `member`: coordinators that come, go, are replaced and come back, as real processes.

use std::{
    fs::{self, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, NOWHERE, Running, command, eventually, run, signal};

#[test]
fn coordinators_come_go_and_come_back() {
    let mut cluster = Cluster::start_with(&["--base-port", "0", "--processes"]);
    cluster.run(&["kv", "put", "greeting", "hello"]).text(0);
    refusals(&cluster);
    come_and_go(&cluster);
    come_back(&cluster);
    assert_eq!(cluster.run(&["kv", "get", "greeting"]).text(0), "hello\n");
    // Its children are to have ended before the test has.
    cluster.running.stop();
}

fn refusals(cluster: &Cluster) {
    cluster.run(&["member", "remove", "9"]).fails(3, &["NOT_FOUND", "never was"]);
    cluster.run(&["member", "promote", "9"]).fails(3, &["NOT_FOUND"]);
    let addresses = ["--peer", "127.0.0.1:2", "--client", "127.0.0.1:3"];
    cluster
        .run(&[&["member", "add", "1"], &addresses[..]].concat())
        .fails(1, &["ALREADY_EXISTS", "other addresses"]);
    cluster.run(&[&["member", "replace", "9"], &addresses[..]].concat()).fails(3, &["no member 9"]);
    let config = cluster.dir().join("node3.toml");
    let rejoin = ["member", "rejoin", "--config", config.to_str().unwrap()];
    cluster.run(&rejoin).fails(1, &["member 3 answers", "stop it first"]);
    assert_eq!(states(cluster), ["1 voter", "2 voter", "3 voter"], "nothing was changed");
}

fn states(cluster: &Cluster) -> Vec<String> {
    let rows = cluster.json(&["member", "list"]);
    let state = |row: &Value| format!("{} {}", row["member_id"], row["state"].as_str().unwrap());
    rows.iter().map(state).collect()
}

/// A coordinator that is not of the cluster yet.
struct Newcomer {
    config: PathBuf,
    peer: String,
    client: String,
}

impl Newcomer {
    fn new(cluster: &Cluster, id: u64) -> Self {
        // Free for now; three at once, so that they differ.
        let free: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let at = |number: usize| free[number].local_addr().unwrap().to_string();
        let (client, peer, metrics) = (at(0), at(1), at(2));
        let rows = cluster.json(&["member", "list"]);
        let join: Vec<_> = rows.iter().map(|row| row["peer_address"].to_string()).collect();
        let (config, data) = (cluster.dir().join(format!("node{id}.toml")), cluster.dir());
        let text = format!(
            "[node]\nid = {id}\ndata_dir = {:?}\n[listen]\nclient = {client:?}\npeer = {peer:?}\n\
             metrics = {metrics:?}\n[cluster]\nname = \"dev\"\njoin = [{}]\n",
            data.join(format!("node{id}")),
            join.join(", ")
        );
        fs::write(&config, text).unwrap();
        Self { config, peer, client }
    }

    fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["member"], args, &["--peer", &self.peer, "--client", &self.client]].concat()
    }
}

fn serve(config: &Path) -> Running {
    Running::start(command().args(["serve", "--config"]).arg(config))
}

fn come_and_go(cluster: &Cluster) {
    let newcomer = Newcomer::new(cluster, 4);
    for _ in 0..2 {
        let args = [&["--reason", "more room"], &newcomer.with(&["add"])[..]].concat();
        let added = cluster.json(&args).pop().unwrap();
        assert_eq!((&added["member_id"], &added["state"]), (&4.into(), &"joining".into()));
    }
    cluster.run(&["member", "promote", "4"]).fails(1, &["PRECONDITION_FAILED", "start it"]);
    let mut serving = serve(&newcomer.config);
    let promoted = cluster.run(&["member", "promote", "4", "--wait"]);
    assert_eq!(promoted.text(0), "member 4 votes\n");
    assert_eq!(states(cluster), ["1 voter", "2 voter", "3 voter", "4 voter"]);

    let other = Newcomer::new(cluster, 5);
    let mut replacing = Running::start(
        command()
            .env("QUORATE_ENDPOINTS", &cluster.endpoints)
            .args(other.with(&["replace", "4"]))
            .args(["--timeout", "60s", "--reason", "it broke"])
            .stderr(Stdio::null()),
    );
    let replacement = serve(&other.config);
    assert_eq!(replacing.line().unwrap(), "member 4 removed: member 5 is in its place");
    assert!(replacing.ended().success());
    assert_eq!(serving.ended().code(), Some(1), "a removed member stops");
    run(NOWHERE, &["serve", "--config", newcomer.config.to_str().unwrap()], b"")
        .fails(1, &["member 4 was removed", "quorate member rejoin"]);
    for _ in 0..2 {
        let why = ["--label", "ops", "--reason", "moved", "member", "remove", "5"];
        cluster.run(&why).text(0);
    }
    who_and_why(cluster);
    drop(replacement);
    cluster.run(&newcomer.with(&["add", "4"])).fails(1, &["ALREADY_EXISTS", "never used again"]);
    assert_eq!(states(cluster), ["1 voter", "2 voter", "3 voter"]);
}

/// Of every change of a member: added, removed, replaced. Commands here have no label of their own.
fn who_and_why(cluster: &Cluster) {
    let all = cluster.json(&["history"]);
    let of_members = all.iter().filter(|event| event["changes"][0]["kind"] == "member");
    let told: Vec<_> = of_members
        .map(|event| {
            let change = &event["changes"][0];
            format!("{} by {}: {}", change["key"], event["label"], event["reason"])
        })
        .collect();
    let expected = [
        r#""4" by null: "more room""#,
        r#""5" by null: "it broke""#,
        r#""4" by null: "it broke""#,
        r#""5" by "ops": "moved""#,
    ];
    assert_eq!(told, expected);
}

/// Member 3 loses the end of its log, and later all of its data.
fn come_back(cluster: &Cluster) {
    let config = cluster.dir().join("node3.toml");
    let data = cluster.dir().join("node3");
    let pid = cluster.ready["members"][2]["pid"].as_u64().and_then(|pid| pid.try_into().ok());
    // Asked to stop it settles its journal, which would bring back what its log has lost.
    signal(pid.expect("a process id"), Signal::TERM);
    let lock = data.join("log/db");
    eventually("it lets go of its data", || {
        let file = OpenOptions::new().write(true).open(&lock).unwrap();
        let taken = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        taken.ok()
    });
    let file = OpenOptions::new().write(true).open(&lock).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    run(NOWHERE, &["serve", "--config", config.to_str().unwrap()], b"")
        .fails(1, &["data directory is damaged", "quorate member rejoin"]);

    let mut serving = rejoin(cluster, &config, "member 3 is back as member 6, and votes");
    let aside = fs::read_dir(cluster.dir()).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.to_str().unwrap().contains("node3.member-3-").then_some(path)
    });
    assert!(aside.expect("its data was set aside").join("log/db").exists());
    assert_eq!(states(cluster), ["1 voter", "2 voter", "6 voter"]);
    assert!(serving.stop().success());

    fs::remove_dir_all(&data).unwrap();
    run(NOWHERE, &["serve", "--config", config.to_str().unwrap()], b"")
        .fails(1, &["member 3 was removed", "quorate member rejoin"]);
    let _serving = rejoin(cluster, &config, "member 3 is back as member 7, and votes");
    assert_eq!(states(cluster), ["1 voter", "2 voter", "7 voter"]);
}

/// Runs the command, and the member as soon as it may start; gives the member.
fn rejoin(cluster: &Cluster, config: &Path, says: &str) -> Running {
    let mut rejoining = Running::start(
        command()
            .env("QUORATE_ENDPOINTS", &cluster.endpoints)
            .args(["member", "rejoin", "--timeout", "60s", "--config"])
            .arg(config),
    );
    let note = cluster.dir().join("node3/member.toml");
    eventually("the note is there", || note.exists().then_some(()));
    let serving = serve(config);
    assert_eq!(rejoining.line().unwrap(), says);
    assert!(rejoining.ended().success());
    serving
}
