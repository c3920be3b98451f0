//! One call: which endpoint to ask, how long, and whether to ask again.
//!
//! ```text
//!            +--------------------- another endpoint, or a pause ---------------------+
//!            v                                                                        |
//!   pick -> send -> answered -> same cluster? not older than seen? -> Ok              |
//!                \-> failed: a read, or certainly not applied, or has a serial? --yes--+
//!                                                                     \-no--> Err
//! ```
//!
//! Invariants: nothing outlasts the deadline. A write is sent again only if no earlier attempt
//! can have been applied, or with the serial that it had. Once an attempt may have been applied,
//! no error says that it was not, unless the cluster answered that very serial.

mod attempts;

use std::{
    future::{Future, IntoFuture},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use quorate_core::Revision;
use quorate_proto::{
    ConvertError,
    convert::{Consistency, Header},
    v1,
};
use tonic::Status;

use crate::{
    call::attempts::Attempts, client::Client, config::Endpoint, error::Error, sent::MarkingChannel,
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
    /// Changes something, at most once when it has a serial.
    Write,
    /// Changes something that no serial counts: sent again only when it was certainly not done.
    Control,
    /// Changes something that no serial counts, and harms nobody when it is done twice.
    Repeatable,
}

/// What a request carries beside what it asks for.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    /// How fresh the answer of a read must be.
    pub read: Consistency,
    /// How a write is applied at most once, and who asks for a change.
    pub context: Option<v1::WriteContext>,
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
    fn request(&self, carried: Carried) -> Self::Request;

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

/// An operation that changes what is stored.
pub trait Write: Operation {}

/// An operation of which it is kept who asked for it, and why.
pub trait Audited: Operation {}

impl<O: Write> Audited for O {}

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
    reason: Option<Arc<str>>,
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

impl<O: Audited> Call<O> {
    /// Why it is done, in a person's words, at most 1,024 bytes: kept with the revision, and shown
    /// to those who watch.
    pub fn reason(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.options.reason = Some(reason.into());
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
