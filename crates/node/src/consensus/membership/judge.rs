//! What a leader knows of its members that bears on changing them: who answers, who lags, who
//! would be left.

use std::{collections::BTreeSet, time::Duration};

use openraft::Instant as _;
use quorate_core::{MemberId, Reason, Rejection};
use quorate_storage::{Membership, TypeConfig};

/// Entries that a learner may be behind when it becomes a voter. A leader has a few under way at
/// any time; with these missing it is a follower like the others.
const LAG_ENTRIES_MAX: u64 = 50;

type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Whether a member has answered this leader within the limit.
pub(crate) fn in_contact(metrics: &Metrics, id: u64, limit: Duration) -> bool {
    if metrics.id == id {
        return true;
    }
    let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(&id).cloned().flatten());
    heard.is_some_and(|at| at.elapsed() <= limit)
}

/// Whether a leader has never heard a member: it may lead since a moment ago.
fn never_heard(metrics: &Metrics, id: u64) -> bool {
    metrics.id != id
        && metrics.heartbeat.as_ref().is_none_or(|heard| heard.get(&id).is_none_or(Option::is_none))
}

/// Why a change must not be made.
pub(super) struct Judgement {
    pub(super) rejection: Rejection,
    /// It rests on somebody whom this leader has never heard: a new leader should wait.
    pub(super) hasty: bool,
}

/// Why a learner cannot become a voter yet.
pub(super) fn promotable(
    metrics: &Metrics,
    id: MemberId,
    limit: Duration,
) -> Result<(), Judgement> {
    let hasty = never_heard(metrics, id.get());
    let refused = |message: String| {
        let mut rejection = Rejection::new(Reason::PreconditionFailed, message);
        rejection.field = "id".into();
        rejection.rule = "a learner that has caught up".into();
        Err(Judgement { rejection, hasty })
    };
    if !in_contact(metrics, id.get(), limit) {
        return refused(format!("member {id} does not answer the leader"));
    }
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&id.get()).copied());
    let matched = matched.flatten().map_or(0, |at| at.index);
    let last = metrics.last_log_index.unwrap_or(0);
    if matched + LAG_ENTRIES_MAX < last {
        let behind = last - matched;
        return refused(format!(
            "member {id} lags: it has entry {matched} of {last}, {behind} are missing and at most \
             {LAG_ENTRIES_MAX} may be"
        ));
    }
    Ok(())
}

/// Why a voter cannot be removed without the others losing their quorum.
pub(super) fn removable(
    metrics: &Metrics,
    membership: &Membership,
    id: MemberId,
    limit: Duration,
) -> Result<(), Judgement> {
    let left: BTreeSet<u64> = membership.voter_ids().filter(|voter| *voter != id.get()).collect();
    let (alive, lost): (Vec<u64>, Vec<u64>) =
        left.iter().partition(|voter| in_contact(metrics, **voter, limit));
    let needed = left.len() / 2 + 1;
    if alive.len() >= needed {
        return Ok(());
    }
    let hasty = lost.iter().any(|voter| never_heard(metrics, *voter));
    let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
    let mut rejection = Rejection::new(
        Reason::PreconditionFailed,
        format!(
            "without member {id}, {needed} of the {} voters left are needed and only {} answer: \
             not member {}; bring it back first, or force it",
            left.len(),
            alive.len(),
            lost.join(", ")
        ),
    );
    rejection.field = "id".into();
    rejection.rule = "a member that the quorum can do without".into();
    Err(Judgement { rejection, hasty })
}
