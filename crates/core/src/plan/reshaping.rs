//! What splitting a partition, or merging some, does to a network, as a value.

use std::sync::Arc;

use crate::{
    event::Change,
    key::PartitionId,
    name::Name,
    record::{Partition, PartitionState, Record},
};

/// What happens to a network whose partitions are split or merged. Its processes stay the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshaping {
    /// The network.
    pub network: Name,
    /// How many partitions it had.
    pub partitions_before: u32,
    /// How many it has then.
    pub partitions_after: u32,
    /// The traffic that crossed partitions, bytes per second.
    pub cut_rate_before: u64,
    /// The traffic that crosses them then, bytes per second.
    pub cut_rate_after: u64,
    /// The partitions that change, by number. All others stay exactly as they are.
    pub changes: Vec<PartitionChange>,
}

/// One partition gets other processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChange {
    /// The partition.
    pub id: PartitionId,
    /// The worker that owns it meanwhile. None: nothing of it runs.
    pub owner: Option<Name>,
    /// The processes that come to it, by id.
    pub starts: Vec<Name>,
    /// The processes that leave it, by id.
    pub stops: Vec<Name>,
    /// How many processes it has then. 0: it is gone.
    pub processes: u32,
    /// Its declared load before, parts per million of what the network needs. 0: it is new.
    pub load_ppm_before: u64,
    /// Its declared load then. 0: it is gone.
    pub load_ppm_after: u64,
}

impl Reshaping {
    /// From what was committed, and the network in numbers after it: how many partitions it has, and the
    /// traffic across them.
    #[must_use]
    pub fn of(network: &Name, changes: &[Change], partitions: u32, cut_rate: u64) -> Self {
        let mut reshaping = Self {
            network: network.clone(),
            partitions_before: partitions,
            partitions_after: partitions,
            cut_rate_before: cut_rate,
            cut_rate_after: cut_rate,
            changes: Vec::new(),
        };
        let (mut less, mut more) = (0_u64, 0_u64);
        for change in changes {
            let before = change.previous.as_ref().map(|record| &record.value);
            let after = change.current.as_ref().map(|record| &record.value);
            less = less.saturating_add(rate(after));
            more = more.saturating_add(rate(before));
            if let Some(Record::Network(before)) = before {
                reshaping.partitions_before = before.spec.policy.partitions;
            }
            let id = std::str::from_utf8(&change.key.bytes).ok().and_then(PartitionId::parse);
            if let Some(id) = id {
                reshaping.changes.extend(partition_change(id, before, after));
            }
        }
        reshaping.cut_rate_before = cut_rate.saturating_add(more).saturating_sub(less);
        reshaping.changes.sort_by_key(|change| change.id.index);
        reshaping
    }
}

/// The traffic of a connection.
fn rate(record: Option<&Record>) -> u64 {
    match record {
        Some(Record::Connection(connection)) => {
            connection.edges.iter().fold(0, |sum, edge| sum.saturating_add(edge.rate))
        }
        _ => 0,
    }
}

fn partition_change(
    id: PartitionId,
    before: Option<&Record>,
    after: Option<&Record>,
) -> Option<PartitionChange> {
    let held = |record: Option<&Record>| match record {
        Some(Record::Partition(partition)) => Some(partition.clone()),
        _ => None,
    };
    let (before, after) = (held(before), held(after));
    let owner = before.as_ref().or(after.as_ref())?.owner.as_ref();
    let owner = owner.map(|owner| owner.worker.clone());
    // What is to be released has nothing any more.
    let live = |it: &&Arc<Partition>| it.state != PartitionState::Deleted;
    let (before, after) = (before.as_ref().filter(live), after.as_ref().filter(live));
    let ids = |it: Option<&Arc<Partition>>| -> Vec<Name> {
        it.map_or(Vec::new(), |it| it.processes.iter().map(|one| one.id.clone()).collect())
    };
    let (was, is) = (ids(before), ids(after));
    let without = |these: &[Name], those: &[Name]| -> Vec<Name> {
        these.iter().filter(|id| those.binary_search(id).is_err()).cloned().collect()
    };
    Some(PartitionChange {
        id,
        owner,
        starts: without(&is, &was),
        stops: without(&was, &is),
        processes: u32::try_from(is.len()).unwrap_or(u32::MAX),
        load_ppm_before: before.map_or(0, |it| it.load_ppm),
        load_ppm_after: after.map_or(0, |it| it.load_ppm),
    })
}
