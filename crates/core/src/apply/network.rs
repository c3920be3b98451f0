//! Networks: from a description and a plan to partitions and connections.
//!
//! Invariants: everything of a network changes at one revision; records whose value stays the same
//! are not written; a kept partition keeps its owner and state; a kept process runs as often as before,
//! within its bounds; a partition that goes while somebody owns it stays as deleted until the ownership
//! ends. An epoch stands for one set of processes: a partition with an owner that gets or loses some, or
//! goes, has a new epoch, so that nobody who still runs what went elsewhere is taken for its owner.

use std::{collections::BTreeMap, sync::Arc};

use super::{draft::Draft, ownership, pool, requirement};
use crate::{
    command::ApplyNetwork,
    connection::Connection,
    constraint,
    id::{Generation, Revision},
    key::{ConnectionId, Key, KeyRange, Kind, PartitionId},
    mutation::{Mutation, planted},
    name::Name,
    network::demand,
    record::{
        Network, NetworkSpec, Parallelism, Partition, PartitionPolicy, PartitionState,
        PlacedProcess, Process, ProcessEdge, Record,
    },
    rejection::{Reason, Rejection},
    reply::{ApplyOutcome, Reply},
    resources::Resources,
    setting::Settings,
    size,
};

pub(super) fn apply(draft: &mut Draft<'_>, command: &ApplyNetwork) -> Result<Reply, Rejection> {
    let ApplyNetwork { name, spec, assignment, basis } = command;
    spec.validate(draft.settings())?;
    spec.validate_chosen()?;
    validate_assignment(spec, assignment)?;
    let mut spec = spec.clone();
    spec.canonicalize();
    constraint::check(&spec.processes, assignment).map_err(|conflict| {
        Rejection::invalid(format!("assignment[{}]", conflict.at), conflict.to_string())
    })?;
    let key = Key::network(name);
    let existing = draft.get(&key).map(|record| (record.modified, record.value.clone()));
    validate_basis(name, *basis, existing.as_ref().map(|(modified, _)| *modified))?;
    let (outcome, generation) = match &existing {
        Some((_, Record::Network(old))) if old.spec == spec => {
            let (outcome, generation) = (ApplyOutcome::Unchanged, old.generation);
            return Ok(Reply::ApplyNetwork { outcome, generation });
        }
        Some((_, Record::Network(old))) => (ApplyOutcome::Updated, old.generation.next()),
        _ => (ApplyOutcome::Created, Generation(1)),
    };
    pool::has_source(draft, &spec.policy)?;
    let partitions = partitions(draft, name, &spec, assignment);
    requirement::possible(&spec.policy, &partitions)?;
    let connections = connections(draft.settings(), name, &spec, assignment);
    let network = Network { spec, generation };
    let policy = network.spec.policy.clone();
    let network = Record::Network(Arc::new(network));
    can_go(
        draft.settings(),
        name,
        &policy,
        [&partitions, &connections, &[(key.clone(), network.clone())].into()],
    )?;
    draft.put(&key, network);
    replace(draft, &belonging(name, Kind::Partition), partitions);
    replace(draft, &belonging(name, Kind::Connection), connections);
    Ok(Reply::ApplyNetwork { outcome, generation })
}

pub(super) fn delete(draft: &mut Draft<'_>, name: &Name) -> Result<Reply, Rejection> {
    let key = Key::network(name);
    if draft.get(&key).is_none() {
        return Err(Rejection::new(Reason::NotFound, format!("no network {name}")));
    }
    draft.delete(&key);
    let connections = draft.delete_range(&belonging(name, Kind::Connection)).len();
    let range = belonging(name, Kind::Partition);
    let all = draft.range(&range).filter(|(_, record)| is_live(&record.value));
    let all: Vec<Key> = all.map(|(key, _)| key.clone()).collect();
    all.iter().for_each(|key| ownership::bury(draft, key));
    let count = |records: usize| {
        u32::try_from(records).expect("the settings keep every network below 2^32 records")
    };
    let (partitions, connections) = (count(all.len()), count(connections));
    Ok(Reply::DeleteNetwork { partitions, connections })
}

