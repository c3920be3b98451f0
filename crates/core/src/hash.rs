//! The parts of the state hash: one number per record and per event, added up.
//!
//! A sum does not depend on order, so a change costs one subtraction and one addition, whatever
//! the size of the state. The numbers are XXH3 (64 bit, <https://xxhash.com>), seeded by what came
//! before; they are the same on every platform. They guard against divergence, not against an
//! adversary.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    codec,
    id::{Revision, SessionId},
    key::{Key, Kind},
    record::{Entry, Record, Versioned, Window},
};

/// Folds numbers into a hash, in order.
pub(crate) fn fold<const N: usize>(seed: u64, numbers: [u64; N]) -> u64 {
    numbers.into_iter().fold(seed, |seed, number| xxh3_64_with_seed(&number.to_le_bytes(), seed))
}

/// A record under its key. Never 0 on purpose: 0 stands for "absent" where events are hashed.
pub(crate) fn record(key: &Key, record: &Versioned<Record>) -> u64 {
    let seed = xxh3_64_with_seed(&key.bytes, key.kind as u64);
    let value = match &record.value {
        Record::Entry(Entry { value, session: None }) => xxh3_64_with_seed(value, seed),
        Record::Setting(text) => xxh3_64_with_seed(text.as_bytes(), seed),
        other => xxh3_64_with_seed(&codec::encode_within(&mut [0; 256], other), seed),
    };
    versioned(value, [record.created.0, record.modified.0, record.version])
}

/// A window as a record under its session's key: what [`record`] says, at a fraction of the cost.
pub(crate) fn window(session: SessionId, at: Revision, window: Window) -> u64 {
    let seed = xxh3_64_with_seed(&session.to_bytes(), Kind::Window as u64);
    let value = Record::Window(window);
    let value = xxh3_64_with_seed(&codec::encode_within(&mut [0; 64], &value), seed);
    versioned(value, [at.0, at.0, 1])
}

/// The hash of a value, with what its record has beside it.
fn versioned(value: u64, [created, modified, version]: [u64; 3]) -> u64 {
    let mut numbers = [0; 24];
    numbers[..8].copy_from_slice(&created.to_le_bytes());
    numbers[8..16].copy_from_slice(&modified.to_le_bytes());
    numbers[16..].copy_from_slice(&version.to_le_bytes());
    xxh3_64_with_seed(&numbers, value).max(1)
}

/// A text, after what came before.
pub(crate) fn text(seed: u64, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), seed)
}

/// A record that may be absent.
pub(crate) fn optional(key: &Key, versioned: Option<&Versioned<Record>>) -> u64 {
    versioned.map_or(0, |versioned| record(key, versioned))
}

/// Starts the hash of something else than a record, so that the two cannot be mixed up.
pub(crate) fn domain(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RestoreEpoch, Serial};

    #[test]
    fn a_window_has_the_hash_of_its_record() {
        for number in [0, 1, 250, 251, 70_000, 1 << 40, u64::MAX] {
            let at = Revision(number);
            let session = SessionId { restore: RestoreEpoch(number), revision: at };
            let value = Window { acknowledged: Serial(number), bytes: number };
            let seen =
                Versioned { created: at, modified: at, version: 1, value: Record::Window(value) };
            assert_eq!(window(session, at, value), record(&Key::window(session), &seen));
        }
    }
}
