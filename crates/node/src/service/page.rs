//! One page of a range: bounded in records and bytes. Pure.

use quorate_core::{KeyRange, Record, State, Versioned};
use quorate_proto::{
    convert::record::{record, record_without_value},
    v1,
};

/// How much a page may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Records, at most.
    pub(super) records_max: usize,
    /// Bytes of keys and values, at most; a single larger record goes alone.
    pub(super) bytes_max: usize,
}

/// What of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Everything.
    Full,
    /// All but the value.
    KeysOnly,
    /// Nothing: they are only counted.
    CountOnly,
}

/// A page.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    /// Its records, in key order.
    pub(super) records: Vec<v1::Record>,
    /// Whether the bounds left records out.
    pub(super) more: bool,
    /// How many records the range has.
    pub(super) count: u64,
}

/// The first page of a range.
pub(super) fn page(state: &State, range: &KeyRange, detail: Detail, bounds: Bounds) -> Page {
    let mut page = Page::default();
    if let KeyRange::Single(key) = range {
        if let Some(found) = state.get(key) {
            page.count = 1;
            page.records.extend(show(detail, key, found));
        }
        return page;
    }
    let mut bytes = 0;
    for (key, found) in state.range(range) {
        page.count += 1;
        if page.more || detail == Detail::CountOnly {
            continue;
        }
        let size = key.bytes.len() + if detail == Detail::Full { weight(&found.value) } else { 0 };
        let first = page.records.is_empty();
        let full = page.records.len() >= bounds.records_max || bytes + size > bounds.bytes_max;
        if full && !first {
            page.more = true;
            continue;
        }
        bytes += size;
        page.records.extend(show(detail, key, found));
    }
    page
}

fn show(detail: Detail, key: &quorate_core::Key, found: &Versioned<Record>) -> Option<v1::Record> {
    match detail {
        Detail::Full => Some(record(key, found)),
        Detail::KeysOnly => Some(record_without_value(key, found)),
        Detail::CountOnly => None,
    }
}

/// About how many bytes a record's value has on the wire.
pub(crate) fn weight(record: &Record) -> usize {
    const EACH: usize = 64;
    match record {
        Record::Entry(entry) => entry.value.len(),
        Record::Setting(value) => value.len(),
        Record::Worker(worker) => worker.address.len() + EACH * worker.labels.len(),
        Record::Network(network) => {
            EACH * (network.spec.processes.len() + network.spec.connections.len())
        }
        Record::Partition(partition) => EACH * partition.processes.len(),
        Record::Connection(connection) => EACH * connection.edges.len(),
        Record::Session(session) => session.label.len(),
        Record::Member(member) => member.peer.len() + member.client.len(),
        Record::ConnectionStatus(status) => EACH + status.error.len(),
        Record::Pool(pool) => EACH * (pool.tenants.len() + pool.capacity.len()),
        Record::Allocation(allocation) => EACH * (3 + allocation.amount.len()),
        Record::Alert(alert) => alert.message.len(),
        Record::Load(_) | Record::Window(_) | Record::Reply(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{
        ClusterId, Command, Identity, Key, Kind, Operation, RestoreEpoch, Stamp, Transaction, apply,
    };

    use super::*;

    fn state(values: &[(&'static str, usize)]) -> State {
        let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) };
        let mut state = State::new(identity);
        for (key, len) in values {
            let put = Operation::Put {
                key: Key::entry(*key),
                record: Record::Entry(vec![b'x'; *len].into()),
                return_previous: false,
            };
            let command =
                Command::Transaction(Transaction { success: vec![put], ..Transaction::default() });
            apply(&mut state, Stamp::at(0), &command).outcome.result.unwrap();
        }
        state
    }

    fn keys(page: &Page) -> Vec<&[u8]> {
        page.records.iter().map(|record| record.key.as_ref().unwrap().key.as_ref()).collect()
    }

    const ALL: KeyRange = KeyRange::Prefix(Kind::Entry, bytes::Bytes::new());
    const WIDE: Bounds = Bounds { records_max: 100, bytes_max: 1 << 20 };

    #[test]
    fn records_are_bounded_and_counted() {
        let state = state(&[("a", 1), ("b", 1), ("c", 1)]);
        let whole = page(&state, &ALL, Detail::Full, Bounds { records_max: 3, ..WIDE });
        assert_eq!((keys(&whole).len(), whole.more, whole.count), (3, false, 3));
        let part = page(&state, &ALL, Detail::Full, Bounds { records_max: 2, ..WIDE });
        assert_eq!(keys(&part), [b"a", b"b"]);
        assert_eq!((part.more, part.count), (true, 3));
    }

    #[test]
    fn bytes_are_bounded_but_one_record_always_goes() {
        let state = state(&[("a", 500), ("b", 400), ("c", 1)]);
        let tight = Bounds { bytes_max: 600, ..WIDE };
        let part = page(&state, &ALL, Detail::Full, tight);
        assert_eq!((keys(&part), part.more, part.count), (vec![&b"a"[..]], true, 3));
        let tiny = page(&state, &ALL, Detail::Full, Bounds { bytes_max: 1, ..WIDE });
        assert_eq!((keys(&tiny), tiny.more), (vec![&b"a"[..]], true));
        let bare = page(&state, &ALL, Detail::KeysOnly, tight);
        assert_eq!((bare.records.len(), bare.more), (3, false));
        assert!(bare.records.iter().all(|record| record.value.is_none() && record.version == 1));
    }

    #[test]
    fn a_count_has_no_records() {
        let state = state(&[("a", 1), ("b", 1)]);
        let count = page(&state, &ALL, Detail::CountOnly, WIDE);
        assert_eq!(count, Page { count: 2, ..Page::default() });
        let single = KeyRange::Single(Key::entry("a"));
        assert_eq!(page(&state, &single, Detail::CountOnly, WIDE).count, 1);
    }

    #[test]
    fn a_single_key_is_there_or_not() {
        let state = state(&[("a", 1)]);
        let get = |key: &'static str| {
            page(&state, &KeyRange::Single(Key::entry(key)), Detail::Full, WIDE)
        };
        assert_eq!(keys(&get("a")), [b"a"]);
        assert_eq!(get("b"), Page::default());
    }
}
