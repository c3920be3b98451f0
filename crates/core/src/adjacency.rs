//! Which connections a partition has.
//!
//! Those that begin at it are a prefix of their keys; those that end at it are kept here.
//!
//! Invariant: follows from the records, and is kept with every change of them, so that what
//! concerns one partition costs its connections and not all.

use std::ops::Bound;

use crate::{
    key::{ConnectionId, Key, KeyRange, Kind, PartitionId},
    record::Record,
    size,
    state::State,
};

/// The connections by the partition at which they end, with the one from which they come.
pub(crate) type Incoming = imbl::OrdSet<(PartitionId, u32)>;

impl State {
    /// The connections of a partition: those that begin at it, then those that end at it.
    pub fn connections_of(&self, id: &PartitionId) -> Vec<ConnectionId> {
        let range = outgoing(id);
        let outgoing = self.range(&range).filter_map(|(key, _)| key.as_connection());
        let incoming = self.incoming(id).map(|(to, from)| ConnectionId {
            network: to.network.clone(),
            from: *from,
            to: to.index,
        });
        outgoing.chain(incoming).collect()
    }

    /// What the end of all connections of a partition counts for in that of its owner's session.
    pub(crate) fn bytes_of_connections(&self, id: &PartitionId) -> u64 {
        let count = self.range(&outgoing(id)).count() + self.incoming(id).count();
        size::ending_of_connection(&id.network).saturating_mul(count as u64)
    }

    fn incoming(&self, id: &PartitionId) -> impl Iterator<Item = &(PartitionId, u32)> {
        let bounds = |index| (id.clone(), index);
        let range = (Bound::Included(bounds(0)), Bound::Included(bounds(u32::MAX)));
        self.incoming.range::<_, (PartitionId, u32)>(range)
    }

    /// Takes note of a connection that comes or goes.
    pub(crate) fn connect(&mut self, key: &Key, before: Option<&Record>, after: Option<&Record>) {
        if before.is_some() == after.is_some() {
            return;
        }
        let Some(id) = key.as_connection() else { return };
        for end in id.ends() {
            self.hold_connection(&end, after.is_some());
        }
        let [_, to] = id.ends();
        match after {
            Some(_) => _ = self.incoming.insert((to, id.from)),
            None => _ = self.incoming.remove(&(to, id.from)),
        }
    }
}

/// The connections that begin at a partition.
fn outgoing(id: &PartitionId) -> KeyRange {
    KeyRange::Prefix(Kind::Connection, format!("{id}->").into())
}
