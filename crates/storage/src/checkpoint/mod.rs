//! Checkpoints: the state as of a log entry, in blocks.
//!
//! A checkpoint is a sequence of self-checking blocks. Block 0, the manifest, says what follows
//! (summary, position, membership, checksums of all blocks); the others hold records in key order,
//! then the history. They are sent to a follower in this order as they are.

use std::io;

use bytes::Bytes;
use openraft::storage::RaftSnapshotBuilder;

use crate::{
    error::CheckpointError,
    raft_types::{Snapshot, SnapshotMeta, TypeConfig},
};

/// A complete checkpoint on disk, built here or received. As long as a handle lives, its blocks
/// stay, whatever newer checkpoints come. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Checkpoint {}

impl Checkpoint {
    /// Which log entries and which membership it covers.
    #[must_use]
    pub fn meta(&self) -> SnapshotMeta {
        unimplemented!()
    }

    /// Names it in messages and logs.
    #[must_use]
    pub fn id(&self) -> String {
        unimplemented!()
    }

    /// How many blocks there are, the manifest included.
    #[must_use]
    pub fn blocks(&self) -> usize {
        unimplemented!()
    }

    /// Bytes of all blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }

    /// One block, checked. A damaged one is never returned.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub async fn block(&self, _number: usize) -> Result<Bytes, CheckpointError> {
        unimplemented!()
    }
}

/// Collects the blocks of a checkpoint from a peer, in order, on disk.
pub struct CheckpointWriter {}

impl CheckpointWriter {
    /// Takes the next block; the first is the manifest.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] when it is not the block that the manifest describes.
    pub async fn push(&mut self, _block: Bytes) -> Result<(), CheckpointError> {
        unimplemented!()
    }

    /// Ends: all blocks are there. The meta comes from the manifest.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] when blocks are missing.
    pub async fn finish(self) -> Result<Snapshot, CheckpointError> {
        unimplemented!()
    }
}

/// All checkpoints of a disk. A clone is another handle.
#[derive(Clone)]
pub struct Checkpoints {}

impl Checkpoints {
    /// The current one.
    #[must_use]
    pub fn current(&self) -> Option<Checkpoint> {
        unimplemented!()
    }

    /// Begins to receive one. Dropped without [`CheckpointWriter::finish`], its blocks go again.
    #[must_use]
    pub fn receive(&self) -> CheckpointWriter {
        unimplemented!()
    }
}

/// Builds a checkpoint of a frozen state, for openraft.
pub struct CheckpointBuilder {}

impl RaftSnapshotBuilder<TypeConfig> for CheckpointBuilder {
    type SnapshotData = Checkpoint;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        unimplemented!()
    }
}
