//! Rules of networks:
//!
//! - the stored description is valid, canonical and chosen;
//! - its partitions are numbered from 0 without a gap and none is empty; each process is in exactly
//!   one of them, at a parallelism within its bounds; demand, load, required labels and anti-affinity
//!   groups follow from the processes;
//! - processes of one affinity group are in one partition, those of one anti-affinity group in
//!   different ones; no partition requires two values of one label;
//! - its connections join two different partitions and carry exactly the edges that cross;
//! - an owner is a worker that is not down, with its session, and has an epoch no newer than the
//!   state; what has no owner is unassigned;
//! - what was deleted has an owner, and counts for nothing else;
//! - there are no partitions or connections without a network.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use crate::{
    key::{ConnectionId, Key, PartitionId},
    name::Name,
    record::{
        Network, NetworkSpec, Owner, Partition, PartitionState, Process, ProcessEdge, Record,
        WorkerState,
    },
    resources::Resources,
    setting::Settings,
    state::State,
};

/// The partitions and connections of one network, by number.
#[derive(Default)]
struct Parts<'a> {
    partitions: BTreeMap<u32, &'a Partition>,
    connections: BTreeMap<(u32, u32), &'a [ProcessEdge]>,
}

pub(super) fn check(state: &State, report: &mut Report) {
    let mut networks: BTreeMap<Name, &Network> = BTreeMap::new();
    let mut parts: BTreeMap<Name, Parts<'_>> = BTreeMap::new();
    for (key, versioned) in state.records() {
        let Ok(text) = std::str::from_utf8(&key.bytes) else { continue };
        match (&versioned.value, PartitionId::parse(text), ConnectionId::parse(text)) {
            (Record::Network(network), ..) => {
                networks.extend(Name::new(text).ok().map(|name| (name, network.as_ref())));
            }
            (Record::Partition(partition), ..) if partition.state == PartitionState::Deleted => {
                check_owner(state, key, partition, report);
            }
            (Record::Partition(partition), Some(PartitionId { network, index }), _) => {
                check_owner(state, key, partition, report);
                parts.entry(network).or_default().partitions.insert(index, partition);
            }
            (Record::Connection(connection), _, Some(ConnectionId { network, from, to })) => {
                let connections = &mut parts.entry(network).or_default().connections;
                connections.insert((from, to), &connection.edges);
            }
            _ => {}
        }
    }
    for (name, network) in networks {
        let parts = parts.remove(&name).unwrap_or_default();
        check_spec(&name, network, report);
        check_partitions(&name, &network.spec, &parts, report);
        check_constraints(&name, &network.spec, &parts, report);
        check_connections(&name, &network.spec, &parts, report);
    }
    for name in parts.keys() {
        report.require(false, name, format_args!("partitions or connections without a network"));
    }
}

fn check_owner(state: &State, key: &Key, partition: &Partition, report: &mut Report) {
    if let Some(owner) = &partition.owner {
        let worker = state.get(&Key::worker(&owner.worker)).map(|record| &record.value);
        let live = match worker {
            Some(Record::Worker(worker)) => {
                worker.state != WorkerState::Down && worker.session == Some(owner.session)
            }
            _ => false,
        };
        let Owner { worker, session } = owner;
        report.require(
            live,
            key,
            format_args!("its owner {worker} exists, is not down and holds session {session}"),
        );
        let granted = partition.epoch.is_some();
        report.require(granted, key, format_args!("an owned partition has an epoch"));
    }
    let owned = partition.state != PartitionState::Unassigned;
    let fits = owned == partition.owner.is_some();
    report.require(fits, key, format_args!("it is {:?} as its owner says", partition.state));
    if let Some(epoch) = partition.epoch {
        let past =
            epoch.restore <= state.identity().restore_epoch && epoch.revision <= state.revision();
        report.require(past, key, format_args!("its epoch {epoch} is no newer than the state"));
    }
}

fn check_spec(name: &Name, network: &Network, report: &mut Report) {
    let spec = &network.spec;
    // The sizes were within the limits of their time.
    let sizes = Settings {
        network_processes_max: u64::MAX,
        network_connections_max: u64::MAX,
        ..Settings::default()
    };
    let valid = spec.validate(&sizes).and_then(|()| spec.validate_chosen());
    report.require(valid.is_ok(), name, format_args!("its description is valid: {valid:?}"));
    let before = |a: &ProcessEdge, b: &ProcessEdge| (&a.from, &a.to) < (&b.from, &b.to);
    let sorted =
        spec.processes.is_sorted_by(|a, b| a.id < b.id) && spec.connections.is_sorted_by(before);
    report.require(sorted, name, format_args!("its description is in canonical order"));
    report.require(network.generation.0 >= 1, name, format_args!("its generation is at least 1"));
}

