//! Each rule is broken on purpose: a checker that accepts everything would pass all other tests.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ApplyNetwork, Change, ClusterId, Command, Epoch, Event, Generation, Identity, Key, Kind, Name,
    NetworkSpec, Operation, Origin, Owner, Parallelism, Partition, PartitionId, PartitionPolicy,
    PartitionState, Process, ProcessEdge, Record, Resources, RestoreEpoch, Revision, Session,
    SessionId, Stamp, State, Transaction, Versioned, Worker, WorkerState, apply, hash, history,
};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn key(kind: Kind, text: &str) -> Key {
    Key { kind, bytes: text.to_owned().into() }
}

/// Two partitions, one connection, an entry that was written twice, a setting.
pub(crate) fn sound() -> State {
    sound_with(|_| {})
}

/// The same, with another description of the network.
fn sound_with(change: impl FnOnce(&mut NetworkSpec)) -> State {
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
    let mut state = State::new(identity);
    let put = |key: Key, record| {
        let put = Operation::Put { key, record, return_previous: false };
        Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
    };
    let process = |id| Process {
        needs: [(name("cpu"), 1)].into_iter().collect(),
        parallelism: Parallelism { min: 1, max: 2 },
        ..Process::new(name(id), "c")
    };
    let mut network = ApplyNetwork {
        name: name("n"),
        spec: NetworkSpec {
            processes: vec![process("a"), process("b"), process("c")],
            connections: vec![ProcessEdge { from: name("a"), to: name("b"), rate: 1 }],
            policy: PartitionPolicy {
                partitions: 2,
                strategy: name("any"),
                ..PartitionPolicy::default()
            },
            connection: Default::default(),
        },
        assignment: vec![0, 1, 1],
        basis: None,
    };
    change(&mut network.spec);
    let commands = [
        put(key(Kind::Entry, "k"), Record::Entry("1".into())),
        put(key(Kind::Entry, "k"), Record::Entry("2".into())),
        put(key(Kind::Setting, "value_bytes_max"), Record::Setting("99".into())),
        Command::ApplyNetwork(network),
    ];
    for (time_ms, command) in (1..).zip(&commands) {
        assert!(apply(&mut state, Stamp::at(time_ms), command).event.is_some());
    }
    assert_eq!(state.check(), Ok(()));
    state
}

/// The rule that is found broken, first of all.
fn violation(state: &State) -> String {
    state.check().unwrap_err().remove(0).to_string()
}

/// Replaces a record as if by a command that knows no rules.
pub(crate) fn write(state: &mut State, key: Key, value: Option<Record>) {
    let previous = state.get(&key).cloned();
    let revision = state.revision().next();
    let current = value.map(|value| {
        let (created, version) =
            previous.as_ref().map_or((revision, 1), |old| (old.created, old.version + 1));
        Arc::new(Versioned { created, modified: revision, version, value })
    });
    state.commit(vec![Change::new(key, current, previous)], Origin::default());
}

pub(crate) fn partition(state: &State, text: &str) -> Partition {
    match &state.get(&key(Kind::Partition, text)).unwrap().value {
        Record::Partition(partition) => partition.as_ref().clone(),
        other => panic!("{other:?}"),
    }
}

/// What is said after a partition was changed.
fn with_partition(text: &str, change: impl FnOnce(&mut Partition)) -> String {
    let mut state = sound();
    let mut partition = partition(&state, text);
    change(&mut partition);
    write(&mut state, key(Kind::Partition, text), Some(Record::Partition(Arc::new(partition))));
    violation(&state)
}

fn with_network(change: impl FnOnce(&mut crate::Network)) -> String {
    let mut state = sound();
    let at = key(Kind::Network, "n");
    let Record::Network(network) = &state.get(&at).unwrap().value else { panic!("no network") };
    let mut network = network.as_ref().clone();
    change(&mut network);
    write(&mut state, at, Some(Record::Network(Arc::new(network))));
    violation(&state)
}

