//! `worker`, `partition move`, and what a worker sees of its own.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, NETWORK, Running, command, eventually, signal};

fn register(cluster: &Cluster, name: &str) -> Running {
    let mut command = command();
    command.env("QUORATE_ENDPOINTS", &cluster.endpoints).args(["--output", "json"]);
    command.args(["worker", "register", "--name", name, "--address", "127.0.0.1:7400"]);
    command.args(["--capacity", "cpu=4,memory=8GiB", "--labels", "zone=a", "--ttl", "2s"]);
    let worker = Running::start(&mut command);
    worker.json_where(|line| line["type"] == "registered");
    worker
}

/// Waits until it says this of a partition.
fn says(worker: &Running, what: &str, partition: &str) -> Value {
    worker.json_where(|line| line["type"] == what && line["partition"] == partition)
}

/// What a worker sees of its own: its grants, which were one revision, and what it gave away.
fn sees_its_own(cluster: &Cluster) {
    let watch = ["watch", "--from", "1", "--worker", "w1", "--kind", "partition", "--count", "5"];
    let seen = cluster.json(&watch);
    let changes = seen.iter().filter(|line| line["type"] == "changes");
    let states: Vec<_> = changes
        .flat_map(|line| line["changes"].as_array().unwrap())
        .map(|change| format!("{} {}", change["key"], change["value"]["state"]).replace('"', ""))
        .collect();
    let expected = [
        "net/0 assigned",
        "net/1 assigned",
        "net/0 releasing",
        "net/0 unassigned",
        "net/1 releasing",
        "net/1 unassigned",
    ];
    assert_eq!(states, expected);
}

/// A write of whoever still owns a partition, and of somebody who owned it before.
fn guarded(cluster: &Cluster, partition: &str, epoch: &str) {
    let put = |epoch: &str| {
        let guard = format!("require partition {partition} epoch {epoch}");
        cluster.run(&["kv", "txn", &guard, "then put offset 17"])
    };
    assert!(put(epoch).text(0).starts_with("then, at revision"));
    put("0.1").fails(1, &["STALE_EPOCH"]);
    let unknown = ["kv", "txn", "require session 0.99999", "then put offset 18"];
    cluster.run(&unknown).fails(1, &["SESSION_EXPIRED"]);
    assert_eq!(cluster.run(&["kv", "get", "offset"]).text(0), "17\n");
}

#[test]
fn workers_take_give_back_leave_and_are_missed() {
    let cluster = Cluster::start();
    let mut first = register(&cluster, "w1");
    let file = cluster.dir().join("net.toml");
    std::fs::write(&file, NETWORK).unwrap();
    let file = file.to_str().unwrap();
    cluster.json(&["network", "apply", file, "--partitions", "2"]);
    let epoch = says(&first, "assigned", "net/0")["epoch"].clone();
    says(&first, "assigned", "net/1");
    let valid = first.json_where(|line| line["type"] == "valid");
    assert!(valid["until_boot_ms"].as_u64() > valid["boot_ms"].as_u64(), "{valid}");

    let taken = cluster.run(&["worker", "register", "--name", "w1"]);
    taken.fails(1, &["w1", "session", "TTL"]);
    let partitions = cluster.json(&["partition", "list"]);
    assert_eq!(partitions[0]["owner"], "w1");
    assert_eq!((&partitions[0]["epoch"], &partitions[0]["state"]), (&epoch, &"assigned".into()));
    let workers = cluster.json(&["worker", "list"]);
    let expected = serde_json::json!({
        "name": "w1", "address": "127.0.0.1:7400", "state": "active",
        "session": partitions[0]["session"], "load_ppm": 0, "partitions": 2, "labels": {"zone": "a"},
        "capacity": {"cpu_millis": 4000, "memory_bytes": 8_589_934_592_u64},
    });
    assert_eq!(workers, [expected]);

    let nobody = cluster.run(&["partition", "move", "net/0", "--to", "w2"]);
    nobody.fails(3, &["NOT_FOUND", "no worker w2"]);
    guarded(&cluster, "net/0", epoch.as_str().unwrap());
    let mut second = register(&cluster, "w2");
    let moved = cluster.json(&["partition", "move", "net/0", "--to", "w2"]);
    assert_eq!(moved[0]["changed"], 1);
    says(&first, "releasing", "net/0");
    says(&second, "assigned", "net/0");
    let drained = cluster.json(&["worker", "drain", "w1"]);
    assert_eq!(drained[0]["releasing"], 1);
    says(&second, "assigned", "net/1");
    cluster.run(&["worker", "undrain", "w1"]).text(0);

    sees_its_own(&cluster);
    // Killed: missed after its time to live, and down until it is removed.
    signal(second.child.id(), Signal::KILL);
    second.ended();
    says(&first, "assigned", "net/0");
    let down = cluster.json(&["worker", "list"]);
    assert_eq!((&down[1]["state"], &down[1]["session"]), (&"down".into(), &Value::Null));
    let lost = cluster.run(&["partition", "move", "net/0", "--to", "w2"]);
    lost.fails(1, &["PRECONDITION_FAILED", "worker w2 is down"]);
    cluster.run(&["worker", "leave", "w1"]).fails(1, &["w1"]);
    cluster.run(&["worker", "leave", "w2"]).text(0);
    cluster.run(&["worker", "leave", "w2"]).fails(3, &["w2"]);

    // Stopped: it leaves at once.
    signal(first.child.id(), Signal::INT);
    first.json_where(|line| line["type"] == "left");
    assert!(first.ended().success());
    assert_eq!(cluster.json(&["worker", "list"]), Vec::<Value>::new());
    eventually("nobody owns anything", || {
        let partitions = cluster.json(&["partition", "list"]);
        partitions.iter().all(|partition| partition["owner"].is_null()).then_some(())
    });
}

