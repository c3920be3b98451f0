//! The owner's side of a guard.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::AsFd as _,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};

use super::{
    channel::Channel,
    message::{News, Order},
};

/// This binary, also when another one is at its path by now.
const THIS: &str = "/proc/self/exe";

/// What is to be run, and for how long.
#[derive(Debug)]
pub(crate) struct Guarded<'a> {
    /// The program and its arguments.
    pub(crate) command: &'a [OsString],
    /// What it finds in its environment, besides that of this process.
    pub(crate) environment: &'a [(&'a str, String)],
    /// Until when it may run, by the boot clock, if that is not extended.
    pub(crate) until: Duration,
    /// How long before that it is asked to end.
    pub(crate) grace: Duration,
}

/// A command that runs under a guard. When this is dropped, or this process ends, the command is
/// asked to end and killed within the grace.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Child,
    channel: Channel,
    /// The command's process group, as long as the guard keeps its id from others.
    group: Option<Pid>,
    /// What it said and nobody was told yet; the inner None: that it is gone.
    heard: Option<Option<News>>,
}

impl Guard {
    /// Starts a guard, which starts the command with the standard streams of this process.
    ///
    /// # Errors
    /// When the guard cannot be started. That the command cannot is told by [`Guard::news`].
    pub(crate) fn start(guarded: &Guarded<'_>) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        channel.send_file(io::stdin().as_fd())?;
        let until_ns = u64::try_from(guarded.until.as_nanos()).unwrap_or(u64::MAX);
        let process = Command::new(THIS)
            .arg0("quorate")
            .arg(crate::args::GUARD)
            .args(["--until-ns", &until_ns.to_string()])
            .args(["--grace-ms", &guarded.grace.as_millis().to_string()])
            .arg("--")
            .args(guarded.command)
            .envs(guarded.environment.iter().map(|(name, value)| (name, OsStr::new(value))))
            .stdin(Stdio::from(theirs))
            .process_group(0)
            .spawn()?;
        Ok(Self { process, channel, group: None, heard: None })
    }

    /// Lets the command run until then, by the boot clock.
    pub(crate) fn extend(&self, until: Duration) {
        self.tell(Order::Until(until));
    }

    /// Sends a signal to the command's process group.
    pub(crate) fn signal(&self, signal: Signal) {
        self.tell(Order::Signal(signal));
        // Not even a guard that was stopped is in the way of this one.
        if let (Signal::KILL, Some(group)) = (signal, self.group) {
            let _ = kill_process_group(group, signal);
        }
    }

    fn tell(&self, order: Order) {
        // A guard that is gone is noticed by its news; one that does not read has been stopped, and
        // kills at its deadline when it goes on.
        let _ = self.channel.send(&order.to_string());
    }

    /// What the guard says next. None: somebody has killed it; the command was killed, too. May be
    /// given up and called again: what was heard is kept until it has been told.
    pub(crate) async fn news(&mut self) -> Option<News> {
        if self.heard.is_none() {
            let news = self.channel.receive().await.as_deref().and_then(News::parse);
            match &news {
                Some(News::Started(group)) => self.group = Some(*group),
                Some(News::Ended(_)) => self.group = None,
                _ => {}
            }
            self.heard = Some(news);
        }
        match &self.heard {
            None | Some(Some(News::Started(_) | News::Stopped(_))) => {}
            Some(None) => self.orphaned().await,
            Some(Some(News::Late | News::Failed(_) | News::Ended(_))) => {
                // It has nothing left to do.
                let _ = self.process.wait().await;
            }
        }
        self.heard.take().flatten()
    }

    /// The command's process group, from when the guard says that it was started until it says that
    /// it has ended.
    pub(crate) fn group(&self) -> Option<Pid> {
        self.group
    }

    /// Kills a command without a guard, and waits until it is gone.
    async fn orphaned(&mut self) {
        let Some(group) = self.group else { return };
        while kill_process_group(group, Signal::KILL).is_ok()
            && test_kill_process_group(group).is_ok()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.group = None;
        let _ = self.process.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::message::{Ended, How},
        *,
    };

    #[tokio::test]
    async fn what_was_heard_is_told_though_the_listener_was_called_away() {
        let (channel, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs).unwrap();
        let process = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let mut guard = Guard { process, channel, group: None, heard: None };
        let ended = || News::Ended(Ended { how: How::Exit(0), ran_out: false });
        theirs.send(&ended().to_string()).unwrap();
        drop(theirs);
        // Heard, while the guard's process is still there.
        while guard.heard.is_none() {
            tokio::select! {
                biased;
                news = guard.news() => panic!("its process has not ended: {news:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        guard.process.start_kill().unwrap();
        let told = guard.news().await;
        assert!(matches!(told, Some(News::Ended(Ended { how: How::Exit(0), .. }))), "{told:?}");
    }
}
