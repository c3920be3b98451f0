//! Generations: the checkpoints in the state database, which share blocks.
//!
//! Owns the numbering of generations and blocks, which generation is current, who holds which, and
//! the removal of what nobody refers to. Keys:
//!
//! ```text
//! m <generation u64> -> ids of its blocks, and its manifest as it is sent
//! b <block id u64>   -> a block
//! ```
//!
//! Invariants: a block stays as long as a generation refers to it, a generation as long as it is
//! current or held; what the durability record points to is complete and synced. Removal happens
//! after the pointer that replaced it is durable.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_core::{State, checkpoint::Builder};
use serde::{Deserialize, Serialize};

use super::{
    block::{self, damaged},
    manifest::{Manifest, Span},
};
use crate::{
    disk::{Batch, Database},
    durability::Pointer,
    error::CheckpointError,
    format::{seal, unseal},
    fragment,
    metrics::Metrics,
};

const BLOCK_PREFIX: u8 = b'b';
const MANIFEST_PREFIX: u8 = b'm';

/// Values that are deleted in one batch.
const DELETES_PER_BATCH: usize = 64;

/// A generation as it is on disk, next to its blocks.
#[derive(Serialize, Deserialize)]
struct Stored {
    ids: Vec<u64>,
    manifest: Bytes,
}

/// A complete checkpoint on disk.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) manifest: Manifest,
    /// The encoded manifest: block 0.
    pub(crate) encoded: Bytes,
    /// The ids of the other blocks.
    pub(crate) ids: Vec<u64>,
    /// Its state, when it is known: shared with the state that came from it.
    pub(crate) state: OnceLock<State>,
}

impl Generation {
    /// Names it in the durability record.
    pub(crate) fn pointer(&self) -> Pointer {
        let checksum = block::checksum(&self.encoded);
        Pointer { last: self.manifest.last, generation: self.number, checksum }
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> u64 {
        let blocks = self.manifest.blocks.iter().map(|block| u64::from(block.bytes));
        self.encoded.len() as u64 + blocks.sum::<u64>()
    }
}

/// All generations of a state database.
pub(crate) struct Generations {
    db: Arc<dyn Database>,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    current: Option<Arc<Generation>>,
    /// No longer, or not yet, current.
    others: Vec<Arc<Generation>>,
    /// Of each block: how many generations refer to it, and its pieces.
    blocks: BTreeMap<u64, (u32, u16)>,
    /// Blocks that no generation came of, with their pieces.
    garbage: Vec<(u64, u16)>,
    /// What was there at open without belonging to the current generation: keys and pieces.
    strangers: Vec<(Vec<u8>, u16)>,
    next_generation: u64,
    next_block: u64,
}

impl Generations {
    /// Loads the generation that the durability record points to, with its state, and checks it.
    /// Changes nothing: see [`Self::tidy`].
    pub(crate) fn load(
        db: Arc<dyn Database>,
        metrics: Arc<Metrics>,
        pointer: Option<Pointer>,
    ) -> Result<Self, CheckpointError> {
        let this = Self { db, metrics, inner: Mutex::default() };
        let current = pointer.map(|pointer| this.read(pointer)).transpose()?;
        let mut inner = Inner {
            next_generation: pointer.map_or(0, |pointer| pointer.generation) + 1,
            next_block: 1,
            ..Inner::default()
        };
        if let Some(current) = current {
            inner.refer(&current);
            inner.current = Some(Arc::new(current));
        }
        inner.strangers = this.find_strangers(&mut inner)?;
        *this.inner.lock() = inner;
        this.report();
        Ok(this)
    }

    fn read(&self, pointer: Pointer) -> Result<Generation, CheckpointError> {
        let number = pointer.generation;
        let name = || match pointer.last {
            Some(last) => format!("checkpoint generation {number} up to {last}"),
            None => format!("checkpoint generation {number}"),
        };
        let Some(bytes) = fragment::get(&*self.db, &key(MANIFEST_PREFIX, number))? else {
            return Err(damaged(format!(
                "{} was recorded as durable, its manifest is missing",
                name()
            )));
        };
        let stored: Stored = unseal(&bytes)
            .map_err(|error| damaged(format!("the manifest of {}: {error}", name())))?;
        let manifest = Manifest::decode(&stored.manifest)?;
        let same = block::checksum(&stored.manifest) == pointer.checksum
            && manifest.last == pointer.last
            && manifest.blocks.len() == stored.ids.len();
        if !same {
            return Err(damaged(format!("{} is not the one that was recorded", name())));
        }
        let (encoded, ids) = (stored.manifest, stored.ids);
        let state = OnceLock::new();
        let generation = Generation { number, manifest, encoded, ids, state };
        match self.state(&generation) {
            Ok(_) => Ok(generation),
            Err(CheckpointError::Damaged(error)) => Err(damaged(format!("{}: {error}", name()))),
            Err(error @ CheckpointError::Io(_)) => Err(error),
        }
    }

