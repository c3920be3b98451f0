//! Backups: a state at one revision, as bytes that can be checked without a cluster.
//!
//! ```text
//! magic 8 bytes | version u8 | format of core's types u8
//! length u32 | header block       where it comes from, and what it holds
//! length u32 | records block ...  in key order
//! length u32 | end block          how much there was, and the checksum of it all
//! ```
//!
//! Blocks are those of checkpoints: each has its own checksum, and numbers are little-endian. The
//! history is left out: nobody can resume across a restore.
//!
//! - `write`: a state as pieces, made one by one, so that neither side holds the whole
//! - `read`: back, with every checksum, count and rule checked
//!
//! Invariants: what is read without an error is the state that was saved, whole; whatever the bytes
//! are, reading ends with a value or an error. Must not know how a backup travels, or what a
//! restore makes of it.

mod read;
mod write;

use std::io;

use quorate_core::{Revision, checkpoint::Summary};
use serde::{Deserialize, Serialize};

pub use read::{Backup, read};
pub use write::{BackupPiece, BackupPieces};

/// What every backup begins with: no text, and damaged by a transfer that changes line ends.
const MAGIC: [u8; 8] = *b"\x89QRT\r\n\x1a\n";

/// The version of the file's layout that is written.
const VERSION: u8 = 1;

/// The largest block that is read: one record can be as large as the largest command.
const BLOCK_BYTES_MAX: u32 = 256 << 20;

/// Where a backup comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The name of the cluster.
    pub cluster_name: String,
    /// When it was taken, by the coordinator's clock: milliseconds since 1970.
    pub taken_ms: u64,
    /// The version of the software that wrote it.
    pub software: String,
}

/// The first block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    origin: Origin,
    summary: Summary,
}

/// The last block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    /// How many blocks came before it.
    blocks: u64,
    /// How many bytes came before it, from the first of the file on.
    bytes: u64,
    /// XXH3 (64 bit) of these bytes.
    checksum: u64,
}

/// Why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not begin like one.
    #[error("this is no backup of Quorate")]
    Foreign,
    /// It was written by a version that this build does not read.
    #[error(
        "the backup has format {found}, this build reads format {wanted}: use the version of \
         quorate that wrote it"
    )]
    Version {
        /// What it has.
        found: String,
        /// What this build reads.
        wanted: String,
    },
    /// It ends too early.
    #[error("the backup is cut off after {0} bytes")]
    CutOff(u64),
    /// It is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// It cannot be read.
    #[error("cannot read the backup: {0}")]
    Io(#[from] io::Error),
}

impl Header {
    /// The revision after the state's; None: there is none, so it cannot go on.
    fn next_revision(&self) -> Option<Revision> {
        self.summary.revision.get().checked_add(1).map(Revision)
    }
}

#[cfg(test)]
mod fuzz;
