//! The round-robin strategy: processes in topological order, dealt to the partitions in turn.
//!
//! Invariants: partition sizes differ by at most one; the seed is not used. Knows nothing of
//! needs or rates, so it balances only networks of similar processes, and it cuts most of the
//! traffic. It is the strategy to compare others with.

use crate::{
    strategy::{BalanceStrategy, PartitionRequest, StrategyFailure},
    topology::topological_order,
};

/// Deals processes to partitions in turn. See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin;

impl RoundRobin {
    /// The name it is registered under.
    pub const NAME: &'static str = "round-robin";
}

impl BalanceStrategy for RoundRobin {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn assign(&self, request: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
        let order = topological_order(request.view);
        let mut of_process = vec![0; order.len()];
        let turns = (0..request.partitions).cycle();
        for (process, partition) in order.into_iter().zip(turns) {
            of_process[process as usize] = partition;
        }
        Ok(of_process)
    }
}
