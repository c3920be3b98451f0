//! What a call can fail with, and whether a write that failed was applied.
//!
//! Invariant: an error of a write says `NOT_APPLIED` only if no attempt can have been applied.

use std::{error::Error as _, fmt, time::Duration};

use quorate_core::{MemberId, Revision};
use quorate_proto::{ConvertError, ErrorDetails, Reason, WriteOutcome};
use tonic::{Code, ConnectError, Status};

use crate::config::Endpoint;

/// The kinds of errors: what a caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was asked for is wrong, or a rule forbids it. Asking again gives the same answer.
    Rejected,
    /// What was asked for does not exist.
    NotFound,
    /// There was no answer, and nothing was applied. Asking again is safe.
    Unavailable,
    /// There was no answer, and the write may have been applied, or may yet be.
    OutcomeUnknown,
}

/// A failed call. Cheap to move.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    details: ErrorDetails,
    endpoint: Option<Endpoint>,
    connected: bool,
}

/// Whether a call changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Write,
}

/// What can be wrong with the session or the serial of a write, rather than with what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallTrouble {
    /// The session that the serial belongs to has ended.
    SessionEnded,
    /// Too many serials of the session are in flight.
    WindowFull,
    /// The serial cannot be used (any more).
    WrongSerial,
}

impl Error {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the write was applied. Reads are never applied.
    #[must_use]
    pub fn outcome(&self) -> WriteOutcome {
        self.0.details.outcome
    }

