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

use quorate_core::{
    SessionId, Term,
    mutation::{Mutation, planted},
};
use tokio::time::Instant;

use super::Kept;

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
            let allowed = allowed(ttl_ms) / if planted(Mutation::EarlyExpiry) { 2 } else { 1 };
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

    /// Takes keep-alives, and notes those that are not alive, or of which nothing is decided.
    pub(super) fn keep(
        &mut self,
        sessions: &[SessionId],
        at: Instant,
        exists: impl Fn(SessionId) -> bool,
        kept: &mut Kept,
    ) {
        for id in sessions {
            if !exists(*id) {
                kept.ended.push(*id);
            } else if !self.heard(*id, at) {
                kept.undecided.push(*id);
            }
        }
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

#[cfg(test)]
mod tests {
    use quorate_core::{RestoreEpoch, Revision};

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const TTL_MS: u64 = 1_000;
    /// What the leader waits: the time to live and one percent.
    const ALLOWED: Duration = Duration::from_millis(1_010);
    const TERM: Term = Term(7);

    fn session(number: u64) -> SessionId {
        SessionId { restore: RestoreEpoch(0), revision: Revision(number) }
    }

    /// So many sessions, all heard now.
    fn leading(sessions: u64) -> (Deadlines, Instant) {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        assert!(deadlines.lead(Some(TERM)));
        deadlines.arm((1..=sessions).map(|number| (session(number), TTL_MS)), now);
        (deadlines, now)
    }

    fn due(deadlines: &mut Deadlines, now: Instant) -> Vec<SessionId> {
        deadlines.take_due(now, 100, |_| true)
    }

    #[test]
    fn a_session_is_due_when_its_time_is_over_and_not_before() {
        let (mut deadlines, start) = leading(1);
        assert_eq!(due(&mut deadlines, start + ALLOWED - MS), []);
        assert_eq!(due(&mut deadlines, start + ALLOWED), [session(1)]);
        assert_eq!(due(&mut deadlines, start + 10 * ALLOWED), [], "an expiry is under way");
    }

    /// 14 and 15, the keep-alive first.
    #[test]
    fn what_was_heard_before_it_was_due_counts_from_then() {
        let (mut deadlines, start) = leading(1);
        let heard = start + ALLOWED;
        assert!(deadlines.heard(session(1), heard));
        assert!(deadlines.heard(session(1), start), "an older one takes nothing away");
        assert_eq!(due(&mut deadlines, heard + ALLOWED - MS), []);
        assert_eq!(due(&mut deadlines, heard + ALLOWED), [session(1)]);
    }

    /// 14 and 15, the expiry first: whatever comes of it, no keep-alive is taken before.
    #[test]
    fn what_comes_while_an_expiry_is_under_way_waits() {
        for settled in [Settled::Ended, Settled::Void] {
            let (mut deadlines, start) = leading(1);
            let proposed = start + ALLOWED;
            assert_eq!(due(&mut deadlines, proposed), [session(1)]);
            let heard = proposed + MS;
            assert!(!deadlines.heard(session(1), heard));
            deadlines.settle(session(1), TERM, settled);
            if settled == Settled::Ended {
                assert_eq!(due(&mut deadlines, heard + 10 * ALLOWED), []);
                continue;
            }
            assert!(deadlines.heard(session(1), heard), "the waiting one is taken now");
            assert_eq!(due(&mut deadlines, heard + ALLOWED - MS), []);
            assert_eq!(due(&mut deadlines, heard + ALLOWED), [session(1)]);
        }
    }

    #[test]
    fn others_are_kept_while_the_expiry_of_one_is_under_way() {
        let (mut deadlines, start) = leading(3);
        assert!(deadlines.heard(session(1), start + ALLOWED / 2));
        assert!(deadlines.heard(session(3), start + ALLOWED / 2));
        assert_eq!(due(&mut deadlines, start + ALLOWED), [session(2)]);
        let (mut kept, all) = (Kept::default(), [1, 2, 3, 4].map(session));
        let heard = start + ALLOWED;
        deadlines.keep(&all, heard, |id| id != session(4), &mut kept);
        assert_eq!(kept, Kept { ended: vec![session(4)], undecided: vec![session(2)] });
        assert_eq!(due(&mut deadlines, heard + ALLOWED - MS), []);
        assert_eq!(due(&mut deadlines, heard + ALLOWED), [session(1), session(3)]);
    }

    #[test]
    fn an_expiry_that_came_to_nothing_is_due_again() {
        let (mut deadlines, start) = leading(1);
        assert_eq!(due(&mut deadlines, start + ALLOWED), [session(1)]);
        deadlines.settle(session(1), TERM, Settled::Void);
        assert_eq!(due(&mut deadlines, start + ALLOWED), [session(1)]);
    }

    /// 16.
    #[test]
    fn another_term_knows_nothing_of_the_one_before() {
        let (mut deadlines, start) = leading(2);
        assert_eq!(deadlines.take_due(start + ALLOWED, 1, |_| true).len(), 1);
        assert!(deadlines.lead(Some(Term(9))));
        assert_eq!((deadlines.armed(), due(&mut deadlines, start + ALLOWED)), (None, vec![]));
        let begun = start + ALLOWED;
        deadlines.arm([(session(1), TTL_MS), (session(2), TTL_MS)].into_iter(), begun);
        // The old term's expiry is settled late: nobody asks any more.
        deadlines.settle(session(1), TERM, Settled::Ended);
        assert_eq!(due(&mut deadlines, begun + ALLOWED - MS), []);
        assert_eq!(due(&mut deadlines, begun + ALLOWED), [session(1), session(2)]);
    }

    #[test]
    fn a_term_that_was_left_is_not_led_again() {
        let (mut deadlines, _) = leading(1);
        assert!(!deadlines.lead(Some(TERM)), "nothing changed");
        assert!(deadlines.lead(None));
        assert!(!deadlines.lead(Some(TERM)));
        assert_eq!(deadlines.term(), None);
        assert!(deadlines.lead(Some(Term(8))));
        assert_eq!(deadlines.term(), Some(Term(8)));
    }

    /// 18.
    #[test]
    fn a_crowd_is_due_a_few_at_a_time() {
        let (mut deadlines, start) = leading(1_000);
        let now = start + ALLOWED;
        let mut all = Vec::new();
        while all.len() < 1_000 {
            let few = deadlines.take_due(now, 64, |_| true);
            assert!(!few.is_empty() && few.len() <= 64);
            assert_eq!(deadlines.take_due(now, 64, |_| true), [], "as many are under way");
            few.iter().for_each(|id| deadlines.settle(*id, TERM, Settled::Ended));
            all.extend(few);
        }
        assert_eq!(all, (1..=1_000).map(session).collect::<Vec<_>>());
        assert!(deadlines.timers.is_empty() && deadlines.queue.is_empty());
    }

    #[test]
    fn sessions_that_ended_otherwise_leave_nothing_behind() {
        let (mut deadlines, start) = leading(2_000);
        assert!(deadlines.is_crowded(400));
        deadlines.prune(|id| id.revision.get() <= 10);
        assert_eq!((deadlines.timers.len(), deadlines.queue.len()), (10, 10));
        let exists = |id: SessionId| id == session(3);
        assert_eq!(deadlines.take_due(start + ALLOWED, 100, exists), [session(3)]);
        assert_eq!(deadlines.timers.len(), 1);
    }

    #[test]
    fn what_is_not_armed_yet_starts_when_it_is() {
        let (mut deadlines, start) = leading(1);
        assert!(deadlines.heard(session(2), start));
        assert_eq!(deadlines.armed(), Some(session(1)));
        deadlines.arm([(session(2), 2 * TTL_MS)].into_iter(), start + ALLOWED);
        assert_eq!(due(&mut deadlines, start + 3 * ALLOWED - MS), [session(1)]);
        assert_eq!(due(&mut deadlines, start + 3 * ALLOWED), [session(2)]);
    }
}
