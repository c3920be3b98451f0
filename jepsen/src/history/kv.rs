//! Writes of one or several keys at once, for the workloads that are judged by change streams.
//!
//! Owns calls and answers. Keys are named in full. Must not know who follows the changes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Event, Value};

/// A write begins or ends.
pub(crate) type KvEvent = Event<KvCall, KvAnswer>;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum KvCall {
    /// To change keys at one revision.
    Write {
        /// The keys that take a value. At least one.
        puts: Vec<(String, Value)>,
        /// The keys that are deleted, if they exist.
        deletes: Vec<String>,
    },
    /// To change a setting of the cluster.
    Set {
        /// Its name.
        setting: String,
        /// Its value.
        value: u64,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum KvAnswer {
    /// It was done.
    Written,
}

/// The setting that bounds the history that is kept for change streams, and its default.
pub(crate) const HISTORY_BYTES_MAX: (&str, u64) = ("history_bytes_max", 64 << 20);

impl KvCall {
    /// Whether it may make the cluster forget history early.
    pub(crate) fn limits_history(&self) -> bool {
        let (name, default) = HISTORY_BYTES_MAX;
        matches!(self, Self::Set { setting, value } if setting == name && *value < default)
    }
}

impl fmt::Display for KvCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { puts, deletes } => {
                for (key, value) in puts {
                    write!(f, "put {key} {value} ")?;
                }
                for key in deletes {
                    write!(f, "delete {key} ")?;
                }
                Ok(())
            }
            Self::Set { setting, value } => write!(f, "set {setting} {value}"),
        }
    }
}

impl fmt::Display for KvAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("written")
    }
}
