//! The round-robin strategy: processes in topological order, dealt to the partitions in turn.
//!
//! Invariants: partition sizes differ by at most one, unless processes must not meet; neither shares
//! nor the seed are used. Knows nothing of needs or rates, so it balances only networks of similar
//! processes, and it cuts most of the traffic. It is the strategy to compare others with.

use std::cmp::Reverse;

use crate::{
    seating::{Seating, Seats},
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
        let mut dealt = Dealt {
            of_process: vec![0; order.len()],
            members: vec![0; request.partitions as usize],
            turn: 0,
        };
        if request.view.has_conflicts() {
            let each = i64::from(request.view.len() / request.partitions.max(1));
            let targets = vec![each; dealt.members.len()];
            let dealt = Seating::of(request, order, |_| 1, &targets).seat(&dealt)?;
            return Ok(dealt.of_process);
        }
        let turns = (0..request.partitions).cycle();
        for (process, partition) in order.into_iter().zip(turns) {
            dealt.of_process[process as usize] = partition;
        }
        Ok(dealt.of_process)
    }
}

/// What was dealt.
#[derive(Debug, Clone)]
struct Dealt {
    of_process: Vec<u32>,
    members: Vec<u32>,
    /// Whose turn it is.
    turn: u32,
}

impl Seats for Dealt {
    type Rank = (Reverse<u32>, Reverse<u32>);

    /// The one with the fewest, and the next of these.
    fn rank(&self, _: u32, partition: u32) -> Self::Rank {
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let turns = (partition + count - self.turn) % count.max(1);
        (Reverse(self.members[partition as usize]), Reverse(turns))
    }

    fn put(&mut self, process: u32, partition: u32) {
        self.of_process[process as usize] = partition;
        self.members[partition as usize] += 1;
        self.turn = (partition + 1) % u32::try_from(self.members.len()).unwrap_or(u32::MAX).max(1);
    }
}
