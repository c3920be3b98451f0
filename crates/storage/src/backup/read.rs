//! Reads a backup and checks all of it.

use std::io::Read;

use bytes::Bytes;
use quorate_core::{Key, State, checkpoint::Builder, codec};
use xxhash_rust::xxh3::Xxh3;

use super::{BLOCK_BYTES_MAX, BackupError, End, Header, MAGIC, Origin, VERSION};
use crate::{
    checkpoint::block::{self, Kind},
    error::CheckpointError,
};

/// A backup that was read whole and checked.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Where it comes from.
    pub origin: Origin,
    /// The state as it was, without its history.
    pub state: State,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Reads a backup to its end and checks everything: checksums, counts, the state's hash and its
/// invariants. Holds the state in memory, as a coordinator does.
///
/// # Errors
/// [`BackupError`]: nothing of it can be trusted.
pub fn read(input: impl Read) -> Result<Backup, BackupError> {
    let mut blocks = Blocks { input, sum: Xxh3::new(), bytes: 0, blocks: 0 };
    blocks.prelude()?;
    let (kind, first) = blocks.next()?;
    if kind != Some(Kind::BackupHeader) {
        return Err(BackupError::Damaged("it does not begin with a header".into()));
    }
    let header: Header = single(&first, Kind::BackupHeader)?;
    let follows = header.next_revision() == Some(header.summary.oldest);
    if !follows || header.summary.events > 0 {
        return Err(BackupError::Damaged("its header tells of a history".into()));
    }
    let mut builder = Builder::new(header.summary);
    loop {
        let expected = blocks.total();
        let (kind, block) = blocks.next()?;
        match kind {
            Some(Kind::Records) => records(&block, &mut builder)?,
            Some(Kind::BackupEnd) => {
                let end: End = single(&block, Kind::BackupEnd)?;
                if end != expected {
                    let message = format!("{expected:?} was read where {end:?} was written");
                    return Err(BackupError::Damaged(message));
                }
                break;
            }
            _ => return Err(BackupError::Damaged("a block of another kind".into())),
        }
    }
    let bytes = blocks.finish()?;
    let state = builder.finish().map_err(|error| BackupError::Damaged(error.to_string()))?;
    Ok(Backup { origin: header.origin, state, bytes })
}

fn records(block: &Bytes, builder: &mut Builder) -> Result<(), BackupError> {
    let add = |(key, record): (Key, _)| {
        builder.record(key, record).map_err(|error| block::damaged(error.to_string()))
    };
    block::records(block, add).map_err(damaged)?;
    Ok(())
}

/// The one item of a block.
fn single<T: serde::de::DeserializeOwned>(block: &Bytes, kind: Kind) -> Result<T, BackupError> {
    let mut items = Vec::new();
    let take = |item| {
        items.push(item);
        Ok(())
    };
    block::decode(block, kind, take).map_err(damaged)?;
    match (items.pop(), items.is_empty()) {
        (Some(item), true) => Ok(item),
        _ => Err(BackupError::Damaged(format!("a block of kind {kind:?} holds one item"))),
    }
}

fn damaged(error: CheckpointError) -> BackupError {
    match error {
        CheckpointError::Damaged(message) => BackupError::Damaged(message),
        CheckpointError::Io(error) => BackupError::Io(error),
    }
}

/// The blocks of a file, in order, with what was read so far.
struct Blocks<R> {
    input: R,
    sum: Xxh3,
    bytes: u64,
    blocks: u64,
}

impl<R: Read> Blocks<R> {
    /// Reads what is in front of the first block.
    fn prelude(&mut self) -> Result<(), BackupError> {
        let mut bytes = [0; MAGIC.len() + 2];
        let read = fill(&mut self.input, &mut bytes)?;
        let (magic, versions) = bytes.split_at(MAGIC.len());
        if read == 0 {
            return Err(BackupError::CutOff(0));
        }
        if magic.get(..read.min(MAGIC.len())) != MAGIC.get(..read.min(MAGIC.len())) {
            return Err(BackupError::Foreign);
        }
        self.bytes = read as u64;
        if read < bytes.len() {
            return Err(BackupError::CutOff(self.bytes));
        }
        if versions != [VERSION, codec::FORMAT] {
            let show =
                |versions: &[u8]| versions.iter().map(u8::to_string).collect::<Vec<_>>().join(".");
            let (found, wanted) = (show(versions), show(&[VERSION, codec::FORMAT]));
            return Err(BackupError::Version { found, wanted });
        }
        self.sum.update(&bytes);
        Ok(())
    }

    /// What the end block must say if it comes next.
    fn total(&self) -> End {
        End { blocks: self.blocks, bytes: self.bytes, checksum: self.sum.digest() }
    }

    /// The next block, and the kind that it says it is of.
    fn next(&mut self) -> Result<(Option<Kind>, Bytes), BackupError> {
        let mut length = [0; 4];
        let read = fill(&mut self.input, &mut length)?;
        if read < length.len() {
            return Err(BackupError::CutOff(self.bytes + read as u64));
        }
        let bytes = u32::from_le_bytes(length);
        if bytes > BLOCK_BYTES_MAX {
            return Err(BackupError::Damaged(format!("a block of {bytes} bytes")));
        }
        // Grows with what is there, not with what is claimed.
        let mut block = Vec::new();
        self.input.by_ref().take(bytes.into()).read_to_end(&mut block)?;
        if block.len() as u64 != u64::from(bytes) {
            return Err(BackupError::CutOff(self.bytes + 4 + block.len() as u64));
        }
        self.sum.update(&length);
        self.sum.update(&block);
        self.bytes += 4 + u64::from(bytes);
        self.blocks += 1;
        Ok((block::kind(&block), block.into()))
    }

    /// Nothing may follow. Gives the size of the whole.
    fn finish(mut self) -> Result<u64, BackupError> {
        if fill(&mut self.input, &mut [0])? > 0 {
            return Err(BackupError::Damaged(format!("bytes follow its end at {}", self.bytes)));
        }
        Ok(self.bytes)
    }
}

/// Reads until the buffer is full or the input ends. Gives how much was read.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, BackupError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}
