//! Asks owners to give partitions up that should be elsewhere.
//!
//! ```text
//! every balance_interval_ms: state -> decide (pure) -> MovePartitions { moves, basis }
//!                                                       owner releases -> assigner grants, to the target
//! ```
//!
//! A plan is made on one state and refused when what it relies on has changed since: then it is planned
//! again, a few times. A new leader looks for the first time when it has led for one interval. When a look found
//! nothing to do, the next ones cost a glance until workers, partitions, connections, settings or loads change.

mod decide;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use quorate_core::{
    Change, Command, Key, Kind, Name, Origin, PartitionId, Reply, Request, Revision, State, Term,
    plan::Basis, rejection::Reason,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::decide::{Asked, Decision, decide};
pub use self::decide::{Held, Why};
pub(crate) use self::decide::{asked, asked_basis, plan_now};
use super::activity::Activity;
use crate::{
    clock::Clock,
    coordinator::{Coordinator, Unanswered},
    periodic::Periodic,
    planner::PLANS_MAX,
};

/// A proposal without an outcome after so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// When a limit refuses all moves together, so many are tried one by one.
const SINGLY_MAX: usize = 8;

/// Runs until `stop`.
pub(super) async fn run(
    coordinator: Coordinator,
    clock: Arc<dyn Clock>,
    activity: Activity,
    stop: CancellationToken,
) {
    let mut balancer = Balancer { coordinator, clock, activity, term: None, settled: None };
    let mut periodic = Periodic::new(|settings| settings.balance_interval_ms);
    while periodic.next(&balancer.coordinator, &stop).await.is_some() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = balancer.look_until_it_counts() => {}
        }
    }
}

struct Balancer {
    coordinator: Coordinator,
    clock: Arc<dyn Clock>,
    activity: Activity,
    /// The term in which it looked last.
    term: Option<Term>,
    /// Up to this revision there is nothing to do, whatever the time.
    settled: Option<Revision>,
}

impl Balancer {
    /// Looks, and looks again when the plan came too late.
    async fn look_until_it_counts(&mut self) {
        for _ in 0..PLANS_MAX {
            if self.look().await != Some(Refused::Stale) {
                return;
            }
        }
    }

    async fn look(&mut self) -> Option<Refused> {
        let term = self.coordinator.leads();
        let new = term != self.term;
        self.term = term;
        if new || term.is_none() {
            self.settled = None;
            self.activity.looked(Some(Held::NotLeading));
            return None;
        }
        let view = self.coordinator.view();
        if self.settled.is_some_and(|since| is_unchanged(&view.state, since)) {
            self.settled = Some(view.state.revision());
            self.activity.looked(None);
            return None;
        }
        let now_ms = self.clock.unix_ms();
        let state = view.clone();
        let decided = self.coordinator.planner().run(move || decide(&state.state, now_ms)).await;
        let decision = match decided {
            Ok(Ok(decision)) => decision,
            Ok(Err(error)) => {
                tracing::error!(%error, "the state contradicts itself");
                return None;
            }
            // It was reported where it happened.
            Err(_) => return None,
        };
        match decision {
            Decision::Held(held) => {
                self.activity.looked(Some(held));
                self.settled = None;
            }
            Decision::Ask(asked) => {
                self.activity.looked(None);
                let done = asked.moves.is_empty() && asked.resting == 0;
                self.settled = done.then(|| view.state.revision());
                if !asked.moves.is_empty() {
                    return self.ask(&view.state, asked).await;
                }
            }
        }
        None
    }

    /// Asks for all moves at once; when that is too much for a limit, for some of them one by one.
    async fn ask(&self, state: &State, asked: Asked) -> Option<Refused> {
        let Asked { moves, basis, .. } = asked;
        let refused = self.propose(&moves, basis).await;
        if refused != Some(Refused::Limit) {
            return refused;
        }
        for one in moves.into_iter().take(SINGLY_MAX) {
            let keys = [Key::partition(&one.0), Key::worker(&one.1)];
            let refused = self.propose(&[one], Basis::of(state, keys)).await;
            if refused == Some(Refused::Unanswered) {
                break;
            }
        }
        None
    }

    async fn propose(&self, moves: &[(PartitionId, Name, Why)], basis: Basis) -> Option<Refused> {
        let reason = reason(moves);
        let origin = Origin { label: "balancer".into(), reason: reason.as_str().into() };
        let targets = moves.iter().map(|(id, to, _)| (id.clone(), Some(to.clone())));
        let command = Command::MovePartitions { moves: targets.collect(), basis };
        let request = Request { origin, ..Request::from(command) };
        let deadline = Instant::now() + PATIENCE;
        match self.coordinator.propose_here(request, deadline).await {
            Ok(committed) => match committed.outcome.result {
                Ok(Reply::Changed { .. }) => {
                    tracing::info!(moves = moves.len(), reason, "owners were asked for partitions");
                    self.activity.moved(moves.iter().map(|(.., why)| *why));
                    None
                }
                Ok(_) => None,
                Err(rejection) => {
                    tracing::debug!(%rejection, moves = moves.len(), "moves were rejected");
                    self.activity.refused();
                    let stale = rejection.reason == Reason::StalePlan;
                    Some(if stale { Refused::Stale } else { Refused::Limit })
                }
            },
            Err(unanswered) => {
                report(&unanswered);
                Some(Refused::Unanswered)
            }
        }
    }
}

/// Why nothing was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// What was planned on has changed.
    Stale,
    /// A limit, or another rule.
    Limit,
    /// No outcome.
    Unanswered,
}

fn report(unanswered: &Unanswered) {
    tracing::debug!(%unanswered, "moves have no outcome; the next look plans again");
}

/// How many moves there are of each kind, in words.
fn reason(moves: &[(PartitionId, Name, Why)]) -> String {
    let mut counts: BTreeMap<Why, usize> = BTreeMap::new();
    moves.iter().for_each(|(.., why)| *counts.entry(*why).or_default() += 1);
    let mut words = String::new();
    for (why, count) in counts {
        let comma = if words.is_empty() { "" } else { ", " };
        write!(words, "{comma}{why}: {count}").expect("a String takes everything");
    }
    words
}

/// Whether nothing has changed since that could move a partition. What is not known any more has.
fn is_unchanged(state: &State, since: Revision) -> bool {
    let from = since.next();
    if from < state.history().oldest() || state.revision() < since {
        return false;
    }
    let concerns = |change: &Change| {
        matches!(
            change.key.kind,
            Kind::Worker | Kind::Partition | Kind::Connection | Kind::Setting | Kind::Load
        )
    };
    !state.history().from(from).any(|event| event.changes.iter().any(concerns))
}
