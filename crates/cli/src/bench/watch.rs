//! `bench watch`: deliveries. Every watcher gets every write, in order and exactly once.
//!
//! Writers write; each value tells its sequence number. Watchers keep a fingerprint of what they
//! were told, which is compared with what the writers were acknowledged. A last write, after all
//! others, tells the watchers that they have everything.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use quorate_client::{Start, WatchEvent, WatchOptions, WatchedChange};
use quorate_core::{Filter, Record, Revision};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Finished,
    check::Story,
    drive::{Work, drive, histogram, micros},
    fleet::Fleet,
    payload::Payload,
    put::{Writer, rate, report},
};
use crate::{
    args::BenchWatch,
    commands::Context,
    failure::{Exit, Failure},
    progress,
};

/// The sequence number of the last write.
const LAST: u64 = u64::MAX;
/// How long watchers may be without any delivery before they are given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long all watchers may take to follow.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Watchers share so many histograms, so that thousands of them do not need one each.
const SHARDS: usize = 16;

/// What watchers and writers share.
struct Board {
    payload: Payload,
    total: u64,
    epoch: Instant,
    /// When each write was sent, microseconds after `epoch`.
    sent_us: Vec<AtomicU64>,
    latencies: Vec<Mutex<Histogram<u64>>>,
    following: AtomicUsize,
    follows: Notify,
    delivered: AtomicU64,
}

/// What one watcher found out.
struct Watched {
    story: Story,
    last_delivery: Instant,
    error: Option<String>,
}

/// Measures deliveries.
///
/// # Errors
/// When the cluster does not answer at all. Single failures are counted.
pub(crate) async fn watch(context: &Context, args: &BenchWatch) -> Result<Finished> {
    let load = &args.load;
    let fleet = Arc::new(Fleet::connect(context, load).await?);
    let board = Arc::new(Board::new(Payload::new(args.value_size), load.total));
    let first = fleet.revision(context).await?.next();
    let mut watchers = JoinSet::new();
    for index in 0..args.watchers as usize {
        watchers.spawn(watcher(fleet.clone(), board.clone(), index, first));
    }
    board.wait_until_all_follow(args.watchers as usize).await?;

    let works = (0..load.clients as usize).map(|index| TimedWriter {
        writer: Writer::new(&fleet, &board.payload, index),
        board: board.clone(),
    });
    let mut driven = drive("watch: writes", load, works.collect()).await?;
    let last = fleet.client(0).put(&fleet.keys[0], board.payload.value(LAST));
    last.await.map_err(|error| context.explain(&error))?;
    let deliveries = load.total.saturating_mul(u64::from(args.watchers));
    let ended = watchers_end(watchers, &board);
    let watched =
        progress::while_running("watch: deliveries", &board.delivered, deliveries, ended).await?;

    let writers = driven.works.iter().flat_map(|work| work.writer.written.iter().copied());
    let truth = Story::of(writers.filter(|(_, sequence)| *sequence < load.total).collect());
    let mut until = driven.started;
    for watched in &watched {
        driven.errors += truth.violations(&watched.story);
        until = until.max(watched.last_delivery);
        let violations = truth.violations(&watched.story);
        let told =
            (violations > 0).then(|| format!("a watcher was told {violations} things wrong"));
        driven.first_error = driven.first_error.or(watched.error.clone()).or(told);
    }
    if !load.keep {
        fleet.remove(context).await?;
    }
    driven.latencies = board.latencies()?;
    let mut report = report("watch", load, args.value_size, fleet.connections(), &driven);
    report.ops_per_second = rate(truth.count, driven.elapsed.as_secs_f64());
    let seconds = until.duration_since(driven.started).as_secs_f64();
    let counted = watched.iter().map(|watched| watched.story.count).sum();
    report.deliveries_per_second = Some(rate(counted, seconds));
    report.more.watchers = Some(args.watchers);
    Ok(Finished { report, first_error: driven.first_error })
}

/// Waits for all watchers, as long as there are deliveries.
async fn watchers_end(mut watchers: JoinSet<Watched>, board: &Board) -> Result<Vec<Watched>> {
    let mut watched = Vec::with_capacity(watchers.len());
    loop {
        let before = board.delivered.load(Ordering::Relaxed);
        match timeout(STALL_TIMEOUT, watchers.join_next()).await {
            Ok(Some(ended)) => watched.push(ended.context("a watcher failed")?),
            Ok(None) => return Ok(watched),
            Err(_) if board.delivered.load(Ordering::Relaxed) > before => {}
            Err(_) => {
                let message =
                    format!("{} watchers got nothing for {STALL_TIMEOUT:?}", watchers.len());
                return Err(Failure::rejected(message).into());
            }
        }
    }
}

