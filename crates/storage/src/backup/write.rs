//! A state as the pieces of a backup, made when they are asked for.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::{Key, Kind as RecordKind, State, codec};
use xxhash_rust::xxh3::Xxh3;

use super::{End, Header, MAGIC, Origin, VERSION};
use crate::checkpoint::block::{Encoder, Kind};

/// Bytes of encoded records at which a block is closed.
const BLOCK_BYTES: usize = 64 << 10;

/// The next bytes of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPiece {
    /// The bytes. Some 64 KiB, more when a record is larger.
    pub bytes: Bytes,
    /// How many records were in the pieces up to and with this one.
    pub records: u64,
    /// Whether the backup is complete with it.
    pub last: bool,
}

/// The pieces of a backup in their order. Holds on to the state until the last one was taken or
/// until it is dropped.
pub struct BackupPieces {
    state: State,
    origin: Origin,
    phase: Phase,
    sum: Xxh3,
    bytes: u64,
    blocks: u64,
    records: u64,
}

enum Phase {
    Header,
    /// The records after this key; None: from the first on.
    Records(Option<Key>),
    End,
    Done,
}

impl BackupPieces {
    /// Begins the backup of a state.
    #[must_use]
    pub fn new(state: State, origin: Origin) -> Self {
        let (phase, sum) = (Phase::Header, Xxh3::new());
        // Without the history, the older records that only it knows can go.
        let state = state.without_history();
        Self { state, origin, phase, sum, bytes: 0, blocks: 0, records: 0 }
    }

    /// How many records the whole backup has.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.state.summary().records
    }

    fn header(&self) -> Bytes {
        let mut encoder = Encoder::new(Kind::BackupHeader);
        let (origin, summary) = (self.origin.clone(), self.state.summary());
        encoder.push(&Header { origin, summary });
        encoder.finish()
    }

    /// A block of the records after a key, and its last key; None: there are none left.
    fn block(&mut self, after: Option<&Key>) -> Option<(Key, Bytes)> {
        let lowest = Key { kind: RecordKind::ALL[0], bytes: Bytes::new() };
        let mut encoder = Encoder::new(Kind::Records);
        let mut last = None;
        for (key, record) in self.state.records_from(after.unwrap_or(&lowest)) {
            if after == Some(&key) {
                continue;
            }
            encoder.push(&(&key, record));
            last = Some(key);
            if encoder.len() >= BLOCK_BYTES {
                break;
            }
        }
        let last = last?;
        self.records += u64::from(encoder.count());
        Some((last, encoder.finish()))
    }

    fn end(&self) -> Bytes {
        let (blocks, bytes, checksum) = (self.blocks, self.bytes, self.sum.digest());
        let mut encoder = Encoder::new(Kind::BackupEnd);
        encoder.push(&End { blocks, bytes, checksum });
        encoder.finish()
    }

    /// A piece of a block, with what comes in front of it.
    fn piece(&mut self, prelude: &[u8], block: &Bytes, last: bool) -> BackupPiece {
        let mut bytes = BytesMut::with_capacity(prelude.len() + 4 + block.len());
        bytes.put_slice(prelude);
        bytes.put_u32_le(u32::try_from(block.len()).expect("a record is far smaller than 4 GiB"));
        bytes.put_slice(block);
        let bytes = bytes.freeze();
        self.sum.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.blocks += 1;
        BackupPiece { bytes, records: self.records, last }
    }
}

impl Iterator for BackupPieces {
    type Item = BackupPiece;

    fn next(&mut self) -> Option<BackupPiece> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Header => {
                let prelude = [&MAGIC[..], &[VERSION, codec::FORMAT]].concat();
                let header = self.header();
                self.phase = Phase::Records(None);
                Some(self.piece(&prelude, &header, false))
            }
            Phase::Records(after) => {
                let Some((last, block)) = self.block(after.as_ref()) else {
                    self.phase = Phase::End;
                    return self.next();
                };
                self.phase = Phase::Records(Some(last));
                Some(self.piece(&[], &block, false))
            }
            Phase::End => {
                let end = self.end();
                Some(self.piece(&[], &end, true))
            }
            Phase::Done => None,
        }
    }
}
