//! The one function that changes the state.

use std::sync::Arc;

use crate::{command::Command, event::Event, reply::Outcome, state::State};

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
/// nothing but the clock.
pub fn apply(_state: &mut State, _at: Stamp, _command: &Command) -> Applied {
    unimplemented!()
}
