//! Who owns a partition: granted, asked back, released.
//!
//! ```text
//!                  assign                 move, drain
//! unassigned ----------------> assigned -------------> releasing
//!      ^                           |                       |
//!      +------- session ends ------+------- released ------+
//!
//! assigned, releasing -- its network has it no more --> deleted -- released, session ends --> gone
//! ```
//!
//! Invariants: a grant goes to a worker that takes partitions, has the labels that are required, has no
//! other partition of its groups, gives what all its partitions need, and holds the session named, of a
//! partition that nobody owns; each has a new epoch, the revision of the grant (a network that gives an
//! owned partition other processes does, too: see `network`); no worker is granted
//! more than the settings allow. Nobody but the owner's release, or the end of its session, ends an
//! ownership.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    allocation,
    apart::Apart,
    draft::Draft,
    worker::{unknown, worker},
};
use crate::{
    command::Grant,
    id::{Epoch, SessionId},
    key::{Key, KeyRange, Kind, LoadId, PartitionId},
    mutation::{Mutation, planted},
    name::Name,
    plan::{Basis, counts_on},
    record::{Partition, PartitionState, Record, Worker, WorkerState},
    rejection::{Reason, Rejection},
    reply::Reply,
    setting::Settings,
    size,
    sums::Sums,
};

/// Grants partitions. What does not fit the state any more is left out.
pub(super) fn assign(draft: &mut Draft<'_>, grants: &[Grant]) -> Result<Reply, Rejection> {
    let epoch = draft.epoch();
    let mut granted: BTreeMap<&Name, (u64, SessionId)> = BTreeMap::new();
    // What was asked back counts where it is until it is released.
    let mut apart = Apart::new(|it| it.owner.as_ref().map(|owner| &owner.worker));
    let mut needed: BTreeMap<&Name, Sums> = BTreeMap::new();
    for Grant { partition: id, owner } in grants {
        let key = Key::partition(id);
        let Some(partition) = partition(draft, &key) else { continue };
        let takes = worker(draft, &owner.worker).is_some_and(|worker| {
            worker.state == WorkerState::Active
                && worker.session == Some(owner.session)
                && lacks(&worker, &partition).is_none()
                && has_capacity(draft, &mut needed, &owner.worker, &worker, &partition)
        });
        if !takes
            || partition.state != PartitionState::Unassigned
            || apart.other(draft, id, &partition, &owner.worker).is_some()
        {
            continue;
        }
        let granted_to = Partition {
            owner: Some(owner.clone()),
            epoch: Some(epoch),
            state: PartitionState::Assigned,
            target: None,
            ..(*partition).clone()
        };
        apart.changed(id, &partition, &granted_to);
        needed.entry(&owner.worker).or_default().add(&partition.demand);
        put(draft, &key, granted_to);
        granted.entry(&owner.worker).or_insert((0, owner.session)).0 += 1;
    }
    let mut changed = 0;
    for (worker, (added, session)) in granted {
        let count = owned_before(draft, worker, session) + added;
        has_room("grants", count, draft.settings())?;
        changed += u32::try_from(added).unwrap_or(u32::MAX);
    }
    Ok(Reply::Changed { changed })
}

/// Whether a worker gives what it owns and one more partition need together. Of what it does not
/// declare it gives without limit.
fn has_capacity<'a>(
    draft: &Draft<'_>,
    needed: &mut BTreeMap<&'a Name, Sums>,
    name: &'a Name,
    worker: &Worker,
    partition: &Partition,
) -> bool {
    let before = || draft.state().worker_use(name).cloned().unwrap_or_default();
    let gives = |resource: &Name| Some(worker.capacity.get(resource)).filter(|gives| *gives > 0);
    needed.entry(name).or_insert_with(before).exceeded(&partition.demand, gives).is_none()
}

fn has_room(field: &str, count: u64, settings: &Settings) -> Result<(), Rejection> {
    let max = settings.worker_partitions_max;
    if count <= max {
        return Ok(());
    }
    Err(Rejection::limit(field, "worker_partitions_max", count, max))
}

/// How many partitions a worker owned before this command, those to be released too.
fn owned_before(draft: &Draft<'_>, worker: &Name, session: SessionId) -> u64 {
    let keys = draft.bound_to(session);
    let owned = keys.iter().filter(|key| {
        let owner = draft.before(key).and_then(|partition| partition.owner.as_ref());
        owner.is_some_and(|owner| owner.worker == *worker)
    });
    owned.count() as u64
}

/// Ends the ownership of this epoch. A repeat finds another epoch, or no owner.
pub(super) fn release(
    draft: &mut Draft<'_>,
    id: &PartitionId,
    epoch: Epoch,
) -> Result<Reply, Rejection> {
    guard(draft, id, epoch)?;
    relinquish(draft, &Key::partition(id));
    Ok(Reply::Done)
}

