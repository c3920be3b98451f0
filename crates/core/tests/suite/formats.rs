//! Stored formats: the bytes of every persisted type, and what decoding does with other bytes.
//!
//! `tests/golden/formats.txt` holds a line per value: its name and its bytes in hex. A difference
//! means that data on disk can no longer be read, unless `codec::FORMAT` changes with it.
//! `UPDATE_GOLDEN=1` writes the file anew.

mod pools;

use std::{collections::BTreeMap, fmt::Debug, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_core::{
    Alert, AlertId, ApplyNetwork, ApplyOutcome, Batch, Call, Change, Command, Connection,
    ConnectionEnd, ConnectionId, ConnectionPolicy, ConnectionReport, ConnectionState,
    ConnectionStatus, ConnectionStep, Due, Entry, Epoch, Event, Generation, Grant, Guard,
    KeptReply, Key, KeyRange, Kind, Load, LoadId, Member, MemberId, MemberState, Name, Network,
    NetworkSpec, Operation, OperationReply, Origin, Outcome, Owner, Parallelism, Partition,
    PartitionId, PartitionPolicy, PartitionState, PlacedProcess, Precondition, Process,
    ProcessEdge, Raised, Reason, Record, RegisterWorker, Rejection, Reply, Request, Resources,
    RestoreEpoch, Revision, Seen, Serial, Session, SessionId, Severity, Stamp, State, StateHash,
    Term, Test, Transaction, TransactionReply, Versioned, Window, Worker, WorkerState, apply,
    apply_request, checkpoint::Summary, codec,
};
use serde::{Serialize, de::DeserializeOwned};

use self::pools::{allocation_id, pool, pool_commands, pool_records};
use crate::generate::{IDENTITY, command, run, steps};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn resources() -> Resources {
    [(name("cpu_millis"), 1500), (name("memory_bytes"), 1 << 33)].into_iter().collect()
}

fn spec() -> NetworkSpec {
    let process = |id: &str, min, max| Process {
        needs: resources(),
        parallelism: Parallelism { min, max },
        ..Process::new(name(id), "stage")
    };
    let constrained = Process {
        requires: [("zone".to_owned(), "a".to_owned())].into(),
        affinity: Some(name("g")),
        anti_affinity: Some(name("h")),
        ..process("b", 2, 300)
    };
    NetworkSpec {
        processes: vec![process("a", 1, 1), constrained],
        connections: vec![ProcessEdge { from: name("a"), to: name("b"), rate: 70_000 }],
        policy: PartitionPolicy {
            partitions: 2,
            strategy: name("round-robin"),
            shares: vec![1, 300],
            pool: Some(name("pool")),
            tenant: Some(name("a")),
        },
        connection: ConnectionPolicy { backoff_factor_percent: 0, ..policy() },
    }
}

fn session() -> SessionId {
    SessionId { restore: RestoreEpoch(1_700_000_000), revision: Revision(77) }
}

fn records() -> Vec<(&'static str, Record)> {
    let workers =
        [WorkerState::Joining, WorkerState::Active, WorkerState::Draining, WorkerState::Down];
    let worker = |state| {
        Record::Worker(Arc::new(Worker {
            address: "127.0.0.1:9000".into(),
            capacity: resources(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            state,
            session: Some(session()),
        }))
    };
    let network = Network { spec: spec(), generation: Generation(3) };
    let partition = |owner: Option<&str>, epoch| {
        Record::Partition(Arc::new(Partition {
            processes: vec![PlacedProcess { id: name("b"), parallelism: 2 }],
            demand: resources(),
            load_ppm: 666_666,
            owner: owner.map(|worker| Owner { worker: name(worker), session: session() }),
            epoch,
            state: PartitionState::Unassigned,
            target: None,
            requires: [("zone".to_owned(), "a".to_owned())].into(),
            apart: [name("h")].into(),
        }))
    };
    let epoch = Epoch { restore: RestoreEpoch(1_700_000_000), revision: Revision(12) };
    let connection = Connection { edges: spec().connections, policy: policy() };
    let status = |state| Record::ConnectionStatus(Arc::new(status(state)));
    let member = |state| {
        let (peer, client) = ("127.0.0.1:7204".into(), "127.0.0.1:7104".into());
        Record::Member(Arc::new(Member { peer, client, state }))
    };
    let outcome = Outcome { revision: Revision(9), result: Ok(Reply::Done) };
    let alert = Alert {
        severity: Severity::Critical,
        message: "it is lost".into(),
        since_ms: 1_700_000_000_000,
        value: 7,
    };
    let reply = KeptReply { digest: 0x0102_0304_0506_0708, outcome };
    vec![
        ("entry", Record::Entry(Bytes::from_static(b"value").into())),
        ("entry_empty", Record::Entry(Entry::default())),
        ("worker_joining", worker(workers[0])),
        ("worker_active", worker(workers[1])),
        ("worker_draining", worker(workers[2])),
        ("worker_down", worker(workers[3])),
        ("network", Record::Network(Arc::new(network))),
        ("partition", partition(None, None)),
        ("partition_owned", partition(Some("w1"), Some(epoch))),
        ("connection", Record::Connection(Arc::new(connection))),
        ("setting", Record::Setting(Arc::from("1048576"))),
        ("entry_bound", Record::Entry(Entry { value: "v".into(), session: Some(session()) })),
        ("session", Record::Session(Session { ttl_ms: 10_000, label: "ops".into() })),
        ("load", Record::Load(Load { load_ppm: 300_000 })),
        ("member", member(MemberState::Active)),
        ("member_removed", member(MemberState::Removed)),
        ("window", Record::Window(Window { acknowledged: Serial(7), bytes: 300 })),
        ("reply", Record::Reply(Arc::new(reply))),
        ("connection_connecting", status(ConnectionState::Connecting)),
        ("connection_up", status(ConnectionState::Up)),
        ("connection_broken", status(ConnectionState::Broken)),
        ("connection_failed", status(ConnectionState::Failed)),
        ("alert", Record::Alert(Arc::new(alert))),
    ]
    .into_iter()
    .chain(pool_records())
    .collect()
}

fn policy() -> ConnectionPolicy {
    ConnectionPolicy {
        attempts_max: 5,
        backoff_factor_percent: 200,
        backoff_ms: 500,
        backoff_ms_max: 60_000,
        bytes_in_flight_max: 1 << 23,
        connect_timeout_ms: 10_000,
        messages_in_flight_max: 1_000,
        request_timeout_ms: 30_000,
    }
}

fn epoch() -> Epoch {
    Epoch { restore: RestoreEpoch(2), revision: Revision(12) }
}

fn status(state: ConnectionState) -> ConnectionStatus {
    let end = ConnectionEnd { epoch: epoch(), session: session() };
    ConnectionStatus {
        from: end,
        to: ConnectionEnd { epoch: Epoch { revision: Revision(13), ..end.epoch }, ..end },
        state,
        attempts: 3,
        since_ms: 1_700_000_000_000,
        retry_at_ms: 1_700_000_004_000,
        error: "reset".into(),
    }
}

fn connection_id() -> ConnectionId {
    ConnectionId { network: name("net"), from: 0, to: 1 }
}

fn report(seen: Seen) -> ConnectionReport {
    ConnectionReport { id: connection_id(), from_epoch: epoch(), to_epoch: epoch(), seen }
}

fn due(due: Due) -> ConnectionStep {
    ConnectionStep { id: connection_id(), modified: Revision(300), due }
}

fn versioned(value: Record) -> Arc<Versioned<Record>> {
    Arc::new(Versioned { created: Revision(5), modified: Revision(300), version: 7, value })
}

fn alert(subject: &str) -> AlertId {
    AlertId { check: name("worker_lost"), subject: subject.into() }
}

fn commands() -> Vec<Command> {
    let entry = |key: &'static str| Key::entry(key);
    let bounds = KeyRange::Bounds {
        kind: Kind::Partition,
        start: Bytes::from_static(b"n/0"),
        end: Bytes::new(),
    };
    let tests = [
        Test::Exists,
        Test::Absent,
        Test::ModifiedAt(Revision(9)),
        Test::Value(Bytes::from_static(b"v")),
    ];
    let ranges =
        [KeyRange::Single(entry("k")), KeyRange::Prefix(Kind::Setting, Bytes::new()), bounds];
    let preconditions = tests
        .into_iter()
        .zip(ranges.iter().cycle().cloned())
        .map(|(test, target)| Precondition { target, test });
    let put = |key, record| Operation::Put { key, record, return_previous: true };
    let transaction = Transaction {
        preconditions: preconditions.collect(),
        success: vec![
            put(entry("k"), Record::Entry(Bytes::from_static(b"v").into())),
            put(Key::setting(&name("value_bytes_max")), Record::Setting(Arc::from("7"))),
            Operation::Get { range: ranges[1].clone(), limit: 1000 },
        ],
        failure: vec![Operation::Delete { range: ranges[0].clone(), return_previous: false }],
        guards: vec![
            Guard::Session(session()),
            Guard::Partition {
                id: PartitionId { network: name("net"), index: 1 },
                epoch: Epoch { restore: RestoreEpoch(2), revision: Revision(12) },
            },
        ],
    };
    let basis = Some(Revision(4));
    let (network, assignment) = (name("net"), vec![0, 1]);
    vec![
        Command::Transaction(transaction),
        Command::ApplyNetwork(ApplyNetwork {
            name: network.clone(),
            spec: spec(),
            assignment,
            basis,
        }),
        Command::DeleteNetwork { name: network },
    ]
    .into_iter()
    .chain(session_commands())
    .chain(pool_commands())
    .collect()
}

fn session_commands() -> Vec<Command> {
    let partition = || PartitionId { network: name("net"), index: 1 };
    let epoch = Epoch { restore: RestoreEpoch(2), revision: Revision(12) };
    let worker = RegisterWorker {
        name: name("w1"),
        session: session(),
        address: "127.0.0.1:9000".into(),
        capacity: resources(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
    };
    let owner = Owner { worker: name("w1"), session: session() };
    let load = |of| (of, Load { load_ppm: 400_000 });
    vec![
        Command::OpenSession { ttl_ms: 10_000, label: "ops".into() },
        Command::CloseSession { id: session() },
        Command::ExpireSession { id: session(), term: Term(4) },
        Command::RegisterWorker(worker),
        Command::DrainWorker { name: name("w1"), drain: true },
        Command::LeaveWorker { name: name("w1"), session: Some(session()) },
        Command::ReportLoads {
            loads: vec![load(LoadId::Worker(name("w1"))), load(LoadId::Partition(partition()))],
        },
        Command::AssignPartitions { grants: vec![Grant { partition: partition(), owner }] },
        Command::ReleasePartition { id: partition(), epoch },
        Command::MovePartitions {
            moves: vec![(partition(), Some(name("w2"))), (partition(), None)],
            basis: quorate_core::plan::Basis {
                records: vec![(Key::partition(&partition()), Revision(300))],
                targets: vec![quorate_core::plan::Occupancy {
                    worker: name("w2"),
                    partitions: 2,
                    newest: Revision(299),
                }],
            },
        },
        Command::AddMember { id: MemberId(4), peer: "p:1".into(), client: "c:1".into() },
        Command::RetireMember { id: MemberId(4) },
        Command::ReportConnections {
            session: session(),
            reports: vec![report(Seen::Up), report(Seen::Broken("reset".into()))],
        },
        Command::ManageConnections { steps: vec![due(Due::Retry), due(Due::TimeOut)] },
        Command::RetryConnection { id: connection_id() },
        Command::ScaleProcesses(quorate_core::ScaleProcesses {
            network: name("n"),
            changes: vec![quorate_core::ScaledProcess {
                partition: 0,
                process: name("p"),
                parallelism: 3,
            }],
            basis: quorate_core::plan::Basis {
                records: vec![(Key::partition(&partition()), Revision(300))],
                targets: Vec::new(),
            },
        }),
        Command::SetAlerts {
            raise: vec![(
                alert("w1"),
                Raised { severity: Severity::Warning, message: "lost".into(), value: 7 },
            )],
            clear: vec![alert("w2")],
        },
    ]
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let record = || versioned(Record::Entry(Bytes::from_static(b"v").into()));
    let keyed = || (Key::entry("k"), record());
    let transaction = TransactionReply {
        succeeded: true,
        results: vec![
            OperationReply::Get { records: vec![keyed()], more: true },
            OperationReply::Put { previous: Some(record()) },
            OperationReply::Put { previous: None },
            OperationReply::Delete { deleted: 1, previous: vec![keyed()] },
        ],
    };
    let applied = |outcome| Ok(Reply::ApplyNetwork { outcome, generation: Generation(2) });
    let rejected = |reason| Err(Rejection { field: "f".into(), ..Rejection::new(reason, "why") });
    let results = vec![
        ("transaction", Ok(Reply::Transaction(transaction))),
        ("created", applied(ApplyOutcome::Created)),
        ("updated", applied(ApplyOutcome::Updated)),
        ("unchanged", applied(ApplyOutcome::Unchanged)),
        ("deleted", Ok(Reply::DeleteNetwork { partitions: 2, connections: 1 })),
        ("invalid_field", rejected(Reason::InvalidField)),
        ("limit_exceeded", rejected(Reason::LimitExceeded)),
        ("not_found", rejected(Reason::NotFound)),
        ("already_exists", rejected(Reason::AlreadyExists)),
        ("stale_plan", rejected(Reason::StalePlan)),
        ("precondition_failed", rejected(Reason::PreconditionFailed)),
        ("session_expired", rejected(Reason::SessionExpired)),
        ("serial_too_old", rejected(Reason::SerialTooOld)),
        ("stale_epoch", rejected(Reason::StaleEpoch)),
        ("open_session", Ok(Reply::OpenSession { id: session(), ttl_ms: 10_000 })),
        ("done", Ok(Reply::Done)),
        ("changed", Ok(Reply::Changed { changed: 3 })),
        ("reported", Ok(Reply::ReportConnections { changed: 3, stale: 1 })),
        ("capacity_exceeded", rejected(Reason::CapacityExceeded)),
        ("request_allocation", Ok(Reply::RequestAllocation { id: allocation_id() })),
    ];
    results
        .into_iter()
        .map(|(name, result)| (name, Outcome { revision: Revision(1_000), result }))
        .collect()
}

fn request() -> Request {
    let call = Call {
        session: session(),
        serial: Serial(300),
        acknowledged: Serial(7),
        digest: 0x0102_0304_0506_0708,
    };
    let origin = Origin { label: "ops".into(), reason: "why not".into() };
    let command = Command::DeleteNetwork { name: name("net") };
    Request { command, call: Some(call), origin }
}

fn event() -> Event {
    let changes = records().into_iter().map(|(text, record)| {
        let key = Key { kind: record.kind(), bytes: text.into() };
        let previous = (text == "entry").then(|| versioned(Record::Entry(Entry::default())));
        Change::new(key, Some(versioned(record)), previous)
    });
    let deleted = versioned(Record::Entry(Entry::default()));
    let deleted = Change::new(Key::entry("gone"), None, Some(deleted));
    Event {
        revision: Revision(300),
        time_ms: 1_700_000_000_000,
        changes: changes.chain([deleted]).collect(),
        origin: Origin { label: "ops".into(), reason: "why not".into() },
    }
}

fn summary() -> Summary {
    Summary {
        identity: IDENTITY,
        revision: Revision(300),
        time_ms: 1_700_000_000_000,
        records: 11,
        events: 1,
        oldest: Revision(300),
        hash: StateHash(0x0123_4567_89ab_cdef),
    }
}

/// Compares values with their bytes.
#[derive(Default)]
struct Golden {
    stored: BTreeMap<String, String>,
    found: String,
    differing: Vec<String>,
}

impl Golden {
    fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = codec::encode(value);
        assert_eq!(&codec::decode::<T>(&bytes).unwrap(), value, "{name}");
        self.add_text(name, &bytes.iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}")));
    }

    fn add_text(&mut self, name: &str, text: &str) {
        writeln!(self.found, "{name} {text}").unwrap();
        if self.stored.remove(name).as_deref() != Some(text) {
            self.differing.push(name.to_owned());
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests read their golden files")]
fn stored_bytes_stay_the_same() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats.txt");
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let lines = stored.lines().filter_map(|line| line.split_once(' '));
    let mut golden = Golden {
        stored: lines.map(|(name, hex)| (name.to_owned(), hex.to_owned())).collect(),
        ..Golden::default()
    };
    for (name, record) in records() {
        golden.add(&format!("record.{name}"), versioned(record).as_ref());
    }
    for (at, command) in commands().into_iter().enumerate() {
        let batch = Batch { time_ms: 1_700_000_000_000, requests: vec![command.into()] };
        golden.add(&format!("batch.{at}"), &batch);
    }
    golden.add(
        "batch.all",
        &Batch { time_ms: 0, requests: commands().into_iter().map(Into::into).collect() },
    );
    golden.add("request", &request());
    for (name, outcome) in outcomes() {
        golden.add(&format!("outcome.{name}"), &outcome);
    }
    golden.add("event", &event());
    golden.add("summary", &summary());
    golden.add_text("hash.empty", &State::new(IDENTITY).hash().to_string());
    let mut state = State::new(IDENTITY);
    for command in commands().iter().skip(1).chain(&commands()) {
        apply(&mut state, Stamp::at(1_700_000_000_000), command);
    }
    golden.add_text("hash.state", &state.hash().to_string());
    let mut network = commands().remove(1);
    if let Command::ApplyNetwork(command) = &mut network {
        command.basis = None;
    }
    let pool = Command::PutPool { name: name("pool"), pool: pool() };
    assert!(apply(&mut state, Stamp::at(0), &pool).event.is_some());
    assert!(apply(&mut state, Stamp::at(0), &network).event.is_some());
    golden.add_text("hash.network", &state.hash().to_string());
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, golden.found).unwrap();
    } else {
        assert!(golden.differing.is_empty(), "stored bytes changed: {:?}", golden.differing);
        assert!(golden.stored.is_empty(), "no longer tested: {:?}", golden.stored.keys());
    }
}

#[test]
fn what_is_not_a_whole_value_is_refused() {
    let bytes = codec::encode(&commands());
    let refused = |bytes: &[u8], why: &str| {
        let error = codec::decode::<Vec<Command>>(bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&[], "empty");
    for version in [1, 2, 3, 4] {
        let why = format!("format version {version}, this build reads version 5");
        refused(&[version, 0], &why);
    }
    refused(&[bytes.as_slice(), &[0]].concat(), "bytes left over");
    for len in 1..bytes.len() {
        refused(&bytes[..len], "damaged");
    }
}

#[test]
fn claimed_lengths_are_not_allocated() {
    // 253 announces a number of eight bytes: a length of nearly 2^63.
    let huge = [&[codec::FORMAT, 253][..], &[0xff; 7], &[0x7f]].concat();
    assert!(codec::decode::<Bytes>(&huge).is_err());
    assert!(codec::decode::<String>(&huge).is_err());
    assert!(codec::decode::<Name>(&huge).is_err());
    assert!(codec::decode::<Vec<Command>>(&huge).is_err());
    assert!(codec::decode::<Vec<u8>>(&huge).is_err());
    let padded = [&huge[..], &vec![0; 100_000]].concat();
    assert!(codec::decode::<Bytes>(&padded).is_err());
}

#[test]
fn large_values_are_read_back() {
    for len in [60_000, 70_000, 16 << 20, (16 << 20) + 100] {
        let value = Bytes::from(vec![7_u8; len]);
        assert_eq!(codec::decode::<Bytes>(&codec::encode(&value)).unwrap(), value);
    }
    // Numbers that take one byte and count for eight.
    for len in [60_000_usize, 3_000_000] {
        let value = vec![Revision(1); len];
        assert_eq!(codec::decode::<Vec<Revision>>(&codec::encode(&value)).unwrap(), value);
    }
}

#[test]
fn what_breaks_a_types_rules_is_refused_or_repaired() {
    let bad = codec::encode(&"not a name");
    assert!(codec::decode::<Name>(&bad).is_err());
    assert_eq!(codec::decode::<String>(&bad).unwrap(), "not a name");
    let zero = BTreeMap::from([(name("cpu_millis"), 0_u64)]);
    assert_eq!(codec::decode::<Resources>(&codec::encode(&zero)).unwrap(), Resources::default());
}

proptest! {
    #![proptest_config(crate::cases(128))]

    #[test]
    fn commands_are_read_back(command in command()) {
        let batch = Batch { time_ms: 1, requests: vec![command.into()] };
        prop_assert_eq!(&codec::decode::<Batch>(&codec::encode(&batch)).unwrap(), &batch);
    }

    #[test]
    fn events_and_outcomes_are_read_back(steps in steps(20)) {
        let mut state = State::new(IDENTITY);
        for step in &steps {
            let (_, applied) = step.run(&mut state);
            let bytes = codec::encode(&applied.outcome);
            prop_assert_eq!(codec::decode::<Outcome>(&bytes).unwrap(), applied.outcome);
            if let Some(event) = applied.event {
                prop_assert_eq!(&codec::decode::<Event>(&codec::encode(&*event)).unwrap(), &*event);
            }
        }
    }

    #[test]
    fn decoding_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        decode_all(&bytes);
        bytes.insert(0, codec::FORMAT);
        decode_all(&bytes);
    }

    #[test]
    fn decoding_damaged_values_never_panics(
        steps in steps(10),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let (state, log) = run(&steps);
        let commands = log.into_iter().map(|logged| logged.request).collect();
        let events: Vec<_> = state.history().from(Revision(0)).cloned().collect();
        let batch = codec::encode(&Batch { time_ms: 1, requests: commands });
        for mut bytes in [batch, codec::encode(&events)] {
            let at = at.index(bytes.len());
            bytes[at] = to;
            decode_all(&bytes);
        }
    }
}

/// Decodes as every persisted type; what can be decoded can be encoded, and used.
fn decode_all(bytes: &[u8]) {
    if let Ok(batch) = codec::decode::<Batch>(bytes) {
        assert_eq!(codec::decode::<Batch>(&codec::encode(&batch)).unwrap(), batch);
        let mut state = State::new(IDENTITY);
        for request in &batch.requests {
            apply_request(&mut state, Stamp::at(batch.time_ms), request);
        }
        assert_eq!(state.check(), Ok(()));
    }
    let _ = codec::decode::<Versioned<Record>>(bytes);
    let _ = codec::decode::<Event>(bytes);
    let _ = codec::decode::<Vec<Event>>(bytes);
    let _ = codec::decode::<Outcome>(bytes);
    let _ = codec::decode::<Summary>(bytes);
}
