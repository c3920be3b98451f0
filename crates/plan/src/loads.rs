//! What processes need, all resources on one scale.
//!
//! Invariant: the loads of one resource add up to [`WHOLE`] at most, and nearly.

use quorate_core::Name;

use crate::view::NetworkView;

/// What all loads of one resource add up to, about: a power of two, so that shares are exact
/// enough and sums stay far from the ends of `i64`.
pub(crate) const WHOLE: i64 = 1 << 40;

/// The loads of all processes. Each counts for what it needs at its smallest parallelism; where
/// nobody needs anything, all count alike.
#[derive(Debug)]
pub(crate) struct Loads {
    /// By process, then by resource.
    pub(crate) of: Vec<i64>,
    /// How many resources there are, at least 1.
    pub(crate) resources: usize,
}

impl Loads {
    pub(crate) fn of(view: &NetworkView<'_>) -> Self {
        let total = view.demand();
        let needed = total.iter().filter(|(_, all)| *all > 0);
        let names: Vec<&Name> = needed.map(|(name, _)| name).collect();
        let mut of = Vec::with_capacity(view.processes().len() * names.len().max(1));
        for process in view.processes() {
            let parallelism = u64::from(process.parallelism.min);
            for name in &names {
                let need = process.needs.get(name).saturating_mul(parallelism);
                of.push(share(need, total.get(name)));
            }
            if names.is_empty() {
                of.push(share(1, u64::from(view.len())));
            }
        }
        Self { of, resources: names.len().max(1) }
    }

    /// The loads of a process, by resource.
    pub(crate) fn of_process(&self, process: u32) -> &[i64] {
        &self.of[process as usize * self.resources..][..self.resources]
    }
}

/// A part of a total, on the scale of [`WHOLE`].
fn share(part: u64, total: u64) -> i64 {
    let whole = u128::from(WHOLE.unsigned_abs());
    let share = u128::from(part.min(total)) * whole / u128::from(total.max(1));
    i64::try_from(share).unwrap_or(WHOLE)
}

/// So much of everything for each of `count` partitions as its share is of all shares; no shares: all
/// alike.
pub(crate) fn targets(count: u32, shares: &[u32]) -> Vec<i64> {
    let all = shares.iter().map(|share| i128::from(*share)).sum::<i128>().max(1);
    let part = |share: &u32| i64::try_from(i128::from(WHOLE) * i128::from(*share) / all);
    match shares {
        [] => vec![WHOLE / i64::from(count.max(1)); count as usize],
        shares => shares.iter().map(|share| part(share).unwrap_or(WHOLE)).collect(),
    }
}
