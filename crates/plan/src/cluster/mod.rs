//! Placement: which worker has which partition, and what should be moved.
//!
//! ```text
//! State -> ClusterView -> rebalance -> Plan { waves of moves, each with its reason }
//!          ^          \-> explain, what_if_lost
//! ```
//!
//! Objective, in this order: labels, groups, capacities and counts are kept; loads of workers are about their
//! fair shares; partitions that exchange much are near each other; little is moved.
//!
//! Invariants: the same view and policy give the same plan on every machine; every prefix of a plan's
//! moves keeps what workers give.
//!
//! What it does not do: it never swaps partitions between two workers that are both full. Whether something fits
//! depends on what partitions declare; what they were seen to use counts for balance.

mod apart;
mod balance;
mod basis;
mod explain;
mod from_state;
mod mend;
mod misses;
mod near;
mod order;
mod place;
mod policy;
mod rebalance;
mod rejected;
mod rules;
mod traffic;
mod usage;
mod view;

pub use explain::{explain, explain_worker, what_if_lost};
pub use place::{Candidate, place};
pub use policy::{BalancePolicy, Moves};
pub use rebalance::rebalance;
pub use view::{
    ClusterError, ClusterView, DISTANCE_LABELS, PartitionSpec, Traffic, Wish, WorkerSpec,
};
