//! `dev`: three coordinators on this machine with one command.
//!
//! ```text
//! layout (directory, ports, files) -> coordinators (here or as processes) -> ready -> follow -> stop
//! ```
//!
//! Owns the cluster's life: whatever is started here is stopped here, and a temporary directory
//! goes last.

mod coordinators;
mod events;
mod layout;
mod processes;
mod welcome;

use std::time::Duration;

use anyhow::Result;
use quorate_client::Client;
use tokio::time::{self, Instant, MissedTickBehavior};

use self::{coordinators::Coordinators, events::leader, layout::Layout, welcome::Welcome};
use crate::{
    args::{Dev, LogFormat},
    commands::{Context, status::Probe},
    failure::{Exit, Failure},
    logging,
    output::cluster::StatusRow,
    signals::StopSignal,
};

/// How often the coordinators are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long a coordinator may take to say how it is.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the cluster may take to serve.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// What is logged when nothing else is said: what happens is told by the events.
const LOG_DEFAULT: &str = "warn";

/// Runs a local cluster until it is asked to stop.
///
/// # Errors
/// When it cannot start, or does not go on.
pub(crate) async fn run(context: &Context, args: Dev) -> Result<()> {
    let mut stop = StopSignal::install()?;
    let filter = args.logging.log.as_deref().unwrap_or(LOG_DEFAULT);
    logging::install(filter, args.logging.log_format.unwrap_or(LogFormat::Text))?;
    let layout = Layout::open(args.dir.as_deref(), args.base_port)?;
    let mut coordinators = Coordinators::start(&layout, &args)?;
    let result = tokio::select! {
        result = follow(context, &layout, &mut coordinators) => result,
        why = stop.requested() => {
            tracing::info!(why, "stopping");
            Ok(())
        }
    };
    coordinators.stop().await;
    let dir = layout.dir.clone();
    if let Err(error) = layout.close() {
        tracing::warn!(dir = %dir.display(), %error, "the temporary directory was not removed");
    }
    result
}

/// Waits until the cluster serves, says so, and tells what happens from then on.
async fn follow(context: &Context, layout: &Layout, coordinators: &mut Coordinators) -> Result<()> {
    let mut config = context.client_config();
    config.endpoints = layout.endpoints();
    let probe = Probe::new(config.clone()).map_err(|error| context.explain(&error))?;
    let client = Client::new(config).map_err(|error| context.explain(&error))?;
    let mut rows = tokio::select! {
        rows = ready(&probe, &client) => rows?,
        failure = coordinators.failed() => return Err(failure.into()),
    };
    let leads = leader(&rows).map_or(0, |(member_id, _)| member_id);
    let welcome = Welcome::new(layout, coordinators.pids(), leads);
    context.output.one(&welcome.text(), &welcome)?;

    let mut looks = time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let now = probe.ask_all(LOOK_TIMEOUT).await;
                for event in events::between(&rows, &now) {
                    context.output.one(&event.line(), &event)?;
                }
                rows = now;
            }
            failure = coordinators.failed() => return Err(failure.into()),
        }
    }
}

/// Waits until all coordinators answer, and one of them serves a linearizable read.
async fn ready(probe: &Probe, client: &Client) -> Result<Vec<StatusRow>> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let rows = probe.ask_all(LOOK_TIMEOUT).await;
        let answering = rows.iter().all(|row| row.error.is_none());
        if answering
            && leader(&rows).is_some()
            && client.members().timeout(LOOK_TIMEOUT).await.is_ok()
        {
            return Ok(rows);
        }
        if Instant::now() >= deadline {
            let error = rows.into_iter().find_map(|row| row.error).unwrap_or_default();
            let message = format!("the cluster does not serve after {READY_TIMEOUT:?}: {error}");
            return Err(Failure::new(Exit::Unavailable, message)
                .hint("--log info shows what the coordinators do")
                .into());
        }
        time::sleep(LOOK_INTERVAL).await;
    }
}
