//! Runs the harness once more inside namespaces of its own: users, network, mounts, processes.
//!
//! Owns the check that this machine permits it, and the life line between the two: the outer
//! process holds the inner one's standard input open, and the inner one stops in good order when
//! that closes, whatever happened to the outer one. The inner one is the first process of its
//! process namespace, so with it the kernel ends everything that it started, and with the last
//! process the networks go.
//!
//! Invariant: nothing outside the namespaces is changed, also when run as root. Must not know what
//! the inner harness does.

use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    time::{Duration, sleep},
};
use tokio_util::sync::CancellationToken;

use super::tool;

/// Set in the environment of the inner harness.
const INSIDE: &str = "QUORATE_JEPSEN_INSIDE";

/// How long the inner harness may take to stop in good order.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// What must be installed, and the package that has it.
const TOOLS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
];

/// The ways to get namespaces, the preferred first. As root none of users is needed.
const WAYS_ROOT: [&[&str]; 3] = [
    &["-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc"],
    &["-n", "-m", "-p", "--fork", "--kill-child"],
    &["-U", "-r", "-n", "-m", "-p", "--fork", "--kill-child"],
];
const WAYS_USER: [&[&str]; 2] = [
    &["-U", "-r", "-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc"],
    &["-U", "-r", "-n", "-m", "-p", "--fork", "--kill-child"],
];

/// What the inner harness will do, tried out: a directory of its own, a bridge, a filter on it.
const TRIAL: &str = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link add br0 type bridge \
    && ip netns add one && ip link add v1 type veth peer name eth0 netns one \
    && nft add table bridge trial";

/// Why the machine cannot run the harness.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotRun {
    /// Tools are missing.
    #[error(
        "{missing} not found. On Debian and Ubuntu: apt-get install {packages}",
        missing = .0.iter().map(|(tool, _)| *tool).collect::<Vec<_>>().join(", "),
        packages = packages(.0)
    )]
    MissingTools(Vec<(&'static str, &'static str)>),
    /// The kernel or the container does not let us.
    #[error(
        "namespaces with a bridge and nftables are not permitted here: {0}\n\
         As a plain user this needs user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0); in a container it needs --privileged, or \
         CAP_SYS_ADMIN and CAP_NET_ADMIN without the default seccomp profile; in any case the \
         kernel needs bridge, veth and nf_tables with the bridge family."
    )]
    NotPermitted(String),
}

fn packages(missing: &[(&str, &str)]) -> String {
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    packages.join(" ")
}

/// Whether this process is the inner harness.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Finds a way into namespaces of our own.
pub(crate) async fn find_way() -> Result<&'static [&'static str], CannotRun> {
    let missing: Vec<_> = TOOLS.into_iter().filter(|(name, _)| !tool::is_installed(name)).collect();
    if !missing.is_empty() {
        return Err(CannotRun::MissingTools(missing));
    }
    let ways: &[&'static [&'static str]] =
        if rustix::process::geteuid().is_root() { &WAYS_ROOT } else { &WAYS_USER };
    let mut complaint = String::new();
    for way in ways {
        let mut command = tool::command("unshare");
        match command.args(*way).args(["sh", "-c", TRIAL]).output().await {
            Ok(output) if output.status.success() => return Ok(way),
            Ok(output) => {
                complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            }
            Err(error) => complaint = error.to_string(),
        }
    }
    Err(CannotRun::NotPermitted(complaint))
}

/// Runs this program with the same arguments inside; returns how it ended.
pub(crate) async fn run_inside(way: &[&str]) -> anyhow::Result<ExitStatus> {
    let own = std::env::current_exe().context("find the program itself")?;
    let mut signals = Signals::new()?;
    let mut child = Command::new("unshare")
        .args(way)
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env("PATH", tool::search_path())
        .env(INSIDE, "1")
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("unshare")?;
    // Taken out, because waiting for a child closes its standard input.
    let life_line = child.stdin.take();
    tokio::select! {
        ended = child.wait() => return ended.context("wait for the harness inside"),
        () = signals.next() => {}
    }
    // Closes the life line: the inner harness heals, checks what it has and ends.
    drop(life_line);
    stop(&mut child, &mut signals).await
}

/// The token that is cancelled when the life line closes. Inner harness only.
pub(crate) fn life_line() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    // A thread of its own, because a read of standard input cannot be cancelled; it ends with the
    // process.
    std::thread::spawn(move || {
        let closed = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(closed);
        cancel.cancel();
    });
    stop
}

async fn stop(child: &mut Child, signals: &mut Signals) -> anyhow::Result<ExitStatus> {
    tokio::select! {
        ended = child.wait() => return ended.context("wait for the harness inside"),
        () = signals.next() => {}
        () = sleep(STOP_WITHIN) => {}
    }
    child.kill().await.context("kill the harness inside")?;
    child.wait().await.context("wait for the harness inside")
}

/// The signals that ask this program to end.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Returns at the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let told = CannotRun::MissingTools(vec![("ip", "iproute2"), ("nft", "nftables")]);
        assert_eq!(
            told.to_string(),
            "ip, nft not found. On Debian and Ubuntu: apt-get install iproute2 nftables"
        );
    }
}
