//! Pure planners of Quorate: from a specification to a decision, without a side effect.
//!
//! Owns the [`BalanceStrategy`] interface, the strategies that come with Quorate, their
//! [`Strategies`] registry, and the numbers by which their results are compared.
//!
//! ```text
//! NetworkSpec -> NetworkView -> BalanceStrategy -> Assignment -> PartitionPlan { facts }
//! ```
//!
//! Invariants: the same view, partition count and seed give the same plan on every machine;
//! integers only; ties go to the lower number; no recursion, so the depth of a network is no
//! limit. Must not know about Raft, disks, networks, wire formats or clocks.
//!
//! Beside it, [`cluster`] says which worker has which partition and what should be moved, [`scale()`] how
//! many instances of a process there should be, and [`allocate`] who is granted what of a pool.

pub mod allocate;
mod assignment;
pub mod cluster;
mod facts;
mod load_based;
mod loads;
mod merged;
mod multilevel;
mod registry;
mod round_robin;
mod scale;
mod seating;
mod strategy;
mod tags;
mod topology;
mod view;

pub use assignment::{Assignment, MalformedAssignment};
pub use facts::{COARSE_PPM, PartitionFacts, PlanFacts, imbalance_of_shares_ppm, imbalance_ppm};
pub use load_based::LoadBased;
pub use multilevel::{Multilevel, Tolerance};
pub use registry::{DuplicateStrategy, Strategies, UnknownStrategy};
pub use round_robin::RoundRobin;
pub use scale::{
    Cycles, Fallback, Finding, FlowCounts, InvalidScalePolicy, Limit, Observation, ObservedProcess,
    ScaleDecision, ScaleError, ScaleHistory, ScalePolicy, ScaleRequest, ScaleRule, Scaling,
    UpLimit, scale,
};
pub use seating::NoPlace;
pub use strategy::{
    BalanceStrategy, PartitionPlan, PartitionRequest, PlanError, Seed, StrategyFailure, partition,
};
pub use tags::{Tag, TagKey};
pub use topology::topological_order;
pub use view::{Edge, NetworkView, ViewError};
