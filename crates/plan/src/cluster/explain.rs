//! Why a partition is where it is, why it is not elsewhere, and what would move.

use quorate_core::{
    Name, PartitionId, WorkerState,
    plan::{Alternative, Explanation, Plan, Verdict},
};

use super::{
    policy::{BalancePolicy, Moves},
    rebalance::{part, rebalance},
    usage::Usage,
    view::ClusterView,
};

/// Why a partition is where it is. None: there is no such partition. A view does not know who is still
/// `leaving`.
#[must_use]
pub fn explain(
    view: &ClusterView,
    policy: &BalancePolicy,
    id: &PartitionId,
) -> Option<Explanation> {
    let partition = view.partition(id)?;
    let usage = Usage::new(view);
    let home = usage.of(partition);
    let others = view.worker_numbers().filter(|worker| home != Some(*worker));
    let mut others: Vec<(u64, i64, Alternative)> = others
        .map(|worker| {
            let verdict = verdict(&usage, policy, partition, worker);
            let rank = match &verdict {
                Verdict::Blocked(_) => (u64::MAX, i64::MAX),
                Verdict::Possible { traffic, over_ppm, .. } => (*over_ppm, *traffic),
            };
            let worker = view.workers()[worker as usize].name.clone();
            (rank.0, rank.1, Alternative { worker, verdict })
        })
        .collect();
    // Stable: equals stay in the order of their names.
    others.sort_by_key(|(over, traffic, _)| (*over, *traffic));
    Some(Explanation {
        partition: id.clone(),
        worker: home.map(|worker| view.workers()[worker as usize].name.clone()),
        leaving: None,
        traffic: home.map_or(0, |worker| usage.traffic(partition, worker)),
        load_ppm: home.map_or(0, |worker| usage.load(worker)),
        fair_ppm: usage.fair(),
        others: others.into_iter().map(|(.., other)| other).collect(),
    })
}

/// Why a partition is not on this worker. None: there is no such partition or worker, or it is there.
#[must_use]
pub fn explain_worker(
    view: &ClusterView,
    policy: &BalancePolicy,
    id: &PartitionId,
    worker: &Name,
) -> Option<Verdict> {
    let (partition, worker) = (view.partition(id)?, view.worker(worker)?);
    let usage = Usage::new(view);
    let elsewhere = usage.of(partition) != Some(worker);
    elsewhere.then(|| verdict(&usage, policy, partition, worker))
}

fn verdict(usage: &Usage<'_>, policy: &BalancePolicy, partition: u32, worker: u32) -> Verdict {
    if let Some(blocked) = usage.blocked(partition, worker) {
        return Verdict::Blocked(blocked);
    }
    let here = usage.of(partition).map_or(0, |home| usage.traffic(partition, home));
    let load_ppm = usage.load_with(worker, partition);
    let ceiling = part(usage.fair(), 1_000_000 + u64::from(policy.tolerance.above_ppm));
    Verdict::Possible {
        traffic: usage.traffic(partition, worker).saturating_sub(here),
        load_ppm,
        over_ppm: load_ppm.saturating_sub(ceiling),
    }
}

/// What would move if a worker were lost now: only what has to. None: there is no such worker.
#[must_use]
pub fn what_if_lost(view: &ClusterView, policy: &BalancePolicy, worker: &Name) -> Option<Plan> {
    let number = view.worker(worker)?;
    let mut without = view.clone();
    without.workers[number as usize].state = WorkerState::Down;
    Some(rebalance(&without, &BalancePolicy { moves: Moves::Needed, ..*policy }))
}
