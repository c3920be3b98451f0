//! Records and what is in them.
//!
//! A partition's message, a connection's and its status's repeat what their key says; the key decides, and a
//! message that contradicts it is refused.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    Entry, Generation, Key, KeyedRecord, Kind, Load, Member, MemberState, Name, Network, Owner,
    Partition, PartitionId, PartitionState, PlacedProcess, Record, Resources, Revision, Session,
    Versioned, Worker, WorkerState,
};

use super::{
    ConvertError, Within, connection, each, key::required_key, name, name_or_empty, optional_name,
    pool, required,
};
use crate::v1;

/// A record's message.
#[must_use]
pub fn record(key: &Key, record: &Versioned<Record>) -> v1::Record {
    v1::Record {
        key: Some(key.clone().into()),
        created: record.created.get(),
        modified: record.modified.get(),
        version: record.version,
        session: bound_to(&record.value),
        value: Some(value(key, &record.value)),
    }
}

/// A record's message without its value: for answers that leave values out.
#[must_use]
pub fn record_without_value(key: &Key, record: &Versioned<Record>) -> v1::Record {
    v1::Record {
        key: Some(key.clone().into()),
        created: record.created.get(),
        modified: record.modified.get(),
        version: record.version,
        session: bound_to(&record.value),
        value: None,
    }
}

/// The session with which an entry ends. Other records name theirs in their value.
fn bound_to(record: &Record) -> Option<v1::SessionId> {
    match record {
        Record::Entry(entry) => entry.session.map(Into::into),
        _ => None,
    }
}

/// The messages of records.
#[must_use]
pub fn records(records: &[KeyedRecord]) -> Vec<v1::Record> {
    records.iter().map(|(key, versioned)| record(key, versioned)).collect()
}

/// Reads a record's message; it must have its value.
///
/// # Errors
/// [`ConvertError`] when a field is missing or wrong.
pub fn keyed_record(message: v1::Record) -> Result<KeyedRecord, ConvertError> {
    let key = required_key(message.key)?;
    let value = required(message.value, "value")?;
    let versioned = Versioned {
        created: Revision(message.created),
        modified: Revision(message.modified),
        version: message.version,
        value: read_value(&key, message.session, value)?,
    };
    Ok((key, Arc::new(versioned)))
}

/// Reads records' messages; an error names `field` and the record's number.
///
/// # Errors
/// [`ConvertError`] when a field is missing or wrong.
pub fn keyed_records(
    messages: Vec<v1::Record>,
    field: &str,
) -> Result<Vec<KeyedRecord>, ConvertError> {
    each(messages, field, keyed_record)
}

/// What a record's message says of its revisions when it has no value.
///
/// # Errors
/// [`ConvertError`] when its key is missing or wrong.
pub fn keyed_revisions(message: v1::Record) -> Result<(Key, Versioned<()>), ConvertError> {
    let key = required_key(message.key)?;
    let versioned = Versioned {
        created: Revision(message.created),
        modified: Revision(message.modified),
        version: message.version,
        value: (),
    };
    Ok((key, versioned))
}

fn value(key: &Key, record: &Record) -> v1::record::Value {
    use v1::record::Value;
    match record {
        Record::Entry(entry) => Value::Entry(entry.value.clone()),
        Record::Session(session) => Value::SessionValue(v1::Session {
            ttl_ms: session.ttl_ms,
            label: session.label.as_ref().to_owned(),
        }),
        Record::Load(load) => Value::Load(v1::Load { load_ppm: load.load_ppm }),
        Record::Member(member) => Value::Member(v1::MemberRecord {
            peer_address: member.peer.clone(),
            client_address: member.client.clone(),
            active: member.state == MemberState::Active,
        }),
        Record::Alert(alert) => Value::Alert(alert.as_ref().into()),
        // No caller sees these: their kinds have no name outside.
        Record::Window(_) | Record::Reply(_) => Value::Entry(bytes::Bytes::new()),
        Record::Worker(worker) => Value::Worker(worker_message(worker)),
        Record::Network(network) => Value::Network(network.as_ref().into()),
        Record::Partition(partition) => Value::Partition(partition_message(key, partition)),
        Record::Connection(connection) => Value::Connection(connection::message(key, connection)),
        Record::Setting(text) => Value::Setting(text.as_ref().to_owned()),
        Record::ConnectionStatus(status) => {
            Value::ConnectionStatus(connection::status_message(key, status))
        }
        Record::Pool(pool) => Value::Pool(pool.as_ref().into()),
        Record::Allocation(allocation) => {
            Value::Allocation(pool::allocation_message(key, allocation))
        }
    }
}

