//! Observed loads: collected here as workers report them, written in batches when they changed
//! enough.
//!
//! ```text
//! reports --> newest of each --> every load_report_interval_ms: what changed enough,
//!                                                 as one command (more when it would be too large)
//! ```
//!
//! Invariants: what is kept is the newest report of what its session holds, so it is bounded by
//! what there is; what is lost with this coordinator is reported again. A load that was written before its
//! partition changed is written again, and one that was reported before is not written. Every coordinator
//! writes what was reported to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_core::{
    Command, Key, Load, LoadId, Origin, PartitionState, Record, Request, Revision, SessionId, State,
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{coordinator::Coordinator, periodic::Periodic};

/// Loads in one command, at most.
const BATCH_MAX: usize = 10_000;
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A load is written again when it differs by this share of what was written last,
const SHARE: u64 = 20;
/// and by no less than this, in parts per million.
const DIFFERENCE_MIN_PPM: u64 = 10_000;

/// The loads that were reported and not written yet. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loads(Arc<Mutex<BTreeMap<LoadId, Reported>>>);

/// What a session said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reported {
    by: SessionId,
    load: Load,
    /// How far the state was that the report was checked against.
    seen: Revision,
}

impl Loads {
    /// Starts to write what is reported, until `stop`.
    pub(crate) fn start(
        coordinator: Coordinator,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let loads = Self::default();
        tasks.spawn(loads.clone().run(coordinator, stop));
        loads
    }

    /// Takes a report. The caller checked that the session holds what it reports ([`holds`]).
    pub(crate) fn report(
        &self,
        by: SessionId,
        seen: Revision,
        loads: impl IntoIterator<Item = (LoadId, Load)>,
    ) {
        let reported = loads.into_iter().map(|(id, load)| (id, Reported { by, load, seen }));
        self.0.lock().extend(reported);
    }

    async fn run(self, coordinator: Coordinator, stop: CancellationToken) {
        let mut periodic = Periodic::new(|settings| settings.load_report_interval_ms);
        while periodic.next(&coordinator, &stop).await.is_some() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.write(&coordinator) => {}
            }
        }
    }

    async fn write(&self, coordinator: &Coordinator) {
        let mut reported = std::mem::take(&mut *self.0.lock());
        let (changes_max, due) = {
            let state = &coordinator.view().state;
            reported.retain(|id, reported| due(state, id, *reported));
            (state.settings().command_changes_max, reported)
        };
        let batch = BATCH_MAX.min(usize::try_from(changes_max).unwrap_or(BATCH_MAX));
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let batch: BTreeMap<_, _> = due.by_ref().take(batch).collect();
            if let Err(error) = propose(coordinator, &batch).await {
                tracing::debug!(%error, "loads were not written; they are with the next batch");
                return self.put_back(batch.into_iter().chain(due));
            }
        }
    }

    /// For the next batch, unless there are newer ones by now.
    fn put_back(&self, reported: impl Iterator<Item = (LoadId, Reported)>) {
        let mut waiting = self.0.lock();
        for (id, reported) in reported {
            waiting.entry(id).or_insert(reported);
        }
    }
}

async fn propose(
    coordinator: &Coordinator,
    batch: &BTreeMap<LoadId, Reported>,
) -> Result<(), crate::coordinator::Unanswered> {
    let loads = batch.iter().map(|(id, reported)| (id.clone(), reported.load)).collect();
    let origin = Origin { label: "loads".into(), reason: "".into() };
    let request = Request { origin, ..Request::from(Command::ReportLoads { loads }) };
    let committed = coordinator.propose(request, Instant::now() + PATIENCE).await?;
    if let Err(rejection) = committed.outcome.result {
        // Only a limit can be in the way: tried again it would be there again.
        tracing::warn!(%rejection, loads = batch.len(), "a batch of loads was rejected");
    }
    Ok(())
}

/// Whether a session holds what a load is of.
pub(crate) fn holds(state: &State, session: SessionId, of: &LoadId) -> bool {
    match of {
        LoadId::Worker(name) => {
            state.worker(name).is_some_and(|worker| worker.session == Some(session))
        }
        LoadId::Partition(id) => state.partition(id).is_some_and(|partition| {
            partition.state != PartitionState::Deleted
                && partition.owner.as_ref().is_some_and(|owner| owner.session == session)
        }),
        LoadId::Allocation(id) => state
            .allocation(id)
            .and_then(|allocation| allocation.grant())
            .is_some_and(|grant| grant.session == session),
    }
}

/// Whether a report is to be written.
fn due(state: &State, id: &LoadId, reported: Reported) -> bool {
    let changed = match id {
        LoadId::Partition(id) => state.get(&Key::partition(id)).map(|record| record.modified),
        LoadId::Worker(_) | LoadId::Allocation(_) => None,
    };
    let changed = changed.unwrap_or_default();
    let written = match state.get(&Key::load(id)) {
        // What was written before the partition changed says nothing of how it is now.
        Some(record) if record.modified > changed => match &record.value {
            Record::Load(load) => Some(*load),
            _ => None,
        },
        _ => None,
    };
    let is_of_now = reported.seen >= changed;
    is_of_now && holds(state, reported.by, id) && is_significant(written, reported.load)
}

/// Whether a load differs enough from the one written last.
fn is_significant(written: Option<Load>, now: Load) -> bool {
    written.is_none_or(|written| {
        let enough = (written.load_ppm / SHARE).max(DIFFERENCE_MIN_PPM);
        now.load_ppm.abs_diff(written.load_ppm) >= enough
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_enough_is_written() {
        let load = |load_ppm| Load { load_ppm };
        let significant = |written, now| is_significant(Some(load(written)), load(now));
        assert!(is_significant(None, load(0)), "the first");
        assert!(!significant(500_000, 500_000));
        assert!(!significant(500_000, 524_999) && significant(500_000, 525_000));
        assert!(!significant(500_000, 475_001) && significant(500_000, 475_000));
        assert!(
            !significant(100, 10_099) && significant(100, 10_100),
            "little of little is little"
        );
        assert!(significant(u64::MAX, 0) && significant(0, u64::MAX));
    }
}
