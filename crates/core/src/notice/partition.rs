//! Partitions: who has them, who loses them.

use super::{Context, NoticeKind, Told};
use crate::{
    key::PartitionId,
    name::Name,
    record::{Owner, Partition, PartitionState, Record},
};

pub(super) fn partition(
    subject: String,
    previous: Option<&Record>,
    current: Option<&Record>,
    context: &Context,
) -> Option<Told> {
    let of = |record: Option<&Record>| match record {
        Some(Record::Partition(partition)) => Some(partition.clone()),
        _ => None,
    };
    let (before, after) = (of(previous), of(current));
    let owner = |partition: &Option<_>| owner_of(partition.as_deref()).cloned();
    let (kind, worker, text) = match (owner(&before), owner(&after)) {
        (Some(old), None) => lost(&old, after.is_none(), context),
        (old, Some(new)) if old.as_ref() != Some(&new) => granted(before.as_deref(), &new.worker),
        (Some(owner), Some(_)) => stayed(before.as_deref()?, after.as_deref()?, &owner.worker)?,
        // Nobody had it and nobody has it: what comes and goes with a network is told with it.
        _ => return None,
    };
    let network = PartitionId::parse(&subject).map(|id| id.network);
    Some(Told { kind, subject, text, network, worker: Some(worker) })
}

fn owner_of(partition: Option<&Partition>) -> Option<&Owner> {
    partition?.owner.as_ref()
}

/// The ownership ended; `gone`: and the partition with it.
fn lost(owner: &Owner, gone: bool, context: &Context) -> (NoticeKind, Name, String) {
    let Owner { worker, session } = owner;
    let (kind, text) = match (gone, context.ended.contains(session)) {
        (true, true) => (
            NoticeKind::PartitionReleased,
            format!("worker {worker} was lost, and its network does not have it any more"),
        ),
        (true, false) => (
            NoticeKind::PartitionReleased,
            format!("worker {worker} released it, and its network does not have it any more"),
        ),
        (false, true) => {
            (NoticeKind::PartitionFailed, format!("worker {worker} was lost, nobody owns it"))
        }
        (false, false) => {
            (NoticeKind::PartitionReleased, format!("worker {worker} gave it up, nobody owns it"))
        }
    };
    (kind, worker.clone(), text)
}

fn granted(before: Option<&Partition>, worker: &Name) -> (NoticeKind, Name, String) {
    let had_epoch = before.is_some_and(|before| before.epoch.is_some());
    let moved = before.is_some_and(|before| before.target.as_ref() == Some(worker));
    let (kind, text) = if moved {
        (NoticeKind::PartitionAssigned, format!("moved to worker {worker}"))
    } else if had_epoch {
        (NoticeKind::PartitionRecovered, format!("taken over by worker {worker}"))
    } else {
        (NoticeKind::PartitionAssigned, format!("granted to worker {worker}"))
    };
    (kind, worker.clone(), text)
}

/// The owner is the same.
fn stayed(
    before: &Partition,
    after: &Partition,
    worker: &Name,
) -> Option<(NoticeKind, Name, String)> {
    use PartitionState::{Assigned, Deleted, Releasing};
    let asked = NoticeKind::PartitionAskedBack;
    let (kind, text) = match (before.state, after.state) {
        (Releasing, Releasing) if before.target == after.target => return None,
        (_, Releasing) => {
            let to = match &after.target {
                Some(target) => format!(", for worker {target}"),
                None => String::new(),
            };
            (asked, format!("worker {worker} is asked to release it{to}"))
        }
        (Assigned | Releasing, Deleted) => (
            asked,
            format!(
                "worker {worker} is asked to release it: its network does not have it any more"
            ),
        ),
        (Releasing | Deleted, Assigned) => {
            (NoticeKind::PartitionKept, format!("worker {worker} keeps it"))
        }
        _ => return None,
    };
    Some((kind, worker.clone(), text))
}
