//! The standard health service: `SERVING` only while this coordinator can answer.

use quorate_core::LogIndex;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::coordinator::Coordinator;

/// Whether a coordinator can answer: it is in contact with a quorum and has applied something, if
/// only the cluster's membership.
#[must_use]
pub fn is_serving(coordinator: &Coordinator) -> bool {
    *coordinator.in_contact().borrow() && coordinator.view().index > LogIndex(0)
}

/// Keeps the health of every service up to date until `shutdown`, when all stop serving.
pub(super) async fn report(
    coordinator: Coordinator,
    reporter: HealthReporter,
    services: &'static [&'static str],
    shutdown: CancellationToken,
) {
    let mut contact = coordinator.in_contact();
    let mut applied = coordinator.applied();
    let mut told = None;
    loop {
        contact.mark_unchanged();
        applied.mark_unchanged();
        let serving = is_serving(&coordinator);
        // Those who watch are told of changes only.
        if told.replace(serving) != Some(serving) {
            set(&reporter, services, serving).await;
        }
        let waits_for_first = coordinator.view().index == LogIndex(0);
        let changed = tokio::select! {
            biased;
            () = shutdown.cancelled() => false,
            changed = contact.changed() => changed.is_ok(),
            changed = applied.changed(), if waits_for_first => changed.is_ok(),
        };
        if !changed {
            if told != Some(false) {
                set(&reporter, services, false).await;
            }
            return end(reporter, services).await;
        }
    }
}

/// Ends the streams of those who watch: they would keep the server from stopping.
async fn end(mut reporter: HealthReporter, services: &[&str]) {
    for service in services {
        reporter.clear_service_status(service).await;
    }
}

async fn set(reporter: &HealthReporter, services: &[&str], serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in services {
        reporter.set_service_status(service, status).await;
    }
}
