//! Clients that ask one request after another until the total is reached, and the clock.
//!
//! The warm-up is the same work, done before the clock starts and not counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use tokio::{sync::Barrier, task::JoinSet, time::Instant};

use crate::{args::BenchLoad, progress};

/// The longest latency that is told apart from longer ones, microseconds.
pub(super) const LATENCY_US_MAX: u64 = 600_000_000;
/// The most requests of a warm-up that was not asked for.
const WARMUP_MAX: u64 = 2_000;

/// One client's work.
pub(super) trait Work: Send + 'static {
    /// Makes the request of this number and checks its reply. Warm-ups have numbers from the total
    /// on.
    fn request(&mut self, sequence: u64) -> impl Future<Output = Result<(), String>> + Send;
}

/// What a drive found out.
#[derive(Debug)]
pub(super) struct Driven<W> {
    /// The clients' work, with whatever it collected.
    pub(super) works: Vec<W>,
    /// Latencies of the requests that succeeded, microseconds.
    pub(super) latencies: Histogram<u64>,
    /// How many requests failed.
    pub(super) errors: u64,
    /// The first failure.
    pub(super) first_error: Option<String>,
    /// When the clock was started.
    pub(super) started: Instant,
    /// How long it took.
    pub(super) elapsed: Duration,
}

/// What all clients of a drive share.
struct Shared {
    total: u64,
    warmup: u64,
    next: AtomicU64,
    next_warmup: AtomicU64,
    done: AtomicU64,
    warm: Barrier,
}

/// What one client counted.
struct Tally<W> {
    work: W,
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
    started: Instant,
    ended: Instant,
}

/// Lets every work run as a client of its own.
///
/// # Errors
/// When a client's task panicked.
pub(super) async fn drive<W: Work>(
    what: &str,
    load: &BenchLoad,
    works: Vec<W>,
) -> Result<Driven<W>> {
    let shared = Arc::new(Shared {
        total: load.total,
        warmup: load.warmup.unwrap_or_else(|| (load.total / 10).min(WARMUP_MAX)),
        next: AtomicU64::new(0),
        next_warmup: AtomicU64::new(0),
        done: AtomicU64::new(0),
        warm: Barrier::new(works.len()),
    });
    let mut clients = JoinSet::new();
    for work in works {
        clients.spawn(client(work, shared.clone()));
    }
    let all = clients_end(clients);
    let tallies = progress::while_running(what, &shared.done, load.total, all).await?;
    merge(tallies)
}

async fn clients_end<W: Work>(mut clients: JoinSet<Tally<W>>) -> Result<Vec<Tally<W>>> {
    let mut tallies = Vec::with_capacity(clients.len());
    while let Some(ended) = clients.join_next().await {
        tallies.push(ended.context("a client of the measurement failed")?);
    }
    Ok(tallies)
}

async fn client<W: Work>(mut work: W, shared: Arc<Shared>) -> Tally<W> {
    let (mut errors, mut first_error) = (0, None);
    while let Some(number) = take(&shared.next_warmup, shared.warmup) {
        if let Err(error) = work.request(shared.total + number).await {
            errors += 1;
            first_error.get_or_insert(error);
        }
    }
    shared.warm.wait().await;
    let started = Instant::now();
    let mut latencies = histogram();
    while let Some(sequence) = take(&shared.next, shared.total) {
        let sent = Instant::now();
        match work.request(sequence).await {
            Ok(()) => latencies.saturating_record(micros(sent.elapsed())),
            Err(error) => {
                errors += 1;
                first_error.get_or_insert(error);
            }
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
    Tally { work, latencies, errors, first_error, started, ended: Instant::now() }
}

fn take(next: &AtomicU64, end: u64) -> Option<u64> {
    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < end)
}

fn merge<W>(tallies: Vec<Tally<W>>) -> Result<Driven<W>> {
    let started = tallies.iter().map(|tally| tally.started).min().context("no clients")?;
    let ended = tallies.iter().map(|tally| tally.ended).max().context("no clients")?;
    let mut driven = Driven {
        works: Vec::with_capacity(tallies.len()),
        latencies: histogram(),
        errors: 0,
        first_error: None,
        started,
        elapsed: ended - started,
    };
    for tally in tallies {
        driven.latencies.add(&tally.latencies).context("latencies of another range")?;
        driven.errors += tally.errors;
        driven.first_error = driven.first_error.or(tally.first_error);
        driven.works.push(tally.work);
    }
    Ok(driven)
}

/// An empty histogram of latencies.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds that are constant and valid")
}

/// A duration in whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting {
        seen: Vec<u64>,
        fail_at: u64,
    }

    impl Work for Counting {
        async fn request(&mut self, sequence: u64) -> Result<(), String> {
            tokio::task::yield_now().await;
            self.seen.push(sequence);
            if sequence == self.fail_at { Err("no".to_owned()) } else { Ok(()) }
        }
    }

    fn load(total: u64, warmup: u64) -> BenchLoad {
        BenchLoad {
            clients: 4,
            total,
            warmup: Some(warmup),
            connections: None,
            keys: 1,
            keep: false,
            no_sessions: false,
        }
    }

    #[tokio::test]
    async fn every_number_is_asked_once_and_failures_are_counted() {
        let works = (0..4).map(|_| Counting { seen: vec![], fail_at: 7 }).collect();
        let driven = drive("test", &load(100, 10), works).await.unwrap();
        let mut seen: Vec<_> = driven.works.into_iter().flat_map(|work| work.seen).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..110).collect::<Vec<_>>());
        assert_eq!(driven.latencies.len(), 99);
        assert_eq!(driven.errors, 1);
        assert_eq!(driven.first_error.as_deref(), Some("no"));
    }
}
