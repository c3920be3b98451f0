//! Which changes a subscriber wants to see.

use bytes::Bytes;

use crate::{
    key::{ConnectionId, Key, Kind, PartitionId},
    name::Name,
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
}

impl Filter {
    /// Whether a change of this key is wanted.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&key.kind))
            && key.bytes.starts_with(&self.key_prefix)
            && self.network.as_ref().is_none_or(|network| in_network(key, network))
            && self.partition.as_ref().is_none_or(|partition| touches(key, partition))
    }
}

fn in_network(key: &Key, network: &Name) -> bool {
    let Some(rest) = key.bytes.strip_prefix(network.as_str().as_bytes()) else { return false };
    match key.kind {
        Kind::Network => rest.is_empty(),
        Kind::Partition | Kind::Connection => rest.first() == Some(&b'/'),
        Kind::Entry | Kind::Worker | Kind::Setting => false,
    }
}

fn touches(key: &Key, partition: &PartitionId) -> bool {
    let Ok(text) = std::str::from_utf8(&key.bytes) else { return false };
    match key.kind {
        Kind::Partition => PartitionId::parse(text).as_ref() == Some(partition),
        Kind::Connection => ConnectionId::parse(text).is_some_and(|id| {
            id.network == partition.network
                && (id.from == partition.index || id.to == partition.index)
        }),
        Kind::Entry | Kind::Worker | Kind::Network | Kind::Setting => false,
    }
}