fn with_connection(text: &str, edges: &[(&str, &str)]) -> String {
    let mut state = sound();
    let edge = |(from, to): &(&str, &str)| ProcessEdge { from: name(from), to: name(to), rate: 1 };
    let connection = crate::Connection {
        edges: edges.iter().map(edge).collect(),
        policy: crate::ConnectionPolicy::default().resolved(&crate::Settings::default()),
    };
    write(&mut state, key(Kind::Connection, text), Some(Record::Connection(Arc::new(connection))));
    violation(&state)
}

fn with_record(change: impl FnOnce(&mut Versioned<Record>)) -> String {
    let mut state = sound();
    let at = key(Kind::Entry, "k");
    let mut record = state.get(&at).unwrap().as_ref().clone();
    state.sum = state.sum.wrapping_sub(hash::record(&at, &record));
    change(&mut record);
    state.sum = state.sum.wrapping_add(hash::record(&at, &record));
    state.records.insert(at, Arc::new(record));
    violation(&state)
}

/// What is said after the newest event was changed.
fn with_event(change: impl FnOnce(&mut Event)) -> String {
    let mut state = sound();
    write(&mut state, key(Kind::Entry, "k"), Some(Record::Entry("3".into())));
    let mut events: Vec<_> = state.history.from(Revision(1)).cloned().collect();
    change(Arc::make_mut(events.last_mut().unwrap()));
    state.history = history::History::starting_at(Revision(1));
    for event in events {
        let hash = history::event_hash(&event);
        state.history.push(event, hash);
    }
    violation(&state)
}

#[track_caller]
fn says(violation: &str, part: &str) {
    assert!(violation.contains(part), "{violation:?} instead of {part:?}");
}

#[test]
fn revisions() {
    says(&with_record(|record| record.created = Revision(0)), "1 <= created");
    says(&with_record(|record| record.created = Revision(3)), "<= modified");
    says(&with_record(|record| record.modified = Revision(9)), "modified 9 <= 4");
    says(&with_record(|record| record.version = 0), "version 0");
    says(&with_record(|record| record.version = 3), "version 3");
    says(&with_record(|record| record.value = Record::Setting("1".into())), "holds its kind");
}

#[test]
fn keys_and_settings() {
    let with = |kind, text: &str, record| {
        let mut state = sound();
        write(&mut state, key(kind, text), Some(record));
        violation(&state)
    };
    says(&with(Kind::Entry, "", Record::Entry("1".into())), "the key is canonical");
    says(&with(Kind::Setting, "value_bytes_max", Record::Setting("0".into())), "is valid");
    says(&with(Kind::Setting, "unknown", Record::Setting("1".into())), "is valid");
    let partition = Record::Partition(Arc::new(partition(&sound(), "n/0")));
    says(&with(Kind::Partition, "n/00", partition.clone()), "the key is canonical");
    says(&with(Kind::Partition, "m/0", partition), "without a network");
    let mut state = sound();
    Arc::make_mut(&mut state.settings).value_bytes_max = 98;
    says(&violation(&state), "the settings are those of the records");
}

#[test]
fn totals() {
    let mut state = sound();
    state.sum ^= 1;
    says(&violation(&state), "the records' sum");
    let mut state = sound();
    state.records.remove(&key(Kind::Entry, "k"));
    says(&violation(&state), "the records' sum");
}

#[test]
fn histories() {
    let mut state = sound();
    state.revision = Revision(5);
    says(&violation(&state), "ends at the revision");
    let mut state = sound();
    state.time_ms = 3;
    says(&violation(&state), "its times are in order");
    let mut state = sound();
    state.time_ms = 1 + state.settings().history_age_ms_max;
    assert_eq!(state.check(), Ok(()));
    state.time_ms += 1;
    says(&violation(&state), "an age of");
    let mut state = sound();
    Arc::make_mut(&mut state.settings).history_bytes_max = state.history().bytes() - 1;
    assert!(state.check().unwrap_err().iter().any(|v| v.detail.contains("bytes are within")));
    let mut state = sound();
    state.history = history::History::starting_at(Revision(4));
    says(&violation(&state), "ends at the revision, not at 3");
    says(&with_event(|event| event.revision = Revision(4)), "its revisions are 1 to 5");
    says(&with_event(|event| event.time_ms = 0), "its times are in order");
    says(&with_event(|event| event.changes.clear()), "has changes");
    says(&with_event(|event| event.changes.push(event.changes[0].clone())), "changes once");
    says(&with_event(|event| event.changes[0].previous = None), "is created at 5 if");
    says(&with_event(|event| event.changes[0].current = None), "as its newest change says");
    let modified_then = |event: &mut Event| {
        Arc::make_mut(event.changes[0].previous.as_mut().unwrap()).modified = Revision(5);
    };
    says(&with_event(modified_then), "is modified at 5");
    let other_version = |event: &mut Event| {
        Arc::make_mut(event.changes[0].previous.as_mut().unwrap()).version = 1;
    };
    says(&with_event(other_version), "continues at 5");
}

