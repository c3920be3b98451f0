//! Random commands about sessions, workers and ownership, resolved against the state that they meet:
//! a session that is there, the epoch of a partition, or something that is not.

use std::collections::BTreeMap;

use proptest::{bool::weighted, option, prelude::*, sample::select};
use quorate_core::{
    AlertId, Command, ConnectionId, ConnectionReport, ConnectionState, ConnectionStep, Due, Entry,
    Epoch, Grant, Guard, Key, Kind, Load, LoadId, MemberId, Name, Operation, Owner, PartitionId,
    PartitionState, Raised, Record, RegisterWorker, Resources, RestoreEpoch, Revision,
    ScaleProcesses, ScaledProcess, Seen, SessionId, Severity, State, Term, Transaction,
    WorkerState, plan::Basis,
};

/// The term of all entries.
pub(crate) const TERM: Term = Term(3);

#[derive(Debug, Clone)]
pub(crate) enum SessionAct {
    Open(u64),
    Close,
    Expire {
        term: u64,
    },
    Register(Name),
    Drain(Name, bool),
    Leave(Name, bool),
    Report(Name, u64),
    /// To this worker, whoever's session it holds.
    Assign(Name, Vec<PartitionId>),
    /// All that nobody owns, to workers that take partitions; what is missing for that comes first.
    AssignAll,
    /// With the right epoch, or another one.
    Release(PartitionId, bool),
    Move(PartitionId, Option<Name>),
    /// An entry that is bound to the session, of so many bytes, guarded by it and by a partition.
    Bound(&'static str, usize, Option<PartitionId>),
    AddMember(u64),
    RetireMember(u64),
    /// With the right epochs, or others; up, or broken.
    ReportConnection(u8, bool, bool),
    /// What its state asks for, or else; of the status that it has, or another one.
    Manage(u8, bool, bool),
    Retry(u8),
    /// The process at this place of the partition at that place, to so many instances more than its least.
    Scale(usize, usize, u32),
    /// Raises an alert about this worker, or clears it.
    Alert(Name, Option<u64>),
}

fn worker() -> impl Strategy<Value = Name> {
    select(vec!["w1", "w2", "w3"]).prop_map(|text| Name::new(text).unwrap())
}

fn partition() -> impl Strategy<Value = PartitionId> {
    (select(vec!["n", "m"]), 0..3_u32)
        .prop_map(|(network, index)| PartitionId { network: Name::new(network).unwrap(), index })
}

pub(crate) fn act() -> impl Strategy<Value = SessionAct> {
    prop_oneof![
        9 => select(vec![1_000, 5_000, 1_000, 1]).prop_map(SessionAct::Open),
        1 => Just(SessionAct::Close),
        1 => (2..4_u64).prop_map(|term| SessionAct::Expire { term }),
        9 => worker().prop_map(SessionAct::Register),
        1 => (worker(), any::<bool>()).prop_map(|(name, drain)| SessionAct::Drain(name, drain)),
        1 => (worker(), any::<bool>()).prop_map(|(name, held)| SessionAct::Leave(name, held)),
        1 => (worker(), 0..9_u64).prop_map(|(name, load)| SessionAct::Report(name, load)),
        5 => (worker(), proptest::collection::vec(partition(), 1..4))
            .prop_map(|(name, ids)| SessionAct::Assign(name, ids)),
        2 => (partition(), any::<bool>()).prop_map(|(id, right)| SessionAct::Release(id, right)),
        2 => (partition(), option::of(worker())).prop_map(|(id, to)| SessionAct::Move(id, to)),
        3 => (select(vec!["a", "b", "c"]), select(vec![1, 1, 700]), option::of(partition()))
            .prop_map(|(key, bytes, guard)| SessionAct::Bound(key, bytes, guard)),
        1 => (0..3_u64).prop_map(SessionAct::AddMember),
        1 => (1..3_u64).prop_map(SessionAct::RetireMember),
        12 => Just(SessionAct::AssignAll),
        9 => connection_act(),
        1 => (worker(), option::of(0..2_u64)).prop_map(|(name, it)| SessionAct::Alert(name, it)),
    ]
}

/// About a connection that has a status, if there is one.
pub(crate) fn connection_act() -> impl Strategy<Value = SessionAct> {
    prop_oneof![
        3 => (0..9_u8, weighted(0.9), weighted(0.4))
            .prop_map(|(which, right, up)| SessionAct::ReportConnection(which, right, up)),
        6 => (0..9_u8, weighted(0.8), weighted(0.9))
            .prop_map(|(which, natural, right)| SessionAct::Manage(which, natural, right)),
        1 => (0..9_u8).prop_map(SessionAct::Retry),
        5 => (0..9_usize, 0..9_usize, 0..3_u32)
            .prop_map(|(which, at, more)| SessionAct::Scale(which, at, more)),
    ]
}

/// One of the sessions, or one that is not there.
pub(crate) fn nth(state: &State, which: u8) -> SessionId {
    let absent = SessionId { restore: RestoreEpoch(0), revision: Revision(999_999) };
    state.sessions().nth(usize::from(which)).map_or(absent, |(id, _)| id)
}

/// One of the connections that have a status, or one that has none.
fn nth_connection(state: &State, which: u8) -> ConnectionId {
    let known = state.records_of(Kind::ConnectionStatus).filter_map(|(key, _)| key.as_connection());
    let known: Vec<ConnectionId> = known.collect();
    let absent = ConnectionId { network: Name::new("n").unwrap(), from: 0, to: 1 };
    known.get(usize::from(which) % known.len().max(1)).cloned().unwrap_or(absent)
}

fn assign_all(state: &State) -> Command {
    let owners = state.records_of(Kind::Worker).filter_map(|(key, record)| {
        let Record::Worker(worker) = &record.value else { return None };
        let name = Name::new(std::str::from_utf8(&key.bytes).unwrap()).unwrap();
        let active = worker.state == WorkerState::Active;
        worker.session.filter(|_| active).map(|session| Owner { worker: name, session })
    });
    let owners: Vec<Owner> = owners.collect();
    if owners.is_empty() {
        return match state.sessions().next() {
            None => Command::OpenSession { ttl_ms: 1_000, label: "any".into() },
            Some((session, _)) => {
                command(state, &SessionAct::Register(Name::new("w4").unwrap()), session)
            }
        };
    }
    let partitions = state.records_of(Kind::Partition).filter_map(|(key, _)| key.as_partition());
    let grants = partitions.zip(owners.into_iter().cycle());
    let grants = grants.map(|(partition, owner)| Grant { partition, owner });
    Command::AssignPartitions { grants: grants.collect() }
}

fn epoch_of(state: &State, id: &PartitionId) -> Epoch {
    state.partition(id).and_then(|partition| partition.epoch).unwrap_or_default()
}

pub(crate) fn command(state: &State, act: &SessionAct, session: SessionId) -> Command {
    match act.clone() {
        SessionAct::Open(ttl_ms) => Command::OpenSession { ttl_ms, label: "any".into() },
        SessionAct::Close => Command::CloseSession { id: session },
        SessionAct::Expire { term } => Command::ExpireSession { id: session, term: Term(term) },
        SessionAct::Register(name) => Command::RegisterWorker(RegisterWorker {
            capacity: capacity(&name),
            name,
            session,
            address: "w:1".into(),
            labels: BTreeMap::new(),
        }),
        SessionAct::Drain(name, drain) => Command::DrainWorker { name, drain },
        SessionAct::Leave(name, held) => {
            Command::LeaveWorker { name, session: held.then_some(session) }
        }
        SessionAct::Report(name, load_ppm) => {
            let network = Name::new("n").unwrap();
            let partition = LoadId::Partition(PartitionId { network, index: 0 });
            let load = Load { load_ppm };
            Command::ReportLoads { loads: vec![(LoadId::Worker(name), load), (partition, load)] }
        }
        SessionAct::Assign(name, ids) => {
            let held = state.worker(&name).and_then(|worker| worker.session);
            let owner = Owner { worker: name, session: held.unwrap_or(session) };
            let grant = |partition| Grant { partition, owner: owner.clone() };
            Command::AssignPartitions { grants: ids.into_iter().map(grant).collect() }
        }
        SessionAct::AssignAll => assign_all(state),
        SessionAct::Release(id, right) => {
            let epoch = if right { epoch_of(state, &id) } else { Epoch::default() };
            Command::ReleasePartition { id, epoch }
        }
        SessionAct::Move(id, to) => {
            Command::MovePartitions { moves: vec![(id, to)], basis: Default::default() }
        }
        SessionAct::Bound(key, bytes, guard) => {
            let value = vec![b'v'; bytes].into();
            let record = Record::Entry(Entry { value, session: Some(session) });
            let put = Operation::Put { key: Key::entry(key), record, return_previous: false };
            let guard = guard.map(|id| Guard::Partition { epoch: epoch_of(state, &id), id });
            let guards = [Some(Guard::Session(session)), guard].into_iter().flatten().collect();
            Command::Transaction(Transaction {
                success: vec![put],
                guards,
                ..Transaction::default()
            })
        }
        SessionAct::AddMember(id) => {
            Command::AddMember { id: MemberId(id), peer: "p:1".into(), client: "c:1".into() }
        }
        SessionAct::RetireMember(id) => Command::RetireMember { id: MemberId(id) },
        SessionAct::ReportConnection(which, right, up) => report(state, which, right, up, session),
        SessionAct::Manage(which, natural, right) => manage(state, which, natural, right),
        SessionAct::Retry(which) => Command::RetryConnection { id: nth_connection(state, which) },
        SessionAct::Scale(which, at, more) => scale(state, which, at, more),
        SessionAct::Alert(name, value) => alert(&name, value),
    }
}

/// Raises an alert about a worker, or clears it.
fn alert(name: &Name, value: Option<u64>) -> Command {
    let check = Name::new("worker_load").unwrap();
    let id = AlertId { check, subject: name.to_string() };
    let Some(value) = value else { return Command::SetAlerts { raise: vec![], clear: vec![id] } };
    let severity = if value == 0 { Severity::Warning } else { Severity::Critical };
    let raised = Raised { severity, message: "busy".into(), value };
    Command::SetAlerts { raise: vec![(id, raised)], clear: vec![] }
}

fn report(state: &State, which: u8, right: bool, up: bool, session: SessionId) -> Command {
    let id = nth_connection(state, which);
    let status = state.connection_status(&id).filter(|_| right);
    let session = status.map_or(session, |status| status.to.session);
    let [from_epoch, to_epoch] =
        status.map_or([Epoch::default(); 2], |status| [status.from.epoch, status.to.epoch]);
    let seen = if up { Seen::Up } else { Seen::Broken("reset".into()) };
    let reports = vec![ConnectionReport { id, from_epoch, to_epoch, seen }];
    Command::ReportConnections { session, reports }
}

fn manage(state: &State, which: u8, natural: bool, right: bool) -> Command {
    let id = nth_connection(state, which);
    let broken = state.connection_status(&id).map(|it| it.state) == Some(ConnectionState::Broken);
    let due = if broken == natural { Due::Retry } else { Due::TimeOut };
    let known = state.get(&Key::connection_status(&id)).filter(|_| right);
    let modified = known.map_or(Revision(0), |known| known.modified);
    Command::ManageConnections { steps: vec![ConnectionStep { id, modified, due }] }
}

/// One of the partitions that there are, mostly within the bounds of the process.
fn scale(state: &State, which: usize, at: usize, more: u32) -> Command {
    let live = state.records_of(Kind::Partition).filter_map(|(key, record)| {
        let Record::Partition(partition) = &record.value else { return None };
        let id = PartitionId::parse(std::str::from_utf8(&key.bytes).ok()?)?;
        (partition.state != PartitionState::Deleted).then_some((id, partition))
    });
    let live: Vec<_> = live.collect();
    let network = Name::new("n").unwrap();
    let (id, process) = match live.get(which % live.len().max(1)) {
        Some((id, partition)) => {
            let placed = &partition.processes[at % partition.processes.len()];
            (id.clone(), placed.id.clone())
        }
        None => (PartitionId { network: network.clone(), index: 0 }, network),
    };
    let least = match state.get(&Key::network(&id.network)).map(|record| &record.value) {
        Some(Record::Network(network)) => {
            let found = network.spec.processes.iter().find(|it| it.id == process);
            found.map_or(1, |it| it.parallelism.min)
        }
        _ => 1,
    };
    let basis = Basis::of(state, [Key::partition(&id), Key::network(&id.network)]);
    let parallelism = least + more;
    let changes = vec![ScaledProcess { partition: id.index, process, parallelism }];
    Command::ScaleProcesses(ScaleProcesses { network: id.network, changes, basis })
}

/// One of the workers has little.
fn capacity(worker: &Name) -> Resources {
    let cpu = Name::new(Resources::CPU_MILLIS).unwrap();
    [(cpu, if worker.as_str() == "w3" { 2 } else { 9 })].into_iter().collect()
}