    /// Removes what a crash left behind: everything that the current generation does not refer to.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let strangers = std::mem::take(&mut self.inner.lock().strangers);
        self.delete(strangers)
    }

    fn find_strangers(&self, inner: &mut Inner) -> io::Result<Vec<(Vec<u8>, u16)>> {
        let mut strangers = Vec::new();
        let current = inner.current.as_ref().map(|current| current.number);
        for prefix in [BLOCK_PREFIX, MANIFEST_PREFIX] {
            fragment::scan::<io::Error>(&*self.db, prefix, |found| {
                let id = found.key.get(1..).and_then(|id| id.try_into().ok());
                let id = id.map_or(0, u64::from_be_bytes);
                let known = if prefix == BLOCK_PREFIX {
                    inner.next_block = inner.next_block.max(id + 1);
                    inner.blocks.contains_key(&id)
                } else {
                    inner.next_generation = inner.next_generation.max(id + 1);
                    current == Some(id)
                };
                if !known {
                    strangers.push((found.key.to_vec(), found.pieces));
                }
                Ok(())
            })?;
        }
        Ok(strangers)
    }

    /// The current generation.
    pub(crate) fn current(&self) -> Option<Arc<Generation>> {
        self.inner.lock().current.clone()
    }

    /// Writes a block that no generation refers to yet.
    pub(crate) fn write_block(&self, block: &Bytes) -> io::Result<u64> {
        let id = {
            let mut inner = self.inner.lock();
            inner.next_block += 1;
            inner.next_block - 1
        };
        let mut batch = Batch::default();
        fragment::put(&mut batch, &key(BLOCK_PREFIX, id), block)?;
        self.db.apply(batch)?;
        let bytes = block.len() as u64;
        self.metrics.checkpoint_bytes_written.fetch_add(bytes, Ordering::Relaxed);
        Ok(id)
    }

    /// Gives up blocks that were written and that no generation refers to.
    pub(crate) fn abandon(&self, blocks: impl IntoIterator<Item = (u64, u16)>) {
        self.inner.lock().garbage.extend(blocks);
    }

    /// Writes the manifest of a new generation, whose blocks are written, and syncs it all. Not
    /// current yet.
    pub(crate) fn seal(
        &self,
        manifest: Manifest,
        encoded: Bytes,
        ids: Vec<u64>,
        state: Option<State>,
    ) -> io::Result<Arc<Generation>> {
        let number = {
            let mut inner = self.inner.lock();
            inner.next_generation += 1;
            inner.next_generation - 1
        };
        let stored = Stored { ids, manifest: encoded };
        let mut batch = Batch::default();
        fragment::put(&mut batch, &key(MANIFEST_PREFIX, number), &seal(&stored))?;
        self.db.apply(batch)?;
        self.db.sync()?;
        let Stored { ids, manifest: encoded } = stored;
        let state = state.map_or_else(OnceLock::new, OnceLock::from);
        let generation = Arc::new(Generation { number, manifest, encoded, ids, state });
        let mut inner = self.inner.lock();
        inner.refer(&generation);
        inner.others.push(generation.clone());
        Ok(generation)
    }

    /// Makes a generation the current one, after the durability record points to it. One that is
    /// not newer than the current one is left aside.
    pub(crate) fn promote(&self, generation: Arc<Generation>) {
        {
            let mut inner = self.inner.lock();
            let newer = inner
                .current
                .as_ref()
                .is_none_or(|current| current.pointer() < generation.pointer());
            if newer {
                inner.others.retain(|other| other.number != generation.number);
                if let Some(old) = inner.current.replace(generation) {
                    inner.others.push(old);
                }
            }
        }
        self.report();
    }

