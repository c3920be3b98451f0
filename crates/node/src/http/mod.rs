//! The HTTP server for people, probes and Prometheus: `/metrics`, `/health`, `/ready`, `/live`.
//!
//! - `/live` answers 200 as long as the process does.
//! - `/ready` and `/health` answer 200 only while this coordinator can serve clients, else 503;
//!   `/health` says more, as JSON.
//!
//! It answers before the coordinator has joined its cluster, so that a start that waits for other
//! members can be watched. Must not know what the metrics mean.

mod health;

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{coordinator::Coordinator, metrics::Metrics, service::is_serving};

/// Prometheus's text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the server shows. A clone is a handle to the same.
#[derive(Clone)]
pub struct Shown {
    /// What is counted.
    pub metrics: Metrics,
    /// The coordinator, once it has joined its cluster.
    pub coordinator: Arc<OnceLock<Coordinator>>,
}

impl Shown {
    /// Shows these metrics, and no coordinator yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, coordinator: Arc::default() }
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, routes(shown)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

/// The routes, for a server of an embedder's own.
pub fn routes(shown: Shown) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/live", get(async || "live\n"))
        .with_state(shown)
}

async fn metrics(State(shown): State<Shown>) -> Response {
    match shown.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

async fn health(State(shown): State<Shown>) -> Response {
    let health = health::of(shown.coordinator.get());
    let json = [(header::CONTENT_TYPE, "application/json")];
    (code(&shown), json, health).into_response()
}

async fn ready(State(shown): State<Shown>) -> Response {
    let code = code(&shown);
    (code, if code == StatusCode::OK { "ready\n" } else { "not ready\n" }).into_response()
}

fn code(shown: &Shown) -> StatusCode {
    match shown.coordinator.get().is_some_and(is_serving) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}
