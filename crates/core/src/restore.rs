//! What becomes of a state that leaves its cluster: in a backup, and in the cluster that is
//! restored from it.
//!
//! Invariants: records and revision are those of the state that was saved, so that created and
//! modified revisions stay true; nothing that was granted before a restore is in force after it:
//! partitions have no owners, and workers are down until they register again. Epochs stay where
//! they were: the next grant's is larger, since it has the new restore epoch.

use std::sync::Arc;

use crate::{
    hash,
    history::History,
    key::Key,
    record::{Partition, PartitionState, Record, Versioned, Worker, WorkerState},
    state::{Identity, State},
};

impl State {
    /// The same without the changes that led here: streams start after its revision.
    #[must_use]
    pub fn without_history(mut self) -> Self {
        self.history = History::starting_at(self.revision.next());
        self
    }

    /// What a cluster with this identity begins with when it is restored from this state: the same
    /// revision and records, but for what was granted to somebody, and no history. The identity's
    /// restore epoch is larger than this state's.
    #[must_use]
    pub fn restored(mut self, identity: Identity) -> Self {
        let changed: Vec<_> =
            self.records().filter_map(|(key, record)| released(key, record)).collect();
        for (key, record) in changed {
            self.replace(key, record);
        }
        self.identity = identity;
        self.without_history()
    }

    /// Puts another record in the place of one, outside of the order of changes.
    fn replace(&mut self, key: Key, record: Versioned<Record>) {
        let before = hash::optional(&key, self.get(&key).map(AsRef::as_ref));
        self.sum = self.sum.wrapping_sub(before).wrapping_add(hash::record(&key, &record));
        self.records.insert(key, Arc::new(record));
    }
}

/// The record without what was granted; None: there is nothing to change.
fn released(key: &Key, record: &Versioned<Record>) -> Option<(Key, Versioned<Record>)> {
    let value = match &record.value {
        Record::Worker(worker) if worker.state != WorkerState::Down => {
            Record::Worker(Arc::new(Worker { state: WorkerState::Down, ..Worker::clone(worker) }))
        }
        Record::Partition(partition) if partition.owner.is_some() => {
            let free = Partition {
                owner: None,
                state: PartitionState::Unassigned,
                ..Partition::clone(partition)
            };
            Record::Partition(Arc::new(free))
        }
        _ => return None,
    };
    Some((key.clone(), Versioned { value, ..record.clone() }))
}
