//! Notices tell what the state went through, whatever the commands.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_core::{
    Event, Key, Kind, Notice, NoticeKind, Record, State, WorkerState, codec, notice,
};

use crate::generate::{IDENTITY, steps};

/// What a state says of workers and partitions: who is there, and who owns what.
fn facts(state: &State) -> (BTreeMap<Key, WorkerState>, BTreeMap<Key, String>) {
    let (mut workers, mut owners) = (BTreeMap::new(), BTreeMap::new());
    for (key, record) in state.records() {
        match &record.value {
            Record::Worker(worker) => {
                workers.insert(key.clone(), worker.state);
            }
            Record::Partition(partition) => {
                let owner = partition.owner.as_ref().map(|owner| owner.worker.to_string());
                owners.extend(owner.map(|owner| (key.clone(), owner)));
            }
            _ => {}
        }
    }
    (workers, owners)
}

/// What a listener who only hears notices believes.
fn hear(
    notice: &Notice,
    workers: &mut BTreeMap<Key, WorkerState>,
    owners: &mut BTreeMap<Key, String>,
) {
    let of = |kind| Key { kind, bytes: notice.subject.clone().into() };
    let mut worker = |state| {
        workers.insert(of(Kind::Worker), state);
    };
    match notice.kind {
        NoticeKind::WorkerJoined | NoticeKind::WorkerActive => worker(WorkerState::Active),
        NoticeKind::WorkerDraining => worker(WorkerState::Draining),
        NoticeKind::WorkerLost => worker(WorkerState::Down),
        NoticeKind::WorkerLeft => {
            workers.remove(&of(Kind::Worker)).expect("it was there");
        }
        NoticeKind::PartitionAssigned | NoticeKind::PartitionRecovered => {
            let owner = notice.worker.as_ref().expect("an owner").to_string();
            owners.insert(of(Kind::Partition), owner);
        }
        NoticeKind::PartitionReleased | NoticeKind::PartitionFailed => {
            owners.remove(&of(Kind::Partition)).expect("it had an owner");
        }
        _ => {}
    }
}

fn count(event: &Event, kind: Kind) -> usize {
    event.changes.iter().filter(|change| change.key.kind == kind).count()
}

proptest! {
    #![proptest_config(crate::cases(96))]

    #[test]
    fn whoever_hears_all_notices_knows_who_owns_what(steps in steps(60)) {
        let mut state = State::new(IDENTITY);
        let (mut workers, mut owners) = (BTreeMap::new(), BTreeMap::new());
        for step in &steps {
            let (_, applied) = step.run(&mut state);
            let Some(event) = applied.event.filter(|event| event.revision == state.revision())
            else { continue };
            let notices = notice::of_event(&event);
            // As it is read back from a log or a checkpoint.
            let again: Event = codec::decode(&codec::encode(&*event)).unwrap();
            prop_assert_eq!(&notices, &notice::of_event(&again));
            let told = |prefix: &str| {
                notices.iter().filter(|it| it.kind.as_str().starts_with(prefix)).count()
            };
            prop_assert_eq!(told("network_"), count(&event, Kind::Network));
            prop_assert_eq!(told("member_"), count(&event, Kind::Member));
            let failed = notices.iter().any(|it| it.kind == NoticeKind::PartitionFailed);
            prop_assert!(!failed || told("worker_lost") > 0, "{:?}", notices);
            notices.iter().for_each(|notice| hear(notice, &mut workers, &mut owners));
            prop_assert_eq!((&workers, &owners), (&facts(&state).0, &facts(&state).1));
        }
    }
}
