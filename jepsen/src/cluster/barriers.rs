//! Makes the barriers (fsync, fdatasync) of a running process slow, or fail.
//!
//! Owns the strace that is attached to it; the process goes on as before when that is gone. Must
//! not know whose process it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    time::{Instant, sleep, timeout},
};

use crate::net::tool;

/// The calls that are barriers.
const CALLS: &str = "fsync,fdatasync";

/// How long strace may take to be attached, or to let go.
const WITHIN: Duration = Duration::from_secs(10);

/// What happens to barriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Each takes so much longer.
    Slow(Duration),
    /// Each fails: the disk reports an error (EIO).
    Fail,
}

/// Barriers in trouble, until released.
#[derive(Debug)]
pub(crate) struct Troubled {
    strace: Child,
    log: PathBuf,
}

impl Troubled {
    /// Attaches to a process and all its threads; what is done is written to `log`.
    pub(crate) async fn attach(pid: Pid, trouble: Trouble, log: &Path) -> anyhow::Result<Self> {
        let inject = render(trouble);
        let mut command = tool::command("strace");
        command.args(["-f", "-o", &log.display().to_string(), "-e", &format!("trace={CALLS}")]);
        command.args(["-e", &inject, "-p", &pid.as_raw_nonzero().to_string()]);
        let strace =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start strace")?;
        let mut troubled = Self { strace, log: log.to_owned() };
        troubled.wait_until_attached(pid).await?;
        Ok(troubled)
    }

    /// Lets the process go; tells whether it must have noticed: one of its own barriers failed.
    pub(crate) async fn release(mut self) -> anyhow::Result<bool> {
        // It is gone already when the process is.
        if let Some(pid) = tool::pid(&self.strace)
            && kill_process(pid, Signal::TERM).is_ok()
            && timeout(WITHIN, self.strace.wait()).await.is_err()
        {
            self.strace.kill().await.context("end strace")?;
        }
        self.strace.wait().await.context("reap strace")?;
        Ok(was_told(&fs::read_to_string(&self.log).unwrap_or_default()))
    }

    async fn wait_until_attached(&mut self, pid: Pid) -> anyhow::Result<()> {
        let until = Instant::now() + WITHIN;
        let status = format!("/proc/{}/status", pid.as_raw_nonzero());
        loop {
            let Ok(text) = fs::read_to_string(&status) else { return Ok(()) };
            // Another fault may have ended it meanwhile: then nothing is left to trouble.
            if is_traced(&text) || is_dead(&text) {
                return Ok(());
            }
            let ended = self.strace.try_wait().context("look after strace")?;
            if Instant::now() > until {
                bail!("strace was not attached within {WITHIN:?}: {ended:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn render(trouble: Trouble) -> String {
    match trouble {
        Trouble::Slow(by) => format!("inject={CALLS}:delay_enter={}", by.as_micros()),
        Trouble::Fail => format!("inject={CALLS}:error=EIO"),
    }
}

/// Whether a coordinator's own barrier failed. Those are `fdatasync`; sled's threads call `fsync` now
/// and then and go on whatever it says. That is no way around a disk that fails, which tells every
/// descriptor of a file: the coordinator hears of it at its next barrier.
fn was_told(log: &str) -> bool {
    log.lines().any(|line| line.contains("fdatasync") && line.ends_with("(INJECTED)"))
}

fn is_traced(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
}

/// Ended, but not reaped yet.
fn is_dead(status: &str) -> bool {
    status.lines().any(|line| {
        line.strip_prefix("State:").is_some_and(|state| state.trim().starts_with(['Z', 'X']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_spelled_for_strace() {
        let slow = Trouble::Slow(Duration::from_millis(300));
        assert_eq!(render(slow), "inject=fsync,fdatasync:delay_enter=300000");
        assert_eq!(render(Trouble::Fail), "inject=fsync,fdatasync:error=EIO");
    }

    #[test]
    fn what_a_coordinator_must_have_noticed_is_told_apart() {
        let own = "17    fdatasync(35)  = -1 EIO (Input/output error) (INJECTED)";
        let resumed = "17    <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)";
        let of_sled = "19    fsync(15)  = -1 EIO (Input/output error) (INJECTED)";
        let slow = "17    fdatasync(35)  = 0 (DELAYED)";
        assert!(was_told(&format!("{of_sled}\n{own}\n")) && was_told(resumed));
        assert!(!was_told(&format!("{of_sled}\n{slow}\n17  fdatasync(35 <unfinished ...>\n")));
    }

    #[test]
    fn a_tracer_is_seen() {
        assert!(is_traced("Name:\tx\nTracerPid:\t17\n"));
        assert!(!is_traced("Name:\tx\nTracerPid:\t0\n"));
        assert!(is_dead("Name:\tx\nState:\tZ (zombie)\n"));
        assert!(!is_dead("Name:\tx\nState:\tS (sleeping)\n"));
    }

    #[tokio::test]
    async fn a_barrier_of_a_running_process_fails_while_attached() {
        if !tool::is_installed("strace") || !tool::is_installed("python3") {
            return println!("SKIPPED, strace or python3 is not there");
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let script = "import os, sys, time\nf = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)\n\
            while True:\n  time.sleep(0.02)\n  os.fdatasync(f)";
        let mut child = tool::command("python3");
        child.args(["-c", script, &file.display().to_string()]).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        while !file.exists() {
            sleep(Duration::from_millis(10)).await;
        }
        let pid = tool::pid(&child).unwrap();
        let log = directory.path().join("strace");
        let troubled = match Troubled::attach(pid, Trouble::Fail, &log).await {
            Ok(troubled) => troubled,
            Err(why) => return println!("SKIPPED, no process can be traced here: {why:#}"),
        };
        let ended = timeout(WITHIN, child.wait()).await.unwrap().unwrap();
        assert!(!ended.success(), "{ended}");
        assert!(troubled.release().await.unwrap());
    }
}
