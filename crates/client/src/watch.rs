//! Change streams that go on: over lost connections and to other coordinators.
//!
//! ```text
//!   start --> connected --messages--> events, token --> the caller
//!               ^   |
//!               |   +-- lost, silent, out of contact: pause, another coordinator
//!               +------ resumes after the last token (mid-snapshot: Resync, and a new snapshot)
//! ```
//!
//! Invariants: no change is skipped or repeated. At most one message is kept here; the rest waits
//! on the connection, whose window bounds it. Nothing runs while nobody calls [`Watch::next`].

mod cursor;

use std::{collections::VecDeque, time::Duration};

use futures::Stream;
use quorate_core::{Filter, KeyRange, Kind, Revision};
use quorate_proto::{
    ConvertError,
    convert::{Header, ResumeToken, Start, WatchEvent, WatchSpec},
    v1,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tonic::Streaming;

use crate::{
    client::Client,
    error::{Effect, Error},
    pool::{EndpointIndex, Tried, delay},
    seen::Identity,
    watch::cursor::{Cursor, Step},
};

/// The server's progress interval when the options do not say one.
const PROGRESS_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// The shortest silence after which a coordinator is given up.
const SILENCE_MIN: Duration = Duration::from_secs(5);
/// So many progress intervals of silence are too many.
const SILENCE_INTERVALS: u32 = 4;

/// What to watch, and how. The default: everything, from now on.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// Where to start.
    pub start: Start,
    /// What to see.
    pub filter: Filter,
    /// Whether changes come with the record before them.
    pub with_previous: bool,
    /// Whether lost history is answered by [`WatchEvent::Resync`] and a new snapshot instead of
    /// the error `COMPACTED`.
    pub resync: bool,
    /// How often a quiet stream says how far it is. Zero: the server's default, a second.
    pub progress_interval: Duration,
    /// How long no coordinator may answer before [`Watch::next`] gives up. None: for ever.
    pub give_up_after: Option<Duration>,
}

impl Client {
    /// Follows committed changes. Connects when first asked for an event.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// use quorate_client::{Start, WatchEvent, WatchOptions};
    ///
    /// let mut watch = client.watch(WatchOptions { start: Start::Snapshot, ..Default::default() });
    /// loop {
    ///     match watch.next().await? {
    ///         WatchEvent::Changes { revision, changes, .. } => println!("{revision}: {changes:?}"),
    ///         WatchEvent::Snapshot { records, .. } => println!("{} records", records.len()),
    ///         WatchEvent::SnapshotEnd { revision } => println!("all there was at {revision}"),
    ///         WatchEvent::Progress { .. } => {}
    ///         WatchEvent::Resync { .. } => println!("forget what was seen"),
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn watch(&self, options: WatchOptions) -> Watch {
        Watch::new(self.clone(), options)
    }
}

/// A change stream. See [`Client::watch`].
#[derive(Debug)]
pub struct Watch {
    client: Client,
    options: WatchOptions,
    cursor: Cursor,
    connection: Option<Connection>,
    ready: VecDeque<Step>,
    delivered: Option<ResumeToken>,
    position: watch::Sender<Revision>,
    attempts: Attempts,
    ended: Option<Error>,
}

#[derive(Debug)]
struct Connection {
    index: EndpointIndex,
    messages: Streaming<v1::WatchResponse>,
}

/// What was tried since the last message.
#[derive(Debug)]
struct Attempts {
    tried: Tried,
    rounds: u32,
    retry_at: Option<Instant>,
    since: Instant,
}

impl Attempts {
    fn new() -> Self {
        Self { tried: Tried::default(), rounds: 0, retry_at: None, since: Instant::now() }
    }
}

impl Watch {
    fn new(client: Client, options: WatchOptions) -> Self {
        Self {
            cursor: Cursor::new(options.start),
            client,
            options,
            connection: None,
            ready: VecDeque::new(),
            delivered: None,
            position: watch::Sender::new(Revision(0)),
            attempts: Attempts::new(),
            ended: None,
        }
    }

