//! How far something long is, on standard error.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{self, Instant, MissedTickBehavior};

/// How long it goes on before it says something, and between two reports.
const INTERVAL: Duration = Duration::from_secs(3);

/// Reports until `work` is done, and returns what it made.
pub(crate) async fn while_running<T>(
    what: &str,
    done: &AtomicU64,
    total: u64,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    let mut ticks = time::interval_at(Instant::now() + INTERVAL, INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = ticks.tick() => {
                let done = done.load(Ordering::Relaxed).min(total);
                // Nobody may be reading; that must not fail the work.
                let _ = writeln!(io::stderr(), "{what}: {done} of {total}");
            }
        }
    }
}
