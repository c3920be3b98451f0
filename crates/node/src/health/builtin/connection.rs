//! Connections that cannot be used.

use std::collections::BTreeSet;

use quorate_core::{
    Connection, ConnectionId, ConnectionState, Key, Kind, PartitionId, Record, Severity,
};

use super::age::Ages;
use crate::health::check::{Finding, Findings, HealthContext};

/// Connections that cannot have been used for too long.
pub(super) fn unusable(context: &HealthContext, ages: &mut Ages) -> Findings {
    let state = context.state();
    let max = state.settings().health_unowned_ms_max;
    let without = unowned(context, ages, max);
    let mut findings = Findings::new();
    for (key, record) in state.records_of(Kind::Connection) {
        let Record::Connection(connection) = &record.value else { continue };
        let id = std::str::from_utf8(&key.bytes).ok().and_then(ConnectionId::parse);
        let Some(id) = id else { continue };
        if let Some(end) = why(connection, &id, &without) {
            let message = format!("partition {end} has no owner");
            findings.insert(id.to_string(), Finding::new(Severity::Warning, message));
        }
    }
    findings
}

/// What keeps a connection from being used: the end that has had no owner for too long.
fn why(
    connection: &Connection,
    id: &ConnectionId,
    without: &BTreeSet<PartitionId>,
) -> Option<PartitionId> {
    match connection.state {
        ConnectionState::Pending => {
            let end = |index| PartitionId { network: id.network.clone(), index };
            [end(id.from), end(id.to)].into_iter().find(|end| without.contains(end))
        }
    }
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
