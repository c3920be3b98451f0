//! What is left of a command when `lock` loses its lock, or its life.

use std::{fs, io::Write as _, process::Command, time::Duration};

use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};

use crate::harness::{Cluster, Running, command, eventually, runs, signal};

const TTL: Duration = Duration::from_secs(4);

/// Says its process id, then the time again and again. It does not end when it is asked to.
const STUBBORN: &str = "trap 'echo asked' TERM; echo $$; \
    while read up rest < /proc/uptime; do echo $up; sleep 0.02; done";

/// A command under the lock `a`, which has begun.
struct Locked {
    running: Running,
    /// Its process.
    pid: u32,
}

impl Locked {
    fn start(cluster: &Cluster, script: &str) -> Self {
        let mut running = Running::start(lock(cluster).args(["--", "sh", "-c", script]));
        let pid = running.line().and_then(|line| line.parse().ok());
        let Some(pid) = pid else { panic!("it ended with {:?}", running.ended()) };
        Self { running, pid }
    }

    /// Its guard: the parent of the command.
    fn guard(&self) -> u32 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What it says until it has ended: whether it was asked to end, and its last time.
    fn end(&self) -> (bool, Duration) {
        let (mut asked, mut last) = (false, Duration::ZERO);
        while let Some(line) = self.running.line() {
            match line.parse() {
                Ok(seconds) => last = Duration::from_secs_f64(seconds),
                Err(_) => asked |= line == "asked",
            }
        }
        (asked, last)
    }
}

fn lock(cluster: &Cluster) -> Command {
    let mut command = command();
    command.args(["--endpoints", &cluster.endpoints, "lock", "a", "--ttl", "4s"]);
    command
}

/// As `/proc/uptime` has it.
fn now() -> Duration {
    clock_gettime(ClockId::Boottime).try_into().unwrap()
}

/// Another one that waits for the lock. When it runs, nothing of the one before may.
fn contender(cluster: &Cluster) -> Running {
    let contender = Running::start(lock(cluster).args(["--", "cat", "/proc/uptime"]));
    eventually("it waits", || (cluster.json(&["kv", "list", "lock/a"]).len() == 2).then_some(()));
    contender
}

/// When the other one ran.
fn its_turn(contender: &mut Running) -> Duration {
    let line = contender.line().unwrap();
    assert!(contender.ended().success());
    Duration::from_secs_f64(line.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn what_a_command_leaves_in_its_group_ends_before_the_lock_is_released() {
    let cluster = Cluster::start();
    let script = "sh -c 'trap \"\" TERM HUP; while :; do sleep 0.05; done' &
        echo $!; read line; echo $line; exit 5";
    let ran = cluster.run_with(&["lock", "a", "--", "sh", "-c", script], b"typed\n");
    let (pid, typed) = ran.text(5).split_once('\n').unwrap();
    assert_eq!(typed, "typed\n", "standard input is passed on");
    assert!(!runs(pid.parse().unwrap()));

    let script = "sleep 1000 & echo $!";
    let ran = cluster.run(&["lock", "a", "--", "sh", "-c", script]);
    assert!(!runs(ran.text(0).trim().parse().unwrap()));
}

#[test]
fn a_killed_lock_command_takes_its_command_along() {
    let cluster = Cluster::start();
    let mut first = Locked::start(&cluster, STUBBORN);
    let guard = first.guard();
    let mut contender = contender(&cluster);
    let killed = now();
    signal(first.running.child.id(), Signal::KILL);
    first.running.ended();
    let (asked, last) = first.end();
    assert!(asked && last > killed, "it may clean up");
    assert!(last < killed + TTL / 2, "at {last:?}, killed at {killed:?}");
    assert!(last < its_turn(&mut contender));
    eventually("the guard ends", || (!runs(guard) && !runs(first.pid)).then_some(()));
}

#[test]
fn a_stopped_lock_command_does_not_keep_its_command() {
    let cluster = Cluster::start();
    let mut first = Locked::start(&cluster, STUBBORN);
    let mut contender = contender(&cluster);
    let stopped = now();
    signal(first.running.child.id(), Signal::STOP);
    let turn = its_turn(&mut contender);
    assert!(!runs(first.pid), "two at a time");
    signal(first.running.child.id(), Signal::CONT);
    let (asked, last) = first.end();
    assert!(asked && last > stopped && last < turn && last < stopped + TTL, "{last:?} {stopped:?}");
    assert_eq!(first.running.ended().code(), Some(6));
}

#[test]
fn a_command_ends_with_its_guard_and_in_time_without_a_cluster() {
    let cluster = Cluster::start_with(&["--base-port", "0", "--processes"]);
    // A guard hears nothing but its owner; killed, it does not leave the command to itself.
    let mut first = Locked::start(&cluster, STUBBORN);
    signal(first.guard(), Signal::TERM);
    signal(first.guard(), Signal::INT);
    for _ in 0..10 {
        assert_ne!(first.running.line().as_deref(), Some("asked"));
    }
    signal(first.guard(), Signal::KILL);
    first.end();
    assert_eq!(first.running.ended().code(), Some(1));
    assert!(!runs(first.pid));

    let mut second = Locked::start(&cluster, STUBBORN);
    let killed = now();
    for member in cluster.ready["members"].as_array().unwrap() {
        signal(u32::try_from(member["pid"].as_u64().unwrap()).unwrap(), Signal::KILL);
    }
    let (asked, last) = second.end();
    assert!(asked && last > killed && last < killed + TTL, "{last:?} {killed:?}");
    assert_eq!(second.running.ended().code(), Some(6));
}

/// What the terminal shows next that holds this.
fn shown(terminal: &Running, text: &str) {
    while !terminal.line().expect("the terminal is there").contains(text) {}
}

#[test]
fn a_command_may_have_the_terminal() {
    if !Command::new("script").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        eprintln!("skipped: a terminal is made with script (apt-get install util-linux)");
        return;
    }
    let cluster = Cluster::start();
    let reads = "read line; echo got $line; trap \"echo interrupted; exit 9\" INT; \
        echo waits; while :; do sleep 0.05; done";
    let quorate = format!("{} --endpoints {}", env!("CARGO_BIN_EXE_quorate"), cluster.endpoints);
    // The last line is read by the shell: the terminal was given back.
    let session =
        format!("{quorate} lock a -- sh -c '{reads}'; echo code $?; read line; echo at last $line");
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &session, "/dev/null"])
        .env("SHELL", "/bin/sh");
    let (mut terminal, mut keys) = Running::with_input(&mut script);
    keys.write_all(b"typed\n").unwrap();
    shown(&terminal, "got typed");
    shown(&terminal, "waits");
    keys.write_all(b"\x03").unwrap();
    shown(&terminal, "interrupted");
    shown(&terminal, "code 9");
    keys.write_all(b"more\n").unwrap();
    shown(&terminal, "at last more");
    assert!(terminal.ended().success());
}
