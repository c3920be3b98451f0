//! `watch`: starts, filters, ends.

use serde_json::{Value, json};

use crate::harness::{Cluster, Running, command};

#[test]
fn changes_are_followed() {
    let cluster = Cluster::start();
    for (key, value) in [("a/1", "one"), ("b/1", "two"), ("a/1", "uno"), ("a/2", "three")] {
        cluster.run(&["kv", "put", key, value]).text(0);
    }
    cluster.run(&["kv", "delete", "a/1"]).text(0);
    history(&cluster);
    snapshot(&cluster);
    refused(&cluster);
    from_now_on(&cluster);
}

fn history(cluster: &Cluster) {
    assert_eq!(
        cluster.run(&["watch", "--from", "1", "--count", "5", "--previous"]).text(0),
        "       1  + entry      a/1  one\n       \
         2  + entry      b/1  two\n       \
         3  ~ entry      a/1  uno  (was one)\n       \
         4  + entry      a/2  three\n       \
         5  - entry      a/1  (was uno)\n"
    );
    let all =
        cluster.json(&["watch", "--from", "3", "--prefix", "a/", "--count", "3", "--previous"]);
    let changes: Vec<_> = all.iter().filter(|line| line["type"] == "changes").collect();
    let revisions: Vec<_> = changes.iter().map(|line| &line["revision"]).collect();
    assert_eq!(revisions, [3, 4, 5]);
    assert_eq!(
        changes[0]["changes"],
        json!([{"kind": "entry", "key": "a/1", "op": "put", "created": false, "value": "uno",
                "previous": "one", "version": 2, "modified": 3}])
    );
    assert_eq!(
        changes[2]["changes"],
        json!([{"kind": "entry", "key": "a/1", "op": "delete", "created": false, "value": null,
                "previous": "uno"}])
    );
}

fn snapshot(cluster: &Cluster) {
    let watch = Running::start(command().args([
        "--endpoints",
        &cluster.endpoints,
        "--output",
        "json",
        "watch",
        "--snapshot",
        "--kind",
        "entry",
    ]));
    let is = |name: &'static str| move |line: &Value| line["type"] == name;
    let records = watch.json_where(is("snapshot"));
    assert_eq!(records["revision"], 5);
    let keys: Vec<_> =
        records["changes"].as_array().unwrap().iter().map(|record| &record["key"]).collect();
    assert_eq!(keys, ["a/2", "b/1"]);
    assert_eq!(watch.json_where(is("snapshot_end"))["revision"], 5);
    assert_eq!(watch.json_where(is("progress"))["revision"], 5);
    cluster.run(&["kv", "put", "c", "new"]).text(0);
    assert_eq!(watch.json_where(is("changes"))["revision"], 6);
}

fn refused(cluster: &Cluster) {
    cluster.run(&["watch", "--from", "100"]).fails(1, &["FUTURE_REVISION", "from_revision"]);
}

fn from_now_on(cluster: &Cluster) {
    let watch = Running::start(command().args([
        "--endpoints",
        &cluster.endpoints,
        "--output",
        "json",
        "watch",
        "--count",
        "1",
        "--prefix",
        "now/",
    ]));
    // Progress says that the stream has begun.
    watch.json_where(|line| line["type"] == "progress");
    cluster.run(&["kv", "put", "elsewhere", "x"]).text(0);
    cluster.run(&["kv", "put", "now/1", "x"]).text(0);
    let change = watch.json_where(|line| line["type"] == "changes");
    assert_eq!(change["changes"][0]["key"], "now/1");
    assert_eq!(watch.line(), None, "it ends after one revision");
}
