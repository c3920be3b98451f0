//! Splits and merges of networks in memory: what changes, what stays, what is refused.

use quorate_core::{
    ClusterId, Grant, Identity, Kind, Owner, PartitionState, Process, ProcessEdge, Record,
    RegisterWorker, Reply, Resources, RestoreEpoch, SessionId,
};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

fn run(state: &mut State, command: &Command) -> Result<Reply, Rejection> {
    let applied = apply(state, Stamp::at(1), command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result
}

/// A chain of processes in partitions of four, with a change of the spec.
fn state_with(partitions: u32, change: impl FnOnce(&mut NetworkSpec)) -> State {
    let mut state =
        State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) });
    let process = |at: u32| Process {
        needs: [(name(Resources::CPU_MILLIS), 100)].into_iter().collect(),
        ..Process::new(name(&format!("p{at:03}")), "c")
    };
    let edge = |at: u32| ProcessEdge {
        from: name(&format!("p{:03}", at - 1)),
        to: name(&format!("p{at:03}")),
        rate: 10,
    };
    let mut spec = NetworkSpec {
        processes: (0..4 * partitions).map(process).collect(),
        connections: (1..4 * partitions).map(edge).collect(),
        policy: PartitionPolicy {
            partitions,
            strategy: name("multilevel"),
            ..PartitionPolicy::default()
        },
        connection: quorate_core::ConnectionPolicy::default(),
    };
    change(&mut spec);
    let assignment = (0..4 * partitions).map(|at| at / 4).collect();
    let command = ApplyNetwork { name: name("net"), spec, assignment, basis: None };
    run(&mut state, &Command::ApplyNetwork(command)).unwrap();
    state
}

fn state(partitions: u32) -> State {
    state_with(partitions, |_| ())
}

fn own_all(state: &mut State) -> SessionId {
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Ok(Reply::OpenSession { id: session, .. }) = run(state, &open) else {
        panic!("no session")
    };
    let register = RegisterWorker {
        name: name("w"),
        session,
        address: "w:1".into(),
        capacity: Resources::default(),
        labels: Default::default(),
    };
    run(state, &Command::RegisterWorker(register)).unwrap();
    let owner = Owner { worker: name("w"), session };
    let waiting: Vec<PartitionId> = state
        .records_of(Kind::Partition)
        .map(|(key, _)| PartitionId::parse(std::str::from_utf8(&key.bytes).unwrap()).unwrap())
        .collect();
    let grants = waiting.into_iter().map(|partition| Grant { partition, owner: owner.clone() });
    run(state, &Command::AssignPartitions { grants: grants.collect() }).unwrap();
    session
}

fn split_into(state: &State, index: u32, into: u32) -> Result<PlannedReshape, Rejection> {
    plan_reshape(state, &Strategies::builtin(), &Reshape::Split { id: id(index), into })
}

fn merged(state: &State, indices: &[u32]) -> Result<PlannedReshape, Rejection> {
    let ids = indices.iter().map(|index| id(*index)).collect();
    plan_reshape(state, &Strategies::builtin(), &Reshape::Merge { ids })
}

fn refused(planned: Result<PlannedReshape, Rejection>) -> (Reason, String, String) {
    let rejection = planned.unwrap_err();
    (rejection.reason, rejection.field.clone(), rejection.rule)
}

fn members(state: &State, index: u32) -> Vec<String> {
    let partition = state.partition(&id(index)).unwrap();
    partition.processes.iter().map(|process| process.id.to_string()).collect()
}

/// The partition's record as it is, with the revision that wrote it.
fn record(state: &State, index: u32) -> std::sync::Arc<quorate_core::Versioned<Record>> {
    state.get(&quorate_core::Key::partition(&id(index))).unwrap().clone()
}

#[test]
fn a_split_changes_one_partition_and_adds_others() {
    let mut state = state(3);
    own_all(&mut state);
    let before: Vec<_> = [0, 2].map(|index| record(&state, index)).into();
    let divided = state.partition(&id(1)).unwrap().clone();
    let planned = split_into(&state, 1, 2).unwrap();
    run(&mut state, &planned.command).unwrap();
    assert_eq!([0, 2].map(|index| record(&state, index)).to_vec(), before, "not written");
    assert_eq!(members(&state, 1).len() + members(&state, 3).len(), 4);
    let kept = state.partition(&id(1)).unwrap();
    assert_eq!((kept.state, &kept.owner), (divided.state, &divided.owner), "the owner follows");
    assert!(kept.epoch > divided.epoch, "what it does for what it lost is refused");
    assert_eq!(state.partition(&id(3)).unwrap().owner, None);
    let Reshaping { partitions_before, partitions_after, changes, .. } = &planned.reshaping;
    assert_eq!((*partitions_before, *partitions_after, changes.len()), (3, 4, 2));
    assert_eq!((planned.reshaping.cut_rate_before, planned.reshaping.cut_rate_after), (20, 30));
    assert_eq!(changes[0].owner, Some(name("w")));
    assert_eq!((&changes[0].stops, changes[1].owner.as_ref()), (&changes[1].starts, None));
    let numbers = summary(&state, &name("net")).unwrap();
    assert_eq!((numbers.partitions, numbers.cut_rate), (4, 30));
    let done = reshaped_at(&state, &name("net"), state.revision());
    assert_eq!(done.as_ref(), Some(&planned.reshaping), "as it can be told of the past");
}

