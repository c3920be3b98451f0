//! `serve`: bad configurations, and a graceful end.

use std::{fs, path::Path};

use crate::harness::{NOWHERE, Ran, Running, command, run};

fn config(dir: &Path, text: &str) -> String {
    let file = dir.join("node.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// One member of three; the others are not there.
const CONFIG: &str = r#"
[node]
id = 1

[listen]
client = "127.0.0.1:0"
peer = "127.0.0.1:0"
metrics = "127.0.0.1:0"

[cluster]
name = "test"
initial_members = [
  { id = 1, peer = "127.0.0.1:1", client = "127.0.0.1:4" },
  { id = 2, peer = "127.0.0.1:2", client = "127.0.0.1:5" },
  { id = 3, peer = "127.0.0.1:3", client = "127.0.0.1:6" },
]
"#;

fn serve(file: &str) -> Ran {
    run(NOWHERE, &["serve", "--config", file], b"")
}

#[test]
fn bad_configurations_are_usage_errors_that_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    serve("/no/such/file.toml").fails(2, &["/no/such/file.toml"]);
    let file = config(dir.path(), &CONFIG.replace("[listen]", "[listen]\ncolour = 1"));
    serve(&file).fails(2, &["colour", "node.toml"]);
    let file = config(dir.path(), &CONFIG.replace("127.0.0.1:2", "127.0.0.1:1"));
    serve(&file).fails(2, &["initial_members", "repeated address"]);
    let file = config(dir.path(), CONFIG);
    run(NOWHERE, &["serve", "--config", &file, "--log", "quorate=shout"], b"")
        .fails(2, &["log filter"]);
}

#[test]
fn it_stops_when_asked_even_before_there_is_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), CONFIG);
    let data = dir.path().join("data");
    let mut serving =
        Running::start(command().args(["serve", "--config", &file]).arg("--data-dir").arg(&data));
    crate::harness::eventually("the flag's directory is used", || data.exists().then_some(()));
    assert!(serving.stop().success());
}

#[test]
fn a_damaged_store_is_an_error_and_not_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), CONFIG);
    // The data directory cannot be one, because a file has its name.
    let data = dir.path().join("data");
    fs::write(&data, "no directory").unwrap();
    let path = data.to_str().unwrap();
    let ran = run(NOWHERE, &["serve", "--config", &file, "--data-dir", path], b"");
    ran.fails(1, &["cannot start", path]);
}