/// Whether a partition's network still has it.
fn is_live(record: &Record) -> bool {
    !matches!(record, Record::Partition(partition) if partition.state == PartitionState::Deleted)
}

/// The partitions or connections of a network. Exact, since no name contains a slash.
fn belonging(network: &Name, kind: Kind) -> KeyRange {
    KeyRange::Prefix(kind, format!("{network}/").into())
}

fn validate_assignment(spec: &NetworkSpec, assignment: &[u32]) -> Result<(), Rejection> {
    let (processes, partitions) = (spec.processes.len(), spec.policy.partitions);
    if assignment.len() != processes {
        let rule = format!("one number per process: {processes}, not {}", assignment.len());
        return Err(Rejection::invalid("assignment", rule));
    }
    let mut used = vec![false; partitions as usize];
    for (at, &partition) in assignment.iter().enumerate() {
        let Some(used) = used.get_mut(partition as usize) else {
            let rule = format!("below the number of partitions, {partitions}, not {partition}");
            return Err(Rejection::invalid(format!("assignment[{at}]"), rule));
        };
        *used = true;
    }
    match used.iter().position(|used| !used) {
        Some(empty) => Err(Rejection::invalid("assignment", format!("partition {empty} is empty"))),
        None => Ok(()),
    }
}

fn validate_basis(
    name: &Name,
    basis: Option<Revision>,
    modified: Option<Revision>,
) -> Result<(), Rejection> {
    if basis == modified {
        return Ok(());
    }
    let said = |at: Option<Revision>| {
        at.map_or("absent".to_owned(), |revision| format!("as of revision {revision}"))
    };
    let (planned, found) = (said(basis), said(modified));
    let message = format!("network {name} is {found}, but was {planned} when it was planned");
    Err(Rejection { field: "basis".into(), ..Rejection::new(Reason::StalePlan, message) })
}

/// The partitions that the plan describes, by key.
fn partitions(
    draft: &Draft<'_>,
    network: &Name,
    spec: &NetworkSpec,
    assignment: &[u32],
) -> BTreeMap<Key, Record> {
    let total = demand(&spec.processes);
    let runs = parallelism(draft, network);
    let mut members: BTreeMap<u32, Vec<&Process>> = BTreeMap::new();
    for (process, partition) in spec.processes.iter().zip(assignment) {
        members.entry(*partition).or_default().push(process);
    }
    let record = |(index, members): (u32, Vec<&Process>)| {
        let key = Key::partition(&PartitionId { network: network.clone(), index });
        let (owner, epoch, state, target) = match draft.get(&key).map(|record| &record.value) {
            Some(Record::Partition(kept)) => {
                // Who owns what was deleted must release it before anybody else has it.
                let state = match kept.state {
                    PartitionState::Deleted => PartitionState::Releasing,
                    state => state,
                };
                let same = has_processes(kept, &members) || planted(Mutation::KeptEpoch);
                let epoch =
                    if kept.owner.is_none() || same { kept.epoch } else { Some(draft.epoch()) };
                (kept.owner.clone(), epoch, state, kept.target.clone())
            }
            _ => (None, None, PartitionState::Unassigned, None),
        };
        let placed = |p: &&Process| {
            let Parallelism { min, max } = p.parallelism;
            let parallelism = runs.get(&p.id).map_or(min, |now| (*now).clamp(min, max));
            PlacedProcess { id: p.id.clone(), parallelism }
        };
        let processes: Vec<PlacedProcess> = members.iter().map(placed).collect();
        let mut demand = Resources::default();
        for (process, placed) in members.iter().zip(&processes) {
            demand.add(&process.needs, placed.parallelism);
        }
        let load_ppm = demand.dominant_share_ppm(&total);
        let requires = members.iter().flat_map(|process| process.requires.clone()).collect();
        let apart = members.iter().filter_map(|process| process.anti_affinity.clone()).collect();
        let partition =
            Partition { processes, demand, load_ppm, owner, epoch, state, target, requires, apart };
        (key, Record::Partition(Arc::new(partition)))
    };
    members.into_iter().map(record).collect()
}

