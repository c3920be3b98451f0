//! Checkpoints: the state as of a log entry, in blocks.
//!
//! A checkpoint is a sequence of self-checking blocks. Block 0, the manifest, says what follows
//! (summary, position, membership, checksums of all blocks); the others hold records in key order,
//! then the history. They are sent to a follower in this order, as they are.
//!
//! - `block`: the form of a block
//! - `manifest`: the form of block 0
//! - `build`: which blocks a state needs, and which of an older checkpoint it can keep
//! - `generation`: the checkpoints on disk, what is current and what can go
//! - `transfer`: collecting blocks from a peer
//!
//! ```text
//! blocks, manifest -> sync -> log barrier -> durability record -> old generations go
//! ```
//!
//! Invariants: the durability record points to a complete, synced checkpoint; an older one never
//! replaces a newer one; what is read is checked first. Must not know who sends or asks for it.

pub(crate) mod block;
mod build;
mod generation;
mod manifest;
mod transfer;

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;
use openraft::storage::RaftSnapshotBuilder;
use quorate_core::State;

pub use transfer::CheckpointWriter;

pub(crate) use self::generation::{Generation, Generations};
use self::{
    build::{Base, Piece},
    manifest::Manifest,
};
use crate::{
    error::CheckpointError,
    format::Position,
    fragment,
    log::Shared,
    metrics::Metrics,
    raft_types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
    storage::{Executor, run},
};

/// A complete checkpoint on disk, built here or received. As long as a handle lives, its blocks
/// stay, whatever newer checkpoints come. A clone is another handle.
#[derive(Clone)]
pub struct Checkpoint {
    generations: Arc<Generations>,
    generation: Arc<Generation>,
    executor: Executor,
    meta: SnapshotMeta,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({})", self.id())
    }
}

impl Checkpoint {
    fn new(home: &Checkpoints, generation: Arc<Generation>) -> Result<Self, CheckpointError> {
        let meta = generation.manifest.meta()?;
        let (generations, executor) = (home.generations.clone(), home.executor);
        Ok(Self { generations, generation, executor, meta })
    }

    /// Which log entries and which membership it covers.
    #[must_use]
    pub fn meta(&self) -> SnapshotMeta {
        self.meta.clone()
    }

    /// Names it in messages and logs.
    #[must_use]
    pub fn id(&self) -> String {
        let checksum = block::checksum(&self.generation.encoded);
        match self.generation.manifest.last {
            Some(last) => format!("{}.{}-{checksum:08x}", last.term, last.index),
            None => format!("empty-{checksum:08x}"),
        }
    }

    /// What it says of its state.
    #[must_use]
    pub fn summary(&self) -> &quorate_core::checkpoint::Summary {
        &self.generation.manifest.summary
    }

    /// How many blocks there are, the manifest included.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.generation.ids.len() + 1
    }

    /// Bytes of all blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.generation.bytes()
    }

    /// One block, checked. A damaged one is never returned.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub async fn block(&self, number: usize) -> Result<Bytes, CheckpointError> {
        let this = self.clone();
        run(self.executor, move || this.generations.block(&this.generation, number)).await?
    }

    /// The whole, as a snapshot of openraft.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot {
        Snapshot { meta: self.meta(), snapshot: self }
    }
}

/// All checkpoints of a disk. A clone is another handle.
#[derive(Clone)]
pub struct Checkpoints {
    generations: Arc<Generations>,
    log: Arc<Shared>,
    metrics: Arc<Metrics>,
    executor: Executor,
    block_bytes: usize,
}

impl Checkpoints {
    pub(crate) fn new(
        generations: Arc<Generations>,
        log: Arc<Shared>,
        metrics: Arc<Metrics>,
        executor: Executor,
        block_bytes: usize,
    ) -> Self {
        Self { generations, log, metrics, executor, block_bytes }
    }

    /// The current one.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] when what is in memory of it makes no sense.
    pub fn current(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        self.generations.current().map(|current| Checkpoint::new(self, current)).transpose()
    }

    /// Begins to receive one. Dropped without [`CheckpointWriter::finish`], its blocks go again.
    #[must_use]
    pub fn receive(&self) -> CheckpointWriter {
        CheckpointWriter::new(self.clone())
    }

