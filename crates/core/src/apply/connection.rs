//! Connections: how they are doing, from who owns their ends and from what is reported.
//!
//! Invariants: a connection has a status exactly while both its partitions have owners, those that
//! release them too, and it names their grants; the revision that changes an owner changes it. What is
//! reported or due applies to the status that it was said of, so that a repeat, or what a leader
//! of the past asks for, changes nothing.

use std::{collections::BTreeSet, sync::Arc};

use super::{draft::Draft, session};
use crate::{
    connection::{
        CONNECTION_ERROR_BYTES_MAX, Connection, ConnectionEnd, ConnectionReport, ConnectionState,
        ConnectionStatus, ConnectionStep, Due, Seen,
    },
    event::Change,
    id::{Revision, SessionId},
    key::{ConnectionId, Key, Kind, PartitionId},
    record::{Partition, Record, Versioned},
    rejection::{Reason, Rejection},
    reply::Reply,
};

/// What is said of a connection that was not reported up in time.
const NO_REPORT: &str = "no report in time";

/// Brings connections up to date with what the command changed of owners and networks. The one place
/// where a status begins or ends.
pub(super) fn follow(draft: &mut Draft<'_>) {
    let mut touched = BTreeSet::new();
    for Change { key, previous, current, .. } in draft.changes() {
        let (before, after) = (previous.as_deref(), current.as_deref());
        match key.kind {
            Kind::Partition if grant(before) != grant(after) => {
                let id = key.as_partition();
                touched.extend(id.into_iter().flat_map(|id| draft.state().connections_of(&id)));
            }
            Kind::Connection if before.is_some() != after.is_some() => {
                touched.extend(key.as_connection());
            }
            _ => {}
        }
    }
    touched.iter().for_each(|id| settle(draft, id));
}

/// Who owns a partition now, and since when.
fn grant(record: Option<&Versioned<Record>>) -> Option<ConnectionEnd> {
    match &record?.value {
        Record::Partition(partition) => end(partition),
        _ => None,
    }
}

fn end(partition: &Partition) -> Option<ConnectionEnd> {
    let session = partition.owner.as_ref()?.session;
    Some(ConnectionEnd { epoch: partition.epoch?, session })
}

/// Gives a connection the status that its ends ask for: a new one, the one that it has, or none.
fn settle(draft: &mut Draft<'_>, id: &ConnectionId) {
    let key = Key::connection_status(id);
    let end = |id: &PartitionId| grant(draft.get(&Key::partition(id)).map(Arc::as_ref));
    let [from, to] = id.ends();
    let ends = draft.get(&Key::connection(id)).and_then(|_| Some((end(&from)?, end(&to)?)));
    let known = status(draft, &key).map(|(_, status)| (status.from, status.to));
    match ends {
        None if known.is_some() => draft.delete(&key),
        Some((from, to)) if known != ends => {
            let status = ConnectionStatus {
                from,
                to,
                state: ConnectionState::Connecting,
                attempts: 0,
                since_ms: draft.state().time_ms(),
                retry_at_ms: 0,
                error: "".into(),
            };
            put(draft, &key, status);
        }
        _ => {}
    }
}

/// Notes what the owner of one end saw. A failed connection stays so, whatever is reported.
pub(super) fn report(
    draft: &mut Draft<'_>,
    session: SessionId,
    reports: &[ConnectionReport],
) -> Result<Reply, Rejection> {
    let (count, max) = (reports.len() as u64, draft.settings().reported_connections_max);
    if count > max {
        return Err(Rejection::limit("reports", "reported_connections_max", count, max));
    }
    session::require(draft, session)?;
    reports.iter().enumerate().try_for_each(|(at, report)| validate(at, report))?;
    let (mut changed, mut stale) = (0, 0);
    for (at, report) in reports.iter().enumerate() {
        let key = Key::connection_status(&report.id);
        let known = status(draft, &key).map(|(_, status)| status);
        let epochs = (report.from_epoch, report.to_epoch);
        let Some(known) = known.filter(|it| (it.from.epoch, it.to.epoch) == epochs) else {
            stale += 1;
            continue;
        };
        if ![known.from.session, known.to.session].contains(&session) {
            let message = format!("session {session} owns no end of connection {}", report.id);
            let rejection = Rejection::new(Reason::PreconditionFailed, message);
            return Err(Rejection { field: format!("reports[{at}].id"), ..rejection });
        }
        if let Some(status) = seen(draft, &report.id, &known, &report.seen) {
            put(draft, &key, status);
            changed += 1;
        }
    }
    Ok(Reply::ReportConnections { changed, stale })
}

fn validate(at: usize, report: &ConnectionReport) -> Result<(), Rejection> {
    match &report.seen {
        Seen::Broken(error) if error.len() > CONNECTION_ERROR_BYTES_MAX => {
            let rule = format!("at most {CONNECTION_ERROR_BYTES_MAX} bytes, not {}", error.len());
            Err(Rejection::invalid(format!("reports[{at}].broken"), rule))
        }
        Seen::Broken(error) if error.is_empty() => {
            Err(Rejection::invalid(format!("reports[{at}].broken"), "not empty: it says why"))
        }
        Seen::Broken(error) if error.chars().any(char::is_control) => {
            Err(Rejection::invalid(format!("reports[{at}].broken"), "without control characters"))
        }
        _ => Ok(()),
    }
}

