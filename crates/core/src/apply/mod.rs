//! The one function that changes the state.
//!
//! ```text
//! command -> checks -> draft (what would change) -> limits -> commit (revision, event, history)
//!               |                                      |
//!               +------------- rejection --------------+
//! ```
//!
//! Invariants: a command is checked in full before the first record changes, so that a rejection
//! needs no undo; all changes of a command are one event at one revision; a command that changes
//! no record takes no revision. Knows nothing of who sent the command.

mod draft;
mod network;
#[cfg(test)]
mod tests;
mod transaction;
mod validate;

use std::sync::Arc;

use crate::{
    command::Command,
    event::{Change, Event},
    rejection::Rejection,
    reply::{Outcome, Reply},
    setting::Settings,
    size,
    state::State,
};
use draft::Draft;

/// When a command is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The leader's wall clock at the proposal, milliseconds since 1970. The state keeps the
    /// largest seen.
    pub time_ms: u64,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What the caller gets back.
    pub outcome: Outcome,
    /// The changes that were made; None when no record changed.
    pub event: Option<Arc<Event>>,
}

/// Applies a command. Total and pure: every command has an outcome, and a rejected one changed
/// nothing but the clock, and with it what history is too old to be kept.
pub fn apply(state: &mut State, at: Stamp, command: &Command) -> Applied {
    state.advance_clock(at.time_ms);
    let (result, event) = match evaluate(state, command) {
        Ok((reply, changes)) if changes.is_empty() => (Ok(reply), None),
        Ok((reply, changes)) => (Ok(reply), Some(state.commit(changes))),
        Err(rejection) => (Err(rejection), None),
    };
    state.trim_history();
    Applied { outcome: Outcome { revision: state.revision, result }, event }
}

/// What the command would return and change.
fn evaluate(state: &State, command: &Command) -> Result<(Reply, Vec<Change>), Rejection> {
    let mut draft = Draft::new(state);
    let reply = match command {
        Command::Transaction(transaction) => {
            Reply::Transaction(transaction::run(&mut draft, transaction)?)
        }
        Command::ApplyNetwork(command) => network::apply(&mut draft, command)?,
        Command::DeleteNetwork { name } => network::delete(&mut draft, name)?,
    };
    let changes = draft.into_changes();
    within_limits(&changes, state.settings())?;
    Ok((reply, changes))
}

/// A revision is never split over messages, so what one command changes is bounded.
fn within_limits(changes: &[Change], settings: &Settings) -> Result<(), Rejection> {
    let (count, count_max) = (changes.len() as u64, settings.command_changes_max);
    if count > count_max {
        return Err(Rejection::limit("changes", "command_changes_max", count, count_max));
    }
    let (bytes, bytes_max) = (changes.iter().map(size::change).sum(), settings.command_bytes_max);
    if bytes > bytes_max {
        return Err(Rejection::limit("changes", "command_bytes_max", bytes, bytes_max));
    }
    Ok(())
}
