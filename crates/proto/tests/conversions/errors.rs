//! Error details arrive as they were sent.

use std::time::Duration;

use proptest::{option, prelude::*, sample::select};
use quorate_core::{MemberId, Rejection, Revision};
use quorate_proto::{ConvertError, ErrorDetails, Reason, WriteOutcome};
use tonic::{Code, Status};

proptest! {
    #[test]
    fn details_come_back(
        reason in select(Reason::ALL.to_vec()),
        unknown in any::<bool>(),
        field in "[a-z.\\[\\]]{0,20}",
        rule in ".{0,20}",
        leader in option::of(any::<u64>()),
        oldest in option::of(any::<u64>()),
        delay_ms in option::of(0..100_000_u64),
        message in ".{0,40}",
    ) {
        let outcome = if unknown { WriteOutcome::Unknown } else { WriteOutcome::NotApplied };
        let details = ErrorDetails {
            outcome,
            field,
            rule,
            leader: leader.map(MemberId),
            oldest: oldest.map(Revision),
            retry_after: delay_ms.map(Duration::from_millis),
            ..ErrorDetails::new(reason, message)
        };
        let status = details.to_status();
        prop_assert_eq!(status.code(), reason.code());
        prop_assert_eq!(ErrorDetails::from_status(&status), Some(details));
    }

    #[test]
    fn hostile_details_do_not_panic(details in proptest::collection::vec(any::<u8>(), 0..64)) {
        let status = Status::with_details(Code::Internal, "m", details.into());
        prop_assert_eq!(ErrorDetails::from_status(&status), None);
    }
}

#[test]
fn reasons_have_their_names_and_codes() {
    for reason in Reason::ALL {
        assert_eq!(Reason::from_text(reason.as_str()), Some(reason));
    }
    let named = [
        (Reason::InvalidField, "INVALID_FIELD", Code::InvalidArgument),
        (Reason::LimitExceeded, "LIMIT_EXCEEDED", Code::InvalidArgument),
        (Reason::PreconditionFailed, "PRECONDITION_FAILED", Code::FailedPrecondition),
        (Reason::NoQuorum, "NO_QUORUM", Code::Unavailable),
        (Reason::Overloaded, "OVERLOADED", Code::ResourceExhausted),
        (Reason::Compacted, "COMPACTED", Code::OutOfRange),
        (Reason::FutureRevision, "FUTURE_REVISION", Code::OutOfRange),
        (Reason::SessionExpired, "SESSION_EXPIRED", Code::FailedPrecondition),
        (Reason::SerialTooOld, "SERIAL_TOO_OLD", Code::FailedPrecondition),
        (Reason::StalePlan, "STALE_PLAN", Code::FailedPrecondition),
        (Reason::StaleEpoch, "STALE_EPOCH", Code::FailedPrecondition),
        (Reason::CapacityExceeded, "CAPACITY_EXCEEDED", Code::ResourceExhausted),
        (Reason::WrongCluster, "WRONG_CLUSTER", Code::FailedPrecondition),
        (Reason::NotFound, "NOT_FOUND", Code::NotFound),
        (Reason::AlreadyExists, "ALREADY_EXISTS", Code::AlreadyExists),
    ];
    assert_eq!(named.len(), Reason::ALL.len());
    for (reason, name, code) in named {
        assert_eq!((reason.as_str(), reason.code()), (name, code));
    }
}

#[test]
fn a_field_error_names_field_and_rule_in_standard_details_too() {
    use tonic_types::StatusExt as _;
    let status = Status::from(ConvertError::new("success[2].put.key", "required"));
    let details = ErrorDetails::from_status(&status).unwrap();
    assert_eq!(details.reason, Some(Reason::InvalidField));
    assert_eq!((details.field.as_str(), details.rule.as_str()), ("success[2].put.key", "required"));
    assert_eq!(details.message, "success[2].put.key: required");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "success[2].put.key");
}

#[test]
fn a_rejection_is_not_applied() {
    let rejection = Rejection::limit("value", "value_bytes_max", 2, 1);
    let details = ErrorDetails::from(rejection);
    assert_eq!(details.outcome, WriteOutcome::NotApplied);
    assert_eq!(details.reason, Some(Reason::LimitExceeded));
    assert_eq!(details.code, Code::InvalidArgument);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let long = "é".repeat(100_000);
    let status = ErrorDetails::new(Reason::InvalidField, long.clone()).with_field(&*long, &*long);
    let status = status.to_status();
    assert!(status.details().len() < 8 * 1024, "fits in a header");
    let read = ErrorDetails::from_status(&status).unwrap();
    assert!(!read.field.is_empty() && long.starts_with(&read.field));
}

#[test]
fn details_of_others_and_unknown_reasons_are_told_apart() {
    use tonic_types::StatusExt as _;
    let of = |reason: &str, domain: &str| {
        let mut details = tonic_types::ErrorDetails::new();
        details.set_error_info(reason, domain, std::collections::HashMap::new());
        ErrorDetails::from_status(&Status::with_error_details(Code::Aborted, "m", details))
    };
    assert_eq!(of("NO_QUORUM", "example.com"), None);
    let newer = of("INVENTED_LATER", "quorate").unwrap();
    assert_eq!((newer.reason, newer.outcome), (None, WriteOutcome::Unknown));
}