/// The partition must have an owner of this epoch.
pub(super) fn guard(draft: &Draft<'_>, id: &PartitionId, epoch: Epoch) -> Result<(), Rejection> {
    let found = partition(draft, &Key::partition(id));
    let found = found.filter(|partition| partition.owner.is_some());
    let current = found.and_then(|partition| partition.epoch);
    if current == Some(epoch) {
        return Ok(());
    }
    let now = current.map_or("has no owner".to_owned(), |now| format!("is owned in epoch {now}"));
    let message = format!("partition {id} {now}, not in epoch {epoch}");
    Err(Rejection::new(Reason::StaleEpoch, message))
}

/// Asks owners to release partitions.
pub(super) fn move_away(
    draft: &mut Draft<'_>,
    moves: &[(PartitionId, Option<Name>)],
    basis: &Basis,
) -> Result<Reply, Rejection> {
    not_stale(draft, basis)?;
    let mut changed = 0;
    let mut targets = BTreeSet::new();
    // What is on its way counts where it goes.
    let mut apart = Apart::new(counts_on);
    for (id, target) in moves {
        let key = Key::partition(id);
        let Some(partition) = partition(draft, &key) else {
            return Err(Rejection::new(Reason::NotFound, format!("no partition {id}")));
        };
        if let Some(target) = target {
            takes_partition(draft, target, &partition)?;
            if let Some((group, other)) = apart.other(draft, id, &partition, target) {
                let message = format!("worker {target} has {other} of the group {group}");
                let rejection = Rejection::new(Reason::PreconditionFailed, message);
                return Err(Rejection { field: "target".into(), ..rejection });
            }
        }
        let before = changed;
        let owner = partition.owner.as_ref().map(|owner| owner.worker.clone());
        let stays = target.is_some() && *target == owner;
        changed += match (partition.state, owner) {
            (PartitionState::Deleted, _) => {
                let message = format!("partition {id} was deleted");
                return Err(Rejection::new(Reason::PreconditionFailed, message));
            }
            (_, Some(_)) if stays => u32::from(keep(draft, &key, &partition)),
            (_, Some(owner)) => u32::from(ask_back(draft, &key, &owner, target.as_ref())),
            (_, None) if partition.target != *target => {
                put(draft, &key, Partition { target: target.clone(), ..(*partition).clone() });
                1
            }
            (_, None) => 0,
        };
        if let Some(after) = self::partition(draft, &key) {
            apart.changed(id, &partition, &after);
        }
        targets.extend(target.as_ref().filter(|_| changed > before && !stays));
    }
    fit(draft, &targets)?;
    Ok(Reply::Changed { changed })
}

/// Nothing that was planned on may have changed. Nothing was drafted yet.
pub(super) fn not_stale(draft: &Draft<'_>, basis: &Basis) -> Result<(), Rejection> {
    let Some(key) = basis.changed(draft.state()) else { return Ok(()) };
    let message = format!("{key} has changed since this was planned");
    Err(Rejection { field: "basis".into(), ..Rejection::new(Reason::StalePlan, message) })
}

/// The first label that a partition requires and a worker lacks.
fn lacks<'a>(worker: &Worker, partition: &'a Partition) -> Option<(&'a String, &'a String)> {
    partition.requires.iter().find(|(label, value)| worker.labels.get(*label) != Some(*value))
}

/// The worker that is to have a partition must be there, take partitions, and have the labels.
fn takes_partition(
    draft: &Draft<'_>,
    target: &Name,
    partition: &Partition,
) -> Result<(), Rejection> {
    let rejection = match worker(draft, target) {
        None => unknown(target),
        Some(worker) if worker.state == WorkerState::Active => {
            let Some((label, value)) = lacks(&worker, partition) else { return Ok(()) };
            let message = format!("worker {target} is not {label}={value}");
            Rejection::new(Reason::PreconditionFailed, message)
        }
        Some(worker) => {
            let what = match worker.state {
                WorkerState::Down => "is down",
                WorkerState::Draining => "drains",
                _ => "is not ready",
            };
            let message = format!("worker {target} {what} and takes no partitions");
            Rejection::new(Reason::PreconditionFailed, message)
        }
    };
    Err(Rejection { field: "target".into(), ..rejection })
}

/// What a worker owns, and what else is to come to it.
#[derive(Default)]
struct Coming {
    owned: u64,
    coming: u64,
    bytes: u64,
}

