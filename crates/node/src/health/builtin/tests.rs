//! What each check finds, state by state.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Holder, Identity, Load, LoadId, LogIndex, MemberId,
    Name, NetworkSpec, Operation, Owner, PartitionId, PartitionPolicy, Process, ProcessEdge,
    Raised, Record, RegisterWorker, Reply, RequestAllocation, Resources, RestoreEpoch, Revision,
    SessionId, Severity, Stamp, State, StateHash, Term, Transaction, apply,
};
use quorate_storage::Mark;

use super::{age::Ages, connection, machine, partition, pool, replica, worker};
use crate::{
    health::check::{Findings, HealthContext},
    members::{MemberInfo, Standing},
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run(state: &mut State, time_ms: u64, command: &Command) -> Reply {
    let applied = apply(state, Stamp { time_ms, term: Term(1) }, command);
    assert_eq!(state.check(), Ok(()));
    applied.outcome.result.unwrap()
}

fn empty() -> State {
    State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) })
}

/// A network of two partitions, one sending to the other, at 1 s.
fn with_network() -> State {
    let mut state = empty();
    let spec = NetworkSpec {
        processes: vec![Process::new(name("a"), "test"), Process::new(name("b"), "test")],
        connections: vec![ProcessEdge { from: name("a"), to: name("b"), rate: 1 }],
        policy: PartitionPolicy {
            partitions: 2,
            strategy: name("round-robin"),
            ..PartitionPolicy::default()
        },
        connection: quorate_core::ConnectionPolicy::default(),
    };
    let network = ApplyNetwork { name: name("n"), spec, assignment: vec![0, 1], basis: None };
    run(&mut state, 1_000, &Command::ApplyNetwork(network));
    state
}

fn register(state: &mut State, text: &str) -> SessionId {
    let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let Reply::OpenSession { id: session, .. } = run(state, 1_000, &open) else { panic!("none") };
    let worker = RegisterWorker {
        name: name(text),
        session,
        address: "127.0.0.1:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
    };
    run(state, 1_000, &Command::RegisterWorker(worker));
    session
}

fn grant(state: &mut State, index: u32, worker: &str, session: SessionId) {
    let owner = Owner { worker: name(worker), session };
    let grant = Grant { partition: PartitionId { network: name("n"), index }, owner };
    run(state, 1_000, &Command::AssignPartitions { grants: vec![grant] });
}

fn set(state: &mut State, setting: &str, value: &str) {
    let (key, record) = (quorate_core::Key::setting(&name(setting)), Record::Setting(value.into()));
    let put = Operation::Put { key, record, return_previous: false };
    let command = Transaction { success: vec![put], ..Transaction::default() };
    run(state, 1_000, &Command::Transaction(command));
}

fn seen(state: &State, now_ms: u64) -> HealthContext {
    HealthContext {
        state: state.clone(),
        now_ms,
        member: MemberId(1),
        members: Vec::new(),
        unheard: Vec::new(),
        replicas: Default::default(),
    }
}

fn found(findings: &Findings) -> Vec<(&str, Severity)> {
    findings.iter().map(|(subject, finding)| (subject.as_str(), finding.severity)).collect()
}

/// What a check finds that sees the state for the first time.
fn find(check: fn(&HealthContext, &mut Ages) -> Findings, state: &State, now_ms: u64) -> Findings {
    check(&seen(state, now_ms), &mut Ages::default())
}

#[test]
fn a_partition_is_missed_after_a_while_and_it_is_said_why() {
    let mut state = with_network();
    let max = state.settings().health_unowned_ms_max;
    assert!(find(partition::unowned, &state, 1_000 + max).is_empty());
    let missed = find(partition::unowned, &state, 1_001 + max);
    assert_eq!(found(&missed), [("n/0", Severity::Critical), ("n/1", Severity::Critical)]);
    assert_eq!(missed["n/0"].message, "nobody owns it: no worker takes partitions");
    let session = register(&mut state, "w");
    grant(&mut state, 0, "w", session);
    let missed = find(partition::unowned, &state, 1_001 + max);
    assert_eq!(found(&missed), [("n/1", Severity::Critical)]);
    assert!(missed["n/1"].message.contains("no worker has room"), "{missed:?}");
}

#[test]
fn what_is_older_than_the_history_is_as_old_as_it_was_seen() {
    let mut state = with_network();
    set(&mut state, "history_bytes_max", "0");
    assert_eq!(state.history().len(), 1);
    let max = state.settings().health_unowned_ms_max;
    let mut ages = Ages::default();
    let mut at = |now_ms| {
        let missed = partition::unowned(&seen(&state, now_ms), &mut ages);
        ages.end_of_run();
        missed.len()
    };
    // The newest event is of 1 s, and what is older is at least as old.
    assert_eq!([at(5_000), at(1_000 + max), at(1_001 + max)], [0, 0, 2]);
}

