//! The load-based strategy: the largest process first, each to the partition that has the least.
//!
//! What a partition has counts in proportion to its share. Balances needs well, whatever they are, and
//! looks at no traffic at all. O(n log n + n k).
//!
//! Source: R. Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 1969
//! (longest processing time first).

use std::cmp::Reverse;

use crate::{
    loads::{Loads, targets},
    seating::{Seating, Seats},
    strategy::{BalanceStrategy, PartitionRequest, StrategyFailure},
};

/// Fills the emptiest partition. See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadBased;

impl LoadBased {
    /// The name it is registered under.
    pub const NAME: &'static str = "load-based";
}

impl BalanceStrategy for LoadBased {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn assign(&self, request: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
        let loads = Loads::of(request.view);
        let largest = |process: u32| loads.of_process(process).iter().copied().max().unwrap_or(0);
        let mut order: Vec<u32> = request.view.numbers().collect();
        order.sort_by_key(|process| (Reverse(largest(*process)), *process));
        let mut filled = Filled {
            sums: vec![0; request.partitions as usize * loads.resources],
            loads: &loads,
            shares: request.shares,
            members: vec![0; request.partitions as usize],
            empty: request.partitions,
            left: request.view.len(),
            of_process: vec![0; order.len()],
        };
        if request.view.has_conflicts() {
            let targets = targets(request.partitions, request.shares);
            let seating = Seating::of(request, order, largest, &targets);
            return Ok(seating.seat(&filled)?.of_process);
        }
        for process in order {
            let best = (0..request.partitions).max_by_key(|place| filled.rank(process, *place));
            filled.put(process, best.unwrap_or(0));
        }
        Ok(filled.of_process)
    }
}

/// What partitions have.
#[derive(Debug, Clone)]
struct Filled<'a> {
    loads: &'a Loads,
    shares: &'a [u32],
    /// By partition, then by resource.
    sums: Vec<i64>,
    members: Vec<u32>,
    /// How many partitions have nothing.
    empty: u32,
    /// How many processes have no place.
    left: u32,
    of_process: Vec<u32>,
}

impl Filled<'_> {
    fn sums(&self, partition: u32) -> &[i64] {
        &self.sums[partition as usize * self.loads.resources..][..self.loads.resources]
    }

    /// In proportion to a partition's share.
    fn relative(&self, amount: i64, partition: u32) -> i128 {
        match self.shares.get(partition as usize) {
            Some(share) => (i128::from(amount) << 32) / i128::from((*share).max(1)),
            None => amount.into(),
        }
    }
}

impl Seats for Filled<'_> {
    type Rank = (bool, Reverse<i128>, Reverse<i128>, Reverse<u32>);

    /// The one that has the least afterwards, of those that have nothing if all that are left are needed
    /// for these.
    fn rank(&self, process: u32, partition: u32) -> Self::Rank {
        let members = self.members[partition as usize];
        let needed = self.left <= self.empty && members == 0;
        let loads = self.loads.of_process(process);
        let after = self.sums(partition).iter().zip(loads).map(|(sum, load)| sum + load);
        let after = self.relative(after.max().unwrap_or(0), partition);
        let members = self.relative(members.into(), partition);
        (needed, Reverse(after), Reverse(members), Reverse(partition))
    }

    fn put(&mut self, process: u32, partition: u32) {
        let start = partition as usize * self.loads.resources;
        let sums = &mut self.sums[start..start + self.loads.resources];
        let loads = self.loads.of_process(process);
        sums.iter_mut().zip(loads).for_each(|(sum, load)| *sum += load);
        self.empty -= u32::from(self.members[partition as usize] == 0);
        self.left -= 1;
        self.members[partition as usize] += 1;
        self.of_process[process as usize] = partition;
    }
}
