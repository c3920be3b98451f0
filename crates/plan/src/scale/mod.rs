//! How many instances of each process there should be: from observed load to a decision.
//!
//! ```text
//! observations -> rule -> bounds -> down-stabilisation -> up limit -> bounds -> decision
//!                                          |                 |
//!                                  recommended before    ran before      (ScaleHistory)
//! ```
//!
//! The default rule looks at a process alone: as much more as its load is above the target, half
//! when it is below half of it, and otherwise no change. The rule of true rates looks at the whole
//! network (`true_rate.rs`). Everything after the rule makes changes rarer, slower or smaller.
//!
//! Source of tolerance, down-stabilisation and up limit, and of their defaults: the horizontal pod
//! autoscaler of Kubernetes, `autoscaling/v2`.
//!
//! Invariants: a decision follows from the request alone, the caller's history included. Integers
//! only; no input makes anything overflow: what does not fit saturates, and then meets the bounds
//! of the process. Nothing is recursive. O((n + m) log n + observations).
//!
//! Must not know who runs instances, and whether anybody follows a decision: what runs is told by the
//! next request.

mod decision;
mod history;
mod limits;
mod observation;
mod policy;
mod rules;
mod true_rate;

use quorate_core::Name;

pub use decision::{Fallback, Finding, Limit, ScaleDecision};
pub use history::ScaleHistory;
pub use observation::{FlowCounts, Observation, ObservedProcess};
pub use policy::{Cycles, InvalidScalePolicy, ScalePolicy, ScaleRule, UpLimit};

use crate::view::NetworkView;
use history::{Past, ProcessHistory};
use limits::Limited;
use rules::{Judgement, by_demand, by_load};

/// What [`scale`] is asked.
#[derive(Debug, Clone, Copy)]
pub struct ScaleRequest<'a> {
    /// The network.
    pub view: &'a NetworkView<'a>,
    /// What runs and what was seen of it, by process number.
    pub observed: &'a [ObservedProcess],
    /// How to scale.
    pub policy: &'a ScalePolicy,
    /// What the last round returned; the default before the first one. What it has of processes that
    /// the network no longer has is dropped.
    pub history: &'a ScaleHistory,
    /// The time, in milliseconds of a clock that does not go back.
    pub now_ms: u64,
}

/// The answer to a [`ScaleRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    /// One for each process, by number.
    pub decisions: Vec<ScaleDecision>,
    /// For the next round.
    pub history: ScaleHistory,
}

/// A request that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// The policy breaks a rule.
    #[error("scaling policy: {0}")]
    Policy(#[from] InvalidScalePolicy),
    /// Not as many processes were observed as there are: a bug of the caller.
    #[error("{actual} observed processes were given for {processes} processes")]
    Observed {
        /// How many were given.
        actual: usize,
        /// How many processes there are.
        processes: u32,
    },
    /// The specification's bounds are none.
    #[error("process {process}: parallelism from {min} to {max} is not 1 <= min <= max")]
    Bounds {
        /// The process.
        process: Name,
        /// Its fewest instances.
        min: u32,
        /// Its most instances.
        max: u32,
    },
    /// There is nothing to scale.
    #[error("process {process} has no instances")]
    NoInstances {
        /// The process.
        process: Name,
    },
    /// Each observation is later than the one before it.
    #[error(
        "process {process}: the observation at {time_ms} ms is not later than the one before it"
    )]
    OutOfOrder {
        /// The process.
        process: Name,
        /// The time of the observation.
        time_ms: u64,
    },
    /// An observation has yet to be made.
    #[error("process {process}: the observation at {time_ms} ms is later than now, {now_ms} ms")]
    FromTheFuture {
        /// The process.
        process: Name,
        /// The time of the observation.
        time_ms: u64,
        /// The time of the request.
        now_ms: u64,
    },
    /// Not as many counts of records sent as edges that leave the process.
    #[error("process {process}: {actual} counts of records sent over {edges} edges")]
    SentCounts {
        /// The process.
        process: Name,
        /// How many counts there are.
        actual: usize,
        /// How many edges leave the process.
        edges: usize,
    },
    /// The history is from later.
    #[error("the time went back from {before_ms} ms to {now_ms} ms")]
    TimeWentBack {
        /// The time of the request.
        now_ms: u64,
        /// The time of the one before it.
        before_ms: u64,
    },
}

