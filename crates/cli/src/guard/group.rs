//! A command and everything in its process group.
//!
//! Invariant: the id of the group is not free for others before [`Group::end`] has ended all of it,
//! since its first process is not waited for until then.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Command, Stdio},
};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, wait, waitid, waitpgid,
    },
};

use super::message::How;

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    /// The command's process, and the id of the group.
    leader: Pid,
}

impl Group {
    /// Starts a command in a group of its own, with the environment of this process.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub(super) fn start(command: &[OsString], stdin: Option<OwnedFd>) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "a command is missing");
        let (program, arguments) = command.split_first().ok_or_else(missing)?;
        let stdin = stdin.map_or_else(Stdio::null, Stdio::from);
        let child = Command::new(program).args(arguments).stdin(stdin).process_group(0).spawn()?;
        // Dropping the child neither ends it nor waits for it: that is done here.
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self { leader: leader.expect("process ids are positive and fit") })
    }

    /// The id of the group.
    pub(super) fn id(&self) -> Pid {
        self.leader
    }

    /// Sends a signal to all of it.
    pub(super) fn signal(&self, signal: Signal) {
        // The first process is there, at least as a zombie, so it reaches somebody.
        let _ = kill_process_group(self.leader, signal);
        if matches!(signal, Signal::INT | Signal::TERM) {
            // Who is stopped does not hear it.
            let _ = kill_process_group(self.leader, Signal::CONT);
        }
    }

    /// What the command was stopped by, if it was since this was asked last.
    pub(super) fn stopped(&self) -> Option<Signal> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.leader), options).ok()??;
        status.stopping_signal().and_then(Signal::from_named_raw)
    }

    /// How the command has ended, if it has. What else is in its group may still run.
    pub(super) fn ended(&self) -> Option<How> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.leader), options).ok()??;
        let signal = status.terminating_signal().map(How::Signal);
        signal.or(status.exit_status().map(How::Exit))
    }

    /// Kills what is left of it and waits until nothing of it is there. What its processes had
    /// started comes to this process when they die, so nothing is missed.
    pub(super) fn end(self) {
        self.signal(Signal::KILL);
        loop {
            match waitpgid(self.leader, WaitOptions::empty()) {
                Ok(_) | Err(Errno::INTR) => {}
                // All of them are dead.
                Err(_) => return,
            }
        }
    }
}

/// Waits for processes that came to this one from elsewhere and have ended, so that they do not
/// fill the table. Call it while the command runs, after [`Group::ended`] has said so.
pub(super) fn collect_strays(group: &Group) -> Option<How> {
    loop {
        match wait(WaitOptions::NOHANG) {
            // It ended just now. Its number is not given to another so soon: they go round.
            Ok(Some((pid, status))) if pid == group.leader => {
                let signal = status.terminating_signal().map(How::Signal);
                return signal.or(status.exit_status().map(How::Exit));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}
