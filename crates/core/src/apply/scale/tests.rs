//! What scaling changes, what it leaves, and what is refused.

use std::collections::BTreeMap;

use crate::{
    ApplyNetwork, Command, Grant, Key, Load, LoadId, Name, NetworkSpec, Owner, PartitionId, Reason,
    Record, RegisterWorker, Rejection, Reply, Resources, ScaleProcesses, ScaledProcess, Stamp,
    State, apply,
    invariant::tests::{name, partition, sound},
    plan::Basis,
};

fn run(state: &mut State, command: Command) -> Result<Reply, Rejection> {
    let applied = apply(state, Stamp::at(9), &command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("n"), index }
}

/// Worker `w` with so much cpu owns everything.
fn owned(cpu: Option<u64>) -> State {
    let mut state = sound();
    let opened = run(&mut state, Command::OpenSession { ttl_ms: 5_000, label: String::new() });
    let Ok(Reply::OpenSession { id: session, .. }) = opened else { panic!("{opened:?}") };
    let register = RegisterWorker {
        name: name("w"),
        session,
        address: "w:1".into(),
        capacity: cpu.map(|cpu| (name("cpu"), cpu)).into_iter().collect(),
        labels: BTreeMap::new(),
    };
    run(&mut state, Command::RegisterWorker(register)).unwrap();
    let owner = || Owner { worker: name("w"), session };
    let grants = [0, 1].map(|index| Grant { partition: id(index), owner: owner() });
    run(&mut state, Command::AssignPartitions { grants: grants.to_vec() }).unwrap();
    state
}

fn scale(state: &mut State, changes: &[(u32, &str, u32)]) -> Result<Reply, Rejection> {
    scale_on(state, changes, Basis::default())
}

fn scale_on(
    state: &mut State,
    changes: &[(u32, &str, u32)],
    basis: Basis,
) -> Result<Reply, Rejection> {
    let change = |(partition, process, parallelism): &(u32, &str, u32)| ScaledProcess {
        partition: *partition,
        process: name(process),
        parallelism: *parallelism,
    };
    let changes = changes.iter().map(change).collect();
    run(state, Command::ScaleProcesses(ScaleProcesses { network: name("n"), changes, basis }))
}

fn runs(state: &State) -> Vec<(String, u32)> {
    let placed = ["n/0", "n/1"].into_iter().flat_map(|id| partition(state, id).processes);
    placed.map(|it| (it.id.to_string(), it.parallelism)).collect()
}

fn counts(a: u32, b: u32, c: u32) -> Vec<(String, u32)> {
    [("a", a), ("b", b), ("c", c)].map(|(id, count)| (id.to_owned(), count)).to_vec()
}

#[test]
fn demand_and_load_follow_and_no_other_partition_is_written() {
    let mut state = owned(None);
    let other = state.get(&Key::partition(&id(0))).unwrap().clone();
    assert_eq!(partition(&state, "n/1").load_ppm, 666_666);
    assert_eq!(scale(&mut state, &[(1, "b", 2)]), Ok(Reply::Changed { changed: 1 }));
    let scaled = partition(&state, "n/1");
    assert_eq!((scaled.demand.get(&name("cpu")), scaled.load_ppm), (3, 1_000_000));
    assert_eq!(state.get(&Key::partition(&id(0))), Some(&other));
    assert!(scaled.owner.is_some(), "it goes on");
    let at = state.revision();
    assert_eq!(scale(&mut state, &[(1, "b", 2)]), Ok(Reply::Changed { changed: 0 }));
    assert_eq!(state.revision(), at, "the same again is no change");
    scale(&mut state, &[(0, "a", 2), (1, "b", 1), (1, "c", 2)]).unwrap();
    assert_eq!(runs(&state), counts(2, 1, 2));
}

#[test]
fn what_is_wrong_changes_nothing() {
    let mut state = owned(None);
    let before = (state.revision(), state.hash());
    let mut refused = |changes: &[(u32, &str, u32)]| {
        let rejection = scale(&mut state, changes).unwrap_err();
        (rejection.reason, rejection.field)
    };
    let field = |text: &str| (Reason::InvalidField, text.to_owned());
    assert_eq!(refused(&[(1, "b", 2), (0, "a", 3)]), field("changes[1].parallelism"));
    assert_eq!(refused(&[(0, "a", 0)]), field("changes[0].parallelism"));
    assert_eq!(refused(&[(0, "a", 1), (0, "a", 2)]), field("changes[1].process"));
    assert_eq!(refused(&[(0, "x", 1)]).0, Reason::NotFound);
    assert_eq!(refused(&[(0, "a", 2), (0, "b", 2)]).0, Reason::NotFound, "it is in the other");
    assert_eq!(refused(&[(7, "a", 2)]).0, Reason::NotFound);
    assert_eq!((state.revision(), state.hash()), before);
}

