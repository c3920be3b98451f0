//! What controllers have in common that look at the state every so often and propose commands.
//!
//! ```text
//! every interval: leads? held back? -> decide (pure, beside consensus) -> propose here, one by one -> count
//! ```
//!
//! Invariants: a new leader looks for the first time when it has led for one interval, and then knows nothing
//! but the state. What is refused or has no outcome is decided again at the next look.

use std::{sync::Arc, time::Duration};

use quorate_core::{Command, Origin, Request, Settings, State, Term};
use quorate_plan::Strategies;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::activity::Controller;
use crate::{clock::Clock, coordinator::Coordinator, periodic::Periodic};

/// A proposal without an outcome after so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What keeps a controller from acting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// This coordinator does not lead, or not for long enough.
    NotLeading,
    /// Its setting is 0.
    Disabled,
    /// The setting `maintenance` is 1.
    Maintenance,
}

impl Idle {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::NotLeading, Self::Disabled, Self::Maintenance];

    /// As metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotLeading => "not_leading",
            Self::Disabled => "disabled",
            Self::Maintenance => "maintenance",
        }
    }
}

/// The time of a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Milliseconds of a clock that does not go back.
    pub(super) elapsed_ms: u64,
    /// Milliseconds since 1970.
    pub(super) unix_ms: u64,
}

/// What a controller wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    /// The command.
    pub(super) command: Command,
    /// Why, in words.
    pub(super) reason: String,
    /// How often it does what, by [`Controller::actions`].
    pub(super) counts: Vec<(&'static str, u64)>,
}

/// A controller. Its default knows nothing, as that of a new leader.
pub(super) trait Steward: Default + Send + 'static {
    /// Which one it is.
    const CONTROLLER: Controller;

    /// How often it looks.
    fn interval_ms(settings: &Settings) -> u64;

    /// What the settings say against acting.
    fn held(settings: &Settings) -> Option<Idle>;

    /// What is to be done.
    fn decide(&mut self, state: &State, strategies: &Strategies, now: Now) -> Vec<Act>;
}

/// Runs a controller until `stop`.
pub(super) async fn run<S: Steward>(
    coordinator: Coordinator,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut periodic = Periodic::new(S::interval_ms);
    let started = Instant::now();
    let mut office = Office::<S> { coordinator, clock, started, term: None, steward: None };
    while periodic.next(&office.coordinator, &stop).await.is_some() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = office.look() => {}
        }
    }
}

struct Office<S> {
    coordinator: Coordinator,
    clock: Arc<dyn Clock>,
    started: Instant,
    /// The term in which it looked last.
    term: Option<Term>,
    /// None: it has yet to look in this term.
    steward: Option<S>,
}

impl<S: Steward> Office<S> {
    async fn look(&mut self) {
        let term = self.coordinator.leads();
        let new = term != self.term;
        self.term = term;
        if new || term.is_none() {
            self.steward = None;
            return self.looked(Some(Idle::NotLeading));
        }
        let view = self.coordinator.view();
        if let Some(idle) = S::held(view.state.settings()) {
            return self.looked(Some(idle));
        }
        let mut steward = self.steward.take().unwrap_or_default();
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Now { elapsed_ms, unix_ms: self.clock.unix_ms() };
        let strategies = self.coordinator.planner().strategies();
        let decide = move || {
            let acts = steward.decide(&view.state, &strategies, now);
            (steward, acts)
        };
        // That it panicked was reported where it happened.
        let Ok((steward, acts)) = self.coordinator.planner().run(decide).await else { return };
        self.steward = Some(steward);
        for act in acts {
            self.propose(act).await;
        }
        self.looked(None);
    }

    fn looked(&self, idle: Option<Idle>) {
        self.coordinator.activity().note(S::CONTROLLER, |acts| {
            acts.looks += 1;
            acts.held = idle;
        });
    }

    async fn propose(&self, act: Act) {
        let Act { command, reason, counts } = act;
        let controller = S::CONTROLLER.as_str();
        let origin = Origin { label: controller.into(), reason: reason.as_str().into() };
        let request = Request { origin, ..Request::from(command) };
        let activity = self.coordinator.activity();
        match self.coordinator.propose_here(request, Instant::now() + PATIENCE).await {
            Ok(committed) => match committed.outcome.result {
                Ok(_) => {
                    tracing::info!(controller, reason, "a controller acted");
                    activity.note(S::CONTROLLER, |acts| {
                        counts.into_iter().for_each(|(what, count)| {
                            *acts.done.entry(what).or_default() += count;
                        });
                    });
                }
                Err(rejection) => {
                    tracing::debug!(controller, %rejection, "a controller was refused");
                    activity.note(S::CONTROLLER, |acts| acts.refused += 1);
                }
            },
            Err(unanswered) => {
                tracing::debug!(controller, %unanswered, "no outcome; the next look decides again");
            }
        }
    }
}
