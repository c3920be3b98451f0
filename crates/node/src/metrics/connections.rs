//! Connections on the client address.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register;

/// Counters of client connections.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    /// Open ones.
    pub open: IntGauge,
    /// Those that were closed at once because there were too many.
    pub refused: IntCounter,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            open: register(
                registry,
                IntGauge::new("quorate_client_connections", "Open client connections."),
            ),
            refused: register(
                registry,
                IntCounter::new(
                    "quorate_client_connections_refused_total",
                    "Client connections closed at once for limits.connections_max.",
                ),
            ),
        }
    }
}
