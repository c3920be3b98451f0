//! Writes that this coordinator's clients asked for.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::register;

/// Counters of writes.
#[derive(Debug, Clone)]
pub struct WriteMetrics {
    /// Writes that wait for their outcome.
    pub pending: IntGauge,
    /// Writes that had no outcome, by reason.
    pub failed: IntCounterVec,
}

impl WriteMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            pending: register(
                registry,
                IntGauge::new("quorate_proposals_pending", "Writes that wait for their outcome."),
            ),
            failed: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "quorate_proposals_failed_total",
                        "Writes without an outcome (rejections are outcomes), by reason.",
                    ),
                    &["reason"],
                ),
            ),
        }
    }
}
