//! Rows that show records: keys, networks, partitions.
//!
//! The names of the JSON fields are an interface: fields are added, never renamed.

use std::{collections::BTreeMap, fmt::Display};

use bytes::Bytes;
use quorate_core::{
    AlertId, AllocationId, ConnectionId, MemberState, Network, Partition, PartitionId,
    PartitionState, Process, ProcessEdge, Record, Resources, Versioned,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{
    Column::{self, Left, Right},
    Row,
    alerts::AlertRow,
    connections::{ConnectionRow, StatusRow, policy},
    pools::{AllocationRow, pool_value},
    text,
    workers::worker_state,
};

/// An entry: a user's own key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryRow {
    /// The key.
    pub(crate) key: Bytes,
    /// The value; None when only keys were asked for.
    pub(crate) value: Option<Bytes>,
    /// The revision that created it.
    pub(crate) created: u64,
    /// The revision that changed it last.
    pub(crate) modified: u64,
    /// How many times it was written since it was created.
    pub(crate) version: u64,
}

impl EntryRow {
    /// A record as an entry. The value of a record of another kind is its JSON text.
    pub(crate) fn new(key: Bytes, record: &Versioned<Record>) -> Self {
        let value = match &record.value {
            Record::Entry(entry) => entry.value.clone(),
            other => record_value(&key, other).to_string().into(),
        };
        Self {
            key,
            value: Some(value),
            created: record.created.get(),
            modified: record.modified.get(),
            version: record.version,
        }
    }
}

impl Serialize for EntryRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        text::KEY.serialize(&mut map, &self.key)?;
        if let Some(value) = &self.value {
            text::VALUE.serialize(&mut map, value)?;
        }
        map.serialize_entry("created", &self.created)?;
        map.serialize_entry("modified", &self.modified)?;
        map.serialize_entry("version", &self.version)?;
        map.end()
    }
}

impl Row for EntryRow {
    const COLUMNS: &'static [Column] =
        &[Left("KEY"), Right("CREATED"), Right("MODIFIED"), Right("VERSION"), Left("VALUE")];

    fn cells(&self) -> Vec<String> {
        vec![
            text::cell(&self.key),
            self.created.to_string(),
            self.modified.to_string(),
            self.version.to_string(),
            self.value.as_deref().map(text::short_cell).unwrap_or_default(),
        ]
    }
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PartitionRow {
    id: String,
    network: String,
    processes: Vec<String>,
    demand: BTreeMap<String, u64>,
    load_ppm: u64,
    owner: Option<String>,
    epoch: Option<String>,
    state: &'static str,
    parallelism: BTreeMap<String, u32>,
    session: Option<String>,
    target: Option<String>,
    requires: BTreeMap<String, String>,
    apart: Vec<String>,
}

impl PartitionRow {
    /// The row of a partition.
    pub(crate) fn new(id: &PartitionId, partition: &Partition) -> Self {
        let placed = &partition.processes;
        Self {
            id: id.to_string(),
            network: id.network.to_string(),
            processes: placed.iter().map(|process| process.id.to_string()).collect(),
            demand: amounts(&partition.demand),
            load_ppm: partition.load_ppm,
            owner: partition.owner.as_ref().map(|owner| owner.worker.to_string()),
            epoch: partition.epoch.map(|epoch| epoch.to_string()),
            state: match partition.state {
                PartitionState::Unassigned => "unassigned",
                PartitionState::Assigned => "assigned",
                PartitionState::Releasing => "releasing",
                PartitionState::Deleted => "deleted",
            },
            parallelism: placed.iter().map(|p| (p.id.to_string(), p.parallelism)).collect(),
            session: partition.owner.as_ref().map(|owner| owner.session.to_string()),
            target: partition.target.as_ref().map(ToString::to_string),
            requires: partition.requires.clone(),
            apart: partition.apart.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Row for PartitionRow {
    const COLUMNS: &'static [Column] = &[
        Left("ID"),
        Left("STATE"),
        Left("OWNER"),
        Left("EPOCH"),
        Left("TARGET"),
        Right("LOAD"),
        Left("DEMAND"),
        Right("PROCESSES"),
        Left("FIRST"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.to_owned(),
            text::or_dash(self.owner.as_deref()),
            text::or_dash(self.epoch.as_deref()),
            text::or_dash(self.target.as_deref()),
            percent(self.load_ppm),
            demand(&self.demand) + &constraints(&self.requires, None, &self.apart.join(" ")),
            self.processes.len().to_string(),
            text::shorten(&self.processes.join(" ")),
        ]
    }
}

/// An edge between two processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EdgeRow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) rate: u64,
}

impl EdgeRow {
    pub(super) fn new(edge: &ProcessEdge) -> Self {
        Self { from: edge.from.to_string(), to: edge.to.to_string(), rate: edge.rate }
    }
}

/// A process, as `network get` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessRow {
    id: String,
    component: String,
    needs: BTreeMap<String, u64>,
    parallelism_min: u32,
    parallelism_max: u32,
    requires: BTreeMap<String, String>,
    affinity: Option<String>,
    anti_affinity: Option<String>,
}

impl ProcessRow {
    /// The row of a process.
    pub(crate) fn new(process: &Process) -> Self {
        Self {
            id: process.id.to_string(),
            component: process.component.clone(),
            needs: amounts(&process.needs),
            parallelism_min: process.parallelism.min,
            parallelism_max: process.parallelism.max,
            requires: process.requires.clone(),
            affinity: process.affinity.as_ref().map(ToString::to_string),
            anti_affinity: process.anti_affinity.as_ref().map(ToString::to_string),
        }
    }
}

impl Row for ProcessRow {
    const COLUMNS: &'static [Column] =
        &[Left("PROCESS"), Left("COMPONENT"), Left("NEEDS"), Right("PARALLELISM")];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            text::shorten(&self.component),
            demand(&self.needs)
                + &constraints(
                    &self.requires,
                    self.affinity.as_deref(),
                    self.anti_affinity.as_deref().unwrap_or_default(),
                ),
            format!("{}-{}", self.parallelism_min, self.parallelism_max),
        ]
    }
}

