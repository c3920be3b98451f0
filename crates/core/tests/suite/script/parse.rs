//! Reads the lines of a block.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_core::{
    ApplyNetwork, Command, ConnectionId, ConnectionPolicy, ConnectionReport, ConnectionStep, Due,
    Epoch, Grant, Key, KeyRange, Kind, Name, NetworkSpec, Operation, Owner, Parallelism,
    PartitionId, PartitionPolicy, Precondition, Process, ProcessEdge, Record, RegisterWorker,
    Resources, RestoreEpoch, Revision, Seen, SessionId, Test, Transaction,
};

use super::Step;

pub(super) fn steps(lines: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in lines.iter().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (first, rest) = (words[0], &words[1..]);
        match (first, steps.last_mut()) {
            ("if" | "then" | "else", Some(Step::Command(Command::Transaction(transaction)))) => {
                clause(transaction, first, rest);
            }
            ("process" | "edge", Some(Step::Command(Command::ApplyNetwork(command)))) => {
                part(&mut command.spec, first, rest);
            }
            ("up" | "broken", Some(Step::Command(Command::ReportConnections { reports, .. }))) => {
                reports.push(report(first, rest));
            }
            (
                "retry-due" | "time-out",
                Some(Step::Command(Command::ManageConnections { steps })),
            ) => steps.push(due(first, rest)),
            _ => steps.push(step(first, rest)),
        }
    }
    steps
}

fn step(first: &str, rest: &[&str]) -> Step {
    match first {
        "txn" => Step::Command(Command::Transaction(Transaction::default())),
        "put" | "get" | "delete" => Step::Command(Command::Transaction(Transaction {
            success: vec![operation(first, rest)],
            ..Transaction::default()
        })),
        "network" => Step::Command(Command::ApplyNetwork(network(rest))),
        "delete-network" => Step::Command(Command::DeleteNetwork { name: name(rest[0]) }),
        "open" | "close" | "register" | "assign" | "release" | "leave" | "move" => {
            Step::Command(ownership(first, rest))
        }
        "report" => Step::Command(Command::ReportConnections {
            session: session(rest[0]),
            reports: Vec::new(),
        }),
        "manage" => Step::Command(Command::ManageConnections { steps: Vec::new() }),
        "retry" => Step::Command(Command::RetryConnection { id: connection(rest[0]) }),
        "clock" => Step::Clock(rest[0].parse().unwrap()),
        "state" => Step::State,
        "history" => Step::History,
        _ => panic!("no step {first:?}"),
    }
}

/// About sessions, workers and who owns what. A session and an epoch go by their revision.
fn ownership(first: &str, rest: &[&str]) -> Command {
    match first {
        "open" => Command::OpenSession { ttl_ms: rest[0].parse().unwrap(), label: String::new() },
        "close" => Command::CloseSession { id: session(rest[0]) },
        "register" => Command::RegisterWorker(RegisterWorker {
            name: name(rest[0]),
            session: session(rest[1]),
            address: format!("{}:1", rest[0]),
            capacity: Resources::default(),
            labels: BTreeMap::new(),
        }),
        "assign" => {
            let owner = Owner { worker: name(rest[0]), session: session(rest[1]) };
            let grant = |id: &&str| Grant { partition: partition(id), owner: owner.clone() };
            Command::AssignPartitions { grants: rest[2..].iter().map(grant).collect() }
        }
        "release" => Command::ReleasePartition { id: partition(rest[0]), epoch: epoch(rest[1]) },
        "leave" => Command::LeaveWorker { name: name(rest[0]), session: Some(session(rest[1])) },
        "move" => {
            let moves = vec![(partition(rest[0]), rest.get(1).copied().map(name))];
            Command::MovePartitions { moves, basis: Default::default() }
        }
        _ => panic!("no step {first:?}"),
    }
}

