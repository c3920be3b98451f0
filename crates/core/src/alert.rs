//! Alerts: what is not as it should be, as records, so that every coordinator tells the same.
//!
//! Owns their shape, their names and what is valid. Who finds something out is no business of
//! this module: it comes in a command.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{key::Kind, name::Name, record::Record, state::State};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, for people: as it was when the alert was raised, or its severity changed.
    pub message: String,
    /// When it was raised, by the state's clock, milliseconds since 1970.
    pub since_ms: u64,
    /// What was measured, in the check's unit. 0 where nothing is.
    pub value: u64,
}

impl State {
    /// The alerts that are raised.
    pub fn alerts(&self) -> impl Iterator<Item = (AlertId, &Alert)> {
        self.records_of(Kind::Alert).filter_map(|(key, record)| match &record.value {
            Record::Alert(alert) => {
                Some((AlertId::parse(std::str::from_utf8(&key.bytes).ok()?)?, alert.as_ref()))
            }
            _ => None,
        })
    }
}

/// An alert as it is asked for: without the time, which the state knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, for people; at most [`Raised::MESSAGE_BYTES_MAX`].
    pub message: String,
    /// What was measured, in the check's unit. 0 where nothing is.
    pub value: u64,
}

impl Raised {
    /// Most bytes of a message.
    pub const MESSAGE_BYTES_MAX: usize = 512;
}

/// How much an alert matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Somebody should look at it.
    Warning,
    /// Somebody must act.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    /// Its name in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names an alert: the check that found it, and what it is about. `worker_lost/w1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertId {
    /// The check.
    pub check: Name,
    /// What it is about: a worker's name, a partition's id, a member's id, or whatever the check
    /// says. Valid by [`AlertId::is_subject`].
    pub subject: String,
}

impl AlertId {
    /// Most bytes of a subject: a connection's id fits.
    pub const SUBJECT_BYTES_MAX: usize = 320;

    /// Reads `check/subject`. None when the text is no alert's id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (check, subject) = text.split_once('/')?;
        let check = Name::new(check).ok()?;
        Self::is_subject(subject).then(|| Self { check, subject: subject.to_owned() })
    }

    /// Whether an alert may be about this: 1 to 320 bytes, without control characters.
    #[must_use]
    pub fn is_subject(text: &str) -> bool {
        let length = 1..=Self::SUBJECT_BYTES_MAX;
        length.contains(&text.len()) && !text.chars().any(char::is_control)
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.check, self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for text in ["worker_lost/w1", "partition_unowned/net/0", "connection_down/n/0->n/1"] {
            let id = AlertId::parse(text).unwrap();
            assert_eq!(id.to_string(), text);
        }
        let long = format!("a/{}", "b".repeat(321));
        for text in ["", "a", "a/", "/b", "-a/b", "a/b\n", &long] {
            assert_eq!(AlertId::parse(text), None, "{text:?}");
        }
    }
}