#[test]
fn descriptions() {
    says(&with_network(|network| network.spec.processes.reverse()), "canonical order");
    says(&with_network(|network| network.spec.policy.partitions = 0), "is valid");
    says(&with_network(|network| network.spec.policy.partitions = 3), "its partitions are 0..3");
    says(&with_network(|network| network.generation = Generation(0)), "its generation");
    let lost = |network: &mut crate::Network| drop(network.spec.processes.pop());
    says(&with_network(lost), "c is a process of its network");
    let uncarried = |network: &mut crate::Network| {
        let edge = ProcessEdge { from: name("b"), to: name("a"), rate: 1 };
        network.spec.connections.push(edge);
    };
    says(&with_network(uncarried), "edges cross from 1 to 0 uncarried");
}

#[test]
fn partitions() {
    says(&with_partition("n/1", |p| p.processes.reverse()), "by id");
    says(&with_partition("n/0", |p| p.processes.clear()), "its processes are some");
    says(&with_partition("n/0", |p| p.processes[0].parallelism = 3), "is a process of its network");
    says(&with_partition("n/0", |p| p.demand = Resources::default()), "its demand");
    says(&with_partition("n/0", |p| p.load_ppm += 1), "its load");
    let other = |partition: &mut Partition| {
        partition.processes = self::partition(&sound(), "n/1").processes;
        partition.demand = self::partition(&sound(), "n/1").demand;
        partition.load_ppm = 500_000;
    };
    let said = with_partition("n/0", other);
    assert!(said.contains("its load") || said.contains("exactly one partition"), "{said}");
    let mut state = sound();
    write(&mut state, key(Kind::Partition, "n/1"), None);
    says(&violation(&state), "its partitions are 0..2");
}

/// `a` is in one partition, `b` and `c` are in the other.
fn constrained() -> State {
    sound_with(|spec| {
        let [a, b, c] = spec.processes.as_mut_slice() else { panic!("three processes") };
        a.requires.insert("zone".into(), "x".into());
        c.requires.insert("zone".into(), "y".into());
        (b.affinity, c.affinity) = (Some(name("f")), Some(name("f")));
        (a.anti_affinity, b.anti_affinity) = (Some(name("g")), Some(name("g")));
    })
}

#[test]
fn constraints() {
    let with_partition = |change: fn(&mut Partition)| {
        let mut state = constrained();
        let mut partition = partition(&state, "n/0");
        change(&mut partition);
        let record = Record::Partition(Arc::new(partition));
        write(&mut state, key(Kind::Partition, "n/0"), Some(record));
        violation(&state)
    };
    says(&with_partition(|p| p.requires.clear()), "it requires what its processes do");
    says(&with_partition(|p| p.apart.clear()), "its processes' anti-affinity groups, once");
    says(&with_partition(|p| p.apart.extend([name("h")])), "its processes' anti-affinity groups");
    let with_processes = |change: fn(&mut Process, &mut Process, &mut Process)| {
        let mut state = constrained();
        let at = key(Kind::Network, "n");
        let Record::Network(network) = &state.get(&at).unwrap().value else { panic!("no network") };
        let mut network = network.as_ref().clone();
        let [a, b, c] = network.spec.processes.as_mut_slice() else { panic!("three processes") };
        change(a, b, c);
        write(&mut state, at, Some(Record::Network(Arc::new(network))));
        let all = state.check().unwrap_err();
        all.iter().map(|violation| format!("{violation}\n")).collect::<String>()
    };
    says(&with_processes(|a, _, _| a.affinity = Some(name("f"))), "is valid");
    let apart = |_: &mut Process, b: &mut Process, c: &mut Process| {
        (b.affinity, c.affinity, c.anti_affinity) = (None, None, b.anti_affinity.clone());
    };
    says(&with_processes(apart), "is valid");
    let moved = |a: &mut Process, b: &mut Process, c: &mut Process| {
        (b.affinity, c.affinity) = (None, None);
        c.anti_affinity = a.anti_affinity.take();
    };
    says(&with_processes(moved), "its processes' anti-affinity groups, once");
    let alone = |a: &mut Process, b: &mut Process, _: &mut Process| {
        a.affinity = b.affinity.take();
        a.requires.clear();
    };
    says(&with_processes(alone), "affinity group f is in 0");
}

