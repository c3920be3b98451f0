//! `lock`: runs a command while a lock is held.
//!
//! ```text
//!   session -> lock -> guard -> command in a process group of its own -> its end -> release, close
//!                        | keep-alives unanswered: SIGTERM, SIGKILL when the lock's time is over
//!                        | session ended, lock broken: SIGKILL
//!                        | SIGINT, SIGTERM: passed on; the second: SIGKILL
//! ```
//!
//! Invariants: nothing of the command's process group runs after the lock may have been given to
//! another, unless the lock was broken by hand; the [guard](crate::guard) sees to that, whatever
//! becomes of this process. The lock is not released before all of the group has ended.

mod terminal;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use quorate_client::{
    Gone, Lock, Lost, NotTaken, Session, SessionOptions,
    session::{BootClock, Clock as _},
};
use rustix::process::Signal;
use tokio::time::{MissedTickBehavior, interval};

use self::terminal::Terminal;
use super::Context;
use crate::{
    args::Lock as Args,
    failure::{Exit, Failure},
    guard::{Ended, Guard, Guarded, News},
    signals::StopSignal,
};

/// What all locks' keys begin with.
const PREFIX: &str = "lock/";
/// The command is asked to end when this part of the time to live is left.
const GRACE_PER_TTL: u32 = 4;
/// How often, within the time to live, the guard is told until when the command may run.
const TOLD_PER_TTL: u32 = 20;

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
    let lock = tokio::select! {
        lock = take(session, args) => lock.map_err(|error| not_taken(context, args, &error))?,
        signal = stop.requested() => {
            return Err(Failure::rejected(format!("{signal} while waiting for the lock")).into());
        }
    };
    let guard = start(args, &lock).context("cannot start a guard for the command")?;
    let terminal = Terminal::open()?;
    let ended = Held { args, guard, lock: &lock, terminal }.run(stop).await?;
    if let Err(error) = lock.release().await {
        // The session is closed next, and the lock goes with it.
        tracing::debug!(%error, "the lock could not be released");
    }
    Ok(ended.how.exit_code())
}

async fn take(session: &Session, args: &Args) -> Result<Lock, NotTaken> {
    let name = format!("{PREFIX}{}", args.name);
    match args.wait {
        None => session.lock(&name).await,
        Some(Duration::ZERO) => {
            session.try_lock(&name).await.and_then(|lock| lock.ok_or(NotTaken::Timeout))
        }
        Some(limit) => session.lock_within(&name, limit).await,
    }
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

fn start(args: &Args, lock: &Lock) -> std::io::Result<Guard> {
    let session = lock.session();
    let environment = [
        ("QUORATE_LOCK_NAME", args.name.to_string()),
        ("QUORATE_LOCK_EPOCH", lock.epoch().to_string()),
        ("QUORATE_LOCK_KEY", String::from_utf8_lossy(&lock.key().bytes).into_owned()),
        ("QUORATE_LOCK_SESSION", session.id().to_string()),
    ];
    Guard::start(&Guarded {
        command: &args.command,
        environment: &environment,
        until: valid_until(session),
        grace: session.ttl() / GRACE_PER_TTL,
    })
}

/// On the boot clock, which is looked at first: whoever is held up in between gives less time.
fn valid_until(session: &Session) -> Duration {
    let now = BootClock.now();
    now + session.remaining()
}

/// A command that runs while a lock is held.
struct Held<'a> {
    args: &'a Args,
    guard: Guard,
    lock: &'a Lock,
    terminal: Terminal,
}

impl Held<'_> {
    /// Waits for the command's end. An error when it was stopped because the lock was lost.
    async fn run(mut self, stop: &mut StopSignal) -> Result<Ended> {
        let session = self.lock.session();
        let mut tick = interval((session.ttl() / TOLD_PER_TTL).max(Duration::from_millis(10)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut asked, mut gone) = (false, None);
        loop {
            let group = self.guard.group();
            tokio::select! {
                biased;
                news = self.guard.news() => {
                    match &news {
                        Some(News::Stopped(by)) => self.terminal.command_stopped(&self.guard, *by),
                        Some(News::Ended(end)) => self.terminal.command_ended(group, Some(end.how)),
                        None => self.terminal.command_ended(group, None),
                        Some(_) => {}
                    }
                    if let Some(ended) = self.heard(news, gone)? {
                        return Ok(ended);
                    }
                }
                () = self.terminal.continued() => self.terminal.go_on(&self.guard),
                why = self.lock.lost(), if gone.is_none() => {
                    gone = Some(why);
                    self.guard.signal(Signal::KILL);
                }
                signal = stop.requested() => {
                    let signal = match (asked, signal) {
                        (true, _) => Signal::KILL,
                        (false, "SIGINT") => Signal::INT,
                        (false, _) => Signal::TERM,
                    };
                    asked = true;
                    self.guard.signal(signal);
                }
                _ = tick.tick(), if gone.is_none() => self.guard.extend(valid_until(session)),
            }
        }
    }

    /// The command's end, if the guard tells it.
    fn heard(&self, news: Option<News>, gone: Option<Gone>) -> Result<Option<Ended>> {
        let name = &self.args.name;
        let failure = match (news, gone) {
            (Some(News::Started(_) | News::Stopped(_)), _) => return Ok(None),
            (Some(News::Failed(why)), _) => {
                let program = self.args.command.first().map(|program| program.to_string_lossy());
                Failure::usage(format!("cannot run {}: {why}", program.unwrap_or_default()))
            }
            (_, Some(gone)) => lost(name.as_str(), gone),
            (Some(News::Ended(ended)), None) if !ended.ran_out => return Ok(Some(ended)),
            // Not all that it started may have heard that it should end.
            (Some(News::Ended(_) | News::Late), None) => {
                lost(name.as_str(), Gone::Session(Lost::Unheard))
            }
            (None, None) => {
                let message = "somebody killed the guard of the command, which was killed, too";
                Failure::rejected(message)
            }
        };
        Err(failure.into())
    }
}

fn lost(name: &str, gone: Gone) -> Failure {
    let why = match gone {
        Gone::Session(Lost::Unheard) => "the cluster was out of reach for too long",
        Gone::Session(_) => "its session has ended",
        Gone::Removed => "somebody broke it",
    };
    let message = format!("lock {name} was lost, the command was stopped: {why}");
    Failure::new(Exit::LockLost, message)
}