    /// Builds a checkpoint of a frozen state and makes it the current one, unless that is newer by
    /// now. Returns the current one.
    pub(crate) async fn build(&self, frozen: Frozen) -> Result<Checkpoint, CheckpointError> {
        let began = Instant::now();
        if let Some(base) = &frozen.base
            && base.manifest.last == frozen.last.map(Position::from)
        {
            return Checkpoint::new(self, base.clone());
        }
        let this = self.clone();
        let generation = run(self.executor, move || this.write(&frozen)).await??;
        self.adopt(generation).await?;
        self.metrics.checkpoint.observe(began.elapsed());
        self.current()?.ok_or_else(|| block::damaged("there is no current checkpoint".into()))
    }

    /// Writes the blocks that are new, and the manifest.
    fn write(&self, frozen: &Frozen) -> io::Result<Arc<Generation>> {
        self.generations.collect()?;
        let mut blocks = Vec::new();
        let mut ids = Vec::new();
        let mut new = Vec::new();
        let base = frozen.base.as_deref();
        let known = base.and_then(|base| {
            base.state.get().map(|state| Base { blocks: &base.manifest.blocks, state })
        });
        let written = build::take_apart(&frozen.state, known, self.block_bytes, &mut |piece| {
            let (described, id) = match (piece, base) {
                (Piece::Kept(at), Some(base)) => (base.manifest.blocks[at].clone(), base.ids[at]),
                (Piece::New(described, block), _) => {
                    let id = self.generations.write_block(&block)?;
                    new.push((id, fragment::pieces(block.len())));
                    (described, id)
                }
                (Piece::Kept(_), None) => {
                    return Err(io::Error::other("a block was kept of no checkpoint"));
                }
            };
            blocks.push(described);
            ids.push(id);
            Ok(())
        });
        let sealed = written.and_then(|()| {
            let manifest = Manifest {
                summary: frozen.state.summary(),
                last: frozen.last.map(Position::from),
                membership: (&frozen.membership).into(),
                blocks,
            };
            let encoded = manifest.encode();
            self.generations.seal(manifest, encoded, ids, Some(frozen.state.clone()))
        });
        sealed.inspect_err(|_| self.generations.abandon(new))
    }

    /// Makes a generation the current one, durably, unless the current one is as new; then removes
    /// what nobody needs any more.
    async fn adopt(&self, generation: Arc<Generation>) -> io::Result<()> {
        self.log.flip(generation.pointer()).await?;
        self.generations.promote(generation);
        let this = self.clone();
        run(self.executor, move || this.generations.collect()).await?
    }

    /// Takes a received checkpoint as the current one. Returns its state, checked.
    pub(crate) async fn install(&self, received: Checkpoint) -> Result<State, CheckpointError> {
        let received = if Arc::ptr_eq(&received.generations, &self.generations) {
            received
        } else {
            self.copy(&received).await?
        };
        let generation = received.generation;
        let (this, whole) = (self.clone(), generation.clone());
        let state = run(self.executor, move || this.generations.state(&whole)).await??;
        self.adopt(generation).await?;
        Ok(state)
    }

    /// Copies a checkpoint of another disk to this one.
    async fn copy(&self, other: &Checkpoint) -> Result<Checkpoint, CheckpointError> {
        let mut writer = self.receive();
        for number in 0..other.blocks() {
            writer.push(other.block(number).await?).await?;
        }
        Ok(writer.finish().await?.snapshot)
    }
}

/// What a checkpoint is built from.
pub(crate) struct Frozen {
    pub(crate) state: State,
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) base: Option<Arc<Generation>>,
}

/// Builds a checkpoint of a frozen state, for openraft.
pub struct CheckpointBuilder {
    checkpoints: Checkpoints,
    frozen: Option<Frozen>,
}

impl CheckpointBuilder {
    pub(crate) fn new(
        checkpoints: Checkpoints,
        state: State,
        last: Option<LogId>,
        membership: StoredMembership,
    ) -> Self {
        let base = checkpoints.generations.current();
        Self { checkpoints, frozen: Some(Frozen { state, last, membership, base }) }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for CheckpointBuilder {
    type SnapshotData = Checkpoint;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let Some(frozen) = self.frozen.take() else {
            return Err(io::Error::other("a builder builds once"));
        };
        let built = self.checkpoints.build(frozen).await;
        let built = built.inspect_err(|error| {
            self.checkpoints.log.fail_unless_closing("building a checkpoint", error);
        });
        Ok(built?.into_snapshot())
    }
}

#[cfg(test)]
pub(crate) mod fuzz;
