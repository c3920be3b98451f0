//! The vocabulary of the workload `once`.
//!
//! Owns calls and answers. A request writes a value that is unique in the run; the same request may
//! be sent several times, each time as an operation of its own. Must not know how it is sent.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Event, Seen, Value};

/// A request, or one of its repeats, begins or ends.
pub(crate) type OnceEvent = Event<OnceCall, OnceAnswer>;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum OnceCall {
    /// A write through the client library, which sends it as often as it takes.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
    /// A write that is sent again by hand, with the same session and serial.
    Again {
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
    /// A write that must not happen: its serial was used for another request, or is finished.
    Misuse {
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum OnceAnswer {
    /// It was written.
    Written {
        /// What was there before.
        previous: Option<Seen>,
    },
}

impl OnceCall {
    /// Its key and its value.
    pub(crate) fn write(&self) -> (&str, Value) {
        let (Self::Put { key, value } | Self::Again { key, value } | Self::Misuse { key, value }) =
            self;
        (key, *value)
    }
}

impl fmt::Display for OnceCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = self.write();
        let kind = match self {
            Self::Put { .. } => "put",
            Self::Again { .. } => "put again and again",
            Self::Misuse { .. } => "put with a used serial",
        };
        write!(f, "{kind} {key} {value}")
    }
}

impl fmt::Display for OnceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Written { previous } = self;
        match previous {
            Some(seen) => write!(f, "written over {seen}"),
            None => f.write_str("written as new"),
        }
    }
}
