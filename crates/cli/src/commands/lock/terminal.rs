//! The terminal: only one process group at a time may read it, and Ctrl-C and Ctrl-Z go to that one.
//!
//! ```text
//!   command reads -> is stopped by the terminal -> gets it, goes on
//!   Ctrl-Z        -> is stopped                 -> this job gets it back, and stops, too
//!   fg            -> this job goes on           -> the command gets it, goes on
//! ```
//!
//! The command has a process group of its own, so it is given the terminal when it asks for it, as
//! a shell does with its jobs. Until then Ctrl-C comes here and is passed on.

use std::fs::File;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Masked};
use rustix::{
    process::{Pid, Signal, getpgrp, kill_current_process_group},
    termios::{tcgetpgrp, tcsetpgrp},
};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use crate::guard::{Guard, How};

/// See the module.
#[derive(Debug)]
pub(super) struct Terminal {
    /// None: this process has none.
    device: Option<File>,
    continued: Signals,
    /// Whether this job was stopped because the command was.
    stopped: bool,
}

impl Terminal {
    /// The one of this process.
    ///
    /// # Errors
    /// When signals cannot be handled.
    pub(super) fn open() -> Result<Self> {
        let device = File::options().read(true).write(true).open("/dev/tty").ok();
        let continued = SignalKind::from_raw(Signal::CONT.as_raw());
        let continued = signal(continued).context("cannot handle signals")?;
        Ok(Self { device, continued, stopped: false })
    }

    /// The command was stopped.
    pub(super) fn command_stopped(&mut self, guard: &Guard, by: Signal) {
        let Some(group) = guard.group() else { return };
        let wanted = matches!(by, Signal::TTIN | Signal::TTOU);
        let holder = self.holder();
        if wanted && (holder == Some(group) || self.give(group)) {
            guard.signal(Signal::CONT);
        } else if wanted && holder.is_some() || holder == Some(group) {
            self.take_from(group);
            self.stopped = true;
            // All of the job, such as the script that has started it.
            let _ = kill_current_process_group(Signal::TSTP);
        }
        // Else somebody else has stopped it and may let it go on.
    }

    /// Waits until this job goes on after it was stopped.
    pub(super) async fn continued(&mut self) {
        self.continued.recv().await;
    }

    /// This job goes on.
    pub(super) fn go_on(&mut self, guard: &Guard) {
        if let (true, Some(group)) = (std::mem::take(&mut self.stopped), guard.group()) {
            // In the background it does without.
            self.give(group);
            guard.signal(Signal::CONT);
        }
    }

    /// The command that had this process group has ended; None: nobody knows how.
    pub(super) fn command_ended(&self, group: Option<Pid>, how: Option<How>) {
        let had = group.is_some_and(|group| self.take_from(group));
        if had && how == Some(How::Signal(Signal::INT.as_raw())) {
            // The Ctrl-C was meant for all of the job.
            let _ = kill_current_process_group(Signal::INT);
        }
    }

    fn holder(&self) -> Option<Pid> {
        tcgetpgrp(self.device.as_ref()?).ok()
    }

    /// Only if this job has it.
    fn give(&self, group: Pid) -> bool {
        self.holder() == Some(getpgrp())
            && self.device.as_ref().is_some_and(|device| tcsetpgrp(device, group).is_ok())
    }

    /// Only if the command has it.
    fn take_from(&self, group: Pid) -> bool {
        let Some(device) = self.device.as_ref().filter(|_| self.holder() == Some(group)) else {
            return false;
        };
        // Who takes it from the background is stopped for that, unless it blocks the signal.
        let mask = SigSet::from(Masked::SIGTTOU).thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let taken = tcsetpgrp(device, getpgrp()).is_ok();
        if let Ok(before) = mask {
            let _ = before.thread_set_mask();
        }
        taken
    }
}
