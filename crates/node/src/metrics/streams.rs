//! Change streams: how many there are and what they carry.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register;

/// Counters of change streams.
#[derive(Debug, Clone)]
pub struct StreamMetrics {
    /// Open streams.
    pub watchers: IntGauge,
    /// Changes sent, counted once for each subscriber that they went to.
    pub changes: IntCounter,
    /// Messages sent.
    pub messages: IntCounter,
    /// Bytes of messages sent.
    pub bytes: IntCounter,
    /// Messages put together; the rest of those sent were shared.
    pub encoded: IntCounter,
    /// Subscribers that lost history and got a new snapshot.
    pub resyncs: IntCounter,
    /// Subscribers that lost history and were told so.
    pub compacted: IntCounter,
    /// Streams that were ended because this coordinator lost contact or stopped.
    pub ended: IntCounter,
    /// Streams that were refused because there were too many.
    pub refused: IntCounter,
}

impl StreamMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        Self {
            watchers: register(registry, IntGauge::new("quorate_watchers", "Open change streams.")),
            changes: counter(
                "quorate_watch_changes_sent_total",
                "Changes sent on change streams, once per subscriber.",
            ),
            messages: counter("quorate_watch_messages_sent_total", "Change stream messages sent."),
            bytes: counter(
                "quorate_watch_sent_bytes_total",
                "Bytes of change stream messages sent.",
            ),
            encoded: counter(
                "quorate_watch_messages_encoded_total",
                "Change stream messages encoded; others were shared.",
            ),
            resyncs: counter(
                "quorate_watch_resyncs_total",
                "Subscribers that lost history and got a new snapshot.",
            ),
            compacted: counter(
                "quorate_watch_compacted_total",
                "Subscribers that lost history and were told so.",
            ),
            ended: counter(
                "quorate_watch_ended_total",
                "Change streams ended for lost contact or shutdown.",
            ),
            refused: counter(
                "quorate_watch_refused_total",
                "Change streams refused for the limit of watchers.",
            ),
        }
    }
}
