//! Newtypes for everything that is counted or identified by a number.
//!
//! Owns no logic beyond ordering and display. No bare `u64` crosses a public signature.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl $name {
            /// The number itself.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number! {
    /// A point in the one order of changes: the n-th command that changed a record. 0: none yet.
    Revision
}
number! {
    /// An index in the Raft log.
    LogIndex
}
number! {
    /// A Raft term.
    Term
}
number! {
    /// A coordinator. Never 0, never used again after removal.
    MemberId
}
number! {
    /// Counts the changes of a network's spec, from 1.
    Generation
}
number! {
    /// Grows with every restore from a backup.
    RestoreEpoch
}

/// A cluster, drawn at random when it is created or restored. Never 0. Shown as 16 hex digits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Hash of a whole state: equal on all replicas at equal log index. Shown as 16 hex digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash(pub u64);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An ownership epoch: grows with every grant, across restores too, and is never reused.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    /// The restore epoch at the grant.
    pub restore: RestoreEpoch,
    /// The revision of the grant.
    pub revision: Revision,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.restore, self.revision)
    }
}
