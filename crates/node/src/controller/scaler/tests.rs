//! What the scaler decides, look by look, on states in memory.

use std::collections::BTreeMap;

use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Identity, Load, LoadId, NetworkSpec, Operation, Owner,
    Parallelism, PartitionId, PartitionPolicy, Process, Record, RegisterWorker, Reply, Resources,
    RestoreEpoch, SessionId, Stamp, Transaction, apply,
};

use super::*;

/// How long a look takes here.
const LOOK_MS: u64 = 15_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

fn run(state: &mut State, command: &Command) -> Reply {
    let applied = apply(state, Stamp::at(1), command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.unwrap()
}

/// Two partitions of one process each, from 1 to 8 instances of one CPU, on a worker with so many.
fn state(cpus: u64) -> (State, SessionId) {
    let mut state =
        State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) });
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Reply::OpenSession { id: session, .. } = run(&mut state, &open) else {
        panic!("no session")
    };
    let cpu = name(Resources::CPU_MILLIS);
    let register = RegisterWorker {
        name: name("w"),
        session,
        address: "w:1".into(),
        capacity: [(cpu.clone(), cpus * 1_000)].into_iter().collect(),
        labels: BTreeMap::new(),
    };
    run(&mut state, &Command::RegisterWorker(register));
    let process = |id| Process {
        needs: [(cpu.clone(), 1_000)].into_iter().collect(),
        parallelism: Parallelism { min: 1, max: 8 },
        ..Process::new(name(id), "c")
    };
    let spec = NetworkSpec {
        processes: vec![process("a"), process("b")],
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions: 2,
            strategy: name("any"),
            ..PartitionPolicy::default()
        },
        connection: quorate_core::ConnectionPolicy::default(),
    };
    let apply = ApplyNetwork { name: name("net"), spec, assignment: vec![0, 1], basis: None };
    run(&mut state, &Command::ApplyNetwork(apply));
    let owner = || Owner { worker: name("w"), session };
    let grants = [0, 1].map(|index| Grant { partition: id(index), owner: owner() });
    run(&mut state, &Command::AssignPartitions { grants: grants.into() });
    (state, session)
}

fn report(state: &mut State, index: u32, percent: u64) {
    let load = Load { load_ppm: percent * 10_000 };
    let loads = vec![(LoadId::Partition(id(index)), load)];
    run(state, &Command::ReportLoads { loads });
}

fn set(state: &mut State, text: &str, value: u64) {
    let record = Record::Setting(value.to_string().into());
    let key = quorate_core::Key::setting(&name(text));
    let put = Operation::Put { key, record, return_previous: false };
    run(state, &Command::Transaction(Transaction { success: vec![put], ..Transaction::default() }));
}

/// Looks at a time, and does what is decided. Gives the reasons.
fn look(scaler: &mut Scaler, state: &mut State, look: u64) -> Vec<String> {
    let now = Now { elapsed_ms: look * LOOK_MS, unix_ms: 0 };
    let acts = scaler.decide(state, &Strategies::builtin(), now);
    acts.into_iter().map(|act| (run(state, &act.command), act.reason).1).collect()
}

fn runs(state: &State) -> [u32; 2] {
    [0, 1].map(|index| state.partition(&id(index)).unwrap().processes[0].parallelism)
}

#[test]
fn load_raises_and_its_end_brings_back_after_the_window() {
    let (mut state, _) = state(100);
    let mut scaler = Scaler::default();
    assert_eq!(look(&mut scaler, &mut state, 0), Vec::<String>::new(), "nothing was reported");
    report(&mut state, 0, 140);
    let said = look(&mut scaler, &mut state, 1);
    assert_eq!(said, ["a 1 -> 2: load 140% is above the target 70%"]);
    assert_eq!(look(&mut scaler, &mut state, 2).len(), 0, "the load is from before");
    report(&mut state, 0, 20);
    // What was recommended counts for 300 s.
    for at in 3..21 {
        look(&mut scaler, &mut state, at);
        assert_eq!(runs(&state), [2, 1], "{at}");
    }
    look(&mut scaler, &mut state, 21);
    assert_eq!(runs(&state), [1, 1]);
}

#[test]
fn new_leaders_take_nothing_away() {
    let (mut state, _) = state(100);
    let mut scaler = Scaler::default();
    report(&mut state, 0, 300);
    look(&mut scaler, &mut state, 0);
    assert_eq!(runs(&state), [5, 1], "four more in a period at most");
    report(&mut state, 0, 1);
    for leader in 1..=10 {
        // The clock of the next leader, and what it has seen, begin anew.
        let mut scaler = Scaler::default();
        for at in 0..20 {
            assert_eq!(look(&mut scaler, &mut state, at), Vec::<String>::new(), "{leader}");
        }
    }
    assert_eq!(runs(&state), [5, 1]);
}

#[test]
fn a_worker_is_not_asked_for_more_than_it_has() {
    let (mut state, session) = state(4);
    let mut scaler = Scaler::default();
    report(&mut state, 0, 300);
    report(&mut state, 1, 300);
    let said = look(&mut scaler, &mut state, 0);
    assert_eq!(runs(&state), [3, 1], "{said:?}");
    let planned = plan_now(&state, &name("net")).unwrap().unwrap();
    assert_eq!(planned.command, None);
    let lacking = name(Resources::CPU_MILLIS);
    assert_eq!(planned.decisions[1].lacking, Some(lacking), "{:?}", planned.decisions);
    // One that declares nothing is not limited.
    let register = RegisterWorker {
        name: name("w"),
        session,
        address: "w:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
    };
    run(&mut state, &Command::RegisterWorker(register));
    look(&mut scaler, &mut state, 1);
    assert_eq!(runs(&state), [3, 5]);
}

#[test]
fn settings_and_ownership_hold_it_back() {
    let (mut state, session) = state(100);
    assert_eq!(Scaler::held(state.settings()), None);
    set(&mut state, "scale_enabled", 0);
    assert_eq!(Scaler::held(state.settings()), Some(Idle::Disabled));
    set(&mut state, "maintenance", 1);
    assert_eq!(Scaler::held(state.settings()), Some(Idle::Maintenance));
    report(&mut state, 0, 300);
    run(&mut state, &Command::LeaveWorker { name: name("w"), session: Some(session) });
    let mut scaler = Scaler::default();
    assert_eq!(look(&mut scaler, &mut state, 0).len(), 0, "nobody owns it");
}

#[test]
fn a_plan_for_now_waits_for_nothing() {
    let (mut state, _) = state(100);
    report(&mut state, 0, 300);
    look(&mut Scaler::default(), &mut state, 0);
    report(&mut state, 0, 10);
    let planned = plan_now(&state, &name("net")).unwrap().unwrap();
    let wanted: Vec<_> = planned.decisions.iter().map(|it| (it.parallelism, it.wanted)).collect();
    assert_eq!(wanted, [(5, 2), (1, 1)]);
    assert_eq!(plan_now(&state, &name("other")), Ok(None));
}
