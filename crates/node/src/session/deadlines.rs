//! When the sessions of one term end if nothing more is heard of them.
//!
//! Pure: time is an argument. Owns which sessions are counted, when each was heard, and for which
//! an expiry is under way.
//!
//! Invariants: a session's time never moves to an earlier end; while its expiry is under way no
//! keep-alive of it is taken; a term is led once, so what was forgotten is never taken up again.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use quorate_core::{SessionId, Term};
use tokio::time::Instant;

/// The bound on the error of clock rates, in thousandths: holders count less than the time to
/// live by it, the leader more.
const RATE_ERROR_PERMILLE: u64 = 10;

/// How long a session is waited for.
pub(super) fn allowed(ttl_ms: u64) -> Duration {
    Duration::from_micros(ttl_ms.saturating_mul(1_000 + RATE_ERROR_PERMILLE))
}

/// What came of an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// The session is no more.
    Ended,
    /// It will never be applied.
    Void,
}

/// The deadlines of all sessions, in the term in which this coordinator leads.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// None: it does not lead, and nothing is known.
    term: Option<Term>,
    /// The last term that was led.
    led: Term,
    timers: BTreeMap<SessionId, Timer>,
    /// Each timer without an expiry under way is here once, at its deadline or before.
    queue: BinaryHeap<Reverse<(Instant, SessionId)>>,
    /// Sessions up to this one have, or had, a timer.
    armed: Option<SessionId>,
    proposed: usize,
}

#[derive(Debug)]
struct Timer {
    allowed: Duration,
    heard: Instant,
    proposed: bool,
}

impl Deadlines {
    /// The term that is led.
    pub(super) fn term(&self) -> Option<Term> {
        self.term
    }

    /// Sessions up to this one have, or had, a timer.
    pub(super) fn armed(&self) -> Option<SessionId> {
        self.armed
    }

    /// Whether so many timers are far more than there are sessions.
    pub(super) fn is_crowded(&self, sessions: usize) -> bool {
        self.timers.len() > sessions.saturating_mul(2).saturating_add(1_024)
    }

    /// Notes which term this coordinator leads now. With another term everything is forgotten.
    /// True when that changed.
    pub(super) fn lead(&mut self, term: Option<Term>) -> bool {
        // Once forgotten, a term's expiries cannot be told from none.
        let term = term.filter(|term| self.term == Some(*term) || *term > self.led);
        if term == self.term {
            return false;
        }
        *self = Self { term, led: term.unwrap_or(self.led), ..Self::default() };
        true
    }

    /// Starts the times of sessions after [`Deadlines::armed`], in order, each with its time to
    /// live in milliseconds.
    pub(super) fn arm(&mut self, sessions: impl Iterator<Item = (SessionId, u64)>, now: Instant) {
        for (id, ttl_ms) in sessions {
            let allowed = allowed(ttl_ms);
            self.armed = self.armed.max(Some(id));
            self.timers.insert(id, Timer { allowed, heard: now, proposed: false });
            self.queue.push(Reverse((now + allowed, id)));
        }
    }

    /// Takes a keep-alive. False when an expiry is under way: it must wait. What has no timer yet
    /// gets one later than this.
    pub(super) fn heard(&mut self, id: SessionId, at: Instant) -> bool {
        let Some(timer) = self.timers.get_mut(&id) else { return true };
        if !timer.proposed {
            timer.heard = timer.heard.max(at);
        }
        !timer.proposed
    }

    /// Sessions whose time is over, of which an expiry is under way from now on; at most so many
    /// at a time as `in_flight_max`. What `exists` does not know has ended already.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        in_flight_max: usize,
        exists: impl Fn(SessionId) -> bool,
    ) -> Vec<SessionId> {
        let mut due = Vec::new();
        while self.proposed < in_flight_max
            && let Some(Reverse((at, id))) = self.queue.peek().copied()
            && at <= now
        {
            self.queue.pop();
            let Some(timer) = self.timers.get_mut(&id) else { continue };
            let deadline = timer.heard + timer.allowed;
            if deadline > now {
                self.queue.push(Reverse((deadline, id)));
            } else if exists(id) {
                timer.proposed = true;
                self.proposed += 1;
                due.push(id);
            } else {
                self.timers.remove(&id);
            }
        }
        due
    }

    /// Notes what came of an expiry that was under way in a term.
    pub(super) fn settle(&mut self, id: SessionId, term: Term, settled: Settled) {
        if self.term != Some(term) {
            return;
        }
        let Some(timer) = self.timers.get_mut(&id).filter(|timer| timer.proposed) else { return };
        self.proposed -= 1;
        match settled {
            Settled::Ended => _ = self.timers.remove(&id),
            Settled::Void => {
                timer.proposed = false;
                self.queue.push(Reverse((timer.heard + timer.allowed, id)));
            }
        }
    }

    /// Drops the timers of sessions that are no more.
    pub(super) fn prune(&mut self, exists: impl Fn(SessionId) -> bool) {
        self.timers.retain(|id, timer| timer.proposed || exists(*id));
        let timers = &self.timers;
        self.queue.retain(|Reverse((_, id))| timers.contains_key(id));
    }
}
