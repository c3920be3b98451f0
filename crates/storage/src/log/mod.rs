//! The Raft log and the vote.
//!
//! Owns the log on disk, its newest entries in memory and the one thread that writes it.
//!
//! ```text
//! purged | blocks on disk ............................. | queue
//!        |                      | tail in memory ............... | last
//! ```
//!
//! - `block`: runs of entries as they are on disk
//! - `tail`: the newest entries in memory
//! - `shared`: the log as readers see it, and the queue to the flusher
//! - `flush`: writes the queue, one barrier for all that waits
//! - `reader`: what apply and replication read
//! - `recover`: what is on disk at open, checked against the durability record
//!
//! Invariants: votes and entries go through one queue, in order; entries are readable as soon as
//! `append` returns; nothing is reported durable before its barrier. Must not know what an entry
//! means.

mod block;
mod flush;
mod reader;
mod recover;
mod shared;
mod tail;

use std::{io, sync::Arc};

use openraft::{
    OptionalSend,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tokio::sync::oneshot;

pub use reader::LogReader;

use self::shared::{Op, wait};
pub(crate) use self::{
    flush::Flusher,
    recover::{Recovery, holds_log},
    shared::Shared,
};
use crate::raft_types::{Entry, LogId, TypeConfig, Vote};

/// Bytes of a block, unless a single entry is larger: what fits into one value.
const BLOCK_BYTES: usize = crate::fragment::SINGLE_BYTES;

/// The largest entry. A request is far smaller, and so is a batch of them.
const ENTRY_BYTES_MAX: usize = 64 << 20;

/// Bytes of entries that wait for the disk at most; `append` waits while there are more.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Where the vote is.
const VOTE_KEY: &[u8] = b"V";
/// Where the committed position is.
const COMMITTED_KEY: &[u8] = b"C";
/// What the keys of blocks begin with.
const BLOCK_PREFIX: u8 = b'b';

/// The key of the block that begins with this entry.
fn block_key(first: u64) -> [u8; 9] {
    let mut key = [BLOCK_PREFIX; 9];
    key[1..].copy_from_slice(&first.to_be_bytes());
    key
}

/// The Raft log and the vote, for openraft.
pub struct LogStore {
    reader: LogReader,
    shared: Arc<Shared>,
}

impl LogStore {
    pub(crate) fn new(reader: LogReader) -> Self {
        Self { shared: reader.shared.clone(), reader }
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let view = self.shared.view();
        Ok(LogState { last_purged_log_id: view.purged, last_log_id: view.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, saved) = oneshot::channel();
        let vote = *vote;
        self.shared.submit(|view| {
            view.vote = Some(vote);
            Ok(Op::Vote(vote, done))
        })?;
        wait(saved).await
    }

    /// In memory; it reaches the disk with the next barrier, or at close. One that is lost makes a
    /// restart apply a little less until a leader says what is committed.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.shared.save_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.view().committed_in_log())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.shared.room().await;
        self.shared.append(entries, callback)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index() + 1);
        self.shared.submit(|view| {
            if view.next().is_some_and(|next| from < next) {
                view.tail.truncate(from);
                view.last = last.or(view.purged);
            }
            Ok(Op::Truncate(from))
        })
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.shared.submit(|view| {
            view.purged = view.purged.max(Some(upto));
            view.tail.purge(upto.index() + 1);
            if view.last.is_none_or(|last| last.index() <= upto.index()) {
                view.last = Some(upto);
            }
            Ok(Op::Purge(upto))
        })
    }
}

#[cfg(test)]
mod fuzz;
