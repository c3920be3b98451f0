//! What holds for every history of commands.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use quorate_core::{
    Applied, ApplyNetwork, Call, Command, Key, Partition, PartitionId, PartitionState, Record,
    Reply, Request, State, Versioned, apply_request, codec,
};

use crate::generate::{IDENTITY, run, steps};

type Records = BTreeMap<Key, Arc<Versioned<Record>>>;

fn records(state: &State) -> Records {
    state.records().map(|(key, record)| (key.clone(), Arc::clone(record))).collect()
}

fn partitions(state: &State) -> impl Iterator<Item = (PartitionId, &Arc<Partition>)> {
    state.records().filter_map(|(key, record)| match &record.value {
        Record::Partition(partition) => Some((key.as_partition()?, partition)),
        _ => None,
    })
}

/// What callers see changed.
fn changed(state: &State, older: &State) -> Vec<Key> {
    let mut keys = state.changed_since(older);
    keys.retain(|key| !key.kind.is_internal());
    keys
}

proptest! {
    #![proptest_config(crate::cases(96))]

    #[test]
    fn invariants_hold_after_every_command(steps in steps(40)) {
        let mut state = State::new(IDENTITY);
        for step in &steps {
            let (logged, _) = step.run(&mut state);
            prop_assert_eq!(state.check(), Ok(()), "after {:?}", logged.request);
        }
    }

    #[test]
    fn a_replay_gives_the_same_state_and_the_same_outcomes(steps in steps(40)) {
        let (mut state, mut replica) = (State::new(IDENTITY), State::new(IDENTITY));
        for step in &steps {
            let (logged, applied) = step.run(&mut state);
            // As the replica gets it: through the log.
            let request: Request = codec::decode(&codec::encode(&logged.request)).unwrap();
            prop_assert_eq!(&applied, &apply_request(&mut replica, logged.at, &request));
            prop_assert_eq!(state.hash(), replica.hash());
        }
        prop_assert_eq!(records(&state), records(&replica));
        let oldest = state.history().oldest();
        prop_assert_eq!(oldest, replica.history().oldest());
        prop_assert!(state.history().from(oldest).eq(replica.history().from(oldest)));
    }

    #[test]
    fn folding_the_events_gives_the_state(steps in steps(40)) {
        let mut state = State::new(IDENTITY);
        let mut folded = Records::new();
        for step in &steps {
            let (before, known) = (state.revision(), state.clone());
            let (logged, applied) = step.run(&mut state);
            // A repeat is told what came of it then.
            let repeats = |call: &Call| known.kept_reply(call).is_some();
            if logged.request.call.as_ref().is_some_and(repeats) {
                prop_assert!(applied.outcome.revision <= before && applied.event.is_none());
            } else {
                prop_assert_eq!(applied.outcome.revision, state.revision());
            }
            let Some(event) = applied.event else {
                prop_assert_eq!(before, state.revision());
                continue;
            };
            prop_assert_eq!(before.next(), event.revision);
            prop_assert_eq!(Some(&event), state.history().get(event.revision));
            for change in &event.changes {
                let previous = match &change.current {
                    Some(record) => folded.insert(change.key.clone(), Arc::clone(record)),
                    None => folded.remove(&change.key),
                };
                prop_assert_eq!(&previous, &change.previous);
                prop_assert_eq!(change.created(), previous.is_none());
            }
        }
        prop_assert_eq!(folded, records(&state));
    }

    #[test]
    fn an_epoch_stands_for_one_set_of_processes(steps in steps(60)) {
        let mut state = State::new(IDENTITY);
        let (mut sets, mut runs) = (BTreeMap::new(), BTreeMap::new());
        for step in &steps {
            step.run(&mut state);
            for (id, partition) in partitions(&state) {
                let (Some(owner), Some(epoch)) = (&partition.owner, partition.epoch) else { continue };
                let processes = match partition.state {
                    PartitionState::Deleted => Vec::new(),
                    _ => partition.processes.iter().map(|it| it.id.clone()).collect(),
                };
                for process in &processes {
                    let now = (epoch, id.clone(), owner.session);
                    let key = (id.network.clone(), process.clone());
                    let before = runs.insert(key, now.clone()).unwrap_or_else(|| now.clone());
                    // Whoever gets a process, from whomever, has a higher epoch.
                    prop_assert!(before == now || before.0 < now.0, "{before:?}, {now:?}");
                }
                let before = sets.entry((id, epoch)).or_insert_with(|| processes.clone());
                prop_assert_eq!(&*before, &processes);
            }
        }
    }

    #[test]
    fn what_is_rejected_or_only_read_changes_nothing(steps in steps(40)) {
        let mut state = State::new(IDENTITY);
        for step in &steps {
            let before = state.clone();
            let (_, applied) = step.run(&mut state);
            prop_assert!(applied.outcome.result.is_ok() || applied.event.is_none());
            if applied.event.is_none() {
                prop_assert_eq!(records(&before), records(&state));
                prop_assert_eq!(before.revision(), state.revision());
                prop_assert_eq!(before.settings(), state.settings());
                prop_assert!(changed(&state, &before).is_empty());
            }
        }
    }

    #[test]
    fn what_changed_is_what_differs(steps in steps(40), split in 0..40_usize) {
        let (early, late) = steps.split_at(split.min(steps.len()));
        let (mut state, _) = run(early);
        let older = state.clone();
        late.iter().for_each(|step| drop(step.run(&mut state)));
        let (old, new) = (records(&older), records(&state));
        let keys = old.keys().chain(new.keys());
        let differing: std::collections::BTreeSet<_> =
            keys.filter(|key| old.get(*key) != new.get(*key)).cloned().collect();
        prop_assert!(changed(&state, &older).into_iter().eq(differing));
    }

    #[test]
    fn history_starts_anywhere(steps in steps(60)) {
        let (state, _) = run(&steps);
        let history = state.history();
        let (oldest, end) = (history.oldest().0, state.revision().0);
        for from in oldest..=end + 1 {
            let revisions = history.from(quorate_core::Revision(from)).map(|event| event.revision.0);
            prop_assert!(revisions.eq(from..=end));
        }
        prop_assert_eq!(history.len() as u64, end + 1 - oldest);
        prop_assert!(history.get(quorate_core::Revision(end + 1)).is_none());
        prop_assert!(history.get(quorate_core::Revision(oldest.wrapping_sub(1))).is_none());
    }
}

