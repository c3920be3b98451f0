//! What is known of an assignment in numbers: load, balance and cut.
//!
//! Invariants: integers only, and exact: the imbalance is the floor of the true value, whatever
//! the machine. Must not know how the assignment was found.

use quorate_core::Resources;

use crate::{assignment::Assignment, view::NetworkView};

/// A process that needs a larger part of what a partition has on average can keep loads from being even,
/// parts per million.
pub const COARSE_PPM: u32 = 50_000;

const PPM: u128 = 1_000_000;

/// An assignment in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFacts {
    /// Traffic on edges between different partitions, bytes per second; saturates.
    pub cut_rate: u64,
    /// Traffic on all edges, bytes per second; saturates.
    pub total_rate: u64,
    /// How many edges join different partitions.
    pub cut_edges: u32,
    /// By partition number.
    pub partitions: Vec<PartitionFacts>,
    /// [`imbalance_of_shares_ppm`] of the partitions' loads.
    pub imbalance_ppm: u64,
}

/// One partition in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFacts {
    /// How many processes it has.
    pub processes: u32,
    /// What they need together at their smallest parallelism.
    pub demand: Resources,
    /// Its dominant share of the network's demand, parts per million.
    pub load_ppm: u64,
}

impl PlanFacts {
    /// The numbers of an assignment of this network to partitions of these shares; none: all alike.
    #[must_use]
    pub fn of(view: &NetworkView<'_>, assignment: &Assignment, shares: &[u32]) -> Self {
        let partitions = partition_facts(view, assignment);
        let loads: Vec<u64> = partitions.iter().map(|partition| partition.load_ppm).collect();
        let mut facts = Self {
            cut_rate: 0,
            total_rate: 0,
            cut_edges: 0,
            imbalance_ppm: imbalance_of_shares_ppm(&loads, shares),
            partitions,
        };
        let of_process = assignment.of_process();
        for edge in view.edges() {
            facts.total_rate = facts.total_rate.saturating_add(edge.rate);
            if of_process[edge.from as usize] != of_process[edge.to as usize] {
                facts.cut_rate = facts.cut_rate.saturating_add(edge.rate);
                facts.cut_edges = facts.cut_edges.saturating_add(1);
            }
        }
        facts
    }
}

fn partition_facts(view: &NetworkView<'_>, assignment: &Assignment) -> Vec<PartitionFacts> {
    let empty = PartitionFacts { processes: 0, demand: Resources::default(), load_ppm: 0 };
    let mut partitions = vec![empty; assignment.partitions() as usize];
    for (process, partition) in view.processes().iter().zip(assignment.of_process()) {
        let facts = &mut partitions[*partition as usize];
        facts.processes += 1;
        facts.demand.add(&process.needs, process.parallelism.min);
    }
    let total = view.demand();
    for facts in &mut partitions {
        facts.load_ppm = facts.demand.dominant_share_ppm(&total);
    }
    partitions
}

/// [`imbalance_ppm`] of loads over what they should be in proportion to shares, one per load. No shares:
/// all alike.
#[must_use]
pub fn imbalance_of_shares_ppm(loads: &[u64], shares: &[u32]) -> u64 {
    if shares.is_empty() {
        return imbalance_ppm(loads);
    }
    let total: u128 = shares.iter().map(|share| u128::from(*share)).sum();
    let relative = |(load, share): (&u64, &u32)| {
        let part = u128::from(*share) * shares.len() as u128;
        u64::try_from(u128::from(*load) * total / part.max(1)).unwrap_or(u64::MAX)
    };
    imbalance_ppm(&loads.iter().zip(shares).map(relative).collect::<Vec<_>>())
}

/// Population standard deviation over mean, in parts per million, rounded down. 0 when there are
/// no loads or all are 0. Exact for loads up to 1,000,000 each and saturating beyond.
#[must_use]
pub fn imbalance_ppm(loads: &[u64]) -> u64 {
    // sd / mean = sqrt(k * sum(x^2) - sum(x)^2) / sum(x); the floor of a root is the root of the
    // floor, so everything under the root is divided first.
    let count = loads.len() as u128;
    let sum: u128 = loads.iter().map(|load| u128::from(*load)).sum();
    let squares = loads
        .iter()
        .try_fold(0_u128, |sum, load| sum.checked_add(u128::from(*load) * u128::from(*load)));
    let spread = squares
        .and_then(|squares| squares.checked_mul(count))
        .and_then(|product| product.checked_sub(sum.checked_mul(sum)?))
        .and_then(|spread| spread.checked_mul(PPM * PPM));
    match (spread, sum.checked_mul(sum)) {
        (_, Some(0)) => 0,
        (Some(spread), Some(square)) => {
            u64::try_from((spread / square).isqrt()).unwrap_or(u64::MAX)
        }
        _ => u64::MAX,
    }
}
