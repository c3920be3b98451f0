//! How many bytes records and changes count for, in limits and in the history's budget.
//!
//! Invariant: computed from lengths alone, so that every replica counts the same. An estimate of
//! what they take in memory, with fixed amounts for what surrounds the data.

use std::collections::BTreeMap;

use crate::{
    connection::CONNECTION_ERROR_BYTES_MAX,
    event::{Change, Event},
    id::SessionId,
    key::{AllocationId, Key, Kind},
    name::Name,
    pool::{Allocation, AllocationState, Holder, Pool},
    record::{KeptReply, NetworkSpec, Partition, ProcessEdge, Record},
    reply::{KeyedRecord, OperationReply, Outcome, Reply},
    resources::Resources,
};

/// What surrounds one change: the change itself, its map entry, its record's revisions.
const CHANGE_OVERHEAD: u64 = 256;
/// What surrounds an event.
const EVENT_OVERHEAD: u64 = 128;
/// What surrounds one element of a list within a record.
const ELEMENT_OVERHEAD: u64 = 32;

/// An event with its changes.
pub(crate) fn event(event: &Event) -> u64 {
    let origin = len(event.origin.label.as_bytes()) + len(event.origin.reason.as_bytes());
    EVENT_OVERHEAD + origin + event.changes.iter().map(change).sum::<u64>()
}

/// A change with the record before and after.
pub(crate) fn change(change: &Change) -> u64 {
    let records = [&change.previous, &change.current];
    let values = records.into_iter().flatten().map(|versioned| record(&versioned.value));
    CHANGE_OVERHEAD + len(&change.key.bytes) + values.sum::<u64>()
}

/// The change that ends what is bound to a session. Never less than [`change`] of it: a partition
/// may get a target before, at no cost.
pub(crate) fn ending(key: &Key, value: &Record) -> u64 {
    match value {
        // Deleted.
        Record::Entry(_) => CHANGE_OVERHEAD + len(&key.bytes) + record(value),
        Record::Partition(partition) => match &partition.owner {
            Some(owner) => ending_of_partition(key, partition, &owner.worker),
            None => 0,
        },
        Record::Allocation(value) => ending_of_allocation(key, value),
        // Stays, without its session.
        _ => CHANGE_OVERHEAD + len(&key.bytes) + 2 * record(value),
    }
}

/// The change that ends the ownership of a partition that this worker owns.
pub(crate) fn ending_of_partition(key: &Key, value: &Partition, owner: &Name) -> u64 {
    let names = len(owner.as_str().as_bytes()) + 2 * Name::LEN_MAX as u64;
    CHANGE_OVERHEAD + len(&key.bytes) + names + 2 * partition(value)
}

/// The change that ends the status of a connection of this network, whatever it is.
pub(crate) fn ending_of_connection(network: &Name) -> u64 {
    // Two partitions' ids: `net/0->net/1`, with up to ten digits each.
    let key = 2 * (len(network.as_str().as_bytes()) + 1 + 10) + 2;
    CHANGE_OVERHEAD + key + CONNECTION_ERROR_BYTES_MAX as u64
}

/// The change that deletes a record of a network, or lets a partition stay as deleted.
pub(crate) fn removal(key: &Key, value: &Record) -> u64 {
    let records = if key.kind == Kind::Partition { 2 } else { 1 };
    CHANGE_OVERHEAD + len(&key.bytes) + records * record(value)
}

/// The change that deletes the observed load of a partition.
pub(crate) fn removal_of_load(partition: &Key) -> u64 {
    CHANGE_OVERHEAD + len(&partition.bytes)
}

/// A record with its key, as part of an answer.
pub(crate) fn keyed(key: &Key, value: &Record) -> u64 {
    ELEMENT_OVERHEAD + len(&key.bytes) + record(value)
}

fn record(value: &Record) -> u64 {
    match value {
        Record::Entry(entry) => len(&entry.value),
        Record::Setting(text) => len(text.as_bytes()),
        Record::Worker(worker) => {
            len(worker.address.as_bytes()) + resources(&worker.capacity) + labels(&worker.labels)
        }
        Record::Network(network) => spec(&network.spec),
        Record::Partition(value) => partition(value),
        Record::Connection(connection) => connection.edges.iter().map(edge).sum(),
        Record::Session(session) => len(session.label.as_bytes()),
        Record::Member(member) => len(member.peer.as_bytes()) + len(member.client.as_bytes()),
        Record::Load(_) | Record::Window(_) => 0,
        Record::Pool(value) => pool(value),
        Record::Allocation(value) => allocation(value),
        Record::Reply(reply) => kept(reply),
        Record::ConnectionStatus(status) => len(status.error.as_bytes()),
        Record::Alert(alert) => len(alert.message.as_bytes()),
    }
}

