//! Random commands over few keys, so that they meet.

use std::sync::Arc;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use quorate_core::{
    Applied, ApplyNetwork, Call, ClusterId, Command, ConnectionPolicy, Identity, Key, KeyRange,
    Kind, Name, NetworkSpec, Operation, Origin, Parallelism, PartitionId, PartitionPolicy,
    Precondition, Process, ProcessEdge, Record, Request, Resources, RestoreEpoch, Revision, Serial,
    Stamp, State, Test, Transaction, apply_request, constraint, digest,
};

use crate::{
    pools::{self, PoolAct},
    sessions::{self, SessionAct},
};

pub(crate) const IDENTITY: Identity =
    Identity { cluster_id: ClusterId(7), restore_epoch: RestoreEpoch(2) };

/// A command that is made when the state before it is known, so that plans are not all stale.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Command(Command),
    Network {
        name: Name,
        spec: NetworkSpec,
        seeds: Vec<u32>,
        stale: bool,
    },
    /// About sessions and what hangs on them; the second says which session.
    Session(SessionAct, u8),
    /// About pools and allocations; the second says which session.
    Pool(PoolAct, u8),
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    time_ms: u64,
    action: Action,
    /// Which session sends it, with which serial, how far it acknowledges.
    call: Option<(u8, u64, u64)>,
}

/// A command as it was applied.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) at: Stamp,
    pub(crate) request: Request,
}

impl Step {
    /// Applies it to the state.
    pub(crate) fn run(&self, state: &mut State) -> (Logged, Applied) {
        let command = match &self.action {
            Action::Command(command) => command.clone(),
            Action::Network { name, spec, seeds, stale } => plan(state, name, spec, seeds, *stale),
            Action::Session(act, which) => {
                sessions::command(state, act, sessions::nth(state, *which))
            }
            Action::Pool(act, which) => pools::command(state, act, *which),
        };
        let call = self.call.map(|(which, serial, acknowledged)| Call {
            session: sessions::nth(state, which),
            serial: Serial(serial),
            acknowledged: Serial(acknowledged),
            digest: digest(&command),
        });
        let at = Stamp { time_ms: self.time_ms, term: sessions::TERM };
        let label = if self.time_ms.is_multiple_of(2) { "even" } else { "" };
        let origin = Origin { label: label.into(), reason: "".into() };
        let request = Request { command, call, origin };
        let applied = apply_request(state, at, &request);
        (Logged { at, request }, applied)
    }
}

/// Puts processes where their constraints do not forbid it, if it finds such places at once: groups are
/// followed, and who meets somebody whom it must not meet tries the next partition.
fn plan(state: &State, name: &Name, spec: &NetworkSpec, seeds: &[u32], stale: bool) -> Command {
    let modified = state.get(&Key::network(name)).map(|record| record.modified);
    let basis = if stale { Some(Revision(1_000_000)) } else { modified };
    let partitions = spec.policy.partitions.max(1);
    // The first processes fill the partitions, the others go anywhere.
    let numbers =
        (0..).zip(seeds).map(|(at, seed)| if at < partitions { at } else { seed % partitions });
    let mut assignment: Vec<u32> = numbers.take(spec.processes.len()).collect();
    let (name, mut spec) = (name.clone(), spec.clone());
    if !seeds[0].is_multiple_of(4) {
        spec.canonicalize();
        settle(&spec, &mut assignment);
    }
    Command::ApplyNetwork(ApplyNetwork { name, spec, assignment, basis })
}

fn settle(spec: &NetworkSpec, assignment: &mut [u32]) {
    let partitions = spec.policy.partitions.max(1);
    for at in 0..assignment.len() {
        let groups = spec.processes[..at].iter().zip(&*assignment);
        let same = groups.clone().find(|(other, _)| {
            other.affinity.is_some() && other.affinity == spec.processes[at].affinity
        });
        let wanted = same.map_or(assignment[at], |(_, partition)| *partition);
        let free = (0..partitions).map(|more| (wanted + more) % partitions).find(|partition| {
            assignment[at] = *partition;
            constraint::check(&spec.processes[..=at], &assignment[..=at]).is_ok()
        });
        assignment[at] = free.unwrap_or(wanted);
    }
}

