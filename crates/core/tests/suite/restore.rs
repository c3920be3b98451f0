//! What a restore keeps, and what it takes away.

use proptest::prelude::*;
use quorate_core::{ClusterId, Identity, Key, Record, RestoreEpoch, State, Versioned, WorkerState};

use crate::generate::{run, steps};

const RESTORED: Identity = Identity { cluster_id: ClusterId(99), restore_epoch: RestoreEpoch(50) };

/// Whether a restore keeps this record as it is.
fn is_kept(record: &Versioned<Record>) -> bool {
    match &record.value {
        Record::Worker(worker) => worker.state == WorkerState::Down,
        Record::Partition(partition) => partition.owner.is_none(),
        _ => true,
    }
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
        let kept = |records: Vec<(Key, Versioned<Record>)>| {
            records.into_iter().map(|(key, record)| is_kept(&record).then_some((key, record)))
        };
        let (old, new) = (records(&state), records(&restored));
        prop_assert_eq!(old.len(), new.len());
        for (old, new) in kept(old).zip(kept(new)) {
            prop_assert!(new.is_some(), "still granted to somebody");
            prop_assert!(old.is_none() || old == new);
        }
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
