//! Rules of sessions:
//!
//! - what is bound to a session is bound to one that is alive; the index of what is bound is that of
//!   the records with what its end counts for, connections of partitions included, and has every session;
//! - a worker is down exactly when it has no session;
//! - windows and replies belong to sessions that are alive; replies are after what is acknowledged,
//!   and the window's bytes are theirs.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Report;
use crate::{
    hash,
    held::Held,
    id::{Serial, SessionId},
    key::{Key, Kind, PartitionId},
    record::{Record, Window, WorkerState},
    size,
    state::State,
};

pub(super) fn check(state: &State, report: &mut Report) {
    let mut bound: BTreeMap<SessionId, Held> = BTreeMap::new();
    let mut workers = 0;
    let connections = connections_of(state);
    for (key, versioned) in &state.records {
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
            if let Some(id) = key.as_partition() {
                let count = connections.get(&id).copied().unwrap_or(0);
                held.bytes += count * size::ending_of_connection(&id.network);
            }
        }
        if let Record::Worker(worker) = &versioned.value {
            let down = worker.state == WorkerState::Down;
            let fits = down == worker.session.is_none();
            report.require(fits, key, format_args!("is down exactly when it has no session"));
        }
    }
    let same = bound.iter().eq(state.sessions.iter());
    report.require(same, &"sessions", format_args!("the index is recomputed"));
    report.require(
        workers == state.workers,
        &"workers",
        format_args!("{workers} workers are counted"),
    );
    check_requests(state, report);
}

/// How many connections each partition has.
fn connections_of(state: &State) -> BTreeMap<PartitionId, u64> {
    let mut counts = BTreeMap::new();
    let keys = state.records.keys().filter(|key| key.kind == Kind::Connection);
    for end in keys.filter_map(Key::as_connection).flat_map(|id| id.ends()) {
        *counts.entry(end).or_default() += 1;
    }
    counts
}

fn check_requests(state: &State, report: &mut Report) {
    let mut windows: BTreeMap<SessionId, Window> = BTreeMap::new();
    let mut kept: BTreeMap<SessionId, (Serial, u64)> = BTreeMap::new();
    let (mut count, mut sum) = (0, 0_u64);
    let lowest = Key { kind: Kind::INTERNAL[0], bytes: Bytes::new() };
    for (key, versioned) in state.requests.records_from(&lowest) {
        count += 1;
        sum = sum.wrapping_add(hash::record(&key, &versioned));
        let Some(id) = SessionId::from_bytes(&key.bytes) else { continue };
        match &versioned.value {
            Record::Window(window) => _ = windows.insert(id, *window),
            Record::Reply(reply) => {
                let serial = key.bytes[16..].try_into().map(u64::from_be_bytes);
                let serial = Serial(serial.unwrap_or_default());
                let (first, bytes) = kept.entry(id).or_insert((serial, 0));
                *first = serial.min(*first);
                *bytes += size::kept(reply);
            }
            _ => {}
        }
        let at = versioned.modified;
        report.require(at <= state.revision, &key, format_args!("was written at {at}, so far"));
    }
    let counted = (count, sum) == (state.requests.count(), state.requests.sum());
    report.require(counted, &"sessions", format_args!("{count} kept records are counted"));
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