/// `up net/0->net/1 3 4` or `broken net/0->net/1 3 4 reset by peer`.
fn report(first: &str, words: &[&str]) -> ConnectionReport {
    let seen = match first {
        "up" => Seen::Up,
        _ => Seen::Broken(
            String::from_utf8(bytes(&words[3..].join(" ").replace("TAB", "\t")).to_vec()).unwrap(),
        ),
    };
    let (from_epoch, to_epoch) = (epoch(words[1]), epoch(words[2]));
    ConnectionReport { id: connection(words[0]), from_epoch, to_epoch, seen }
}

/// `retry-due net/0->net/1 7`: of the status that this revision changed.
fn due(first: &str, words: &[&str]) -> ConnectionStep {
    let due = if first == "time-out" { Due::TimeOut } else { Due::Retry };
    let modified = Revision(words[1].parse().unwrap());
    ConnectionStep { id: connection(words[0]), modified, due }
}

fn session(text: &str) -> SessionId {
    SessionId { restore: RestoreEpoch(0), revision: Revision(text.parse().unwrap()) }
}

fn epoch(text: &str) -> Epoch {
    Epoch { restore: RestoreEpoch(0), revision: Revision(text.parse().unwrap()) }
}

fn partition(text: &str) -> PartitionId {
    PartitionId::parse(text).unwrap()
}

fn connection(text: &str) -> ConnectionId {
    ConnectionId::parse(text).unwrap()
}

fn clause(transaction: &mut Transaction, first: &str, rest: &[&str]) {
    match first {
        "if" => transaction.preconditions.push(precondition(rest)),
        "then" => transaction.success.push(operation(rest[0], &rest[1..])),
        _ => transaction.failure.push(operation(rest[0], &rest[1..])),
    }
}

fn precondition(words: &[&str]) -> Precondition {
    let test = match words[0] {
        "exists" => Test::Exists,
        "absent" => Test::Absent,
        "modified" => Test::ModifiedAt(Revision(words[2].parse().unwrap())),
        "value" => Test::Value(bytes(words[2])),
        other => panic!("no test {other:?}"),
    };
    Precondition { target: range(words[1]), test }
}

fn operation(verb: &str, words: &[&str]) -> Operation {
    let return_previous = words.contains(&"prev");
    match verb {
        "get" => {
            let limit = named(words, "limit").map_or(0, |limit| limit.parse().unwrap());
            Operation::Get { range: range(words[0]), limit }
        }
        "delete" => Operation::Delete { range: range(words[0]), return_previous },
        "put" => {
            let (kind, key) = words[0].split_once('/').unwrap();
            let key = Key { kind: Kind::from_text(kind).unwrap(), bytes: bytes(key) };
            // The kind of the value, when it shall not be the key's.
            let kind = named(words, "as").map_or(key.kind, |kind| Kind::from_text(kind).unwrap());
            Operation::Put { key, record: record(kind, words[1]), return_previous }
        }
        _ => panic!("no operation {verb:?}"),
    }
}

fn record(kind: Kind, text: &str) -> Record {
    match kind {
        Kind::Setting => {
            Record::Setting(Arc::from(String::from_utf8(bytes(text).to_vec()).unwrap()))
        }
        Kind::Connection => Record::Connection(Arc::new(quorate_core::Connection {
            edges: Vec::new(),
            policy: ConnectionPolicy::default(),
        })),
        _ => Record::Entry(bytes(text).into()),
    }
}

/// `entry/a`, `entry/a*` or `entry/[a,b)`.
fn range(text: &str) -> KeyRange {
    let (kind, key) = text.split_once('/').unwrap();
    let kind = Kind::from_text(kind).unwrap();
    if let Some(bounds) = key.strip_prefix('[').and_then(|key| key.strip_suffix(')')) {
        let (start, end) = bounds.split_once(',').unwrap();
        return KeyRange::Bounds { kind, start: bytes(start), end: bytes(end) };
    }
    match key.strip_suffix('*') {
        Some(prefix) => KeyRange::Prefix(kind, bytes(prefix)),
        None => KeyRange::Single(Key { kind, bytes: bytes(key) }),
    }
}

