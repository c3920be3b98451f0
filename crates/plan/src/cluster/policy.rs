//! What placement is to keep to.

use quorate_core::Settings;

use crate::multilevel::Tolerance;

/// What placement is to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalancePolicy {
    /// How far loads of workers may be from their fair share before anything is moved for balance.
    /// Once something is, until they are within four fifths of it, so that the next small change
    /// moves nothing.
    pub tolerance: Tolerance,
    /// How many of all partitions may be moved in one plan, parts per million; at least one.
    /// Partitions that must leave their worker, or have none, do not count.
    pub moved_ppm_max: u32,
    /// How much of all load may be moved in one plan, parts per million; at least one partition.
    pub moved_load_ppm_max: u32,
    /// Nothing is moved for traffic whose gain is below this share of all traffic, parts per million.
    pub gain_ppm_min: u32,
    /// Whether anything is moved that could stay.
    pub moves: Moves,
}

/// What may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// What nobody has.
    Grants,
    /// That, and what must leave its worker.
    Needed,
    /// That, and what is worth it for balance and traffic.
    Worthwhile,
}

impl BalancePolicy {
    /// What the settings of a cluster allow.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let ppm = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            tolerance: Tolerance {
                above_ppm: ppm(settings.balance_above_ppm),
                below_ppm: ppm(settings.balance_below_ppm),
            },
            moved_ppm_max: ppm(settings.balance_moved_ppm_max),
            moved_load_ppm_max: ppm(settings.balance_moved_load_ppm_max),
            gain_ppm_min: ppm(settings.balance_gain_ppm_min),
            moves: Moves::Worthwhile,
        }
    }
}

impl Default for BalancePolicy {
    /// 5% above and 10% below; 5% of partitions and 9% of load in one plan; gains from a ten-thousandth
    /// of all traffic on.
    fn default() -> Self {
        Self {
            tolerance: Tolerance::default(),
            moved_ppm_max: 50_000,
            moved_load_ppm_max: 90_000,
            gain_ppm_min: 100,
            moves: Moves::Worthwhile,
        }
    }
}
