//! Asks pools for what partitions require, grants what they have to those who wait, fairly, and takes back
//! what is lacking or idle.
//!
//! ```text
//! newest view --> ledger (which pools changed, what ends now) --> decide: plan::allocate (pure)
//!      |                          |                                        |
//!      |                   EndAllocations                GrantAllocations, RevokeAllocations
//!      |
//!      +--------> requirements (which partitions do not have what they require) --> RequireAllocations
//! ```
//!
//! Looks when something has changed or a grant ends, at most every `distribute_interval_ms`; a write that
//! concerns no pool costs it a glance. Apply checks again that all grants are within capacity and limits, so
//! a decision that comes too late grants less and never too much.
//!
//! What partitions require is asked for in the same way: where a network's policy names a pool, apply makes
//! one allocation for each partition, of what it needs.
//!
//! What it does not do: try again what apply left out because the owner of a partition may hold no more
//! records, or the pool no more allocations, before something of the pool changes.

mod decide;
mod ledger;
mod requirements;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_core::{
    AllocationId, Command, EndReason, GrantEnd, Name, Origin, PartitionId, Reply, Request,
    Revocation, State,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    decide::{Decision, decide},
    ledger::Ledger,
    requirements::Requirements,
};
use super::activity::Activity;
use crate::{clock::Clock, coordinator::Coordinator};

