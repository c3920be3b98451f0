//! The connection manager: retries connections that broke, and gives up those that nobody reports.
//!
//! ```text
//! every connection_interval_ms: state -> timers (what changed since) -> what is due -> ManageConnections
//! ```
//!
//! What exists, and with which owners, follows in apply, at the revision that changes it: this
//! controller only knows how long something has lasted, which no command tells. Every step names the
//! revision of the status that it is due for, so that apply leaves out what was overtaken. A new
//! leader waits for everything from the start: nothing breaks because the leader changed.

mod activity;
#[cfg(test)]
mod tests;
mod timers;

use std::{fmt::Write as _, time::Duration};

use quorate_core::{Command, ConnectionStep, Due, Origin, Reply, Request, State, Term};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use self::activity::Kept;
pub use self::activity::{Connections, ConnectionsHeld};
use self::timers::Timers;
use crate::{coordinator::Coordinator, periodic::Periodic};

/// At most so many steps in one command, and one command an interval.
const STEPS_MAX: usize = 2_000;
/// A proposal without an outcome after so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub(super) async fn run(coordinator: Coordinator, activity: Kept, stop: CancellationToken) {
    let mut manager = Manager { coordinator, activity, term: None, timers: None, batch: STEPS_MAX };
    let mut periodic = Periodic::new(|settings| settings.connection_interval_ms);
    while periodic.next(&manager.coordinator, &stop).await.is_some() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = manager.look() => {}
        }
    }
}

struct Manager {
    coordinator: Coordinator,
    activity: Kept,
    /// The term in which it looked last.
    term: Option<Term>,
    /// None while it does not lead, or is switched off.
    timers: Option<Timers>,
    /// How many steps a command may have: less after one was too large.
    batch: usize,
}

impl Manager {
    async fn look(&mut self) {
        let term = self.coordinator.leads();
        if term.is_none() || term != self.term {
            self.timers = None;
        }
        self.term = term;
        let view = self.coordinator.view();
        let enabled = view.state.settings().connections_enabled != 0;
        let held = match (term, enabled) {
            (None, _) => Some(ConnectionsHeld::NotLeading),
            (_, false) => Some(ConnectionsHeld::Disabled),
            _ => None,
        };
        if held.is_some() {
            self.timers = None;
            self.activity.looked(held, 0);
            return;
        }
        let now = Instant::now();
        let timers = self.timers.get_or_insert_with(Timers::default);
        timers.follow(&view.state, now);
        self.activity.looked(None, timers.len());
        let steps = timers.due(now, self.batch);
        if !steps.is_empty() {
            self.propose(steps).await;
        }
    }

    async fn propose(&mut self, steps: Vec<ConnectionStep>) {
        let (count, reason) = (steps.len(), reason(&steps));
        let origin = Origin { label: "connection-manager".into(), reason: reason.as_str().into() };
        let request = Request { origin, ..Request::from(Command::ManageConnections { steps }) };
        match self.coordinator.propose_here(request, Instant::now() + PATIENCE).await {
            Ok(committed) => match committed.outcome.result {
                Ok(Reply::Changed { changed }) if changed > 0 => {
                    tracing::debug!(changed, reason, "connections were seen to");
                    let view = self.coordinator.view();
                    self.activity.changed(&changes(&view.state, committed.outcome.revision));
                    self.batch = (self.batch * 2).min(STEPS_MAX);
                }
                Ok(_) => {}
                Err(rejection) => {
                    // A limit of the settings, such as the bytes of one command.
                    tracing::warn!(%rejection, steps = count, "steps were rejected");
                    self.activity.refused();
                    self.batch = (count / 2).max(1);
                }
            },
            Err(unanswered) => {
                tracing::debug!(%unanswered, "steps have no outcome; the next look asks again");
            }
        }
    }
}

/// To which states connections came at a revision.
fn changes(state: &State, revision: quorate_core::Revision) -> Vec<quorate_core::ConnectionState> {
    let event = state.history().get(revision).into_iter();
    let statuses = event.flat_map(|event| &event.changes).filter_map(|change| {
        match &change.current.as_ref()?.value {
            quorate_core::Record::ConnectionStatus(status) => Some(status.state),
            _ => None,
        }
    });
    statuses.collect()
}

/// What is due how often, in words.
fn reason(steps: &[ConnectionStep]) -> String {
    let mut words = String::new();
    for (due, what) in [(Due::Retry, "back-off is over"), (Due::TimeOut, "no report in time")] {
        let count = steps.iter().filter(|step| step.due == due).count();
        if count > 0 {
            let comma = if words.is_empty() { "" } else { ", " };
            write!(words, "{comma}{what}: {count}").expect("a String takes everything");
        }
    }
    words
}
