//! Workers: lost, overloaded, with too much.

use std::collections::BTreeMap;

use quorate_core::{Key, Kind, LoadId, Name, Record, Severity, Worker, WorkerState};

use super::age::Ages;
use crate::health::check::{Finding, Findings, HealthContext};

/// Workers that were lost and did not come back.
pub(super) fn down(context: &HealthContext, ages: &mut Ages) -> Findings {
    let max = context.state().settings().health_down_ms_max;
    let mut findings = Findings::new();
    for (key, record) in context.state().records_of(Kind::Worker) {
        let Record::Worker(worker) = &record.value else { continue };
        if worker.state != WorkerState::Down {
            continue;
        }
        let age_ms = ages.of(context, key, record);
        if age_ms > max {
            let message = "it was lost; remove it with `quorate worker leave`, or start it again";
            let finding = Finding { value: age_ms, ..Finding::new(Severity::Warning, message) };
            findings.insert(String::from_utf8_lossy(&key.bytes).into_owned(), finding);
        }
    }
    findings
}

/// Workers that can hardly do what they are to do.
pub(super) fn load(context: &HealthContext, _: &mut Ages) -> Findings {
    let max = context.state().settings().health_load_ppm_max;
    let mut findings = Findings::new();
    for (name, _) in workers(context) {
        let load = context.state().get(&Key::load(&LoadId::Worker(name.clone())));
        if let Some(Record::Load(load)) = load.map(|record| &record.value)
            && load.load_ppm > max
        {
            let percent = load.load_ppm / 10_000;
            let message = format!("its load is {percent} % of what it can take");
            let severity = Severity::Warning;
            let finding = Finding { value: load.load_ppm, ..Finding::new(severity, message) };
            findings.insert(name.to_string(), finding);
        }
    }
    findings
}

/// Workers with more partitions than one may be granted: the setting was lowered since.
pub(super) fn partitions(context: &HealthContext, _: &mut Ages) -> Findings {
    let max = context.state().settings().worker_partitions_max;
    let mut counts: BTreeMap<&Name, u64> = BTreeMap::new();
    for (_, record) in context.state().records_of(Kind::Partition) {
        if let Record::Partition(partition) = &record.value
            && let Some(owner) = &partition.owner
        {
            *counts.entry(&owner.worker).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count > max)
        .map(|(name, count)| {
            let message = format!("it has {count} partitions, worker_partitions_max is {max}");
            let severity = Severity::Warning;
            (name.to_string(), Finding { value: count, ..Finding::new(severity, message) })
        })
        .collect()
}

/// Workers that are not down.
fn workers(context: &HealthContext) -> impl Iterator<Item = (Name, &Worker)> {
    context.state().records_of(Kind::Worker).filter_map(|(key, record)| {
        let name = Name::new(std::str::from_utf8(&key.bytes).ok()?).ok()?;
        match &record.value {
            Record::Worker(worker) if worker.state != WorkerState::Down => {
                Some((name, worker.as_ref()))
            }
            _ => None,
        }
    })
}
