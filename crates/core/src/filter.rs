//! Which changes a subscriber wants to see.
//!
//! Looks at keys alone. Keys in a state are canonical; of others nothing is promised.

use bytes::Bytes;

use crate::{
    key::{Key, Kind, PartitionId},
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
    match key.kind {
        Kind::Partition => names(&key.bytes, partition),
        Kind::Connection => {
            let arrow = key.bytes.windows(2).position(|pair| pair == b"->");
            arrow.is_some_and(|at| {
                names(&key.bytes[..at], partition) || names(&key.bytes[at + 2..], partition)
            })
        }
        Kind::Entry | Kind::Worker | Kind::Network | Kind::Setting => false,
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