    /// Why, in the words of the interface. None when there was no answer that says so.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.0.details.reason
    }

    /// The gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.details.code
    }

    /// Whether the same call may succeed later, without being applied twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// The field that broke a rule, as a path. May be empty.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.0.details.field
    }

    /// The rule that it broke. May be empty.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.0.details.rule
    }

    /// The leader that the coordinator knew of.
    #[must_use]
    pub fn leader(&self) -> Option<MemberId> {
        self.0.details.leader
    }

    /// The oldest revision from which a stream can start (reason `COMPACTED`).
    #[must_use]
    pub fn oldest(&self) -> Option<Revision> {
        self.0.details.oldest
    }

    /// When the coordinator wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.details.retry_after
    }

    /// What happened, for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.details.message
    }

    /// The coordinator that was asked last.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.0.endpoint.as_ref()
    }

    /// What is wrong with the session or the serial of the write, if that is what is wrong.
    pub(crate) fn call_trouble(&self) -> Option<CallTrouble> {
        let of_call = self.field().starts_with("call.") || self.field().starts_with("context.");
        match self.reason()? {
            Reason::SessionExpired if of_call => Some(CallTrouble::SessionEnded),
            Reason::LimitExceeded if of_call => Some(CallTrouble::WindowFull),
            Reason::SerialTooOld => Some(CallTrouble::WrongSerial),
            _ if of_call => Some(CallTrouble::WrongSerial),
            _ => None,
        }
    }

    /// Whether it is a rejection that apply makes, and so the first outcome of its serial.
    pub(crate) fn is_of_apply(&self) -> bool {
        let rejected = matches!(self.kind(), ErrorKind::Rejected | ErrorKind::NotFound);
        rejected
            && self.reason().is_some_and(|reason| {
                !matches!(reason, Reason::WrongCluster | Reason::StalePlan | Reason::SerialTooOld)
            })
    }

    /// Something that the caller gave is wrong; found before anything was sent.
    pub(crate) fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::of(ErrorKind::Rejected, ConvertError::new(field, rule).into())
    }

    /// What was to be changed is not held any more.
    pub(crate) fn not_held() -> Self {
        Self::of(ErrorKind::Rejected, ErrorDetails::new(Reason::PreconditionFailed, "not held"))
    }

    /// The deadline passed before anything was sent, or between attempts.
    pub(crate) fn no_time(message: impl Into<String>) -> Self {
        let details = ErrorDetails { reason: None, ..ErrorDetails::new(Reason::NoQuorum, message) };
        Self::of(ErrorKind::Unavailable, details.with_code(Code::DeadlineExceeded))
    }

    /// The deadline passed while an attempt was under way.
    pub(crate) fn timed_out(effect: Effect, after: Duration) -> Self {
        let message = format!("no answer within {after:?}");
        let error = Self::no_time(message);
        if effect == Effect::Write { error.into_unknown() } else { error }
    }

    /// Whether this only says that time ran out, of something that was certainly not applied.
    pub(crate) fn is_cut_short(&self) -> bool {
        let Inner { kind, details, .. } = &*self.0;
        *kind == ErrorKind::Unavailable
            && details.reason.is_none()
            // The transport ends an attempt at its deadline as cancelled.
            && matches!(details.code, Code::DeadlineExceeded | Code::Cancelled)
    }

    /// An answer that this library does not understand.
    pub(crate) fn unreadable(effect: Effect, error: &ConvertError) -> Self {
        let message = format!("the answer cannot be read: {error}");
        let details = ErrorDetails { reason: None, ..ErrorDetails::new(Reason::NoQuorum, message) };
        let error = Self::of(ErrorKind::Unavailable, details.with_code(Code::Internal));
        if effect == Effect::Write { error.into_unknown() } else { error }
    }

    /// An answer from before what this client has seen.
    pub(crate) fn stale(answered: Revision, seen: Revision) -> Self {
        let message = format!("answered at revision {answered}, {seen} was seen before");
        Self::of(ErrorKind::Unavailable, ErrorDetails::new(Reason::NoQuorum, message))
    }

    /// An answer from another cluster than the one talked to before.
    pub(crate) fn wrong_cluster(effect: Effect, message: String) -> Self {
        let details = ErrorDetails::new(Reason::WrongCluster, message);
        let error = Self::of(ErrorKind::Rejected, details);
        if effect == Effect::Write { error.into_unknown() } else { error }
    }

    /// Makes sense of a status.
    pub(crate) fn from_status(status: &Status, effect: Effect) -> Self {
        let Some(mut details) = ErrorDetails::from_status(status) else {
            return Self::from_bare_status(status, effect);
        };
        if effect == Effect::None {
            details.outcome = WriteOutcome::NotApplied;
        }
        let kind = match (details.outcome, details.reason) {
            (WriteOutcome::Unknown, _) => ErrorKind::OutcomeUnknown,
            (_, Some(Reason::NotFound)) => ErrorKind::NotFound,
            (_, Some(Reason::NoQuorum | Reason::Overloaded)) => ErrorKind::Unavailable,
            // Waiting for a revision took too long.
            (_, Some(Reason::FutureRevision)) if details.code == Code::DeadlineExceeded => {
                ErrorKind::Unavailable
            }
            // A limit of that coordinator alone: another one may have room.
            (_, Some(Reason::LimitExceeded)) if details.code == Code::ResourceExhausted => {
                ErrorKind::Unavailable
            }
            (_, None) if passes(details.code) => ErrorKind::Unavailable,
            _ => ErrorKind::Rejected,
        };
        Self::of(kind, details)
    }

    /// A status without details: made by this side, or by something in between.
    fn from_bare_status(status: &Status, effect: Effect) -> Self {
        let connected = !never_connected(status);
        let message = match status.source().and_then(innermost) {
            Some(cause) if !status.message().contains(&cause) => {
                format!("{}: {cause}", status.message())
            }
            _ => status.message().to_owned(),
        };
        let details = ErrorDetails { reason: None, ..ErrorDetails::new(Reason::NoQuorum, message) }
            .with_code(status.code());
        let kind = match status.code() {
            Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied => {
                ErrorKind::Rejected
            }
            _ => ErrorKind::Unavailable,
        };
        let mut error = Self::of(kind, details);
        error.0.connected = connected;
        if kind == ErrorKind::Unavailable && connected && effect == Effect::Write {
            return error.into_unknown();
        }
        error
    }

    pub(crate) fn at(mut self, endpoint: &Endpoint) -> Self {
        self.0.endpoint = Some(endpoint.clone());
        self
    }

    /// An earlier attempt may have been applied, whatever the last one said.
    pub(crate) fn into_unknown(mut self) -> Self {
        self.0.kind = ErrorKind::OutcomeUnknown;
        self.0.details.outcome = WriteOutcome::Unknown;
        self
    }

    /// What failed was a step before the write, which was never sent.
    pub(crate) fn before_write(mut self) -> Self {
        if self.0.kind == ErrorKind::OutcomeUnknown {
            self.0.kind = ErrorKind::Unavailable;
        }
        self.0.details.outcome = WriteOutcome::NotApplied;
        self
    }

    fn of(kind: ErrorKind, details: ErrorDetails) -> Self {
        Self(Box::new(Inner { kind, details, endpoint: None, connected: true }))
    }
}

/// Codes of conditions that pass.
fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Internal
            | Code::Unknown
    )
}

/// Whether the request was never sent, because there was no connection.
fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    Some(error.to_string())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, details, endpoint, connected } = &*self.0;
        if let Some(endpoint) = endpoint {
            write!(f, "{endpoint}: ")?;
        }
        if !connected {
            f.write_str("cannot connect: ")?;
        }
        f.write_str(&details.message)?;
        if *kind == ErrorKind::OutcomeUnknown {
            f.write_str(" (the write may have been applied)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
