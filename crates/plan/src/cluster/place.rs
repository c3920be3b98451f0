//! Grants for partitions that nobody owns.

use std::collections::BTreeMap;

use quorate_core::{
    Grant, Name, Owner, PartitionId, SessionId, State, WorkerState, plan::MoveReason,
};

use super::{
    from_state::{At, partitions, traffic, workers},
    policy::{BalancePolicy, Moves},
    rebalance::rebalance,
    view::{ClusterError, ClusterView, Wish},
};

/// A worker that takes partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its session.
    pub session: SessionId,
    /// How many partitions it owns.
    pub owned: u64,
    /// How many more it may be granted.
    pub room: u64,
}

/// Grants these partitions, which nobody owns, to workers that have room for them now, by id. Those that
/// have no place, or none before another has left, are left out.
///
/// # Errors
/// None for a state whose invariants hold.
pub fn place(
    state: &State,
    waiting: &BTreeMap<PartitionId, Wish>,
    candidates: &BTreeMap<Name, Candidate>,
) -> Result<Vec<Grant>, ClusterError> {
    let (mut workers, mut partitions) = (workers(state), partitions(state, At::Owner));
    for worker in &mut workers {
        match candidates.get(&worker.name) {
            Some(Candidate { owned, room, .. }) => {
                worker.partitions_max = owned.saturating_add(*room);
            }
            // It keeps what it has, and takes no more.
            None if worker.state == WorkerState::Active => worker.state = WorkerState::Joining,
            None => {}
        }
    }
    for partition in &mut partitions {
        if let Some(wish) = waiting.get(&partition.id) {
            partition.wish = wish.clone();
        }
    }
    let view = ClusterView::new(workers, partitions, &traffic(state))?;
    let policy = BalancePolicy { moves: Moves::Needed, ..BalancePolicy::default() };
    let plan = rebalance(&view, &policy);
    let placed =
        plan.moves().filter(|one| one.reason == MoveReason::Place && one.waits_for.is_empty());
    let grants = placed.filter_map(|one| {
        let session = candidates.get(&one.to)?.session;
        let owner = Owner { worker: one.to.clone(), session };
        waiting
            .contains_key(&one.partition)
            .then(|| Grant { partition: one.partition.clone(), owner })
    });
    let mut grants: Vec<Grant> = grants.collect();
    grants.sort_by(|a, b| a.partition.cmp(&b.partition));
    Ok(grants)
}
