//! One call: which endpoint to ask, how long, and whether to ask again.
//!
//! ```text
//!            +--------------------- another endpoint, or a pause ---------------------+
//!            v                                                                        |
//!   pick -> send -> answered -> same cluster? not older than seen? -> Ok              |
//!                \-> failed: a read, or certainly not applied, or idempotent? ---yes--+
//!                                                                     \-no--> Err
//! ```
//!
//! Invariants: nothing outlasts the deadline. A write is sent again only if no earlier attempt
//! can have been applied, or the caller said that twice is the same as once. Once an attempt may
//! have been applied, no error says that it was not.

use std::{
    future::{Future, IntoFuture},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use quorate_core::Revision;
use quorate_proto::{
    ConvertError,
    convert::{Consistency, Header},
    v1,
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;

use crate::{
    client::Client,
    config::Endpoint,
    error::{Effect, Error, ErrorKind},
    pool::{EndpointIndex, Tried, delay},
    sent::{MarkingChannel, SentMark},
};

/// An answer, with who gave it and as of when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<T> {
    /// Who answered, and the revision at which the answer was read or that the write made.
    pub header: Header,
    /// The answer.
    pub value: T,
}

impl<T> Response<T> {
    /// The revision at which the answer was read or that the write made.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.header.revision
    }

    /// The answer alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }
}

/// Whether an operation may be repeated, and what its answer is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// Changes nothing; its answer must be as fresh as was asked for.
    Read,
    /// Changes nothing; asks a coordinator about itself.
    Probe,
    /// Changes something.
    Write,
}

/// One remote procedure: how its request is made, sent and its answer read.
///
/// Implemented by this library's operations; there is no need to implement it elsewhere.
pub trait Operation: Clone + Send + Sync + 'static {
    /// Whether it may be repeated.
    const SAFETY: Safety;
    /// The request's message.
    type Request: Send + 'static;
    /// The answer's message.
    type Answer: Send + 'static;
    /// What the caller gets.
    type Output: Send + 'static;

    /// Makes the request.
    fn request(&self, read: Consistency) -> Self::Request;

    /// Sends it.
    fn send(
        channel: MarkingChannel,
        message_bytes_max: usize,
        request: tonic::Request<Self::Request>,
    ) -> impl Future<Output = Result<tonic::Response<Self::Answer>, Status>> + Send;

    /// The answer's header.
    fn header(answer: &Self::Answer) -> Option<v1::ResponseHeader>;

    /// Reads the answer.
    ///
    /// # Errors
    /// [`ConvertError`] when it is not what it must be.
    fn read(&self, answer: Self::Answer) -> Result<Self::Output, ConvertError>;
}

/// An operation that changes nothing.
pub trait Read: Operation {}

/// An operation that changes something.
pub trait Write: Operation {}

/// Implements the parts of [`Operation`] that say which procedure it is.
macro_rules! rpc {
    ($safety:ident, $module:ident::$client:ident.$method:ident($request:ident) -> $answer:ident) => {
        const SAFETY: crate::call::Safety = crate::call::Safety::$safety;
        type Request = quorate_proto::v1::$request;
        type Answer = quorate_proto::v1::$answer;

        async fn send(
            channel: crate::sent::MarkingChannel,
            message_bytes_max: usize,
            request: tonic::Request<Self::Request>,
        ) -> Result<tonic::Response<Self::Answer>, tonic::Status> {
            quorate_proto::v1::$module::$client::new(channel)
                .max_decoding_message_size(message_bytes_max)
                .$method(request)
                .await
        }

        fn header(answer: &Self::Answer) -> Option<quorate_proto::v1::ResponseHeader> {
            answer.header
        }
    };
}
pub(crate) use rpc;

/// A call that is not made yet: set its options, then await it.
#[derive(Debug, Clone)]
#[must_use = "a call is made when it is awaited"]
pub struct Call<O> {
    pub(crate) client: Client,
    pub(crate) operation: O,
    options: Options,
}

#[derive(Debug, Clone, Default)]
struct Options {
    consistency: Consistency,
    timeout: Option<Duration>,
    via: Option<Endpoint>,
    repeatable: Repeatable,
}

/// Whether a write may be sent again after an attempt with an unknown outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Repeatable {
    #[default]
    No,
    Yes,
}

impl<O: Operation> Call<O> {
    pub(crate) fn new(client: &Client, operation: O) -> Self {
        Self { client: client.clone(), operation, options: Options::default() }
    }

    /// How long it may take with all its retries; the coordinator is told too.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Asks this coordinator alone, which is one of the client's endpoints.
    pub fn via(mut self, endpoint: &Endpoint) -> Self {
        self.options.via = Some(endpoint.clone());
        self
    }
}

impl<O: Read> Call<O> {
    /// Answered from what the coordinator that is asked has now: no round to the others. Never
    /// from before what this client has seen, for which the coordinator may have to wait.
    pub fn local(self) -> Self {
        self.consistency(Consistency::Local)
    }

    /// Answered from this revision or a later one, as soon as the coordinator has it.
    pub fn at_least(self, revision: Revision) -> Self {
        self.consistency(Consistency::AtLeast(revision))
    }

    /// How fresh the answer must be; linearizable unless this is called.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.options.consistency = consistency;
        self
    }
}

impl<O: Write> Call<O> {
    /// Says that doing it twice is the same as doing it once, so that it may be sent again when
    /// the outcome of an attempt is unknown.
    pub fn idempotent(mut self) -> Self {
        self.options.repeatable = Repeatable::Yes;
        self
    }
}