fn read_value(
    key: &Key,
    session: Option<v1::SessionId>,
    value: v1::record::Value,
) -> Result<Record, ConvertError> {
    use v1::record::Value;
    let record = match value {
        Value::Entry(value) => Record::Entry(Entry { value, session: session.map(Into::into) }),
        Value::SessionValue(session) => {
            Record::Session(Session { ttl_ms: session.ttl_ms, label: session.label.into() })
        }
        Value::Load(load) => Record::Load(Load { load_ppm: load.load_ppm }),
        Value::Member(member) => Record::Member(Arc::new(Member {
            peer: member.peer_address,
            client: member.client_address,
            state: if member.active { MemberState::Active } else { MemberState::Removed },
        })),
        Value::Alert(alert) => Record::Alert(Arc::new(alert.try_into().within("alert")?)),
        Value::Worker(worker) => Record::Worker(Arc::new(worker.try_into().within("worker")?)),
        Value::Network(network) => Record::Network(Arc::new(network.try_into().within("network")?)),
        Value::Partition(partition) => {
            Record::Partition(Arc::new(read_partition(key, partition).within("partition")?))
        }
        Value::Connection(connection) => {
            Record::Connection(Arc::new(connection::read(key, &connection).within("connection")?))
        }
        Value::Setting(text) => Record::Setting(text.into()),
        Value::ConnectionStatus(status) => {
            let status = connection::read_status(key, status).within("connection_status")?;
            Record::ConnectionStatus(Arc::new(status))
        }
        Value::Pool(pool) => Record::Pool(Arc::new(pool.try_into().within("pool")?)),
        Value::Allocation(allocation) => Record::Allocation(Arc::new(
            pool::read_allocation(key, allocation).within("allocation")?,
        )),
    };
    if record.kind() == key.kind {
        Ok(record)
    } else {
        let rule = format!("a {} where the key says {}", record.kind(), key.kind);
        Err(ConvertError::new("value", rule))
    }
}

impl From<&Resources> for v1::Resources {
    fn from(resources: &Resources) -> Self {
        let amounts =
            resources.iter().map(|(name, amount)| (name.as_str().to_owned(), amount)).collect();
        Self { amounts }
    }
}

impl TryFrom<v1::Resources> for Resources {
    type Error = ConvertError;

    fn try_from(resources: v1::Resources) -> Result<Self, ConvertError> {
        let read = |(text, amount): (String, u64)| {
            let field = || format!("amounts[{}]", text.chars().take(64).collect::<String>());
            let name = Name::new(&text).map_err(|_| {
                ConvertError::new(field(), format!("the name must match {}", Name::PATTERN))
            })?;
            Ok((name, amount))
        };
        resources.amounts.into_iter().map(read).collect()
    }
}

/// Reads resources that may be absent: nothing of anything.
///
/// # Errors
/// [`ConvertError`] when a name is wrong.
pub fn resources(message: Option<v1::Resources>, field: &str) -> Result<Resources, ConvertError> {
    message.map_or_else(|| Ok(Resources::default()), Resources::try_from).within(field)
}

fn worker_message(worker: &Worker) -> v1::Worker {
    let state = match worker.state {
        WorkerState::Joining => v1::WorkerState::Joining,
        WorkerState::Active => v1::WorkerState::Active,
        WorkerState::Draining => v1::WorkerState::Draining,
        WorkerState::Down => v1::WorkerState::Down,
    };
    v1::Worker {
        address: worker.address.clone(),
        capacity: Some((&worker.capacity).into()),
        labels: worker.labels.clone(),
        state: state.into(),
        session: worker.session.map(Into::into),
    }
}

impl TryFrom<v1::Worker> for Worker {
    type Error = ConvertError;