/// Text; `x*3` is `xxx`, and `''` is nothing.
fn bytes(text: &str) -> Bytes {
    if text == "''" {
        return Bytes::new();
    }
    let repeated = text.split_once('*').and_then(|(text, n)| Some(text.repeat(n.parse().ok()?)));
    repeated.unwrap_or_else(|| text.to_owned()).into()
}

fn network(words: &[&str]) -> ApplyNetwork {
    let numbers = named(words, "assign").unwrap_or("");
    let assignment = numbers.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap());
    let basis = named(words, "basis").filter(|basis| *basis != "none");
    let partitions = named(words, "partitions").map_or(0, |partitions| partitions.parse().unwrap());
    let strategy = name(named(words, "strategy").unwrap_or("round-robin"));
    let shares = named(words, "shares").into_iter().flat_map(|shares| shares.split(','));
    let shares = shares.map(|share| share.parse().unwrap()).collect();
    let (pool, tenant) = (named(words, "pool").map(name), named(words, "tenant").map(name));
    ApplyNetwork {
        name: name(words[0]),
        spec: NetworkSpec {
            processes: Vec::new(),
            connections: Vec::new(),
            policy: PartitionPolicy { partitions, strategy, shares, pool, tenant },
            connection: policy(words),
        },
        assignment: assignment.collect(),
        basis: basis.map(|basis| Revision(basis.parse().unwrap())),
    }
}

/// `attempts_max=2` and so on.
fn policy(words: &[&str]) -> ConnectionPolicy {
    let of = |field| named(words, field).map_or(0, |value| value.parse().unwrap());
    ConnectionPolicy {
        attempts_max: of("attempts_max"),
        backoff_factor_percent: of("backoff_factor_percent"),
        backoff_ms: of("backoff_ms"),
        backoff_ms_max: of("backoff_ms_max"),
        bytes_in_flight_max: of("bytes_in_flight_max"),
        connect_timeout_ms: of("connect_timeout_ms"),
        messages_in_flight_max: of("messages_in_flight_max"),
        request_timeout_ms: of("request_timeout_ms"),
    }
}

fn part(spec: &mut NetworkSpec, first: &str, words: &[&str]) {
    if first == "edge" {
        let rate = named(words, "rate").map_or(0, |rate| rate.parse().unwrap());
        let (from, to) = (name(words[0]), name(words[1]));
        spec.connections.push(ProcessEdge { from, to, rate });
        return;
    }
    let (min, max) = named(words, "par").map_or((1, 1), |bounds| {
        let (min, max) = bounds.split_once("..").unwrap();
        (min.parse().unwrap(), max.parse().unwrap())
    });
    let options: BTreeMap<&str, &str> =
        words[1..].iter().filter_map(|word| word.split_once('=')).collect();
    let options_of_process = ["par", "component", "with", "apart"];
    let label = |(key, value): (&&str, &&str)| {
        let text = |text| String::from_utf8(bytes(text).to_vec()).unwrap();
        key.strip_prefix('@').map(|key| (text(key), text(value)))
    };
    let needs = options
        .iter()
        .filter(|(key, _)| !options_of_process.contains(*key) && !key.starts_with('@'));
    spec.processes.push(Process {
        id: name(words[0]),
        component: String::from_utf8(
            bytes(options.get("component").copied().unwrap_or("stage")).to_vec(),
        )
        .unwrap(),
        needs: needs
            .map(|(key, amount)| (name(key), amount.parse().unwrap()))
            .collect::<Resources>(),
        parallelism: Parallelism { min, max },
        requires: options.iter().filter_map(label).collect(),
        affinity: options.get("with").copied().map(name),
        anti_affinity: options.get("apart").copied().map(name),
    });
}

fn named<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().filter_map(|word| word.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
