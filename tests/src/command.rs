//! The `quorate` command against a cluster of a test.

use std::process::{Command, Stdio};

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
    Ok(Ran {
        code: done.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}
