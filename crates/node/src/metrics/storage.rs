//! What storage counts, exported.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};
use quorate_storage::metrics::{BUCKETS, Histogram};

use super::family::{counter, desc, float, gauge, histogram};

const BARRIER: (&str, &str) =
    ("quorate_storage_barrier_seconds", "Time of one durable barrier of the log.");

/// Exports a storage's metrics.
pub struct StorageCollector {
    storage: Arc<quorate_storage::Metrics>,
    desc: Desc,
}

impl StorageCollector {
    /// Exports these.
    #[must_use]
    pub fn new(storage: Arc<quorate_storage::Metrics>) -> Self {
        Self { storage, desc: desc(BARRIER.0, BARRIER.1) }
    }
}

impl Collector for StorageCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let storage = &*self.storage;
        let total = |name: &str, help: &str, value: &AtomicU64| {
            counter(name, help, value.load(Ordering::Relaxed))
        };
        let now = |name: &str, help: &str, value: &AtomicU64| {
            gauge(name, help, float(value.load(Ordering::Relaxed)))
        };
        vec![
            times(BARRIER.0, BARRIER.1, &storage.barrier),
            times(
                "quorate_storage_checkpoint_seconds",
                "Time to build and write one checkpoint.",
                &storage.checkpoint,
            ),
            times(
                "quorate_storage_apply_seconds",
                "Time to apply what was committed together and publish it.",
                &storage.apply,
            ),
            total("quorate_storage_entries_total", "Log entries appended.", &storage.entries),
            total(
                "quorate_storage_entry_bytes_total",
                "Bytes of log entries appended.",
                &storage.entry_bytes,
            ),
            total(
                "quorate_storage_tail_misses_total",
                "Reads of log entries that were not in memory.",
                &storage.tail_misses,
            ),
            total("quorate_storage_commands_total", "Commands applied.", &storage.commands),
            total(
                "quorate_storage_installs_total",
                "Checkpoints installed from the leader.",
                &storage.installs,
            ),
            total(
                "quorate_storage_checkpoint_written_bytes_total",
                "Bytes of checkpoint blocks written.",
                &storage.checkpoint_bytes_written,
            ),
            now(
                "quorate_storage_tail_bytes",
                "Bytes of log entries in memory.",
                &storage.tail_bytes,
            ),
            now("quorate_storage_log_blocks", "Log blocks on disk.", &storage.log_blocks),
            now(
                "quorate_storage_checkpoint_bytes",
                "Bytes of the newest checkpoint.",
                &storage.checkpoint_bytes,
            ),
        ]
    }
}

fn times(name: &str, help: &str, times: &Histogram) -> MetricFamily {
    histogram(name, help, &BUCKETS, &times.buckets(), times.sum_seconds())
}
