//! What needs no cluster: unreachable endpoints, usage errors, help, completions, closed pipes.

use std::{
    fs,
    io::Read,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::harness::{NOWHERE, command, run};

#[test]
fn an_unreachable_cluster_is_exit_code_4_and_names_the_endpoints() {
    for args in [
        &["status"][..],
        &["member", "list"],
        &["member", "transfer"],
        &["kv", "put", "a", "b"],
        &["kv", "get", "a"],
        &["kv", "list", "--keys-only"],
        &["kv", "delete", "a"],
        &["kv", "txn", "then put a b"],
        &["watch"],
        &["network", "list"],
        &["network", "get", "a"],
        &["network", "delete", "a"],
        &["partition", "list"],
        &["connection", "list"],
        &["bench", "put"],
        &["snapshot", "save", "never-written.quorate"],
    ] {
        let start = Instant::now();
        let ran = run(NOWHERE, &[args, &["--timeout", "300ms"]].concat(), b"");
        ran.fails(4, &[NOWHERE, "hint: tried"]);
        assert!(start.elapsed() < Duration::from_secs(30), "{args:?} took {:?}", start.elapsed());
    }
}

#[test]
fn configuration_files_are_checked_without_a_cluster() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let files = [1, 2, 3].map(|id| format!("{root}/config/node{id}.toml"));
    let files = files.iter().map(String::as_str);
    let ran = run(NOWHERE, &["config", "check"].into_iter().chain(files).collect::<Vec<_>>(), b"");
    let told = ran.text(0);
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.contains("node2.toml: valid, for member 2 of cluster quorate"), "{told}");

    let default = run(NOWHERE, &["config", "default"], b"");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    fs::write(&file, default.text(0)).unwrap();
    let mine = file.to_str().unwrap();
    let json = run(NOWHERE, &["config", "check", mine, "--output", "json"], b"");
    assert!(json.text(0).contains(r#""member_id":1"#), "{json:?}");
    let wrong = default.text(0).replace("# heartbeat_ms = 150", "heartbeat_ms = 0");
    fs::write(&file, wrong.replace("# plans_max = 4", "plans_max = 0")).unwrap();
    let refused = run(NOWHERE, &["config", "check", mine], b"");
    refused.fails(2, &["raft.heartbeat_ms", "limits.plans_max"]);
}

#[test]
fn usage_errors_are_exit_code_2() {
    for args in [&["kv", "get"][..], &["nonsense"], &["--timeout", "5", "status"]] {
        let ran = run(NOWHERE, args, b"");
        ran.fails(2, &["--help"]);
        assert_eq!(ran.text(2), "");
    }
}

#[test]
fn help_and_completions_go_to_standard_output() {
    let help = run(NOWHERE, &["kv", "txn", "--help"], b"");
    assert!(help.text(0).contains("Examples:"), "{help:?}");
    let version = run(NOWHERE, &["--version"], b"");
    assert!(version.text(0).starts_with("quorate "), "{version:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(NOWHERE, &["completions", shell], b"");
        assert!(script.text(0).contains("quorate"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command()
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
    assert!(child.wait().unwrap().success());
}
