//! Sessions: opened, closed, expired, and what ends with them.
//!
//! Invariants: everything that a session holds ends at the revision at which it ends; a session is
//! expired only by the leader of the term in which the expiry was logged.

use std::collections::BTreeMap;

use super::{
    Stamp, allocation, connection, draft::Draft, exactly_once::expired, ownership, validate, worker,
};
use crate::{
    event::Change,
    id::{SessionId, Term},
    key::{ConnectionId, Key, Kind, PartitionId},
    record::{Record, Session, Versioned},
    rejection::{Reason, Rejection},
    reply::Reply,
    size,
    state::State,
};

pub(super) fn open(draft: &mut Draft<'_>, ttl_ms: u64, label: &str) -> Result<Reply, Rejection> {
    let settings = draft.settings();
    let bounds = settings.session_ttl_ms_min..=settings.session_ttl_ms_max;
    if !bounds.contains(&ttl_ms) {
        let (min, max) = (bounds.start(), bounds.end());
        return Err(Rejection::invalid("ttl_ms", format!("from {min} to {max}, not {ttl_ms}")));
    }
    validate::label("label", label)?;
    let (count, max) = (draft.sessions() as u64 + 1, settings.sessions_max);
    if count > max {
        return Err(Rejection::limit("sessions", "sessions_max", count, max));
    }
    let id = draft.session_id();
    draft.put(&Key::session(id), Record::Session(Session { ttl_ms, label: label.into() }));
    Ok(Reply::OpenSession { id, ttl_ms })
}

pub(super) fn close(draft: &mut Draft<'_>, id: SessionId) -> Result<Reply, Rejection> {
    require(draft, id)?;
    end(draft, id);
    Ok(Reply::Done)
}

pub(super) fn expire(
    draft: &mut Draft<'_>,
    at: Stamp,
    id: SessionId,
    term: Term,
) -> Result<Reply, Rejection> {
    if term != at.term {
        let message = format!("the expiry was proposed in term {term} and logged in {}", at.term);
        return Err(Rejection::new(Reason::PreconditionFailed, message));
    }
    close(draft, id)
}

/// The session must be alive.
pub(super) fn require(draft: &Draft<'_>, id: SessionId) -> Result<(), Rejection> {
    if draft.get(&Key::session(id)).is_some() { Ok(()) } else { Err(expired(id)) }
}

/// The changes that would end every session.
pub(crate) fn end_all(state: &State) -> Vec<Change> {
    let mut draft = Draft::new(state);
    for (id, _) in state.sessions() {
        end(&mut draft, id);
    }
    connection::follow(&mut draft);
    draft.into_changes()
}

/// Ends a session and everything that it holds.
fn end(draft: &mut Draft<'_>, id: SessionId) {
    for key in draft.bound_to(id) {
        match key.kind {
            Kind::Entry => draft.delete(&key),
            Kind::Worker => worker::lost(draft, &key),
            Kind::Partition => ownership::relinquish(draft, &key),
            Kind::Allocation => allocation::session_ended(draft, &key),
            _ => {}
        }
    }
    draft.delete(&Key::session(id));
}

/// A session ends at one revision, so what it may hold is bounded. What is bound to a session that
/// is not there was refused before. What was within the limits of its time stays.
pub(super) fn within_limits(state: &State, changes: &[Change]) -> Result<(), Rejection> {
    let added = added(state, changes);
    let settings = state.settings();
    for (id, (records, bytes)) in added {
        let held = state.bound_to(id).map_or(0, imbl::OrdSet::len) as u64;
        let limits = [
            (records, held, "session_records_max", settings.session_records_max),
            (
                bytes,
                state.bytes_bound_to(id),
                "session_record_bytes_max",
                settings.session_record_bytes_max,
            ),
        ];
        for (added, held, limit, max) in limits {
            let count = held.saturating_add_signed(added);
            if added > 0 && count > max {
                return Err(Rejection::limit("session", limit, count, max));
            }
        }
    }
    Ok(())
}

/// How many records, and how many bytes of their end, the changes add to each session.
fn added(state: &State, changes: &[Change]) -> BTreeMap<SessionId, (i64, i64)> {
    let mut added: BTreeMap<SessionId, (i64, i64)> = BTreeMap::new();
    // Connections come and go with partitions that change, and with those that do not.
    let mut connections = connections_added(changes);
    let mut note = |id: SessionId, records: i64, bytes: i64| {
        let (all_records, all_bytes) = added.entry(id).or_default();
        *all_records += records;
        *all_bytes += bytes;
    };
    for Change { key, previous, current, .. } in changes {
        let more = key.as_partition().and_then(|id| connections.remove(&id)).unwrap_or(0);
        for (record, sign, more) in [(previous, -1, 0), (current, 1, more)] {
            let Some(record) = record.as_deref().map(|it: &Versioned<Record>| &it.value) else {
                continue;
            };
            if let Some(id) = record.session() {
                let bytes = i64::try_from(state.bytes_of_ending(key, record)).unwrap_or(i64::MAX);
                note(id, sign, sign * (bytes + more));
            }
        }
    }
    for (id, more) in connections {
        let owner = state.partition(&id).and_then(|partition| partition.owner.as_ref());
        owner.into_iter().for_each(|owner| note(owner.session, 0, more));
    }
    added
}

/// What the connections that come and go add to the end of each partition, in bytes.
fn connections_added(changes: &[Change]) -> BTreeMap<PartitionId, i64> {
    let mut added: BTreeMap<PartitionId, i64> = BTreeMap::new();
    let kind = |change: &&Change| change.key.kind == Kind::Connection;
    for Change { key, previous, current, .. } in changes.iter().filter(kind) {
        let sign = i64::from(current.is_some()) - i64::from(previous.is_some());
        for end in key.as_connection().iter().flat_map(ConnectionId::ends) {
            let bytes = size::ending_of_connection(&end.network);
            *added.entry(end).or_default() += sign * i64::try_from(bytes).unwrap_or(i64::MAX);
        }
    }
    added
}
