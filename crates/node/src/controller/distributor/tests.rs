//! What is decided on pools, state by state; and that following comes to what looking does.

use std::collections::BTreeSet;

use quorate_core::{
    AllocationId, AllocationState, ClusterId, Command, EndReason, Holder, Identity, Load, LoadId,
    Name, Pool, PoolPolicy, Reply, RequestAllocation, Resources, RestoreEpoch, SessionId, Stamp,
    State, Tenant, Term, apply,
};

use super::{decide::decide, ledger::Ledger};

const NOW: u64 = 100_000_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn amount(cpu: u64, memory: u64) -> Resources {
    [(name("cpu"), cpu), (name("memory"), memory)].into_iter().collect()
}

fn run_at(state: &mut State, time_ms: u64, command: &Command) -> Reply {
    let applied = apply(state, Stamp { time_ms, term: Term(1) }, command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.unwrap()
}

fn run(state: &mut State, command: &Command) -> Reply {
    run_at(state, NOW, command)
}

fn pool(guarantee: Resources, policy: PoolPolicy) -> Command {
    let guaranteed = Tenant { guarantee, ..Tenant::default() };
    let tenants = [(name("a"), Tenant::default()), (name("b"), guaranteed)].into();
    let pool = Pool { capacity: amount(9, 18), tenants, policy };
    Command::PutPool { name: name("p"), pool }
}

fn with(command: &Command) -> (State, SessionId) {
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
    let mut state = State::new(identity);
    run(&mut state, command);
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Reply::OpenSession { id, .. } = run(&mut state, &open) else { panic!("not opened") };
    (state, id)
}

fn ask(state: &mut State, session: SessionId, tenant: &str, amount: Resources) -> AllocationId {
    let request = RequestAllocation {
        pool: name("p"),
        tenant: name(tenant),
        amount,
        priority: 0,
        holder: Holder::Session(session),
        epoch: None,
    };
    match run(state, &Command::RequestAllocation(request)) {
        Reply::RequestAllocation { id } => id,
        other => panic!("{other:?}"),
    }
}

fn granted(state: &State, tenant: &str) -> usize {
    let found = state.records_of(quorate_core::Kind::Allocation);
    let granted = found.filter(|(_, record)| match &record.value {
        quorate_core::Record::Allocation(it) => it.tenant == name(tenant) && it.grant().is_some(),
        _ => false,
    });
    granted.count()
}

#[test]
fn contention_ends_at_the_fair_shares() {
    let (mut state, session) = with(&pool(amount(0, 0), PoolPolicy::default()));
    for _ in 0..6 {
        ask(&mut state, session, "a", amount(1, 4));
        ask(&mut state, session, "b", amount(3, 1));
    }
    let decision = decide(&state, &name("p"), NOW).unwrap();
    assert_eq!(decision.grounds, "5 by fair share");
    run(&mut state, &Command::GrantAllocations { ids: decision.grants });
    assert_eq!((granted(&state, "a"), granted(&state, "b")), (3, 2));
    let decision = decide(&state, &name("p"), NOW).unwrap();
    assert!(decision.grants.is_empty() && decision.revocations.is_empty(), "nothing is left to do");
}

#[test]
fn a_guarantee_is_made_good_by_asking_grants_back_until_their_grace_is_over() {
    let policy = PoolPolicy { grace_ms: 1_000, ..PoolPolicy::default() };
    let (mut state, session) = with(&pool(amount(3, 0), policy));
    let all: Vec<_> = (0..3).map(|_| ask(&mut state, session, "a", amount(3, 0))).collect();
    run(&mut state, &Command::GrantAllocations { ids: all.clone() });
    let mut ledger = Ledger::of(&state, NOW);
    let first = ask(&mut state, session, "b", amount(3, 0));
    let decision = decide(&state, &name("p"), NOW).unwrap();
    assert!(decision.grants.is_empty());
    let ids: Vec<_> = decision.revocations.iter().map(|revocation| &revocation.id).collect();
    assert_eq!(ids, [&all[2]], "the newest");
    assert_eq!(decision.revocations[0].why.request, first);
    let revocations = decision.revocations;
    run(&mut state, &Command::RevokeAllocations { revocations });
    ledger.follow(&state, NOW);
    assert_eq!(ledger.next_ms(&state), Some(NOW + 1_000));
    assert!(ledger.due(&state, NOW + 999, 10).is_empty());
    let ends = ledger.due(&state, NOW + 1_000, 10);
    assert_eq!(
        ends.iter().map(|end| (&end.id, end.why)).collect::<Vec<_>>(),
        [(&all[2], EndReason::GraceOver)]
    );
    // Asked back once is enough.
    assert!(decide(&state, &name("p"), NOW).unwrap().revocations.is_empty());
    run_at(&mut state, NOW + 1_000, &Command::EndAllocations { ends });
    ledger.follow(&state, NOW + 1_000);
    assert!(ledger.due(&state, NOW + 1_000, 10).is_empty());
    let decision = decide(&state, &name("p"), NOW + 1_000).unwrap();
    assert_eq!((decision.grants, decision.grounds.as_str()), (vec![first], "1 within guarantees"));
    assert_eq!(state.allocation(&all[2]).unwrap().state, AllocationState::Waiting);
}

#[test]
fn what_nobody_uses_ends_and_a_new_leader_counts_anew() {
    let policy = PoolPolicy { idle_timeout_ms: 1_000, ..PoolPolicy::default() };
    let (mut state, session) = with(&pool(amount(0, 0), policy));
    let mut ledger = Ledger::of(&state, NOW);
    let used = ask(&mut state, session, "a", amount(1, 1));
    let idle = ask(&mut state, session, "a", amount(1, 1));
    let ids = vec![used.clone(), idle.clone()];
    run_at(&mut state, NOW + 10, &Command::GrantAllocations { ids });
    let report = |load_ppm| Command::ReportLoads {
        loads: vec![(LoadId::Allocation(used.clone()), Load { load_ppm })],
    };
    run_at(&mut state, NOW + 20, &report(5));
    ledger.follow(&state, NOW + 20);
    assert_eq!(ledger.next_ms(&state), Some(NOW + 1_010));
    assert!(ledger.due(&state, NOW + 1_009, 10).is_empty());
    let ends = ledger.due(&state, NOW + 1_010, 10);
    assert_eq!(ends.len(), 1);
    assert_eq!((&ends[0].id, ends[0].why), (&idle, EndReason::Idle));
    // Who begins to lead then waits as long again.
    let other = Ledger::of(&state, NOW + 1_010);
    assert!(other.due(&state, NOW + 2_009, 10).is_empty());
    assert_eq!(other.due(&state, NOW + 2_010, 10).len(), 1);
    run_at(&mut state, NOW + 1_010, &Command::EndAllocations { ends });
    run_at(&mut state, NOW + 1_500, &report(0));
    ledger.follow(&state, NOW + 1_500);
    assert_eq!(ledger.next_ms(&state), Some(NOW + 2_500));
    assert!(state.allocation(&idle).is_none());
}

#[test]
fn only_pools_of_which_something_may_be_granted_are_looked_at_again() {
    let (mut state, session) = with(&pool(amount(0, 0), PoolPolicy::default()));
    let mut ledger = Ledger::of(&state, NOW);
    let p = BTreeSet::from([name("p")]);
    assert_eq!(ledger.take_dirty(), p);
    let mut look = |state: &State| {
        ledger.follow(state, NOW);
        ledger.take_dirty()
    };
    let id = ask(&mut state, session, "a", amount(1, 1));
    assert_eq!(look(&state), p);
    run(&mut state, &Command::GrantAllocations { ids: vec![id.clone()] });
    assert!(look(&state).is_empty(), "a grant leaves less to grant");
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    run(&mut state, &open);
    assert!(look(&state).is_empty());
    let epoch = state.allocation(&id).unwrap().grant().map(|grant| grant.epoch);
    run(&mut state, &Command::ReleaseAllocation { id, epoch });
    assert_eq!(look(&state), p);
}