/// The states that connections came to.
fn statuses(applied: &Applied) -> impl Iterator<Item = String> {
    let changes = applied.event.iter().flat_map(|event| &event.changes);
    changes.filter_map(|change| match &change.current.as_ref()?.value {
        Record::ConnectionStatus(status) => Some(status.state.as_str().to_owned()),
        _ => None,
    })
}

/// What the generators must come to.
const SORTS: &[&str] = &[
    "succeeded true",
    "succeeded false",
    "Created",
    "Updated",
    "constrained true",
    "deleted",
    "INVALID_FIELD",
    "LIMIT_EXCEEDED",
    "NOT_FOUND",
    "opened",
    "done",
    "changed true",
    "changed false",
    "reported false",
    "connecting",
    "SESSION_EXPIRED",
    "SERIAL_TOO_OLD",
    "STALE_EPOCH",
    "PRECONDITION_FAILED",
    "ALREADY_EXISTS",
    "STALE_PLAN",
    "CAPACITY_EXCEEDED",
    "requested",
    "session waits",
    "session has a grant",
    "session is asked back",
    "partition waits",
    "partition has a grant",
    "partition is asked back",
    "required waits",
    "required has a grant",
    "scaled true",
    "trimmed true",
];

/// The generators must reach what the properties are about.
#[test]
fn the_generated_commands_are_of_every_sort() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..600 {
        let steps = steps(50).new_tree(&mut runner).unwrap().current();
        let mut state = State::new(IDENTITY);
        for step in &steps {
            let (logged, applied) = step.run(&mut state);
            let constrained = match &logged.request.command {
                Command::ApplyNetwork(ApplyNetwork { spec, .. }) => {
                    spec.processes.iter().any(|it| it.affinity.is_some() && it.requires.is_empty())
                        && spec.processes.iter().any(|it| it.anti_affinity.is_some())
                        && applied.outcome.result.is_ok()
                }
                _ => false,
            };
            *seen.entry(format!("constrained {constrained}")).or_default() += 1;
            statuses(&applied).for_each(|state| *seen.entry(state).or_default() += 1);
            let scales = matches!(logged.request.command, Command::ScaleProcesses(_));
            let scaled = scales && applied.event.is_some();
            *seen.entry(format!("scaled {scaled}")).or_default() += 1;
            let sort = match applied.outcome.result {
                Err(rejection) => rejection.reason.to_string(),
                Ok(Reply::Transaction(reply)) => format!("succeeded {}", reply.succeeded),
                Ok(Reply::ApplyNetwork { outcome, .. }) => format!("{outcome:?}"),
                Ok(Reply::DeleteNetwork { .. }) => "deleted".into(),
                Ok(Reply::OpenSession { .. }) => "opened".into(),
                Ok(Reply::Done) => "done".into(),
                Ok(Reply::RequestAllocation { .. }) => "requested".into(),
                Ok(Reply::Changed { changed }) => format!("changed {}", changed > 0),
                Ok(Reply::ReportConnections { changed, .. }) => {
                    format!("reported {}", changed > 0)
                }
            };
            *seen.entry(sort).or_default() += 1;
            for (sort, count) in crate::pools::states(&state) {
                *seen.entry(sort).or_default() += count;
            }
            let trimmed = state.history().oldest().0 > 1;
            *seen.entry(format!("trimmed {trimmed}")).or_default() += 1;
        }
    }
    for sort in SORTS {
        assert!(seen.get(*sort).is_some_and(|count| *count >= 20), "{sort}: {seen:?}");
    }
}
