//! Connections that cannot be used.

use std::collections::BTreeSet;

use quorate_core::{ConnectionId, ConnectionState, Key, Kind, PartitionId, Record, Severity};

use super::age::Ages;
use crate::health::check::{Finding, Findings, HealthContext};

/// Connections that cannot have been used for too long.
pub(super) fn unusable(context: &HealthContext, ages: &mut Ages) -> Findings {
    let state = context.state();
    let max = state.settings().health_unowned_ms_max;
    let without = unowned(context, ages, max);
    let mut findings = Findings::new();
    for (key, _) in state.records_of(Kind::Connection) {
        let Some(id) = key.as_connection() else { continue };
        let message = match state.connection_status(&id) {
            None => unowned_end(&id, &without).map(|end| format!("partition {end} has no owner")),
            Some(status) => match status.state {
                ConnectionState::Failed => {
                    Some(format!("failed after {} retries: {}", status.attempts, status.error))
                }
                ConnectionState::Broken => {
                    let key = Key::connection_status(&id);
                    let record = state.get(&key);
                    let long = record.is_some_and(|it| ages.of(context, &key, it) > max);
                    long.then(|| format!("broken: {}", status.error))
                }
                ConnectionState::Connecting | ConnectionState::Up => None,
            },
        };
        if let Some(message) = message {
            findings.insert(id.to_string(), Finding::new(Severity::Warning, message));
        }
    }
    findings
}

/// The end of a connection that has had no owner for too long.
fn unowned_end(id: &ConnectionId, without: &BTreeSet<PartitionId>) -> Option<PartitionId> {
    let end = |index| PartitionId { network: id.network.clone(), index };
    [end(id.from), end(id.to)].into_iter().find(|end| without.contains(end))
}

/// Partitions that have had no owner for so long.
fn unowned(context: &HealthContext, ages: &mut Ages, max: u64) -> BTreeSet<PartitionId> {
    let mut without = BTreeSet::new();
    for (key, record) in context.state().records_of(Kind::Partition) {
        if let Record::Partition(partition) = &record.value
            && partition.owner.is_none()
            && ages.of(context, key, record) > max
        {
            without.extend(id_of(key));
        }
    }
    without
}

fn id_of(key: &Key) -> Option<PartitionId> {
    PartitionId::parse(std::str::from_utf8(&key.bytes).ok()?)
}