/// What a status is after this was seen. None: as it was.
fn seen(
    draft: &Draft<'_>,
    id: &ConnectionId,
    known: &ConnectionStatus,
    seen: &Seen,
) -> Option<ConnectionStatus> {
    match (known.state, seen) {
        (ConnectionState::Connecting | ConnectionState::Broken, Seen::Up) => {
            Some(ConnectionStatus {
                state: ConnectionState::Up,
                since_ms: draft.state().time_ms(),
                retry_at_ms: 0,
                error: "".into(),
                ..known.clone()
            })
        }
        (ConnectionState::Connecting | ConnectionState::Up, Seen::Broken(error)) => {
            Some(broken(draft, connection(draft, id)?, known, error))
        }
        _ => None,
    }
}

/// A break: to be retried after the back-off. One that was up for longer than the longest back-off
/// is retried as if for the first time.
fn broken(
    draft: &Draft<'_>,
    connection: &Connection,
    known: &ConnectionStatus,
    error: &str,
) -> ConnectionStatus {
    let (now_ms, policy) = (draft.state().time_ms(), &connection.policy);
    let lasted = known.state == ConnectionState::Up
        && now_ms.saturating_sub(known.since_ms) > policy.backoff_ms_max;
    let attempts = if lasted { 0 } else { known.attempts };
    ConnectionStatus {
        state: ConnectionState::Broken,
        attempts,
        since_ms: now_ms,
        retry_at_ms: now_ms.saturating_add(policy.backoff_after(attempts)),
        error: error.into(),
        ..known.clone()
    }
}

/// Does what is due.
pub(super) fn manage(draft: &mut Draft<'_>, steps: &[ConnectionStep]) -> Reply {
    let mut changed = 0;
    for ConnectionStep { id, modified, due } in steps {
        let key = Key::connection_status(id);
        let known = status(draft, &key).filter(|(at, _)| at == modified);
        let Some((_, known)) = known else { continue };
        let Some(connection) = connection(draft, id) else { continue };
        let next = match (due, known.state) {
            (Due::TimeOut, ConnectionState::Connecting) => {
                broken(draft, connection, &known, NO_REPORT)
            }
            (Due::Retry, ConnectionState::Broken) => {
                retried(draft.state().time_ms(), connection, &known)
            }
            _ => continue,
        };
        put(draft, &key, next);
        changed += 1;
    }
    Reply::Changed { changed }
}

fn retried(now_ms: u64, connection: &Connection, known: &ConnectionStatus) -> ConnectionStatus {
    let next = ConnectionStatus { since_ms: now_ms, retry_at_ms: 0, ..known.clone() };
    if u64::from(known.attempts) >= connection.policy.attempts_max {
        return ConnectionStatus { state: ConnectionState::Failed, ..next };
    }
    let attempts = known.attempts.saturating_add(1);
    ConnectionStatus { state: ConnectionState::Connecting, attempts, ..next }
}

/// Somebody asks for another try. One that connects, or is up, goes on.
pub(super) fn retry(draft: &mut Draft<'_>, id: &ConnectionId) -> Result<Reply, Rejection> {
    if connection(draft, id).is_none() {
        return Err(Rejection::new(Reason::NotFound, format!("no connection {id}")));
    }
    let key = Key::connection_status(id);
    let Some((_, known)) = status(draft, &key) else {
        let message = format!("connection {id} is pending: an end has no owner");
        return Err(Rejection::new(Reason::PreconditionFailed, message));
    };
    if !matches!(known.state, ConnectionState::Broken | ConnectionState::Failed) {
        return Ok(Reply::Changed { changed: 0 });
    }
    let next = ConnectionStatus {
        state: ConnectionState::Connecting,
        attempts: 0,
        since_ms: draft.state().time_ms(),
        retry_at_ms: 0,
        ..known.as_ref().clone()
    };
    put(draft, &key, next);
    Ok(Reply::Changed { changed: 1 })
}

fn put(draft: &mut Draft<'_>, key: &Key, status: ConnectionStatus) {
    draft.put(key, Record::ConnectionStatus(Arc::new(status)));
}

fn connection<'a>(draft: &'a Draft<'_>, id: &ConnectionId) -> Option<&'a Connection> {
    match &draft.get(&Key::connection(id))?.value {
        Record::Connection(connection) => Some(connection),
        _ => None,
    }
}

/// A status with the revision that changed it last.
fn status(draft: &Draft<'_>, key: &Key) -> Option<(Revision, Arc<ConnectionStatus>)> {
    let record = draft.get(key)?;
    match &record.value {
        Record::ConnectionStatus(status) => Some((record.modified, Arc::clone(status))),
        _ => None,
    }
}
