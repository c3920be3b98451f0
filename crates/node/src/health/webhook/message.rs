//! What is posted: a JSON object for each alert that is raised, changes its severity, or is cleared.

use bytes::Bytes;
use quorate_core::{Alert, AlertId, Change, Event, Record, Versioned};
use serde::Serialize;

/// Which cluster it is about.
#[derive(Debug, Serialize)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) id: String,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    cluster: &'a Cluster,
    alert: Told<'a>,
    /// `firing` or `resolved`.
    state: &'static str,
    /// The revision that made it so.
    revision: u64,
}

/// The alert; of one that is cleared, how it was before.
#[derive(Debug, Serialize)]
struct Told<'a> {
    check: &'a str,
    subject: &'a str,
    severity: &'static str,
    message: &'a str,
    value: u64,
    since_ms: u64,
}

/// What there is to post of the changes of a revision.
pub(super) fn bodies<'a>(
    cluster: &'a Cluster,
    event: &'a Event,
) -> impl Iterator<Item = Bytes> + 'a {
    event.changes.iter().filter_map(|change| {
        let id = AlertId::parse(std::str::from_utf8(&change.key.bytes).ok()?)?;
        let (alert, state) = changed(change)?;
        let told = Told {
            check: id.check.as_str(),
            subject: &id.subject,
            severity: alert.severity.as_str(),
            message: &alert.message,
            value: alert.value,
            since_ms: alert.since_ms,
        };
        let message = Message { cluster, alert: told, state, revision: event.revision.get() };
        serde_json::to_vec(&message).ok().map(Bytes::from)
    })
}

/// The alert that a change is about, and what became of it.
fn changed(change: &Change) -> Option<(&Alert, &'static str)> {
    match (alert(change.previous.as_deref()), alert(change.current.as_deref())) {
        (Some(before), None) => Some((before, "resolved")),
        (Some(before), Some(now)) if before.severity == now.severity => None,
        (_, Some(now)) => Some((now, "firing")),
        (None, None) => None,
    }
}

fn alert(record: Option<&Versioned<Record>>) -> Option<&Alert> {
    match &record?.value {
        Record::Alert(alert) => Some(alert),
        _ => None,
    }
}
