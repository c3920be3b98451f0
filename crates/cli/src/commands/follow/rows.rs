//! The lists that can be followed: of what records their rows are made. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_client::{
    NetworkNumbers,
    pools::{FoundPool, FoundTenant},
    sessions::FoundSession,
    workers::FoundWorker,
};
use quorate_core::{
    AllocationId, ConnectionId, ConnectionState, Filter, Key, Kind, LoadId, Name, PartitionId,
    Record, Resources, SessionId, Versioned,
    setting::{SETTINGS, definition},
};

use super::{Listed, Records};
use crate::{
    commands::network,
    output::{
        cluster::NetworkRow,
        connections::ConnectionRow,
        pools::{AllocationRow, PoolRow},
        records::{EntryRow, PartitionRow},
        sessions::SessionRow,
        settings::SettingRow,
        workers::WorkerRow,
    },
};

fn of_kinds(kinds: &[Kind]) -> Filter {
    Filter { kinds: kinds.to_vec(), ..Filter::default() }
}

fn text(key: &Key) -> Option<&str> {
    std::str::from_utf8(&key.bytes).ok()
}

fn versioned<T>(record: &Versioned<Record>, value: T) -> Versioned<T> {
    let Versioned { created, modified, version, .. } = *record;
    Versioned { created, modified, version, value }
}

/// `partition list`.
pub(in crate::commands) struct Partitions(pub(in crate::commands) Option<Name>);

impl Listed for Partitions {
    type Id = PartitionId;
    type Row = PartitionRow;

    fn filter(&self) -> Filter {
        Filter { network: self.0.clone(), ..of_kinds(&[Kind::Partition]) }
    }

    fn change(&mut self, key: &Key, _: Option<&Record>, _: Option<&Record>) -> Vec<PartitionId> {
        text(key).and_then(PartitionId::parse).into_iter().collect()
    }

    fn row(&self, id: &PartitionId, records: &Records) -> Option<PartitionRow> {
        match &records.get(&Key::partition(id))?.value {
            Record::Partition(partition) => Some(PartitionRow::new(id, partition)),
            _ => None,
        }
    }
}

/// `connection list`.
pub(in crate::commands) struct Connections {
    /// Only of this network.
    pub(in crate::commands) network: Option<Name>,
    /// Only those that begin or end there.
    pub(in crate::commands) partition: Option<PartitionId>,
    /// Only those in one of these states, None being pending; empty: in any.
    pub(in crate::commands) states: Vec<Option<ConnectionState>>,
}

impl Listed for Connections {
    type Id = ConnectionId;
    type Row = ConnectionRow;

    fn filter(&self) -> Filter {
        let kinds = [Kind::Connection, Kind::ConnectionStatus];
        Filter { network: self.network.clone(), ..of_kinds(&kinds) }
    }

    fn change(&mut self, key: &Key, _: Option<&Record>, _: Option<&Record>) -> Vec<ConnectionId> {
        key.as_connection().into_iter().collect()
    }

    fn row(&self, id: &ConnectionId, records: &Records) -> Option<ConnectionRow> {
        let end = |index| PartitionId { network: id.network.clone(), index };
        let ends = [end(id.from), end(id.to)];
        if self.partition.as_ref().is_some_and(|partition| !ends.contains(partition)) {
            return None;
        }
        let status = records.get(&Key::connection_status(id)).map(|record| &record.value);
        let status = match status {
            Some(Record::ConnectionStatus(status)) => Some(status.as_ref()),
            _ => None,
        };
        let state = status.map(|status| status.state);
        if !self.states.is_empty() && !self.states.contains(&state) {
            return None;
        }
        match &records.get(&Key::connection(id))?.value {
            Record::Connection(connection) => Some(ConnectionRow::with(id, connection, status)),
            _ => None,
        }
    }
}

/// `pool list`: with what is granted of each.
pub(in crate::commands) struct Pools;

impl Listed for Pools {
    type Id = Name;
    type Row = PoolRow;

    fn filter(&self) -> Filter {
        of_kinds(&[Kind::Pool, Kind::Allocation])
    }

    fn change(&mut self, key: &Key, _: Option<&Record>, _: Option<&Record>) -> Vec<Name> {
        let pool = match key.as_allocation() {
            Some(allocation) => Some(allocation.pool),
            None => text(key).and_then(|text| Name::new(text).ok()),
        };
        pool.into_iter().collect()
    }

