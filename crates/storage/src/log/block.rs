//! Log blocks: runs of consecutive entries, each with its own checksum.
//!
//! ```text
//! version u8 | crc32 u32 of what follows | first index u64 | chain before u64 | count u32 | entry*
//! entry: term u64 | kind u8 | length u32 | payload
//! ```
//!
//! All numbers are little-endian. The chain is a hash over all entries from the first one that
//! the log ever held: `xxh3(entry, seed = chain before it)`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    format::{FormatError, MembershipRecord, seal, unseal},
    raft_types::{Entry, LogId, Proposal},
};

/// The version that is written.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 25;
/// Bytes in front of an entry's payload.
pub(crate) const ENTRY_BYTES: usize = 13;

const BLANK: u8 = 0;
const BATCH: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// An encoded block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The index of its first entry.
    pub(crate) first: u64,
    /// The index of its last entry.
    pub(crate) last: u64,
    /// The term of its last entry.
    pub(crate) last_term: u64,
    /// The chain after its last entry.
    pub(crate) chain: u64,
    /// The encoded block.
    pub(crate) bytes: Bytes,
}

/// Collects entries into a block.
pub(crate) struct BlockBuilder {
    first: u64,
    count: u32,
    last_term: u64,
    chain: u64,
    bytes: BytesMut,
}

impl BlockBuilder {
    /// Starts a block.
    pub(crate) fn new(first: u64, chain: u64) -> Self {
        let mut bytes = BytesMut::with_capacity(4096);
        bytes.put_u8(VERSION);
        bytes.put_u32_le(0);
        bytes.put_u64_le(first);
        bytes.put_u64_le(chain);
        bytes.put_u32_le(0);
        Self { first, count: 0, last_term: 0, chain, bytes }
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let start = self.bytes.len();
        let term = entry.log_id.committed_leader_id().term;
        self.bytes.put_u64_le(term);
        match &entry.payload {
            EntryPayload::Blank => self.payload(BLANK, &[]),
            EntryPayload::Normal(proposal) => self.payload(BATCH, proposal.bytes()),
            EntryPayload::Membership(membership) => {
                self.payload(MEMBERSHIP, &seal(&MembershipRecord::from(membership)));
            }
        }
        self.chain = xxh3_64_with_seed(&self.bytes[start..], self.chain);
        self.count += 1;
        self.last_term = term;
    }

    fn payload(&mut self, kind: u8, payload: &[u8]) {
        self.bytes.put_u8(kind);
        let length = u32::try_from(payload.len()).expect("the log refuses entries of 4 GiB");
        self.bytes.put_u32_le(length);
        self.bytes.put_slice(payload);
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no entry yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ends the block. It must not be empty.
    pub(crate) fn finish(mut self) -> Block {
        debug_assert!(self.count > 0);
        self.bytes[21..25].copy_from_slice(&self.count.to_le_bytes());
        let sum = crc32fast::hash(&self.bytes[5..]);
        self.bytes[1..5].copy_from_slice(&sum.to_le_bytes());
        Block {
            first: self.first,
            last: self.first + u64::from(self.count) - 1,
            last_term: self.last_term,
            chain: self.chain,
            bytes: self.bytes.freeze(),
        }
    }
}

/// A decoded block.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The index of its first entry.
    pub(crate) first: u64,
    /// The chain before its first entry.
    pub(crate) chain_before: u64,
    /// The entries with the chain after each. They share the block's bytes.
    pub(crate) entries: Vec<(Entry, u64)>,
}

/// Decodes a block and checks it.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Decoded, FormatError> {
    if bytes.len() < HEADER_BYTES {
        return Err(FormatError(format!("a log block of {} bytes is too short", bytes.len())));
    }
    let (version, sum) = (bytes.get_u8(), bytes.get_u32_le());
    if version != VERSION {
        return Err(FormatError(format!("log block of format version {version}")));
    }
    if crc32fast::hash(&bytes) != sum {
        return Err(FormatError("the checksum of a log block is wrong".into()));
    }
    let (first, chain_before, count) = (bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_u32_le());
    let Some(end) = first.checked_add(u64::from(count)) else {
        return Err(FormatError(format!("a log block of {count} entries from {first} on")));
    };
    let mut chain = chain_before;
    let mut entries = Vec::new();
    for index in first..end {
        let whole = bytes.clone();
        let entry = decode_entry(index, &mut bytes)?;
        chain = xxh3_64_with_seed(&whole[..whole.len() - bytes.len()], chain);
        entries.push((entry, chain));
    }
    if !bytes.is_empty() || entries.is_empty() {
        return Err(FormatError("a log block does not hold what its header says".into()));
    }
    Ok(Decoded { first, chain_before, entries })
}