/// A writer that notes when it writes.
struct TimedWriter {
    writer: Writer,
    board: Arc<Board>,
}

impl Work for TimedWriter {
    async fn request(&mut self, sequence: u64) -> Result<(), String> {
        if let Some(sent) = self.board.slot(sequence) {
            sent.store(micros(self.board.epoch.elapsed()), Ordering::Relaxed);
        }
        self.writer.request(sequence).await
    }
}

/// Follows until the last write.
async fn watcher(fleet: Arc<Fleet>, board: Arc<Board>, index: usize, first: Revision) -> Watched {
    let filter = Filter { key_prefix: fleet.prefix.clone(), ..Filter::default() };
    let options = WatchOptions { start: Start::From(first), filter, ..WatchOptions::default() };
    let mut watch = fleet.client(index).watch(options);
    let mut watched = Watched { story: Story::default(), last_delivery: board.epoch, error: None };
    let mut follows = false;
    loop {
        let event = watch.next().await;
        if !follows {
            follows = true;
            board.following.fetch_add(1, Ordering::Relaxed);
            board.follows.notify_one();
        }
        match event {
            Ok(WatchEvent::Changes { revision, changes, .. }) => {
                if board.take(index, revision, &changes, &mut watched) {
                    return watched;
                }
            }
            Ok(WatchEvent::Progress { .. }) => {}
            Ok(other) => watched.error = Some(format!("a watcher was told {other:?}")),
            Err(error) => {
                watched.error = Some(error.to_string());
                return watched;
            }
        }
    }
}

impl Board {
    fn new(payload: Payload, total: u64) -> Self {
        Self {
            payload,
            total,
            epoch: Instant::now(),
            sent_us: (0..total).map(|_| AtomicU64::new(0)).collect(),
            latencies: (0..SHARDS).map(|_| Mutex::new(histogram())).collect(),
            following: AtomicUsize::new(0),
            follows: Notify::new(),
            delivered: AtomicU64::new(0),
        }
    }

    async fn wait_until_all_follow(&self, watchers: usize) -> Result<()> {
        let all = async {
            while self.following.load(Ordering::Relaxed) < watchers {
                self.follows.notified().await;
            }
        };
        timeout(CONNECT_TIMEOUT, all).await.map_err(|_| {
            let following = self.following.load(Ordering::Relaxed);
            let message = format!("only {following} of {watchers} watchers follow");
            Failure::new(Exit::Unavailable, message).into()
        })
    }

    fn slot(&self, sequence: u64) -> Option<&AtomicU64> {
        self.sent_us.get(usize::try_from(sequence).ok()?)
    }

    /// Takes a revision's changes. True after the last write.
    fn take(
        &self,
        index: usize,
        revision: Revision,
        changes: &[WatchedChange],
        watched: &mut Watched,
    ) -> bool {
        for change in changes {
            let sequence = match change.current.as_ref().map(|record| &record.value) {
                Some(Record::Entry(entry)) => self.payload.sequence(&entry.value),
                _ => None,
            };
            match sequence {
                Some(LAST) => return true,
                Some(warmup) if warmup >= self.total => continue,
                _ => watched.story.tell(revision, sequence),
            }
            watched.last_delivery = Instant::now();
            self.delivered.fetch_add(1, Ordering::Relaxed);
            if let Some(sent) = sequence.and_then(|sequence| self.slot(sequence)) {
                let now = micros(watched.last_delivery - self.epoch);
                let latency = now.saturating_sub(sent.load(Ordering::Relaxed));
                lock(&self.latencies[index % SHARDS]).saturating_record(latency);
            }
        }
        false
    }

    fn latencies(&self) -> Result<Histogram<u64>> {
        let mut all = histogram();
        for shard in &self.latencies {
            all.add(&*lock(shard)).context("latencies of another range")?;
        }
        Ok(all)
    }
}

/// A histogram stays usable when a task that held it panicked.
fn lock(shard: &Mutex<Histogram<u64>>) -> MutexGuard<'_, Histogram<u64>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
