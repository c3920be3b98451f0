//! `quorate-jepsen check` as scripts use it: last line and exit code. Needs no namespaces.

use std::process::{Command, Output};

fn check(history: &str) -> Output {
    let path = format!("{}/tests/histories/{history}.jsonl", env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_quorate-jepsen"))
        .args(["check", &path])
        .output()
        .expect("the program was built for this test")
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_good_history_is_valid() {
    let output = check("good");
    let lines = lines(&output);
    assert_eq!(lines.last().unwrap(), "verdict=valid ops=8 faults=1 leader_changes=1");
    assert_eq!(output.status.code(), Some(0), "{lines:#?}");
}

#[test]
fn a_stale_read_is_invalid_and_shown() {
    let output = check("stale_read");
    let lines = lines(&output);
    assert_eq!(lines.last().unwrap(), "verdict=invalid ops=8 faults=1 leader_changes=1");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        lines.iter().any(|line| line.starts_with("shortest evidence, register/0")),
        "{lines:#?}"
    );
}

#[test]
fn a_history_that_is_not_there_is_no_pass() {
    let output = check("absent");
    assert_eq!(lines(&output), ["verdict=unknown ops=0 faults=0 leader_changes=0"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn wrong_usage_is_neither_a_verdict_nor_a_skip() {
    let status =
        Command::new(env!("CARGO_BIN_EXE_quorate-jepsen")).args(["run", "--nodes", "2"]).output();
    assert_eq!(status.unwrap().status.code(), Some(64));
}
