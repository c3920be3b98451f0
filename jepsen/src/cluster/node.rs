//! One coordinator under test, as a process on its host.
//!
//! Owns its life, and who has a say in it: faults hold it down, paused, or let it end by itself,
//! each until it lets go; it runs when nobody holds it down. Invariant: a killed process is reaped
//! before it is started again. Must not know why a fault holds it.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use quorate_core::MemberId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    time::{Instant, sleep, timeout},
};

use super::{
    config::{self, Raft},
    volume::Volume,
    wall::WallClock,
};
use crate::{
    history::FaultId,
    net::{namespace, tool},
};

/// How long a coordinator may take to stop in good order.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How much of a log is looked at for the reason of an end.
const TAIL_BYTES: u64 = 2_000;

/// How often an end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a coordinator says when it ends because it must.
const FAREWELLS: [&str; 2] = ["this coordinator has stopped", "this coordinator cannot start"];

/// A coordinator and its host.
pub(crate) struct Node {
    /// The host.
    pub(crate) host: MemberId,
    pub(super) dir: PathBuf,
    /// Where its data is.
    pub(crate) volume: Volume,
    /// What it takes for the time, when that can be moved.
    pub(crate) wall: Option<WallClock>,
    binary: PathBuf,
    raft: Raft,
    state: Mutex<State>,
}

struct State {
    /// Who it is in the cluster.
    member: MemberId,
    child: Option<Child>,
    /// Faults that keep it down.
    down: BTreeSet<FaultId>,
    /// Faults that keep it paused.
    paused: BTreeSet<FaultId>,
    /// Faults because of which it may end by itself.
    may_end: BTreeSet<FaultId>,
    /// On a host that is not in use.
    spare: bool,
}

/// How a process that nobody stopped came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// As a fault must make it: with a message, in good order.
    Expected(String),
    /// Otherwise.
    Crash(String),
}

/// What a node is made of.
pub(super) struct Parts {
    pub(super) host: MemberId,
    pub(super) dir: PathBuf,
    pub(super) binary: PathBuf,
    pub(super) volume: Volume,
    pub(super) wall: Option<WallClock>,
    pub(super) raft: Raft,
    pub(super) spare: bool,
}

