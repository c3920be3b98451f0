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

use crate::{
    command::Call,
    id::SessionId,
    mutation::{Mutation, planted},
    record::KeptReply,
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
    if !state.is_alive(session) {
        // The field tells it from a guard's session, which may be another one.
        return Err(Rejection { field: "call.session".into(), ..expired(session) });
    }
    let mut window = state.requests.window(session);
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
        let at = state.revision;
        window = state.requests.acknowledge(session, acknowledged, at, size::kept);
    }
    let kept = state.requests.reply(session, serial);
    match kept.filter(|_| !planted(Mutation::LostReplies)) {
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
    if !state.is_alive(session) {
        return;
    }
    let mut window = state.requests.window(session);
    let reply = KeptReply { digest, outcome: outcome.clone() };
    window.bytes += size::kept(&reply);
    state.requests.keep(session, serial, reply, window, state.revision);
}

/// A session that is not there.
pub(super) fn expired(session: SessionId) -> Rejection {
    Rejection::new(Reason::SessionExpired, format!("session {session} has ended"))
}

impl State {
    /// What a request came to, if it was applied and its reply is still kept.
    #[must_use]
    pub fn kept_reply(&self, call: &Call) -> Option<&Outcome> {
        let kept = self.requests.reply(call.session, call.serial)?;
        (kept.digest == call.digest).then_some(&kept.outcome)
    }
}
