//! What each command about pools and allocations does and refuses, step by step.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    Allocation, AllocationId, AllocationState, ApplyNetwork, Command, EndReason, Epoch, Grant,
    GrantEnd, Holder, Key, Load, LoadId, Name, NetworkSpec, Operation, Owner, Parallelism,
    PartitionId, PartitionPolicy, Pool, PoolPolicy, Preemption, Process, Reason, Record,
    RegisterWorker, Rejection, Reply, RequestAllocation, Resources, Revocation, SessionId, Stamp,
    State, Tenant, Transaction, apply,
};

use crate::{generate::IDENTITY, sessions::TERM};

const CPU: &str = "cpu";
const MEMORY: &str = "memory";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn amount(cpu: u64, memory: u64) -> Resources {
    [(name(CPU), cpu), (name(MEMORY), memory)].into_iter().collect()
}

/// Nine of one, eighteen of the other; `a` may have at most six CPUs.
fn pool() -> Pool {
    let limited = Tenant { limit: [(name(CPU), 6)].into(), ..Tenant::default() };
    let tenants = [(name("a"), limited), (name("b"), Tenant::default())].into();
    let policy = PoolPolicy { grace_ms: 100, starving_after_ms: 0, idle_timeout_ms: 1_000 };
    Pool { capacity: amount(9, 18), tenants, policy }
}

fn put(pool: Pool) -> Command {
    Command::PutPool { name: name("p"), pool }
}

/// Runs a command, after which every rule holds.
pub(crate) fn run_at(
    state: &mut State,
    time_ms: u64,
    command: &Command,
) -> Result<Reply, Rejection> {
    let before = state.revision();
    let applied = apply(state, Stamp { time_ms, term: TERM }, command);
    assert_eq!(state.check(), Ok(()));
    assert!(applied.outcome.result.is_ok() || state.revision() == before);
    applied.outcome.result
}

pub(crate) fn run(state: &mut State, command: &Command) -> Result<Reply, Rejection> {
    run_at(state, 1, command)
}

fn refused(state: &mut State, command: &Command) -> (Reason, String) {
    let Rejection { reason, field, .. } = run(state, command).unwrap_err();
    (reason, field)
}