/// Whether a coordinator may be part of the cluster, as text.
pub(crate) const fn member_state(state: MemberState) -> &'static str {
    match state {
        MemberState::Active => "active",
        MemberState::Removed => "removed",
    }
}

/// What a record of any kind holds, as JSON.
pub(crate) fn record_value(key: &[u8], record: &Record) -> Value {
    let id = std::str::from_utf8(key).unwrap_or_default();
    match record {
        Record::Entry(entry) => String::from_utf8_lossy(&entry.value).into(),
        Record::Session(session) => {
            json!({ "id": id, "ttl_ms": session.ttl_ms, "label": session.label.as_ref() })
        }
        Record::Load(load) => json!({ "of": id, "load_ppm": load.load_ppm }),
        Record::Member(member) => json!({
            "id": id,
            "peer": member.peer,
            "client": member.client,
            "state": member_state(member.state),
        }),
        Record::Alert(alert) => {
            AlertId::parse(id).map_or(Value::Null, |id| json!(AlertRow::new(&id, alert)))
        }
        Record::Window(_) | Record::Reply(_) => Value::Null,
        Record::Setting(value) => value.as_ref().into(),
        Record::Network(network) => network_value(network),
        Record::Partition(partition) => PartitionId::parse(id)
            .map_or(Value::Null, |id| json!(PartitionRow::new(&id, partition))),
        Record::Connection(connection) => ConnectionId::parse(id)
            .map_or(Value::Null, |id| json!(ConnectionRow::new(&id, connection))),
        Record::ConnectionStatus(status) => {
            ConnectionId::parse(id).map_or(Value::Null, |id| json!(StatusRow::with_id(&id, status)))
        }
        Record::Pool(pool) => pool_value(id, pool),
        Record::Allocation(allocation) => AllocationId::parse(id)
            .map_or(Value::Null, |id| json!(AllocationRow::new(&id, allocation))),
        Record::Worker(worker) => json!({
            "name": id,
            "address": worker.address,
            "state": worker_state(worker.state),
            "capacity": amounts(&worker.capacity),
            "labels": worker.labels,
            "session": worker.session.map(|id| id.to_string()),
        }),
    }
}

