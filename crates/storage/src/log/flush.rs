//! The flusher: writes what was submitted to the log, in order, with one barrier for all that
//! waits, and then tells everybody.
//!
//! ```text
//! queue: append, append, vote, append | taken together
//!        blocks and vote to the database, which writes them when it likes
//!        the same blocks and the record after them to the journal: the barrier
//!        callbacks, in order
//! ```
//!
//! A barrier for which the journal has no room, or that has removed something, is a settlement
//! instead: the database is synced, then the record written to its slot.
//!
//! Invariant: `chain` and `last` describe what was given to the database; the record describes
//! what is durable. A failure is final: nothing is retried.

use std::{
    io, panic,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use quorate_core::mutation::{Mutation, planted};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    BLOCK_BYTES, COMMITTED_KEY, VOTE_KEY,
    block::{self, BlockBuilder, ENTRY_BYTES, entry_bytes},
    block_key,
    shared::{BlockInfo, Op, Shared, complete},
};
use crate::{
    disk::Batch,
    durability::{Keeper, Pointer},
    error::Fatal,
    format::{FormatError, Position, VoteRecord, seal},
    fragment,
    raft_types::{Entry, LogId},
    storage::SimulatedBarrier,
};

/// How many barriers share one write of the commit position. One that is old costs a restart that
/// it applies a little less until a leader says what is committed; writing it costs every barrier.
const BARRIERS_PER_COMMITTED: u32 = 32;

/// Blocks that are deleted in one batch.
pub(super) const DELETES_PER_BATCH: usize = 64;

/// Writes what was submitted.
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    keeper: Keeper,
    tail_bytes_max: usize,
    /// The last entry given to the database, or what was purged when there is none after it.
    last: Option<Position>,
    /// The chain after it.
    chain: u64,
    /// The vote given to the database.
    vote: Option<VoteRecord>,
    /// The checkpoint that is to be current.
    checkpoint: Option<Pointer>,
    /// How far the log is committed, when that is not given to the database yet.
    committed: Option<Option<Position>>,
    /// Barriers since it was given to the database.
    barriers: u32,
    /// Entries that are not given to the database yet.
    open: Option<BlockBuilder>,
    /// The blocks given to the database since the last barrier.
    fresh: Vec<Bytes>,
    /// Set when something was removed since the last settlement: what the journal adds to the
    /// database at open must meet it as it was.
    removed: bool,
    /// Set when a write failed: nothing is written any more.
    failed: bool,
}

impl Flusher {
    /// Goes on after what the keeper's record describes.
    pub(crate) fn new(shared: Arc<Shared>, keeper: Keeper, tail_bytes_max: usize) -> Self {
        let record = &keeper.record;
        let (last, chain) = (record.last, record.chain);
        let (vote, checkpoint) = (record.vote, record.checkpoint);
        Self {
            shared,
            keeper,
            tail_bytes_max,
            last,
            chain,
            vote,
            checkpoint,
            committed: None,
            barriers: 0,
            open: None,
            fresh: Vec::new(),
            removed: false,
            failed: false,
        }
    }

    /// Runs on the current thread until the log is closed.
    pub(crate) fn run(mut self) {
        while let Some(ops) = self.shared.take_blocking() {
            self.flush(ops);
        }
        self.end();
    }