#[test]
fn owners() {
    let epoch = Epoch { restore: RestoreEpoch(1), revision: Revision(2) };
    let session = SessionId { restore: RestoreEpoch(1), revision: Revision(5) };
    let owned = |owner: &str, epoch| {
        let owner = Some(Owner { worker: name(owner), session });
        move |partition: &mut Partition| {
            (partition.owner, partition.epoch) = (owner, epoch);
            partition.state = PartitionState::Assigned;
        }
    };
    says(&with_partition("n/0", owned("w", Some(epoch))), "its owner w exists");
    let late = Epoch { revision: Revision(99), ..epoch };
    says(&with_partition("n/0", |p| p.epoch = Some(late)), "its epoch 1.99");
    let foreign = Epoch { restore: RestoreEpoch(2), ..epoch };
    says(&with_partition("n/0", |p| p.epoch = Some(foreign)), "its epoch 2.2");
    for (state_of_worker, epoch, expected) in [
        (WorkerState::Down, Some(epoch), Some("its owner w exists, is not down")),
        (WorkerState::Active, None, Some("has an epoch")),
        (WorkerState::Active, Some(epoch), None),
    ] {
        let mut state = sound();
        let record = Session { ttl_ms: 5_000, label: "".into() };
        write(&mut state, Key::session(session), Some(Record::Session(record)));
        let worker = Worker {
            session: Some(session),
            address: "127.0.0.1:1".into(),
            capacity: Resources::default(),
            labels: BTreeMap::new(),
            state: state_of_worker,
        };
        write(&mut state, key(Kind::Worker, "w"), Some(Record::Worker(Arc::new(worker))));
        let mut partition = partition(&state, "n/0");
        owned("w", epoch)(&mut partition);
        let record = Record::Partition(Arc::new(partition));
        write(&mut state, key(Kind::Partition, "n/0"), Some(record));
        match expected {
            Some(expected) => says(&violation(&state), expected),
            None => assert_eq!(state.check(), Ok(())),
        }
    }
}

#[test]
fn connections() {
    let exact = "it carries exactly the edges that cross";
    says(&with_connection("n/0->n/1", &[]), exact);
    says(&with_connection("n/0->n/1", &[("a", "b"), ("a", "c")]), exact);
    says(&with_connection("n/1->n/0", &[("b", "a")]), exact);
    says(&with_connection("n/0->n/0", &[("a", "a")]), "the key is canonical");
    says(&with_connection("m/0->m/1", &[("a", "b")]), "without a network");
    let mut state = sound();
    write(&mut state, key(Kind::Connection, "n/0->n/1"), None);
    says(&violation(&state), "edges cross from 0 to 1 uncarried");
}

#[test]
fn the_report_is_bounded() {
    let mut state = sound();
    for at in 0..200 {
        write(&mut state, key(Kind::Partition, &format!("x{at}")), Some(Record::Entry("".into())));
    }
    assert_eq!(state.check().unwrap_err().len(), 100);
}

