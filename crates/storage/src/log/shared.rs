//! What the log's handles share: the log as readers see it, and the queue to the flusher.
//!
//! Invariants: what is submitted is visible at once and reaches the disk in the order of
//! submission; once a barrier has failed nothing is accepted any more. The lock is held for
//! memory operations only.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::Ordering},
};

use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot, watch};

use super::{block::entry_bytes, tail::Tail};
use crate::{
    disk::Database,
    durability::Pointer,
    error::Fatal,
    metrics::Metrics,
    raft_types::{Entry, LogId, TypeConfig, Vote},
};

/// Tells the result of an operation that somebody waits for.
pub(crate) type Done = oneshot::Sender<Result<(), Fatal>>;

/// What is to be done on disk.
pub(crate) enum Op {
    /// Append entries; tell when they are durable.
    Append(Vec<Entry>, IOFlushed<TypeConfig>),
    /// Save a vote.
    Vote(Vote, Done),
    /// Remove the entries from this index on.
    Truncate(u64),
    /// Remove the entries up to this one.
    Purge(LogId),
    /// Save how far the log is committed. No reason to wake the flusher: it goes with what comes
    /// next. In the queue, so that it is on disk only if the entries that it speaks of are.
    Committed(Option<LogId>),
    /// Make a checkpoint the current one, unless that is as new. Everything submitted before is
    /// durable before it.
    Checkpoint(Pointer, Done),
}

/// A block on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockInfo {
    /// The index of its last entry.
    pub(crate) last: u64,
    /// The pieces that it is kept in.
    pub(crate) pieces: u16,
}

/// The log as readers see it.
pub(crate) struct LogView {
    pub(crate) tail: Tail,
    /// The blocks on disk, by first index. May still list what was truncated or purged.
    pub(crate) blocks: BTreeMap<u64, BlockInfo>,
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) committed: Option<LogId>,
    queue: Vec<Op>,
    /// Bytes of entries in the queue.
    queued_bytes: usize,
    closing: bool,
    failed: Option<Fatal>,
}

impl LogView {
    pub(crate) fn new(tail: Tail) -> Self {
        Self {
            tail,
            blocks: BTreeMap::new(),
            vote: None,
            purged: None,
            last: None,
            committed: None,
            queue: Vec::new(),
            queued_bytes: 0,
            closing: false,
            failed: None,
        }
    }

    /// Forgets old entries, all before `durable`, which blocks on disk hold.
    pub(crate) fn evict(&mut self, durable: u64, bytes_max: usize) {
        // While a truncation waits, the blocks hold other entries at these indices than the tail.
        if !self.queue.iter().any(|op| matches!(op, Op::Truncate(_))) {
            self.tail.evict(durable, bytes_max);
        }
    }

    /// How far the log is known to be committed.
    ///
    /// The position is on disk only after the entries that it speaks of. As a second line it counts
    /// only as far as the log is the one that it speaks of: the entry itself is there, or the log
    /// ends earlier in the same term (then both come from the one leader of that term). What is no
    /// longer in memory is not looked up.
    pub(crate) fn committed_in_log(&self) -> Option<LogId> {
        let (committed, last) = (self.committed?, self.last?);
        if committed.committed_leader_id() == last.committed_leader_id() {
            return Some(committed.min(last));
        }
        let index = committed.index();
        let entry = self.tail.range(index, index + 1, usize::MAX);
        let same = entry.first().is_some_and(|entry| entry.log_id == committed);
        (same || index < self.tail.first()).then_some(committed)
    }

    /// The index of the entry to come; None: any, since the log never held one.
    pub(crate) fn next(&self) -> Option<u64> {
        self.last.map(|last| last.index() + 1)
    }
}

/// What the handles share.
pub(crate) struct Shared {
    view: Mutex<LogView>,
    wake_thread: Condvar,
    wake_task: Notify,
    /// Tells that the queue was taken.
    taken: Notify,
    pub(crate) db: Arc<dyn Database>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fatal: watch::Sender<Option<Fatal>>,
}

