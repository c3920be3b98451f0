//! The vocabulary of the workload `set`.
//!
//! Owns calls and answers on sets: elements are added, each once in a run, and whole sets are read.
//! Must not know how they are stored.

use std::fmt;

use quorate_core::Revision;
use serde::{Deserialize, Serialize};

use super::{Event, KeyId, Value};

/// An operation on a set begins or ends.
pub(crate) type SetEvent = Event<SetCall, SetAnswer>;

/// What a client asks of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum SetCall {
    /// To take an element that no set has.
    Add {
        /// The set.
        set: KeyId,
        /// The element.
        element: Value,
    },
    /// All its elements.
    Read {
        /// The set.
        set: KeyId,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum SetAnswer {
    /// To an add.
    Added,
    /// To a read.
    Elements {
        /// Each element with the revision that added it.
        elements: Vec<(Value, Revision)>,
    },
}

impl fmt::Display for SetCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { set, element } => write!(f, "add {element} to set {}", set.0),
            Self::Read { set } => write!(f, "read set {}", set.0),
        }
    }
}

impl fmt::Display for SetAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added => f.write_str("added"),
            Self::Elements { elements } => write!(f, "{} elements", elements.len()),
        }
    }
}
