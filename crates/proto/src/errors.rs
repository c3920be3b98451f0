//! Rich error details: what both sides of an RPC know of an error beyond its code.
//!
//! Sent as `google.rpc.ErrorInfo` (reason, and metadata for the rest), `RetryInfo` where there is
//! a delay and `BadRequest` where there is a field. The names are those that other programs rely
//! on.

use std::{collections::HashMap, fmt, time::Duration};

use quorate_core::{MemberId, Rejection, Revision};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::convert::ConvertError;

/// The domain of Quorate's reasons.
pub const DOMAIN: &str = "quorate";

/// The longest text that is sent in one piece of details; what is longer is cut. Details travel in
/// HTTP headers, which are bounded.
const TEXT_BYTES_MAX: usize = 1024;

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A field broke a rule.
    InvalidField,
    /// A limit was exceeded.
    LimitExceeded,
    /// A rule that spans records would be broken.
    PreconditionFailed,
    /// No quorum, no leader, or contact with it was lost.
    NoQuorum,
    /// A queue is full.
    Overloaded,
    /// The history that was asked for is no longer kept.
    Compacted,
    /// The revision that was asked for does not exist yet.
    FutureRevision,
    /// The session has ended.
    SessionExpired,
    /// The serial is at or below what the session has acknowledged.
    SerialTooOld,
    /// What the plan was based on has changed.
    StalePlan,
    /// The ownership epoch is not the newest.
    StaleEpoch,
    /// There is not enough of a resource.
    CapacityExceeded,
    /// The token or call belongs to another cluster, or to this one before a restore.
    WrongCluster,
    /// What was asked for does not exist.
    NotFound,
    /// What was to be created exists.
    AlreadyExists,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::InvalidField,
        Self::LimitExceeded,
        Self::PreconditionFailed,
        Self::NoQuorum,
        Self::Overloaded,
        Self::Compacted,
        Self::FutureRevision,
        Self::SessionExpired,
        Self::SerialTooOld,
        Self::StalePlan,
        Self::StaleEpoch,
        Self::CapacityExceeded,
        Self::WrongCluster,
        Self::NotFound,
        Self::AlreadyExists,
    ];

    /// The name in error details.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidField => "INVALID_FIELD",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::NoQuorum => "NO_QUORUM",
            Self::Overloaded => "OVERLOADED",
            Self::Compacted => "COMPACTED",
            Self::FutureRevision => "FUTURE_REVISION",
            Self::SessionExpired => "SESSION_EXPIRED",
            Self::SerialTooOld => "SERIAL_TOO_OLD",
            Self::StalePlan => "STALE_PLAN",
            Self::StaleEpoch => "STALE_EPOCH",
            Self::CapacityExceeded => "CAPACITY_EXCEEDED",
            Self::WrongCluster => "WRONG_CLUSTER",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The gRPC code that goes with it, unless the sender says otherwise.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::InvalidField | Self::LimitExceeded => Code::InvalidArgument,
            Self::PreconditionFailed
            | Self::StalePlan
            | Self::StaleEpoch
            | Self::SessionExpired
            | Self::SerialTooOld
            | Self::WrongCluster => Code::FailedPrecondition,
            Self::NoQuorum => Code::Unavailable,
            Self::Overloaded | Self::CapacityExceeded => Code::ResourceExhausted,
            Self::Compacted | Self::FutureRevision => Code::OutOfRange,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<quorate_core::Reason> for Reason {
    fn from(reason: quorate_core::Reason) -> Self {
        match reason {
            quorate_core::Reason::InvalidField => Self::InvalidField,
            quorate_core::Reason::LimitExceeded => Self::LimitExceeded,
            quorate_core::Reason::NotFound => Self::NotFound,
            quorate_core::Reason::AlreadyExists => Self::AlreadyExists,
            quorate_core::Reason::StalePlan => Self::StalePlan,
            quorate_core::Reason::PreconditionFailed => Self::PreconditionFailed,
            quorate_core::Reason::SessionExpired => Self::SessionExpired,
            quorate_core::Reason::SerialTooOld => Self::SerialTooOld,
            quorate_core::Reason::StaleEpoch => Self::StaleEpoch,
            quorate_core::Reason::CapacityExceeded => Self::CapacityExceeded,
        }
    }
}

