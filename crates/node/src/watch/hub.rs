//! What all streams of a coordinator share: when to look for changes, and how many there may be.
//!
//! The pacer tells every stream of a newer revision. With many streams it waits a little between
//! two tellings, so that one message carries several revisions instead of waking everybody for
//! each. Invariants: the newest revision is always told in the end; a lone change is told at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quorate_core::{LogIndex, Revision};
use quorate_proto::{ErrorDetails, Reason};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status};

use super::group::Groups;
use crate::{config::Limits, coordinator::Coordinator, metrics::StreamMetrics};

/// What one more stream adds to the time between two tellings. A message costs some 15 microseconds
/// from waking the stream to the socket, so telling takes about a quarter of a core at most, and
/// leaves the rest to the writes that are told of.
const PACE_PER_STREAM: Duration = Duration::from_micros(60);

/// The longest time between two tellings.
const PACE_MAX: Duration = Duration::from_millis(100);

/// Below this the timer could not tell the difference.
const PACE_MIN: Duration = Duration::from_millis(1);

/// The change streams of a coordinator. A clone is a handle.
#[derive(Clone)]
pub struct Watches(pub(super) Arc<Hub>);

/// See [`Watches`].
pub(super) struct Hub {
    pub(super) coordinator: Coordinator,
    pub(super) limits: Limits,
    pub(super) metrics: StreamMetrics,
    pub(super) groups: Groups,
    ticks: watch::Sender<Tick>,
    open: AtomicUsize,
}

/// What streams are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tick {
    /// There are views up to this revision.
    pub(super) revision: Revision,
    /// Why every stream must end now.
    pub(super) ended: Option<Ended>,
}

/// Why every stream must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// This coordinator has had no contact with a quorum for too long.
    NoContact,
    /// It is stopping.
    Stopping,
}

impl Watches {
    /// Starts the pacer, which runs until `shutdown`.
    #[must_use]
    pub fn start(
        coordinator: Coordinator,
        limits: Limits,
        metrics: StreamMetrics,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let groups = Groups::new(coordinator.member_id(), metrics.encoded.clone());
        let pacer =
            Pacer { applied: coordinator.applied(), contact: coordinator.in_contact(), shutdown };
        let ticks = watch::Sender::new(Tick { revision: Revision(0), ended: None });
        let open = AtomicUsize::new(0);
        let hub = Arc::new(Hub { coordinator, limits, metrics, groups, ticks, open });
        tasks.spawn(pacer.run(Arc::clone(&hub)));
        Self(hub)
    }
}

impl Hub {
    /// Lets one more stream in.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Permit, Status> {
        let max = self.limits.watchers_max;
        let admitted = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < max).then_some(open + 1)
        });
        if admitted.is_err() {
            self.metrics.refused.inc();
            let message = format!("this coordinator has {max} change streams, the most it allows");
            return Err(ErrorDetails::new(Reason::LimitExceeded, message)
                .with_code(Code::ResourceExhausted)
                .with_field("", format!("limits.watchers_max = {max}"))
                .into());
        }
        self.metrics.watchers.inc();
        Ok(Permit(Arc::clone(self)))
    }

    /// Tells of newer revisions.
    pub(super) fn ticks(&self) -> watch::Receiver<Tick> {
        self.ticks.subscribe()
    }

    /// What a stream is told when it must end.
    pub(super) fn ending(&self, ended: Ended) -> Status {
        let message = match ended {
            Ended::NoContact => "this coordinator has lost contact with the cluster's majority",
            Ended::Stopping => "this coordinator is shutting down",
        };
        let leader = self.coordinator.status().leader;
        ErrorDetails::new(Reason::NoQuorum, message).with_leader(leader).into()
    }

    fn tell(&self, ended: Option<Ended>) {
        let revision = self.coordinator.view().state.revision();
        let tick = Tick { revision, ended };
        self.ticks.send_if_modified(|last| std::mem::replace(last, tick) != tick);
    }

    fn pace(&self) -> Option<Duration> {
        let open = u32::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let pace = PACE_PER_STREAM.saturating_mul(open).min(PACE_MAX);
        (pace >= PACE_MIN).then_some(pace)
    }
}

/// An open stream's place under the limit.
pub(super) struct Permit(pub(super) Arc<Hub>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.watchers.dec();
    }
}

struct Pacer {
    applied: watch::Receiver<LogIndex>,
    contact: watch::Receiver<bool>,
    shutdown: CancellationToken,
}

impl Pacer {
    async fn run(mut self, hub: Arc<Hub>) {
        while self.look(&hub).await {}
        hub.tell(Some(Ended::Stopping));
    }

    /// Tells what there is and waits for more. False: there will be no more.
    async fn look(&mut self, hub: &Hub) -> bool {
        // Seen before the view is loaded: what is published after that wakes the wait below.
        self.applied.mark_unchanged();
        let in_contact = *self.contact.borrow_and_update();
        hub.tell((!in_contact).then_some(Ended::NoContact));
        if let Some(pace) = hub.pace() {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return false,
                () = tokio::time::sleep(pace) => {}
            }
        }
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => false,
            changed = self.applied.changed() => changed.is_ok(),
            changed = self.contact.changed() => changed.is_ok(),
        }
    }
}
