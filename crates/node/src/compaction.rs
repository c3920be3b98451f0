//! Asks for a checkpoint when the log has grown by so many bytes. openraft itself counts entries.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use quorate_storage::Metrics;
use tokio_util::sync::CancellationToken;

use crate::consensus::Raft;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(crate) async fn run(
    raft: Raft,
    metrics: Arc<Metrics>,
    bytes_max: u64,
    stop: CancellationToken,
) {
    let mut at_last = metrics.entry_bytes.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = metrics.entry_bytes.load(Ordering::Relaxed);
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
