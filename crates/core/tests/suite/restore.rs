//! What a restore keeps, and what it takes away.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_core::{
    Allocation, AllocationState, ClusterId, Holder, Identity, Key, Kind, LoadId, Partition,
    PartitionState, Record, RestoreEpoch, State, Versioned, Worker, WorkerState,
};

use crate::generate::{run, steps};

const RESTORED: Identity = Identity { cluster_id: ClusterId(99), restore_epoch: RestoreEpoch(50) };

/// What a restore leaves of a record, by the rules and not by the code.
fn left_of(key: &Key, record: Versioned<Record>, time_ms: u64) -> Option<Versioned<Record>> {
    let of = std::str::from_utf8(&key.bytes).ok().and_then(LoadId::parse);
    let value = match &record.value {
        Record::Session(_) | Record::Member(_) | Record::ConnectionStatus(_) => return None,
        Record::Load(_) if matches!(of, Some(LoadId::Allocation(_))) => return None,
        Record::Entry(entry) if entry.session.is_some() => return None,
        Record::Partition(partition) if partition.state == PartitionState::Deleted => return None,
        Record::Partition(partition) if partition.owner.is_some() => {
            let state = PartitionState::Unassigned;
            Record::Partition(Arc::new(Partition { owner: None, state, ..(**partition).clone() }))
        }
        Record::Allocation(allocation) if matches!(allocation.holder, Holder::Session(_)) => {
            return None;
        }
        Record::Allocation(allocation) if allocation.grant().is_some() => {
            let state = AllocationState::Waiting;
            let waiting_since_ms = time_ms;
            Record::Allocation(Arc::new(Allocation {
                waiting_since_ms,
                state,
                ..(**allocation).clone()
            }))
        }
        Record::Worker(worker) => {
            let state = WorkerState::Down;
            Record::Worker(Arc::new(Worker { session: None, state, ..(**worker).clone() }))
        }
        value => value.clone(),
    };
    Some(Versioned { value, ..record })
}

fn records(state: &State) -> Vec<(Key, Versioned<Record>)> {
    state.records().map(|(key, record)| (key.clone(), record.as_ref().clone())).collect()
}

proptest! {
    #![proptest_config(crate::cases(96))]

    #[test]
    fn a_restored_state_has_the_records_and_goes_on(
        before in steps(40),
        after in steps(20),
    ) {
        let (state, _) = run(&before);
        let mut restored = state.clone().restored(RESTORED);
        prop_assert_eq!(restored.check(), Ok(()));
        prop_assert_eq!(restored.identity(), RESTORED);
        prop_assert_eq!(restored.revision(), state.revision());
        prop_assert!(restored.history().is_empty());
        prop_assert_eq!(restored.history().oldest(), state.revision().next());
        prop_assert_eq!(restored.settings(), state.settings());
        let left = records(&state).into_iter();
        let left = left.filter_map(|(key, record)| {
            let record = left_of(&key, record, state.time_ms())?;
            Some((key, record))
        });
        prop_assert_eq!(left.collect::<Vec<_>>(), records(&restored));
        let internal = Key { kind: Kind::Window, bytes: Bytes::new() };
        prop_assert_eq!(restored.records_from(&internal).count(), 0);
        // The next change is the first of the new history, and every rule holds on.
        for step in &after {
            step.run(&mut restored);
            prop_assert_eq!(restored.check(), Ok(()));
        }
    }

    #[test]
    fn leaving_the_history_behind_changes_no_record(steps in steps(40)) {
        let (state, _) = run(&steps);
        let bare = state.clone().without_history();
        prop_assert_eq!(bare.check(), Ok(()));
        prop_assert_eq!(records(&bare), records(&state));
        prop_assert_eq!((bare.identity(), bare.revision()), (state.identity(), state.revision()));
    }
}
