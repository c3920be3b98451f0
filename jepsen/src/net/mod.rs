//! The hosts of a run and the ways between them.
//!
//! Owns addresses and the set of cut ways. Every coordinator is a host of its own; all clients
//! together are one more. Must not know why a way is cut.

pub(crate) mod isolate;
pub(crate) mod namespace;
pub(crate) mod netem;
pub(crate) mod nft;
pub(crate) mod tool;

use std::{collections::BTreeSet, net::Ipv4Addr};

use quorate_core::MemberId;

/// The most coordinators that a run begins with.
pub(crate) const NODES_MAX: u64 = 9;

/// The highest number of a host for coordinators: there are spare ones.
const HOSTS_MAX: u64 = NODES_MAX + 1;

/// Something with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// A coordinator's. Named by the member that is on it at first; later it may be another one.
    Node(MemberId),
    /// The harness, with all clients in it.
    Clients,
}

/// A service of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// For clients.
    Client = 7100,
    /// For other coordinators.
    Peer = 7200,
    /// For metrics.
    Metrics = 7300,
}

/// Ways through the network that are cut, each from a sender to a receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CutSet {
    ways: BTreeSet<(Host, Host)>,
}

impl Host {
    /// Its address.
    pub(crate) fn address(self) -> Ipv4Addr {
        let last = match self {
            Self::Node(MemberId(id)) => {
                u8::try_from(id.min(HOSTS_MAX)).expect("HOSTS_MAX fits into a byte")
            }
            Self::Clients => 254,
        };
        Ipv4Addr::new(10, 99, 0, last)
    }
}

/// Where a coordinator serves, as `host:port`.
pub(crate) fn endpoint(node: MemberId, port: Port) -> String {
    format!("{}:{}", Host::Node(node).address(), port as u64 + node.get())
}

impl CutSet {
    /// Cuts the way from a sender to a receiver.
    pub(crate) fn one_way(&mut self, from: Host, to: Host) {
        self.ways.insert((from, to));
    }

    /// Cuts the ways between two hosts.
    pub(crate) fn both_ways(&mut self, one: Host, other: Host) {
        self.one_way(one, other);
        self.one_way(other, one);
    }

    /// How many ways are cut.
    pub(crate) fn len(&self) -> usize {
        self.ways.len()
    }

    /// The cut ways.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Host, Host)> {
        self.ways.iter().copied()
    }

    /// The coordinators at the ends of these ways.
    pub(crate) fn nodes(&self) -> Vec<MemberId> {
        let ends = self.ways.iter().flat_map(|(from, to)| [*from, *to]);
        let nodes: BTreeSet<MemberId> = ends
            .filter_map(|host| match host {
                Host::Node(node) => Some(node),
                Host::Clients => None,
            })
            .collect();
        nodes.into_iter().collect()
    }

    /// Whether a way is cut.
    #[cfg(test)]
    pub(crate) fn has(&self, from: Host, to: Host) -> bool {
        self.ways.contains(&(from, to))
    }
}
