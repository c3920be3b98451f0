//! Pools that somebody waits for.

use std::collections::BTreeMap;

use quorate_core::{AllocationId, AllocationState, Holder, Kind, Record, Severity};

use super::age::Ages;
use crate::health::check::{Finding, Findings, HealthContext};

/// Pools in which something has waited for too long: one finding each, about what waits longest. What a
/// partition without an owner is to have waits for the owner, not for the pool.
pub(super) fn waiting(context: &HealthContext, _: &mut Ages) -> Findings {
    let max = context.state().settings().health_waiting_ms_max;
    let mut pools: BTreeMap<String, (u64, u64, AllocationId)> = BTreeMap::new();
    for (key, record) in context.state().records_of(Kind::Allocation) {
        let Record::Allocation(allocation) = &record.value else { continue };
        let age_ms = context.now_ms().saturating_sub(allocation.waiting_since_ms);
        if allocation.state != AllocationState::Waiting || age_ms <= max {
            continue;
        }
        if let Holder::Partition(id) = &allocation.holder
            && context.state().partition(id).is_none_or(|partition| partition.owner.is_none())
        {
            continue;
        }
        let Some(id) = key.as_allocation() else { continue };
        let (count, longest_ms, longest) =
            pools.entry(id.pool.to_string()).or_insert_with(|| (0, 0, id.clone()));
        *count += 1;
        if age_ms > *longest_ms {
            (*longest_ms, *longest) = (age_ms, id);
        }
    }
    let finding = |(pool, (count, longest_ms, longest)): (String, (u64, u64, AllocationId))| {
        let message = format!("{count} allocations wait for too long, longest {longest}");
        (pool, Finding { value: longest_ms, ..Finding::new(Severity::Warning, message) })
    };
    pools.into_iter().map(finding).collect()
}