    fn row(&self, name: &Name, records: &Records) -> Option<PoolRow> {
        let record = records.get(&Key::pool(name))?;
        let Record::Pool(pool) = &record.value else { return None };
        let mut found = FoundPool {
            name: name.clone(),
            pool: versioned(record, pool.clone()),
            granted: Resources::default(),
            grants: 0,
            waiting: 0,
            tenants: Vec::new(),
        };
        let mut tenants: BTreeMap<Name, (Resources, u64)> = BTreeMap::new();
        // The first one there can be; the pool's own are together.
        let first = Key::allocation(&AllocationId { pool: name.clone(), number: 0, part: 0 });
        let all = records.range(first..).map_while(|(key, record)| match &record.value {
            Record::Allocation(it) if key.as_allocation()?.pool == *name => Some(it),
            _ => None,
        });
        for allocation in all {
            let (granted, count) = tenants.entry(allocation.tenant.clone()).or_default();
            *count += 1;
            match allocation.grant() {
                Some(_) => {
                    found.grants += 1;
                    granted.add(&allocation.amount, 1);
                    found.granted.add(&allocation.amount, 1);
                }
                None => found.waiting += 1,
            }
        }
        let tenant = |(name, (granted, allocations))| FoundTenant { name, granted, allocations };
        found.tenants = tenants.into_iter().map(tenant).collect();
        Some(PoolRow::new(&found))
    }
}

/// `allocation list`.
pub(in crate::commands) struct Allocations(pub(in crate::commands) Option<Name>);

impl Listed for Allocations {
    type Id = AllocationId;
    type Row = AllocationRow;

    fn filter(&self) -> Filter {
        let prefix = self.0.as_ref().map(|pool| format!("{pool}/")).unwrap_or_default();
        Filter { key_prefix: prefix.into(), ..of_kinds(&[Kind::Allocation]) }
    }

    fn change(&mut self, key: &Key, _: Option<&Record>, _: Option<&Record>) -> Vec<AllocationId> {
        key.as_allocation().into_iter().collect()
    }

    fn row(&self, id: &AllocationId, records: &Records) -> Option<AllocationRow> {
        match &records.get(&Key::allocation(id))?.value {
            Record::Allocation(allocation) => Some(AllocationRow::new(id, allocation)),
            _ => None,
        }
    }
}

/// `network list`: in numbers, so connections count.
pub(in crate::commands) struct Networks;

impl Listed for Networks {
    type Id = Name;
    type Row = NetworkRow;

    fn filter(&self) -> Filter {
        of_kinds(&[Kind::Network, Kind::Connection])
    }

    fn change(&mut self, key: &Key, _: Option<&Record>, _: Option<&Record>) -> Vec<Name> {
        let name = text(key).and_then(|text| match key.kind {
            Kind::Connection => ConnectionId::parse(text).map(|id| id.network),
            _ => Name::new(text).ok(),
        });
        name.into_iter().collect()
    }

    fn row(&self, name: &Name, records: &Records) -> Option<NetworkRow> {
        let Record::Network(found) = &records.get(&Key::network(name))?.value else { return None };
        let first = Key { kind: Kind::Connection, bytes: format!("{name}/").into() };
        let its = records.range(first.clone()..).take_while(|(key, _)| {
            key.kind == Kind::Connection && key.bytes.starts_with(&first.bytes)
        });
        let connections = its.filter_map(|(_, record)| match &record.value {
            Record::Connection(connection) => Some(connection.as_ref()),
            _ => None,
        });
        Some(network::row(NetworkNumbers::count(name, found, connections)))
    }
}

/// `worker list`: with how much each owns, and its load.
#[derive(Default)]
pub(in crate::commands) struct Workers {
    owned: BTreeMap<Name, u32>,
}

impl Listed for Workers {
    type Id = Name;
    type Row = WorkerRow;

    fn filter(&self) -> Filter {
        of_kinds(&[Kind::Worker, Kind::Partition, Kind::Load])
    }

    fn change(&mut self, key: &Key, before: Option<&Record>, after: Option<&Record>) -> Vec<Name> {
        let owner = |record: Option<&Record>| match record {
            Some(Record::Partition(it)) => it.owner.as_ref().map(|owner| owner.worker.clone()),
            _ => None,
        };
        match key.kind {
            Kind::Partition => {
                let (before, after) = (owner(before), owner(after));
                if let Some(count) = before.as_ref().and_then(|it| self.owned.get_mut(it)) {
                    *count = count.saturating_sub(1);
                }
                if let Some(owner) = &after {
                    *self.owned.entry(owner.clone()).or_default() += 1;
                }
                before.into_iter().chain(after).collect()
            }
            Kind::Load => match text(key).and_then(LoadId::parse) {
                Some(LoadId::Worker(name)) => vec![name],
                _ => Vec::new(),
            },
            _ => text(key).and_then(|text| Name::new(text).ok()).into_iter().collect(),
        }
    }

