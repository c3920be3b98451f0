//! How a network is applied: choose what its policy leaves open, plan, propose, and plan again
//! when somebody else was faster.
//!
//! ```text
//! spec -> validate -> choose policy -> same as stored? -> UNCHANGED, nothing is proposed
//!                                   -> strategy -> ApplyNetwork { assignment, basis } -> propose
//!          ^                                                                           |
//!          '------------------ STALE_PLAN: read again, at most 4 plans ---------------'
//! ```
//!
//! Invariants: a plan begins with where the network's processes are, unless another strategy is asked
//! for; it is made from a linearizable view, and its basis is the network's record in
//! that view, so that apply refuses it if the network has changed since. The same spec, policy and
//! view give the same plan on every coordinator. Must not know about gRPC, nor how a command is
//! committed.

mod apply;
mod dry_run;
mod planned;
mod reshape;
mod summary;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub use apply::{AppliedNetwork, ApplyError, Wanted, apply_network};
pub use dry_run::{DryRun, dry_run};
pub use planned::{PARTITIONS_DEFAULT, Planned, choose_policy, plan_apply};
pub use reshape::{PlannedReshape, Reshape, plan_reshape, reshaped_at};
pub use summary::{summaries, summary};
