//! Runs the system's tools.
//!
//! Owns how they are found (the administrator's directories too, which are not on every user's
//! path) and how their failures are told. Must not know what they do.

use std::{ffi::OsString, path::PathBuf, process::Stdio};

use anyhow::{Context, bail};
use rustix::process::Pid;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// Directories of administrators' tools.
const ADMIN_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The search path, with the administrator's directories.
pub(crate) fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(ADMIN_DIRS.iter().map(PathBuf::from));
    std::env::join_paths(dirs).unwrap_or(path)
}

/// Whether a tool is there.
pub(crate) fn is_installed(name: &str) -> bool {
    std::env::split_paths(&search_path()).any(|dir| dir.join(name).is_file())
}

/// The id of a process that was not reaped yet.
pub(crate) fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// A command with the wider search path and no input.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a tool to its end; its complaint becomes the error.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = command(program);
    let output = command.args(arguments).output().await.with_context(|| program.to_owned())?;
    told(&format!("{program} {}", arguments.join(" ")), &output)
}

/// Runs a tool to its end with this input.
pub(crate) async fn run_with_input(
    program: &str,
    arguments: &[&str],
    input: &str,
) -> anyhow::Result<()> {
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| program.to_owned())?;
    let mut stdin = child.stdin.take().context("a piped input")?;
    stdin.write_all(input.as_bytes()).await.with_context(|| program.to_owned())?;
    drop(stdin);
    let output = child.wait_with_output().await.with_context(|| program.to_owned())?;
    told(&format!("{program} {}", arguments.join(" ")), &output)
}

fn told(what: &str, output: &std::process::Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    bail!("{what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}