    fn try_from(worker: v1::Worker) -> Result<Self, ConvertError> {
        let state = match v1::WorkerState::try_from(worker.state) {
            Ok(v1::WorkerState::Joining) => WorkerState::Joining,
            Ok(v1::WorkerState::Active) => WorkerState::Active,
            Ok(v1::WorkerState::Draining) => WorkerState::Draining,
            Ok(v1::WorkerState::Down) => WorkerState::Down,
            Ok(v1::WorkerState::Unspecified) | Err(_) => {
                return Err(ConvertError::new("state", format!("unknown value {}", worker.state)));
            }
        };
        Ok(Self {
            address: worker.address,
            capacity: resources(worker.capacity, "capacity")?,
            labels: worker.labels.into_iter().collect::<BTreeMap<_, _>>(),
            state,
            session: worker.session.map(Into::into),
        })
    }
}

impl From<&Network> for v1::Network {
    fn from(network: &Network) -> Self {
        Self { spec: Some((&network.spec).into()), generation: network.generation.get() }
    }
}

impl TryFrom<v1::Network> for Network {
    type Error = ConvertError;

    fn try_from(network: v1::Network) -> Result<Self, ConvertError> {
        let spec = required(network.spec, "spec")?.try_into().within("spec")?;
        Ok(Self { spec, generation: Generation(network.generation) })
    }
}

fn partition_id(key: &Key) -> Option<PartitionId> {
    if key.kind != Kind::Partition {
        return None;
    }
    PartitionId::parse(std::str::from_utf8(&key.bytes).ok()?)
}

fn partition_message(key: &Key, partition: &Partition) -> v1::Partition {
    let id = partition_id(key);
    let state = match partition.state {
        PartitionState::Unassigned => v1::PartitionState::Unassigned,
        PartitionState::Assigned => v1::PartitionState::Assigned,
        PartitionState::Releasing => v1::PartitionState::Releasing,
        PartitionState::Deleted => v1::PartitionState::Deleted,
    };
    let owner = partition.owner.as_ref();
    let placed = |process: &PlacedProcess| v1::PlacedProcess {
        id: process.id.as_str().to_owned(),
        parallelism: process.parallelism,
    };
    v1::Partition {
        network: id.as_ref().map(|id| id.network.as_str().to_owned()).unwrap_or_default(),
        index: id.map(|id| id.index).unwrap_or_default(),
        processes: partition.processes.iter().map(placed).collect(),
        demand: Some((&partition.demand).into()),
        load_ppm: partition.load_ppm,
        owner: owner.map(|owner| owner.worker.as_str().to_owned()).unwrap_or_default(),
        epoch: partition.epoch.map(Into::into),
        state: state.into(),
        owner_session: owner.map(|owner| owner.session.into()),
        target: name_or_empty(partition.target.as_ref()),
        requires: partition.requires.clone(),
        apart: partition.apart.iter().map(|group| group.as_str().to_owned()).collect(),
    }
}

fn read_partition(key: &Key, message: v1::Partition) -> Result<Partition, ConvertError> {
    let id = partition_id(key)
        .ok_or_else(|| ConvertError::new("", "the key is no partition id such as net/0"))?;
    if (message.network.as_str(), message.index) != (id.network.as_str(), id.index) {
        return Err(ConvertError::new("network", format!("not that of the key {id}")));
    }
    let state = match v1::PartitionState::try_from(message.state) {
        Ok(v1::PartitionState::Unassigned) => PartitionState::Unassigned,
        Ok(v1::PartitionState::Assigned) => PartitionState::Assigned,
        Ok(v1::PartitionState::Releasing) => PartitionState::Releasing,
        Ok(v1::PartitionState::Deleted) => PartitionState::Deleted,
        Ok(v1::PartitionState::Unspecified) | Err(_) => {
            return Err(ConvertError::new("state", format!("unknown value {}", message.state)));
        }
    };
    let owner = match (optional_name(&message.owner, "owner")?, message.owner_session) {
        (Some(worker), Some(session)) => Some(Owner { worker, session: session.into() }),
        (None, None) => None,
        _ => return Err(ConvertError::new("owner_session", "set exactly when owner is")),
    };
    let placed = |process: v1::PlacedProcess| {
        let id = name(&process.id, "id")?;
        Ok(PlacedProcess { id, parallelism: process.parallelism })
    };
    Ok(Partition {
        processes: each(message.processes, "processes", placed)?,
        demand: resources(message.demand, "demand")?,
        load_ppm: message.load_ppm,
        owner,
        epoch: message.epoch.map(Into::into),
        state,
        target: optional_name(&message.target, "target")?,
        requires: message.requires,
        apart: each(message.apart, "apart", |group| name(&group, ""))?.into_iter().collect(),
    })
}
