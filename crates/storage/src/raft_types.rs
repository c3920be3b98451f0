//! The types that openraft is used with. They stay inside `storage` and `node`: wire and disk
//! formats have their own.

use std::fmt;

use bytes::Bytes;
use quorate_core::{Batch, LogIndex, Outcome, Request, Term, codec};

openraft::declare_raft_types!(
    /// Quorate's choice of openraft types. One leader per term: `leader_id_std`.
    pub TypeConfig:
        D = Proposal,
        R = Outcomes,
        NodeId = u64,
        Node = MemberAddress,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = crate::runtime::Runtime,
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

/// A request, encoded once by whoever takes it. A clone shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedRequest(Bytes);

impl EncodedRequest {
    /// Encodes a request.
    #[must_use]
    pub fn new(request: &Request) -> Self {
        Self(codec::encode(request).into())
    }

    /// Takes bytes that came from a peer.
    ///
    /// # Errors
    /// When they are no request of a format that this build reads.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, codec::DecodeError> {
        codec::decode::<Request>(&bytes)?;
        Ok(Self(bytes))
    }

    /// The encoded bytes, for a peer.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// How many bytes it takes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an encoded request is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Without the format version, which the whole batch has once.
    fn body(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl fmt::Debug for EncodedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedRequest({} bytes)", self.0.len())
    }
}

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

    /// Joins requests that were encoded one by one: the same bytes as [`Proposal::new`] of a batch
    /// of them, since a list is encoded as its length and its elements.
    #[must_use]
    pub fn join(time_ms: u64, commands: &[EncodedRequest]) -> Self {
        let count = commands.len() as u64;
        let bytes = commands.iter().map(EncodedRequest::len).sum::<usize>();
        let mut joined = codec::encode(&(time_ms, count));
        joined.reserve_exact(bytes);
        for command in commands {
            joined.extend_from_slice(command.body());
        }
        Self(joined.into())
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

#[cfg(test)]
mod tests {
    use quorate_core::{Command, Key, Operation, Record, Transaction};

    use super::*;

    fn put(number: usize) -> Request {
        let key = Key::entry(format!("key-{number}"));
        let record = Record::Entry(vec![7u8; number].into());
        let operation = Operation::Put { key, record, return_previous: number.is_multiple_of(2) };
        Command::Transaction(Transaction { success: vec![operation], ..Transaction::default() })
            .into()
    }

    #[test]
    fn joined_commands_are_the_batch() {
        for count in [0, 1, 2, 300] {
            let requests: Vec<Request> = (0..count).map(put).collect();
            let encoded: Vec<_> = requests.iter().map(EncodedRequest::new).collect();
            let batch = Batch { time_ms: 1_700_000_000_123, requests };
            let joined = Proposal::join(batch.time_ms, &encoded);
            assert_eq!(joined, Proposal::new(&batch));
            assert_eq!(joined.decode().unwrap(), batch);
        }
    }

    #[test]
    fn a_peers_bytes_must_be_a_request() {
        let encoded = EncodedRequest::new(&put(3));
        assert_eq!(EncodedRequest::from_bytes(encoded.bytes().clone()).unwrap(), encoded);
        assert!(EncodedRequest::from_bytes(Bytes::from_static(b"\x01\xff")).is_err());
        assert!(EncodedRequest::from_bytes(Bytes::new()).is_err());
    }
}