/// A history of commands.
pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let call = proptest::option::weighted(0.15, (0..2_u8, 0..12_u64, 0..4_u64));
    let step = (0..2_000_u64, action(), call).prop_map(|(time_ms, action, call)| Step {
        time_ms,
        action,
        call,
    });
    (proptest::bool::weighted(0.4), vec(step, 1..count)).prop_map(|(settled, steps)| {
        let first = if settled { prelude() } else { Vec::new() };
        first.into_iter().chain(steps).collect()
    })
}

/// A pool with grants, and a worker that owns two partitions, which require something of it: what random commands seldom come to by themselves.
fn prelude() -> Vec<Step> {
    let name = |text: &str| Name::new(text).unwrap();
    let one = [(name(Resources::CPU_MILLIS), 1)].into_iter().collect::<Resources>();
    let process = |text| Process { needs: one.clone(), ..Process::new(name(text), "c") };
    let spec = NetworkSpec {
        processes: vec![process("p0"), process("p1")],
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions: 2,
            strategy: name("any"),
            shares: Vec::new(),
            pool: Some(name("p")),
            tenant: Some(name("a")),
        },
        connection: quorate_core::ConnectionPolicy::default(),
    };
    let network = Action::Network { name: name("n"), spec, seeds: vec![1; 8], stale: false };
    let ids = (0..2).map(|index| PartitionId { network: name("n"), index }).collect();
    let session = |act| Action::Session(act, 0);
    let ask = |tenant, partition| {
        let amount = [(name(Resources::CPU_MILLIS), 3)].into_iter().collect();
        Action::Pool(PoolAct::Request(name("p"), name(tenant), amount, partition), 0)
    };
    let actions = [
        session(SessionAct::Open(5_000)),
        session(SessionAct::Register(name("w1"))),
        Action::Pool(PoolAct::Put(name("p"), pools::roomy()), 0),
        network,
        session(SessionAct::Assign(name("w1"), ids)),
        ask("a", None),
        ask("b", Some(0)),
        Action::Pool(PoolAct::Require(name("n"), vec![0, 1]), 0),
        Action::Pool(PoolAct::Grant(vec![0, 1, 2]), 0),
    ];
    actions.into_iter().map(|action| Step { time_ms: 0, action, call: None }).collect()
}

/// Applies them all to an empty state.
pub(crate) fn run(steps: &[Step]) -> (State, Vec<Logged>) {
    let mut state = State::new(IDENTITY);
    let log = steps.iter().map(|step| step.run(&mut state).0).collect();
    (state, log)
}

