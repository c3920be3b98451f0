//! Grants partitions that nobody owns to workers that take them.
//!
//! Wakes when a newer view is published, looks at what changed, and proposes one command at a
//! time. A write that concerns neither workers nor partitions costs it a glance.

use std::time::Duration;

use quorate_core::{Command, Grant, Origin, Reply, Request};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use crate::coordinator::{Coordinator, Unanswered};

/// At most so many grants in one command.
const GRANTS_MAX: usize = 1_000;
/// The rest between two looks: what arrives in a burst is granted together, and evenly.
const PAUSE: Duration = Duration::from_millis(10);
/// The rest after a proposal that failed.
const BACKOFF: Duration = Duration::from_millis(200);
/// A proposal without an outcome after so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub(super) async fn run(coordinator: Coordinator, stop: CancellationToken) {
    let mut assigner = Assigner { coordinator, ledger: None, batch: GRANTS_MAX };
    let mut applied = assigner.coordinator.applied();
    loop {
        applied.mark_unchanged();
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = assigner.look() => next,
        };
        let (rest, again) = match next {
            Next::Wait => (PAUSE, false),
            Next::Again => (PAUSE, true),
            Next::Retry => (BACKOFF, true),
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
        if again {
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

struct Assigner {
    coordinator: Coordinator,
    /// None while this coordinator does not lead.
    ledger: Option<Ledger>,
    /// How many grants a command may have: less after one was too large.
    batch: usize,
}

/// When to look again.
enum Next {
    /// When something has changed.
    Wait,
    /// Soon: there is more to do.
    Again,
    /// A little later.
    Retry,
}

impl Assigner {
    async fn look(&mut self) -> Next {
        let view = self.coordinator.view();
        if self.coordinator.leads().is_none() {
            self.ledger = None;
            return Next::Wait;
        }
        let max = view.state.settings().command_changes_max;
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(GRANTS_MAX);
        let mut ledger = self.ledger.take().unwrap_or_else(|| Ledger::of(&view.state));
        ledger.follow(&view.state);
        if !ledger.has_work() {
            self.ledger = Some(ledger);
            return Next::Wait;
        }
        // With many partitions that takes a while.
        let plan = move || {
            let grants = ledger.grants(&view.state);
            (ledger, grants)
        };
        let Ok((ledger, grants)) = self.coordinator.planner().run(plan).await else {
            return Next::Retry;
        };
        self.ledger = Some(ledger);
        self.propose_all(grants, max).await
    }

    /// Proposes the grants of one plan, command by command. Those that do not fit any more when they are
    /// applied are left out there.
    async fn propose_all(&mut self, mut grants: Vec<Grant>, max: usize) -> Next {
        let (mut next, mut refused) = (Next::Wait, false);
        while !grants.is_empty() {
            let count = self.batch.min(max).min(grants.len()).max(1);
            next = self.propose(grants.drain(..count).collect()).await;
            // One grant that is refused keeps no other back; without an answer, all is planned again.
            match next {
                Next::Retry if self.ledger.is_some() => refused = true,
                Next::Retry => return next,
                Next::Again | Next::Wait => {}
            }
        }
        if refused { Next::Retry } else { next }
    }

    async fn propose(&mut self, grants: Vec<Grant>) -> Next {
        let count = grants.len();
        let origin = Origin { label: "assigner".into(), reason: "".into() };
        let command = Command::AssignPartitions { grants };
        let request = Request { origin, ..Request::from(command) };
        let deadline = Instant::now() + PATIENCE;
        match self.coordinator.propose_here(request, deadline).await {
            Ok(committed) => match committed.outcome.result {
                Ok(Reply::Changed { changed }) => {
                    tracing::debug!(granted = changed, "partitions granted");
                    self.batch = (self.batch * 2).min(GRANTS_MAX);
                    Next::Again
                }
                Ok(_) => Next::Again,
                Err(rejection) => {
                    // A limit of the settings, such as the bytes of one command.
                    self.batch = (count / 2).max(1);
                    tracing::warn!(%rejection, grants = count, "grants were rejected");
                    if count == 1 { Next::Retry } else { Next::Again }
                }
            },
            Err(unanswered) => {
                self.ledger = None;
                report(&unanswered);
                Next::Retry
            }
        }
    }
}

fn report(unanswered: &Unanswered) {
    tracing::debug!(%unanswered, "grants have no outcome; they are planned again");
}