impl Shared {
    pub(crate) fn new(
        view: LogView,
        db: Arc<dyn Database>,
        metrics: Arc<Metrics>,
        fatal: watch::Sender<Option<Fatal>>,
    ) -> Self {
        Self {
            view: Mutex::new(view),
            wake_thread: Condvar::new(),
            wake_task: Notify::new(),
            taken: Notify::new(),
            db,
            metrics,
            fatal,
        }
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, LogView> {
        self.view.lock()
    }

    /// Changes the view and queues what is to be done on disk, in one step.
    pub(crate) fn submit(
        &self,
        change: impl FnOnce(&mut LogView) -> io::Result<Op>,
    ) -> io::Result<()> {
        let mut view = self.view.lock();
        if let Some(fatal) = &view.failed {
            return Err(fatal.clone().into());
        }
        if view.closing {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the log is closed"));
        }
        let op = change(&mut view)?;
        view.queue.push(op);
        drop(view);
        self.wake_thread.notify_one();
        self.wake_task.notify_one();
        Ok(())
    }

    /// Notes how far the log is committed: see [`Op::Committed`].
    pub(crate) fn save_committed(&self, committed: Option<LogId>) {
        let mut view = self.view.lock();
        view.committed = committed;
        if matches!(view.queue.last(), Some(Op::Committed(_))) {
            view.queue.pop();
        }
        if view.failed.is_none() {
            view.queue.push(Op::Committed(committed));
        }
    }

    /// Waits until the queue is not overfull: the back-pressure of a disk that is too slow.
    pub(crate) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            let full = {
                let view = self.view.lock();
                view.queued_bytes >= super::QUEUE_BYTES_MAX && view.failed.is_none()
            };
            if !full {
                return;
            }
            taken.await;
        }
    }

    /// Appends entries to the view.
    pub(crate) fn append(
        &self,
        entries: Vec<Entry>,
        flushed: IOFlushed<TypeConfig>,
    ) -> io::Result<()> {
        self.submit(|view| {
            let mut next = view.next();
            for entry in &entries {
                let index = entry.log_id.index();
                if next.is_some_and(|next| next != index) {
                    let message = format!("entry {index} does not follow {:?}", view.last);
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                if entry_bytes(entry) > super::ENTRY_BYTES_MAX {
                    let message = format!("entry {index} is too large to store");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                next = Some(index + 1);
            }
            for entry in &entries {
                view.last = Some(entry.log_id);
                view.tail.push(entry.clone());
            }
            let bytes: usize = entries.iter().map(entry_bytes).sum();
            view.queued_bytes += bytes;
            self.metrics.entries.fetch_add(entries.len() as u64, Ordering::Relaxed);
            self.metrics.entry_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.metrics.tail_bytes.store(view.tail.bytes() as u64, Ordering::Relaxed);
            Ok(Op::Append(entries, flushed))
        })
    }

    /// Makes a checkpoint the current one: see [`Op::Checkpoint`].
    pub(crate) async fn flip(&self, pointer: Pointer) -> io::Result<()> {
        let (done, flipped) = oneshot::channel();
        self.submit(|_| Ok(Op::Checkpoint(pointer, done)))?;
        wait(flipped).await
    }

    /// Takes everything that waits; blocks until there is something. None: closed, nothing left.
    pub(crate) fn take_blocking(&self) -> Option<Vec<Op>> {
        let mut view = self.view.lock();
        loop {
            match self.take_now(&mut view) {
                Taken::Ops(ops) => return Some(ops),
                Taken::Nothing => self.wake_thread.wait(&mut view),
                Taken::Closed => return None,
            }
        }
    }

    /// As [`Self::take_blocking`], in a task.
    pub(crate) async fn take(&self) -> Option<Vec<Op>> {
        loop {
            match self.take_now(&mut self.view.lock()) {
                Taken::Ops(ops) => return Some(ops),
                Taken::Nothing => {}
                Taken::Closed => return None,
            }
            self.wake_task.notified().await;
        }
    }

    fn take_now(&self, view: &mut LogView) -> Taken {
        let ended = view.closing || view.failed.is_some();
        let idle = view.queue.iter().all(|op| matches!(op, Op::Committed(_)));
        if !idle || (ended && !view.queue.is_empty()) {
            view.queued_bytes = 0;
            self.taken.notify_waiters();
            Taken::Ops(std::mem::take(&mut view.queue))
        } else if ended {
            Taken::Closed
        } else {
            Taken::Nothing
        }
    }

    /// Accepts nothing any more; what was accepted is still done.
    pub(crate) fn close(&self) {
        self.view.lock().closing = true;
        self.wake_thread.notify_one();
        self.wake_task.notify_one();
    }

    /// As [`Self::fail`], unless the log is being closed: what fails then fails because of that.
    pub(crate) fn fail_unless_closing(&self, what: &str, error: &dyn std::fmt::Display) {
        if !self.view.lock().closing {
            self.fail(&Fatal(format!("storage failed: {what}: {error}")));
        }
    }

    /// Ends everything: nothing is accepted any more, everybody who waits and the node are told.
    pub(crate) fn fail(&self, fatal: &Fatal) {
        tracing::error!(error = %fatal, "storage failed, this coordinator must stop");
        let waiting = {
            let mut view = self.view.lock();
            view.failed.get_or_insert_with(|| fatal.clone());
            std::mem::take(&mut view.queue)
        };
        self.fatal.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert_with(|| fatal.clone());
            first
        });
        self.taken.notify_waiters();
        complete(waiting, &Err(fatal.clone()));
    }
}