/// What a kept reply counts for against `session_reply_bytes_max`.
pub(crate) fn kept(reply: &KeptReply) -> u64 {
    outcome(&reply.outcome)
}

/// What a command came to, as it is kept.
pub(crate) fn outcome(outcome: &Outcome) -> u64 {
    let keyed = |(key, record): &KeyedRecord| keyed(key, &record.value);
    let result = match &outcome.result {
        Ok(Reply::Transaction(reply)) => reply
            .results
            .iter()
            .map(|result| {
                ELEMENT_OVERHEAD
                    + match result {
                        OperationReply::Get { records, .. } => {
                            records.iter().map(keyed).sum::<u64>()
                        }
                        OperationReply::Put { previous } => {
                            previous.iter().map(|record| self::record(&record.value)).sum()
                        }
                        OperationReply::Delete { previous, .. } => previous.iter().map(keyed).sum(),
                    }
            })
            .sum(),
        Ok(_) => 0,
        Err(rejection) => {
            len(rejection.field.as_bytes())
                + len(rejection.rule.as_bytes())
                + len(rejection.message.as_bytes())
        }
    };
    CHANGE_OVERHEAD + result
}

fn partition(partition: &Partition) -> u64 {
    let placed = partition.processes.iter().map(|process| &process.id);
    let names = placed.chain(&partition.apart);
    resources(&partition.demand)
        + names.map(|name| ELEMENT_OVERHEAD + len(name.as_str().as_bytes())).sum::<u64>()
        + labels(&partition.requires)
}

fn pool(pool: &Pool) -> u64 {
    let tenants = pool.tenants.iter().map(|(name, tenant)| {
        let limits = tenant.limit.keys().map(|it| ELEMENT_OVERHEAD + len(it.as_str().as_bytes()));
        ELEMENT_OVERHEAD
            + len(name.as_str().as_bytes())
            + resources(&tenant.guarantee)
            + limits.sum::<u64>()
    });
    resources(&pool.capacity) + tenants.sum::<u64>()
}

/// Whatever its state is: a grant that is asked back names an allocation, a tenant and a resource.
fn allocation(allocation: &Allocation) -> u64 {
    let names = len(allocation.tenant.as_str().as_bytes()) + 4 * Name::LEN_MAX as u64;
    ELEMENT_OVERHEAD + names + resources(&allocation.amount)
}

/// The changes that end an allocation, or its grant: its record and its load's. The same in every
/// state, so that a grant is no more than what waits.
pub(crate) fn ending_of_allocation(key: &Key, value: &Allocation) -> u64 {
    let records = match value.holder {
        Holder::Session(_) => 1,
        Holder::Partition(_) => 2,
    };
    2 * (CHANGE_OVERHEAD + ELEMENT_OVERHEAD + len(&key.bytes)) + records * allocation(value)
}

/// The changes that end what a partition requires of a pool, and what is known of its use.
pub(crate) fn removal_of_requirement(id: &AllocationId, tenant: &Name, amount: &Resources) -> u64 {
    let required = Allocation {
        tenant: tenant.clone(),
        amount: amount.clone(),
        priority: 0,
        holder: Holder::Session(SessionId::default()),
        waiting_since_ms: 0,
        state: AllocationState::Waiting,
        required: true,
    };
    ending_of_allocation(&Key::allocation(id), &required)
}

fn spec(spec: &NetworkSpec) -> u64 {
    let processes = spec.processes.iter().map(|process| {
        let groups = [&process.affinity, &process.anti_affinity].into_iter().flatten();
        let names = len(process.component.as_bytes())
            + [&process.id]
                .into_iter()
                .chain(groups)
                .map(|it| len(it.as_str().as_bytes()))
                .sum::<u64>();
        ELEMENT_OVERHEAD + names + resources(&process.needs) + labels(&process.requires)
    });
    let source = [&spec.policy.pool, &spec.policy.tenant].into_iter().flatten();
    processes.sum::<u64>()
        + spec.connections.iter().map(edge).sum::<u64>()
        + std::mem::size_of_val(spec.policy.shares.as_slice()) as u64
        + source.map(|it| len(it.as_str().as_bytes())).sum::<u64>()
}

fn labels(labels: &BTreeMap<String, String>) -> u64 {
    let label = |(name, value): (&String, &String)| {
        ELEMENT_OVERHEAD + len(name.as_bytes()) + len(value.as_bytes())
    };
    labels.iter().map(label).sum()
}

fn edge(edge: &ProcessEdge) -> u64 {
    let names = len(edge.from.as_str().as_bytes()) + len(edge.to.as_str().as_bytes());
    ELEMENT_OVERHEAD + names
}

fn resources(resources: &Resources) -> u64 {
    resources.iter().map(|(name, _)| ELEMENT_OVERHEAD + len(name.as_str().as_bytes())).sum()
}

fn len(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}
