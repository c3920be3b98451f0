//! Coordinators as processes of their own: `quorate serve` three times.
//!
//! Invariant: a child does not outlive this process. It stops when its standard input ends, and
//! this process holds the other end; the operating system closes it however this process ends.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use quorate_core::MemberId;
use tokio::{
    process::{Child, ChildStdin, Command},
    task::JoinSet,
    time,
};

use super::layout::{Layout, Member};

/// How long a child may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The running children.
#[derive(Debug)]
pub(super) struct Processes {
    /// Who runs under which process id.
    pub(super) pids: Vec<(MemberId, u32)>,
    /// Ends of these make the children stop.
    stdins: Vec<ChildStdin>,
    /// One task per child, which owns it and waits for its end; aborted, it kills the child.
    waiting: JoinSet<(MemberId, io::Result<ExitStatus>)>,
}

impl Processes {
    /// Starts a child for each member.
    ///
    /// # Errors
    /// When a child cannot be started; those before it are stopped.
    pub(super) fn start(layout: &Layout, log_arguments: &[String]) -> Result<Self> {
        let mut processes = Self { pids: Vec::new(), stdins: Vec::new(), waiting: JoinSet::new() };
        for member in &layout.members {
            let mut child = spawn(member, log_arguments)
                .with_context(|| format!("cannot start coordinator {}", member.id()))?;
            let id = member.id();
            processes.pids.extend(child.id().map(|pid| (id, pid)));
            // Taken out, because waiting for a child closes what is still in it.
            processes.stdins.extend(child.stdin.take());
            processes.waiting.spawn(async move { (id, child.wait().await) });
        }
        Ok(processes)
    }

    /// Waits until a child ends. Never returns when all have ended.
    pub(super) async fn ended(&mut self) -> (MemberId, String) {
        match self.waiting.join_next().await {
            Some(Ok((id, status))) => {
                (id, status.map_or_else(|error| error.to_string(), |s| s.to_string()))
            }
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// How many children still run.
    pub(super) fn running(&self) -> usize {
        self.waiting.len()
    }

    /// Stops every child: gracefully, then by force.
    pub(super) async fn stop(mut self) {
        self.stdins.clear();
        let all = async { while self.waiting.join_next().await.is_some() {} };
        if time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!(left = self.waiting.len(), "coordinators do not stop, killing them");
            self.waiting.shutdown().await;
        }
    }
}

/// Without the environment's settings, which are those of one coordinator and not of three.
fn spawn(member: &Member, log_arguments: &[String]) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUORATE_") {
            command.env_remove(name);
        }
    }
    command
        .arg("serve")
        .arg("--config")
        .arg(&member.file)
        .arg("--data-dir")
        .arg(&member.config.node.data_dir)
        .arg("--stop-with-stdin")
        .args(log_arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}
