//! Amounts of resources.
//!
//! Invariant: an amount of 0 is not stored, so that equal resources are equal values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// An amount per resource name, such as `cpu_millis` and `memory_bytes`. Absent means 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Name, u64>")]
pub struct Resources(BTreeMap<Name, u64>);

impl Resources {
    /// Thousandths of a core.
    pub const CPU_MILLIS: &'static str = "cpu_millis";
    /// Bytes of memory.
    pub const MEMORY_BYTES: &'static str = "memory_bytes";

    /// Sets the amount of one resource.
    pub fn set(&mut self, name: Name, amount: u64) {
        if amount == 0 {
            self.0.remove(&name);
        } else {
            self.0.insert(name, amount);
        }
    }

    /// The amount of one resource.
    #[must_use]
    pub fn get(&self, name: &Name) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The amounts that are not 0, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// How many resources have an amount.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether every amount is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `times` x `other`, resource by resource; saturates.
    pub fn add(&mut self, other: &Self, times: u32) {
        for (name, amount) in other.iter() {
            let sum = self.get(name).saturating_add(amount.saturating_mul(u64::from(times)));
            self.set(name.clone(), sum);
        }
    }

    /// The largest share of `total` that any of these amounts is, in parts per million. A resource
    /// of which `total` has nothing counts as 0.
    #[must_use]
    pub fn dominant_share_ppm(&self, total: &Self) -> u64 {
        let share = |(name, amount): (&Name, u64)| match total.get(name) {
            0 => 0,
            all => {
                u64::try_from(u128::from(amount) * 1_000_000 / u128::from(all)).unwrap_or(u64::MAX)
            }
        };
        self.iter().map(share).max().unwrap_or(0)
    }
}

impl FromIterator<(Name, u64)> for Resources {
    fn from_iter<I: IntoIterator<Item = (Name, u64)>>(amounts: I) -> Self {
        let mut resources = Self::default();
        for (name, amount) in amounts {
            resources.set(name, amount);
        }
        resources
    }
}

impl From<BTreeMap<Name, u64>> for Resources {
    fn from(mut amounts: BTreeMap<Name, u64>) -> Self {
        amounts.retain(|_, amount| *amount != 0);
        Self(amounts)
    }
}