#[test]
fn nothing_grows_beyond_what_the_worker_has() {
    let mut state = owned(Some(4));
    scale(&mut state, &[(1, "b", 2)]).unwrap();
    let refused = scale(&mut state, &[(0, "a", 2)]).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), (Reason::CapacityExceeded, "changes"));
    assert_eq!(scale(&mut state, &[(0, "a", 2), (1, "b", 1)]), Ok(Reply::Changed { changed: 2 }));
    assert_eq!(runs(&state), counts(2, 1, 1), "what becomes free counts");
}

#[test]
fn less_is_possible_for_a_worker_that_has_too_much() {
    let mut state = owned(Some(6));
    scale(&mut state, &[(0, "a", 2), (1, "b", 2), (1, "c", 2)]).unwrap();
    let worker = state.worker(&name("w")).unwrap().clone();
    let register = RegisterWorker {
        name: name("w"),
        session: worker.session.unwrap(),
        address: worker.address.clone(),
        capacity: [(name("cpu"), 1)].into_iter().collect(),
        labels: BTreeMap::new(),
    };
    run(&mut state, Command::RegisterWorker(register)).unwrap();
    assert_eq!(scale(&mut state, &[(0, "a", 1)]), Ok(Reply::Changed { changed: 1 }));
    let refused = scale(&mut state, &[(0, "a", 2)]).unwrap_err();
    assert_eq!(refused.reason, Reason::CapacityExceeded);
}

#[test]
fn the_same_load_counts_again_when_the_partition_has_changed() {
    let mut state = owned(None);
    let report = |state: &mut State| {
        let loads = vec![(LoadId::Partition(id(1)), Load { load_ppm: 900_000 })];
        run(state, Command::ReportLoads { loads }).unwrap()
    };
    assert_eq!(report(&mut state), Reply::Changed { changed: 1 });
    assert_eq!(report(&mut state), Reply::Changed { changed: 0 });
    scale(&mut state, &[(1, "b", 2)]).unwrap();
    assert_eq!(report(&mut state), Reply::Changed { changed: 1 });
    assert_eq!(report(&mut state), Reply::Changed { changed: 0 });
}

#[test]
fn a_stale_basis_is_refused() {
    let mut state = owned(None);
    let basis = Basis::of(&state, [Key::partition(&id(1)), Key::network(&name("n"))]);
    scale_on(&mut state, &[(1, "b", 2)], basis.clone()).unwrap();
    let refused = scale_on(&mut state, &[(1, "c", 2)], basis).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), (Reason::StalePlan, "basis"));
    let gone = ScaleProcesses { network: name("gone"), changes: vec![], basis: Basis::default() };
    let refused = run(&mut state, Command::ScaleProcesses(gone)).unwrap_err();
    assert_eq!(refused.reason, Reason::NotFound);
}

fn reapply(state: &mut State, assignment: Vec<u32>, change: impl FnOnce(&mut NetworkSpec)) {
    let record = state.get(&Key::network(&name("n"))).unwrap();
    let Record::Network(network) = &record.value else { panic!("{record:?}") };
    let (mut spec, basis) = (network.spec.clone(), Some(record.modified));
    change(&mut spec);
    let command = ApplyNetwork { name: name("n"), spec, assignment, basis };
    run(state, Command::ApplyNetwork(command)).unwrap();
}

#[test]
fn a_process_that_stays_runs_as_often_as_before_within_its_bounds() {
    let mut state = owned(None);
    scale(&mut state, &[(0, "a", 2), (1, "b", 2)]).unwrap();
    reapply(&mut state, vec![0, 0, 1], |spec| spec.connections.clear());
    assert_eq!(runs(&state), counts(2, 2, 1), "also in another partition");
    reapply(&mut state, vec![0, 0, 1], |spec| {
        spec.processes[0].parallelism.max = 1;
        spec.processes[1].parallelism.max = 9;
        spec.processes[2].parallelism.min = 2;
    });
    assert_eq!(runs(&state), counts(1, 2, 2));
    let demand = |id| -> Resources { partition(&state, id).demand };
    assert_eq!(demand("n/0").get(&Name::new("cpu").unwrap()), 3);
}
