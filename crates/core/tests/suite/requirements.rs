//! What partitions require of pools, step by step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_core::{
    Allocation, AllocationId, AllocationState, ApplyNetwork, Command, EndReason, Epoch, Grant,
    GrantEnd, Holder, Key, Kind, Load, LoadId, Name, NetworkSpec, Operation, Owner, Parallelism,
    PartitionId, PartitionPolicy, Pool, PoolPolicy, Preemption, Process, Reason, Record,
    RegisterWorker, Rejection, Reply, RequestAllocation, Resources, Revocation, ScaleProcesses,
    ScaledProcess, SessionId, Stamp, State, Tenant, Transaction, apply,
};

use crate::{
    allocations::{run, run_at},
    generate::{self, IDENTITY, steps},
    sessions::TERM,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn cpus(count: u64) -> Resources {
    [(name("cpu"), count)].into_iter().collect()
}

fn of(index: u32) -> PartitionId {
    PartitionId { network: name("n"), index }
}

fn refused(state: &mut State, command: &Command) -> (Reason, String, String) {
    let Rejection { reason, field, message, .. } = run(state, command).unwrap_err();
    (reason, field, message)
}

fn pool(tenants: &[&str]) -> Pool {
    let tenants = tenants.iter().map(|tenant| (name(tenant), Tenant::default())).collect();
    let policy = PoolPolicy { grace_ms: 100, starving_after_ms: 0, idle_timeout_ms: 1_000 };
    Pool { capacity: cpus(8), tenants, policy }
}

fn put(text: &str, tenants: &[&str]) -> Command {
    Command::PutPool { name: name(text), pool: pool(tenants) }
}

/// One process of so many CPUs, in partitions as `places` says; of a pool and for a tenant.
fn network(
    state: &State,
    needs: &[u64],
    places: &[u32],
    source: Option<(&str, &str)>,
) -> ApplyNetwork {
    let process = |(at, cpu): (usize, &u64)| Process {
        needs: cpus(*cpu),
        parallelism: Parallelism { min: 1, max: 4 },
        ..Process::new(name(&format!("p{at}")), "stage")
    };
    let spec = NetworkSpec {
        processes: needs.iter().enumerate().map(process).collect(),
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions: places.iter().max().unwrap() + 1,
            strategy: name("any"),
            shares: Vec::new(),
            pool: source.map(|(pool, _)| name(pool)),
            tenant: source.map(|(_, tenant)| name(tenant)),
        },
        connection: Default::default(),
    };
    let basis = state.get(&Key::network(&name("n"))).map(|record| record.modified);
    ApplyNetwork { name: name("n"), spec, assignment: places.to_vec(), basis }
}

fn put_network(state: &mut State, needs: &[u64], places: &[u32], source: Option<(&str, &str)>) {
    let command = Command::ApplyNetwork(network(state, needs, places, source));
    run(state, &command).unwrap();
}

fn require_of(state: &mut State, partitions: &[u32]) -> u32 {
    let partitions = partitions.iter().map(|index| of(*index)).collect();
    match run(state, &Command::RequireAllocations { partitions }) {
        Ok(Reply::Changed { changed }) => changed,
        other => panic!("{other:?}"),
    }
}

/// The distributor's part: of all partitions there can be.
fn require(state: &mut State) -> u32 {
    require_of(state, &[0, 1, 2, 3])
}

/// What is required: by partition, of which pool, for whom, how much.
fn required(state: &State) -> Vec<(u32, String, u64)> {
    let all = state.records_of(Kind::Allocation);
    let mut found: Vec<_> = all
        .filter_map(|(key, record)| {
            let Record::Allocation(allocation) = &record.value else { return None };
            let Holder::Partition(id) = &allocation.holder else { return None };
            let pool = key.as_allocation().unwrap().pool;
            let source = format!("{pool} {}", allocation.tenant);
            let cpu = allocation.amount.get(&name("cpu"));
            allocation.required.then_some((id.index, source, cpu))
        })
        .collect();
    found.sort();
    found
}

fn wanted(expected: &[(u32, &str, u64)]) -> Vec<(u32, String, u64)> {
    expected.iter().map(|(index, source, cpu)| (*index, (*source).to_owned(), *cpu)).collect()
}

fn one(state: &State, index: u32) -> AllocationId {
    state.required_by(&of(index)).next().unwrap().clone()
}

fn allocation(state: &State, id: &AllocationId) -> Allocation {
    state.allocation(id).unwrap().as_ref().clone()
}

