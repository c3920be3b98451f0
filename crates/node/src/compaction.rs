//! Bounds the log by bytes: asks for a checkpoint when it has grown by so many, and for a purge when
//! what is kept behind the checkpoint is too much. openraft itself counts entries.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use openraft::async_runtime::watch::WatchReceiver;
use quorate_storage::Metrics;
use tokio_util::sync::CancellationToken;

use crate::consensus::Raft;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many times the bytes between two checkpoints are kept for members that lag.
const KEPT_FACTOR: u64 = 4;

/// Runs until `stop`.
pub(crate) async fn run(
    raft: Raft,
    metrics: Arc<Metrics>,
    bytes_max: u64,
    stop: CancellationToken,
) {
    let written = || metrics.entry_bytes.load(Ordering::Relaxed);
    let mut at_last = written();
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = written();
        let last_index = raft.metrics().borrow_watched().last_log_index.unwrap_or(0);
        if let Some(upto) = seen.add(now, last_index, bytes_max.saturating_mul(KEPT_FACTOR)) {
            tracing::debug!(upto, "asking to purge the log by bytes");
            if raft.trigger().purge_log(upto).await.is_err() {
                return;
            }
        }
        if now.saturating_sub(at_last) < bytes_max {
            continue;
        }
        tracing::info!(bytes = now - at_last, "the log has grown: making a checkpoint");
        at_last = now;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

/// How many bytes had been written when the log ended where.
#[derive(Default)]
struct Seen(VecDeque<(u64, u64)>);

impl Seen {
    /// Notes where the log ends now. Gives the index up to which it may be purged so that about
    /// `kept` bytes stay, when there is more. openraft never purges beyond the checkpoint.
    fn add(&mut self, written: u64, last_index: u64, kept: u64) -> Option<u64> {
        if self.0.back().is_none_or(|(_, index)| *index < last_index) {
            self.0.push_back((written, last_index));
        }
        let mut upto = None;
        while let Some((at, index)) = self.0.front().copied()
            && written.saturating_sub(at) > kept
        {
            upto = Some(index);
            self.0.pop_front();
        }
        upto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_kept_bytes_goes() {
        let mut seen = Seen::default();
        assert_eq!(seen.add(100, 10, 1_000), None);
        assert_eq!(seen.add(600, 20, 1_000), None);
        assert_eq!(seen.add(1_100, 30, 1_000), None);
        assert_eq!(seen.add(1_101, 31, 1_000), Some(10));
        assert_eq!(seen.add(5_000, 40, 1_000), Some(31));
        assert_eq!(seen.add(5_000, 40, 1_000), None);
    }
}
