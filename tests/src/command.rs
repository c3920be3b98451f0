//! The `quorate` command against a cluster of a test.

use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// The JSON objects of the output, one a line.
    ///
    /// # Errors
    /// When the command failed or a line is no JSON.
    pub fn json(&self) -> Result<Vec<Value>> {
        anyhow::ensure!(self.code == 0, "exit code {}: {}", self.code, self.stderr);
        let parse = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
        self.stdout.lines().map(parse).collect()
    }
}

/// A command that runs beside a test. Killed when it is dropped before its end.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// When its output cannot be read.
    pub fn ended(mut self) -> Result<Ran> {
        let child = self.0.take().context("it is waited for once")?;
        Ok(child.wait_with_output()?.into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Nothing can be done about a child that has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl From<Output> for Ran {
    fn from(done: Output) -> Self {
        Self {
            code: done.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }
}

/// Starts `quorate`, talking to all members of a cluster, with a minute to do it.
///
/// # Errors
/// When the binary cannot be started.
pub fn start(cluster: &Cluster, arguments: &[&str]) -> Result<Running> {
    let mut command = Command::new(cluster.binary());
    command.args(["--endpoints", &cluster.endpoints(), "--output", "json", "--timeout", "60s"]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Running(Some(command.spawn().with_context(|| format!("cannot run {command:?}"))?)))
}

/// Runs `quorate` with JSON output, talking to all members of a cluster.
///
/// # Errors
/// When the binary cannot be started.
pub fn quorate(cluster: &Cluster, arguments: &[&str]) -> Result<Ran> {
    let mut command = Command::new(cluster.binary());
    command.args(["--endpoints", &cluster.endpoints(), "--output", "json", "--timeout", "20s"]);
    finish(command.args(arguments))
}

/// Runs a command to its end, without standard input.
///
/// # Errors
/// When it cannot be started.
pub fn finish(command: &mut Command) -> Result<Ran> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("cannot run {command:?}"))?;
    Ok(done.into())
}
