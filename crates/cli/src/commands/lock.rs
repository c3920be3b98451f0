//! `lock`: runs a command while a lock is held.
//!
//! ```text
//!   session -> lock -> command in a process group of its own -> its end -> release, close
//!                        | keep-alives unanswered: SIGTERM, SIGKILL when the lock's time is over
//!                        | session ended, lock broken: SIGKILL
//!                        | SIGINT, SIGTERM: passed on; the second: SIGKILL
//! ```
//!
//! Invariant: as long as this process runs, nothing of the command's process group runs after the
//! lock may have been given to another, unless the lock was broken by hand.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result};
use quorate_client::{Gone, Lock, Lost, NotTaken, Session, SessionOptions};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::Context;
use crate::{
    args::Lock as Args,
    failure::{Exit, Failure},
    signals::StopSignal,
};

/// What all locks' keys begin with.
const PREFIX: &str = "lock/";
/// The command is asked to end when this part of the time to live is left.
const GRACE_PER_TTL: u32 = 4;

/// Runs it.
pub(super) async fn run(context: &Context, args: Args) -> Result<ExitCode> {
    let mut stop = StopSignal::install().context("cannot handle signals")?;
    let client = context.client()?;
    let label = Some(format!("lock {}", args.name));
    let options = SessionOptions { label, ..SessionOptions::new(args.ttl) };
    let session = client.open_session(options).await.map_err(|error| context.explain(&error))?;
    let result = under_lock(context, &session, &args, &mut stop).await;
    // It ends by itself if this fails.
    if let Err(error) = session.close().await {
        tracing::debug!(%error, "the session could not be closed");
    }
    result
}

async fn under_lock(
    context: &Context,
    session: &Session,
    args: &Args,
    stop: &mut StopSignal,
) -> Result<ExitCode> {
    let name = format!("{PREFIX}{}", args.name);
    let taking = async {
        match args.wait {
            None => session.lock(&name).await,
            Some(Duration::ZERO) => {
                session.try_lock(&name).await.and_then(|lock| lock.ok_or(NotTaken::Timeout))
            }
            Some(limit) => session.lock_within(&name, limit).await,
        }
    };
    let lock = tokio::select! {
        lock = taking => lock.map_err(|error| not_taken(context, args, &error))?,
        signal = stop.requested() => {
            return Err(Failure::rejected(format!("{signal} while waiting for the lock")).into());
        }
    };
    let child = spawn(args, &lock)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let ended = Guarded { child, group, lock: &lock }.run(stop).await?;
    if let Err(gone) = ended {
        let why = match gone {
            Gone::Session(Lost::Unheard) => "the cluster was out of reach for too long",
            Gone::Session(_) => "its session has ended",
            Gone::Removed => "somebody broke it",
        };
        let message = format!("lock {} was lost, the command was stopped: {why}", args.name);
        return Err(Failure::new(Exit::LockLost, message).into());
    }
    if let Err(error) = lock.release().await {
        // The session is closed next, and the lock goes with it.
        tracing::debug!(%error, "the lock could not be released");
    }
    Ok(ended.map_or(ExitCode::FAILURE, exit_code))
}

fn not_taken(context: &Context, args: &Args, error: &NotTaken) -> anyhow::Error {
    match error {
        NotTaken::Timeout => {
            let message = format!("lock {} is held by another", args.name);
            let key = format!("{PREFIX}{}/", args.name);
            Failure::rejected(message)
                .hint(format!("`quorate kv list {key}` shows the queue"))
                .into()
        }
        NotTaken::Call(error) => context.explain(error),
        other => Failure::new(Exit::Unavailable, format!("lock {}: {other}", args.name)).into(),
    }
}

fn spawn(args: &Args, lock: &Lock) -> Result<Child> {
    let (program, arguments) = args.command.split_first().context("a command is missing")?;
    Command::new(program)
        .args(arguments)
        .env("QUORATE_LOCK_NAME", args.name.as_str())
        .env("QUORATE_LOCK_EPOCH", lock.epoch().to_string())
        .env("QUORATE_LOCK_KEY", String::from_utf8_lossy(&lock.key().bytes).as_ref())
        .env("QUORATE_LOCK_SESSION", lock.session().id().to_string())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let program = program.to_string_lossy();
            Failure::usage(format!("cannot run {program}: {error}")).into()
        })
}

/// The command, and what it needs to run.
struct Guarded<'a> {
    child: Child,
    /// Its process group, which has the command's id, and outlives it if it left anything.
    group: Option<Pid>,
    lock: &'a Lock,
}

impl Guarded<'_> {
    /// Waits for the command's end; the inner error says why the lock was lost before.
    async fn run(mut self, stop: &mut StopSignal) -> Result<Result<ExitStatus, Gone>> {
        let session = self.lock.session();
        let grace = session.ttl() / GRACE_PER_TTL;
        let (mut asked, mut warned) = (false, false);
        loop {
            tokio::select! {
                biased;
                gone = self.lock.lost() => {
                    self.signal(Signal::KILL);
                    self.child.wait().await.context("cannot wait for the command")?;
                    return Ok(Err(gone));
                }
                status = self.child.wait() => {
                    let status = status.context("cannot wait for the command")?;
                    if warned {
                        // What it started may not have heard.
                        self.signal(Signal::KILL);
                        return Ok(Err(Gone::Session(Lost::Unheard)));
                    }
                    return Ok(Ok(status));
                }
                () = session.expires_within(grace), if !warned => {
                    warned = true;
                    self.signal(Signal::TERM);
                }
                signal = stop.requested() => {
                    let signal = match (asked, signal) {
                        (true, _) => Signal::KILL,
                        (false, "SIGINT") => Signal::INT,
                        (false, _) => Signal::TERM,
                    };
                    asked = true;
                    self.signal(signal);
                }
            }
        }
    }

    /// Sends a signal to the command and everything in its process group.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // All of it may just have ended.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// The command's own exit code, as shells tell it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