fn open(state: &mut State) -> SessionId {
    match run(state, &Command::OpenSession { ttl_ms: 5_000, label: "holder".into() }) {
        Ok(Reply::OpenSession { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

fn asking(tenant: &str, amount: Resources, holder: Holder) -> RequestAllocation {
    let (pool, tenant) = (name("p"), name(tenant));
    RequestAllocation { pool, tenant, amount, priority: 0, holder, epoch: None }
}

fn request(state: &mut State, tenant: &str, amount: Resources, holder: Holder) -> AllocationId {
    let command = Command::RequestAllocation(asking(tenant, amount, holder));
    match run(state, &command) {
        Ok(Reply::RequestAllocation { id }) => id,
        other => panic!("{other:?}"),
    }
}

fn grant(state: &mut State, ids: &[&AllocationId]) -> u32 {
    let ids = ids.iter().map(|id| (*id).clone()).collect();
    match run(state, &Command::GrantAllocations { ids }) {
        Ok(Reply::Changed { changed }) => changed,
        other => panic!("{other:?}"),
    }
}

fn allocation(state: &State, id: &AllocationId) -> Arc<Allocation> {
    state.allocation(id).unwrap().clone()
}

fn epoch(state: &State, id: &AllocationId) -> Option<Epoch> {
    allocation(state, id).grant().map(|grant| grant.epoch)
}

fn release(id: &AllocationId, epoch: Option<Epoch>) -> Command {
    Command::ReleaseAllocation { id: id.clone(), epoch }
}

fn end(id: &AllocationId, epoch: Epoch, why: EndReason) -> Command {
    Command::EndAllocations { ends: vec![GrantEnd { id: id.clone(), epoch, why }] }
}

fn changed(state: &mut State, time_ms: u64, command: &Command) -> u32 {
    match run_at(state, time_ms, command) {
        Ok(Reply::Changed { changed }) => changed,
        other => panic!("{other:?}"),
    }
}

fn granted(state: &State, resource: &str) -> u128 {
    state.pool_use(&name("p")).map_or(0, |in_use| in_use.granted.get(&name(resource)))
}

/// A pool and a session.
fn with_pool() -> (State, SessionId) {
    let mut state = State::new(IDENTITY);
    assert_eq!(run(&mut state, &put(pool())), Ok(Reply::Done));
    let session = open(&mut state);
    (state, session)
}

#[test]
fn a_pool_is_replaced_as_long_as_it_holds_what_is_granted() {
    let (mut state, session) = with_pool();
    let before = state.revision();
    assert_eq!(run(&mut state, &put(pool())), Ok(Reply::Done));
    assert_eq!(state.revision(), before, "the same again changes nothing");
    let id = request(&mut state, "a", amount(4, 1), Holder::Session(session));
    let shrunk = Pool { capacity: amount(3, 18), ..pool() };
    assert_eq!(run(&mut state, &put(shrunk.clone())), Ok(Reply::Done), "nothing is granted");
    assert_eq!(grant(&mut state, &[&id]), 0, "it does not fit");
    run(&mut state, &put(pool())).unwrap();
    assert_eq!(grant(&mut state, &[&id]), 1);
    let capacity = (Reason::CapacityExceeded, "capacity".to_owned());
    assert_eq!(refused(&mut state, &put(shrunk)), capacity);
    let mut limited = pool();
    limited.tenants.get_mut(&name("a")).unwrap().limit.insert(name(CPU), 3);
    let limit = (Reason::CapacityExceeded, "tenants[a].limit".to_owned());
    assert_eq!(refused(&mut state, &put(limited)), limit);
    let mut without = pool();
    without.tenants.remove(&name("a"));
    let tenant = (Reason::PreconditionFailed, "tenants".to_owned());
    assert_eq!(refused(&mut state, &put(without)), tenant);
    let delete = Command::DeletePool { name: name("p") };
    assert_eq!(refused(&mut state, &delete).0, Reason::PreconditionFailed);
    let granted = epoch(&state, &id);
    assert_eq!(run(&mut state, &release(&id, granted)), Ok(Reply::Done));
    assert_eq!(run(&mut state, &delete), Ok(Reply::Done));
    assert_eq!(refused(&mut state, &delete).0, Reason::NotFound);
}

#[test]
fn a_pool_that_contradicts_itself_is_refused() {
    let mut state = State::new(IDENTITY);
    let with = |change: &dyn Fn(&mut Tenant)| {
        let mut pool = pool();
        change(pool.tenants.get_mut(&name("b")).unwrap());
        put(pool)
    };
    let invalid = |field: &str| (Reason::InvalidField, format!("tenants[b].{field}"));
    let weightless = with(&|tenant| tenant.weight = 0);
    assert_eq!(refused(&mut state, &weightless), invalid("weight"));
    let above = with(&|tenant| tenant.guarantee = amount(10, 0));
    assert_eq!(refused(&mut state, &above), invalid("guarantee"));
    let limited = with(&|tenant| {
        tenant.guarantee = amount(2, 0);
        tenant.limit = BTreeMap::from([(name(CPU), 1)]);
    });
    assert_eq!(refused(&mut state, &limited), invalid("guarantee"));
}

#[test]
fn a_request_needs_a_pool_a_tenant_a_holder_and_an_amount() {
    let (mut state, session) = with_pool();
    let held = Holder::Session(session);
    let ask = |change: &dyn Fn(&mut RequestAllocation)| {
        let mut request = asking("a", amount(1, 0), held.clone());
        change(&mut request);
        Command::RequestAllocation(request)
    };
    let mut reason = |change: &dyn Fn(&mut RequestAllocation)| refused(&mut state, &ask(change));
    assert_eq!(reason(&|it| it.pool = name("q")).0, Reason::NotFound);
    assert_eq!(reason(&|it| it.tenant = name("c")), (Reason::NotFound, "tenant".into()));
    assert_eq!(reason(&|it| it.amount = amount(0, 0)), (Reason::InvalidField, "amount".into()));
    assert_eq!(reason(&|it| it.epoch = Some(Epoch::default())).0, Reason::InvalidField);
    let absent = SessionId { revision: quorate_core::Revision(99), ..session };
    assert_eq!(reason(&|it| it.holder = Holder::Session(absent)).0, Reason::SessionExpired);
    let partition = PartitionId { network: name("n"), index: 0 };
    let of_partition = Holder::Partition(partition);
    assert_eq!(reason(&|it| it.holder = of_partition.clone()).0, Reason::NotFound);
}

#[test]
fn limits_have_names() {
    let (mut state, session) = with_pool();
    for (setting, command) in [
        (
            "allocations_max",
            Command::RequestAllocation(asking("a", amount(1, 0), Holder::Session(session))),
        ),
        ("pools_max", Command::PutPool { name: name("q"), pool: pool() }),
        (
            "pool_tenants_max",
            Command::PutPool { name: name("p"), pool: Pool { capacity: amount(1, 1), ..pool() } },
        ),
    ] {
        request(&mut state, "b", amount(1, 0), Holder::Session(session));
        let record = Record::Setting(Arc::from("1"));
        let put =
            Operation::Put { key: Key::setting(&name(setting)), record, return_previous: false };
        let set = Transaction { success: vec![put], ..Transaction::default() };
        run(&mut state, &Command::Transaction(set)).unwrap();
        let rejection = run(&mut state, &command).unwrap_err();
        assert_eq!(
            (rejection.reason, rejection.rule),
            (Reason::LimitExceeded, format!("{setting} = 1"))
        );
        let delete = Operation::Delete {
            range: quorate_core::KeyRange::Single(Key::setting(&name(setting))),
            return_previous: false,
        };
        let reset = Transaction { success: vec![delete], ..Transaction::default() };
        run(&mut state, &Command::Transaction(reset)).unwrap();
    }
}

#[test]
fn what_exceeds_the_capacity_or_a_limit_is_left_out_whoever_grants_it() {
    let (mut state, session) = with_pool();
    let held = || Holder::Session(session);
    let a: Vec<_> = (0..3).map(|_| request(&mut state, "a", amount(3, 0), held())).collect();
    let b: Vec<_> = (0..3).map(|_| request(&mut state, "b", amount(2, 0), held())).collect();
    // One command, one revision: it counts what it grants itself, and nothing twice.
    let all: Vec<&AllocationId> = a.iter().chain(&a).chain(&b).collect();
    assert_eq!(grant(&mut state, &all), 3, "a up to its limit of 6, then b up to the capacity");
    assert_eq!(granted(&state, CPU), 8);
    assert!(epoch(&state, &a[0]).is_some() && epoch(&state, &a[2]).is_none());
    assert_eq!(epoch(&state, &b[0]).map(|epoch| epoch.revision), Some(state.revision()));
    assert_eq!(grant(&mut state, &all), 0);
    let unknown = AllocationId { pool: name("p"), number: 1, part: 0 };
    assert_eq!(grant(&mut state, &[&unknown]), 0);
    let huge = request(&mut state, "b", amount(u64::MAX, u64::MAX), held());
    assert_eq!(grant(&mut state, &[&huge]), 0);
}

#[test]
fn only_the_epoch_of_the_grant_gives_it_back() {
    let (mut state, session) = with_pool();
    let id = request(&mut state, "a", amount(1, 1), Holder::Session(session));
    assert_eq!(refused(&mut state, &release(&id, Some(Epoch::default()))).0, Reason::StaleEpoch);
    grant(&mut state, &[&id]);
    assert_eq!(refused(&mut state, &release(&id, None)).0, Reason::StaleEpoch, "it is granted now");
    assert_eq!(refused(&mut state, &release(&id, Some(Epoch::default()))).0, Reason::StaleEpoch);
    let granted = epoch(&state, &id);
    assert_eq!(run(&mut state, &release(&id, granted)), Ok(Reply::Done));
    assert_eq!(refused(&mut state, &release(&id, granted)).0, Reason::StaleEpoch);
    assert_eq!(refused(&mut state, &release(&id, None)).0, Reason::NotFound);
    let waiting = request(&mut state, "a", amount(1, 1), Holder::Session(session));
    assert_eq!(run(&mut state, &release(&waiting, None)), Ok(Reply::Done));
    assert!(state.pool_use(&name("p")).is_none());
}

#[test]
fn a_grant_that_is_asked_back_ends_after_the_grace_and_waits_again() {
    let (mut state, session) = with_pool();
    let id = request(&mut state, "a", amount(1, 1), Holder::Session(session));
    grant(&mut state, &[&id]);
    let first = epoch(&state, &id).unwrap();
    let why = Preemption { request: id.clone(), tenant: name("b"), resource: name(CPU) };
    let revoke = |epoch| Command::RevokeAllocations {
        revocations: vec![Revocation { id: id.clone(), epoch, why: why.clone() }],
    };
    assert_eq!(changed(&mut state, 1_000, &revoke(Epoch::default())), 0, "another epoch");
    assert_eq!(changed(&mut state, 1_000, &revoke(first)), 1);
    assert_eq!(changed(&mut state, 1_001, &revoke(first)), 0, "its time stays");
    let until = |state: &State| match allocation(state, &id).state {
        AllocationState::Revoking { until_ms, .. } => until_ms,
        _ => panic!("it is asked back"),
    };
    assert_eq!(until(&state), 1_100);
    assert_eq!(granted(&state, CPU), 1, "it counts until it ends");
    assert_eq!(changed(&mut state, 1_099, &end(&id, first, EndReason::GraceOver)), 0);
    assert_eq!(changed(&mut state, 1_100, &end(&id, first, EndReason::GraceOver)), 1);
    assert_eq!(granted(&state, CPU), 0);
    let waits = allocation(&state, &id);
    assert_eq!((waits.state.clone(), waits.waiting_since_ms), (AllocationState::Waiting, 1_100));
    assert_eq!(refused(&mut state, &release(&id, Some(first))).0, Reason::StaleEpoch);
    grant(&mut state, &[&id]);
    assert!(epoch(&state, &id).unwrap() > first);
}

#[test]
fn what_is_in_use_is_not_idle() {
    let (mut state, session) = with_pool();
    let id = request(&mut state, "a", amount(1, 1), Holder::Session(session));
    let report = |load_ppm| Command::ReportLoads {
        loads: vec![(LoadId::Allocation(id.clone()), Load { load_ppm })],
    };
    assert_eq!(changed(&mut state, 1, &report(5)), 0, "it waits");
    grant(&mut state, &[&id]);
    let epoch = epoch(&state, &id).unwrap();
    let idle = end(&id, epoch, EndReason::Idle);
    assert_eq!(changed(&mut state, 1_000, &idle), 0, "too early");
    assert_eq!(changed(&mut state, 1_001, &report(5)), 1);
    assert_eq!(changed(&mut state, 2_000, &idle), 0, "in use");
    assert_eq!(changed(&mut state, 2_000, &report(0)), 1);
    assert_eq!(changed(&mut state, 2_001, &idle), 1);
    assert!(state.allocation(&id).is_none());
    assert!(state.get(&Key::load(&LoadId::Allocation(id))).is_none());
}

#[test]
fn what_a_session_holds_is_free_at_the_revision_at_which_it_ends() {
    let (mut state, session) = with_pool();
    let other = open(&mut state);
    let held = request(&mut state, "a", amount(2, 2), Holder::Session(session));
    let waits = request(&mut state, "a", amount(9, 2), Holder::Session(session));
    let stays = request(&mut state, "b", amount(1, 1), Holder::Session(other));
    assert_eq!(grant(&mut state, &[&held, &waits, &stays]), 2);
    let before = state.revision();
    assert_eq!(run(&mut state, &Command::CloseSession { id: session }), Ok(Reply::Done));
    assert_eq!(state.revision(), before.next());
    assert!(state.allocation(&held).is_none() && state.allocation(&waits).is_none());
    assert_eq!((granted(&state, CPU), granted(&state, MEMORY)), (1, 1));
}

fn partition(index: u32) -> PartitionId {
    PartitionId { network: name("n"), index }
}

/// Two partitions that need four CPUs each, and a worker that gives six.
fn with_worker() -> (State, SessionId) {
    let (mut state, session) = with_pool();
    let process = |text| Process {
        needs: amount(4, 100),
        parallelism: Parallelism { min: 1, max: 1 },
        ..Process::new(name(text), "stage")
    };
    let spec = NetworkSpec {
        processes: vec![process("x"), process("y")],
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions: 2,
            strategy: name("any"),
            ..PartitionPolicy::default()
        },
        connection: quorate_core::ConnectionPolicy::default(),
    };
    let network = ApplyNetwork { name: name("n"), spec, assignment: vec![0, 1], basis: None };
    run(&mut state, &Command::ApplyNetwork(network)).unwrap();
    register(&mut state, session, 6);
    (state, session)
}

fn register(state: &mut State, session: SessionId, cpu: u64) {
    let worker = RegisterWorker {
        name: name("w"),
        session,
        address: "w:1".into(),
        capacity: amount(cpu, 0),
        labels: BTreeMap::new(),
    };
    run(state, &Command::RegisterWorker(worker)).unwrap();
}

fn assign(state: &mut State, session: SessionId, indices: &[u32]) -> u32 {
    let owner = Owner { worker: name("w"), session };
    let grant = |index: &u32| Grant { partition: partition(*index), owner: owner.clone() };
    let grants = indices.iter().map(grant).collect();
    changed(state, 1, &Command::AssignPartitions { grants })
}

#[test]
fn a_worker_is_granted_no_more_than_it_gives() {
    let (mut state, session) = with_worker();
    assert_eq!(assign(&mut state, session, &[0, 1]), 1, "of memory it gives what is needed");
    assert_eq!(assign(&mut state, session, &[1]), 0);
    register(&mut state, session, 8);
    assert_eq!(assign(&mut state, session, &[1]), 1);
    assert_eq!(state.worker_use(&name("w")).unwrap().get(&name(CPU)), 8);
    register(&mut state, session, 1);
    let first = state.partition(&partition(0)).unwrap().epoch.unwrap();
    let release = Command::ReleasePartition { id: partition(0), epoch: first };
    run(&mut state, &release).unwrap();
    assert_eq!(assign(&mut state, session, &[0]), 0, "it has more than it gives now");
    assert_eq!(state.worker_use(&name("w")).unwrap().get(&name(CPU)), 4);
}

#[test]
fn what_a_partition_holds_goes_with_its_ownership_and_comes_back() {
    let (mut state, session) = with_worker();
    let id = request(&mut state, "a", amount(2, 0), Holder::Partition(partition(0)));
    assert_eq!(grant(&mut state, &[&id]), 0, "nobody owns the partition");
    assign(&mut state, session, &[0]);
    assert_eq!(grant(&mut state, &[&id]), 1);
    let first = epoch(&state, &id).unwrap();
    assert_eq!(allocation(&state, &id).session(), Some(session));
    let owned = state.partition(&partition(0)).unwrap().epoch.unwrap();
    let stale = RequestAllocation {
        epoch: Some(Epoch::default()),
        ..asking("a", amount(1, 0), Holder::Partition(partition(0)))
    };
    let stale = Command::RequestAllocation(stale);
    assert_eq!(refused(&mut state, &stale).0, Reason::StaleEpoch);
    run(&mut state, &Command::ReleasePartition { id: partition(0), epoch: owned }).unwrap();
    assert_eq!((epoch(&state, &id), granted(&state, CPU)), (None, 0));
    // Again, and now the session ends.
    assign(&mut state, session, &[0]);
    assert_eq!(grant(&mut state, &[&id]), 1);
    assert!(epoch(&state, &id).unwrap() > first);
    run(&mut state, &Command::CloseSession { id: session }).unwrap();
    assert_eq!((epoch(&state, &id), granted(&state, CPU)), (None, 0));
    run(&mut state, &Command::DeleteNetwork { name: name("n") }).unwrap();
    assert!(state.allocation(&id).is_none(), "gone with the partition");
}
