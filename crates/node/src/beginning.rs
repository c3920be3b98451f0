//! The settings that a new cluster begins with: what the file of the member says that forms it.
//!
//! Written once, with preconditions, so that a write that is repeated or comes late changes nothing
//! that is there. A member that fails before it has written them leaves the defaults, and its next
//! start says so.

use std::time::Duration;

use quorate_core::{Origin, Request};
use tokio::time::{Instant, sleep};

use crate::{
    config::InitialSettings,
    coordinator::{Coordinator, Freshness},
};

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The rest after an attempt that failed.
const BACKOFF: Duration = Duration::from_millis(100);

/// Writes them when the cluster is new, then says which are not in force.
pub(crate) async fn run(coordinator: Coordinator, initial: InitialSettings, new: bool) {
    if let Some(command) = initial.command().filter(|_| new) {
        let origin = Origin::new("configuration", "the settings that the cluster begins with");
        let request = Request { origin, ..Request::from(command) };
        loop {
            match coordinator.propose(request.clone(), Instant::now() + PATIENCE).await {
                Ok(committed) => {
                    if let Err(rejection) = committed.outcome.result {
                        tracing::error!(%rejection, "the initial settings were refused");
                    }
                    break;
                }
                Err(unanswered) => tracing::debug!(%unanswered, "initial settings are not written"),
            }
            sleep(BACKOFF).await;
        }
    }
    if initial == InitialSettings::default() {
        return;
    }
    let view = loop {
        match coordinator.read(Freshness::Linearizable, Instant::now() + PATIENCE).await {
            Ok(view) => break view,
            Err(_) => sleep(BACKOFF).await,
        }
    };
    for (setting, configured, in_force) in initial.differing(view.state.settings()) {
        tracing::warn!(
            setting,
            configured,
            in_force,
            "the cluster has another value than this file: `quorate settings set` changes it"
        );
    }
}