enum Taken {
    Ops(Vec<Op>),
    Nothing,
    Closed,
}

/// Tells everybody who waits, in order.
pub(crate) fn complete(ops: Vec<Op>, result: &Result<(), Fatal>) {
    for op in ops {
        match op {
            Op::Append(_, flushed) => {
                flushed.io_completed(result.clone().map_err(io::Error::from));
            }
            // Nobody waits any more when the receiver is gone.
            Op::Vote(_, done) | Op::Checkpoint(_, done) => drop(done.send(result.clone())),
            Op::Truncate(_) | Op::Purge(_) | Op::Committed(_) => {}
        }
    }
}

/// Waits for the result of an operation.
pub(crate) async fn wait(done: oneshot::Receiver<Result<(), Fatal>>) -> io::Result<()> {
    match done.await {
        Ok(result) => Ok(result?),
        Err(_) => Err(io::Error::other("the flusher of the log is gone")),
    }
}

#[cfg(test)]
mod tests {
    use openraft::{EntryPayload, entry::RaftEntry};

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId::new_term_index(term, index)
    }

    /// A log with one entry for each term given, from index 1 on.
    fn log(terms: &[u64], committed: LogId) -> LogView {
        let mut view = LogView::new(Tail::new(1));
        for (index, term) in (1..).zip(terms) {
            view.tail.push(Entry::new(id(*term, index), EntryPayload::Blank));
            view.last = Some(id(*term, index));
        }
        view.committed = Some(committed);
        view
    }

    #[test]
    fn what_is_committed_is_in_the_log_or_before_it_in_the_same_term() {
        assert_eq!(log(&[1, 1, 2], id(1, 2)).committed_in_log(), Some(id(1, 2)));
        assert_eq!(log(&[1, 2, 2], id(2, 9)).committed_in_log(), Some(id(2, 3)));
        assert_eq!(log(&[1, 2, 2], id(2, 2)).committed_in_log(), Some(id(2, 2)));
    }

    #[test]
    fn entries_that_a_crash_brought_back_are_not_taken_for_committed() {
        // Term 3 had replaced entry 2 on, which did not reach the disk; its commit position did.
        assert_eq!(log(&[1, 2, 2, 2], id(3, 2)).committed_in_log(), None);
        assert_eq!(log(&[1, 2], id(3, 9)).committed_in_log(), None);
        assert_eq!(log(&[], id(3, 9)).committed_in_log(), None);
    }
}
