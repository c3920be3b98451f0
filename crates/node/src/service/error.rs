//! What a caller is told when a read or write has no answer, or was rejected.

use std::time::Duration;

use quorate_proto::{ErrorDetails, Reason, WriteOutcome};
use tonic::{Code, Status};

use crate::{
    coordinator::{Fate, Unanswered},
    planner::NoPlan,
};

/// When to ask again who found no place to have something planned.
const PLAN_AGAIN: Duration = Duration::from_secs(1);

/// The status of a read without an answer. It applied nothing, whatever happened.
pub(crate) fn read(unanswered: &Unanswered) -> Status {
    details(unanswered).with_outcome(WriteOutcome::NotApplied).into()
}

/// The status of a write without an outcome: says whether it was applied.
pub(crate) fn write(unanswered: &Unanswered) -> Status {
    details(unanswered).into()
}

/// The status when nothing was planned. Nothing was applied.
pub(crate) fn plan(no_plan: NoPlan) -> Status {
    let details = |reason| ErrorDetails::new(reason, no_plan.to_string());
    match no_plan {
        NoPlan::Busy { .. } => details(Reason::Overloaded).with_retry_after(PLAN_AGAIN),
        NoPlan::Panicked => details(Reason::PreconditionFailed),
    }
    .with_outcome(WriteOutcome::NotApplied)
    .into()
}

/// The reason, as counted in metrics.
pub(crate) fn reason(unanswered: &Unanswered) -> &'static str {
    details(unanswered).reason.map_or("", Reason::as_str)
}

fn details(unanswered: &Unanswered) -> ErrorDetails {
    let message = unanswered.to_string();
    match unanswered {
        Unanswered::Unavailable { fate, leader, .. } => {
            ErrorDetails::new(Reason::NoQuorum, message)
                .with_outcome(outcome(*fate))
                .with_leader(*leader)
        }
        Unanswered::Overloaded { retry_after, .. } => {
            ErrorDetails::new(Reason::Overloaded, message).with_retry_after(*retry_after)
        }
        Unanswered::TooLarge { max, .. } => ErrorDetails::new(Reason::LimitExceeded, message)
            .with_outcome(WriteOutcome::NotApplied)
            .with_field("", format!("at most {max} bytes as a command")),
        Unanswered::NotReached { .. } => {
            ErrorDetails::new(Reason::FutureRevision, message).with_code(Code::DeadlineExceeded)
        }
        Unanswered::Stopped { fate } => {
            ErrorDetails::new(Reason::NoQuorum, message).with_outcome(outcome(*fate))
        }
    }
}

fn outcome(fate: Fate) -> WriteOutcome {
    match fate {
        Fate::NotApplied => WriteOutcome::NotApplied,
        Fate::Unknown => WriteOutcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{MemberId, Revision};

    use super::*;

    fn sent(status: &Status) -> (Code, ErrorDetails) {
        (status.code(), ErrorDetails::from_status(status).expect("has details"))
    }

    #[test]
    fn a_write_says_whether_it_was_applied() {
        for (fate, outcome) in
            [(Fate::NotApplied, WriteOutcome::NotApplied), (Fate::Unknown, WriteOutcome::Unknown)]
        {
            let lost = Unanswered::Unavailable {
                fate,
                leader: Some(MemberId(2)),
                message: "no contact".into(),
            };
            let (code, details) = sent(&write(&lost));
            assert_eq!((code, details.reason), (Code::Unavailable, Some(Reason::NoQuorum)));
            assert_eq!((details.outcome, details.leader), (outcome, Some(MemberId(2))));
            assert_eq!(details.message, "no contact");
            assert_eq!(sent(&write(&Unanswered::Stopped { fate })).1.outcome, outcome);
            assert_eq!(sent(&read(&lost)).1.outcome, WriteOutcome::NotApplied);
        }
    }

    #[test]
    fn overload_says_when_to_retry() {
        let full = Unanswered::Overloaded { limit: 5, retry_after: Duration::from_millis(20) };
        let (code, details) = sent(&write(&full));
        assert_eq!((code, details.reason), (Code::ResourceExhausted, Some(Reason::Overloaded)));
        assert_eq!(details.outcome, WriteOutcome::NotApplied);
        assert_eq!(details.retry_after, Some(Duration::from_millis(20)));
        assert_eq!(reason(&full), "OVERLOADED");
    }

    #[test]
    fn what_was_not_planned_was_not_applied() {
        let (code, details) = sent(&plan(NoPlan::Busy { max: 4 }));
        assert_eq!((code, details.reason), (Code::ResourceExhausted, Some(Reason::Overloaded)));
        assert_eq!(details.outcome, WriteOutcome::NotApplied);
        assert!(details.message.starts_with("4 plans"), "{details:?}");
        assert_eq!(sent(&plan(NoPlan::Panicked)).1.reason, Some(Reason::PreconditionFailed));
    }

    #[test]
    fn a_revision_not_reached_is_a_missed_deadline() {
        let early = Unanswered::NotReached { wanted: Revision(9), current: Revision(5) };
        let (code, details) = sent(&read(&early));
        assert_eq!((code, details.reason), (Code::DeadlineExceeded, Some(Reason::FutureRevision)));
    }
}
