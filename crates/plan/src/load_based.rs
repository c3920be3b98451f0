//! The load-based strategy: the largest process first, each to the partition that has the least.
//!
//! Balances needs well, whatever they are, and looks at no traffic at all. O(n log n + n k).
//!
//! Source: R. Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 1969
//! (longest processing time first).

use std::cmp::Reverse;

use crate::{
    loads::Loads,
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
        let Loads { of, resources } = Loads::of(request.view);
        let loads = |process: u32| &of[process as usize * resources..][..resources];
        let largest = |process: u32| loads(process).iter().copied().max().unwrap_or(0);
        let mut order: Vec<u32> = request.view.numbers().collect();
        order.sort_by_key(|process| (Reverse(largest(*process)), *process));
        let mut sums = vec![0_i64; request.partitions as usize * resources];
        let mut members = vec![0_u32; request.partitions as usize];
        let mut of_process = vec![0; order.len()];
        for process in order {
            let after = |partition: u32| {
                let sums = &sums[partition as usize * resources..][..resources];
                let sums = sums.iter().zip(loads(process)).map(|(sum, load)| sum + load);
                (sums.max().unwrap_or(0), members[partition as usize], partition)
            };
            let partition = (0..request.partitions).min_by_key(|partition| after(*partition));
            let partition = partition.unwrap_or(0);
            let sums = &mut sums[partition as usize * resources..][..resources];
            sums.iter_mut().zip(loads(process)).for_each(|(sum, load)| *sum += load);
            members[partition as usize] += 1;
            of_process[process as usize] = partition;
        }
        Ok(of_process)
    }
}
