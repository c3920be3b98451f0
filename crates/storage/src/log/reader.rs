//! Reads the log: from memory, and what is no longer there from blocks on disk.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, atomic::Ordering},
};

use futures::{Stream, stream};
use openraft::{OptionalSend, storage::RaftLogReader};

use super::{
    block::{self, entry_bytes},
    block_key,
    flush::damaged,
    shared::Shared,
};
use crate::{
    fragment,
    raft_types::{Entry, TypeConfig, Vote},
    storage::Executor,
};

/// How often a read starts again when the blocks that it wanted were just removed. More often than
/// one read can meet truncations and purges.
const ATTEMPTS: usize = 100;

/// Reads the log. A clone is another reader of the same log.
#[derive(Clone)]
pub struct LogReader {
    pub(super) shared: Arc<Shared>,
    executor: Executor,
    payload_bytes_max: usize,
}

/// What a read takes from where.
struct Plan {
    /// First indices of the blocks to read.
    blocks: Vec<u64>,
    /// The entries wanted.
    from: u64,
    to: u64,
    /// Those that are in memory.
    tail: Vec<Entry>,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>, executor: Executor, payload_bytes_max: usize) -> Self {
        Self { shared, executor, payload_bytes_max }
    }

    /// The entries of `from..to` that the log holds; at most so many bytes, but at least one.
    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        for _ in 0..ATTEMPTS {
            let plan = self.plan(from, to, bytes_max);
            if plan.blocks.is_empty() {
                return Ok(plan.tail);
            }
            self.shared.metrics.tail_misses.fetch_add(1, Ordering::Relaxed);
            let shared = self.shared.clone();
            let read = move || read_blocks(&shared, plan, bytes_max);
            let found = match self.executor {
                Executor::Tasks => read(),
                Executor::Threads => {
                    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
                }
            };
            if let Some(entries) = found? {
                return Ok(entries);
            }
        }
        Err(io::Error::other(format!("the log blocks of entries {from}..{to} are gone")))
    }

    fn plan(&self, from: u64, to: u64, bytes_max: usize) -> Plan {
        let view = self.shared.view();
        let from = from.max(view.purged.map_or(0, |purged| purged.index() + 1));
        // A log that was never purged may begin anywhere.
        let begin = view.blocks.first_key_value().map_or(u64::MAX, |(&first, _)| first);
        let from = from.max(begin.min(view.tail.first()));
        let to = to.min(view.last.map_or(0, |last| last.index() + 1));
        let disk_to = to.min(view.tail.first());
        let mut blocks = Vec::new();
        if from < disk_to {
            let start = view.blocks.range(..=from).next_back().map_or(from, |(&first, _)| first);
            blocks.extend(view.blocks.range(start..disk_to).map(|(&first, _)| first));
        }
        let tail = if from < to { view.tail.range(from, to, bytes_max) } else { Vec::new() };
        Plan { blocks, from, to, tail }
    }
}

/// Reads blocks and adds what is in memory. None: a block was removed meanwhile.
fn read_blocks(shared: &Shared, plan: Plan, bytes_max: usize) -> io::Result<Option<Vec<Entry>>> {
    let disk_to = plan.tail.first().map_or(plan.to, |entry| entry.log_id.index());
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for first in plan.blocks {
        let Some(block) = fragment::get(&*shared.db, &block_key(first))? else { return Ok(None) };
        for (entry, _) in block::decode(block).map_err(damaged)?.entries {
            let index = entry.log_id.index();
            let next = entries.last().map_or(plan.from, |last| last.log_id.index() + 1);
            if index < plan.from || index >= disk_to {
                continue;
            }
            if index != next {
                return Ok(None);
            }
            bytes += entry_bytes(&entry);
            if bytes > bytes_max && !entries.is_empty() {
                return Ok(Some(entries));
            }
            entries.push(entry);
        }
    }
    for entry in plan.tail {
        bytes += entry_bytes(&entry);
        if bytes > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(Some(entries))
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        // What a follower is sent must begin where it ends: nothing when that was purged meanwhile.
        let entries = self.read(start, end, self.payload_bytes_max).await?;
        let begins = entries.first().is_some_and(|entry| entry.log_id.index() == start);
        Ok(if begins { entries } else { Vec::new() })
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let pages = stream::try_unfold((self.clone(), from), move |(reader, from)| async move {
            let page = reader.read(from, to, reader.payload_bytes_max).await?;
            let next = page.last().map(|last| last.log_id.index() + 1);
            let page = stream::iter(page.into_iter().map(Ok::<_, io::Error>));
            Ok::<_, io::Error>(next.map(|next| (page, (reader, next))))
        });
        futures::TryStreamExt::try_flatten(pages)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.view().vote)
    }
}

/// The indices of a range as `from..to`.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(&from) => from,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&to) => to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}