/// A network's spec, as JSON.
pub(crate) fn network_value(network: &Network) -> Value {
    let spec = &network.spec;
    json!({
        "generation": network.generation.get(),
        "partitions": spec.policy.partitions,
        "strategy": spec.policy.strategy.as_str(),
        "shares": spec.policy.shares,
        "pool": spec.policy.pool.as_ref().map(|name| name.as_str()),
        "tenant": spec.policy.tenant.as_ref().map(|name| name.as_str()),
        "processes": spec.processes.iter().map(ProcessRow::new).collect::<Vec<_>>(),
        "connections": spec.connections.iter().map(EdgeRow::new).collect::<Vec<_>>(),
        "connection": policy(&spec.connection),
    })
}

pub(super) fn amounts(resources: &Resources) -> BTreeMap<String, u64> {
    resources.iter().map(|(name, amount)| (name.to_string(), amount)).collect()
}

pub(super) fn demand(amounts: &BTreeMap<String, u64>) -> String {
    if amounts.is_empty() { "-".to_owned() } else { pairs(amounts) }
}

/// What follows needs in a cell where anything constrains the place: ` on zone=a with g apart h`.
fn constraints(requires: &BTreeMap<String, String>, with: Option<&str>, apart: &str) -> String {
    let labels = pairs(requires);
    let parts = [("on", labels.as_str()), ("with", with.unwrap_or_default()), ("apart", apart)];
    let parts = parts.into_iter().filter(|(_, text)| !text.is_empty());
    let cell: String = parts.map(|(word, text)| format!(" {word} {text}")).collect();
    text::short_cell(cell.as_bytes())
}

fn pairs<V: Display>(all: &BTreeMap<String, V>) -> String {
    let parts: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join(" ")
}

pub(super) fn percent(ppm: u64) -> String {
    format!("{}.{}%", ppm / 10_000, ppm % 10_000 / 1_000)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_core::{Name, PlacedProcess, Revision};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn entry(value: &'static [u8]) -> EntryRow {
        let record = Versioned {
            created: Revision(3),
            modified: Revision(7),
            version: 2,
            value: Record::Entry(Bytes::from_static(value).into()),
        };
        EntryRow::new(Bytes::from_static(b"a/b"), &record)
    }

    fn json<R: Serialize>(row: &R) -> String {
        serde_json::to_string(row).unwrap()
    }

    #[test]
    fn an_entry_has_exactly_the_fields_of_the_interface() {
        assert_eq!(
            json(&entry(b"on")),
            r#"{"key":"a/b","value":"on","created":3,"modified":7,"version":2}"#
        );
        assert_eq!(
            json(&entry(&[0xff, 0x00])),
            r#"{"key":"a/b","value_base64":"/wA=","created":3,"modified":7,"version":2}"#
        );
        assert_eq!(
            json(&EntryRow { value: None, ..entry(b"on") }),
            r#"{"key":"a/b","created":3,"modified":7,"version":2}"#
        );
    }

    #[test]
    fn a_partition_has_exactly_the_fields_of_the_interface() {
        let demand = [(name("cpu_millis"), 1500)].into_iter().collect();
        let partition = Partition {
            processes: vec![
                PlacedProcess { id: name("p1"), parallelism: 1 },
                PlacedProcess { id: name("p2"), parallelism: 2 },
            ],
            demand,
            load_ppm: 333_333,
            owner: None,
            epoch: None,
            state: PartitionState::Unassigned,
            target: None,
            requires: [("zone".to_owned(), "a".to_owned())].into(),
            apart: [name("g"), name("h")].into(),
        };
        let row = PartitionRow::new(&PartitionId::parse("net/0").unwrap(), &partition);
        assert_eq!(
            json(&row),
            r#"{"id":"net/0","network":"net","processes":["p1","p2"],"demand":{"cpu_millis":1500},"load_ppm":333333,"owner":null,"epoch":null,"state":"unassigned","parallelism":{"p1":1,"p2":2},"session":null,"target":null,"requires":{"zone":"a"},"apart":["g","h"]}"#
        );
        assert_eq!(
            row.cells(),
            [
                "net/0",
                "unassigned",
                "-",
                "-",
                "-",
                "33.3%",
                "cpu_millis=1500 on zone=a apart g h",
                "2",
                "p1 p2"
            ]
        );
        let value = record_value(b"net/0", &Record::Partition(Arc::new(partition)));
        assert_eq!(value["id"], "net/0");
    }
}
