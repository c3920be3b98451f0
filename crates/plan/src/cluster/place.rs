//! Grants for partitions that nobody owns.

use std::collections::BTreeMap;

use quorate_core::{Grant, Name, Owner, PartitionId, SessionId, State, WorkerState};

use super::{
    from_state::{At, partitions, traffic, workers},
    policy::{BalancePolicy, Moves},
    rebalance::Draft,
    view::{Bytes, ClusterError, ClusterView, Wish},
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
    /// How many bytes the records of what it is granted may add to what ends with its session, as
    /// [`State::bytes_of_grant`] counts them.
    pub bytes_left: u64,
}

/// Grants these partitions, which nobody owns, to workers that have room for them now, by id. Those that
/// have no place are left out. What must leave its worker counts where it is until it has left.
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
    let mut view = ClusterView::new(workers, partitions, &traffic(state))?;
    view.bytes = bytes(state, &view, waiting, candidates);
    let policy = BalancePolicy { moves: Moves::Grants, ..BalancePolicy::of(state.settings()) };
    let mut draft = Draft::new(&view, policy);
    draft.give_homes();
    let grants = draft.moves.iter().filter_map(|step| {
        let worker = view.workers[step.to as usize].name.clone();
        let session = candidates.get(&worker)?.session;
        let partition = view.partitions[step.partition as usize].id.clone();
        let grant = Grant { partition, owner: Owner { worker, session } };
        waiting.contains_key(&grant.partition).then_some(grant)
    });
    let mut grants: Vec<Grant> = grants.collect();
    grants.sort_by(|a, b| a.partition.cmp(&b.partition));
    Ok(grants)
}

/// What the records of grants would take, and what there is for them. The name of the owner is in the
/// record once, so that it counts apart.
fn bytes(
    state: &State,
    view: &ClusterView,
    waiting: &BTreeMap<PartitionId, Wish>,
    candidates: &BTreeMap<Name, Candidate>,
) -> Option<Bytes> {
    let (any, candidate) = candidates.first_key_value()?;
    let extra = |name: &Name| name.as_str().len() as u64;
    let need = |id: &PartitionId| {
        let owner = Owner { worker: any.clone(), session: candidate.session };
        let grant = Grant { partition: id.clone(), owner };
        state.bytes_of_grant(&grant).saturating_sub(extra(any))
    };
    let need = view.partitions.iter().map(|it| match waiting.contains_key(&it.id) {
        true => need(&it.id),
        false => 0,
    });
    let left = |name: &Name| candidates.get(name).map_or(0, |it| it.bytes_left);
    Some(Bytes {
        need: need.collect(),
        extra: view.workers.iter().map(|it| extra(&it.name)).collect(),
        left: view.workers.iter().map(|it| left(&it.name)).collect(),
    })
}
