//! The links between members: a [`Proxy`] for each ordered pair, through which the one calls the
//! other.
//!
//! A member's list of members names the true addresses, as it would anywhere. The
//! [`Transport`] that it is given calls the proxy that stands for such an address instead.

use std::{collections::BTreeMap, io, sync::Arc};

use quorate_node::{
    core::MemberId,
    transport::{Lane, Peer, Transport},
};

use crate::proxy::{Faults, Proxy};

/// All links of a cluster. They end when this is dropped.
pub(super) struct Links {
    peers: BTreeMap<MemberId, String>,
    /// (from, to).
    proxies: BTreeMap<(MemberId, MemberId), Proxy>,
}

/// By which address a member calls another: true addresses and what stands for them.
pub(super) type Detours = BTreeMap<String, String>;

impl Links {
    /// Links between members at these peer addresses, all open. The proxies run where this does.
    pub(super) async fn start(peers: BTreeMap<MemberId, String>) -> io::Result<Self> {
        let mut proxies = BTreeMap::new();
        for from in peers.keys() {
            for (to, address) in peers.iter().filter(|(to, _)| *to != from) {
                proxies.insert((*from, *to), Proxy::start(address.clone()).await?);
            }
        }
        Ok(Self { peers, proxies })
    }

    /// How one member reaches the others.
    pub(super) fn of(&self, id: MemberId) -> Detours {
        let own = self.proxies.iter().filter(|((from, _), _)| *from == id);
        own.map(|((_, to), proxy)| (self.peers[to].clone(), proxy.endpoint())).collect()
    }

    /// Opens those links, and cuts those, of which `open` says so.
    pub(super) fn set(&self, open: impl Fn(MemberId, MemberId) -> bool) {
        for ((from, to), proxy) in &self.proxies {
            proxy.set(if open(*from, *to) { Faults::None } else { Faults::Hold });
        }
    }
}

/// A transport that goes through links.
pub(super) struct Linked {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) detours: Detours,
}

impl Transport for Linked {
    fn peer(&self, id: MemberId, address: &str, lane: Lane) -> Arc<dyn Peer> {
        let by = self.detours.get(address).map_or(address, String::as_str);
        self.transport.peer(id, by, lane)
    }
}
