//! `pool` and `allocation`.

use serde_json::json;

use crate::harness::{Cluster, Running, command, eventually};

#[test]
fn pools_are_created_shared_and_deleted() {
    let cluster = Cluster::start();
    let create = |capacity: &str| {
        cluster.run(&[
            "pool",
            "create",
            "batch",
            "--capacity",
            capacity,
            "--tenant",
            "reports",
            "--tenant",
            "ads weight=2 guarantee=cpu=1 limit=cpu=3",
        ])
    };
    assert!(create("cpu=4,memory=8GiB").text(0).starts_with("pool batch is so as of revision"));
    let mut worker = command();
    worker.env("QUORATE_ENDPOINTS", &cluster.endpoints).args(["--output", "json"]);
    worker.args(["worker", "register", "--name", "w1", "--ttl", "2s"]);
    let mut worker = Running::start(&mut worker);
    let registered = worker.json_where(|line| line["type"] == "registered");
    let session = registered["session"].as_str().unwrap();

    let request = |amount: &str| {
        let asked = ["allocation", "request", "batch", "--tenant", "reports", "--amount", amount];
        let rows = cluster.json(&[&asked[..], &["--session", session]].concat());
        rows[0]["id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (request("cpu=2"), request("cpu=2.5"));
    let rows = eventually("the first is granted", || {
        let rows = cluster.json(&["allocation", "list", "--pool", "batch"]);
        (rows[0]["state"] == "granted").then_some(rows)
    });
    let epoch = rows[0]["epoch"].clone();
    assert!(epoch.is_string());
    assert_eq!(
        rows[0],
        json!({
            "id": first, "pool": "batch", "owner": session, "amount": { "cpu_millis": 2_000 },
            "epoch": epoch, "tenant": "reports", "state": "granted", "priority": 0,
            "until_ms": null, "revoked_for": null, "required": false,
        })
    );
    assert_eq!((&rows[1]["id"], &rows[1]["state"]), (&json!(second), &json!("waiting")));
    let pools = cluster.json(&["pool", "list"]);
    assert_eq!((&pools[0]["grants"], &pools[0]["waiting"]), (&json!(1), &json!(1)));
    assert_eq!(pools[0]["granted"], json!({ "cpu_millis": 2_000 }));
    assert_eq!(pools[0]["tenants"][0]["limit"], json!({ "cpu_millis": 3_000 }));
    let table = cluster.run(&["allocation", "list"]);
    assert!(table.text(0).starts_with("ID"), "{}", table.text(0));
    assert!(table.text(0).contains("cpu_millis=2500"));

    create("cpu=1").fails(1, &["CAPACITY_EXCEEDED"]);
    cluster.run(&["pool", "delete", "batch"]).fails(1, &["2 allocations"]);
    cluster.run(&["allocation", "release", &first, "--epoch", "0.1"]).fails(1, &["STALE_EPOCH"]);
    cluster.run(&["allocation", "release", &first]).text(0);
    eventually("the second is granted", || {
        let rows = cluster.json(&["allocation", "list"]);
        (rows.len() == 1 && rows[0]["state"] == "granted").then_some(())
    });
    // What the session holds goes with it.
    worker.stop();
    eventually("all is free", || cluster.json(&["allocation", "list"]).is_empty().then_some(()));
    cluster.run(&["pool", "delete", "batch"]).text(0);
    cluster.run(&["pool", "delete", "batch"]).fails(3, &["no pool batch"]);
}

#[test]
fn a_network_that_names_a_pool_requires_what_its_partitions_need() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/networks/nightly.toml");
    let cluster = Cluster::start();
    let missing = ["policy.pool: there is no pool batch"];
    cluster.run(&["network", "apply", FILE]).fails(1, &missing);
    // As the file says.
    let create = ["pool", "create", "batch", "--capacity", "cpu=8,memory=16GiB"];
    let tenants = ["--tenant", "reports", "--tenant", "ads weight=2"];
    cluster.run(&[&create[..], &tenants].concat()).text(0);
    cluster.run(&["network", "apply", FILE]).text(0);
    let shown = cluster.run(&["network", "get", "nightly"]);
    let says = "Its partitions require what they need of pool batch, for tenant reports.";
    assert!(shown.text(0).contains(says), "{}", shown.text(0));
    let shown = &cluster.json(&["network", "get", "nightly"])[0];
    assert_eq!((&shown["pool"], &shown["tenant"]), (&json!("batch"), &json!("reports")));
    let rows = eventually("all is asked for", || {
        let rows = cluster.json(&["allocation", "list"]);
        (rows.len() == 3).then_some(rows)
    });
    for row in &rows {
        assert_eq!((&row["required"], &row["state"]), (&json!(true), &json!("waiting")));
    }
    let table = cluster.run(&["allocation", "list"]);
    assert_eq!(table.text(0).matches("(required)").count(), 3, "{}", table.text(0));
    let id = rows[0]["id"].as_str().unwrap();
    let kept = ["network nightly requires allocation"];
    cluster.run(&["allocation", "release", id]).fails(1, &kept);
    let kept = ["network nightly names pool batch"];
    cluster.run(&["pool", "delete", "batch"]).fails(1, &kept);
    let history = cluster.json(&["history"]);
    let why = (&json!("distributor"), &json!("requirements of 3 partitions of nightly"));
    assert!(history.iter().any(|row| (&row["label"], &row["reason"]) == why), "{history:?}");

    let mut worker = command();
    worker.env("QUORATE_ENDPOINTS", &cluster.endpoints).args(["--output", "json"]);
    worker.args(["worker", "register", "--name", "w1", "--ttl", "2s"]);
    let mut worker = Running::start(&mut worker);
    eventually("all is granted", || {
        let rows = cluster.json(&["allocation", "list", "--pool", "batch"]);
        rows.iter().all(|row| row["state"] == "granted").then_some(())
    });
    cluster.run(&["network", "delete", "nightly"]).text(0);
    assert!(cluster.json(&["allocation", "list"]).is_empty());
    cluster.run(&["pool", "delete", "batch"]).text(0);
    worker.stop();
}
