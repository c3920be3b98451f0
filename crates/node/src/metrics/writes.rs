//! Writes that this coordinator's clients asked for.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use quorate_proto::Reason;

use super::register;

/// Why a write may have no outcome. Counted from the start, so that a rate is there from the first.
const REASONS: [Reason; 3] = [Reason::NoQuorum, Reason::Overloaded, Reason::LimitExceeded];

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
        let failed: IntCounterVec = register(
            registry,
            IntCounterVec::new(
                Opts::new(
                    "quorate_proposals_failed_total",
                    "Writes without an outcome (rejections are outcomes), by reason.",
                ),
                &["reason"],
            ),
        );
        for reason in REASONS {
            failed.with_label_values(&[reason.as_str()]);
        }
        Self {
            pending: register(
                registry,
                IntGauge::new("quorate_proposals_pending", "Writes that wait for their outcome."),
            ),
            failed,
        }
    }
}
