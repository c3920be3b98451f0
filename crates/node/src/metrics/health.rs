//! What this coordinator told of while it led, what its health checks found, and which alerts are
//! raised.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;
use quorate_core::{AlertId, Kind, NoticeKind, Record, Severity, State};

use super::family::{counter, counters, float, gauge_sample, gauges};
use crate::health::{CheckSeen, Told};

/// Events by type: all of them, so that a rate is there from the start. Checks by name.
pub(super) fn families(told: &Told) -> Vec<MetricFamily> {
    let labels: Vec<_> = NoticeKind::ALL.iter().map(|kind| [("type", kind.as_str())]).collect();
    let count = |kind| told.events.get(kind).copied().unwrap_or(0);
    let events = NoticeKind::ALL.iter().zip(&labels);
    let results = |(name, seen): (_, &CheckSeen)| {
        let all = [("passed", seen.passed), ("found", seen.found), ("failed", seen.failed)];
        all.map(|(result, count)| ([("check", name), ("result", result)], count))
    };
    let checks: Vec<_> =
        told.checks.iter().flat_map(|(name, seen)| results((name.as_str(), seen))).collect();
    // Of one that did not run yet there is nothing to say.
    let took = told
        .checks
        .iter()
        .filter(|(_, seen)| seen.passed + seen.found + seen.failed > 0)
        .map(|(name, seen)| gauge_sample(&[("check", name.as_str())], seen.took.as_secs_f64()));
    vec![
        counters(
            "quorate_events_total",
            "Events that this coordinator, leading, told of, by type.",
            events.map(|(kind, labels)| (labels.as_slice(), count(kind))),
        ),
        counters(
            "quorate_health_checks_total",
            "Runs of health checks on this coordinator, by check and result.",
            checks.iter().map(|(labels, count)| (labels.as_slice(), *count)),
        ),
        gauges(
            "quorate_health_check_seconds",
            "How long the last run of a health check took.",
            took.collect(),
        ),
        counter(
            "quorate_alerts_dropped_total",
            "Alerts that were not raised for the setting alerts_max.",
            told.dropped,
        ),
        counter(
            "quorate_health_webhook_sent_total",
            "Alerts that this coordinator, leading, posted to health.webhook_url.",
            told.webhook.sent,
        ),
        counter(
            "quorate_health_webhook_failed_total",
            "Alerts that were not posted: every try failed.",
            told.webhook.failed,
        ),
        counter(
            "quorate_health_webhook_dropped_total",
            "Alerts that were not posted: too many waited.",
            told.webhook.dropped,
        ),
    ]
}

/// Alerts that are raised, by check and severity: 0 from the start for each check of this
/// coordinator, and as many series as there are checks.
pub(super) fn alerts(state: &State, told: &Told) -> MetricFamily {
    let known = told.checks.keys();
    let known = known.flat_map(|check| Severity::ALL.map(|it| ((check.to_string(), it), 0)));
    let mut counts: BTreeMap<(String, Severity), u64> = known.collect();
    for (key, record) in state.records_of(Kind::Alert) {
        let id = std::str::from_utf8(&key.bytes).ok().and_then(AlertId::parse);
        if let (Some(id), Record::Alert(alert)) = (id, &record.value) {
            *counts.entry((id.check.to_string(), alert.severity)).or_default() += 1;
        }
    }
    let sample = |((check, severity), count): (&(String, Severity), &u64)| {
        gauge_sample(&[("check", check), ("severity", severity.as_str())], float(*count))
    };
    let help = "Alerts that are raised in the cluster, by check and severity.";
    gauges("quorate_alerts", help, counts.iter().map(sample).collect())
}
