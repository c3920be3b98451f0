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