/// Two connections between owned partitions, both ways.
fn connected() -> State {
    let mut state = sound_with(|spec| {
        spec.connections.push(ProcessEdge { from: name("b"), to: name("a"), rate: 1 });
    });
    let session = SessionId { restore: RestoreEpoch(1), revision: state.revision().next() };
    let owner = Owner { worker: name("w"), session };
    let grant = |index| crate::Grant {
        partition: crate::PartitionId { network: name("n"), index },
        owner: owner.clone(),
    };
    let commands = [
        Command::OpenSession { ttl_ms: 5_000, label: "".into() },
        Command::RegisterWorker(crate::RegisterWorker {
            name: name("w"),
            session,
            address: "w:1".into(),
            capacity: Resources::default(),
            labels: BTreeMap::new(),
        }),
        Command::AssignPartitions { grants: vec![grant(0), grant(1)] },
    ];
    for command in &commands {
        assert!(apply(&mut state, Stamp::at(9), command).event.is_some());
    }
    assert_eq!(state.check(), Ok(()));
    assert_eq!(state.records_of(Kind::ConnectionStatus).count(), 2);
    state
}

#[test]
fn statuses_follow_from_ownerships() {
    let at = || key(Kind::ConnectionStatus, "n/0->n/1");
    let with = |change: &dyn Fn(&mut crate::ConnectionStatus)| {
        let mut state = connected();
        let Record::ConnectionStatus(status) = &state.get(&at()).unwrap().value else { panic!() };
        let mut status = status.as_ref().clone();
        change(&mut status);
        write(&mut state, at(), Some(Record::ConnectionStatus(Arc::new(status))));
        violation(&state)
    };
    says(&with(&|it| it.from.epoch = Epoch::default()), "the status of its ends");
    says(&with(&|it| it.to.session.revision = Revision(1)), "the status of its ends");
    says(&with(&|it| it.since_ms = 10), "in the past");
    says(&with(&|it| it.retry_at_ms = 1), "only what is broken is retried");
    says(&with(&|it| it.error = "x".repeat(129).into()), "its error is bounded");
    let mut state = connected();
    write(&mut state, at(), None);
    says(&violation(&state), "the status of its ends");
    let mut state = connected();
    let status = state.get(&at()).unwrap().value.clone();
    write(&mut state, key(Kind::ConnectionStatus, "n/0->n/2"), Some(status));
    says(&violation(&state), "a status without a connection");
}

#[test]
fn rules_of_connections_and_their_index() {
    let with = |change: &dyn Fn(&mut crate::Connection)| {
        let mut state = connected();
        let at = key(Kind::Connection, "n/0->n/1");
        let Record::Connection(connection) = &state.get(&at).unwrap().value else { panic!() };
        let mut connection = connection.as_ref().clone();
        change(&mut connection);
        write(&mut state, at, Some(Record::Connection(Arc::new(connection))));
        violation(&state)
    };
    says(&with(&|it| it.policy.attempts_max = 0), "complete and valid");
    says(&with(&|it| it.policy.connect_timeout_ms = 1), "complete and valid");
    let mut state = sound_with(|spec| spec.connection.attempts_max = 3);
    let at = key(Kind::Connection, "n/0->n/1");
    let Record::Connection(connection) = &state.get(&at).unwrap().value else { panic!() };
    let mut connection = connection.as_ref().clone();
    connection.policy.attempts_max = 4;
    write(&mut state, at, Some(Record::Connection(Arc::new(connection))));
    says(&violation(&state), "those of its network");
    let mut state = connected();
    state.incoming.clear();
    says(&violation(&state), "the index is recomputed");
}

/// A pool of four CPUs, of which one is granted to a session.
fn with_grant() -> (State, Key, crate::Allocation) {
    let mut state = sound();
    let four = [(name("cpu"), 4)].into_iter().collect();
    let tenants = [(name("a"), crate::Tenant::default())].into();
    let pool = crate::Pool { capacity: four, tenants, policy: crate::PoolPolicy::default() };
    let mut run = |command: &Command| {
        apply(&mut state, Stamp::at(9), command).outcome.result.unwrap();
        state.revision()
    };
    run(&Command::PutPool { name: name("p"), pool });
    let opened = run(&Command::OpenSession { ttl_ms: 5_000, label: String::new() });
    let session = SessionId { restore: RestoreEpoch(1), revision: opened };
    let number = run(&Command::RequestAllocation(crate::RequestAllocation {
        pool: name("p"),
        tenant: name("a"),
        amount: [(name("cpu"), 1)].into_iter().collect(),
        priority: 0,
        holder: crate::Holder::Session(session),
        epoch: None,
    }));
    let id = crate::AllocationId { pool: name("p"), number: number.get(), part: 0 };
    run(&Command::GrantAllocations { ids: vec![id.clone()] });
    assert_eq!(state.check(), Ok(()));
    let allocation = state.allocation(&id).unwrap().as_ref().clone();
    (state, Key::allocation(&id), allocation)
}

