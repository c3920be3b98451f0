//! What a checkpoint consists of: its first block.

use bytes::Bytes;
use quorate_core::{Key, Revision, checkpoint::Summary};
use serde::{Deserialize, Serialize};

use super::block::{self, Encoder, Kind, damaged};
use crate::{
    error::CheckpointError,
    format::{Position, StoredMembershipRecord},
    raft_types::{LogId, SnapshotMeta},
};

/// Describes a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Describes the state.
    pub(crate) summary: Summary,
    /// The last log entry it covers.
    pub(crate) last: Option<Position>,
    /// The membership as of that entry.
    pub(crate) membership: StoredMembershipRecord,
    /// The blocks that follow: records, then events.
    pub(crate) blocks: Vec<BlockRef>,
}

/// Describes a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRef {
    /// What it covers.
    pub(crate) span: Span,
    /// How many items it holds.
    pub(crate) count: u32,
    /// How many bytes it has.
    pub(crate) bytes: u32,
    /// The checksum that it carries.
    pub(crate) checksum: u32,
}

/// What a block covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Span {
    /// Records from this key on, up to the next block's.
    Records {
        /// The first key.
        first: Key,
    },
    /// The events of these revisions.
    Events {
        /// The first one's.
        first: Revision,
        /// The last one's.
        last: Revision,
    },
}

impl BlockRef {
    /// Describes an encoded block.
    pub(crate) fn new(span: Span, count: u32, block: &Bytes) -> Self {
        let bytes = u32::try_from(block.len()).expect("blocks are far smaller than 4 GiB");
        Self { span, count, bytes, checksum: block::checksum(block) }
    }

    /// What the block holds.
    pub(crate) fn kind(&self) -> Kind {
        match self.span {
            Span::Records { .. } => Kind::Records,
            Span::Events { .. } => Kind::Events,
        }
    }

    /// Checks that this is the block described.
    pub(crate) fn check(&self, block: &Bytes) -> Result<(), CheckpointError> {
        let (_, count) = block::open(block, self.kind())?;
        let same = block.len() as u64 == u64::from(self.bytes)
            && block::checksum(block) == self.checksum
            && count == self.count;
        if same { Ok(()) } else { Err(damaged("not the block that the manifest describes".into())) }
    }
}

impl Manifest {
    /// The encoded manifest: block 0.
    pub(crate) fn encode(&self) -> Bytes {
        let mut encoder = Encoder::new(Kind::Manifest);
        encoder.push(self);
        encoder.finish()
    }

    /// Decodes block 0.
    pub(crate) fn decode(block: &Bytes) -> Result<Self, CheckpointError> {
        let mut manifest = None;
        block::decode(block, Kind::Manifest, |found| {
            manifest = Some(found);
            Ok(())
        })?;
        manifest.ok_or_else(|| damaged("the manifest is empty".into()))
    }

    /// What openraft wants to know.
    pub(crate) fn meta(&self) -> Result<SnapshotMeta, CheckpointError> {
        let membership = self.membership.clone().restore();
        Ok(SnapshotMeta {
            last_log_id: self.last.map(LogId::from),
            last_membership: membership.map_err(|error| damaged(error.to_string()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_core::{
        Change, ClusterId, Event, Identity, Origin, Record, RestoreEpoch, StateHash, Versioned,
    };

    use super::*;
    use crate::{checkpoint::block, raft_types::StoredMembership};

    fn versioned() -> Arc<Versioned<Record>> {
        let (created, modified) = (Revision(2), Revision(3));
        let value = Record::Entry(Bytes::from_static(b"v").into());
        Arc::new(Versioned { created, modified, version: 2, value })
    }

    fn records() -> Bytes {
        let mut encoder = Encoder::new(Kind::Records);
        encoder.push(&(Key::entry("k"), versioned()));
        encoder.finish()
    }

    fn events() -> Bytes {
        let mut encoder = Encoder::new(Kind::Events);
        let changes = vec![Change::new(Key::entry("k"), Some(versioned()), None)];
        encoder.push(&Event {
            revision: Revision(3),
            time_ms: 1000,
            changes,
            origin: Origin::default(),
        });
        encoder.finish()
    }

    fn manifest() -> Manifest {
        let identity = Identity { cluster_id: ClusterId(7), restore_epoch: RestoreEpoch(1) };
        let (first, last) = (Revision(3), Revision(3));
        Manifest {
            summary: Summary {
                identity,
                revision: Revision(3),
                time_ms: 1000,
                records: 1,
                events: 1,
                oldest: Revision(3),
                hash: StateHash(99),
            },
            last: Some(Position { term: 2, index: 40 }),
            membership: (&StoredMembership::default()).into(),
            blocks: vec![
                BlockRef::new(Span::Records { first: Key::entry("k") }, 1, &records()),
                BlockRef::new(Span::Events { first, last }, 1, &events()),
            ],
        }
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(records(), Bytes::from_static(RECORDS));
        assert_eq!(events(), Bytes::from_static(EVENTS));
        assert_eq!(manifest().encode(), Bytes::from_static(MANIFEST));
    }

    #[test]
    fn everything_comes_back() {
        assert_eq!(Manifest::decode(&manifest().encode()).unwrap(), manifest());
        let mut found = Vec::new();
        block::records(&records(), |item| {
            found.push(item);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [(Key::entry("k"), versioned())]);
        let mut count = 0;
        block::events(&events(), |event| {
            assert_eq!((event.revision, event.changes.len()), (Revision(3), 1));
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn damage_is_noticed() {
        let whole = manifest().encode();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped.into()).is_err(), "bit {bit}");
        }
        let described = &manifest().blocks[0];
        assert!(described.check(&records()).is_ok());
        assert!(described.check(&events()).is_err());
        assert!(Manifest::decode(&records()).is_err());
    }

    proptest::proptest! {
        /// Whatever passes the checksum is decoded or refused, never a panic.
        #[test]
        fn any_bytes_are_decoded_or_refused(
            which in 0usize..3,
            at in 4usize..80,
            with: u8,
            cut in 11usize..120,
        ) {
            let mut bytes = [manifest().encode(), records(), events()][which].to_vec();
            bytes.truncate(cut);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
            let sum = crc32fast::hash(&bytes[4..]);
            bytes[..4].copy_from_slice(&sum.to_le_bytes());
            let bytes = Bytes::from(bytes);
            let _ = Manifest::decode(&bytes);
            let _ = block::records(&bytes, |_| Ok(()));
            let _ = block::events(&bytes, |_| Ok(()));
        }
    }

    const RECORDS: &[u8] = b"\xa2\xb3\xfd(\x01\x01\x05\x01\0\0\0\x01\x01k\x02\x03\x02\0\x01v\0";
    const EVENTS: &[u8] =
        b"B\x16K7\x01\x02\x05\x01\0\0\0\x03\xfb\xe8\x03\x01\x01\x01k\x01\x02\x03\x02\0\x01v\0\0\0\0";
    const MANIFEST: &[u8] =
        b"\xe3wU\xed\x01\0\x05\x01\0\0\0\x07\x01\x03\xfb\xe8\x03\x01\x01\x03c\x01\x02(\0\0\0\x02\0\x01\x01k\x01\x15\xfc\xa2\xb3\xfd(\x01\x03\x03\x01\x1e\xfcB\x16K7";
}
