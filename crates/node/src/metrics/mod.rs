//! What a coordinator counts, for Prometheus.
//!
//! Owns one registry per coordinator (several may live in a process, so nothing is global), the
//! names of the metrics and how they are rendered. What the state or the status knows is not
//! counted again: it is read when somebody scrapes ([`StateCollector`], [`StorageCollector`]).
//!
//! Must not know about HTTP.

mod connections;
mod controllers;
mod family;
mod health;
mod leaders;
mod pools;
mod rpc;
mod sessions;
mod state;
mod storage;
mod streams;
mod writes;

use prometheus::{Encoder as _, Registry, TextEncoder, core::Collector};

pub use connections::ConnectionMetrics;
pub use leaders::LeaderMetrics;
pub use rpc::RpcMetrics;
pub use sessions::SessionMetrics;
pub use state::StateCollector;
pub use storage::StorageCollector;
pub use streams::StreamMetrics;
pub use writes::WriteMetrics;

/// The metrics of one coordinator.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Calls on the client address.
    pub rpc: RpcMetrics,
    /// Change streams.
    pub streams: StreamMetrics,
    /// Writes from this coordinator's clients.
    pub writes: WriteMetrics,
    /// Keep-alives of sessions.
    pub sessions: SessionMetrics,
    /// Client connections.
    pub connections: ConnectionMetrics,
    /// Changes of leader.
    pub leaders: LeaderMetrics,
}

impl Metrics {
    /// Registers everything that is counted.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        Self {
            rpc: RpcMetrics::new(&registry),
            streams: StreamMetrics::new(&registry),
            writes: WriteMetrics::new(&registry),
            sessions: SessionMetrics::new(&registry),
            connections: ConnectionMetrics::new(&registry),
            leaders: LeaderMetrics::new(&registry),
            registry,
        }
    }

    /// Adds whatever another part of the node has to show, such as [`StateCollector`].
    ///
    /// # Errors
    /// When it has a metric whose name is taken.
    pub fn add(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(collector))
    }

    /// The registry, for metrics of an embedder's own.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything in Prometheus's text format.
    ///
    /// # Errors
    /// When a metric cannot be rendered.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds a metric of this module to the registry it was made for.
fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("names and labels are literals that keep Prometheus's rules");
    registry.register(Box::new(metric.clone())).expect("each name is registered once per registry");
    metric
}

#[cfg(test)]
mod tests;