    fn report(&self) {
        if let Some(current) = self.current() {
            let blocks = current.ids.len() as u64 + 1;
            self.metrics.checkpoint_blocks.store(blocks, Ordering::Relaxed);
            self.metrics.checkpoint_bytes.store(current.bytes(), Ordering::Relaxed);
        }
    }

    /// Removes what nobody refers to any more.
    pub(crate) fn collect(&self) -> io::Result<()> {
        let mut gone = Vec::new();
        {
            let mut inner = self.inner.lock();
            let others = std::mem::take(&mut inner.others);
            for other in others {
                if Arc::strong_count(&other) > 1 {
                    inner.others.push(other);
                    continue;
                }
                let pieces = fragment::pieces(stored_bytes(&other));
                gone.push((key(MANIFEST_PREFIX, other.number).to_vec(), pieces));
                for id in &other.ids {
                    if let Some((refs, pieces)) = inner.blocks.get_mut(id) {
                        *refs -= 1;
                        if *refs == 0 {
                            gone.push((key(BLOCK_PREFIX, *id).to_vec(), *pieces));
                            inner.blocks.remove(id);
                        }
                    }
                }
            }
            let garbage = std::mem::take(&mut inner.garbage);
            gone.extend(garbage.into_iter().map(|(id, n)| (key(BLOCK_PREFIX, id).to_vec(), n)));
        }
        self.delete(gone)
    }

    fn delete(&self, gone: Vec<(Vec<u8>, u16)>) -> io::Result<()> {
        for some in gone.chunks(DELETES_PER_BATCH) {
            let mut batch = Batch::default();
            some.iter().for_each(|(key, pieces)| fragment::delete(&mut batch, key, *pieces));
            self.db.apply(batch)?;
        }
        Ok(())
    }

    /// Reads one block of a generation and checks it. 0 is the manifest.
    pub(crate) fn block(
        &self,
        generation: &Generation,
        number: usize,
    ) -> Result<Bytes, CheckpointError> {
        let Some(at) = number.checked_sub(1) else { return Ok(generation.encoded.clone()) };
        let (Some(described), Some(&id)) =
            (generation.manifest.blocks.get(at), generation.ids.get(at))
        else {
            return Err(damaged(format!("there is no block {number}")));
        };
        let block = fragment::get(&*self.db, &key(BLOCK_PREFIX, id))?
            .ok_or_else(|| damaged(format!("block {number} is missing")))?;
        described.check(&block).map_err(|error| damaged(format!("block {number}: {error}")))?;
        Ok(block)
    }

    /// The state of a generation, checked.
    pub(crate) fn state(&self, generation: &Generation) -> Result<State, CheckpointError> {
        if let Some(state) = generation.state.get() {
            return Ok(state.clone());
        }
        let state = self.assemble(generation)?;
        Ok(generation.state.get_or_init(|| state).clone())
    }

    /// Puts a state together and checks it.
    fn assemble(&self, generation: &Generation) -> Result<State, CheckpointError> {
        let mut builder = Builder::new(generation.manifest.summary.clone());
        for (at, described) in generation.manifest.blocks.iter().enumerate() {
            let block = self.block(generation, at + 1)?;
            match described.span {
                Span::Records { .. } => block::records(&block, |(key, record)| {
                    builder.record(key, record).map_err(|error| damaged(error.to_string()))
                })?,
                Span::Events { .. } => block::events(&block, |event| {
                    builder.event(event).map_err(|error| damaged(error.to_string()))
                })?,
            };
        }
        builder.finish().map_err(|error| damaged(error.to_string()))
    }
}

impl Inner {
    fn refer(&mut self, generation: &Generation) {
        for (id, block) in generation.ids.iter().zip(&generation.manifest.blocks) {
            let pieces = fragment::pieces(block.bytes as usize);
            self.blocks.entry(*id).or_insert((0, pieces)).0 += 1;
        }
    }
}

/// Bytes of a generation's own value.
fn stored_bytes(generation: &Generation) -> usize {
    let (ids, manifest) = (generation.ids.clone(), generation.encoded.clone());
    seal(&Stored { ids, manifest }).len()
}

fn key(prefix: u8, id: u64) -> [u8; 9] {
    let mut key = [prefix; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}