    fn row(&self, name: &Name, records: &Records) -> Option<WorkerRow> {
        let record = records.get(&Key::worker(name))?;
        let Record::Worker(worker) = &record.value else { return None };
        let load = records.get(&Key::load(&LoadId::Worker(name.clone())));
        let load_ppm = match load.map(|record| &record.value) {
            Some(Record::Load(load)) => load.load_ppm,
            _ => 0,
        };
        Some(WorkerRow::new(&FoundWorker {
            name: name.clone(),
            worker: versioned(record, worker.clone()),
            partitions: self.owned.get(name).copied().unwrap_or(0),
            load_ppm,
        }))
    }
}

/// `session list`: with how much each holds.
#[derive(Default)]
pub(in crate::commands) struct Sessions {
    held: BTreeMap<SessionId, u32>,
}

impl Listed for Sessions {
    type Id = SessionId;
    type Row = SessionRow;

    fn filter(&self) -> Filter {
        let holds = [Kind::Entry, Kind::Session, Kind::Worker, Kind::Partition, Kind::Allocation];
        of_kinds(&holds)
    }

    fn change(
        &mut self,
        key: &Key,
        before: Option<&Record>,
        after: Option<&Record>,
    ) -> Vec<SessionId> {
        let (before, after) = (before.and_then(Record::session), after.and_then(Record::session));
        if let Some(count) = before.and_then(|it| self.held.get_mut(&it)) {
            *count = count.saturating_sub(1);
        }
        if let Some(session) = after {
            *self.held.entry(session).or_default() += 1;
        }
        let held = before.into_iter().chain(after);
        held.chain(key.as_session()).collect()
    }

    fn row(&self, id: &SessionId, records: &Records) -> Option<SessionRow> {
        let Record::Session(session) = &records.get(&Key::session(*id))?.value else { return None };
        Some(SessionRow::new(&FoundSession {
            id: *id,
            ttl: Duration::from_millis(session.ttl_ms),
            label: session.label.to_string(),
            held: self.held.get(id).copied().unwrap_or(0),
        }))
    }
}

/// `kv list`.
pub(in crate::commands) struct Entries {
    /// What keys begin with.
    pub(in crate::commands) prefix: String,
    /// Whether values are left out.
    pub(in crate::commands) keys_only: bool,
}

impl Listed for Entries {
    type Id = Bytes;
    type Row = EntryRow;

    fn filter(&self) -> Filter {
        Filter { key_prefix: self.prefix.clone().into(), ..of_kinds(&[Kind::Entry]) }
    }

    fn change(&mut self, key: &Key, _: Option<&Record>, _: Option<&Record>) -> Vec<Bytes> {
        vec![key.bytes.clone()]
    }

    fn row(&self, key: &Bytes, records: &Records) -> Option<EntryRow> {
        let record = records.get(&Key::entry(key.clone()))?;
        let row = EntryRow::new(key.clone(), record);
        Some(if self.keys_only { EntryRow { value: None, ..row } } else { row })
    }
}

/// `settings list`: those that are not set, too.
pub(in crate::commands) struct Settings;

impl Listed for Settings {
    type Id = Arc<str>;
    type Row = SettingRow;

    fn filter(&self) -> Filter {
        of_kinds(&[Kind::Setting])
    }

    fn always(&self) -> Vec<Arc<str>> {
        SETTINGS.iter().map(|setting| Arc::from(setting.name)).collect()
    }

    fn change(&mut self, key: &Key, _: Option<&Record>, _: Option<&Record>) -> Vec<Arc<str>> {
        text(key).map(Arc::from).into_iter().collect()
    }

    fn row(&self, name: &Arc<str>, records: &Records) -> Option<SettingRow> {
        let name = Name::new(name).ok()?;
        let stored = records.get(&Key::setting(&name)).and_then(|record| match &record.value {
            Record::Setting(text) => text.parse().ok(),
            _ => None,
        });
        Some(SettingRow::new(definition(&name)?, stored))
    }
}
