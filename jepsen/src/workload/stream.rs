//! Change streams, written down message by message.
//!
//! Owns two ways to follow: one connection to one coordinator, which sees everything just as the
//! coordinator sends it, and the client library, which goes on over all the connections that it
//! takes. Must not know whether what comes is right.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_client::{Start, WatchEvent, WatchOptions, WatchedChange};
use quorate_core::{Filter, KeyedRecord, Kind, MemberId, Record, Revision, Versioned};
use quorate_proto::{
    ErrorDetails,
    convert::ResumeToken,
    v1::{
        WatchFilter, WatchRequest, WatchResponse, watch_request,
        watch_service_client::WatchServiceClient,
    },
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{Patience, bench::Bench};
use crate::history::{
    Seen, Value, What,
    stream::{Asked, Change, Held, StreamEvent, StreamId, StreamStart, StreamStep, Told},
};

/// How often quiet streams are to say how far they are.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How long a stream may be silent, although it says how far it is.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether all streams are far enough.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The reason of a message that cannot be read: none of the interface's.
const MALFORMED: &str = "MALFORMED";

/// All streams of a run.
pub(crate) struct Streams {
    bench: Arc<Bench>,
    next: AtomicU64,
    /// How far a stream through each coordinator came; none: through the client library.
    furthest: Mutex<BTreeMap<Option<MemberId>, Revision>>,
    /// Ends all of them.
    stop: CancellationToken,
}

/// What to follow, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// What is asked for.
    pub(crate) asked: Asked,
    /// The token to go on after, if that is the start.
    pub(crate) token: Option<ResumeToken>,
    /// For how long; none: until it ends.
    pub(crate) lasts: Option<Duration>,
    /// How long the subscriber takes for a message.
    pub(crate) lag: Duration,
}

/// How a connection ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Where it stood; none: nowhere that can be resumed.
    pub(crate) token: Option<ResumeToken>,
    /// The reason that the coordinator named.
    pub(crate) reason: Option<String>,
}

