//! Keep-alives of sessions, as this coordinator's clients send them.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register;

/// Counters of keep-alives.
#[derive(Debug, Clone)]
pub struct SessionMetrics {
    /// Open streams of keep-alives.
    pub streams: IntGauge,
    /// Requests that were answered.
    pub requests: IntCounter,
    /// Keep-alives that were answered, one for each session in a request.
    pub keep_alives: IntCounter,
    /// Streams that were ended because this coordinator could not tell.
    pub ended: IntCounter,
}

impl SessionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        Self {
            streams: register(
                registry,
                IntGauge::new("quorate_session_streams", "Open streams of keep-alives."),
            ),
            requests: counter(
                "quorate_session_keep_alive_requests_total",
                "Requests to keep sessions alive that were answered.",
            ),
            keep_alives: counter(
                "quorate_session_keep_alives_total",
                "Keep-alives that were answered, one for each session of a request.",
            ),
            ended: counter(
                "quorate_session_streams_ended_total",
                "Streams of keep-alives ended for want of a leader, lost contact or shutdown.",
            ),
        }
    }
}
