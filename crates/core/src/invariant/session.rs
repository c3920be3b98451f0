//! Rules of sessions:
//!
//! - what is bound to a session is bound to one that is alive; the index of what is bound is that of
//!   the records with what its end counts for, and has every session;
//! - a worker is down exactly when it has no session;
//! - windows and replies belong to sessions that are alive; replies are after what is acknowledged,
//!   and the window's bytes are theirs.

use std::collections::BTreeMap;

use super::Report;
use crate::{
    held::Held,
    id::{Serial, SessionId},
    key::Kind,
    record::{Record, Window, WorkerState},
    size,
    state::State,
};

pub(super) fn check(state: &State, report: &mut Report) {
    let mut bound: BTreeMap<SessionId, Held> = BTreeMap::new();
    let mut windows: BTreeMap<SessionId, Window> = BTreeMap::new();
    let mut kept: BTreeMap<SessionId, (Serial, u64)> = BTreeMap::new();
    let (mut internal, mut workers) = (0, 0);
    for (key, versioned) in &state.records {
        internal += usize::from(key.kind.is_internal());
        workers += usize::from(key.kind == Kind::Worker);
        if let Some(id) = key.as_session() {
            bound.entry(id).or_default();
        }
        if let Some(id) = versioned.value.session() {
            let alive = state.session(id).is_some();
            report.require(alive, key, format_args!("its session {id} is alive"));
            let held = bound.entry(id).or_default();
            held.keys.insert(key.clone());
            held.bytes += size::ending(key, &versioned.value);
        }
        if let Record::Worker(worker) = &versioned.value {
            let down = worker.state == WorkerState::Down;
            let fits = down == worker.session.is_none();
            report.require(fits, key, format_args!("is down exactly when it has no session"));
        }
        let Some(id) = SessionId::from_bytes(&key.bytes) else { continue };
        match (&versioned.value, key.kind) {
            (Record::Window(window), Kind::Window) => _ = windows.insert(id, *window),
            (Record::Reply(_), Kind::Reply) => {
                let serial = key.bytes[16..].try_into().map(u64::from_be_bytes);
                let serial = Serial(serial.unwrap_or_default());
                let (first, bytes) = kept.entry(id).or_insert((serial, 0));
                *first = serial.min(*first);
                *bytes += size::kept(&versioned.value);
            }
            _ => {}
        }
    }
    let same = bound.iter().eq(state.sessions.iter());
    report.require(same, &"sessions", format_args!("the index is recomputed"));
    report.require(
        workers == state.workers,
        &"workers",
        format_args!("{workers} workers are counted"),
    );
    report.require(
        internal == state.internal,
        &"sessions",
        format_args!("{internal} internal records are counted"),
    );
    for id in windows.keys().chain(kept.keys()) {
        let alive = state.session(*id).is_some();
        report.require(alive, id, format_args!("replies are kept of sessions that are alive"));
    }
    for (id, (first, bytes)) in kept {
        let window = windows.get(&id).copied().unwrap_or_default();
        let after = first > window.acknowledged;
        report.require(after, &id, format_args!("reply {first} is not acknowledged"));
        let counted = bytes == window.bytes;
        report.require(counted, &id, format_args!("its replies count for {bytes} bytes"));
    }
}
