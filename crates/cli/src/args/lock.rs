//! Arguments of `lock`.

use std::{ffi::OsString, time::Duration};

use clap::Args;
use quorate_core::Name;

use super::values;

/// Runs a command under a lock.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Lock {
    /// The lock
    #[arg(value_name = "NAME", value_parser = values::name)]
    pub(crate) name: Name,
    /// How long it stays taken after this process or its machine died
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub(crate) ttl: Duration,
    /// Give up after so many seconds (0: at once); without it, wait for ever
    #[arg(long, value_name = "SECONDS", value_parser = values::wait)]
    pub(crate) wait: Option<Duration>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Waits for the lock, runs the command in a process group of its own, and releases the lock when the
command has ended. What it leaves behind in its process group is killed before that.

The exit code is the command's (128 + N after signal N); 1 when somebody else had the lock until
--wait was over, 6 when the lock was lost: the cluster was out of reach for too long, or somebody
deleted the lock's keys. A guard process then stops the whole process group: SIGTERM a quarter of
the TTL before the lock may be given to another, SIGKILL before it is. It does so, too, when
`quorate lock` itself is stopped or does not get to run. When that is killed (SIGKILL), the guard
sends SIGTERM at once, and SIGKILL a quarter of the TTL later. Only what leaves the process group
(setsid, a daemon) is not stopped.

Ctrl-C and SIGTERM are passed on to the command; a second one kills it. A command that reads the
terminal gets it, and then Ctrl-C and Ctrl-Z go to the command.

The command finds in its environment:
  QUORATE_LOCK_NAME     the lock
  QUORATE_LOCK_EPOCH    grows with every holder: give it to what receives effects, which is to
                        refuse a lower one than it has seen
  QUORATE_LOCK_KEY      exists as long as the lock is held: `if exists` of a transaction
  QUORATE_LOCK_SESSION  the session that holds it

Examples:
  quorate lock backup -- ./backup.sh
  quorate lock deploy --wait 30 --ttl 5s -- make deploy
  quorate lock once --wait 0 -- true || echo 'somebody else does it'";
