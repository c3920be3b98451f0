//! Nothing is left of a run, however it ends. Needs namespaces and the `quorate` binary beside this
//! program; says so and does nothing where they are not there.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]
#![expect(clippy::print_stdout, reason = "whoever runs it learns that it was skipped, and why")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const HARNESS: &str = env!("CARGO_BIN_EXE_quorate-jepsen");

/// How long a run may take until its cluster works.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// How long its end may take.
const GONE_WITHIN: Duration = Duration::from_secs(90);

fn wait_until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < until, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A run in this directory whose clients have been answered; none: it cannot be run here.
fn running(store: &Path) -> Option<Child> {
    if !Path::new(HARNESS).with_file_name("quorate").is_file() {
        println!("SKIPPED, there is no quorate binary; cargo build --bin quorate");
        return None;
    }
    let mut child = Command::new(HARNESS)
        .args(["run", "--nodes", "3", "--time", "600", "--nemesis", "disk,pause", "--store"])
        .arg(store)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let began = Instant::now();
    let works = said.find(|line| line.starts_with("t=") && !line.contains(" ok=0 "));
    if works.is_none() {
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(3), "the run ended early");
        println!("SKIPPED, this machine cannot run the harness");
        return None;
    }
    assert!(began.elapsed() < UP_WITHIN);
    // Whatever it says from now on must not fill the pipe.
    std::thread::spawn(move || said.for_each(drop));
    Some(child)
}

/// Processes, by their command lines, that have to do with this directory.
fn processes(store: &Path) -> Vec<String> {
    let store = store.display().to_string();
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    texts.filter(|text| text.contains(&store)).collect()
}

fn nothing_is_left(store: &Path) {
    wait_until("all processes end", GONE_WITHIN, || processes(store).is_empty());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&store.display().to_string()), "{mounts}");
    assert!(!Path::new("/run/netns/node1").exists(), "a network namespace of a host is left");
}

fn ends_after(signal: &str, code: Option<i32>) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("run");
    let Some(mut child) = running(&store) else { return };
    assert!(processes(&store).len() > 3, "the harness and its coordinators run");
    let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), code, "{signal}");
    nothing_is_left(&store);
    let history = fs::read_to_string(store.join("history.jsonl")).unwrap();
    assert!(history.contains("\"kind\":\"interrupted\""), "what was seen is saved");
}

#[test]
fn nothing_is_left_however_a_run_ends() {
    for (signal, code) in [("INT", Some(2)), ("TERM", Some(2)), ("KILL", None)] {
        ends_after(signal, code);
    }
}
