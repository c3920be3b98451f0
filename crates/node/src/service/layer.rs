//! Around every call: counts it, times it, and turns the transport's own complaint about an
//! oversized request into an error that names the limit.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Instant,
};

use axum::{body::Body, extract::Request, response::Response};
use futures::{FutureExt as _, future::BoxFuture};
use quorate_proto::{ErrorDetails, Reason};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::metrics::RpcMetrics;

/// Puts [`Counted`] around a service.
#[derive(Clone)]
pub(super) struct CountLayer {
    pub(super) metrics: RpcMetrics,
    pub(super) request_bytes_max: usize,
}

impl<S> Layer<S> for CountLayer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, layer: self.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    layer: CountLayer,
}

impl<S> Service<Request> for Counted<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let began = Instant::now();
        let uri = request.uri().clone();
        let layer = self.layer.clone();
        let answer = self.inner.call(request);
        async move {
            let response = name_limit(answer.await?, layer.request_bytes_max);
            layer.metrics.answered(uri.path(), code(&response), began.elapsed());
            Ok(response)
        }
        .boxed()
    }
}

/// The code of an answer. What failed has it in the headers; what did not, or is a stream, has it
/// in the trailers.
fn code(response: &Response) -> Code {
    let header = response.headers().get(Status::GRPC_STATUS);
    header.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

fn name_limit(response: Response, bytes_max: usize) -> Response {
    let oversized = response.extensions().get::<Status>().is_some_and(|status| {
        status.code() == Code::OutOfRange
            && status.details().is_empty()
            && status.message().contains("message length too large")
    });
    if oversized { limit_exceeded(bytes_max).into_http::<Body>() } else { response }
}

fn limit_exceeded(bytes_max: usize) -> Status {
    let rule = format!("limits.request_bytes_max = {bytes_max}");
    let message = format!("the request exceeds the limit {rule}");
    ErrorDetails::new(Reason::LimitExceeded, message).with_field("request", rule).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_request_is_told_its_limit() {
        let complaint =
            "Error, decoded message length too large: found 9 bytes, the limit is: 5 bytes";
        let response = name_limit(Status::out_of_range(complaint).into_http(), 5);
        assert_eq!(code(&response), Code::InvalidArgument);
        let status = response.extensions().get::<Status>().unwrap();
        let details = ErrorDetails::from_status(status).unwrap();
        assert_eq!(details.reason, Some(Reason::LimitExceeded));
        assert_eq!(details.rule, "limits.request_bytes_max = 5");
    }

    #[test]
    fn other_answers_pass_unchanged() {
        let other = name_limit(Status::out_of_range("compacted").into_http(), 5);
        assert_eq!(code(&other), Code::OutOfRange);
        assert_eq!(code(&name_limit(Response::default(), 5)), Code::Ok);
    }
}