#[test]
fn a_connection_needs_owners_at_both_ends() {
    let mut state = with_network();
    let session = register(&mut state, "w");
    grant(&mut state, 0, "w", session);
    let late = 1_001 + state.settings().health_unowned_ms_max;
    let missed = find(connection::unusable, &state, late);
    assert_eq!(found(&missed), [("n/0->n/1", Severity::Warning)]);
    assert_eq!(missed["n/0->n/1"].message, "partition n/1 has no owner");
    grant(&mut state, 1, "w", session);
    assert!(find(connection::unusable, &state, late).is_empty());
}

#[test]
fn a_worker_is_lost_overloaded_or_has_too_much() {
    let mut state = with_network();
    let session = register(&mut state, "w");
    (0..2).for_each(|index| grant(&mut state, index, "w", session));
    let max = state.settings().health_load_ppm_max;
    let mut report = |load_ppm| {
        let loads = vec![(LoadId::Worker(name("w")), Load { load_ppm })];
        run(&mut state, 1_000, &Command::ReportLoads { loads });
        find(worker::load, &state, 1_000).len()
    };
    assert_eq!([report(max), report(max + 1)], [0, 1]);
    assert!(find(worker::partitions, &state, 1_000).is_empty());
    set(&mut state, "worker_partitions_max", "1");
    assert_eq!(found(&find(worker::partitions, &state, 1_000)), [("w", Severity::Warning)]);

    run(&mut state, 2_000, &Command::CloseSession { id: session });
    let max = state.settings().health_down_ms_max;
    assert!(find(worker::down, &state, 2_000 + max).is_empty());
    assert_eq!(found(&find(worker::down, &state, 2_001 + max)), [("w", Severity::Warning)]);
    assert!(find(worker::load, &state, 2_000).is_empty(), "one that is down has no load");
}

#[test]
fn a_pool_is_waited_for_in_vain() {
    let mut state = with_network();
    let session = register(&mut state, "w");
    let capacity: Resources = [(name("cpu"), 10)].into_iter().collect();
    for pool in ["p", "q"] {
        let tenants = [(name("t"), quorate_core::Tenant::default())].into();
        let policy = quorate_core::PoolPolicy::default();
        let pool_of = quorate_core::Pool { capacity: capacity.clone(), tenants, policy };
        run(&mut state, 1_000, &Command::PutPool { name: name(pool), pool: pool_of });
    }
    // What has no owner waits for one, and not for the pool.
    let request = RequestAllocation {
        pool: name("q"),
        tenant: name("t"),
        amount: capacity.clone(),
        priority: 0,
        holder: Holder::Partition(PartitionId::parse("n/0").unwrap()),
        epoch: None,
    };
    run(&mut state, 1_000, &Command::RequestAllocation(request));
    let mut ask = |pool: &str, time_ms| {
        let request = RequestAllocation {
            pool: name(pool),
            tenant: name("t"),
            amount: capacity.clone(),
            priority: 0,
            holder: Holder::Session(session),
            epoch: None,
        };
        let reply = run(&mut state, time_ms, &Command::RequestAllocation(request));
        let Reply::RequestAllocation { id } = reply else { panic!("{reply:?}") };
        id
    };
    let first = ask("p", 2_000);
    ask("p", 1_000 + 2_000);
    ask("q", 9_000);
    let max = state.settings().health_waiting_ms_max;
    assert!(find(pool::waiting, &state, 2_000 + max).is_empty());
    let missed = find(pool::waiting, &state, 3_001 + max);
    assert_eq!(found(&missed), [("p", Severity::Warning)]);
    let expected = format!("2 allocations wait for too long, longest {first}");
    assert_eq!((missed["p"].value, &missed["p"].message), (1_001 + max, &expected));
    let grant = Command::GrantAllocations { ids: vec![first] };
    run(&mut state, 400_000, &grant);
    let missed = find(pool::waiting, &state, 3_001 + max);
    assert_eq!(missed["p"].value, 1 + max, "what is granted waits no more");
}

#[test]
fn members_are_missed_while_they_are_members() {
    let member = |id, standing| MemberInfo {
        id: MemberId(id),
        peer: "p:1".into(),
        client: "c:1".into(),
        standing,
    };
    let members = vec![
        member(1, Standing::Voter),
        member(2, Standing::Voter),
        member(3, Standing::Learner),
        member(4, Standing::Joining),
    ];
    let unheard = [2, 3, 4, 5].map(MemberId).to_vec();
    let context = HealthContext { members, unheard, ..seen(&empty(), 0) };
    let missed = machine::unheard(&context, &mut Ages::default());
    assert_eq!(found(&missed), [("2", Severity::Critical), ("3", Severity::Warning)]);
}

/// What a member says of its state: index, revision, hash.
type Said<'a> = &'a [(u64, u64, u64)];

