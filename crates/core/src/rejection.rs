//! Why a command was rejected. A rejection is a deterministic answer: logged with the command,
//! replayed with it, returned to the caller. It changed nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A rejected command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The kind of rejection.
    pub reason: Reason,
    /// The field of the request that broke a rule, as a path: `success[2].put.value`. May be empty.
    pub field: String,
    /// The rule that it broke: `at most 1048576 bytes`. May be empty.
    pub rule: String,
    /// The whole story for a person.
    pub message: String,
}

impl Rejection {
    /// A field broke a rule.
    #[must_use]
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        let (field, rule) = (field.into(), rule.into());
        let message = format!("{field}: {rule}");
        Self { reason: Reason::InvalidField, field, rule, message }
    }

    /// A limit was exceeded: `field` has `actual`, the `limit` setting allows `max`.
    #[must_use]
    pub fn limit(field: impl Into<String>, limit: &str, actual: u64, max: u64) -> Self {
        let field = field.into();
        let rule = format!("{limit} = {max}");
        let message = format!("{field}: {actual} exceeds the limit {rule}");
        Self { reason: Reason::LimitExceeded, field, rule, message }
    }

    /// The same, told to a caller whose request is only the part of the command at `path`:
    /// `success[0].put.value` becomes `value` within `success[0].put`.
    #[must_use]
    pub fn seen_from(mut self, path: &str) -> Self {
        if let Some(rest) = self.field.strip_prefix(path).and_then(|rest| rest.strip_prefix('.')) {
            self.message = self.message.replacen(&self.field, rest, 1);
            self.field = rest.to_owned();
        }
        self
    }

    /// Any other rejection.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, field: String::new(), rule: String::new(), message: message.into() }
    }
}

/// The kinds of rejections. The names are the `reason` in gRPC error details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A field broke a rule.
    InvalidField,
    /// A limit was exceeded.
    LimitExceeded,
    /// What was asked for does not exist.
    NotFound,
    /// What was to be created exists.
    AlreadyExists,
    /// What the plan was based on has changed.
    StalePlan,
    /// A rule that spans records would be broken.
    PreconditionFailed,
    /// The session has ended.
    SessionExpired,
    /// The serial is at or below what the session has acknowledged.
    SerialTooOld,
    /// The ownership epoch is not the newest, or the ownership has ended.
    StaleEpoch,
    /// There is not as much of a resource.
    CapacityExceeded,
}

impl Reason {
    /// The name in gRPC error details.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidField => "INVALID_FIELD",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::StalePlan => "STALE_PLAN",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::SessionExpired => "SESSION_EXPIRED",
            Self::SerialTooOld => "SERIAL_TOO_OLD",
            Self::StaleEpoch => "STALE_EPOCH",
            Self::CapacityExceeded => "CAPACITY_EXCEEDED",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