/// Any command, valid or not.
pub(crate) fn command() -> impl Strategy<Value = Command> {
    action().prop_map(|action| match action {
        Action::Command(command) => command,
        Action::Network { name, spec, seeds, stale } => {
            plan(&State::new(IDENTITY), &name, &spec, &seeds, stale)
        }
        Action::Session(act, which) => {
            let state = State::new(IDENTITY);
            sessions::command(&state, &act, sessions::nth(&state, which))
        }
        Action::Pool(act, which) => pools::command(&State::new(IDENTITY), &act, which),
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        9 => transaction().prop_map(|t| Action::Command(Command::Transaction(t))),
        4 => network(),
        12 => (sessions::act(), 0..2_u8).prop_map(|(act, which)| Action::Session(act, which)),
        10 => (pools::act(), 0..2_u8).prop_map(|(act, which)| Action::Pool(act, which)),
        1 => network_name().prop_map(|name| Action::Command(Command::DeleteNetwork { name })),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    (vec(precondition(), 0..3), vec(operation(), 0..5), vec(operation(), 0..3)).prop_map(
        |(preconditions, success, failure)| Transaction {
            preconditions,
            success,
            failure,
            guards: Vec::new(),
        },
    )
}

fn precondition() -> impl Strategy<Value = Precondition> {
    let test = prop_oneof![
        Just(Test::Exists),
        Just(Test::Absent),
        (0..40_u64).prop_map(|revision| Test::ModifiedAt(Revision(revision))),
        value().prop_map(Test::Value),
    ];
    (range(), test).prop_map(|(target, test)| Precondition { target, test })
}

fn operation() -> impl Strategy<Value = Operation> {
    let put = (put(), any::<bool>()).prop_map(|((key, record), return_previous)| Operation::Put {
        key,
        record,
        return_previous,
    });
    let get = (range(), 0..4_u32).prop_map(|(range, limit)| Operation::Get { range, limit });
    let writable = range().prop_map(|range| match range {
        KeyRange::Single(key) => KeyRange::Single(Key { kind: Kind::Entry, ..key }),
        KeyRange::Prefix(_, prefix) => KeyRange::Prefix(Kind::Entry, prefix),
        KeyRange::Bounds { start, end, .. } => KeyRange::Bounds { kind: Kind::Entry, start, end },
    });
    let target = prop_oneof![
        12 => writable,
        1 => Just(KeyRange::Prefix(Kind::Setting, Bytes::new())),
        1 => range(),
    ];
    let delete = (target, any::<bool>())
        .prop_map(|(range, return_previous)| Operation::Delete { range, return_previous });
    prop_oneof![5 => put, 2 => get, 2 => delete]
}

fn put() -> impl Strategy<Value = (Key, Record)> {
    let entry = (entry_key(), value())
        .prop_map(|(key, value)| (Key::entry(key), Record::Entry(value.into())));
    let settings: Vec<(&str, Vec<&str>)> = vec![
        ("history_bytes_max", vec!["0", "2000", "100000"]),
        ("history_age_ms_max", vec!["1", "500", "3600000"]),
        ("value_bytes_max", vec!["5", "100", "0"]),
        ("command_changes_max", vec!["1", "4", "100"]),
        ("command_bytes_max", vec!["1024", "2048", "134217728"]),
        ("transaction_operations_max", vec!["4", "1024"]),
        ("transaction_reads_max", vec!["3", "1000"]),
        ("range_records_max", vec!["2", "1000"]),
        ("session_records_max", vec!["1", "2", "10000"]),
        ("session_record_bytes_max", vec!["1024", "2048", "33554432"]),
        ("worker_partitions_max", vec!["1", "10000"]),
        ("workers_max", vec!["1", "10000"]),
        ("connection_backoff_ms", vec!["1", "500"]),
        ("reported_connections_max", vec!["1", "100"]),
        ("allocations_max", vec!["1", "100000"]),
        ("pools_max", vec!["1", "1000"]),
        ("pool_tenants_max", vec!["1", "1000"]),
        ("unknown", vec!["1"]),
    ];
    let setting = select(settings).prop_flat_map(|(name, values)| {
        let key = Key::setting(&Name::new(name).unwrap());
        select(values).prop_map(move |text| (key.clone(), Record::Setting(Arc::from(text))))
    });
    prop_oneof![
        12 => entry,
        2 => setting,
        1 => Just((Key::entry("a"), Record::Setting(Arc::from("1")))),
    ]
}

pub(crate) fn range() -> impl Strategy<Value = KeyRange> {
    let kind = prop_oneof![6 => Just(Kind::Entry), 4 => select(Kind::ALL.to_vec())];
    (kind, entry_key(), entry_key(), 0..3_u8).prop_map(|(kind, a, b, shape)| match shape {
        0 => KeyRange::Single(Key { kind, bytes: a }),
        1 => KeyRange::Prefix(kind, a),
        _ => KeyRange::Bounds { kind, start: a, end: b },
    })
}

/// Mostly valid keys of entries; sometimes empty, sometimes the keys of other kinds.
pub(crate) fn entry_key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        12 => "[a-c]{1,2}".prop_map(Bytes::from),
        1 => Just(Bytes::new()),
        1 => select(vec!["n", "n/", "n/0", "n/0->n/1", "n.1", "\u{7f}"]).prop_map(Bytes::from),
        1 => vec(any::<u8>(), 1..4).prop_map(Bytes::from),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => "[xy]{0,2}".prop_map(Bytes::from),
        1 => (0..1500_usize).prop_map(|len| Bytes::from(vec![b'v'; len])),
    ]
}