/// How a connection is doing, as it is shown and as it is watched.
#[test]
fn a_connection_is_reported_listed_shown_and_retried() {
    let cluster = Cluster::start();
    let file = cluster.dir().join("net.toml");
    std::fs::write(&file, format!("[connection]\nbackoff_ms = 3_600_000\n\n{NETWORK}")).unwrap();
    cluster.json(&["network", "apply", file.to_str().unwrap(), "--partitions", "2"]);
    let listed = cluster.json(&["connection", "list", "--state", "pending,failed"]);
    assert_eq!(listed.len(), 1);
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&listed[0]["state"], &listed[0]["attempts"]), (&"pending".into(), &0.into()));
    assert_eq!(listed[0]["policy"]["backoff_ms"], 3_600_000);
    cluster.run(&["connection", "retry", &id]).fails(1, &["PRECONDITION_FAILED", "no owner"]);
    let nobody = ["connection", "report", &id, "--up", "--session", "0.1"];
    cluster.run(&nobody).fails(1, &["is pending"]);

    let worker = register(&cluster, "w1");
    let epoch = says(&worker, "assigned", "net/0")["epoch"].as_str().unwrap().to_owned();
    let sessions = cluster.json(&["worker", "list"]);
    let session = sessions[0]["session"].as_str().unwrap();
    let shown = |state: &str| {
        let shown = cluster.json(&["connection", "show", &id]).remove(0);
        assert_eq!(
            (&shown["state"], &shown["from_epoch"]),
            (&state.into(), &epoch.as_str().into())
        );
        shown
    };
    shown("connecting");
    let report = |seen: &[&str]| {
        let args = [&["connection", "report", &id, "--session", session][..], seen].concat();
        cluster.json(&args).remove(0)
    };
    assert_eq!(report(&["--up"])["changed"], 1);
    assert_eq!(report(&["--up"])["changed"], 0);
    let old = report(&["--broken", "old", "--from-epoch", "0.1", "--to-epoch", &epoch]);
    assert_eq!((&old["changed"], &old["stale"]), (&0.into(), &1.into()));
    shown("up");
    assert_eq!(report(&["--broken", "reset by peer"])["changed"], 1);
    assert_eq!(shown("broken")["error"], "reset by peer");
    let broken = cluster.json(&["connection", "list", "--partition", "net/1", "--state", "broken"]);
    assert_eq!(broken.len(), 1);
    let ran = cluster.run(&["connection", "show", &id]);
    let text = ran.text(0);
    assert!(text.contains("last error: reset by peer") && text.contains("backoff_ms: 3600000"));
    assert_eq!(cluster.json(&["connection", "retry", &id])[0]["changed"], true);
    shown("connecting");
    let missing = ["connection", "show", "net/8->net/9"];
    cluster.run(&missing).fails(3, &["NOT_FOUND"]);
    cluster.run(&["connection", "show", "net/8"]).fails(2, &["net/0->net/1"]);
    let both = ["connection", "report", &id, "--up", "--broken", "x", "--session", session];
    cluster.run(&both).fails(2, &["--broken"]);
    let watch = ["watch", "--from", "1", "--kind", "connection_status", "--count", "4"];
    let seen = cluster.json(&watch);
    let changes = seen.iter().filter(|line| line["type"] == "changes");
    let states = changes.flat_map(|line| line["changes"].as_array().unwrap());
    let states: Vec<_> = states.map(|it| it["value"]["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["connecting", "up", "broken", "connecting"]);
    drop(worker);
}
