//! Commands of the operating system that must not run longer than something is held.
//!
//! ```text
//!   owner (lease) -- until T, signals --> guard (deadline) -- TERM, KILL --> command
//!                <-- started, ended ----   own group                          own group
//!                    end of the owner  -> TERM at once, KILL within the grace
//! ```
//!
//! The owner holds the lease and says until when the command may run, by the boot clock; the guard
//! is this binary, started again, and keeps that time whatever becomes of the owner: killed,
//! stopped, starved, or asleep with the machine.
//!
//! Invariants: nothing of the command's process group runs after the last time that the owner
//! named, as long as the guard runs; and nothing of it is there any more when the guard says that
//! the command has ended. A process that leaves the group on purpose (`setsid`) is not guarded.
//!
//! Must not know what is held: a lock, a partition.

mod channel;
mod deadline;
mod group;
mod handle;
mod message;
mod process;

pub(crate) use self::{
    handle::{Guard, Guarded},
    message::{Ended, How, News},
    process::run,
};
