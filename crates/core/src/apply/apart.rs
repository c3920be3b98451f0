//! Where partitions are whose groups must be on different workers.
//!
//! Looked up in one pass when the first partition of a command has a group; kept up to date as the
//! command goes on. A command about partitions without groups costs nothing.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::draft::Draft;
use crate::{
    key::{Key, KeyRange, Kind, PartitionId},
    name::Name,
    record::{Partition, Record},
};

/// On which worker a partition counts; None: on none.
type At = fn(&Partition) -> Option<&Name>;

/// Partitions with groups, by where they are.
pub(super) struct Apart {
    at: At,
    /// Network, group, worker, and the partition's key. None: nobody has asked.
    there: Option<BTreeSet<(Name, Name, Name, Bytes)>>,
}

impl Apart {
    /// Nothing is looked up yet.
    pub(super) fn new(at: At) -> Self {
        Self { at, there: None }
    }

    /// A group of which a worker has another partition, and that.
    pub(super) fn other(
        &mut self,
        draft: &Draft<'_>,
        id: &PartitionId,
        partition: &Partition,
        worker: &Name,
    ) -> Option<(Name, String)> {
        if partition.apart.is_empty() {
            return None;
        }
        let at = self.at;
        let there = self.there.get_or_insert_with(|| look_up(draft, at));
        let own = Key::partition(id).bytes;
        partition.apart.iter().find_map(|group| {
            let first = (id.network.clone(), group.clone(), worker.clone(), Bytes::new());
            let here = there.range(first..).take_while(|(network, other, at, _)| {
                (network, other, at) == (&id.network, group, worker)
            });
            let mut others = here.filter(|(.., key)| *key != own);
            let (.., key) = others.next()?;
            Some((group.clone(), String::from_utf8_lossy(key).into_owned()))
        })
    }

    /// A partition has changed.
    pub(super) fn changed(&mut self, id: &PartitionId, before: &Partition, after: &Partition) {
        let (at, Some(there)) = (self.at, &mut self.there) else { return };
        for place in places(at, id, before) {
            there.remove(&place);
        }
        there.extend(places(at, id, after));
    }
}

fn look_up(draft: &Draft<'_>, at: At) -> BTreeSet<(Name, Name, Name, Bytes)> {
    let mut there = BTreeSet::new();
    for (key, record) in draft.range(&KeyRange::Prefix(Kind::Partition, Bytes::new())) {
        let Record::Partition(partition) = &record.value else { continue };
        if partition.apart.is_empty() {
            continue;
        }
        let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse);
        there.extend(id.iter().flat_map(|id| places(at, id, partition)));
    }
    there
}

fn places(at: At, id: &PartitionId, partition: &Partition) -> Vec<(Name, Name, Name, Bytes)> {
    let Some(worker) = at(partition) else { return Vec::new() };
    let key = Key::partition(id).bytes;
    let place = |group: &Name| (id.network.clone(), group.clone(), worker.clone(), key.clone());
    partition.apart.iter().map(place).collect()
}
