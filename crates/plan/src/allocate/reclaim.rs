//! Which grants fall away: their owner ended, their grace is over, or nobody uses them.

use std::collections::BTreeSet;

use super::input::{GrantId, GrantOwner, StandingGrant};

/// What is known of a pool's grants at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reclaim<'a> {
    /// The grants.
    pub grants: &'a [StandingGrant],
    /// Which owners are no more.
    pub ended: &'a BTreeSet<GrantOwner>,
    /// How long a grant may be idle, milliseconds; none for ever.
    pub idle_timeout_ms: Option<u64>,
    /// The caller's time, milliseconds.
    pub now_ms: u64,
}

/// A grant that falls away at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    /// The grant.
    pub grant: GrantId,
    /// Why; of several reasons, the first in the order of [`ReclaimReason`].
    pub reason: ReclaimReason,
}

/// Why a grant falls away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReclaimReason {
    /// Its session is closed, or its partition has another owner.
    OwnerEnded,
    /// It was revoked and its grace is over.
    GraceOver,
    /// It has been idle for the timeout.
    Idle,
}

/// The grants that fall away, in the order given.
#[must_use]
pub fn reclaim(view: &Reclaim<'_>) -> Vec<Reclaimed> {
    let falls = |grant: &StandingGrant| {
        reason(view, grant).map(|reason| Reclaimed { grant: grant.id, reason })
    };
    view.grants.iter().filter_map(falls).collect()
}

fn reason(view: &Reclaim<'_>, grant: &StandingGrant) -> Option<ReclaimReason> {
    let idle = || {
        let idle_ms = view.now_ms.checked_sub(grant.idle_since_ms?)?;
        (idle_ms >= view.idle_timeout_ms?).then_some(ReclaimReason::Idle)
    };
    if view.ended.contains(&grant.owner) {
        Some(ReclaimReason::OwnerEnded)
    } else if grant.grace_end_ms.is_some_and(|end| end <= view.now_ms) {
        Some(ReclaimReason::GraceOver)
    } else {
        idle()
    }
}
