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

number! {
    /// Numbers the requests of a session, from 1, in the order its holder chooses.
    Serial
}

/// A session: the restore epoch and the revision at which it was opened. Never used again.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SessionId {
    /// The restore epoch when it was opened.
    pub restore: RestoreEpoch,
    /// The revision that opened it.
    pub revision: Revision,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.restore, self.revision)
    }
}

impl SessionId {
    /// Before all sessions.
    pub(crate) const LOWEST: Self = Self { restore: RestoreEpoch(0), revision: Revision(0) };

    /// Reads `restore.revision`. None when the text is no session id, or not in its one form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (restore, revision) = text.split_once('.')?;
        let restore = RestoreEpoch(restore.parse().ok()?);
        let id = Self { restore, revision: Revision(revision.parse().ok()?) };
        (id.to_string() == text).then_some(id)
    }

    /// Its bytes in keys: sessions in the order in which they were opened.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.restore.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.revision.0.to_be_bytes());
        bytes
    }

    /// The session of a key that begins with its bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (restore, rest) = bytes.split_first_chunk()?;
        let revision = rest.first_chunk()?;
        Some(Self {
            restore: RestoreEpoch(u64::from_be_bytes(*restore)),
            revision: Revision(u64::from_be_bytes(*revision)),
        })
    }
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

/// An ownership epoch: grows with every grant and whenever an owned partition gets or loses processes,
/// across restores too, and is never reused.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    /// The restore epoch at the grant.
    pub restore: RestoreEpoch,
    /// The revision of the grant, or at which the owner got or lost processes of the partition.
    pub revision: Revision,
}

impl Epoch {
    /// Reads `restore.revision`. None when the text is no epoch, or not in its one form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let SessionId { restore, revision } = SessionId::parse(text)?;
        Some(Self { restore, revision })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.restore, self.revision)
    }
}