    /// The next event. Cancelling it loses nothing.
    ///
    /// # Errors
    /// When the stream cannot go on: reason `COMPACTED`, `FUTURE_REVISION`, `INVALID_FIELD`,
    /// `WRONG_CLUSTER` or another rejection; every later call says the same. Of kind
    /// `Unavailable` when no coordinator answered for [`WatchOptions::give_up_after`]; the next
    /// call tries again.
    pub async fn next(&mut self) -> Result<WatchEvent, Error> {
        loop {
            if let Some(Step { event, token }) = self.ready.pop_front() {
                self.delivered = token;
                if let Some(token) = token {
                    self.position.send_replace(token.revision);
                }
                return Ok(event);
            }
            if let Some(error) = &self.ended {
                return Err(error.clone());
            }
            if let Err(error) = self.fill().await {
                self.failed(error)?;
            }
        }
    }

    /// Where the stream stands: after the event that was returned last. A later watch resumes
    /// there with [`Start::Resume`]. None in the middle of a snapshot, and before the first event.
    #[must_use]
    pub fn token(&self) -> Option<ResumeToken> {
        self.delivered
    }

    /// A handle that tells how far the stream is, for those who wait for it elsewhere.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.position.subscribe())
    }

    /// As a stream of events that ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchEvent, Error>> + Send {
        futures::stream::unfold(Some(self), |watch| async {
            let mut watch = watch?;
            let next = watch.next().await;
            let rest = next.is_ok().then_some(watch);
            Some((next, rest))
        })
    }

    /// Waits for a message and takes it in, on a new connection when there is none.
    async fn fill(&mut self) -> Result<(), Error> {
        if let Some(until) = self.attempts.retry_at {
            sleep_until(until).await;
            self.attempts.retry_at = None;
        }
        if self.cursor.start() == Start::Now {
            self.find_now().await?;
        }
        if self.connection.is_none() {
            self.connect().await?;
        }
        let silence = self.silence_max();
        let connection = self.connection.as_mut().expect("connected above");
        let message = match timeout(silence, connection.messages.message()).await {
            Err(_) => return Err(Error::timed_out(Effect::None, silence)),
            Ok(Err(status)) => return Err(Error::from_status(&status, Effect::None)),
            Ok(Ok(None)) => return Err(Error::no_time("the coordinator ended the stream")),
            Ok(Ok(Some(message))) => message,
        };
        let index = connection.index;
        self.take_in(message)?;
        self.client.pool().succeeded(index);
        self.attempts = Attempts::new();
        Ok(())
    }

    /// Turns "from now" into a revision, so that a connection lost before its first message loses
    /// no change.
    async fn find_now(&mut self) -> Result<(), Error> {
        let nothing = KeyRange::Bounds { kind: Kind::Entry, start: "\0".into(), end: "\0".into() };
        let header = self.client.count(nothing).await?.header;
        let Header { cluster_id, restore_epoch, revision, .. } = header;
        let token = ResumeToken { cluster_id, restore_epoch, revision };
        self.cursor = Cursor::new(Start::Resume(token));
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let pool = self.client.pool();
        let index = pool.pick(&mut self.attempts.tried).unwrap_or_else(|| {
            self.attempts.tried = Tried::default();
            pool.pick(&mut self.attempts.tried).expect("a pool is never empty")
        });
        let spec = WatchSpec {
            start: self.cursor.start(),
            filter: self.options.filter.clone(),
            with_previous: self.options.with_previous,
            resync: self.options.resync,
            progress_interval: self.options.progress_interval,
        };
        let config = self.client.config();
        let mut service = v1::watch_service_client::WatchServiceClient::new(pool.channel(index))
            .max_decoding_message_size(config.message_bytes_max);
        let opened = timeout(config.attempt_timeout, service.watch(v1::WatchRequest::from(spec)));
        let result = match opened.await {
            Err(_) => Err(Error::timed_out(Effect::None, config.attempt_timeout)),
            Ok(Err(status)) => Err(Error::from_status(&status, Effect::None)),
            Ok(Ok(response)) => Ok(response.into_inner()),
        };
        match result {
            Ok(messages) => {
                self.connection = Some(Connection { index, messages });
                Ok(())
            }
            Err(error) => {
                if error.is_retryable() {
                    pool.failed(index);
                }
                Err(error.at(pool.endpoint(index)))
            }
        }
    }

    fn take_in(&mut self, message: v1::WatchResponse) -> Result<(), Error> {
        let unreadable = |error: ConvertError| Error::unreadable(Effect::None, &error);
        let header = Header::of(message.header).map_err(unreadable)?;
        let wrong = |message| Error::wrong_cluster(Effect::None, message);
        self.client.seen().observe(&header).map_err(wrong)?;
        let Header { cluster_id, restore_epoch, .. } = header;
        let events = message.events.into_iter().map(WatchEvent::try_from);
        let events = events.collect::<Result<_, _>>().map_err(unreadable)?;
        let resume = message.resume.map(|token| Revision(token.revision));
        let identity = Identity { cluster_id, restore_epoch };
        let steps = self.cursor.take_in(identity, events, resume).map_err(unreadable)?;
        if steps.is_empty() && self.ready.is_empty() {
            self.stand_at(self.cursor.token());
        }
        self.ready.extend(steps);
        Ok(())
    }

    /// The stream is further than the last event, with nothing for the caller in between.
    fn stand_at(&mut self, token: Option<ResumeToken>) {
        self.delivered = token;
        if let Some(token) = token {
            self.position.send_replace(token.revision);
        }
    }

    /// Decides how to go on after an error; an error when it cannot.
    fn failed(&mut self, error: Error) -> Result<(), Error> {
        let pool = self.client.pool();
        let error = match self.connection.take() {
            Some(Connection { index, .. }) => {
                self.cursor.lost();
                self.attempts.tried.add(index);
                if error.is_retryable() {
                    pool.failed(index);
                }
                error.at(pool.endpoint(index))
            }
            None => error,
        };
        tracing::debug!(%error, start = ?self.cursor.start(), "change stream lost");
        if !error.is_retryable() {
            self.ended = Some(error.clone());
            return Err(error);
        }
        let now = Instant::now();
        let out_of_contact = now.duration_since(self.attempts.since);
        if self.options.give_up_after.is_some_and(|limit| out_of_contact >= limit) {
            self.attempts.since = now;
            return Err(error);
        }
        let mut wait = Duration::ZERO;
        if self.attempts.tried.len() >= pool.len() {
            wait = delay(self.client.config().backoff, self.attempts.rounds);
            self.attempts.rounds += 1;
        }
        self.attempts.retry_at = Some(now + wait.max(error.retry_after().unwrap_or_default()));
        Ok(())
    }

    /// How long a coordinator may be silent, although it sends progress notices.
    fn silence_max(&self) -> Duration {
        let interval = match self.options.progress_interval {
            Duration::ZERO => PROGRESS_INTERVAL_DEFAULT,
            interval => interval,
        };
        SILENCE_MIN.max(interval.saturating_mul(SILENCE_INTERVALS))
    }
}

/// How far a watch is: a revision up to which its caller has every matching change.
#[derive(Debug, Clone)]
pub struct Position(watch::Receiver<Revision>);

impl Position {
    /// How far the watch is.
    #[must_use]
    pub fn revision(&self) -> Revision {
        *self.0.borrow()
    }

    /// Waits until the watch has passed a revision, such as that of one's own write. Somebody
    /// must be calling [`Watch::next`] meanwhile. Quiet streams pass revisions by their progress
    /// notices.
    ///
    /// # Errors
    /// When the watch was dropped before.
    pub async fn wait_for(&mut self, revision: Revision) -> Result<Revision, Error> {
        let passed = self.0.wait_for(|position| *position >= revision).await;
        passed.map(|position| *position).map_err(|_| Error::no_time("the watch has ended"))
    }
}
