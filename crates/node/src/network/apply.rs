//! Applying a network, with another plan when the first one came too late.

use std::sync::Arc;

use quorate_core::{
    ApplyOutcome, Call, Command, Name, NetworkSpec, Rejection, Reply, rejection::Reason,
};
use quorate_proto::convert::NetworkNumbers;
use quorate_storage::View;
use tokio::time::Instant;

use super::planned::{Planned, plan_apply};
use crate::{
    coordinator::Committed,
    planner::{NoPlan, PLANS_MAX, Planner},
};

/// A network that is now stored as it was described.
#[derive(Debug, Clone)]
pub enum AppliedNetwork {
    /// By a command; the numbers are of the network that it made.
    Committed {
        /// Created or updated; unchanged if somebody else applied the same in the meantime.
        outcome: ApplyOutcome,
        /// Where it was committed.
        committed: Committed,
        /// The network.
        numbers: NetworkNumbers,
    },
    /// It was so before, in this view.
    Unchanged {
        /// Where it was seen.
        view: Arc<View>,
        /// The network.
        numbers: NetworkNumbers,
    },
}

/// A network was not applied, or it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError<E> {
    /// It never will be: it breaks a rule, or others changed it each time while it was planned.
    #[error(transparent)]
    Rejected(Rejection),
    /// It was not planned: there was no time for it, or the strategy has a bug.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
    /// No answer to a read or a proposal; that error says what became of it.
    #[error("no answer: {0}")]
    Unanswered(E),
}

/// A network as somebody wants it.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: Name,
    /// What it should be.
    pub spec: NetworkSpec,
    /// The request, if it may be a repeat: what came of it then is the answer.
    pub call: Option<&'a Call>,
    /// Until when it may wait to be planned.
    pub deadline: Instant,
}

/// Applies a network: plans on what `read` gives, which must be linearizable, and hands the
/// command to `propose`. When the plan is stale, plans again; at most [`PLANS_MAX`] times.
///
/// # Errors
/// [`ApplyError`]. Nothing was changed unless it came from `propose`.
pub async fn apply_network<E, R, P>(
    planner: &Planner,
    wanted: Wanted<'_>,
    read: impl Fn() -> R,
    propose: impl Fn(Command) -> P,
) -> Result<AppliedNetwork, ApplyError<E>>
where
    R: Future<Output = Result<Arc<View>, E>>,
    P: Future<Output = Result<Committed, E>>,
{
    let Wanted { name, spec, call, deadline } = wanted;
    let mut plans = 1;
    loop {
        let view = read().await.map_err(ApplyError::Unanswered)?;
        let plan = {
            let (view, strategies) = (view.clone(), planner.strategies());
            let (name, spec) = (name.clone(), spec.clone());
            move || plan_apply(&view.state, &strategies, &name, spec)
        };
        let planned = planner.ask(deadline, plan).await?;
        let (command, mut numbers) = match planned.map_err(ApplyError::Rejected)? {
            Planned::Unchanged(numbers) => {
                let outcome = call.and_then(|call| view.state.kept_reply(call)).cloned();
                let Some(outcome) = outcome else {
                    return Ok(AppliedNetwork::Unchanged { view, numbers });
                };
                let Ok(Reply::ApplyNetwork { outcome: done, .. }) = outcome.result else {
                    return Ok(AppliedNetwork::Unchanged { view, numbers });
                };
                let committed = Committed { term: view.term, index: view.index, outcome };
                return Ok(AppliedNetwork::Committed { outcome: done, committed, numbers });
            }
            Planned::Change(command, numbers) => (command, numbers),
        };
        let committed = propose(command).await.map_err(ApplyError::Unanswered)?;
        match &committed.outcome.result {
            Ok(Reply::ApplyNetwork { outcome, generation }) => {
                numbers.generation = *generation;
                let outcome = *outcome;
                return Ok(AppliedNetwork::Committed { outcome, committed, numbers });
            }
            Ok(other) => {
                tracing::error!(reply = ?other, "the state answered another kind of command");
                let message = "the state answered another kind of command";
                let rejection = Rejection::new(Reason::PreconditionFailed, message);
                return Err(ApplyError::Rejected(rejection));
            }
            Err(stale) if stale.reason == Reason::StalePlan && plans < PLANS_MAX => {
                tracing::debug!(network = %name, plans, "the plan was stale, planning again");
                plans += 1;
            }
            Err(rejection) => return Err(ApplyError::Rejected(rejection.clone())),
        }
    }
}
