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

mod alert;
mod allocation;
mod apart;
mod connection;
mod draft;
mod exactly_once;
mod member;
mod network;
mod ownership;
mod pool;
mod requirement;
mod scale;
mod session;
#[cfg(test)]
mod tests;
mod transaction;
mod validate;
mod worker;

use std::sync::Arc;

use crate::{
    command::{Command, Origin, Request},
    event::{Change, Event},
    id::Term,
    rejection::Rejection,
    reply::{Outcome, Reply},
    setting::Settings,
    size,
    state::State,
};
use draft::Draft;
use exactly_once::Admitted;
pub(crate) use session::end_all as end_all_sessions;

/// When a command is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The leader's wall clock at the proposal, milliseconds since 1970. The state keeps the
    /// largest seen.
    pub time_ms: u64,
    /// The term of the log entry.
    pub term: Term,
}

impl Stamp {
    /// A time outside of any term.
    #[must_use]
    pub const fn at(time_ms: u64) -> Self {
        Self { time_ms, term: Term(0) }
    }
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What the caller gets back.
    pub outcome: Outcome,
    /// The changes that were made; None when no record changed.
    pub event: Option<Arc<Event>>,
}

/// Applies a command that nobody sends twice. See [`apply_request`].
pub fn apply(state: &mut State, at: Stamp, command: &Command) -> Applied {
    state.advance_clock(at.time_ms);
    let applied = run(state, at, command, &Origin::default(), u64::MAX);
    state.trim_history();
    applied
}

/// Applies a request. Total and pure: every request has an outcome, and a rejected one changed
/// nothing but the clock, and with it what history is too old to be kept.
///
/// A request with a call is applied at most once: the first outcome, rejections included, is kept
/// and returned to a repeat. One whose session has ended, or whose serial is outside of the
/// session's window, is rejected, and that is not kept.
pub fn apply_request(state: &mut State, at: Stamp, request: &Request) -> Applied {
    state.advance_clock(at.time_ms);
    let Request { command, call, origin } = request;
    let applied = match call {
        None => run(state, at, command, origin, u64::MAX),
        Some(call) => match exactly_once::admit(state, call) {
            Err(rejection) => nothing(state, Err(rejection)),
            Ok(Admitted::Repeat(outcome)) => Applied { outcome, event: None },
            Ok(Admitted::New { room }) => {
                let applied = run(state, at, command, origin, room);
                exactly_once::keep(state, call, &applied.outcome);
                applied
            }
        },
    };
    state.trim_history();
    applied
}

/// Applies a command whose outcome may count for `room` bytes at most.
fn run(state: &mut State, at: Stamp, command: &Command, origin: &Origin, room: u64) -> Applied {
    let evaluated = validate::origin(origin).and_then(|()| evaluate(state, at, command));
    let (reply, changes) = match evaluated {
        Ok(evaluated) => evaluated,
        Err(rejection) => return nothing(state, Err(rejection)),
    };
    let revision = if changes.is_empty() { state.revision } else { state.revision.next() };
    let outcome = Outcome { revision, result: Ok(reply) };
    let bytes = size::outcome(&outcome);
    if bytes > room {
        let max = state.settings().session_reply_bytes_max;
        let used = max.saturating_sub(room).saturating_add(bytes);
        let rejection = Rejection::limit("reply", "session_reply_bytes_max", used, max);
        return nothing(state, Err(rejection));
    }
    let event = (!changes.is_empty()).then(|| state.commit(changes, origin.clone()));
    Applied { outcome, event }
}

/// An outcome that changed nothing.
fn nothing(state: &State, result: Result<Reply, Rejection>) -> Applied {
    Applied { outcome: Outcome { revision: state.revision, result }, event: None }
}

/// What the command would return and change.
fn evaluate(
    state: &State,
    at: Stamp,
    command: &Command,
) -> Result<(Reply, Vec<Change>), Rejection> {
    let mut draft = Draft::new(state);
    let reply = match command {
        Command::Transaction(transaction) => {
            Reply::Transaction(transaction::run(&mut draft, transaction)?)
        }
        Command::ApplyNetwork(command) => network::apply(&mut draft, command)?,
        Command::DeleteNetwork { name } => network::delete(&mut draft, name)?,
        Command::OpenSession { ttl_ms, label } => session::open(&mut draft, *ttl_ms, label)?,
        Command::CloseSession { id } => session::close(&mut draft, *id)?,
        Command::ExpireSession { id, term } => session::expire(&mut draft, at, *id, *term)?,
        Command::RegisterWorker(command) => worker::register(&mut draft, command)?,
        Command::DrainWorker { name, drain } => worker::drain(&mut draft, name, *drain)?,
        Command::LeaveWorker { name, session } => worker::leave(&mut draft, name, *session)?,
        Command::ReportLoads { loads } => worker::report(&mut draft, loads),
        Command::AssignPartitions { grants } => ownership::assign(&mut draft, grants)?,
        Command::ReleasePartition { id, epoch } => ownership::release(&mut draft, id, *epoch)?,
        Command::MovePartitions { moves, basis } => ownership::move_away(&mut draft, moves, basis)?,
        Command::AddMember { id, peer, client } => member::add(&mut draft, *id, peer, client)?,
        Command::RetireMember { id } => member::retire(&mut draft, *id),
        Command::ReportConnections { session, reports } => {
            connection::report(&mut draft, *session, reports)?
        }
        Command::ManageConnections { steps } => connection::manage(&mut draft, steps),
        Command::RetryConnection { id } => connection::retry(&mut draft, id)?,
        Command::PutPool { name, pool } => pool::put(&mut draft, name, pool)?,
        Command::DeletePool { name } => pool::delete(&mut draft, name)?,
        Command::RequestAllocation(command) => allocation::request(&mut draft, command)?,
        Command::GrantAllocations { ids } => allocation::grant(&mut draft, ids),
        Command::ReleaseAllocation { id, epoch } => allocation::release(&mut draft, id, *epoch)?,
        Command::RevokeAllocations { revocations } => allocation::revoke(&mut draft, revocations),
        Command::EndAllocations { ends } => allocation::end(&mut draft, ends),
        Command::ScaleProcesses(command) => scale::scale(&mut draft, command)?,
        Command::SetAlerts { raise, clear } => alert::set(&mut draft, raise, clear)?,
        Command::RequireAllocations { partitions } => requirement::require(&mut draft, partitions),
    };
    connection::follow(&mut draft);
    let changes = draft.into_changes();
    if !gives_up(command) {
        within_limits(&changes, state.settings())?;
        session::within_limits(state, &changes)?;
    }
    Ok((reply, changes))
}

/// Whether a command only ends what a session holds: that was bounded when it was bound, and must
/// be possible whatever the limits are now.
fn gives_up(command: &Command) -> bool {
    matches!(
        command,
        Command::CloseSession { .. }
            | Command::ExpireSession { .. }
            | Command::LeaveWorker { .. }
            | Command::ReleasePartition { .. }
            | Command::ReleaseAllocation { .. }
    )
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
