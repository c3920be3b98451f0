//! Removes what nobody else will: workers that are down for long, and wishes for workers that are gone.
//!
//! Everything else that belongs to a record goes with it when it goes: the loads of a worker and of a
//! partition, the partitions and connections of a network, all that a session holds. So there is no more to
//! do. How long a worker has been down is known since this coordinator leads: a new leader begins to
//! count anew. What was done once is not found again; a worker that has come back meanwhile stays.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{
    Command, Key, Kind, Name, PartitionId, PartitionState, Record, Revision, Settings, State,
    WorkerState, plan::Basis,
};
use quorate_plan::Strategies;

use super::{
    activity::Controller,
    steward::{Act, Idle, Now, Steward},
};

/// So many workers, and so many wishes, are removed at a look.
const REMOVED_MAX: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Janitor {
    /// Since when workers have been down, in milliseconds of this coordinator's clock, and by which change:
    /// one that came back and is lost again is down anew.
    down: BTreeMap<Name, (u64, Revision)>,
}

impl Steward for Janitor {
    const CONTROLLER: Controller = Controller::Janitor;

    fn interval_ms(settings: &Settings) -> u64 {
        settings.janitor_interval_ms
    }

    fn held(settings: &Settings) -> Option<Idle> {
        (settings.janitor_enabled == 0).then_some(Idle::Disabled)
    }

    fn decide(&mut self, state: &State, _: &Strategies, now: Now) -> Vec<Act> {
        let mut workers = BTreeSet::new();
        let mut down = BTreeMap::new();
        for (key, record) in state.records_of(Kind::Worker) {
            let name = std::str::from_utf8(&key.bytes).ok().and_then(|text| Name::new(text).ok());
            let (Some(name), Record::Worker(worker)) = (name, &record.value) else { continue };
            if worker.state == WorkerState::Down {
                let known = self.down.get(&name).filter(|(_, by)| *by == record.modified);
                let since = known.map_or(now.elapsed_ms, |(since, _)| *since);
                down.insert(name.clone(), (since, record.modified));
            }
            workers.insert(name);
        }
        self.down = down;
        let after_ms = state.settings().janitor_worker_down_ms;
        let long = self.down.iter().filter(|(_, (since, _))| {
            after_ms > 0 && now.elapsed_ms.saturating_sub(*since) >= after_ms
        });
        let removed = long.take(REMOVED_MAX).map(|(name, _)| Act {
            command: Command::LeaveWorker { name: name.clone(), session: None },
            reason: format!("worker {name} has been down for more than {after_ms} ms"),
            counts: vec![("worker", 1)],
        });
        removed.chain(forget_targets(state, &workers)).collect()
    }
}

/// Partitions are to wait for nobody who is not there.
fn forget_targets(state: &State, workers: &BTreeSet<Name>) -> Option<Act> {
    let waiting = state.records_of(Kind::Partition).filter_map(|(key, record)| {
        let Record::Partition(partition) = &record.value else { return None };
        let gone = partition.target.as_ref().is_some_and(|target| !workers.contains(target));
        let waits = gone && partition.state != PartitionState::Deleted;
        waits.then(|| std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse)).flatten()
    });
    let waiting: Vec<PartitionId> = waiting.take(REMOVED_MAX).collect();
    let first = waiting.first()?;
    let count = waiting.len() as u64;
    let reason = format!("{first} was to go to a worker that is gone; so were {} more", count - 1);
    let basis = Basis::of(state, waiting.iter().map(Key::partition));
    let moves = waiting.into_iter().map(|id| (id, None)).collect();
    Some(Act {
        command: Command::MovePartitions { moves, basis },
        reason,
        counts: vec![("target", count)],
    })
}
