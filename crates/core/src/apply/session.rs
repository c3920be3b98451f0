//! Sessions: opened, closed, expired, and what ends with them.
//!
//! Invariants: everything that a session holds ends at the revision at which it ends; a session is
//! expired only by the leader of the term in which the expiry was logged.

use std::{collections::BTreeMap, sync::Arc};

use super::{Stamp, allocation, draft::Draft, exactly_once::expired, ownership, validate, worker};
use crate::{
    event::Change,
    id::{SessionId, Term},
    key::{Key, Kind},
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
    let mut added: BTreeMap<SessionId, (i64, i64)> = BTreeMap::new();
    let mut note = |key: &Key, record: Option<&Arc<Versioned<Record>>>, sign: i64| {
        let Some(record) = record.map(|versioned| &versioned.value) else { return };
        let Some(id) = record.session() else { return };
        let (records, bytes) = added.entry(id).or_default();
        *records += sign;
        *bytes += sign * i64::try_from(size::ending(key, record)).unwrap_or(i64::MAX);
    };
    for Change { key, previous, current, .. } in changes {
        note(key, previous.as_ref(), -1);
        note(key, current.as_ref(), 1);
    }
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