fn marks(members: &[Said<'_>]) -> BTreeMap<MemberId, Vec<Mark>> {
    let mark = |&(index, revision, hash): &(u64, u64, u64)| Mark {
        index: LogIndex(index),
        revision: Revision(revision),
        hash: StateHash(hash),
    };
    let ids = (1..).map(MemberId);
    ids.zip(members).map(|(id, marks)| (id, marks.iter().map(mark).collect())).collect()
}

fn compare(members: &[Said<'_>], count: usize) -> Findings {
    replica::compare(&marks(members), count).findings(&BTreeSet::new(), BTreeMap::new())
}

#[test]
fn equal_states_and_states_after_other_entries_are_no_finding() {
    let none: [&[Said<'_>]; 4] = [
        &[],
        &[&[(1_024, 7, 0xa), (2_000, 9, 0xb)]],
        // The newest is one that is kept, too; the last one is behind and has nothing in common.
        &[
            &[(1_024, 7, 0xa), (2_048, 8, 0xb), (2_048, 8, 0xb)],
            &[(1_024, 7, 0xa)],
            &[(900, 6, 0xc)],
        ],
        // One that has applied nothing yet.
        &[&[(0, 0, 0xa), (5, 1, 0xb)], &[(0, 0, 0xc)]],
    ];
    for members in none {
        assert_eq!(compare(members, 3), Findings::new());
    }
}

const GOOD: Said<'_> = &[(1_024, 7, 0xa), (2_048, 8, 0xb), (3_072, 9, 0xc)];
const BAD: Said<'_> = &[(1_024, 7, 0xa), (2_048, 8, 0xbad), (3_072, 9, 0xdad)];

#[test]
fn a_member_whose_state_differs_is_found_at_the_oldest_entry_that_shows_it() {
    let differing = compare(&[GOOD, BAD, GOOD], 3);
    assert_eq!(found(&differing), [("2", Severity::Critical)]);
    let message = "after log entry 2048 member 2 has state 0000000000000bad at revision 8, members 1, 3 have \
                   state 000000000000000b at revision 8";
    assert_eq!((&*differing["2"].message, differing["2"].value), (message, 8));
    // The first one, and while another lags: what that one can say is enough.
    let behind: Said<'_> = &[(1_024, 7, 0xa), (2_048, 8, 0xb)];
    assert_eq!(found(&compare(&[BAD, GOOD, behind], 3)), [("1", Severity::Critical)]);
    // At equal hashes another revision would be a difference as well.
    let differing = compare(&[&[(1, 1, 0xa)], &[(1, 2, 0xa)], &[(1, 2, 0xa)]], 3);
    assert_eq!(found(&differing), [("1", Severity::Critical)]);
}

#[test]
fn without_a_majority_nobody_is_accused() {
    for (members, count) in [
        (&[BAD, GOOD][..], 3),
        (&[GOOD, BAD][..], 2),
        (&[GOOD, GOOD, BAD][..], 5),
        (&[BAD, BAD, GOOD, GOOD][..], 4),
    ] {
        let differing = compare(members, count);
        assert_eq!(found(&differing), [("members", Severity::Critical)], "{members:?}");
    }
    let message = "after log entry 2048 member 2 has state 000000000000000b at revision 8, member 1 has state \
                   0000000000000bad at revision 8: no majority tells which is right";
    assert_eq!(compare(&[BAD, GOOD], 3)["members"].message, message);
    // A later entry tells.
    let late: Said<'_> = &[(3_072, 9, 0xc)];
    assert_eq!(found(&compare(&[BAD, GOOD, late], 3)), [("1", Severity::Critical)]);
}

#[test]
fn what_differed_is_not_forgotten_before_it_is_seen_to_agree() {
    let raised = |severity, message: &str| Raised { severity, message: message.into(), value: 8 };
    let standing = |subject: &str| {
        BTreeMap::from([(subject.to_owned(), raised(Severity::Critical, "it differed"))])
    };
    let all: BTreeSet<MemberId> = [1, 2, 3].map(MemberId).into();
    let judged = |members: &[Said<'_>], subject: &str| {
        let compared = replica::compare(&marks(members), 3);
        compared.findings(&all, standing(subject)).len()
    };
    assert_eq!(judged(&[GOOD, GOOD], "3"), 1, "it is silent");
    assert_eq!(judged(&[GOOD, GOOD, &[(3_100, 9, 0xc)]], "3"), 1, "it has nothing in common yet");
    assert_eq!(judged(&[GOOD, GOOD, GOOD], "3"), 0, "it agrees");
    assert_eq!(judged(&[GOOD, GOOD, GOOD], "4"), 0, "it is no member any more");
    assert_eq!(judged(&[GOOD], "members"), 1, "nobody can say yet");
    assert_eq!(judged(&[GOOD, GOOD], "members"), 0, "most agree");
    assert_eq!(judged(&[GOOD, BAD, GOOD], "2"), 1, "it still differs");
}

#[test]
fn space_runs_low_before_it_runs_out() {
    assert_eq!(machine::low(100, 100), None);
    assert_eq!(machine::low(99, 100).unwrap().severity, Severity::Warning);
    assert_eq!(machine::low(24, 100).unwrap().severity, Severity::Critical);
    assert_eq!(machine::low(0, 0), None, "0 turns it off");
}
