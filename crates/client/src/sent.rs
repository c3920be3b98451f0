//! Whether a request was handed to its connection.
//!
//! A request waits in a queue while its connection is made, and is thrown away when that fails,
//! takes too long or the connection closes first. A request whose body was never asked for was
//! not sent, so nothing can have come of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{
    Status,
    body::Body,
    codegen::Service,
    transport::{self, Channel, channel::ResponseFuture},
};

/// Tells whether a request was sent. A clone is the same mark.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentMark(Arc<AtomicBool>);

impl SentMark {
    /// Whether any of the request's message may have left.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection that marks the requests that it sends.
#[derive(Debug, Clone)]
pub struct MarkingChannel {
    channel: Channel,
    mark: SentMark,
}

impl MarkingChannel {
    pub(crate) fn new(channel: Channel, mark: SentMark) -> Self {
        Self { channel, mark }
    }
}

impl Service<http::Request<Body>> for MarkingChannel {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> ResponseFuture {
        let mark = self.mark.clone();
        self.channel.call(request.map(|body| Body::new(MarkedBody { body, mark })))
    }
}

/// A body that sets its mark when it is first asked for.
struct MarkedBody {
    body: Body,
    mark: SentMark,
}

impl http_body::Body for MarkedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.mark.set();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
