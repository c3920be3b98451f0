//! Which partitions have no place, and why.

use std::collections::BTreeMap;

use quorate_core::plan::{Blocked, Rejected};

use super::{rebalance::Draft, rules::Rule};

/// What has no place, by id.
pub(super) fn rejected(draft: &Draft<'_>) -> Vec<Rejected> {
    let view = draft.usage.view;
    let mut open: Vec<u32> = draft.open.iter().map(|(partition, _)| *partition).collect();
    open.sort_unstable();
    // Those that are alike in all that rules look at have the same answer.
    let mut known = BTreeMap::new();
    let rejected = open.into_iter().map(|it| {
        let requires = &view.partitions[it as usize].requires;
        let alike = (requires, view.groups.of(it), view.needs(it), draft.usage.of(it));
        let blocked = known.entry(alike).or_insert_with(|| why_nowhere(draft, it));
        Rejected { partition: view.partitions[it as usize].id.clone(), blocked: blocked.clone() }
    });
    rejected.collect()
}

/// The rule that keeps a partition from most workers, at its least.
fn why_nowhere(draft: &Draft<'_>, partition: u32) -> Blocked {
    let mut rules: Vec<(Rule<'_>, u32)> = Vec::new();
    let takers = draft.by_load().filter(|worker| draft.usage.of(partition) != Some(*worker));
    for blocked in takers.filter_map(|worker| draft.usage.rule(partition, worker)) {
        match rules.iter_mut().find(|(rule, _)| rule.is_like(&blocked)) {
            Some((rule, count)) => {
                *count += 1;
                *rule = blocked.min(*rule);
            }
            None => rules.push((blocked, 1)),
        }
    }
    let most = rules.into_iter().max_by(|a, b| (a.1, b.0).cmp(&(b.1, a.0)));
    most.map_or(Blocked::NoWorker, |(rule, _)| draft.usage.named(rule))
}
