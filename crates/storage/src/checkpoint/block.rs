//! Checkpoint blocks: self-checking pieces, the same on disk and on the wire.
//!
//! ```text
//! crc32 u32 of the rest | version u8 | kind u8 | format of core's types u8 | count u32 | item*
//! ```
//!
//! Items are in bincode's standard configuration: a manifest, or records with their keys, or
//! events. Numbers are little-endian.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use quorate_core::{Event, Key, Record, Versioned, codec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::CheckpointError;

/// The version that is written.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 11;
/// Where the kind's code is.
const CODE_AT: usize = 5;

/// A record with its key, as it is in a block.
pub(crate) type Item = (Key, Arc<Versioned<Record>>);

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The manifest.
    Manifest,
    /// Records in key order.
    Records,
    /// Events in order.
    Events,
    /// What a backup begins with.
    BackupHeader,
    /// What a backup ends with.
    BackupEnd,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Manifest => 0,
            Self::Records => 1,
            Self::Events => 2,
            Self::BackupHeader => 3,
            Self::BackupEnd => 4,
        }
    }
}

/// The kind that a block says it is of, unchecked.
pub(crate) fn kind(block: &[u8]) -> Option<Kind> {
    const ALL: [Kind; 5] =
        [Kind::Manifest, Kind::Records, Kind::Events, Kind::BackupHeader, Kind::BackupEnd];
    let code = *block.get(CODE_AT)?;
    ALL.into_iter().find(|kind| kind.code() == code)
}

/// Collects items into a block.
pub(crate) struct Encoder {
    count: u32,
    bytes: Vec<u8>,
}

impl Encoder {
    /// Starts a block.
    pub(crate) fn new(kind: Kind) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..7].copy_from_slice(&[VERSION, kind.code(), codec::FORMAT]);
        Self { count: 0, bytes }
    }

    /// Adds an item.
    pub(crate) fn push<T: Serialize>(&mut self, item: &T) {
        bincode::serde::encode_into_std_write(item, &mut self.bytes, bincode::config::standard())
            .expect("writing to a Vec does not fail, and every stored type is encodable");
        self.count += 1;
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Items so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Ends the block.
    pub(crate) fn finish(mut self) -> Bytes {
        self.bytes[7..11].copy_from_slice(&self.count.to_le_bytes());
        let sum = crc32fast::hash(&self.bytes[4..]);
        self.bytes[..4].copy_from_slice(&sum.to_le_bytes());
        self.bytes.into()
    }
}

/// The checksum that a block carries; 0 for what is too short to be one.
pub(crate) fn checksum(block: &[u8]) -> u32 {
    block.first_chunk().map_or(0, |sum| u32::from_le_bytes(*sum))
}

/// Checks a block and gives its items' bytes and their count.
pub(crate) fn open(block: &Bytes, kind: Kind) -> Result<(Bytes, u32), CheckpointError> {
    if block.len() < HEADER_BYTES {
        return Err(damaged(format!("a block of {} bytes is too short", block.len())));
    }
    let mut rest = block.clone();
    let sum = rest.get_u32_le();
    if crc32fast::hash(&rest) != sum {
        return Err(damaged("the checksum of a block is wrong".into()));
    }
    let (version, code, format) = (rest.get_u8(), rest.get_u8(), rest.get_u8());
    if version != VERSION || format != codec::FORMAT {
        return Err(damaged(format!(
            "a block of version {version}.{format}, this build reads {VERSION}.{}",
            codec::FORMAT
        )));
    }
    if code != kind.code() {
        return Err(damaged(format!("a block of kind {code} where one of {kind:?} belongs")));
    }
    let count = rest.get_u32_le();
    Ok((rest, count))
}

/// Decodes a block's items, one after the other.
pub(crate) fn decode<T: DeserializeOwned>(
    block: &Bytes,
    kind: Kind,
    mut take: impl FnMut(T) -> Result<(), CheckpointError>,
) -> Result<u32, CheckpointError> {
    let (mut rest, count) = open(block, kind)?;
    for _ in 0..count {
        let (item, used) = codec::decode_part(&rest)
            .map_err(|error| damaged(format!("an item of a block: {error}")))?;
        rest.advance(used);
        take(item)?;
    }
    if rest.is_empty() { Ok(count) } else { Err(damaged("bytes left over in a block".into())) }
}

/// Decodes a block of records.
pub(crate) fn records(
    block: &Bytes,
    take: impl FnMut(Item) -> Result<(), CheckpointError>,
) -> Result<u32, CheckpointError> {
    decode(block, Kind::Records, take)
}

/// Decodes a block of events.
pub(crate) fn events(
    block: &Bytes,
    take: impl FnMut(Arc<Event>) -> Result<(), CheckpointError>,
) -> Result<u32, CheckpointError> {
    decode(block, Kind::Events, take)
}

/// A block that is not what was written.
pub(crate) fn damaged(message: String) -> CheckpointError {
    CheckpointError::Damaged(message)
}
