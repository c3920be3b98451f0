//! What people want to hear, and what is not as it should be.
//!
//! Owns telling what happened (events, [`teller`]). Must not know how anything is repaired.

mod seen;
mod teller;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::seen::{HealthSeen, Told};
use crate::coordinator::Coordinator;

/// Starts what tells of this coordinator's cluster, until `stop`.
pub(crate) fn start(coordinator: &Coordinator, tasks: &TaskTracker, stop: &CancellationToken) {
    tasks.spawn(teller::run(coordinator.clone(), stop.clone()));
}