pub(crate) fn network_name() -> impl Strategy<Value = Name> {
    select(vec!["n", "n.1", "m"]).prop_map(|text| Name::new(text).unwrap())
}

fn network() -> impl Strategy<Value = Action> {
    (network_name(), spec(), vec(any::<u32>(), 8), proptest::bool::weighted(0.05))
        .prop_map(|(name, spec, seeds, stale)| Action::Network { name, spec, seeds, stale })
}

/// Descriptions of up to six processes; a few are invalid.
fn spec() -> impl Strategy<Value = NetworkSpec> {
    let count = 1..=6_usize;
    (
        count,
        0..5_u32,
        vec((0..6_usize, 0..6_usize, 0..3_u64), 0..8),
        vec(process(), 6),
        (any::<bool>(), source()),
    )
        .prop_map(|(count, partitions, edges, mut processes, (reversed, source))| {
            let id = |at: usize| Name::new(&format!("p{at}")).unwrap();
            processes.truncate(count);
            (0..).zip(&mut processes).for_each(|(at, process)| process.id = id(at));
            let mut connections: Vec<ProcessEdge> = edges
                .into_iter()
                .map(|(from, to, rate)| ProcessEdge {
                    from: id(from % count),
                    to: id(to % count),
                    rate,
                })
                .collect();
            connections.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
            connections.dedup_by(|a, b| a.from == b.from && a.to == b.to);
            if reversed {
                processes.reverse();
                connections.reverse();
            }
            let partitions = partitions.min(u32::try_from(count).unwrap());
            let strategy = Name::new("any").unwrap();
            let shares = (1..=partitions).filter(|_| reversed).collect();
            let (pool, tenant) = source;
            let policy = PartitionPolicy { partitions, strategy, shares, pool, tenant };
            let attempts_max = u64::from(reversed);
            let connection = ConnectionPolicy { attempts_max, ..ConnectionPolicy::default() };
            NetworkSpec { processes, connections, policy, connection }
        })
}

/// No pool, one that may be there, or half of one.
fn source() -> impl Strategy<Value = (Option<Name>, Option<Name>)> {
    let named = |text: &'static str| Some(Name::new(text).unwrap());
    prop_oneof![
        20 => Just((None, None)),
        10 => select(vec!["a", "a", "b"]).prop_map(move |tenant| (named("p"), named(tenant))),
        1 => Just((named("q"), named("c"))),
        1 => Just((named("p"), None)),
    ]
}

fn process() -> impl Strategy<Value = Process> {
    let group = || proptest::option::weighted(0.2, select(vec!["g", "h"]));
    let zone = proptest::option::weighted(0.2, select(vec!["a", "b"]));
    let placement = (group(), group(), zone);
    (0..3_u64, 0..3_u64, 1..3_u32, 0..3_u32, placement).prop_map(
        |(cpu, memory, min, more, (affinity, anti_affinity, zone))| Process {
            id: Name::new("p").unwrap(),
            component: "c".into(),
            needs: [(Resources::CPU_MILLIS, cpu), (Resources::MEMORY_BYTES, memory)]
                .map(|(name, amount)| (Name::new(name).unwrap(), amount))
                .into_iter()
                .collect(),
            parallelism: Parallelism { min, max: min + more },
            requires: zone.map(|zone| ("zone".to_owned(), zone.to_owned())).into_iter().collect(),
            affinity: affinity.map(|group| Name::new(group).unwrap()),
            anti_affinity: anti_affinity.map(|group| Name::new(group).unwrap()),
        },
    )
}