impl Streams {
    /// None yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Arc<Self> {
        let (next, furthest) = (AtomicU64::new(0), Mutex::default());
        Arc::new(Self { bench, next, furthest, stop: CancellationToken::new() })
    }

    /// Cancelled when streams are to end.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The furthest that any stream came.
    pub(crate) fn newest(&self) -> Revision {
        self.lock().values().max().copied().unwrap_or_default()
    }

    /// Waits until through every coordinator that is followed a stream has come to where the
    /// cluster is now, and ends all streams.
    pub(crate) async fn settle(&self, patience: &Patience) {
        let target = self.bench.revision(patience).await;
        let behind = || self.lock().values().any(|at| Some(*at) < target);
        while patience.is_left() && behind() {
            sleep(LOOK_EVERY).await;
        }
        self.stop.cancel();
    }

    /// Follows through the client library in the background, from the first revision on.
    pub(crate) fn spawn_library(self: &Arc<Self>, tasks: &mut JoinSet<()>, asked: Asked) {
        self.lock().insert(None, Revision(0));
        tasks.spawn(self.clone().library(asked));
    }

    /// Notes a coordinator that is followed.
    pub(crate) fn expect(&self, node: MemberId) {
        self.lock().insert(Some(node), Revision(0));
    }

    /// Follows over one connection to the coordinator that is asked.
    pub(crate) async fn connection(&self, node: MemberId, wish: &Wish) -> Outcome {
        let id = self.fresh();
        self.tell(id, Told::Asked(wish.asked.clone()));
        let mut outcome = Outcome { token: wish.token, reason: None };
        let told = match self.open(node, wish).await {
            Ok(messages) => {
                self.tell(id, Told::Opened);
                self.listen(id, node, wish, messages, &mut outcome).await
            }
            Err(status) => ended(&status),
        };
        if let Told::Ended { reason, .. } = &told {
            outcome.reason.clone_from(reason);
        }
        self.tell(id, told);
        outcome
    }

    async fn open(&self, node: MemberId, wish: &Wish) -> Result<Streaming<WatchResponse>, Status> {
        let channel = self.bench.connect(node).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut service = WatchServiceClient::new(channel);
        let opened = timeout(self.bench.answer_within(), service.watch(request(wish)));
        let opened = opened.await.map_err(|_| Status::deadline_exceeded("timeout"))?;
        Ok(opened?.into_inner())
    }

    async fn listen(
        &self,
        id: StreamId,
        node: MemberId,
        wish: &Wish,
        mut messages: Streaming<WatchResponse>,
        outcome: &mut Outcome,
    ) -> Told {
        let until = wish.lasts.map(|lasts| Instant::now() + lasts);
        loop {
            let message = tokio::select! {
                () = self.stop.cancelled() => return Told::Left,
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return Told::Left;
                }
                message = timeout(SILENCE_MAX, messages.message()) => message,
            };
            let message = match message {
                Err(_) => return ended(&Status::deadline_exceeded("silent")),
                Ok(Err(status)) => return ended(&status),
                Ok(Ok(None)) => return ended(&Status::unavailable("it ended")),
                Ok(Ok(Some(message))) => message,
            };
            let token = message.resume.map(ResumeToken::from);
            let events = message.events.into_iter().map(WatchEvent::try_from);
            let events: Vec<WatchEvent> = match events.collect() {
                Ok(events) => events,
                Err(error) => return malformed(error.to_string()),
            };
            let steps = events.iter().map(step).collect();
            let resume = token.map(|token| token.revision);
            self.tell(id, Told::Message { steps, resume });
            if let Some(token) = token {
                outcome.token = Some(token);
                self.came_to(Some(node), token.revision);
            }
            sleep(wish.lag).await;
        }
    }

    /// Follows through the client library until told to stop. A stream that cannot go on is
    /// followed by one that starts with a snapshot.
    async fn library(self: Arc<Self>, mut asked: Asked) {
        let client = match self.bench.library() {
            Ok(client) => client,
            Err(error) => return self.tell(self.fresh(), malformed(error.to_string())),
        };
        while !self.stop.is_cancelled() {
            let id = self.fresh();
            self.tell(id, Told::Asked(asked.clone()));
            let mut watch = client.watch(options(&asked));
            let told = loop {
                let event = tokio::select! {
                    () = self.stop.cancelled() => break Told::Left,
                    event = watch.next() => event,
                };
                match event {
                    Err(error) => {
                        let (reason, oldest) = (error.reason(), error.oldest());
                        let reason = reason.map(|reason| reason.as_str().to_owned());
                        break Told::Ended { reason, oldest, error: error.to_string() };
                    }
                    Ok(event) => {
                        let resume = watch.token().map(|token| token.revision);
                        self.tell(id, Told::Message { steps: vec![step(&event)], resume });
                        self.came_to(None, resume.unwrap_or_default());
                    }
                }
            };
            self.tell(id, told);
            asked.start = StreamStart::Snapshot;
        }
    }

    fn fresh(&self) -> StreamId {
        StreamId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn tell(&self, stream: StreamId, told: Told) {
        self.bench.recorder.add(What::Stream(StreamEvent { stream, told }));
    }

    fn came_to(&self, node: Option<MemberId>, revision: Revision) {
        let mut furthest = self.lock();
        let furthest = furthest.entry(node).or_default();
        *furthest = (*furthest).max(revision);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Option<MemberId>, Revision>> {
        self.furthest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything below a prefix from the first revision on, with what was there before.
pub(crate) fn everything(prefix: &str) -> Asked {
    Asked {
        node: None,
        start: StreamStart::From(Revision(1)),
        prefix: prefix.to_owned(),
        with_previous: true,
        resync: false,
    }
}

fn request(wish: &Wish) -> WatchRequest {
    let Wish { asked, token, .. } = wish;
    let start = match (asked.start, token) {
        (StreamStart::Now, _) => watch_request::Start::Now(true),
        (StreamStart::From(revision), _) => watch_request::Start::FromRevision(revision.get()),
        (StreamStart::After(_), Some(token)) => watch_request::Start::Resume((*token).into()),
        (StreamStart::After(revision), None) => {
            watch_request::Start::FromRevision(revision.next().get())
        }
        (StreamStart::Snapshot, _) => watch_request::Start::Snapshot(true),
    };
    let filter = WatchFilter::from(filter(&asked.prefix));
    WatchRequest {
        start: Some(start),
        filter: Some(filter),
        with_previous: asked.with_previous,
        resync: asked.resync,
        progress_interval_ms: u32::try_from(PROGRESS_EVERY.as_millis()).unwrap_or(u32::MAX),
    }
}

fn options(asked: &Asked) -> WatchOptions {
    let start = match asked.start {
        StreamStart::Now => Start::Now,
        StreamStart::From(revision) => Start::From(revision),
        StreamStart::After(revision) => Start::From(revision.next()),
        StreamStart::Snapshot => Start::Snapshot,
    };
    WatchOptions {
        start,
        filter: filter(&asked.prefix),
        with_previous: asked.with_previous,
        resync: asked.resync,
        progress_interval: PROGRESS_EVERY,
        give_up_after: None,
    }
}

fn filter(prefix: &str) -> Filter {
    let key_prefix = prefix.to_owned().into();
    Filter { kinds: vec![Kind::Entry], key_prefix, ..Filter::default() }
}

fn ended(status: &Status) -> Told {
    let details = ErrorDetails::from_status(status);
    let reason = details.as_ref().and_then(|details| details.reason);
    let reason = reason.map(|reason| reason.as_str().to_owned());
    let oldest = details.as_ref().and_then(|details| details.oldest);
    let error = format!("{:?} {}", status.code(), status.message());
    Told::Ended { reason, oldest, error }
}

fn malformed(error: String) -> Told {
    Told::Ended { reason: Some(MALFORMED.to_owned()), oldest: None, error }
}

/// A step as histories have it.
fn step(event: &WatchEvent) -> StreamStep {
    match event {
        WatchEvent::Changes { revision, changes, .. } => StreamStep::Changes {
            revision: *revision,
            changes: changes.iter().map(change).collect(),
        },
        WatchEvent::Snapshot { revision, records } => StreamStep::Snapshot {
            revision: *revision,
            records: records.iter().map(held).collect(),
        },
        WatchEvent::SnapshotEnd { revision } => StreamStep::SnapshotEnd { revision: *revision },
        WatchEvent::Progress { revision } => StreamStep::Progress { revision: *revision },
        WatchEvent::Resync { revision } => StreamStep::Resync { revision: *revision },
    }
}

fn change(change: &WatchedChange) -> Change {
    let WatchedChange { key, current, created, previous } = change;
    Change {
        key: String::from_utf8_lossy(&key.bytes).into_owned(),
        current: current.as_deref().map(seen),
        created: *created,
        previous: previous.as_deref().map(seen),
    }
}

fn held((key, record): &KeyedRecord) -> Held {
    Held { key: String::from_utf8_lossy(&key.bytes).into_owned(), seen: seen(record) }
}

/// A record as histories have it.
pub(crate) fn seen(record: &Versioned<Record>) -> Seen {
    let value = match &record.value {
        Record::Entry(entry) => Value::read(&entry.value),
        _ => Value::UNREADABLE,
    };
    Seen { value, modified: record.modified, version: record.version }
}
