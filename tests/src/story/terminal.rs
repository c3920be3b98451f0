//! Terminals of a story: each runs a command at a time and shows lines.
//!
//! Every command has a process group of its own, which gets Ctrl-C, and ends with its terminal.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cluster::POLL;

/// How long a command that was left running may take to stop.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A terminal with a command.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    lines: Receiver<String>,
}

impl Terminal {
    /// Types a command.
    pub(crate) fn run(command: &str, environment: &[(&str, String)]) -> Result<Self> {
        let mut shell = Command::new("sh");
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| name.to_string_lossy().starts_with("QUORATE_")) {
            shell.env_remove(name);
        }
        shell.envs(environment.iter().map(|(name, value)| (name, value)));
        shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(super::root());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = shell.spawn().context("there is a shell")?;
        let output = BufReader::new(child.stdout.take().context("piped")?);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// The next line; None at the end.
    pub(crate) fn line(&self, until: Instant) -> Result<Option<String>> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("nothing more is shown"),
        }
    }

    /// Everything that is shown until the command ends.
    pub(crate) fn rest(&self, until: Instant) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = self.line(until)? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Waits for the command's end.
    pub(crate) fn ended(&mut self, until: Instant) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!("it does not end");
            }
            thread::sleep(POLL);
        }
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended.
        let _ = group.map(|group| kill_process_group(group, signal));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The cluster removes its folder when it is asked to stop.
        self.interrupt();
        if self.ended(Instant::now() + LEAVE_TIMEOUT).is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
