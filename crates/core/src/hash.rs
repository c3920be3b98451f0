//! The parts of the state hash: one number per record and per event, added up.
//!
//! A sum does not depend on order, so a change costs one subtraction and one addition, whatever
//! the size of the state. The numbers are XXH3 (64 bit, <https://xxhash.com>), seeded by what came
//! before; they are the same on every platform. They guard against divergence, not against an
//! adversary.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    codec,
    key::Key,
    record::{Entry, Record, Versioned},
};

/// Folds numbers into a hash, in order.
pub(crate) fn fold<const N: usize>(seed: u64, numbers: [u64; N]) -> u64 {
    numbers.into_iter().fold(seed, |seed, number| xxh3_64_with_seed(&number.to_le_bytes(), seed))
}

/// A record under its key. Never 0 on purpose: 0 stands for "absent" where events are hashed.
pub(crate) fn record(key: &Key, record: &Versioned<Record>) -> u64 {
    let Versioned { created, modified, version, value } = record;
    let seed = xxh3_64_with_seed(&key.bytes, key.kind as u64);
    let value = match value {
        Record::Entry(Entry { value, session: None }) => xxh3_64_with_seed(value, seed),
        Record::Setting(text) => xxh3_64_with_seed(text.as_bytes(), seed),
        other => xxh3_64_with_seed(&codec::encode(other), seed),
    };
    let mut numbers = [0; 24];
    numbers[..8].copy_from_slice(&created.0.to_le_bytes());
    numbers[8..16].copy_from_slice(&modified.0.to_le_bytes());
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
