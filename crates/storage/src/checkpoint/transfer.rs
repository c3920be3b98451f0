//! Collects the blocks of a checkpoint from a peer, on disk as they come.
//!
//! Invariant: a disk that fails meanwhile stops this coordinator. What was written before may be
//! lost without a further word, so another try of the peer must not find a disk that seems well.

use std::sync::Arc;

use bytes::Bytes;

use super::{Checkpoint, Checkpoints, block::damaged, manifest::Manifest};
use crate::{error::CheckpointError, fragment, raft_types::Snapshot, storage::run};

/// Collects the blocks of a checkpoint from a peer, in order, on disk. Holds none in memory but
/// the manifest.
pub struct CheckpointWriter {
    home: Checkpoints,
    head: Option<(Arc<Manifest>, Bytes)>,
    ids: Vec<u64>,
}

impl CheckpointWriter {
    pub(super) fn new(home: Checkpoints) -> Self {
        Self { home, head: None, ids: Vec::new() }
    }

    /// Takes the next block; the first is the manifest.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] when it is not the block that the manifest describes,
    /// [`CheckpointError::Io`] when the disk failed.
    pub async fn push(&mut self, block: Bytes) -> Result<(), CheckpointError> {
        let written = self.write(block).await;
        written.inspect_err(|error| self.stop_if_disk_failed(error))
    }

    async fn write(&mut self, block: Bytes) -> Result<(), CheckpointError> {
        let Some((manifest, _)) = &self.head else {
            self.head = Some((Arc::new(Manifest::decode(&block)?), block));
            return Ok(());
        };
        let (manifest, home, at) = (manifest.clone(), self.home.clone(), self.ids.len());
        let id = run(self.home.executor, move || {
            let described = manifest.blocks.get(at);
            let described = described.ok_or_else(|| damaged("there are too many blocks".into()))?;
            described.check(&block)?;
            Ok::<_, CheckpointError>(home.generations.write_block(&block)?)
        })
        .await??;
        self.ids.push(id);
        Ok(())
    }

    /// Ends: all blocks are there. Puts the state together, so that nothing is handed to openraft
    /// that could not be installed. The meta comes from the manifest.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] when blocks are missing, or when they do not make the state that
    /// the manifest describes, [`CheckpointError::Io`] when the disk failed.
    pub async fn finish(mut self) -> Result<Snapshot, CheckpointError> {
        let sealed = self.seal().await;
        sealed.inspect_err(|error| self.stop_if_disk_failed(error))
    }

    fn stop_if_disk_failed(&self, error: &CheckpointError) {
        if let CheckpointError::Io(_) = error {
            self.home.log.fail_unless_closing("receiving a checkpoint", error);
        }
    }

    async fn seal(&mut self) -> Result<Snapshot, CheckpointError> {
        let Some((manifest, encoded)) = self.head.clone() else {
            return Err(damaged("there is no manifest".into()));
        };
        if manifest.blocks.len() != self.ids.len() {
            let (is, should) = (self.ids.len(), manifest.blocks.len());
            return Err(damaged(format!("{is} of {should} blocks came")));
        }
        // They belong to the generation from now on, also when it turns out to be damaged.
        let (home, ids) = (self.home.clone(), std::mem::take(&mut self.ids));
        let sealed = run(self.home.executor, move || {
            let manifest = Manifest::clone(&manifest);
            let generation = home.generations.seal(manifest, encoded, ids, None)?;
            home.generations.state(&generation)?;
            Ok::<_, CheckpointError>(generation)
        });
        let generation = sealed.await??;
        Ok(Checkpoint::new(&self.home, generation)?.into_snapshot())
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if let Some((manifest, _)) = &self.head {
            let pieces = manifest.blocks.iter().map(|block| fragment::pieces(block.bytes as usize));
            self.home.generations.abandon(self.ids.drain(..).zip(pieces));
        }
    }
}