/// Whether a failed write was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// It never will be.
    NotApplied,
    /// It may have been, or may yet be.
    Unknown,
}

impl WriteOutcome {
    /// The name in error details.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplied => "NOT_APPLIED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for WriteOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an error says beyond its code. Build with [`ErrorDetails::new`] and the setters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDetails {
    /// The gRPC code.
    pub code: Code,
    /// Why. None: a reason that this build does not know.
    pub reason: Option<Reason>,
    /// Whether the write was applied.
    pub outcome: WriteOutcome,
    /// The field that broke a rule, as a path. May be empty.
    pub field: String,
    /// The rule that it broke. May be empty.
    pub rule: String,
    /// The leader that the coordinator knows of.
    pub leader: Option<MemberId>,
    /// The oldest revision from which a stream can start.
    pub oldest: Option<Revision>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The whole story for a person.
    pub message: String,
}

impl ErrorDetails {
    /// An error of something that was not applied, with the reason's own code.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            code: reason.code(),
            reason: Some(reason),
            outcome: WriteOutcome::NotApplied,
            field: String::new(),
            rule: String::new(),
            leader: None,
            oldest: None,
            retry_after: None,
            message: message.into(),
        }
    }

    /// With another code.
    #[must_use]
    pub fn with_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// With another outcome.
    #[must_use]
    pub fn with_outcome(self, outcome: WriteOutcome) -> Self {
        Self { outcome, ..self }
    }

    /// With the field and the rule that it broke.
    #[must_use]
    pub fn with_field(self, field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into(), ..self }
    }

    /// With the leader, when one is known.
    #[must_use]
    pub fn with_leader(self, leader: Option<MemberId>) -> Self {
        Self { leader, ..self }
    }

    /// With the oldest revision from which a stream can start.
    #[must_use]
    pub fn with_oldest(self, oldest: Revision) -> Self {
        Self { oldest: Some(oldest), ..self }
    }

    /// With when to try again.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// The details of a status; None when it has none of ours.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let text = |name: &str| info.metadata.get(name).cloned();
        let number = |name: &str| info.metadata.get(name).and_then(|text| text.parse().ok());
        let outcome = match text("outcome").as_deref() {
            Some("NOT_APPLIED") => WriteOutcome::NotApplied,
            _ => WriteOutcome::Unknown,
        };
        Some(Self {
            code: status.code(),
            reason: Reason::from_text(&info.reason),
            outcome,
            field: text("field").unwrap_or_default(),
            rule: text("rule").unwrap_or_default(),
            leader: number("leader").map(MemberId),
            oldest: number("oldest").map(Revision),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            message: status.message().to_owned(),
        })
    }

    /// The status to send.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let mut metadata = HashMap::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                metadata.insert(name.to_owned(), value);
            }
        };
        let (field, rule) = (cut(&self.field), cut(&self.rule));
        add("outcome", Some(self.outcome.as_str().to_owned()));
        add("field", Some(field.to_owned()));
        add("rule", Some(rule.to_owned()));
        add("leader", self.leader.map(|leader| leader.to_string()));
        add("oldest", self.oldest.map(|oldest| oldest.to_string()));

        let mut details = tonic_types::ErrorDetails::new();
        let reason = self.reason.map(Reason::as_str).unwrap_or_default();
        details.set_error_info(reason, DOMAIN, metadata);
        if self.retry_after.is_some() {
            details.set_retry_info(self.retry_after);
        }
        if !field.is_empty() {
            details.add_bad_request_violation(field, rule);
        }
        Status::with_error_details(self.code, cut(&self.message), details)
    }
}

/// Cuts a text to at most [`TEXT_BYTES_MAX`] bytes, between characters.
fn cut(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

impl From<ErrorDetails> for Status {
    fn from(details: ErrorDetails) -> Self {
        details.to_status()
    }
}

impl From<Rejection> for ErrorDetails {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.reason.into(), rejection.message)
            .with_field(rejection.field, rejection.rule)
    }
}

impl From<ConvertError> for ErrorDetails {
    fn from(error: ConvertError) -> Self {
        Rejection::from(error).into()
    }
}

impl From<ConvertError> for Status {
    fn from(error: ConvertError) -> Self {
        ErrorDetails::from(error).into()
    }
}
