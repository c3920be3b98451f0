//! `lock`, `history`, and who changed what and why.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Command};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, Running, command, eventually, signal};

fn lock(cluster: &Cluster, args: &[&str]) -> Running {
    let mut command: Command = command();
    Running::start(command.args(["--endpoints", &cluster.endpoints, "lock"]).args(args))
}

#[test]
fn commands_run_one_after_the_other_under_a_lock() {
    let cluster = Cluster::start();
    its_end_is_the_commands(&cluster);
    signals_are_passed_on(&cluster);
    the_queue_is_kept(&cluster);
    a_broken_lock_stops_the_whole_group(&cluster);
    who_and_why(&cluster);
}

fn its_end_is_the_commands(cluster: &Cluster) {
    for _ in 0..20 {
        // So short that the guard has gone before it has read all that it was told.
        cluster.run(&["lock", "a", "--", "sh", "-c", "exit 7"]).text(7);
    }
    cluster.run(&["lock", "a", "--", "sh", "-c", "kill -9 $$"]).text(137);
    cluster.run(&["lock", "a", "--", "/no/such/program"]).fails(2, &["/no/such/program"]);
    let shown = "echo $QUORATE_LOCK_NAME $QUORATE_LOCK_KEY $QUORATE_LOCK_EPOCH";
    let first = cluster.run(&["lock", "a", "--", "sh", "-c", shown]).text(0).to_owned();
    let second = cluster.run(&["lock", "a", "--", "sh", "-c", shown]).text(0).to_owned();
    let epoch = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(words[0] == "a" && words[1].starts_with("lock/a/"), "{line}");
        words[2].split_once('.').map(|(_, revision)| revision.parse::<u64>().unwrap()).unwrap()
    };
    assert!(epoch(&first) < epoch(&second), "{first} {second}");
    assert!(cluster.json(&["kv", "list", "lock/"]).is_empty(), "nothing is left");
}

fn signals_are_passed_on(cluster: &Cluster) {
    let script = "trap 'echo ended; exit 3' INT TERM; echo begun; while :; do sleep 0.05; done";
    let mut running = lock(cluster, &["b", "--", "sh", "-c", script]);
    assert_eq!(running.line().as_deref(), Some("begun"));
    signal(running.child.id(), Signal::INT);
    assert_eq!(running.line().as_deref(), Some("ended"));
    let ended = running.ended();
    assert_eq!((ended.code(), ended.signal()), (Some(3), None));
}

fn the_queue_is_kept(cluster: &Cluster) {
    let script = "echo first; read end < \"$0\"; echo done";
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut first = lock(cluster, &["c", "--", "sh", "-c", script, pipe.to_str().unwrap()]);
    assert_eq!(first.line().as_deref(), Some("first"));
    for wait in ["0", "1"] {
        let ran = cluster.run(&["lock", "c", "--wait", wait, "--", "echo", "never"]);
        ran.fails(1, &["held by another"]);
    }
    let mut second = lock(cluster, &["c", "--", "echo", "second"]);
    eventually("it waits", || (cluster.json(&["kv", "list", "lock/c"]).len() == 2).then_some(()));
    assert!(second.child.try_wait().unwrap().is_none());
    fs::write(&pipe, "now\n").unwrap();
    assert_eq!(first.line().as_deref(), Some("done"));
    assert_eq!(second.line().as_deref(), Some("second"));
    assert!(first.ended().success() && second.ended().success());
}

fn a_broken_lock_stops_the_whole_group(cluster: &Cluster) {
    let script = "sh -c 'echo inner $$; sleep 1000' & echo outer; wait";
    let mut running = lock(cluster, &["d", "--", "sh", "-c", script]);
    let lines = [running.line().unwrap(), running.line().unwrap()];
    assert!(lines.iter().any(|line| line == "outer"), "{lines:?}");
    cluster.run(&["kv", "delete", "--prefix", "lock/d/"]).text(0);
    assert_eq!(running.ended().code(), Some(6));
    assert_eq!(running.line(), None, "nobody holds its output any more");
}

fn who_and_why(cluster: &Cluster) {
    let put = ["--label", "ops", "--reason", "it was wrong", "kv", "put", "e/1", "x"];
    cluster.run(&put).text(0);
    cluster.run(&["--exactly-once", "kv", "put", "e/1", "y"]).text(0);
    cluster.run(&["kv", "put", "e/10", "z"]).text(0);
    let history = cluster.run(&["history", "e/1"]);
    let lines: Vec<_> = history.text(0).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("+ entry      e/1  x  by ops: it was wrong"), "{lines:?}");
    let all = cluster.json(&["history", "--prefix", "e/"]);
    assert_eq!(all.len(), 3);
    let (label, reason): (&Value, &Value) = (&all[0]["label"], &all[0]["reason"]);
    assert_eq!((label, reason), (&"ops".into(), &"it was wrong".into()));
    let last = all[2]["revision"].to_string();
    assert_eq!(cluster.json(&["history", "--from", &last]).len(), 1);
    assert!(cluster.json(&["history", "no/such/key"]).is_empty());
}

#[test]
fn a_lock_that_nobody_confirms_is_lost_in_time() {
    let mut cluster = Cluster::start();
    let script = "trap 'echo asked' TERM; echo begun; while :; do sleep 0.05; done";
    let mut running = lock(&cluster, &["a", "--ttl", "2s", "--", "sh", "-c", script]);
    assert_eq!(running.line().as_deref(), Some("begun"));
    cluster.running.stop();
    assert_eq!(running.line().as_deref(), Some("asked"), "SIGTERM comes first");
    assert_eq!(running.ended().code(), Some(6));
    assert_eq!(running.line(), None);
}