fn decode_entry(index: u64, bytes: &mut Bytes) -> Result<Entry, FormatError> {
    let short = || FormatError(format!("entry {index} is cut off"));
    if bytes.len() < ENTRY_BYTES {
        return Err(short());
    }
    let (term, kind, length) = (bytes.get_u64_le(), bytes.get_u8(), bytes.get_u32_le());
    let length = usize::try_from(length).map_err(|_| short())?;
    if bytes.len() < length {
        return Err(short());
    }
    let payload = bytes.split_to(length);
    let payload = match kind {
        BLANK => EntryPayload::Blank,
        BATCH => EntryPayload::Normal(Proposal::from_bytes(payload)),
        MEMBERSHIP => EntryPayload::Membership(unseal::<MembershipRecord>(&payload)?.restore()?),
        kind => return Err(FormatError(format!("entry {index} is of an unknown kind {kind}"))),
    };
    Ok(Entry { log_id: LogId::new_term_index(term, index), payload })
}

/// Bytes that an entry takes, in memory and on disk, about.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(proposal) => proposal.bytes().len(),
        EntryPayload::Membership(membership) => 64 * membership.nodes().count(),
    };
    ENTRY_BYTES + payload
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::raft_types::{MemberAddress, Membership};

    fn entries() -> Vec<Entry> {
        let node = MemberAddress { peer: "p:1".into(), client: "c:2".into() };
        let membership =
            Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, node)])).unwrap();
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal::from_bytes(Bytes::from_static(&[1, 2, 3]))),
            EntryPayload::Membership(membership),
        ];
        let entry = |(index, payload)| Entry { log_id: LogId::new_term_index(5, index), payload };
        (9..).zip(payloads).map(entry).collect()
    }

    fn block() -> Block {
        let mut builder = BlockBuilder::new(9, 77);
        entries().iter().for_each(|entry| builder.push(entry));
        builder.finish()
    }

    #[test]
    fn golden_bytes() {
        let block = block();
        assert_eq!((block.first, block.last, block.last_term), (9, 11, 5));
        assert_eq!(block.chain, GOLDEN_CHAIN);
        assert_eq!(block.bytes, Bytes::from_static(GOLDEN));
    }

    #[test]
    fn blocks_come_back() {
        let decoded = decode(block().bytes).unwrap();
        assert_eq!((decoded.first, decoded.chain_before), (9, 77));
        assert_eq!(decoded.entries.last().map(|(_, chain)| *chain), Some(GOLDEN_CHAIN));
        let found: Vec<Entry> = decoded.entries.into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(found, entries());
    }

    #[test]
    fn more_entries_than_there_are_indices_are_refused() {
        let mut bytes = block().bytes.to_vec();
        bytes[5..13].copy_from_slice(&(u64::MAX - 2).to_le_bytes());
        bytes[21..25].copy_from_slice(&9_u32.to_le_bytes());
        let sum = crc32fast::hash(&bytes[5..]);
        bytes[1..5].copy_from_slice(&sum.to_le_bytes());
        let error = decode(bytes.into()).unwrap_err();
        assert_eq!(error.to_string(), "a log block of 9 entries from 18446744073709551613 on");
    }

    #[test]
    fn the_chain_does_not_depend_on_the_blocks() {
        let mut chain = 77;
        for entry in entries() {
            let mut builder = BlockBuilder::new(entry.log_id.index(), chain);
            builder.push(&entry);
            chain = builder.finish().chain;
        }
        assert_eq!(chain, block().chain);
    }

    #[test]
    fn damage_is_noticed() {
        let whole = block().bytes;
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(flipped.into()).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(decode(whole.slice(..length)).is_err(), "cut to {length}");
        }
    }

    proptest::proptest! {
        /// Whatever passes the checksum is decoded or refused, never a panic.
        #[test]
        fn any_bytes_are_decoded_or_refused(
            mut bytes: Vec<u8>,
            cut in 0usize..200,
            at in 25usize..120,
            with: u8,
        ) {
            if bytes.len() % 2 == 0 {
                bytes = block().bytes.to_vec();
                bytes.truncate(cut.max(HEADER_BYTES));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = with;
                }
            }
            if bytes.len() >= HEADER_BYTES {
                bytes[0] = VERSION;
                let sum = crc32fast::hash(&bytes[5..]);
                bytes[1..5].copy_from_slice(&sum.to_le_bytes());
            }
            if let Ok(decoded) = decode(bytes.into()) {
                proptest::prop_assert!(!decoded.entries.is_empty());
            }
        }
    }

    const GOLDEN_CHAIN: u64 = 4_091_108_390_706_116_735;
    const GOLDEN: &[u8] =
        b"\x01\xf8\xae\xc7\xea\t\0\0\0\0\0\0\0M\0\0\0\0\0\0\0\x03\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\x03\0\0\0\x01\x02\x03\x05\0\0\0\0\0\0\0\x02\x16\0\0\0\x01\xb2\xd8\xee\x0b\r\0\0\0\x01\x01\x01\x01\x01\x03p:1\x03c:2";
}
