//! What this coordinator told of while it led.

use prometheus::proto::MetricFamily;
use quorate_core::NoticeKind;

use super::family::counters;
use crate::health::Told;

/// Events by type: all of them, so that a rate is there from the start.
pub(super) fn families(told: &Told) -> Vec<MetricFamily> {
    let labels: Vec<_> = NoticeKind::ALL.iter().map(|kind| [("type", kind.as_str())]).collect();
    let count = |kind| told.events.get(kind).copied().unwrap_or(0);
    let events = NoticeKind::ALL.iter().zip(&labels);
    vec![counters(
        "quorate_events_total",
        "Events that this coordinator, leading, told of, by type.",
        events.map(|(kind, labels)| (labels.as_slice(), count(kind))),
    )]
}