#[test]
fn the_last_partitions_take_the_numbers_that_a_merge_frees() {
    let mut state = state(5);
    own_all(&mut state);
    let before: Vec<_> = [0, 2].map(|index| record(&state, index)).into();
    let (last, three) = (members(&state, 4), members(&state, 3));
    let both = [members(&state, 1), three].concat();
    let planned = merged(&state, &[3, 1]).unwrap();
    run(&mut state, &planned.command).unwrap();
    assert_eq!([0, 2].map(|index| record(&state, index)).to_vec(), before, "not written");
    assert_eq!((members(&state, 1), members(&state, 3)), (both, last));
    let gone = state.partition(&id(4)).unwrap();
    assert_eq!(gone.state, PartitionState::Deleted, "until its owner has stopped it");
    let changed: Vec<_> = planned.reshaping.changes.iter().map(|it| it.id.index).collect();
    assert_eq!(changed, [1, 3, 4]);
    assert_eq!(planned.reshaping.changes[2].processes, 0);
}

#[test]
fn merging_the_last_renumbers_none_and_undoes_a_split() {
    let mut state = state(3);
    let first = state.clone();
    let planned = split_into(&state, 0, 3).unwrap();
    run(&mut state, &planned.command).unwrap();
    let planned = merged(&state, &[0, 3, 4]).unwrap();
    assert_eq!(planned.reshaping.changes.len(), 3);
    run(&mut state, &planned.command).unwrap();
    for index in 0..3 {
        assert_eq!(state.partition(&id(index)), first.partition(&id(index)));
    }
}

#[test]
fn shares_follow() {
    let mut state = state_with(3, |spec| spec.policy.shares = vec![2, 1, 1]);
    let planned = split_into(&state, 0, 2).unwrap();
    run(&mut state, &planned.command).unwrap();
    let shares = |state: &State| stored(state, &name("net")).unwrap().1.spec.policy.shares.clone();
    assert_eq!(shares(&state), [1, 1, 1, 1], "half of two each");
    let planned = merged(&state, &[1, 2]).unwrap();
    run(&mut state, &planned.command).unwrap();
    assert_eq!(shares(&state), [1, 2, 1]);
    assert_eq!(split_shares(&[3, 5], 1, 2).unwrap(), [6, 5, 5]);
    assert!(split_shares(&[u32::MAX, 1], 1, 2).is_err(), "no share is rounded");
}

#[test]
fn a_plan_on_a_network_that_has_changed_is_stale() {
    let mut state = state(2);
    let (one, other) = (split_into(&state, 0, 2).unwrap(), merged(&state, &[0, 1]).unwrap());
    run(&mut state, &one.command).unwrap();
    let before = (state.revision(), state.hash());
    let refused = run(&mut state, &other.command).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), (Reason::StalePlan, "basis"));
    assert_eq!((state.revision(), state.hash()), before, "nothing of it was done");
}

#[test]
fn what_contradicts_is_refused_with_field_and_rule() {
    let lone = state_with(2, |spec| {
        for at in 0..4 {
            spec.processes[at].affinity = Some(name("g"));
        }
        spec.processes[4].anti_affinity = Some(name("h"));
        spec.processes[0].anti_affinity = Some(name("h"));
        spec.processes[5].affinity = Some(name("k"));
        spec.processes[6].affinity = Some(name("k"));
    });
    let (reason, field, rule) = refused(split_into(&lone, 0, 2));
    assert_eq!((reason, field.as_str()), (Reason::InvalidField, "partition"), "{rule}");
    assert!(rule.contains("affinity group"), "{rule}");
    let (reason, field, rule) = refused(split_into(&lone, 1, 4));
    assert_eq!((reason, field.as_str()), (Reason::InvalidField, "into"), "{rule}");
    assert!(rule.starts_with("at most 3"), "{rule}");
    let (reason, field, rule) = refused(merged(&lone, &[0, 1]));
    assert_eq!((reason, field.as_str()), (Reason::InvalidField, "partitions"), "{rule}");
    assert!(rule.contains('h'), "{rule}");
    let plain = state(2);
    let field = |planned| refused(planned).1;
    assert_eq!(field(split_into(&plain, 0, 1)), "into");
    assert_eq!(field(split_into(&plain, 0, 5)), "into");
    assert_eq!(refused(split_into(&plain, 9, 2)).0, Reason::NotFound);
    assert_eq!(field(merged(&plain, &[0])), "partitions");
    assert_eq!(field(merged(&plain, &[0, 0])), "partitions[1]");
    assert_eq!(refused(merged(&plain, &[0, 7])).0, Reason::NotFound);
    let mut single = plain.clone();
    run(&mut single, &split_into(&plain, 0, 4).unwrap().command).unwrap();
    let (_, field, rule) = refused(split_into(&single, 0, 2));
    assert_eq!(field, "partition", "{rule}");
}

#[test]
fn numbers_stay_without_a_gap() {
    let numbers = |merged: &[u32], count| merged_numbers(&merged.iter().copied().collect(), count);
    assert_eq!(numbers(&[1, 3], 5), [0, 1, 2, 1, 3]);
    assert_eq!(numbers(&[3, 4], 5), [0, 1, 2, 3, 3]);
    assert_eq!(numbers(&[0, 1, 2], 6), [0, 0, 0, 3, 1, 2]);
    assert_eq!(numbers(&[0, 1], 2), [0, 0]);
}