/// Whether a partition has exactly these processes now. Both are sorted by id; what was deleted has none.
fn has_processes(partition: &Partition, members: &[&Process]) -> bool {
    let now = partition.processes.iter().map(|it| &it.id);
    partition.state != PartitionState::Deleted && now.eq(members.iter().map(|it| &it.id))
}

/// How many instances of each process of a network run now.
fn parallelism(draft: &Draft<'_>, network: &Name) -> BTreeMap<Name, u32> {
    let range = belonging(network, Kind::Partition);
    let partitions = draft.range(&range);
    let live = partitions.filter_map(|(_, record)| match &record.value {
        Record::Partition(partition) if is_live(&record.value) => Some(partition.clone()),
        _ => None,
    });
    live.flat_map(|partition| partition.processes.clone())
        .map(|it| (it.id, it.parallelism))
        .collect()
}

/// The network must be able to go again at one revision, with the status of all its connections and with
/// what its partitions require of a pool.
fn can_go(
    settings: &Settings,
    name: &Name,
    policy: &PartitionPolicy,
    records: [&BTreeMap<Key, Record>; 3],
) -> Result<(), Rejection> {
    let all = records.into_iter().flatten();
    let (mut count, mut bytes) = (0, 0);
    for (key, record) in all {
        count += 1;
        bytes += size::removal(key, record);
        match key.kind {
            Kind::Connection => {
                count += 1;
                bytes += size::ending_of_connection(name);
            }
            // Its load goes with it.
            Kind::Partition => {
                count += 1;
                bytes += size::removal_of_load(key);
                if let Some(going) = requirement::going(policy, record) {
                    count += 2;
                    bytes += going;
                }
            }
            _ => {}
        }
    }
    let limits = [
        (count, "command_changes_max", settings.command_changes_max),
        (bytes, "command_bytes_max", settings.command_bytes_max),
    ];
    match limits.into_iter().find(|(count, _, max)| count > max) {
        Some((count, limit, max)) => Err(Rejection::limit("changes", limit, count, max)),
        None => Ok(()),
    }
}

/// The connections between partitions: the edges that cross, by key, with the rules in force now.
fn connections(
    settings: &Settings,
    network: &Name,
    spec: &NetworkSpec,
    assignment: &[u32],
) -> BTreeMap<Key, Record> {
    let partition_of = |id: &Name| {
        let at = spec.processes.binary_search_by(|process| process.id.cmp(id));
        assignment[at.expect("every edge was checked to join processes of the spec")]
    };
    let mut crossing: BTreeMap<(u32, u32), Vec<ProcessEdge>> = BTreeMap::new();
    for edge in &spec.connections {
        let (from, to) = (partition_of(&edge.from), partition_of(&edge.to));
        if from != to {
            crossing.entry((from, to)).or_default().push(edge.clone());
        }
    }
    let policy = spec.connection_policy(settings);
    let record = |((from, to), edges)| {
        let key = Key::connection(&ConnectionId { network: network.clone(), from, to });
        (key, Record::Connection(Arc::new(Connection { edges, policy })))
    };
    crossing.into_iter().map(record).collect()
}

/// Makes a range hold exactly these records, writing only what differs.
fn replace(draft: &mut Draft<'_>, range: &KeyRange, records: BTreeMap<Key, Record>) {
    let gone = draft.range(range).filter(|(key, _)| !records.contains_key(*key));
    let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
    for key in &gone {
        match key.kind {
            Kind::Partition => ownership::bury(draft, key),
            _ => draft.delete(key),
        }
    }
    for (key, record) in records {
        if draft.get(&key).is_none_or(|existing| existing.value != record) {
            draft.put(&key, record);
        }
    }
}
