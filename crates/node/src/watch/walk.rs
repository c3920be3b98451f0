//! A walk over the records of one state, in chunks: the snapshot at the start of a stream. Pure.
//!
//! Invariant: it reads one state from beginning to end, whatever is applied meanwhile. It looks
//! only at the ranges that the filter can match.

use std::{collections::VecDeque, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use quorate_core::{Filter, Key, KeyRange, KeyedRecord, Kind, MemberId, Revision};
use quorate_proto::encoded::EncodedEvent;
use quorate_storage::View;

use super::frame::Frame;
use crate::service::page::weight;

/// A chunk grows to about so many bytes of keys and values. A record is never split.
const CHUNK_BYTES: usize = 128 << 10;

/// At most so many records are looked at for one chunk.
const SCANNED_MAX: usize = 4_096;

/// A walk over a view's records.
#[derive(Debug)]
pub(super) struct Walk {
    view: Arc<View>,
    ranges: VecDeque<KeyRange>,
    resync: bool,
}

/// What a walk gives next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// A message; more follow.
    Part(Frame),
    /// Nothing of what was looked at matched; more follow.
    Nothing,
    /// The last message: it carries the end marker. Changes after this revision follow.
    Last(Frame, Revision),
}

impl Walk {
    /// Starts a walk. `resync`: the subscriber is told first that it lost history.
    pub(super) fn new(view: Arc<View>, filter: &Filter, resync: bool) -> Self {
        Self { view, ranges: ranges(filter), resync }
    }

    /// The next chunk.
    pub(super) fn next(&mut self, filter: &Filter, member: MemberId) -> Chunk {
        let revision = self.view.state.revision();
        let mut events = Vec::new();
        if std::mem::take(&mut self.resync) {
            events.push(EncodedEvent::resync(revision));
        }
        let records = self.take(filter);
        if !records.is_empty() {
            events.push(EncodedEvent::snapshot(revision, &records));
        }
        if self.ranges.is_empty() {
            events.push(EncodedEvent::snapshot_end(revision));
            let frame = Frame::new(member, &self.view, events, Some(revision));
            return Chunk::Last(frame, revision);
        }
        if events.is_empty() {
            return Chunk::Nothing;
        }
        Chunk::Part(Frame::new(member, &self.view, events, None))
    }

    /// Takes records up to the bounds of a chunk, and shortens the ranges by what was looked at.
    fn take(&mut self, filter: &Filter) -> Vec<KeyedRecord> {
        let (mut records, mut bytes, mut scanned) = (Vec::new(), 0, 0);
        while let Some(range) = self.ranges.pop_front() {
            for (key, record) in self.view.state.range(&range) {
                scanned += 1;
                if filter.matches_record(key, &record.value) {
                    bytes += key.bytes.len() + weight(&record.value);
                    records.push((key.clone(), Arc::clone(record)));
                }
                if bytes >= CHUNK_BYTES || scanned >= SCANNED_MAX {
                    if let Some(rest) = after(&range, key) {
                        self.ranges.push_front(rest);
                    }
                    return records;
                }
            }
        }
        records
    }
}

/// The ranges that hold everything that a filter can match, in key order.
fn ranges(filter: &Filter) -> VecDeque<KeyRange> {
    let wanted = |kind: &Kind| filter.kinds.is_empty() || filter.kinds.contains(kind);
    Kind::ALL.into_iter().filter(wanted).filter_map(|kind| range(filter, kind)).collect()
}

fn range(filter: &Filter, kind: Kind) -> Option<KeyRange> {
    let network = filter.network.as_ref();
    let network = network.or(filter.partition.as_ref().map(|partition| &partition.network));
    let Some(network) = network else {
        return Some(KeyRange::Prefix(kind, filter.key_prefix.clone()));
    };
    match kind {
        Kind::Network => Some(KeyRange::Single(Key::network(network))),
        Kind::Partition | Kind::Connection | Kind::Load => {
            Some(KeyRange::Prefix(kind, format!("{network}/").into()))
        }
        _ => None,
    }
}

/// What is left of a range after a key of it; None: nothing.
fn after(range: &KeyRange, key: &Key) -> Option<KeyRange> {
    let end = match range {
        KeyRange::Single(_) => return None,
        KeyRange::Prefix(_, prefix) => successor(prefix),
        KeyRange::Bounds { end, .. } => end.clone(),
    };
    let mut start = BytesMut::with_capacity(key.bytes.len() + 1);
    start.put_slice(&key.bytes);
    start.put_u8(0);
    Some(KeyRange::Bounds { kind: key.kind, start: start.freeze(), end })
}

/// The first key after all that begin with these bytes; empty: there is none.
fn successor(prefix: &Bytes) -> Bytes {
    let kept = prefix.iter().rposition(|&byte| byte != u8::MAX).map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_is_the_first_key_after_a_prefix() {
        let end = |prefix: &'static [u8]| successor(&Bytes::from_static(prefix));
        assert_eq!(end(b"ab"), "ac");
        assert_eq!(end(b"a\xff"), "b");
        assert_eq!(end(b"\xff\xff"), "");
        assert_eq!(end(b""), "");
    }

    #[test]
    fn what_is_left_begins_right_after_the_key() {
        let prefix = KeyRange::Prefix(Kind::Entry, "a".into());
        let rest = after(&prefix, &Key::entry("ab")).unwrap();
        for (key, left) in [("ab", false), ("ab\0", true), ("az", true), ("b", false)] {
            assert_eq!(rest.contains(&Key::entry(key)), left, "{key:?}");
        }
        assert_eq!(after(&KeyRange::Single(Key::entry("a")), &Key::entry("a")), None);
    }
}
