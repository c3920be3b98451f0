//! The vocabulary of the workload `append`.
//!
//! Owns transactions over lists: each of their steps appends a value, unique in the run, to a list
//! or reads a list. Must not know how lists are stored.

use std::fmt;

use quorate_core::Revision;
use serde::{Deserialize, Serialize};

use super::{Event, KeyId, Value};

/// A transaction over lists begins or ends.
pub(crate) type AppendEvent = Event<AppendCall, AppendAnswer>;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum AppendCall {
    /// A transaction.
    Txn {
        /// Its steps, one after the other.
        steps: Vec<AppendStep>,
    },
}

/// One step of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum AppendStep {
    /// Adds a value at the end of a list.
    Append {
        /// The list.
        key: KeyId,
        /// The value.
        value: Value,
    },
    /// Reads a list.
    Read {
        /// The list.
        key: KeyId,
    },
}

/// The answer to a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum AppendAnswer {
    /// It was committed.
    Committed {
        /// What its reading steps saw, in their order.
        reads: Vec<List>,
    },
}

/// A list as a read saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    /// Its values; none: it does not exist.
    pub(crate) values: Vec<Value>,
    /// The revision that changed it last; 0: it does not exist.
    pub(crate) modified: Revision,
}

impl AppendCall {
    /// Its steps.
    pub(crate) fn steps(&self) -> &[AppendStep] {
        let Self::Txn { steps } = self;
        steps
    }

    /// What it appends.
    pub(crate) fn appends(&self) -> impl Iterator<Item = (KeyId, Value)> {
        self.steps().iter().filter_map(|step| match step {
            AppendStep::Append { key, value } => Some((*key, *value)),
            AppendStep::Read { .. } => None,
        })
    }
}

impl AppendAnswer {
    /// What its reading steps saw.
    pub(crate) fn reads(&self) -> &[List] {
        let Self::Committed { reads } = self;
        reads
    }
}

impl fmt::Display for AppendCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps().iter().enumerate() {
            let gap = if at == 0 { "" } else { ", " };
            match step {
                AppendStep::Append { key, value } => write!(f, "{gap}append {value} to {}", key.0)?,
                AppendStep::Read { key } => write!(f, "{gap}read {}", key.0)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for AppendAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("committed")?;
        for list in self.reads() {
            let values: Vec<u64> = list.values.iter().map(|value| value.0).collect();
            write!(f, ", {values:?} of revision {}", list.modified)?;
        }
        Ok(())
    }
}
