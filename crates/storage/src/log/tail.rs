//! The newest entries, in memory: what apply and replication read.
//!
//! Invariant: consecutive; every entry of the log that is not here is in a block on disk.

use std::collections::VecDeque;

use super::block::entry_bytes;
use crate::raft_types::Entry;

/// The newest entries.
pub(crate) struct Tail {
    /// The index of the first entry here, or of the next one to come.
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// An empty tail of a log whose next entry has this index.
    pub(crate) fn new(next: u64) -> Self {
        Self { first: next, entries: VecDeque::new(), bytes: 0 }
    }

    /// The index of the first entry here.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The index of the entry to come.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Bytes of the entries here.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the next entry. Into an empty tail goes any.
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.first = entry.log_id.index();
        }
        debug_assert_eq!(entry.log_id.index(), self.next());
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
    }

    /// The entries of `from..to` that are here, at most so many bytes of them, but at least one.
    pub(crate) fn range(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Entry> {
        let (from, to) = (from.max(self.first), to.min(self.next()));
        let mut bytes = 0;
        let mut found = Vec::new();
        for index in from..to {
            let Some(entry) = self.position(index).and_then(|at| self.entries.get(at)) else {
                break;
            };
            bytes += entry_bytes(entry);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        found
    }

    /// Forgets the entries from `index` on; the next one to come has that index.
    pub(crate) fn truncate(&mut self, index: u64) {
        while self.next() > index
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes -= entry_bytes(&entry);
        }
        if self.entries.is_empty() {
            self.first = index;
        }
    }

    /// Forgets the entries before `index`.
    pub(crate) fn purge(&mut self, index: u64) {
        while self.first < index && self.pop_front() {}
        if self.entries.is_empty() && self.first < index {
            self.first = index;
        }
    }

    /// Forgets the oldest entries, none of `from` or after, until at most so many bytes are left.
    pub(crate) fn evict(&mut self, from: u64, bytes_max: usize) {
        while self.bytes > bytes_max && self.first < from && self.pop_front() {}
    }

    fn pop_front(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.bytes -= entry_bytes(&entry);
        self.first += 1;
        true
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::raft_types::{LogId, Proposal};

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry {
            log_id: LogId::new_term_index(1, index),
            payload: EntryPayload::Normal(Proposal::from_bytes(vec![0; bytes].into())),
        }
    }

    fn indices(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index()).collect()
    }

    fn tail() -> Tail {
        let mut tail = Tail::new(1);
        (5..15).for_each(|index| tail.push(entry(index, 87)));
        tail
    }

    #[test]
    fn ranges_are_clipped_and_bounded_by_bytes() {
        let tail = tail();
        assert_eq!((tail.first(), tail.next(), tail.bytes()), (5, 15, 1000));
        assert_eq!(indices(&tail.range(0, 7, usize::MAX)), [5, 6]);
        assert_eq!(indices(&tail.range(12, 99, usize::MAX)), [12, 13, 14]);
        assert_eq!(indices(&tail.range(5, 15, 250)), [5, 6]);
        assert_eq!(indices(&tail.range(9, 15, 1)), [9]);
        assert!(tail.range(15, 20, 1).is_empty());
    }

    #[test]
    fn eviction_spares_what_is_not_durable() {
        let mut tail = tail();
        tail.evict(8, 100);
        assert_eq!((tail.first(), tail.bytes()), (8, 700));
        tail.evict(99, 100);
        assert_eq!((tail.first(), tail.next(), tail.bytes()), (14, 15, 100));
    }

    #[test]
    fn truncation_and_purge_beyond_the_ends() {
        let mut tail = tail();
        tail.truncate(20);
        assert_eq!(tail.next(), 15);
        tail.truncate(10);
        assert_eq!((tail.first(), tail.next()), (5, 10));
        tail.truncate(3);
        assert_eq!((tail.first(), tail.next(), tail.bytes()), (3, 3, 0));
        tail.purge(50);
        assert_eq!((tail.first(), tail.next()), (50, 50));
    }
}
