//! What the balancer asks for, from a state and the time. Pure.
//!
//! Invariants: what is asked for is part of a plan that begins with where everything is, and on its way to;
//! what is on its way counts against the budget; what was granted lately stays unless it must leave.
//! Nothing is remembered that is not in the state, so that a change of leader changes nothing.

use std::fmt;

use quorate_core::{
    Kind, Name, Partition, PartitionId, PartitionState, Record, Settings, State,
    plan::{Basis, MoveReason, Plan},
};
use quorate_plan::cluster::{BalancePolicy, ClusterError, ClusterView, Moves, rebalance};

/// Parts per million.
const WHOLE_PPM: u64 = 1_000_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing may be moved now.
    Held(Held),
    /// What to ask of owners. No moves: all is as it should be.
    Ask(Asked),
}

/// What keeps the balancer from moving anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// This coordinator does not lead, or not for long enough.
    NotLeading,
    /// The setting `balance_enabled` is 0.
    Disabled,
    /// The setting `maintenance` is 1.
    Maintenance,
    /// As many partitions are on their way as may be.
    UnderWay,
}

impl Held {
    /// All reasons.
    pub const ALL: [Self; 4] =
        [Self::NotLeading, Self::Disabled, Self::Maintenance, Self::UnderWay];

    /// As metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotLeading => "not_leading",
            Self::Disabled => "disabled",
            Self::Maintenance => "maintenance",
            Self::UnderWay => "under_way",
        }
    }
}

/// What is asked of owners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Partitions with the workers that are to have them next.
    pub(crate) moves: Vec<(PartitionId, Name, Why)>,
    /// What they were planned on.
    pub(crate) basis: Basis,
    /// Partitions that stay only because they were granted lately: another look may move them.
    pub(crate) resting: u64,
}

/// Why a partition is moved, as metrics and the log name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its worker must give it away.
    Evacuate,
    /// Its worker lacks what it requires, or has another of its group.
    Placement,
    /// Its worker has too little of a resource.
    Overload,
    /// Its worker has more than its share.
    Balance,
    /// What it exchanges is nearer there.
    Traffic,
}

impl Why {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::Evacuate, Self::Placement, Self::Overload, Self::Balance, Self::Traffic];

    /// As metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evacuate => "evacuate",
            Self::Placement => "placement",
            Self::Overload => "overload",
            Self::Balance => "balance",
            Self::Traffic => "traffic",
        }
    }

    /// None: it has no worker that could be asked.
    fn of(reason: &MoveReason) -> Option<Self> {
        Some(match reason {
            MoveReason::Place => return None,
            MoveReason::Evacuate(_) => Self::Evacuate,
            MoveReason::Label { .. } | MoveReason::AntiAffinity { .. } => Self::Placement,
            MoveReason::Overload { .. } => Self::Overload,
            MoveReason::Balance => Self::Balance,
            MoveReason::Traffic => Self::Traffic,
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decides at a time, milliseconds since 1970.
///
/// # Errors
/// None for a state whose invariants hold.
pub(crate) fn decide(state: &State, now_ms: u64) -> Result<Decision, ClusterError> {
    let settings = state.settings();
    if settings.maintenance == 1 {
        return Ok(Decision::Held(Held::Maintenance));
    }
    if settings.balance_enabled == 0 {
        return Ok(Decision::Held(Held::Disabled));
    }
    let (partitions, under_way) = counts(state);
    let left = policy(settings, partitions, under_way);
    // What must leave is asked for all the same.
    let needed = || BalancePolicy { moves: Moves::Needed, ..BalancePolicy::of(settings) };
    let policy = left.unwrap_or_else(needed);
    let mut resting = 0;
    let view = ClusterView::of(state)?.resting(|id| {
        let rests = state.partition(id).is_some_and(|it| granted_lately(state, it, now_ms));
        resting += u64::from(rests);
        rests
    });
    let plan = rebalance(&view, &policy);
    let moves: Vec<_> = asked(&plan).collect();
    if moves.is_empty() && left.is_none() {
        return Ok(Decision::Held(Held::UnderWay));
    }
    Ok(Decision::Ask(Asked { moves, basis: asked_basis(&plan), resting }))
}

/// Plans as the settings say, but for what holds the balancer back.
///
/// # Errors
/// None for a state whose invariants hold.
pub(crate) fn plan_now(state: &State) -> Result<Plan, ClusterError> {
    Ok(rebalance(&ClusterView::of(state)?, &BalancePolicy::of(state.settings())))
}

/// What those moves rely on that owners are asked for first.
pub(crate) fn asked_basis(plan: &Plan) -> Basis {
    let first = plan.waves.first().into_iter().flatten();
    plan.basis.of_moves(first.filter(|one| one.from.is_some()))
}

/// What owners are asked for first. What waits for others is planned again when they have gone.
pub(crate) fn asked(plan: &Plan) -> impl Iterator<Item = (PartitionId, Name, Why)> {
    let first = plan.waves.first().into_iter().flatten();
    let from_somebody = first.filter(|one| one.from.is_some());
    from_somebody
        .filter_map(|one| Some((one.partition.clone(), one.to.clone(), Why::of(&one.reason)?)))
}

/// What may still be moved while some are on their way. None: nothing.
fn policy(settings: &Settings, partitions: u64, under_way: u64) -> Option<BalancePolicy> {
    let full = BalancePolicy::of(settings);
    let of_all = |ppm: u32| partitions.saturating_mul(u64::from(ppm)) / WHOLE_PPM;
    let allowed = of_all(full.moved_ppm_max).max(1);
    let left = allowed.checked_sub(under_way).filter(|left| *left > 0)?;
    let share = |whole: u64| u32::try_from(whole.div_ceil(partitions.max(1))).unwrap_or(u32::MAX);
    let load = u64::from(full.moved_load_ppm_max).saturating_mul(left) / allowed;
    Some(BalancePolicy {
        moved_ppm_max: share(left.saturating_mul(WHOLE_PPM)),
        moved_load_ppm_max: u32::try_from(load).unwrap_or(u32::MAX),
        ..full
    })
}

/// How many partitions there are, and how many were asked back and not released yet.
fn counts(state: &State) -> (u64, u64) {
    let (mut partitions, mut under_way) = (0, 0);
    for (_, record) in state.records_of(Kind::Partition) {
        if let Record::Partition(partition) = &record.value {
            partitions += u64::from(partition.state != PartitionState::Deleted);
            under_way += u64::from(partition.state == PartitionState::Releasing);
        }
    }
    (partitions, under_way)
}

/// Whether a partition was granted, or got or lost processes, within the cooldown: both begin an epoch, and
/// after both its load is yet to be seen. A grant that the history does not hold any
/// more counts as long ago, and so does one from far in the future: a clock was wrong then.
fn granted_lately(state: &State, partition: &Partition, now_ms: u64) -> bool {
    let granted = partition.epoch.and_then(|epoch| state.history().get(epoch.revision));
    let cooldown_ms = state.settings().balance_cooldown_ms;
    granted.is_some_and(|event| now_ms.abs_diff(event.time_ms) < cooldown_ms)
}
