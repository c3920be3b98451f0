//! The types that openraft is used with. They stay inside `storage` and `node`: wire and disk
//! formats have their own.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use quorate_core::{Batch, Command, LogIndex, Outcome, Term, codec};
use serde::Serialize;

openraft::declare_raft_types!(
    /// Quorate's choice of openraft types. One leader per term: `leader_id_std`.
    pub TypeConfig:
        D = Proposal,
        R = Outcomes,
        NodeId = u64,
        Node = MemberAddress,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft::impls::TokioRuntime,
);

/// A position in the log.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// An entry of the log.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// A membership.
pub type Membership = openraft::Membership<u64, MemberAddress>;
/// A membership with the position of its entry.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;

/// Which log entries and which membership a checkpoint covers.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
/// A checkpoint with its meta.
pub type Snapshot =
    openraft::type_config::alias::SnapshotOf<TypeConfig, crate::checkpoint::Checkpoint>;

/// An encoded [`Batch`]. Encoded once by the leader; the same bytes go to the log, to the
/// followers and to apply. A clone shares them.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(Bytes);

impl Proposal {
    /// Encodes a batch.
    #[must_use]
    pub fn new(batch: &Batch) -> Self {
        Self(codec::encode(batch).into())
    }

    /// Encodes commands that are shared with whoever waits for them: the same bytes as
    /// [`Proposal::new`] of a batch of them.
    #[must_use]
    pub fn from_commands(time_ms: u64, commands: &[Arc<Command>]) -> Self {
        /// Encoded like a [`Batch`].
        #[derive(Serialize)]
        struct Shared<'a> {
            time_ms: u64,
            commands: &'a [Arc<Command>],
        }
        Self(codec::encode(&Shared { time_ms, commands }).into())
    }

    /// Wraps bytes that came from a log or a peer.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Decodes the batch.
    ///
    /// # Errors
    /// When the bytes are no batch of a format that this build reads.
    pub fn decode(&self) -> Result<Batch, codec::DecodeError> {
        codec::decode(&self.0)
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the commands of one log entry came to, in their order. Empty for an entry without
/// commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// The term of the entry.
    pub term: Term,
    /// The index of the entry.
    pub index: LogIndex,
    /// One for each command.
    pub outcomes: Vec<Outcome>,
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes at {}.{}", self.outcomes.len(), self.term, self.index)
    }
}

/// Where a member is reached, host:port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberAddress {
    /// By its peers.
    pub peer: String,
    /// By clients.
    pub client: String,
}

impl fmt::Display for MemberAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} client {}", self.peer, self.client)
    }
}
