//! Workers: who may own partitions.
//!
//! Invariants: a worker that is not down has a session that is alive; a name whose session lives
//! belongs to that session.

use std::sync::Arc;

use super::{draft::Draft, exactly_once::expired, ownership, session, validate::ADDRESS_BYTES_MAX};
use crate::{
    command::RegisterWorker,
    id::{Revision, SessionId},
    key::{Key, LoadId},
    label,
    name::Name,
    record::{Load, PartitionState, Record, Worker, WorkerState},
    rejection::{Reason, Rejection},
    reply::Reply,
};

/// Registers a worker, or changes what it says of itself. The same again changes nothing.
pub(super) fn register(
    draft: &mut Draft<'_>,
    command: &RegisterWorker,
) -> Result<Reply, Rejection> {
    validate(command)?;
    session::require(draft, command.session)?;
    let RegisterWorker { name, session, address, capacity, labels } = command.clone();
    let known = worker(draft, &name);
    if let Some(holder) = known.as_ref().and_then(|worker| worker.session)
        && holder != session
    {
        let message = format!("worker {name} is registered by session {holder}, which is alive");
        return Err(Rejection {
            field: "name".into(),
            ..Rejection::new(Reason::AlreadyExists, message)
        });
    }
    if known.is_none() {
        let (count, max) = (draft.workers() as u64 + 1, draft.settings().workers_max);
        if count > max {
            return Err(Rejection::limit("name", "workers_max", count, max));
        }
    }
    let state = match &known {
        Some(known) if known.session.is_some() => known.state,
        _ => WorkerState::Active,
    };
    let worker = Worker { address, capacity, labels, state, session: Some(session) };
    if known.as_deref() != Some(&worker) {
        draft.put(&Key::worker(&name), Record::Worker(Arc::new(worker)));
    }
    Ok(Reply::Done)
}

fn validate(command: &RegisterWorker) -> Result<(), Rejection> {
    let RegisterWorker { address, labels, .. } = command;
    if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
        let rule = format!("a host and port, at most {ADDRESS_BYTES_MAX} bytes");
        return Err(Rejection::invalid("address", rule));
    }
    label::validate("labels", labels)
}

/// Asks a worker to give its partitions away, or lets it take some again.
pub(super) fn drain(draft: &mut Draft<'_>, name: &Name, drain: bool) -> Result<Reply, Rejection> {
    let worker = worker(draft, name).ok_or_else(|| unknown(name))?;
    let state = match (worker.state, drain) {
        (WorkerState::Down, _) => {
            let message = format!("worker {name} is down");
            return Err(Rejection::new(Reason::PreconditionFailed, message));
        }
        (_, true) => WorkerState::Draining,
        (_, false) => WorkerState::Active,
    };
    let mut changed = 0;
    if state != worker.state {
        let session = worker.session;
        draft.put(
            &Key::worker(name),
            Record::Worker(Arc::new(Worker { state, ..(*worker).clone() })),
        );
        if let Some(session) = session.filter(|_| drain) {
            for key in draft.bound_to(session) {
                changed += u32::from(ownership::ask_back(draft, &key, name, None));
            }
        }
    }
    Ok(Reply::Changed { changed })
}

/// Removes a worker. What it owns is nobody's.
pub(super) fn leave(
    draft: &mut Draft<'_>,
    name: &Name,
    session: Option<SessionId>,
) -> Result<Reply, Rejection> {
    let worker = worker(draft, name).ok_or_else(|| unknown(name))?;
    match (worker.session, session) {
        (Some(holder), Some(session)) if holder != session => return Err(expired(session)),
        (Some(holder), None) => {
            let message = format!("worker {name} is held by session {holder}, which is alive");
            return Err(Rejection::new(Reason::PreconditionFailed, message));
        }
        _ => {}
    }
    if let Some(session) = worker.session {
        for key in draft.bound_to(session) {
            let owned = match draft.get(&key).map(|record| &record.value) {
                Some(Record::Partition(partition)) => {
                    partition.owner.as_ref().is_some_and(|owner| owner.worker == *name)
                }
                _ => false,
            };
            if owned {
                ownership::relinquish(draft, &key);
            }
        }
    }
    draft.delete(&Key::worker(name));
    draft.delete(&Key::load(&LoadId::Worker(name.clone())));
    Ok(Reply::Done)
}

/// The session of a worker has ended.
pub(super) fn lost(draft: &mut Draft<'_>, key: &Key) {
    if let Some(Record::Worker(worker)) = draft.get(key).map(|record| &record.value) {
        let down = Worker { state: WorkerState::Down, session: None, ..worker.as_ref().clone() };
        draft.put(key, Record::Worker(Arc::new(down)));
    }
}

/// Notes observed loads of what exists. The same load of a partition that has changed since is noted again:
/// it is one of the partition as it is now.
pub(super) fn report(draft: &mut Draft<'_>, loads: &[(LoadId, Load)]) -> Reply {
    let mut changed = 0;
    for (id, load) in loads {
        let since = match id {
            LoadId::Worker(name) => draft.get(&Key::worker(name)).map(|_| Revision(0)),
            LoadId::Partition(id) => {
                draft.get(&Key::partition(id)).and_then(|it| match &it.value {
                    Record::Partition(partition) if partition.state != PartitionState::Deleted => {
                        Some(it.modified)
                    }
                    _ => None,
                })
            }
            LoadId::Allocation(id) => {
                draft.get(&Key::allocation(id)).and_then(|it| match &it.value {
                    Record::Allocation(allocation) => allocation.grant().map(|_| Revision(0)),
                    _ => None,
                })
            }
        };
        let (key, record) = (Key::load(id), Record::Load(*load));
        let is_old = |since| {
            let known = draft.get(&key);
            known.is_none_or(|known| known.value != record || known.modified < since)
        };
        if since.is_some_and(is_old) {
            draft.put(&key, record);
            changed += 1;
        }
    }
    Reply::Changed { changed }
}

pub(super) fn worker(draft: &Draft<'_>, name: &Name) -> Option<Arc<Worker>> {
    match &draft.get(&Key::worker(name))?.value {
        Record::Worker(worker) => Some(worker.clone()),
        _ => None,
    }
}

pub(super) fn unknown(name: &Name) -> Rejection {
    Rejection::new(Reason::NotFound, format!("no worker {name}"))
}