    /// Runs as a task until the log is closed; each barrier takes so long.
    pub(crate) async fn run_task(mut self, barrier: SimulatedBarrier) {
        while let Some(ops) = self.shared.take().await {
            let barrier = barrier.get();
            if barrier.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(barrier).await;
            }
            self.flush(ops);
        }
        self.end();
    }

    /// Leaves nothing to the journal, so that the next open is quick.
    fn end(&mut self) {
        if self.failed {
            return;
        }
        let settled = self.write_open().and_then(|()| self.save_committed());
        if let Err(error) = settled.and_then(|()| self.settle()) {
            tracing::warn!(%error, "settling the log at its end; the journal has it");
        }
    }

    /// Writes and syncs, and tells everybody.
    fn flush(&mut self, ops: Vec<Op>) {
        let began = Instant::now();
        let result = panic::catch_unwind(AssertUnwindSafe(|| self.write_all(&ops)))
            .unwrap_or_else(|_| Err(io::Error::other("the flusher of the log panicked")));
        let result =
            result.map_err(|error| Fatal(format!("storage failed: writing the log: {error}")));
        self.shared.metrics.barrier.observe(began.elapsed());
        match &result {
            Ok(()) => self.evict(),
            Err(fatal) => {
                self.failed = true;
                self.shared.fail(fatal);
            }
        }
        complete(ops, &result);
    }

    fn write_all(&mut self, ops: &[Op]) -> io::Result<()> {
        for op in ops {
            match op {
                Op::Append(entries, _) => self.append(entries)?,
                Op::Vote(..) if planted(Mutation::ForgottenVote) => {}
                Op::Vote(vote, _) => self.save_vote(VoteRecord::from(vote))?,
                Op::Truncate(from) => self.truncate(*from)?,
                Op::Purge(upto) => self.purge(*upto)?,
                Op::Committed(committed) => self.committed = Some(committed.map(Position::from)),
                // An older build never replaces a newer install.
                Op::Checkpoint(pointer, _) => self.checkpoint = self.checkpoint.max(Some(*pointer)),
            }
        }
        self.barriers += 1;
        // At close it is all that is left to do.
        let nothing_else = ops.iter().all(|op| matches!(op, Op::Committed(_)));
        if nothing_else || self.barriers >= BARRIERS_PER_COMMITTED {
            self.write_open()?;
            self.save_committed()?;
        }
        self.write_open()?;
        self.describe();
        if !self.removed {
            if self.keeper.journal(&self.fresh)? {
                self.fresh.clear();
                return Ok(());
            }
            self.shared.metrics.journal_full.fetch_add(1, Ordering::Relaxed);
        }
        self.settle()?;
        // What is told of now must not depend on one slot alone.
        self.keeper.journal(&[]).map(drop)
    }

    /// Makes the database durable with everything so far, and records it.
    fn settle(&mut self) -> io::Result<()> {
        self.sync()?;
        self.keeper.settle()?;
        self.removed = false;
        Ok(())
    }

    /// Makes the database durable with everything so far. To be recorded: see [`Keeper::settle`].
    fn sync(&mut self) -> io::Result<()> {
        self.write_open()?;
        self.shared.db.sync()?;
        self.describe();
        self.fresh.clear();
        Ok(())
    }

    /// Brings the record up to what was given to the database.
    fn describe(&mut self) {
        let record = &mut self.keeper.record;
        (record.last, record.chain) = (self.last, self.chain);
        (record.vote, record.checkpoint) = (self.vote, self.checkpoint);
    }

    fn save_vote(&mut self, vote: VoteRecord) -> io::Result<()> {
        self.write_open()?;
        let mut batch = Batch::default();
        batch.put(VOTE_KEY, seal(&vote));
        self.vote = Some(vote);
        self.shared.db.apply(batch)
    }

    /// After the entries that it speaks of: what a crash leaves of the database is a beginning.
    fn save_committed(&mut self) -> io::Result<()> {
        let Some(committed) = self.committed.take() else { return Ok(()) };
        self.barriers = 0;
        let mut batch = Batch::default();
        batch.put(COMMITTED_KEY, seal(&committed));
        self.shared.db.apply(batch)
    }

    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            let position = Position::from(entry.log_id);
            if self.last.is_none() {
                self.keeper.record.base = position.index;
                self.keeper.record.base_chain = self.chain;
            }
            let full = self
                .open
                .as_ref()
                .is_some_and(|open| open.len() + ENTRY_BYTES + entry_bytes(entry) > BLOCK_BYTES);
            if full {
                self.write_open()?;
            }
            let chain = self.chain;
            let open = self.open.get_or_insert_with(|| BlockBuilder::new(position.index, chain));
            open.push(entry);
            self.last = Some(position);
        }
        Ok(())
    }

    /// Gives the open block to the database.
    fn write_open(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take().filter(|open| !open.is_empty()) else { return Ok(()) };
        let block = open.finish();
        let mut batch = Batch::default();
        let pieces = fragment::put(&mut batch, &block_key(block.first), &block.bytes)?;
        self.shared.db.apply(batch)?;
        self.chain = block.chain;
        self.fresh.push(block.bytes);
        let info = BlockInfo { last: block.last, pieces };
        let mut view = self.shared.view();
        view.blocks.insert(block.first, info);
        self.shared.metrics.log_blocks.store(view.blocks.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the entries from `from` on.
    fn truncate(&mut self, from: u64) -> io::Result<()> {
        self.write_open()?;
        if self.last.is_none_or(|last| last.index < from) {
            return Ok(());
        }
        let (empty, cut, gone): (bool, Option<u64>, Vec<(u64, BlockInfo)>) = {
            let view = self.shared.view();
            let before = view.blocks.range(..from).next_back();
            let cut = before.filter(|(_, info)| info.last >= from).map(|(&first, _)| first);
            let gone = view.blocks.range(from..).map(|(&first, &info)| (first, info)).collect();
            (before.is_none(), cut, gone)
        };
        let (last, chain) = self.end_before(from)?;
        // What goes is recorded as gone before it goes.
        (self.last, self.chain) = (last, chain);
        self.sync()?;
        if empty {
            (self.keeper.record.base, self.keeper.record.base_chain) = (from, chain);
        }
        self.keeper.settle()?;
        self.removed = true;
        self.delete(gone.into_iter().rev().collect())?;
        match cut {
            Some(first) => self.cut(first, from),
            None => Ok(()),
        }
    }

    /// The last entry before `from`, and the chain after it.
    fn end_before(&self, from: u64) -> io::Result<(Option<Position>, u64)> {
        let record = &self.keeper.record;
        let before = {
            let view = self.shared.view();
            view.blocks.range(..from).next_back().map(|(&first, _)| first)
        };
        let Some(first) = before else { return Ok((record.purged, record.base_chain)) };
        let decoded = self.read(first)?;
        let kept = decoded.entries.iter().take_while(|(entry, _)| entry.log_id.index() < from);
        match kept.last() {
            Some((entry, chain)) => Ok((Some(entry.log_id.into()), *chain)),
            None => Err(missing(first)),
        }
    }

    /// Rewrites a block with its entries before `from` only.
    fn cut(&mut self, first: u64, from: u64) -> io::Result<()> {
        let decoded = self.read(first)?;
        let mut builder = BlockBuilder::new(first, decoded.chain_before);
        for (entry, _) in decoded.entries.iter().take_while(|(e, _)| e.log_id.index() < from) {
            builder.push(entry);
        }
        let block = builder.finish();
        let old = self.shared.view().blocks.get(&first).map_or(0, |info| info.pieces);
        let mut batch = Batch::default();
        fragment::delete(&mut batch, &block_key(first), old);
        let pieces = fragment::put(&mut batch, &block_key(first), &block.bytes)?;
        self.shared.db.apply(batch)?;
        let info = BlockInfo { last: block.last, pieces };
        self.shared.view().blocks.insert(first, info);
        Ok(())
    }

    /// Removes the entries up to `upto`: whole blocks only, the rest is skipped by readers.
    fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.write_open()?;
        let upto = Position::from(upto);
        if self.keeper.record.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        let all = self.last.is_none_or(|last| last.index <= upto.index);
        let gone: Vec<(u64, BlockInfo)> = {
            let view = self.shared.view();
            let blocks = view.blocks.iter().map(|(&first, &info)| (first, info));
            blocks.take_while(|(_, info)| all || info.last <= upto.index).collect()
        };
        let (base, base_chain) = match (all, gone.last()) {
            (true, _) => (upto.index + 1, restart(upto)),
            (false, Some((_, info))) => {
                let first = info.last + 1;
                (first, self.read(first)?.chain_before)
            }
            (false, None) => (self.keeper.record.base, self.keeper.record.base_chain),
        };
        if all {
            (self.last, self.chain) = (Some(upto), base_chain);
        }
        self.sync()?;
        let record = &mut self.keeper.record;
        (record.base, record.base_chain) = (base, base_chain);
        record.purged = Some(upto);
        self.keeper.settle()?;
        self.removed = true;
        self.delete(gone)
    }

    /// Deletes blocks, in this order and in small batches.
    fn delete(&mut self, gone: Vec<(u64, BlockInfo)>) -> io::Result<()> {
        for some in gone.chunks(DELETES_PER_BATCH) {
            let mut batch = Batch::default();
            for (first, info) in some {
                fragment::delete(&mut batch, &block_key(*first), info.pieces);
            }
            self.shared.db.apply(batch)?;
            let mut view = self.shared.view();
            for (first, _) in some {
                view.blocks.remove(first);
            }
            self.shared.metrics.log_blocks.store(view.blocks.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn read(&self, first: u64) -> io::Result<block::Decoded> {
        let bytes = fragment::get(&*self.shared.db, &block_key(first))?;
        let bytes = bytes.ok_or_else(|| missing(first))?;
        block::decode(bytes).map_err(damaged)
    }

    /// Forgets old entries that are durable.
    fn evict(&mut self) {
        let durable = self.last.map_or(0, |last| last.index + 1);
        let mut view = self.shared.view();
        view.evict(durable, self.tail_bytes_max);
        self.shared.metrics.tail_bytes.store(view.tail.bytes() as u64, Ordering::Relaxed);
    }
}

/// The chain of a log that begins after this position.
pub(super) fn restart(after: Position) -> u64 {
    xxh3_64_with_seed(&after.term.to_le_bytes(), after.index)
}

fn missing(first: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log block of entry {first} is gone"))
}

/// A block that is not what was written.
pub(crate) fn damaged(error: FormatError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
