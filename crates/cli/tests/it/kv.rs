//! `kv`: every form, in tables and JSON, and its exit codes.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Cluster, Ran};

#[test]
fn keys_and_values() {
    let cluster = Cluster::start();
    put_and_get(&cluster);
    list(&cluster);
    consistency(&cluster);
    delete(&cluster);
    txn(&cluster);
    limits(&cluster);
}

fn put_and_get(cluster: &Cluster) {
    assert_eq!(cluster.run(&["kv", "put", "a/1", "one"]).text(0), "written at revision 1\n");
    assert_eq!(cluster.run(&["kv", "get", "a/1"]).text(0), "one\n");
    assert_eq!(cluster.run(&["kv", "get", "a/1", "--raw"]).text(0), "one");
    let again = cluster.run(&["kv", "put", "a/1", "uno", "--previous"]);
    assert_eq!(again.text(0), "written at revision 2 (was one)\n");
    assert_eq!(
        cluster.json(&["kv", "get", "a/1"]),
        [json!({"key": "a/1", "value": "uno", "created": 1, "modified": 2, "version": 2})]
    );
    assert_eq!(
        cluster.json(&["kv", "put", "a/2", "-2", "--previous"]),
        [json!({"key": "a/2", "revision": 3})]
    );

    let from_stdin = cluster.run_with(&["kv", "put", "a/3", "-"], b"line 1\nline 2\n");
    assert_eq!(from_stdin.text(0), "written at revision 4\n");
    assert_eq!(cluster.run(&["kv", "get", "a/3", "--raw"]).text(0), "line 1\nline 2\n");

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, [0xff, 0x00, 0x0a]).unwrap();
    let path = file.path().to_str().unwrap();
    cluster.run(&["kv", "put", "bin", "--file", path]).text(0);
    assert_eq!(cluster.run(&["kv", "get", "bin", "--raw"]).stdout, [0xff, 0x00, 0x0a]);
    let binary = &cluster.json(&["kv", "get", "bin"])[0];
    assert_eq!(binary["value_base64"], "/wAK");
    assert_eq!(binary.get("value"), None);

    let absent = cluster.run(&["kv", "get", "absent"]);
    absent.fails(3, &["no key \"absent\""]);
    assert_eq!(absent.text(3), "");
    cluster.run(&["kv", "put", "x", "--file", "/no/such/file"]).fails(2, &["/no/such/file"]);
}

fn list(cluster: &Cluster) {
    assert_eq!(
        cluster.run(&["kv", "list", "a/"]).text(0),
        "KEY  CREATED  MODIFIED  VERSION  VALUE\n\
         a/1        1         2        2  uno\n\
         a/2        3         3        1  -2\n\
         a/3        4         4        1  line 1·line 2·\n"
    );
    let keys = |rows: &[Value]| -> Vec<String> {
        rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&cluster.json(&["kv", "list"])), ["a/1", "a/2", "a/3", "bin"]);
    assert_eq!(keys(&cluster.json(&["kv", "list", "a/", "--limit", "2"])), ["a/1", "a/2"]);
    let limited = ["kv", "list", "a/", "--keys-only", "--limit", "2"];
    let limited = cluster.json(&limited);
    assert_eq!(keys(&limited), ["a/1", "a/2"]);
    assert_eq!(limited[0], json!({"key": "a/1", "created": 1, "modified": 2, "version": 2}));
    assert_eq!(cluster.json(&["kv", "list", "nothing"]), [] as [Value; 0]);
}

fn consistency(cluster: &Cluster) {
    for level in ["linearizable", "at-least=5"] {
        let value = cluster.run(&["kv", "get", "a/1", "--consistency", level]);
        assert_eq!(value.text(0), "uno\n", "{level}");
    }
    let local: Ran = cluster.run(&["kv", "list", "--consistency", "local"]);
    local.text(0);
}

fn delete(cluster: &Cluster) {
    assert_eq!(cluster.run(&["kv", "delete", "bin"]).text(0), "deleted 1 at revision 6\n");
    cluster.run(&["kv", "delete", "bin"]).fails(3, &["no key \"bin\""]);
    assert_eq!(
        cluster.json(&["kv", "delete", "--prefix", "a/"]),
        [json!({"deleted": 3, "revision": 7})]
    );
    assert_eq!(
        cluster.json(&["kv", "delete", "--prefix", "a/"]),
        [json!({"deleted": 0, "revision": 7})]
    );
}

fn txn(cluster: &Cluster) {
    let take = ["kv", "txn", "if absent lock", "then put lock \"held by me\"", "else get lock"];
    assert_eq!(cluster.run(&take).text(0), "then, at revision 8\nput     done\n");
    assert_eq!(cluster.run(&take).text(0), "else, at revision 8\nget     lock = held by me\n");
    assert_eq!(
        cluster.json(&take)[0]["results"][0]["records"][0],
        json!({"key": "lock", "value": "held by me", "created": 8, "modified": 8, "version": 1})
    );

    let lines = b"# from standard input\nif modified lock = 8\nthen delete lock\nthen put b 1\n";
    let swapped = cluster.run_with(&["--output", "json", "kv", "txn"], lines);
    assert_eq!(
        swapped.json(),
        [json!({"succeeded": true, "revision": 9,
                "results": [{"op": "delete", "deleted": 1}, {"op": "put"}]})]
    );

    let refused = cluster.run(&["--output", "json", "kv", "txn", "if value b = 2", "then put b 3"]);
    refused.fails(1, &["precondition", "PRECONDITION_FAILED"]);
    assert_eq!(
        serde_json::from_slice::<Value>(&refused.stdout).unwrap(),
        json!({"succeeded": false, "revision": 9, "results": []})
    );
    cluster.run(&["kv", "txn", "when b"]).fails(2, &["line 1", "if, then or else", "hint: "]);
}

fn limits(cluster: &Cluster) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, vec![b'x'; (1 << 20) + 1]).unwrap();
    let path = file.path().to_str().unwrap();
    cluster
        .run(&["kv", "put", "large", "--file", path])
        .fails(1, &["LIMIT_EXCEEDED", "value_bytes_max"]);
    cluster.run(&["kv", "get", "large"]).fails(3, &[]);
    cluster.run(&["kv", "put", "", "empty key"]).fails(1, &["INVALID_FIELD", "key"]);
}