impl Node {
    /// Not running yet, and without a configuration.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { host, dir, binary, volume, wall, raft, spare } = parts;
        let state = State {
            member: host,
            child: None,
            down: BTreeSet::new(),
            paused: BTreeSet::new(),
            may_end: BTreeSet::new(),
            spare,
        };
        Self { host, dir, volume, wall, binary, raft, state: Mutex::new(state) }
    }

    /// Who it is in the cluster.
    pub(crate) fn member(&self) -> MemberId {
        self.lock().member
    }

    /// Writes its configuration: a founder among `founders`.
    pub(super) fn found(&self, founders: &[MemberId]) -> anyhow::Result<()> {
        self.configure(&config::founder(self.host, founders, &self.volume.data(), self.raft))
    }

    /// Becomes a new member, with nothing, that joins through these hosts. Must not run.
    pub(crate) fn become_new(&self, member: MemberId, hosts: &[MemberId]) -> anyhow::Result<()> {
        self.volume.wipe()?;
        let text = config::joiner(member, self.host, hosts, &self.volume.data(), self.raft);
        self.configure(&text)?;
        let mut state = self.lock();
        state.member = member;
        state.spare = false;
        Ok(())
    }

    /// Is on a spare host from now on, and not started. Must not run.
    pub(crate) fn retire(&self) {
        self.lock().spare = true;
    }

    /// Starts it unless it runs or something holds it down.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let mut state = self.lock();
        if state.child.is_none() && state.down.is_empty() && !state.spare {
            state.child = Some(self.spawn()?);
        }
        Ok(())
    }

    /// Whether a process is there.
    pub(crate) fn runs(&self) -> bool {
        self.lock().child.is_some()
    }

    /// Its process, if it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        pid(&self.lock())
    }

    /// It is not started until `fault` lets go. A process that runs goes on.
    pub(crate) fn hold_down(&self, fault: FaultId) {
        self.lock().down.insert(fault);
    }

    /// `fault` does not hold it down any more; it is started unless another one does.
    pub(crate) fn let_up(&self, fault: FaultId) -> anyhow::Result<()> {
        self.lock().down.remove(&fault);
        self.start()
    }

    /// Kills it at once, without warning. It must be reaped before it is let up.
    pub(crate) fn strike(&self) -> anyhow::Result<Option<Child>> {
        let mut state = self.lock();
        signal(&state, Signal::KILL)?;
        state.paused.clear();
        Ok(state.child.take())
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) -> anyhow::Result<()> {
        signal(&self.lock(), Signal::TERM)
    }

    /// Asks it to stop and reaps it, by force if it does not: then it returns false.
    pub(crate) async fn stop(&self) -> anyhow::Result<bool> {
        let (child, paused) = {
            let mut state = self.lock();
            signal(&state, Signal::TERM)?;
            (state.child.take(), !state.paused.is_empty())
        };
        let Some(mut child) = child else { return Ok(true) };
        // One that is paused cannot hear.
        if !paused && timeout(STOP_WITHIN, child.wait()).await.is_ok() {
            return Ok(true);
        }
        child.kill().await.context("kill a coordinator")?;
        self.lock().paused.clear();
        Ok(paused)
    }

    /// Stops it in its tracks.
    pub(crate) fn pause(&self, fault: FaultId) -> anyhow::Result<()> {
        let mut state = self.lock();
        if state.child.is_some() {
            signal(&state, Signal::STOP)?;
            state.paused.insert(fault);
        }
        Ok(())
    }

    /// `fault` does not pause it any more.
    pub(crate) fn resume(&self, fault: FaultId) -> anyhow::Result<()> {
        let mut state = self.lock();
        if state.paused.remove(&fault) && state.paused.is_empty() {
            signal(&state, Signal::CONT)?;
        }
        Ok(())
    }

    /// Because of `fault` it may end by itself.
    pub(crate) fn may_end(&self, fault: FaultId) {
        self.lock().may_end.insert(fault);
    }

    /// Waits until it has ended by itself, or for so long.
    pub(crate) async fn ended_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while self.runs() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        !self.runs()
    }

    /// It has no leave of `fault` to end any more; it is started if it has ended.
    pub(crate) fn must_go_on(&self, fault: FaultId) -> anyhow::Result<()> {
        self.lock().may_end.remove(&fault);
        self.start()
    }

    /// How it ended, if it did without having been asked to; told once.
    pub(crate) fn unexpected_end(&self) -> Option<End> {
        let mut state = self.lock();
        let status = state.child.as_mut()?.try_wait().ok()??;
        state.child = None;
        state.paused.clear();
        Some(judge(status, !state.may_end.is_empty(), &self.last_words()))
    }

    /// What it said last.
    pub(crate) fn last_words(&self) -> String {
        tail(&self.log_path()).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// A panic in its log, if there is one.
    pub(super) fn panic(&self) -> Option<String> {
        let log = fs::read_to_string(self.log_path()).ok()?;
        find_panic(&log)
    }

    fn configure(&self, text: &str) -> anyhow::Result<()> {
        fs::write(self.dir.join("config.toml"), text)
            .with_context(|| format!("write the configuration of coordinator {}", self.host))
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .with_context(|| format!("open {}", self.log_path().display()))?;
        let mut command = namespace::command_on(self.host);
        // A variable meant for another coordinator must not change this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("QUORATE_") {
                command.env_remove(name);
            }
        }
        if let Some(wall) = &self.wall {
            wall.show(&mut command);
        }
        command
            .arg(&self.binary)
            .arg("serve")
            .arg("--config")
            .arg(self.dir.join("config.toml"))
            .arg("--data-dir")
            .arg(self.volume.data())
            .stdout(Stdio::from(log.try_clone().context("share the log")?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .spawn()
            .with_context(|| format!("start coordinator {}", self.host))
    }

    /// Where strace writes.
    pub(crate) fn strace_log(&self) -> PathBuf {
        self.dir.join("strace")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pid(state: &State) -> Option<Pid> {
    tool::pid(state.child.as_ref()?)
}

fn signal(state: &State, signal: Signal) -> anyhow::Result<()> {
    let Some(pid) = pid(state) else { return Ok(()) };
    // It may have ended by itself and not be reaped yet: then there is nothing to signal.
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("signal a coordinator"),
    }
}

fn find_panic(log: &str) -> Option<String> {
    log.lines().find(|line| line.contains("panicked at")).map(str::to_owned)
}

/// An end is expected only if a fault allows it, and then only with a message and a code that says
/// that something is wrong.
fn judge(status: ExitStatus, allowed: bool, last_words: &str) -> End {
    let farewell = last_words
        .lines()
        .rev()
        .take(5)
        .find(|line| FAREWELLS.iter().any(|said| line.contains(said)));
    match farewell {
        Some(said) if allowed && !status.success() && status.signal().is_none() => {
            End::Expected(format!("ended, {status}: {}", said.trim()))
        }
        _ => End::Crash(format!("ended by itself, {status}; its last words:\n{last_words}")),
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "x\nerror: this coordinator has stopped: No space left on device\nhint";

    #[test]
    fn any_panic_is_found() {
        let sled = "thread 'x' panicked at /r/sled-0.34.7/src/pagecache/logger.rs:467:41:";
        assert_eq!(find_panic(&format!("serving\n{sled}\nx")).as_deref(), Some(sled));
        let told = "WARN closing a database fault=sled panicked in close: EIO";
        assert_eq!(find_panic(told), None, "it was kept and told as an error");
    }

    #[test]
    fn an_end_needs_leave_a_message_and_a_code() {
        let failed = ExitStatus::from_raw(1 << 8);
        assert!(matches!(judge(failed, true, SAID), End::Expected(said) if said.contains("space")));
        assert!(matches!(judge(failed, false, SAID), End::Crash(_)), "nobody allowed it");
        assert!(matches!(judge(failed, true, "boom"), End::Crash(_)), "no message");
        assert!(matches!(judge(ExitStatus::from_raw(0), true, SAID), End::Crash(_)), "code 0");
        assert!(matches!(judge(ExitStatus::from_raw(6), true, SAID), End::Crash(_)), "aborted");
    }
}
