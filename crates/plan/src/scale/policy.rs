//! What an operator may choose about scaling, with its defaults and rules.
//!
//! Invariant: a policy that [`ScalePolicy::check`] accepts divides by nothing and lets every process
//! grow to what it needs in the end.

/// Parts per million in a whole.
pub(super) const WHOLE_PPM: u32 = 1_000_000;

/// How the processes of a network are scaled. The default is the default rule with every option
/// at its default; [`ScalePolicy::rule_only`] has no options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalePolicy {
    /// The load to aim at, in parts per million of capacity: 1 to 1,000,000. Default 700,000.
    pub target_ppm: u32,
    /// How far back observations count, in milliseconds: at least 1. Default 30,000.
    pub window_ms: u64,
    /// What parallelism follows from. Default [`ScaleRule::Load`].
    pub rule: ScaleRule,
    /// How far the load may be beyond a bound before anything changes, in parts per million of the
    /// bound: less than 1,000,000; 0 is none. Default 100,000.
    pub tolerance_ppm: u32,
    /// For how long a recommendation keeps parallelism from going below it, in milliseconds; 0 is not
    /// at all. Default 300,000.
    pub down_stabilisation_ms: u64,
    /// How fast parallelism may grow. None: at once. Default [`UpLimit::default`].
    pub up_limit: Option<UpLimit>,
}

/// What parallelism follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleRule {
    /// The default rule. Above the target, as much more as load is above it; below half of it, half.
    /// A process that is saturated hides how much it lacks, so this may take several rounds.
    Load,
    /// From what instances can process and what the network is offered, in one round. A process
    /// whose rates are not known is scaled by [`ScaleRule::Load`].
    TrueRate {
        /// What becomes of processes on cycles.
        cycles: Cycles,
    },
}

/// What [`ScaleRule::TrueRate`] does about cycles: a network's order of flow ends at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycles {
    /// A strongly connected component is taken for one process, whose members keep their
    /// proportions.
    Condense,
    /// Its members are scaled by [`ScaleRule::Load`]; what they feed is scaled for what they send now.
    FallBack,
}

/// Within any period parallelism becomes at most the larger of `times` as much as its lowest in
/// the period and `plus` more. The default is twice or 4 more, in 15 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpLimit {
    /// How many times as much: at least 1, and at least 2 when `plus` is 0.
    pub times: u32,
    /// How many more.
    pub plus: u32,
    /// In how many milliseconds: at least 1.
    pub period_ms: u64,
}

/// A policy that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {rule}")]
pub struct InvalidScalePolicy {
    /// The field, with those that it is in.
    pub field: &'static str,
    /// What holds for it.
    pub rule: &'static str,
}

impl Default for ScalePolicy {
    fn default() -> Self {
        Self {
            tolerance_ppm: 100_000,
            down_stabilisation_ms: 300_000,
            up_limit: Some(UpLimit::default()),
            ..Self::rule_only()
        }
    }
}

impl Default for UpLimit {
    fn default() -> Self {
        Self { times: 2, plus: 4, period_ms: 15_000 }
    }
}

impl ScalePolicy {
    /// The default rule at the default target without tolerance, down-stabilisation or up limit.
    #[must_use]
    pub fn rule_only() -> Self {
        Self {
            target_ppm: 700_000,
            window_ms: 30_000,
            rule: ScaleRule::Load,
            tolerance_ppm: 0,
            down_stabilisation_ms: 0,
            up_limit: None,
        }
    }

    /// Checks all fields.
    ///
    /// # Errors
    /// [`InvalidScalePolicy`] with the first field that breaks its rule.
    pub fn check(&self) -> Result<(), InvalidScalePolicy> {
        let rule = |holds: bool, field, rule| {
            if holds { Ok(()) } else { Err(InvalidScalePolicy { field, rule }) }
        };
        let target = (1..=WHOLE_PPM).contains(&self.target_ppm);
        rule(target, "target_ppm", "from 1 to 1000000")?;
        rule(self.window_ms > 0, "window_ms", "at least 1")?;
        rule(self.tolerance_ppm < WHOLE_PPM, "tolerance_ppm", "less than 1000000")?;
        let Some(up) = self.up_limit else { return Ok(()) };
        rule(up.times > 0, "up_limit.times", "at least 1")?;
        rule(up.times > 1 || up.plus > 0, "up_limit.times", "at least 2 when up_limit.plus is 0")?;
        rule(up.period_ms > 0, "up_limit.period_ms", "at least 1")
    }
}

impl UpLimit {
    /// The most parallelism, when it was `lowest` in the period.
    pub(super) fn most(self, lowest: u32) -> u32 {
        lowest.saturating_mul(self.times).max(lowest.saturating_add(self.plus))
    }
}
