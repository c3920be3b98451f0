//! What storage counts. Plain atomics: whoever exports them reads them when asked.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets of every [`Histogram`], in seconds; one more bucket is unbounded.
pub const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    count: AtomicU64,
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Adds one observation.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|&bound| seconds <= bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Their sum in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// Observations per bucket, not cumulative: one for each of [`BUCKETS`], then those above.
    #[must_use]
    pub fn buckets(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }
}

/// Everything that storage counts, since it was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Log barriers: everything written, flushed and recorded.
    pub barrier: Histogram,
    /// Barriers that found the journal full, so that the databases were synced instead.
    pub journal_full: AtomicU64,
    /// Entries appended to the log.
    pub entries: AtomicU64,
    /// Bytes appended to the log.
    pub entry_bytes: AtomicU64,
    /// Reads of log entries that were not in memory.
    pub tail_misses: AtomicU64,
    /// Bytes of entries in memory now.
    pub tail_bytes: AtomicU64,
    /// Log blocks on disk now.
    pub log_blocks: AtomicU64,
    /// Checkpoints built and written.
    pub checkpoint: Histogram,
    /// Checkpoints installed from the leader.
    pub installs: AtomicU64,
    /// Blocks of the current checkpoint.
    pub checkpoint_blocks: AtomicU64,
    /// Bytes of the current checkpoint.
    pub checkpoint_bytes: AtomicU64,
    /// Bytes of checkpoint blocks written (blocks shared with an older one are not).
    pub checkpoint_bytes_written: AtomicU64,
    /// Calls of apply, each publishing one view.
    pub apply: Histogram,
    /// Commands applied.
    pub commands: AtomicU64,
}