fn with_allocation(change: impl FnOnce(&mut crate::Allocation)) -> String {
    let (mut state, key, mut allocation) = with_grant();
    change(&mut allocation);
    write(&mut state, key, Some(Record::Allocation(Arc::new(allocation))));
    violation(&state)
}

#[test]
fn pools_and_allocations() {
    let cpus = |count| [(name("cpu"), count)].into_iter().collect();
    says(&with_allocation(|it| it.amount = cpus(5)), "5 cpu is granted to None, at most Some(4)");
    says(&with_allocation(|it| it.amount = cpus(0)), "its amount is valid");
    says(&with_allocation(|it| it.tenant = name("b")), "its pool has its tenant b");
    let of = |index| PartitionId { network: name("n"), index };
    let held_by = |id| with_allocation(|it| it.holder = crate::Holder::Partition(id));
    says(&held_by(of(7)), "its partition n/7 exists");
    says(&held_by(of(0)), "it is granted to the owner of n/0");
    says(
        &with_allocation(|it| {
            if let crate::AllocationState::Granted(grant) = &mut it.state {
                grant.epoch.revision = Revision(99);
            }
        }),
        "its epoch 1.99 is no newer",
    );
    let other = SessionId { restore: RestoreEpoch(1), revision: Revision(1) };
    says(&with_allocation(|it| it.holder = crate::Holder::Session(other)), "is alive");
    says(&with_allocation(|it| it.required = true), "a partition holds what is required");
    let (state, at, allocation) = with_grant();
    let with = |key: &Key, record| {
        let mut state = state.clone();
        write(&mut state, key.clone(), record);
        violation(&state)
    };
    says(&with(&Key::pool(&name("p")), None), "its pool has its tenant");
    let elsewhere = Key { bytes: "p/1".into(), ..at.clone() };
    says(&with(&elsewhere, Some(Record::Allocation(Arc::new(allocation)))), "its number is");
    let load = Key { kind: Kind::Load, bytes: "allocation:p/1".into() };
    let used = Record::Load(crate::Load { load_ppm: 1 });
    says(&with(&load, Some(used)), "of an allocation that is granted");
    let mut forgotten = state.clone();
    forgotten.in_use = crate::sums::InUse::default();
    says(&violation(&forgotten), "what is in use is recomputed");
}

#[test]
fn what_is_required() {
    says(
        &with_network(|it| {
            let policy = &mut it.spec.policy;
            (policy.pool, policy.tenant) = (Some(name("q")), Some(name("a")));
        }),
        "its pool q has its tenant a",
    );
    says(&with_network(|it| it.spec.policy.pool = Some(name("q"))), "its description is valid");
    let (mut state, _, allocation) = with_grant();
    let mut waiting = crate::Allocation { state: crate::AllocationState::Waiting, ..allocation };
    let mut with = |waiting: &crate::Allocation, part| {
        let number = state.revision().next().get();
        let at = Key::allocation(&crate::AllocationId { pool: name("p"), number, part });
        let mut then = state.clone();
        write(&mut then, at, Some(Record::Allocation(Arc::new(waiting.clone()))));
        if then.check() == Ok(()) {
            state = then.clone();
        }
        then.check().err().map(|mut all| all.remove(0).to_string()).unwrap_or_default()
    };
    says(&with(&waiting, 1), "it alone was asked for");
    waiting.required = true;
    says(&with(&waiting, 0), "a partition holds what is required");
    waiting.holder = crate::Holder::Partition(PartitionId { network: name("n"), index: 0 });
    assert_eq!(with(&waiting, 3), "");
    says(&with(&waiting, 0), "n/0 requires nothing else");
}