/// Decides for all processes of a network how many instances there should be.
///
/// # Errors
/// [`ScaleError`] when the policy, the network's bounds or the observations break a rule, or the
/// time went back.
pub fn scale(request: &ScaleRequest<'_>) -> Result<Scaling, ScaleError> {
    check(request)?;
    let ScaleRequest { policy, now_ms, .. } = *request;
    let recent = request.observed.iter().map(|process| process.recent(now_ms, policy.window_ms));
    let recent: Vec<_> = recent.collect();
    let demands = match policy.rule {
        ScaleRule::Load => Vec::new(),
        ScaleRule::TrueRate { cycles } => true_rate::demands(request, &recent, cycles),
    };
    let mut history = ScaleHistory { time_ms: now_ms, ..ScaleHistory::default() };
    let mut decisions = Vec::with_capacity(recent.len());
    for (at, seen) in recent.into_iter().enumerate() {
        let parallelism = request.observed[at].parallelism;
        let judgement = match demands.get(at) {
            Some(demand) => by_demand(policy, parallelism, seen, demand),
            None => by_load(policy, parallelism, seen),
        };
        let (decision, of_process) = decide(request, at, judgement);
        history.of_process.insert(decision.process.clone(), of_process);
        decisions.push(decision);
    }
    Ok(Scaling { decisions, history })
}

/// Brings what a rule says about the process at `at` within all limits.
fn decide(
    request: &ScaleRequest<'_>,
    at: usize,
    judgement: Judgement,
) -> (ScaleDecision, ProcessHistory) {
    let process = &request.view.processes()[at];
    let bounds = process.parallelism;
    let parallelism = request.observed[at].parallelism;
    let now = Past { time_ms: request.now_ms, parallelism };
    let mut history = request.history.of(&process.id, now);
    let mut limited = Limited::new(judgement.instances.unwrap_or(parallelism));
    limited.bound(bounds);
    let recommended = limited.wanted;
    if judgement.instances.is_some() {
        limited.stabilise(request.policy, &mut history, now);
    }
    limited.slow_down(request.policy, &mut history, now);
    limited.bound(bounds);
    let decision = ScaleDecision {
        process: process.id.clone(),
        parallelism,
        recommended,
        wanted: limited.wanted,
        finding: judgement.finding,
        fallback: judgement.fallback,
        limits: limited.limits,
    };
    (decision, history)
}

fn check(request: &ScaleRequest<'_>) -> Result<(), ScaleError> {
    let ScaleRequest { view, observed, policy, history, now_ms } = *request;
    policy.check()?;
    if u32::try_from(observed.len()) != Ok(view.len()) {
        return Err(ScaleError::Observed { actual: observed.len(), processes: view.len() });
    }
    if now_ms < history.time_ms {
        return Err(ScaleError::TimeWentBack { now_ms, before_ms: history.time_ms });
    }
    let processes = view.processes().iter().zip(view.numbers());
    for ((process, number), observed) in processes.zip(observed) {
        let (id, bounds) = (&process.id, process.parallelism);
        if bounds.min == 0 || bounds.min > bounds.max {
            let (min, max) = (bounds.min, bounds.max);
            return Err(ScaleError::Bounds { process: id.clone(), min, max });
        }
        if observed.parallelism == 0 {
            return Err(ScaleError::NoInstances { process: id.clone() });
        }
        check_series(id, &observed.series, view.edges_from(number).len(), now_ms)?;
    }
    Ok(())
}

fn check_series(
    id: &Name,
    series: &[Observation],
    edges: usize,
    now_ms: u64,
) -> Result<(), ScaleError> {
    if let Some(pair) = series.windows(2).find(|pair| pair[0].time_ms >= pair[1].time_ms) {
        return Err(ScaleError::OutOfOrder { process: id.clone(), time_ms: pair[1].time_ms });
    }
    if let Some(last) = series.last().filter(|last| last.time_ms > now_ms) {
        let time_ms = last.time_ms;
        return Err(ScaleError::FromTheFuture { process: id.clone(), time_ms, now_ms });
    }
    let mut flows = series.iter().filter_map(|seen| seen.flow.as_ref());
    match flows.find(|flow| flow.sent.len() != edges) {
        Some(flow) => {
            let actual = flow.sent.len();
            Err(ScaleError::SentCounts { process: id.clone(), actual, edges })
        }
        None => Ok(()),
    }
}