/// Pools `p` (tenants a and b) and `q` (a), and a network of 2 and 3 CPUs in two partitions.
fn with_network() -> State {
    let mut state = State::new(IDENTITY);
    run(&mut state, &put("p", &["a", "b"])).unwrap();
    run(&mut state, &put("q", &["a"])).unwrap();
    put_network(&mut state, &[2, 3], &[0, 1], Some(("p", "a")));
    state
}

/// A worker with both partitions.
fn owned(state: &mut State) -> SessionId {
    let open = Command::OpenSession { ttl_ms: 5_000, label: "w".into() };
    let Ok(Reply::OpenSession { id: session, .. }) = run(state, &open) else { panic!("not open") };
    let worker = RegisterWorker {
        name: name("w"),
        session,
        address: "w:1".into(),
        capacity: cpus(100),
        labels: BTreeMap::new(),
    };
    run(state, &Command::RegisterWorker(worker)).unwrap();
    let owner = Owner { worker: name("w"), session };
    let grants = [0, 1].map(|index| Grant { partition: of(index), owner: owner.clone() });
    run(state, &Command::AssignPartitions { grants: grants.into() }).unwrap();
    session
}

fn grant(state: &mut State, ids: &[AllocationId]) -> u32 {
    match run(state, &Command::GrantAllocations { ids: ids.to_vec() }) {
        Ok(Reply::Changed { changed }) => changed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_partition_gets_one_allocation_of_what_it_needs() {
    let mut state = with_network();
    assert_eq!(required(&state), wanted(&[]));
    assert!(!state.requirement_is_met(&of(0)));
    assert_eq!(require(&mut state), 2);
    assert_eq!(required(&state), wanted(&[(0, "p a", 2), (1, "p a", 3)]));
    let revision = state.revision();
    let ids = [one(&state, 0), one(&state, 1)];
    let number = revision.get();
    assert_eq!(
        ids.each_ref().map(ToString::to_string),
        [format!("p/{number}"), format!("p/{number}.1")]
    );
    assert_eq!(allocation(&state, &ids[0]).state, AllocationState::Waiting);
    assert!(state.requirement_is_met(&of(0)) && state.requirement_is_met(&of(1)));
    // A repeat changes nothing, nor does the same partition twice, nor one that is not there.
    assert_eq!(require(&mut state), 0);
    assert_eq!(require_of(&mut state, &[0, 0, 7]), 0);
    assert_eq!(state.revision(), revision);
}

#[test]
fn the_same_partition_twice_in_one_command_requires_once() {
    let mut state = with_network();
    assert_eq!(require_of(&mut state, &[1, 1, 1]), 1);
    assert_eq!(required(&state), wanted(&[(1, "p a", 3)]));
}

#[test]
fn a_changed_network_or_parallelism_changes_what_is_required() {
    let mut state = with_network();
    require(&mut state);
    let kept = one(&state, 0);
    put_network(&mut state, &[2, 5], &[0, 1], Some(("p", "a")));
    assert_eq!(require(&mut state), 1, "only what differs");
    assert_eq!(required(&state), wanted(&[(0, "p a", 2), (1, "p a", 5)]));
    assert_eq!(one(&state, 0), kept);
    let scale = ScaleProcesses {
        network: name("n"),
        changes: vec![ScaledProcess { partition: 0, process: name("p0"), parallelism: 2 }],
        basis: Default::default(),
    };
    run(&mut state, &Command::ScaleProcesses(scale)).unwrap();
    assert_eq!(require(&mut state), 1);
    assert_eq!(required(&state), wanted(&[(0, "p a", 4), (1, "p a", 5)]));
    // Another tenant, another pool, none.
    put_network(&mut state, &[2, 5], &[0, 1], Some(("p", "b")));
    assert_eq!(require(&mut state), 2);
    assert_eq!(required(&state), wanted(&[(0, "p b", 4), (1, "p b", 5)]));
    put_network(&mut state, &[2, 5], &[0, 1], Some(("q", "a")));
    assert_eq!(require(&mut state), 2);
    assert_eq!(required(&state), wanted(&[(0, "q a", 4), (1, "q a", 5)]));
    assert!(state.pool_use(&name("p")).is_none());
    put_network(&mut state, &[2, 5], &[0, 1], None);
    assert_eq!(required(&state).len(), 2, "until the distributor has looked");
    assert_eq!(require(&mut state), 2);
    assert_eq!(required(&state), wanted(&[]));
}

#[test]
fn splits_and_merges_are_followed_and_what_needs_nothing_requires_nothing() {
    let mut state = with_network();
    put_network(&mut state, &[2, 3, 0], &[0, 1, 2], Some(("p", "a")));
    assert_eq!(require(&mut state), 2);
    assert_eq!(required(&state), wanted(&[(0, "p a", 2), (1, "p a", 3)]));
    put_network(&mut state, &[2, 3, 0], &[0, 0, 1], Some(("p", "a")));
    assert_eq!(required(&state), wanted(&[(0, "p a", 2), (1, "p a", 3)]));
    assert_eq!(require(&mut state), 2);
    assert_eq!(required(&state), wanted(&[(0, "p a", 5)]));
    put_network(&mut state, &[2, 3, 1], &[0, 1, 2], Some(("p", "a")));
    assert_eq!(require(&mut state), 3);
    assert_eq!(required(&state), wanted(&[(0, "p a", 2), (1, "p a", 3), (2, "p a", 1)]));
    put_network(&mut state, &[2, 3, 1], &[0, 0, 0], Some(("p", "a")));
    assert_eq!(required(&state), wanted(&[(0, "p a", 2)]), "gone with the partitions");
    assert_eq!(require(&mut state), 1);
    assert_eq!(required(&state), wanted(&[(0, "p a", 6)]));
}

#[test]
fn what_a_deleted_network_required_is_gone_with_it_granted_or_not() {
    let mut state = with_network();
    let session = owned(&mut state);
    require(&mut state);
    let granted = one(&state, 0);
    assert_eq!(grant(&mut state, std::slice::from_ref(&granted)), 1);
    let held = state.bytes_bound_to(session);
    run(&mut state, &Command::DeleteNetwork { name: name("n") }).unwrap();
    assert_eq!((required(&state), state.pool_use(&name("p"))), (wanted(&[]), None));
    assert!(state.partition(&of(0)).is_some(), "its owner is asked for it still");
    assert!(state.bytes_bound_to(session) < held);
    assert_eq!(require(&mut state), 0, "a deleted partition requires nothing");
    run(&mut state, &Command::DeletePool { name: name("p") }).unwrap();
}

#[test]
fn a_network_names_a_pool_and_a_tenant_that_are_there() {
    let mut state = with_network();
    let mut refused_with = |source| {
        let command = Command::ApplyNetwork(network(&state, &[2, 3], &[0, 1], source));
        refused(&mut state, &command)
    };
    let invalid = |field: &str, rule: &str| {
        (Reason::InvalidField, field.to_owned(), format!("{field}: {rule}"))
    };
    assert_eq!(refused_with(Some(("r", "a"))), invalid("policy.pool", "there is no pool r"));
    let tenant = invalid("policy.tenant", "pool q has no tenant b");
    assert_eq!(refused_with(Some(("q", "b"))), tenant);
    for half in [0, 1] {
        let mut command = network(&state, &[2, 3], &[0, 1], Some(("p", "a")));
        let policy = &mut command.spec.policy;
        if half == 0 {
            policy.pool = None
        } else {
            policy.tenant = None
        }
        let expected = match half {
            0 => invalid("policy.pool", "given with policy.tenant"),
            _ => invalid("policy.tenant", "given with policy.pool"),
        };
        assert_eq!(refused(&mut state, &Command::ApplyNetwork(command)), expected);
    }
}

#[test]
fn more_kinds_of_resources_than_an_amount_has_are_refused() {
    let state = with_network();
    let mut command = network(&state, &[1, 1, 1], &[0, 0, 0], Some(("p", "a")));
    for (at, process) in command.spec.processes.iter_mut().enumerate() {
        let kinds = (0..22).map(|kind| (name(&format!("r{at}-{kind}")), 1));
        process.needs = kinds.collect();
    }
    let mut state = state;
    let refused = refused(&mut state, &Command::ApplyNetwork(command.clone()));
    assert_eq!((refused.0, refused.1.as_str()), (Reason::InvalidField, "policy.pool"));
    // Without a pool, and in more partitions, it is fine.
    let mut apart = command.clone();
    apart.assignment = vec![0, 1, 1];
    apart.spec.policy.partitions = 2;
    run(&mut state, &Command::ApplyNetwork(apart)).unwrap();
    let basis = state.get(&Key::network(&name("n"))).map(|record| record.modified);
    (command.spec.policy.pool, command.spec.policy.tenant, command.basis) = (None, None, basis);
    run(&mut state, &Command::ApplyNetwork(command)).unwrap();
}

#[test]
fn what_a_network_names_stays() {
    let mut state = with_network();
    let delete = Command::DeletePool { name: name("p") };
    let named = (Reason::PreconditionFailed, String::new(), "network n names pool p".to_owned());
    assert_eq!(refused(&mut state, &delete), named);
    let (reason, field, message) = refused(&mut state, &put("p", &["b"]));
    assert_eq!((reason, field.as_str()), (Reason::PreconditionFailed, "tenants"));
    assert!(message.contains("network n names tenant a"), "{message}");
    run(&mut state, &put("p", &["a"])).unwrap();
    run(&mut state, &Command::DeletePool { name: name("q") }).unwrap();
    put_network(&mut state, &[2, 3], &[0, 1], None);
    run(&mut state, &delete).unwrap();
}

#[test]
fn what_callers_asked_for_is_left_alone() {
    let mut state = with_network();
    let request = RequestAllocation {
        pool: name("p"),
        tenant: name("a"),
        amount: cpus(2),
        priority: 0,
        holder: Holder::Partition(of(0)),
        epoch: None,
    };
    let Ok(Reply::RequestAllocation { id }) = run(&mut state, &Command::RequestAllocation(request))
    else {
        panic!("not asked for")
    };
    assert_eq!(require(&mut state), 2, "the same amount, and yet not what is required");
    put_network(&mut state, &[2, 3], &[0, 1], None);
    assert_eq!(require(&mut state), 2);
    assert!(!allocation(&state, &id).required);
    let release = Command::ReleaseAllocation { id, epoch: None };
    assert_eq!(run(&mut state, &release), Ok(Reply::Done));
}

#[test]
fn what_is_required_is_not_released_and_never_idle_but_may_be_asked_back() {
    let mut state = with_network();
    owned(&mut state);
    require(&mut state);
    let id = one(&state, 0);
    let release = |epoch| Command::ReleaseAllocation { id: id.clone(), epoch };
    let (reason, _, message) = refused(&mut state, &release(None));
    assert_eq!(reason, Reason::PreconditionFailed);
    assert_eq!(message, format!("network n requires allocation {id} for n/0"));
    assert_eq!(grant(&mut state, std::slice::from_ref(&id)), 1);
    let epoch = allocation(&state, &id).grant().unwrap().epoch;
    assert_eq!(refused(&mut state, &release(Some(epoch))).0, Reason::PreconditionFailed);
    // What is not required any more can be released, whoever does it first.
    let mut without = state.clone();
    put_network(&mut without, &[2, 3], &[0, 1], None);
    assert_eq!(run(&mut without, &release(Some(epoch))), Ok(Reply::Done));
    assert_eq!(refused(&mut state, &release(Some(Epoch::default()))).0, Reason::StaleEpoch);
    let end = |why| Command::EndAllocations { ends: vec![GrantEnd { id: id.clone(), epoch, why }] };
    let report = (LoadId::Allocation(id.clone()), Load { load_ppm: 0 });
    run(&mut state, &Command::ReportLoads { loads: vec![report] }).unwrap();
    let none = Ok(Reply::Changed { changed: 0 });
    assert_eq!(run_at(&mut state, 10_000, &end(EndReason::Idle)), none);
    // Somebody with a guarantee wants it: it waits again, and is not asked for twice.
    let (tenant, resource) = (name("b"), name("cpu"));
    let why = Preemption { request: id.clone(), tenant, resource };
    let revocations = vec![Revocation { id: id.clone(), epoch, why }];
    let one = Ok(Reply::Changed { changed: 1 });
    assert_eq!(run_at(&mut state, 10_000, &Command::RevokeAllocations { revocations }), one);
    assert_eq!(run_at(&mut state, 10_100, &end(EndReason::GraceOver)), one);
    assert_eq!(allocation(&state, &id).state, AllocationState::Waiting);
    assert_eq!(require(&mut state), 0);
}

#[test]
fn an_ownership_that_ends_leaves_what_is_required_waiting() {
    let mut state = with_network();
    let session = owned(&mut state);
    require(&mut state);
    let ids = [one(&state, 0), one(&state, 1)];
    assert_eq!(grant(&mut state, &ids), 2);
    run(&mut state, &Command::CloseSession { id: session }).unwrap();
    for id in &ids {
        assert_eq!(allocation(&state, id).state, AllocationState::Waiting);
    }
    assert_eq!(require(&mut state), 0);
}

#[test]
fn what_a_pool_has_no_place_for_is_left_out_until_it_has() {
    let mut state = with_network();
    let set = |value: &str| {
        let (key, record) = (Key::setting(&name("allocations_max")), Record::Setting(value.into()));
        let put = Operation::Put { key, record, return_previous: false };
        Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
    };
    run(&mut state, &set("1")).unwrap();
    assert_eq!(require(&mut state), 1);
    assert_eq!(required(&state), wanted(&[(0, "p a", 2)]));
    // What is replaced makes its own place.
    put_network(&mut state, &[4, 3], &[0, 1], Some(("p", "a")));
    assert_eq!(require(&mut state), 1);
    assert_eq!(required(&state), wanted(&[(0, "p a", 4)]));
    run(&mut state, &set("2")).unwrap();
    assert_eq!(require(&mut state), 1);
    assert_eq!(required(&state), wanted(&[(0, "p a", 4), (1, "p a", 3)]));
    // Also in a pool that has more than it may have by now.
    run(&mut state, &set("1")).unwrap();
    put_network(&mut state, &[4, 5], &[0, 1], Some(("p", "a")));
    assert_eq!(require(&mut state), 1);
    assert_eq!(required(&state), wanted(&[(0, "p a", 4), (1, "p a", 5)]));
}

#[test]
fn what_waits_has_waited_since_before_when_it_becomes_more() {
    let mut state = with_network();
    require(&mut state);
    let since = |state: &State| allocation(state, &one(state, 0)).waiting_since_ms;
    let before = since(&state);
    let command = |state: &State, cpus, tenant| {
        Command::ApplyNetwork(network(state, &[cpus, 3], &[0, 1], Some(("p", tenant))))
    };
    let all = Command::RequireAllocations { partitions: vec![of(0), of(1)] };
    let more = command(&state, 4, "a");
    run_at(&mut state, 5_000, &more).unwrap();
    run_at(&mut state, 6_000, &all).unwrap();
    assert_eq!(required(&state)[0].2, 4);
    assert_eq!(since(&state), before);
    // Another tenant's turn is another matter.
    let other = command(&state, 4, "b");
    run_at(&mut state, 7_000, &other).unwrap();
    run_at(&mut state, 8_000, &all).unwrap();
    assert_eq!(since(&state), 8_000);
}

#[test]
fn a_network_that_could_not_be_deleted_with_what_it_requires_is_refused() {
    let mut state = with_network();
    let set = |value: &str| {
        let key = Key::setting(&name("command_changes_max"));
        let record = Record::Setting(value.into());
        let put = Operation::Put { key, record, return_previous: false };
        Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
    };
    // The network, and three partitions: each with its load, its allocation and that one's load.
    run(&mut state, &set("12")).unwrap();
    let three = |state: &State, source| {
        Command::ApplyNetwork(network(state, &[2, 3, 4], &[0, 1, 2], source))
    };
    let command = three(&state, Some(("p", "a")));
    let (reason, field, _) = refused(&mut state, &command);
    assert_eq!((reason, field.as_str()), (Reason::LimitExceeded, "changes"));
    run(&mut state, &set("13")).unwrap();
    run(&mut state, &command).unwrap();
    owned(&mut state);
    assert_eq!(require(&mut state), 3);
    run(&mut state, &Command::DeleteNetwork { name: name("n") }).unwrap();
}

proptest! {
    #![proptest_config(crate::cases(96))]

    #[test]
    fn one_look_meets_all_requirements(steps in steps(40)) {
        let (mut state, _) = generate::run(&steps);
        let known = state.records_of(Kind::Partition).filter_map(|(key, _)| key.as_partition());
        let partitions: Vec<_> = known.collect();
        let command = Command::RequireAllocations { partitions: partitions.clone() };
        let mut look = || apply(&mut state, Stamp { time_ms: 3_000, term: TERM }, &command);
        let refused = look().outcome.result.is_err();
        let again = look();
        prop_assert!(again.event.is_none(), "a repeat changes nothing");
        prop_assert_eq!(state.check(), Ok(()));
        let max = state.settings().allocations_max;
        for id in partitions.iter().filter(|_| !refused) {
            let wanted = state.requirement(id).and_then(|it| state.pool_use(&it.pool));
            let is_full = wanted.is_some_and(|pool| pool.allocations >= max);
            prop_assert!(state.requirement_is_met(id) || is_full, "{} {:?}", id, wanted);
        }
    }
}
