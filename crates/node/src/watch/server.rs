//! `WatchService` on the wire. Written by hand where the generated server would encode each
//! message for each subscriber: here a message is a frame that was put together before, and its
//! bytes are handed to HTTP/2 as they are.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::StreamBody;
use quorate_proto::{
    convert::WatchSpec,
    encoded::WatchCodec,
    v1::{self, watch_service_server::SERVICE_NAME},
};
use tonic::{Code, Status, Streaming, body::Body, server::NamedService};
use tower::Service;

use super::{hub::Watches, subscription::Subscription};
use crate::service::deadline;

const PATH: &str = "/quorate.v1.WatchService/Watch";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// How often a quiet stream says how far it is, when the request does not say.
const PROGRESS_DEFAULT: Duration = Duration::from_secs(1);
const PROGRESS_MIN: Duration = Duration::from_millis(100);
const PROGRESS_MAX: Duration = Duration::from_secs(60);

/// `WatchService`.
#[derive(Clone)]
pub struct WatchServer {
    watches: Watches,
}

impl WatchServer {
    /// Serves these streams.
    #[must_use]
    pub fn new(watches: Watches) -> Self {
        Self { watches }
    }

    async fn open(self, request: Request<Body>) -> Result<Subscription, Status> {
        let hub = self.watches.0;
        let deadline = deadline::of(request.headers(), &hub.limits);
        let limit = hub.limits.request_bytes_max;
        let mut messages = Streaming::<v1::WatchRequest>::new_request(
            WatchCodec,
            request.into_body(),
            None,
            Some(limit),
        );
        let message = messages.message().await?;
        let message = message.ok_or_else(|| Status::internal("the call has no message"))?;
        let spec = WatchSpec::try_from(message)?;
        let interval = interval(spec.progress_interval);
        let permit = hub.admit()?;
        let cursor = hub.place(spec, deadline).await?;
        Ok(Subscription::new(permit, cursor, interval))
    }
}

impl Service<Request<Body>> for WatchServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        async move {
            if request.uri().path() != PATH {
                return Ok(Status::new(Code::Unimplemented, "no such method").into_http());
            }
            let opened = server.open(request).await;
            Ok(opened.map_or_else(Status::into_http, respond))
        }
        .boxed()
    }
}

impl NamedService for WatchServer {
    const NAME: &'static str = SERVICE_NAME;
}

fn interval(asked: Duration) -> Duration {
    match asked {
        Duration::ZERO => PROGRESS_DEFAULT,
        asked => asked.clamp(PROGRESS_MIN, PROGRESS_MAX),
    }
}

fn respond(subscription: Subscription) -> Response<Body> {
    let frames = stream::unfold(Some(subscription), |subscription| async move {
        let mut subscription = subscription?;
        Some(match subscription.next().await {
            Ok(frame) => (Ok(http_body::Frame::data(frame)), Some(subscription)),
            Err(status) => {
                (Ok::<_, Infallible>(http_body::Frame::trailers(trailers(&status))), None)
            }
        })
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(i32::from(status.code())));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_intervals_are_bounded() {
        for (asked_ms, expected_ms) in [(0, 1_000), (1, 100), (250, 250), (600_000, 60_000)] {
            let interval = interval(Duration::from_millis(asked_ms));
            assert_eq!(interval, Duration::from_millis(expected_ms), "{asked_ms}");
        }
    }

    #[test]
    fn trailers_carry_code_and_details() {
        let status = super::super::subscription::compacted(quorate_core::Revision(7));
        let trailers = trailers(&status);
        assert_eq!(trailers["grpc-status"], "11");
        assert!(trailers.contains_key("grpc-status-details-bin"));
        let read = Status::from_header_map(&trailers).unwrap();
        let details = quorate_proto::ErrorDetails::from_status(&read).unwrap();
        assert_eq!(details.oldest, Some(quorate_core::Revision(7)));
    }
}
