//! Requests that are applied at most once: the window of a session and the replies in it.
//!
//! ```text
//! serials:  forgotten ... acknowledged | kept or to come, in any order | outside
//!                                      +-------- session_window_max ---+
//! ```
//!
//! Invariants: a reply is kept from the first outcome of its serial until its caller acknowledges
//! it or the session ends; what is at or below `acknowledged` is never applied. Everything here
//! changes internal records only: no revision, no event.

use std::sync::Arc;

use crate::{
    command::Call,
    id::{Serial, SessionId},
    key::{Key, Kind},
    mutation::{Mutation, planted},
    record::{KeptReply, Record, Window},
    rejection::{Reason, Rejection},
    reply::Outcome,
    size,
    state::State,
};

/// What is to be done with a request.
pub(super) enum Admitted {
    /// It was applied before; this came of it.
    Repeat(Outcome),
    /// Apply it; its outcome may count for so many bytes.
    New { room: u64 },
}

/// Looks for an earlier outcome of a request, and forgets what its caller acknowledges.
pub(super) fn admit(state: &mut State, call: &Call) -> Result<Admitted, Rejection> {
    let Call { session, serial, acknowledged, digest } = *call;
    if state.session(session).is_none() {
        // The field tells it from a guard's session, which may be another one.
        return Err(Rejection { field: "call.session".into(), ..expired(session) });
    }
    let mut window = window(state, session);
    if serial <= window.acknowledged || serial <= acknowledged {
        let upto = window.acknowledged.max(acknowledged);
        let message = format!("serial {serial} of session {session}: up to {upto} is acknowledged");
        return Err(Rejection {
            field: "call.serial".into(),
            ..Rejection::new(Reason::SerialTooOld, message)
        });
    }
    let base = window.acknowledged.max(acknowledged);
    let (ahead, max) = (serial.0 - base.0, state.settings().session_window_max);
    if ahead > max {
        return Err(Rejection::limit("call.serial", "session_window_max", ahead, max));
    }
    if acknowledged > window.acknowledged {
        forget(state, session, &mut window, acknowledged);
        state.write_internal(Key::window(session), Some(Record::Window(window)));
    }
    let kept = kept(state, session, serial).filter(|_| !planted(Mutation::LostReplies));
    match kept {
        Some(kept) if kept.digest == digest => Ok(Admitted::Repeat(kept.outcome.clone())),
        Some(_) => {
            let rule = format!("{serial} was used for another request of this session");
            Err(Rejection::invalid("call.serial", rule))
        }
        None => {
            let max = state.settings().session_reply_bytes_max;
            Ok(Admitted::New { room: max.saturating_sub(window.bytes) })
        }
    }
}

/// Keeps the outcome of a request, unless its session has ended with it. That a plan is stale is no
/// answer to what the client asked for: the coordinator that made it plans again.
pub(super) fn keep(state: &mut State, call: &Call, outcome: &Outcome) {
    let Call { session, serial, digest, .. } = *call;
    if matches!(&outcome.result, Err(rejection) if rejection.reason == Reason::StalePlan) {
        return;
    }
    if state.session(session).is_none() {
        return;
    }
    let mut window = window(state, session);
    window.bytes += size::outcome(outcome);
    let reply = KeptReply { digest, outcome: outcome.clone() };
    state.write_internal(Key::reply(session, serial), Some(Record::Reply(Arc::new(reply))));
    state.write_internal(Key::window(session), Some(Record::Window(window)));
}

/// A session that is not there.
pub(super) fn expired(session: SessionId) -> Rejection {
    Rejection::new(Reason::SessionExpired, format!("session {session} has ended"))
}

fn window(state: &State, session: SessionId) -> Window {
    match state.get(&Key::window(session)).map(|record| &record.value) {
        Some(Record::Window(window)) => *window,
        _ => Window::default(),
    }
}

fn kept(state: &State, session: SessionId, serial: Serial) -> Option<&KeptReply> {
    match &state.get(&Key::reply(session, serial))?.value {
        Record::Reply(kept) => Some(kept),
        _ => None,
    }
}

/// The keys of the replies of a session up to a serial, with what each counts for.
fn replies(state: &State, session: SessionId, upto: Serial) -> Vec<(Key, u64)> {
    let (first, last) = (Key::reply(session, Serial(0)), Key::reply(session, upto));
    let records = state.records_from(&first);
    let records = records.take_while(|(key, _)| key.kind == Kind::Reply && **key <= last);
    records.map(|(key, record)| (key.clone(), size::kept(&record.value))).collect()
}

fn forget(state: &mut State, session: SessionId, window: &mut Window, upto: Serial) {
    for (key, bytes) in replies(state, session, upto) {
        window.bytes = window.bytes.saturating_sub(bytes);
        state.write_internal(key, None);
    }
    window.acknowledged = upto;
}

impl State {
    /// What a request came to, if it was applied and its reply is still kept.
    #[must_use]
    pub fn kept_reply(&self, call: &Call) -> Option<&Outcome> {
        let kept = kept(self, call.session, call.serial)?;
        (kept.digest == call.digest).then_some(&kept.outcome)
    }

    /// Forgets everything that was kept for a session.
    pub(crate) fn forget_replies(&mut self, session: SessionId) {
        for (key, _) in replies(self, session, Serial(u64::MAX)) {
            self.write_internal(key, None);
        }
        self.write_internal(Key::window(session), None);
    }
}
