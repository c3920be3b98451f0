//! Partitions that nobody owns.

use quorate_core::{Kind, Partition, PartitionState, Record, Severity, State, WorkerState};

use super::age::Ages;
use crate::health::check::{Finding, Findings, HealthContext};

/// Partitions that nobody has owned for too long, and why.
pub(super) fn unowned(context: &HealthContext, ages: &mut Ages) -> Findings {
    let state = context.state();
    let max = state.settings().health_unowned_ms_max;
    let mut findings = Findings::new();
    for (key, record) in state.records_of(Kind::Partition) {
        let Record::Partition(partition) = &record.value else { continue };
        if partition.state != PartitionState::Unassigned {
            continue;
        }
        let age_ms = ages.of(context, key, record);
        if age_ms > max {
            let message = format!("nobody owns it: {}", why(state, partition));
            let finding = Finding { value: age_ms, ..Finding::new(Severity::Critical, message) };
            findings.insert(String::from_utf8_lossy(&key.bytes).into_owned(), finding);
        }
    }
    findings
}

/// What keeps a partition from its place.
fn why(state: &State, partition: &Partition) -> &'static str {
    let mut active = state.records_of(Kind::Worker).filter_map(|(_, record)| match &record.value {
        Record::Worker(worker) if worker.state == WorkerState::Active => Some(worker),
        _ => None,
    });
    let Some(first) = active.next() else { return "no worker takes partitions" };
    let has_labels = |labels: &std::collections::BTreeMap<String, String>| {
        partition.requires.iter().all(|(label, value)| labels.get(label) == Some(value))
    };
    if !has_labels(&first.labels) && !active.any(|worker| has_labels(&worker.labels)) {
        return "no worker has the labels that it requires";
    }
    "no worker has room for it (`quorate partition explain`)"
}
