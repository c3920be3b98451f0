//! Which changes a subscriber wants to see.
//!
//! Keys in a state are canonical; of others nothing is promised.

use bytes::Bytes;

use crate::{
    event::Change,
    key::{Key, Kind, PartitionId},
    name::Name,
    record::Record,
};

/// Every condition that is set must hold. The default matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these kinds. Empty: all.
    pub kinds: Vec<Kind>,
    /// Only keys that begin with these bytes. Empty: all.
    pub key_prefix: Bytes,
    /// Only this network, its partitions and their connections.
    pub network: Option<Name>,
    /// Only this partition and the connections that touch it.
    pub partition: Option<PartitionId>,
    /// Only this worker's own record and the partitions that it owns, or owned before the change.
    pub worker: Option<Name>,
}

impl Filter {
    /// Whether a change is wanted.
    #[must_use]
    pub fn matches(&self, change: &Change) -> bool {
        let Change { key, current, previous, .. } = change;
        let of = |worker: &Name| {
            let records = [current, previous].into_iter().flatten();
            records.into_iter().any(|record| belongs(key, &record.value, worker))
        };
        self.matches_key(key) && self.worker.as_ref().is_none_or(of)
    }

    /// Whether a record is wanted.
    #[must_use]
    pub fn matches_record(&self, key: &Key, record: &Record) -> bool {
        let of = |worker: &Name| belongs(key, record, worker);
        self.matches_key(key) && self.worker.as_ref().is_none_or(of)
    }

    /// What can be said of a key alone: false is no, whatever its record is.
    #[must_use]
    pub fn matches_key(&self, key: &Key) -> bool {
        !key.kind.is_internal()
            && (self.kinds.is_empty() || self.kinds.contains(&key.kind))
            && key.bytes.starts_with(&self.key_prefix)
            && self.network.as_ref().is_none_or(|network| in_network(key, network))
            && self.partition.as_ref().is_none_or(|partition| touches(key, partition))
    }
}

/// Whether a record is the worker's own, or of a partition that it owns.
fn belongs(key: &Key, record: &Record, worker: &Name) -> bool {
    match record {
        Record::Worker(_) => key.bytes == worker.as_str().as_bytes(),
        Record::Partition(partition) => {
            partition.owner.as_ref().is_some_and(|owner| owner.worker == *worker)
        }
        _ => false,
    }
}

fn in_network(key: &Key, network: &Name) -> bool {
    let Some(rest) = key.bytes.strip_prefix(network.as_str().as_bytes()) else { return false };
    match key.kind {
        Kind::Network => rest.is_empty(),
        Kind::Partition | Kind::Connection | Kind::ConnectionStatus | Kind::Load => {
            rest.first() == Some(&b'/')
        }
        _ => false,
    }
}

fn touches(key: &Key, partition: &PartitionId) -> bool {
    match key.kind {
        Kind::Partition | Kind::Load => names(&key.bytes, partition),
        Kind::Connection | Kind::ConnectionStatus => {
            let arrow = key.bytes.windows(2).position(|pair| pair == b"->");
            arrow.is_some_and(|at| {
                names(&key.bytes[..at], partition) || names(&key.bytes[at + 2..], partition)
            })
        }
        _ => false,
    }
}

/// Whether the text is this partition's id. Many filters look at every change: no allocation.
fn names(text: &[u8], partition: &PartitionId) -> bool {
    let index = text
        .strip_prefix(partition.network.as_str().as_bytes())
        .and_then(|rest| rest.strip_prefix(b"/"))
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    index == Some(partition.index)
}
