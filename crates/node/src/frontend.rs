//! What a node serves to the outside: gRPC for clients, HTTP for metrics and health.

use std::sync::Arc;

use quorate_storage::Metrics as StorageMetrics;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    config::Config,
    coordinator::Coordinator,
    http::{self, Shown},
    metrics::{Metrics, StateCollector, StorageCollector},
    service::{Context, client_routes, connections},
};

/// What is served, and what is counted meanwhile.
pub(crate) struct Frontend {
    config: Arc<Config>,
    metrics: Metrics,
    shown: Shown,
}

impl Frontend {
    /// Serves nothing yet.
    pub(crate) fn new(
        config: &Config,
        storage: Arc<StorageMetrics>,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::new();
        metrics.add(StorageCollector::new(storage))?;
        let shown = Shown::new(metrics.clone());
        Ok(Self { config: Arc::new(config.clone()), metrics, shown })
    }

    /// Serves metrics and health until `stop`, also before there is a coordinator.
    pub(crate) fn serve_metrics(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        let shown = self.shown.clone();
        tokio::spawn(async move {
            if let Err(error) = http::serve(listener, shown, stop).await {
                tracing::error!(%error, "serving metrics failed");
            }
        })
    }

    /// Serves clients until `stop`, then lets open calls finish.
    pub(crate) fn serve_clients(
        &self,
        coordinator: &Coordinator,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, prometheus::Error> {
        let limits = self.config.metrics.clone();
        self.metrics.add(StateCollector::new(coordinator.clone(), limits))?;
        self.shown.coordinator.get_or_init(|| coordinator.clone());
        let tasks = TaskTracker::new();
        let context = Context {
            coordinator: coordinator.clone(),
            config: self.config.clone(),
            metrics: self.metrics.clone(),
            tasks: tasks.clone(),
            shutdown: stop.clone(),
        };
        let incoming = connections::limit(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            self.config.limits.connections_max,
            self.metrics.connections.clone(),
        );
        let server = Server::builder()
            .max_concurrent_streams(self.config.limits.connection_streams_max)
            .http2_keepalive_interval(Some(std::time::Duration::from_secs(10)))
            .add_routes(client_routes(&context));
        Ok(tokio::spawn(async move {
            let served = server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
            if let Err(error) = served.await {
                tracing::error!(%error, "serving clients failed");
            }
            tasks.close();
            tasks.wait().await;
        }))
    }
}
