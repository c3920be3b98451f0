//! The coordinators under test, as processes.
//!
//! Owns their lives: start, kill, pause, stop, and the difference between an end that was asked
//! for and one that was not. Invariant: a killed process is reaped before anything else happens to
//! its node. Must not know why a process is killed.

pub(crate) mod config;
mod metrics;
pub(crate) mod monitor;

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use quorate_core::MemberId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Child, time::timeout};

use crate::{history::CrashEvent, net::namespace};

/// How long a coordinator may take to stop in good order.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How much of a log is looked at for the reason of an end.
const TAIL_BYTES: u64 = 2_000;

/// All coordinators.
pub(crate) struct Cluster {
    binary: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    id: MemberId,
    dir: PathBuf,
    child: Option<Child>,
    paused: bool,
}

impl Cluster {
    /// Writes configuration files below `dir`; nothing runs yet.
    pub(crate) fn prepare(binary: &Path, dir: &Path, ids: &[MemberId]) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for id in ids {
            let dir = dir.join(format!("node{id}"));
            let data = dir.join("data");
            fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
            let text = config::render(*id, ids, &data);
            fs::write(dir.join("config.toml"), text)
                .with_context(|| format!("write the configuration of coordinator {id}"))?;
            nodes.push(Node { id: *id, dir, child: None, paused: false });
        }
        Ok(Self { binary: binary.to_owned(), nodes })
    }

    /// Starts every coordinator that does not run.
    pub(crate) fn start_missing(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if node.child.is_none() {
                node.start(&self.binary)?;
            }
        }
        Ok(())
    }

    /// Kills coordinators at once, without warning, and reaps them.
    pub(crate) async fn kill(&mut self, ids: &[MemberId]) -> anyhow::Result<()> {
        for node in self.chosen(ids) {
            node.signal(Signal::KILL)?;
        }
        for node in self.chosen(ids) {
            if let Some(mut child) = node.child.take() {
                child.wait().await.context("reap a coordinator")?;
                node.paused = false;
            }
        }
        Ok(())
    }

    /// Stops coordinators in their tracks.
    pub(crate) fn pause(&mut self, ids: &[MemberId]) -> anyhow::Result<()> {
        for node in self.chosen(ids) {
            node.signal(Signal::STOP)?;
            node.paused = true;
        }
        Ok(())
    }

    /// Lets every paused coordinator go on.
    pub(crate) fn resume_all(&mut self) -> anyhow::Result<()> {
        for node in self.nodes.iter_mut().filter(|node| node.paused) {
            node.signal(Signal::CONT)?;
            node.paused = false;
        }
        Ok(())
    }

    /// The coordinators that ended without having been asked to, each told once.
    pub(crate) fn unexpected_ends(&mut self) -> Vec<CrashEvent> {
        self.nodes.iter_mut().filter_map(Node::unexpected_end).collect()
    }

    /// Asks every coordinator to stop, and kills those that do not; the latter are returned.
    pub(crate) async fn stop_all(&mut self) -> anyhow::Result<Vec<MemberId>> {
        self.resume_all()?;
        for node in &self.nodes {
            node.signal(Signal::TERM)?;
        }
        let mut stubborn = Vec::new();
        for node in &mut self.nodes {
            let Some(mut child) = node.child.take() else { continue };
            if timeout(STOP_WITHIN, child.wait()).await.is_err() {
                child.kill().await.context("kill a coordinator")?;
                stubborn.push(node.id);
            }
        }
        Ok(stubborn)
    }

    /// Panics in the coordinators' logs.
    pub(crate) fn panics(&self) -> Vec<CrashEvent> {
        self.nodes
            .iter()
            .filter_map(|node| {
                let log = fs::read_to_string(node.log_path()).ok()?;
                let line = log.lines().find(|line| line.contains("panicked at"))?;
                Some(CrashEvent { node: node.id, detail: format!("its log says: {line}") })
            })
            .collect()
    }

    /// What each coordinator said last, for a cluster that did not come up.
    pub(crate) fn last_words(&self) -> String {
        let words: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("--- coordinator {}\n{}", node.id, node.last_words()))
            .collect();
        words.join("\n")
    }

    /// Removes the coordinators' data; their logs stay.
    pub(crate) fn remove_data(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            let data = node.dir.join("data");
            fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))?;
        }
        Ok(())
    }

    fn chosen(&mut self, ids: &[MemberId]) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut().filter(move |node| ids.contains(&node.id))
    }
}

impl Node {
    fn start(&mut self, binary: &Path) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .with_context(|| format!("open {}", self.log_path().display()))?;
        let mut command = namespace::command_on(self.id);
        // A variable meant for another coordinator must not change this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("QUORATE_") {
                command.env_remove(name);
            }
        }
        let child = command
            .arg(binary)
            .arg("serve")
            .arg("--config")
            .arg(self.dir.join("config.toml"))
            .arg("--data-dir")
            .arg(self.dir.join("data"))
            .stdout(Stdio::from(log.try_clone().context("share the log")?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .spawn()
            .with_context(|| format!("start coordinator {}", self.id))?;
        self.child = Some(child);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = self.child.as_ref().and_then(Child::id) else { return Ok(()) };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id")?;
        // It may have ended by itself and not be reaped yet: then there is nothing to signal.
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("signal coordinator {}", self.id)),
        }
    }

    fn unexpected_end(&mut self) -> Option<CrashEvent> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        let detail = format!("ended by itself, {status}; its last words:\n{}", self.last_words());
        Some(CrashEvent { node: self.id, detail })
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn last_words(&self) -> String {
        tail(&self.log_path()).unwrap_or_else(|error| format!("(no log: {error})"))
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