/// At most so many grants in one command.
const BATCH_MAX: usize = 1_000;
/// At most so many changes make the requirement of one partition what it should be: what it had goes, with
/// its load, and another one comes.
const REQUIREMENT_CHANGES: usize = 3;
/// At most so many pools in one look.
const POOLS_MAX: usize = 100;
/// The rest after a proposal that failed.
const BACKOFF: Duration = Duration::from_millis(200);
/// A proposal without an outcome after so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub(super) async fn run(
    coordinator: Coordinator,
    clock: Arc<dyn Clock>,
    activity: Activity,
    stop: CancellationToken,
) {
    let mut distributor = Distributor {
        coordinator,
        clock,
        activity,
        following: None,
        batch: BATCH_MAX,
        asked: BATCH_MAX,
    };
    let mut applied = distributor.coordinator.applied();
    loop {
        applied.mark_unchanged();
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = distributor.look() => next,
        };
        let rest =
            distributor.interval().max(if next == Next::Retry { BACKOFF } else { Duration::ZERO });
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
        let due = match next {
            Next::Again | Next::Retry => continue,
            Next::Wait { due } => due,
        };
        let ends = async {
            match due {
                Some(due) => tokio::time::sleep(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            () = ends => {}
        }
    }
}

struct Distributor {
    coordinator: Coordinator,
    clock: Arc<dyn Clock>,
    activity: Activity,
    /// None while this coordinator does not lead.
    following: Option<Following>,
    /// How many allocations a command may be about: less after one was too large.
    batch: usize,
    /// How many partitions a command about what they require may be about, likewise.
    asked: usize,
}

/// What is known of the state.
struct Following {
    ledger: Ledger,
    requirements: Requirements,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// When something has changed, or after so long, when a grant ends.
    Wait { due: Option<Duration> },
    /// Soon: there is more to do.
    Again,
    /// A little later.
    Retry,
}

impl Distributor {
    fn interval(&self) -> Duration {
        let view = self.coordinator.view();
        Duration::from_millis(view.state.settings().distribute_interval_ms)
    }

    async fn look(&mut self) -> Next {
        let view = self.coordinator.view();
        if self.coordinator.leads().is_none() {
            self.following = None;
            self.activity.distributed(|it| it.leads = false);
            return Next::Wait { due: None };
        }
        let now_ms = self.clock.unix_ms().max(view.state.time_ms());
        let following = self.following.get_or_insert_with(|| Following {
            ledger: Ledger::of(&view.state, now_ms),
            requirements: Requirements::of(&view.state),
        });
        following.ledger.follow(&view.state, now_ms);
        following.requirements.follow(&view.state);
        let enabled = view.state.settings().distribute_enabled == 1;
        self.activity.distributed(|it| {
            it.looks += 1;
            (it.leads, it.disabled) = (true, !enabled);
        });
        if !enabled {
            return Next::Wait { due: None };
        }
        let max = usize::try_from(view.state.settings().command_changes_max).unwrap_or(usize::MAX);
        // An allocation that ends takes what is known of its use with it.
        let batch = self.batch.min(max / 2).max(1);
        let ends = following.ledger.due(&view.state, now_ms, batch);
        let unmet = following.requirements.unmet(self.asked.min(max / REQUIREMENT_CHANGES).max(1));
        if !ends.is_empty() {
            return self.end(ends).await;
        }
        let asks = !unmet.is_empty();
        let failed = asks && !self.require(unmet).await;
        // However much is asked for, and whatever is refused, it holds up no grants.
        match self.grant_all(&view.state, now_ms, batch).await {
            _ if failed => Next::Retry,
            Next::Wait { .. } if asks => Next::Again,
            next => next,
        }
    }

    /// Decides on the pools of which something may be granted.
    async fn grant_all(&mut self, state: &State, now_ms: u64, batch: usize) -> Next {
        let Some(Following { ledger, .. }) = &mut self.following else { return Next::Retry };
        let mut dirty = ledger.take_dirty();
        let later = dirty.iter().nth(POOLS_MAX).cloned().map(|first| dirty.split_off(&first));
        later.iter().flatten().for_each(|pool| ledger.look_again(pool));
        let due = ledger.next_ms(state).map(|at| at.saturating_sub(now_ms));
        if dirty.is_empty() {
            return Next::Wait { due: due.map(Duration::from_millis) };
        }
        self.distribute(state, dirty, now_ms, batch).await
    }

    /// Decides on pools that changed, and proposes what was decided.
    async fn distribute(
        &mut self,
        state: &State,
        dirty: BTreeSet<Name>,
        now_ms: u64,
        batch: usize,
    ) -> Next {
        let state = state.clone();
        let pools = dirty.clone();
        let plan = move || -> Vec<_> {
            let decided = pools.into_iter().map(|pool| {
                let decision = decide(&state, &pool, now_ms);
                (pool, decision)
            });
            decided.collect()
        };
        // With many allocations that takes a while.
        let Ok(decided) = self.coordinator.planner().run(plan).await else {
            dirty.iter().for_each(|pool| self.look_again(pool));
            return Next::Retry;
        };
        let mut next = Next::Again;
        for (pool, decision) in decided {
            match decision {
                Ok(decision) => {
                    if !self.propose_all(&pool, decision, batch).await {
                        self.look_again(&pool);
                        next = Next::Retry;
                    }
                }
                Err(error) => tracing::error!(%error, %pool, "the state contradicts itself"),
            }
        }
        next
    }

    fn look_again(&mut self, pool: &Name) {
        if let Some(following) = &mut self.following {
            following.ledger.look_again(pool);
        }
    }

    /// Proposes what was decided on a pool, command by command. Tells whether all of it was taken.
    async fn propose_all(&mut self, pool: &Name, decision: Decision, batch: usize) -> bool {
        let Decision { grants, grounds, revocations } = decision;
        let mut done = true;
        for ids in grants.chunks(batch) {
            let reason = format!("pool {pool}: {grounds}");
            done &= self.grant(ids.to_vec(), reason).await;
        }
        for revocations in revocations.chunks(batch) {
            done &= self.revoke(pool, revocations.to_vec()).await;
        }
        done
    }

    /// Lets apply make what partitions require what it should be. Tells whether it was taken.
    async fn require(&mut self, partitions: Vec<PartitionId>) -> bool {
        let count = partitions.len();
        let networks: BTreeSet<&str> = partitions.iter().map(|id| id.network.as_str()).collect();
        let reason = format!("requirements of {count} partitions of {}", first_of(&networks));
        let command = Command::RequireAllocations { partitions: partitions.clone() };
        let outcome = self.try_propose(command, &reason, count).await;
        learn(&mut self.asked, count, &outcome);
        let changed = match (outcome, &mut self.following) {
            (Ok(changed), _) => changed,
            // Alone it is refused as well.
            (Err(Failure::Refused), Some(following)) if count == 1 => {
                following.requirements.refused(partitions);
                return true;
            }
            (Err(_), _) => return false,
        };
        if changed > 0 {
            tracing::info!(partitions = changed, reason, "requirements brought up to date");
            self.activity.distributed(|it| it.required += u64::from(changed));
        }
        if let Some(following) = &mut self.following {
            following.requirements.tried(&self.coordinator.view().state, partitions);
        }
        true
    }

    async fn grant(&mut self, ids: Vec<AllocationId>, reason: String) -> bool {
        let count = ids.len();
        let Some(changed) = self.propose(Command::GrantAllocations { ids }, &reason, count).await
        else {
            return false;
        };
        tracing::debug!(granted = changed, reason, "allocations granted");
        self.activity.distributed(|it| it.granted += u64::from(changed));
        true
    }

    async fn revoke(&mut self, pool: &Name, revocations: Vec<Revocation>) -> bool {
        let count = revocations.len();
        let tenants: BTreeSet<&str> =
            revocations.iter().map(|revocation| revocation.why.tenant.as_str()).collect();
        let reason = format!("pool {pool}: {} below guarantee", first_of(&tenants));
        let command = Command::RevokeAllocations { revocations };
        let Some(changed) = self.propose(command, &reason, count).await else { return false };
        tracing::info!(revoked = changed, reason, "allocations asked back");
        self.activity.distributed(|it| it.revoked += u64::from(changed));
        true
    }

    async fn end(&mut self, ends: Vec<GrantEnd>) -> Next {
        let count = ends.len();
        let idle = ends.iter().filter(|end| end.why == EndReason::Idle).count();
        let over = count - idle;
        let reason = format!("{over} asked back and over, {idle} idle");
        let command = Command::EndAllocations { ends };
        match self.propose(command, &reason, count).await {
            // Nothing: it was overtaken.
            None | Some(0) => Next::Retry,
            Some(changed) => {
                tracing::info!(ended = changed, reason, "allocations ended");
                self.activity.distributed(|it| it.ended += u64::from(changed));
                Next::Again
            }
        }
    }

    /// How many allocations a command changed. None: it was refused, or has no outcome.
    async fn propose(&mut self, command: Command, reason: &str, count: usize) -> Option<u32> {
        let outcome = self.try_propose(command, reason, count).await;
        learn(&mut self.batch, count, &outcome);
        outcome.ok()
    }

    /// How much a command about so much changed.
    async fn try_propose(
        &mut self,
        command: Command,
        reason: &str,
        count: usize,
    ) -> Result<u32, Failure> {
        let origin = Origin { label: "distributor".into(), reason: reason.into() };
        let request = Request { origin, ..Request::from(command) };
        match self.coordinator.propose_here(request, Instant::now() + PATIENCE).await {
            Ok(committed) => match committed.outcome.result {
                Ok(Reply::Changed { changed }) => Ok(changed),
                Ok(_) => Err(Failure::Unknown),
                Err(rejection) => {
                    tracing::warn!(%rejection, allocations = count, "a decision was rejected");
                    self.activity.distributed(|it| it.refused += 1);
                    Err(Failure::Refused)
                }
            },
            Err(unanswered) => {
                tracing::debug!(%unanswered, "no outcome; it is decided again");
                Err(Failure::Unknown)
            }
        }
    }
}

/// Sets how large the next command may be, after one of this size. What refuses it is a limit of the settings,
/// such as the bytes of one command.
fn learn(batch: &mut usize, count: usize, outcome: &Result<u32, Failure>) {
    match outcome {
        Ok(_) => *batch = (*batch * 2).min(BATCH_MAX),
        Err(Failure::Refused) => *batch = (count / 2).max(1),
        Err(Failure::Unknown) => {}
    }
}

/// Why it is not known what a command changed.
enum Failure {
    /// It was refused.
    Refused,
    /// It has no outcome, or a strange one.
    Unknown,
}

/// The first of some names, and how many others there are.
fn first_of(names: &BTreeSet<&str>) -> String {
    let first = names.first().copied().unwrap_or_default();
    match names.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} and {} others", more - 1),
    }
}