/// Workers must have room for what they own and all that they are to have: what does not fit would
/// go to another, or to nobody. Looks at all partitions once.
fn fit(draft: &Draft<'_>, targets: &BTreeSet<&Name>) -> Result<(), Rejection> {
    if targets.is_empty() {
        return Ok(());
    }
    let mut to: BTreeMap<&Name, Coming> =
        targets.iter().map(|target| (*target, Coming::default())).collect();
    let all = KeyRange::Prefix(Kind::Partition, Bytes::new());
    for (key, record) in draft.range(&all) {
        let Record::Partition(partition) = &record.value else { continue };
        let owner = partition.owner.as_ref().map(|owner| &owner.worker);
        if let Some(one) = owner.and_then(|owner| to.get_mut(owner)) {
            one.owned += 1;
        }
        let target = partition.target.as_ref().filter(|target| owner != Some(*target));
        if let Some((target, one)) = target.and_then(|it| Some((it, to.get_mut(it)?))) {
            one.coming += 1;
            one.bytes += size::ending_of_partition(key, partition, target);
            let id = key.as_partition();
            one.bytes += id.map_or(0, |id| draft.state().bytes_of_connections(&id));
        }
    }
    to.into_iter().try_for_each(|(target, one)| has_room_for(draft, target, &one))
}

fn has_room_for(draft: &Draft<'_>, target: &Name, one: &Coming) -> Result<(), Rejection> {
    let Some(session) = worker(draft, target).and_then(|worker| worker.session) else {
        return Ok(());
    };
    let (records, held) = draft.held(session);
    let settings = draft.settings();
    has_room("target", one.owned + one.coming, settings)?;
    let limits = [
        (records + one.coming, "session_records_max", settings.session_records_max),
        (held + one.bytes, "session_record_bytes_max", settings.session_record_bytes_max),
    ];
    match limits.into_iter().find(|(count, _, max)| count > max) {
        Some((count, limit, max)) => Err(Rejection::limit("target", limit, count, max)),
        None => Ok(()),
    }
}

/// The owner is to keep it after all, as long as it has not released it.
fn keep(draft: &mut Draft<'_>, key: &Key, partition: &Partition) -> bool {
    let kept = Partition { state: PartitionState::Assigned, target: None, ..partition.clone() };
    let changes = kept != *partition;
    if changes {
        put(draft, key, kept);
    }
    changes
}

/// Asks a worker for a partition, if it owns it. Tells whether that changed anything.
pub(super) fn ask_back(
    draft: &mut Draft<'_>,
    key: &Key,
    worker: &Name,
    target: Option<&Name>,
) -> bool {
    let Some(partition) = partition(draft, key) else { return false };
    let owns = partition.owner.as_ref().is_some_and(|owner| owner.worker == *worker);
    if !owns || partition.state == PartitionState::Deleted {
        return false;
    }
    let asked = Partition {
        state: PartitionState::Releasing,
        target: target.cloned(),
        ..(*partition).clone()
    };
    let changes = asked != *partition;
    if changes {
        put(draft, key, asked);
        if planted(Mutation::MoveWithoutRelease) {
            relinquish(draft, key);
        }
    }
    changes
}

/// The ownership of a partition ends, whoever has it.
pub(super) fn relinquish(draft: &mut Draft<'_>, key: &Key) {
    let Some(partition) = partition(draft, key) else { return };
    if let Some(id) = id_of(key) {
        allocation::ownership_ended(draft, &id);
    }
    if partition.state == PartitionState::Deleted {
        draft.delete(key);
        return;
    }
    let state = PartitionState::Unassigned;
    put(draft, key, Partition { owner: None, state, ..(*partition).clone() });
}

/// A network no longer has this partition: it is gone at once, or with its ownership.
pub(super) fn bury(draft: &mut Draft<'_>, key: &Key) {
    let Some(partition) = partition(draft, key) else { return };
    if let Some(id) = id_of(key) {
        allocation::partition_gone(draft, &id);
        draft.delete(&Key::load(&LoadId::Partition(id)));
    }
    if partition.owner.is_none() {
        draft.delete(key);
        return;
    }
    let state = PartitionState::Deleted;
    if partition.state != state {
        // Its processes may run elsewhere at once: what it did for them is refused from now on.
        let epoch = Some(draft.epoch());
        put(draft, key, Partition { state, epoch, target: None, ..(*partition).clone() });
    }
}

fn id_of(key: &Key) -> Option<PartitionId> {
    std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse)
}

pub(super) fn put(draft: &mut Draft<'_>, key: &Key, partition: Partition) {
    draft.put(key, Record::Partition(Arc::new(partition)));
}

pub(super) fn partition(draft: &Draft<'_>, key: &Key) -> Option<Arc<Partition>> {
    match &draft.get(key)?.value {
        Record::Partition(partition) => Some(partition.clone()),
        _ => None,
    }
}