fn check_partitions(name: &Name, spec: &NetworkSpec, parts: &Parts<'_>, report: &mut Report) {
    let wanted = 0..spec.policy.partitions;
    let numbered = parts.partitions.keys().copied().eq(wanted.clone());
    report.require(numbered, name, format_args!("its partitions are {wanted:?}"));
    let processes: BTreeMap<&Name, &Process> = spec.processes.iter().map(|p| (&p.id, p)).collect();
    let mut total = Resources::default();
    spec.processes.iter().for_each(|it| total.add(&it.needs, it.parallelism.min));
    let (mut placed_total, mut loads) = (0, Vec::new());
    for (index, partition) in &parts.partitions {
        let id = PartitionId { network: name.clone(), index: *index };
        let sorted = partition.processes.is_sorted_by(|a, b| a.id < b.id);
        let filled = !partition.processes.is_empty();
        report.require(sorted && filled, &id, format_args!("its processes are some, by id"));
        placed_total += partition.processes.len();
        let mut demand = Resources::default();
        for placed in &partition.processes {
            let process = processes.get(&placed.id);
            let within = process.is_some_and(|process| {
                let bounds = process.parallelism;
                (bounds.min..=bounds.max).contains(&placed.parallelism)
            });
            report.require(within, &id, format_args!("{} is a process of its network", placed.id));
            process.inspect(|process| demand.add(&process.needs, placed.parallelism));
        }
        report.require(partition.demand == demand, &id, format_args!("its demand is {demand:?}"));
        loads.push((id, partition.load_ppm, demand.dominant_share_ppm(&total)));
    }
    // What is wrong with processes is told first: all loads depend on all of them.
    for (id, load_ppm, load) in loads {
        report.require(load_ppm == load, &id, format_args!("its load is {load}"));
    }
    let unique = partition_of(parts).len();
    let exact = unique == processes.len() && placed_total == unique;
    report.require(exact, name, format_args!("each process is in exactly one partition"));
}

fn check_constraints(name: &Name, spec: &NetworkSpec, parts: &Parts<'_>, report: &mut Report) {
    let processes: BTreeMap<&Name, &Process> = spec.processes.iter().map(|p| (&p.id, p)).collect();
    let mut homes: BTreeMap<&Name, u32> = BTreeMap::new();
    for (index, partition) in &parts.partitions {
        let id = PartitionId { network: name.clone(), index: *index };
        let members = partition.processes.iter().filter_map(|placed| processes.get(&placed.id));
        let (mut required, mut groups) = (BTreeSet::new(), Vec::new());
        for process in members {
            required.extend(&process.requires);
            groups.extend(&process.anti_affinity);
            if let Some(group) = &process.affinity {
                let home = *homes.entry(group).or_insert(*index);
                let together = home == *index;
                report.require(together, &id, format_args!("affinity group {group} is in {home}"));
            }
        }
        groups.sort_unstable();
        // Of two values, the record has one.
        let same = required.into_iter().eq(&partition.requires);
        report.require(same, &id, format_args!("it requires what its processes do"));
        let same = groups.into_iter().eq(&partition.apart);
        report.require(same, &id, format_args!("it has its processes' anti-affinity groups, once"));
    }
}

fn check_connections(name: &Name, spec: &NetworkSpec, parts: &Parts<'_>, report: &mut Report) {
    let partition_of = partition_of(parts);
    let mut crossing: BTreeMap<(u32, u32), Vec<&ProcessEdge>> = BTreeMap::new();
    for edge in &spec.connections {
        let ends = (partition_of.get(&edge.from), partition_of.get(&edge.to));
        if let (Some(from), Some(to)) = ends
            && from != to
        {
            crossing.entry((*from, *to)).or_default().push(edge);
        }
    }
    for ((from, to), edges) in &parts.connections {
        let id = ConnectionId { network: name.clone(), from: *from, to: *to };
        let expected = crossing.remove(&(*from, *to)).unwrap_or_default();
        let exact = edges.iter().eq(expected) && !edges.is_empty();
        report.require(exact, &id, format_args!("it carries exactly the edges that cross"));
    }
    for (from, to) in crossing.keys() {
        report.require(false, name, format_args!("edges cross from {from} to {to} uncarried"));
    }
}

/// In which partition each process is.
fn partition_of<'a>(parts: &Parts<'a>) -> BTreeMap<&'a Name, u32> {
    let placed = parts.partitions.iter().flat_map(|(index, partition)| {
        partition.processes.iter().map(|process| (&process.id, *index))
    });
    placed.collect()
}
