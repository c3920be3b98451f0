//! Controllers: what the leader does without being asked.
//!
//! ```text
//! newest view --> ledger (what changed since the last look) --> plan (pure) --> propose, here only
//! ```
//!
//! Invariants: only the leader acts, once it has applied an entry of its own term, and what it
//! decides is never forwarded; a controller holds no truth, all that it knows follows from the
//! state, so that a new leader goes on where the old one stopped, and moves nothing because it is
//! new. Apply checks every decision again: one that the state has overtaken changes nothing.

mod activity;
mod assigner;
pub(crate) mod balancer;
mod changes;
mod connections;
mod distributor;
mod janitor;
mod ledger;
mod partitioner;
pub(crate) mod scaler;
mod steward;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    activity::{Activity, Acts, Balancer, Controller, Distribution},
    balancer::{Held, Why},
    connections::{Connections, ConnectionsHeld},
    steward::Idle,
};
use crate::{clock::Clock, coordinator::Coordinator};

/// Starts all controllers of this coordinator; they act while it leads, until `stop`.
pub(crate) fn start(
    coordinator: &Coordinator,
    clock: Arc<dyn Clock>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    tasks.spawn(assigner::run(coordinator.clone(), stop.clone()));
    let activity = coordinator.activity().clone();
    let (connections, distributed) = (activity.connections.clone(), activity.clone());
    tasks.spawn(balancer::run(coordinator.clone(), clock.clone(), activity, stop.clone()));
    tasks.spawn(connections::run(coordinator.clone(), connections, stop.clone()));
    tasks.spawn(distributor::run(coordinator.clone(), clock.clone(), distributed, stop.clone()));
    let (here, time) = (coordinator, &clock);
    tasks.spawn(steward::run::<scaler::Scaler>(here.clone(), time.clone(), stop.clone()));
    tasks.spawn(steward::run::<partitioner::Partitioner>(here.clone(), time.clone(), stop.clone()));
    tasks.spawn(steward::run::<janitor::Janitor>(here.clone(), time.clone(), stop.clone()));
}
