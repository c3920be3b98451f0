//! What no command can bring about yet, and so no script can show.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ApplyNetwork, Command, Epoch, Kind, NetworkSpec, Record, Resources, RestoreEpoch, Stamp, State,
    Worker, WorkerState, apply,
    invariant::tests::{key, name, partition, sound, write},
};

/// A state in which a worker owns `n/0`.
fn owned() -> (State, Epoch) {
    let mut state = sound();
    let worker = Worker {
        address: "127.0.0.1:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
        state: WorkerState::Active,
    };
    write(&mut state, key(Kind::Worker, "w"), Some(Record::Worker(Arc::new(worker))));
    let epoch = Epoch { restore: RestoreEpoch(1), revision: state.revision().next() };
    let mut partition = partition(&state, "n/0");
    (partition.owner, partition.epoch) = (Some(name("w")), Some(epoch));
    write(&mut state, key(Kind::Partition, "n/0"), Some(Record::Partition(Arc::new(partition))));
    assert_eq!(state.check(), Ok(()));
    (state, epoch)
}

fn reapply(state: &mut State, change: impl FnOnce(&mut NetworkSpec), assignment: Vec<u32>) {
    let record = state.get(&key(Kind::Network, "n")).unwrap();
    let Record::Network(network) = &record.value else { panic!("{record:?}") };
    let (mut spec, basis) = (network.spec.clone(), Some(record.modified));
    change(&mut spec);
    let command = ApplyNetwork { name: name("n"), spec, assignment, basis };
    let applied = apply(state, Stamp { time_ms: 9 }, &Command::ApplyNetwork(command));
    assert!(applied.event.is_some(), "{:?}", applied.outcome);
    assert_eq!(state.check(), Ok(()));
}

#[test]
fn a_kept_partition_keeps_its_owner() {
    let (mut state, epoch) = owned();
    reapply(&mut state, |spec| spec.processes[0].parallelism.min = 2, vec![0, 1, 0]);
    let kept = partition(&state, "n/0");
    assert_eq!((kept.owner, kept.epoch), (Some(name("w")), Some(epoch)));
    assert_eq!(kept.processes.len(), 2);
    assert_eq!(partition(&state, "n/1").owner, None);
}

#[test]
fn a_removed_partition_does_not_hand_on_its_owner() {
    let (mut state, _) = owned();
    let delete = Command::DeleteNetwork { name: name("n") };
    let record = state.get(&key(Kind::Network, "n")).unwrap().clone();
    assert!(apply(&mut state, Stamp { time_ms: 9 }, &delete).event.is_some());
    let Record::Network(network) = &record.value else { panic!("{record:?}") };
    let again = ApplyNetwork {
        name: name("n"),
        spec: network.spec.clone(),
        assignment: vec![0, 1, 1],
        basis: None,
    };
    assert!(apply(&mut state, Stamp { time_ms: 9 }, &Command::ApplyNetwork(again)).event.is_some());
    let new = partition(&state, "n/0");
    assert_eq!((new.owner, new.epoch), (None, None));
    assert_eq!(state.check(), Ok(()));
}
