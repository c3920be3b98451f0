//! The forms in which openraft's types are kept on disk, so that theirs may change.
//!
//! Everything is little-endian or bincode's standard configuration, behind a version byte and a
//! checksum ([`seal`]). A change of layout needs a new version and a reader for the old one.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::codec;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::raft_types::{LogId, MemberAddress, Membership, StoredMembership, Vote};

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

impl From<LogId> for Position {
    fn from(id: LogId) -> Self {
        Self { term: id.committed_leader_id().term, index: id.index() }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> Self {
        Self::new_term_index(position.term, position.index)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {} of term {}", self.index, self.term)
    }
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    /// Before the candidate, so that the order of votes is that of the fields: within a term there
    /// is one candidate, and a committed vote is the newer one.
    pub(crate) committed: bool,
    pub(crate) voted_for: u64,
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        let (term, voted_for) = (vote.leader_id.term, vote.leader_id.voted_for);
        Self { term, voted_for, committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        if record.committed {
            Self::new_committed(record.term, record.voted_for)
        } else {
            Self::new(record.term, record.voted_for)
        }
    }
}

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    configs: Vec<BTreeSet<u64>>,
    /// Peer and client address of each member.
    members: BTreeMap<u64, (String, String)>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        let address = |node: &MemberAddress| (node.peer.clone(), node.client.clone());
        Self {
            configs: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(&id, node)| (id, address(node))).collect(),
        }
    }
}

impl MembershipRecord {
    pub(crate) fn restore(self) -> Result<Membership, FormatError> {
        if self.configs.is_empty() && self.members.is_empty() {
            return Ok(Membership::default());
        }
        let members = self.members.into_iter();
        let nodes: BTreeMap<u64, MemberAddress> =
            members.map(|(id, (peer, client))| (id, MemberAddress { peer, client })).collect();
        Membership::new(self.configs, nodes).map_err(|error| FormatError(error.to_string()))
    }
}

/// A membership with the position of its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipRecord {
    at: Option<Position>,
    membership: MembershipRecord,
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> Self {
        Self { at: stored.log_id().map(Position::from), membership: stored.membership().into() }
    }
}

impl StoredMembershipRecord {
    pub(crate) fn restore(self) -> Result<StoredMembership, FormatError> {
        Ok(StoredMembership::new(self.at.map(LogId::from), self.membership.restore()?))
    }
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FormatError(pub(crate) String);

/// The version that [`seal`] writes.
const VERSION: u8 = 1;

/// Bytes in front of a sealed value.
const HEADER_BYTES: usize = 9;

/// Encodes a value: version u8, checksum u32 of all the rest, length u32, bincode.
pub(crate) fn seal<T: Serialize>(value: &T) -> Vec<u8> {
    seal_as(VERSION, value)
}

/// As [`seal`], for a value whose layout has a version of its own.
pub(crate) fn seal_as<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("writing to a Vec does not fail, and every type of this crate is encodable");
    let length = u32::try_from(bytes.len() - HEADER_BYTES).expect("sealed values are small");
    bytes[5..9].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(version, &bytes[5..]);
    bytes[0] = version;
    bytes[1..5].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Decodes what [`seal`] gave. Bytes after the value are accepted: slots are padded.
pub(crate) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    unseal_as(VERSION, bytes)
}

/// Decodes what [`seal_as`] gave.
pub(crate) fn unseal_as<T: DeserializeOwned>(wanted: u8, bytes: &[u8]) -> Result<T, FormatError> {
    let (version, value) = open(bytes)?;
    if version != wanted {
        return Err(FormatError(format!(
            "format version {version}, this build reads version {wanted}"
        )));
    }
    let (decoded, used) =
        codec::decode_part(value).map_err(|error| FormatError(error.to_string()))?;
    if used == value.len() { Ok(decoded) } else { Err(FormatError("bytes left over".into())) }
}

/// The version of a sealed value that is as it was written, whatever that version is.
pub(crate) fn version(bytes: &[u8]) -> Option<u8> {
    open(bytes).ok().map(|(version, _)| version)
}

/// Checks a sealed value; its version, and the encoded value.
fn open(bytes: &[u8]) -> Result<(u8, &[u8]), FormatError> {
    let short = || FormatError(format!("{} bytes are too short", bytes.len()));
    let Some((&[version, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() else {
        return Err(short());
    };
    let length = *rest.first_chunk::<4>().ok_or_else(short)?;
    let end = usize::try_from(u32::from_le_bytes(length)).ok().and_then(|n| n.checked_add(4));
    let sealed = end.and_then(|end| rest.get(..end)).ok_or_else(short)?;
    if checksum(version, sealed) != u32::from_le_bytes([a, b, c, d]) {
        return Err(FormatError("the checksum is wrong".into()));
    }
    Ok((version, &sealed[4..]))
}

fn checksum(version: u8, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let vote = VoteRecord { term: 7, committed: true, voted_for: 300 };
        assert_eq!(seal(&vote), [1, 123, 58, 228, 187, 5, 0, 0, 0, 7, 1, 251, 44, 1]);
        assert_eq!(unseal::<VoteRecord>(&seal(&vote)), Ok(vote));
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let bytes = seal(&Position { term: 3, index: 1 << 40 });
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal::<Position>(&flipped).is_err(), "bit {bit}");
        }
    }

    /// What passes the checksum and claims to be longer than it is.
    #[test]
    fn claimed_lengths_are_not_allocated() {
        for length in [1_u64 << 24, 1 << 40, i64::MAX as u64, u64::MAX] {
            // A number that serde writes as bincode writes a length that is large.
            let error = unseal::<String>(&seal(&length)).unwrap_err();
            assert!(error.to_string().starts_with("damaged: "), "{error}");
            unseal::<(Vec<u8>, String)>(&seal(&length)).unwrap_err();
        }
    }

    #[test]
    fn votes_are_ordered_as_openraft_orders_them() {
        let votes = [Vote::new(1, 1), Vote::new_committed(1, 1), Vote::new(2, 9), Vote::new(3, 1)];
        for pair in votes.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(VoteRecord::from(&pair[0]) < VoteRecord::from(&pair[1]));
            assert_eq!(Vote::from(VoteRecord::from(&pair[0])), pair[0]);
        }
    }

    #[test]
    fn memberships_come_back() {
        let node = |n: u64| MemberAddress { peer: format!("p{n}:1"), client: format!("c{n}:2") };
        let membership = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            (1..=4).map(|n| (n, node(n))).collect::<BTreeMap<_, _>>(),
        )
        .unwrap();
        let stored = StoredMembership::new(Some(LogId::new_term_index(4, 9)), membership);
        let bytes = seal(&StoredMembershipRecord::from(&stored));
        assert_eq!(unseal::<StoredMembershipRecord>(&bytes).unwrap().restore(), Ok(stored));
        let none = StoredMembership::default();
        let bytes = seal(&StoredMembershipRecord::from(&none));
        assert_eq!(unseal::<StoredMembershipRecord>(&bytes).unwrap().restore(), Ok(none));
    }
}
