//! The guard itself: a small process that does nothing but this.
//!
//! One thread, no locks, nothing that waits for the owner: whatever becomes of the owner, the
//! deadline is kept.

use std::{io, os::fd::AsFd as _, time::Duration};

use anyhow::{Context as _, Result};
use quorate_client::session::{BootClock, Clock as _};
use rustix::{
    process::{getpid, set_child_subreaper},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    channel::Channel,
    deadline::Deadline,
    group::{Group, collect_strays},
    message::{Ended, How, News, Order},
};
use crate::args::Guard as Args;

/// Runs a command under a deadline.
///
/// # Errors
/// When it was not started by an owner, or the operating system refuses something.
pub(crate) async fn run(args: Args) -> Result<()> {
    // What is sent to everybody, such as by a service manager, is the owner's to pass on.
    let _ignored = [
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
        signal(SignalKind::quit()),
    ];
    let mut children = signal(SignalKind::child()).context("cannot handle signals")?;
    let owner = io::stdin().as_fd().try_clone_to_owned().context("cannot reach the owner")?;
    let owner = Channel::new(owner).context("standard input is no owner")?;
    let stdin = owner.receive_file().await.context("standard input is no owner")?;
    set_child_subreaper(Some(getpid())).context("cannot take what the command leaves")?;
    let mut timer = Timer::new().context("cannot make a timer")?;

    let until = Duration::from_nanos(args.until_ns);
    let mut deadline = Deadline::new(until, Duration::from_millis(args.grace_ms));
    if !deadline.may_start(BootClock.now()) {
        tell(&owner, &News::Late);
        return Ok(());
    }
    let group = match Group::start(&args.command, stdin) {
        Ok(group) => group,
        Err(error) => {
            tell(&owner, &News::Failed(error.to_string()));
            return Ok(());
        }
    };
    tell(&owner, &News::Started(group.id()));
    let how = guard(&group, &mut deadline, &owner, &mut children, &mut timer).await;
    group.end();
    tell(&owner, &News::Ended(Ended { how, ran_out: deadline.ran_out() }));
    Ok(())
}

/// Until the command has ended.
async fn guard(
    group: &Group,
    deadline: &mut Deadline,
    owner: &Channel,
    children: &mut Signal,
    timer: &mut Timer,
) -> How {
    let mut owned = true;
    loop {
        if let Some(how) = group.ended().or_else(|| collect_strays(group)) {
            return how;
        }
        if let Some(signal) = deadline.due(BootClock.now()) {
            group.signal(signal);
        }
        timer.set(deadline.next());
        tokio::select! {
            biased;
            () = timer.fired() => {}
            _ = children.recv() => {
                if let Some(signal) = group.stopped() {
                    tell(owner, &News::Stopped(signal));
                }
            }
            order = owner.receive(), if owned => {
                match order.as_deref().and_then(Order::parse) {
                    Some(Order::Until(until)) => deadline.extend(until),
                    Some(Order::Signal(signal)) => group.signal(signal),
                    None => {
                        owned = false;
                        deadline.abandon(BootClock.now());
                    }
                }
            }
        }
    }
}

/// An owner that is gone, or does not read, is not told.
fn tell(owner: &Channel, news: &News) {
    let _ = owner.send(&news.to_string());
}

/// Fires at a time of the boot clock, also when the machine slept meanwhile.
///
/// Read like a pipe, which is what the runtime has for files that are waited for.
struct Timer(pipe::Receiver);

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        pipe::Receiver::from_owned_fd_unchecked(timer).map(Self)
    }

    /// Sets it to a time, or stops it.
    fn set(&self, at: Option<Duration>) {
        // Zero would stop it.
        let at = at.map_or(Duration::ZERO, |at| at.max(Duration::from_nanos(1)));
        let it_value = Timespec::try_from(at).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval, it_value };
        let set = timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &value);
        set.expect("a timer of ours takes every time");
    }

    async fn fired(&mut self) {
        // However it ends, the deadline is looked at.
        let _ = self.0.read(&mut [0; 8]).await;
    }
}
