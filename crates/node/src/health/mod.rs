//! What people want to hear, and what is not as it should be.
//!
//! ```text
//! every check's interval: state, members --check--> findings --judge--> recover, raise, clear
//!                                                   (so many in a row)        |
//!                                              alerts in the log <-- SetAlerts
//! ```
//!
//! Owns the health checks ([`HealthCheck`], of which an embedder adds its own to [`Checks`]), when
//! something is an alert and when no longer, telling what happened (`teller`), and posting alerts to
//! where the configuration says (`webhook`).
//!
//! Invariants: what concerns the cluster is checked by the leader alone; each coordinator checks
//! its own machine. A check that fails to answer proves nothing: it neither raises nor clears. A
//! new leader counts afresh, and the alerts that it finds stay until their checks have passed as
//! often as they must, so that nothing is raised or cleared because the leader changed. Alerts are
//! in the log, so what holds is in the state and not here.
//!
//! What it does not do: repair. A check may name a recovery action; none of those built in does.

mod builtin;
mod check;
mod judge;
mod monitor;
mod news;
mod seen;
mod teller;
mod webhook;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    check::{Checks, Finding, Findings, HealthCheck, HealthContext, Pace, Recovery, Scope},
    seen::{CheckSeen, HealthSeen, Told, WebhookSeen},
};
use crate::{clock::Clock, coordinator::Coordinator};
pub(crate) use webhook::Hook;

/// Starts what checks and tells of this coordinator's cluster, until `stop`.
pub(crate) fn start(
    coordinator: &Coordinator,
    (checks, clock): (Checks, Arc<dyn Clock>),
    hook: Option<Hook>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    checks.iter().for_each(|check| coordinator.health_seen().known(check.name()));
    tasks.spawn(teller::run(coordinator.clone(), stop.clone()));
    if let Some(hook) = hook {
        tasks.spawn(webhook::run(coordinator.clone(), hook, stop.clone()));
    }
    tasks.spawn(monitor::run(coordinator.clone(), checks, clock, stop.clone()));
}
