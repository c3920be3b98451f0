//! What is known of a session's expiry, over all that was proposed of it in one term. Pure.
//!
//! Invariant: it is void only when no proposal of it can be applied any more. One whose fate is not
//! known may be in the log, and what is refused later says nothing of it; but what is applied later
//! comes after it in the log.

use quorate_core::Reason;

use super::deadlines::Settled;
use crate::{consensus::proposer::Answer, coordinator::Fate};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// A proposal may be in the log.
    in_doubt: bool,
}

impl Expiry {
    /// Takes the answer to a proposal. None: nothing is known yet, it must be proposed again.
    pub(super) fn settled(&mut self, answer: Answer) -> Option<Settled> {
        match answer.map(|committed| committed.outcome.result) {
            Ok(Ok(_)) => Some(Settled::Ended),
            Ok(Err(rejection)) if rejection.reason == Reason::SessionExpired => {
                Some(Settled::Ended)
            }
            Ok(Err(_)) => Some(Settled::Void),
            Err(unanswered) if unanswered.fate() == Fate::NotApplied && !self.in_doubt => {
                Some(Settled::Void)
            }
            Err(_) => {
                self.in_doubt = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_core::{
        LogIndex, Outcome, Rejection, Reply, RestoreEpoch, Revision, SessionId, Term,
    };
    use tokio::time::Instant;

    use super::{super::deadlines::Deadlines, *};
    use crate::coordinator::{Committed, Unanswered};

    const TERM: Term = Term(3);

    fn unanswered(fate: Fate) -> Answer {
        Err(Unanswered::Unavailable { fate, leader: None, message: "a test".into() })
    }

    fn overloaded() -> Answer {
        Err(Unanswered::Overloaded { limit: 1, retry_after: Duration::ZERO })
    }

    fn applied(result: Result<Reply, Reason>) -> Answer {
        let result = result.map_err(|reason| Rejection::new(reason, "a test"));
        let outcome = Outcome { revision: Revision(9), result };
        Ok(Committed { term: TERM, index: LogIndex(5), outcome })
    }

    fn settled(answers: Vec<Answer>) -> Vec<Option<Settled>> {
        let mut expiry = Expiry::default();
        answers.into_iter().map(|answer| expiry.settled(answer)).collect()
    }

    #[test]
    fn what_is_certainly_not_in_the_log_is_void() {
        assert_eq!(settled(vec![unanswered(Fate::NotApplied)]), [Some(Settled::Void)]);
        assert_eq!(settled(vec![overloaded()]), [Some(Settled::Void)]);
        let other_term = applied(Err(Reason::PreconditionFailed));
        assert_eq!(settled(vec![other_term]), [Some(Settled::Void)]);
        assert_eq!(settled(vec![applied(Ok(Reply::Done))]), [Some(Settled::Ended)]);
        let ended = applied(Err(Reason::SessionExpired));
        assert_eq!(settled(vec![ended]), [Some(Settled::Ended)]);
    }

    #[test]
    fn what_may_be_in_the_log_is_settled_by_the_log_alone() {
        for last in [
            (applied(Ok(Reply::Done)), Settled::Ended),
            (applied(Err(Reason::SessionExpired)), Settled::Ended),
            (applied(Err(Reason::PreconditionFailed)), Settled::Void),
        ] {
            let answers =
                vec![unanswered(Fate::Unknown), unanswered(Fate::NotApplied), overloaded(), last.0];
            assert_eq!(settled(answers), [None, None, None, Some(last.1)]);
        }
    }

    /// 14: a first proposal may be committed after a second one was refused. A keep-alive that comes
    /// in between is not taken.
    #[test]
    fn no_keep_alive_is_taken_while_an_earlier_proposal_may_be_committed() {
        let id = SessionId { restore: RestoreEpoch(0), revision: Revision(1) };
        let (mut deadlines, start) = (Deadlines::default(), Instant::now());
        deadlines.lead(Some(TERM));
        deadlines.arm([(id, 1_000)].into_iter(), start);
        let now = start + Duration::from_secs(2);
        assert_eq!(deadlines.take_due(now, 1, |_| true), [id]);
        let mut expiry = Expiry::default();
        for answer in [unanswered(Fate::Unknown), unanswered(Fate::NotApplied)] {
            if let Some(settled) = expiry.settled(answer) {
                deadlines.settle(id, TERM, settled);
            }
            assert!(!deadlines.heard(id, now), "the first may still be committed");
        }
        let settled = expiry.settled(applied(Ok(Reply::Done)));
        deadlines.settle(id, TERM, settled.unwrap());
        assert!(deadlines.heard(id, now), "nothing is known of it any more");
    }
}