impl<O: Operation> IntoFuture for Call<O> {
    type Output = Result<Response<O::Output>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { Attempts::new(&self)?.run().await }.boxed()
    }
}

/// The attempts of one call.
struct Attempts<'a, O> {
    call: &'a Call<O>,
    effect: Effect,
    started: Instant,
    deadline: Instant,
    only: Option<EndpointIndex>,
    tried: Tried,
    rounds: u32,
    /// An attempt may have been applied.
    tainted: bool,
}

impl<'a, O: Operation> Attempts<'a, O> {
    fn new(call: &'a Call<O>) -> Result<Self, Error> {
        let pool = call.client.pool();
        let only = match &call.options.via {
            None => None,
            Some(endpoint) => Some(pool.find(endpoint).ok_or_else(|| {
                Error::invalid("via", format!("{endpoint} is none of the client's endpoints"))
            })?),
        };
        let started = Instant::now();
        let timeout = call.options.timeout.unwrap_or(call.client.config().timeout);
        Ok(Self {
            call,
            effect: if O::SAFETY == Safety::Write { Effect::Write } else { Effect::None },
            started,
            deadline: started + timeout,
            only,
            tried: Tried::default(),
            rounds: 0,
            tainted: false,
        })
    }

    async fn run(mut self) -> Result<Response<O::Output>, Error> {
        let mut earlier = None;
        loop {
            let index = self.pick();
            let pool = self.call.client.pool();
            let error = match self.attempt(index).await {
                Ok(response) => {
                    pool.succeeded(index);
                    return Ok(response);
                }
                Err(error) => error.at(pool.endpoint(index)),
            };
            if error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown {
                pool.failed(index);
            } else {
                pool.succeeded(index);
            }
            tracing::debug!(endpoint = %pool.endpoint(index), %error, "attempt failed");
            if !self.may_repeat(&error) || !self.pause(&error).await {
                // An attempt that was cut short says less than the one before it.
                let error = if error.is_cut_short() { earlier.unwrap_or(error) } else { error };
                return Err(if self.tainted { error.into_unknown() } else { error });
            }
            earlier = Some(error);
        }
    }

    fn pick(&mut self) -> EndpointIndex {
        if let Some(index) = self.only {
            return index;
        }
        let pool = self.call.client.pool();
        if let Some(index) = pool.pick(&mut self.tried) {
            return index;
        }
        self.tried = Tried::default();
        pool.pick(&mut self.tried).expect("a pool is never empty")
    }

    fn may_repeat(&mut self, error: &Error) -> bool {
        if error.kind() == ErrorKind::OutcomeUnknown {
            self.tainted = true;
            return self.call.options.repeatable == Repeatable::Yes;
        }
        error.is_retryable()
    }

    /// Waits before the next attempt: not at all while there are endpoints that were not tried,
    /// unless the coordinator says how long. False when there is no time left for another one.
    async fn pause(&mut self, error: &Error) -> bool {
        let untried = self.only.is_none() && self.tried.len() < self.call.client.pool().len();
        let mut wait = Duration::ZERO;
        if !untried {
            wait = delay(self.call.client.config().backoff, self.rounds);
            self.rounds += 1;
        }
        let now = Instant::now();
        let wait = wait.max(error.retry_after().unwrap_or_default());
        if now + wait >= self.deadline {
            return false;
        }
        if wait > Duration::ZERO {
            sleep_until(now + wait).await;
        }
        true
    }

    async fn attempt(&self, index: EndpointIndex) -> Result<Response<O::Output>, Error> {
        let client = &self.call.client;
        let floor = client.seen().revision();
        let now = Instant::now();
        let end = match self.effect {
            Effect::Write => self.deadline,
            Effect::None => self.deadline.min(now + client.config().attempt_timeout),
        };
        let mut request = tonic::Request::new(self.call.operation.request(self.read_as(floor)));
        request.set_timeout(end.saturating_duration_since(now));
        let mark = SentMark::default();
        let channel = MarkingChannel::new(client.pool().channel(index), mark.clone());
        let sent = O::send(channel, client.config().message_bytes_max, request);
        let result = timeout_at(end, sent).await;
        // What was not sent changed nothing.
        let effect = if mark.is_set() { self.effect } else { Effect::None };
        let answer = match result {
            Err(_) => return Err(Error::timed_out(effect, self.started.elapsed())),
            Ok(Err(status)) => return Err(Error::from_status(&status, effect)),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        self.accept(answer, floor)
    }

    /// What to ask for, so that the answer is not from before `floor`.
    fn read_as(&self, floor: Revision) -> Consistency {
        match self.call.options.consistency {
            Consistency::Linearizable => Consistency::Linearizable,
            Consistency::AtLeast(revision) => Consistency::AtLeast(revision.max(floor)),
            Consistency::Local if floor > Revision(0) => Consistency::AtLeast(floor),
            Consistency::Local => Consistency::Local,
        }
    }

    fn accept(&self, answer: O::Answer, floor: Revision) -> Result<Response<O::Output>, Error> {
        let unreadable = |error: ConvertError| Error::unreadable(self.effect, &error);
        let header = Header::of(O::header(&answer)).map_err(unreadable)?;
        if O::SAFETY != Safety::Probe {
            let observed = self.call.client.seen().observe(&header);
            observed.map_err(|message| Error::wrong_cluster(self.effect, message))?;
        }
        if O::SAFETY == Safety::Read && header.revision < floor {
            return Err(Error::stale(header.revision, floor));
        }
        let value = self.call.operation.read(answer).map_err(unreadable)?;
        Ok(Response { header, value })
    }
}
