//! What storage needs of a disk: ordered databases with a barrier, two small slots and a journal
//! that are overwritten in place, and small files that are replaced as a whole.
//!
//! Invariants: writes to one database become durable in order: after a crash each database holds
//! a prefix of what was applied to it, and at least what was applied before its last `sync`.

mod aside;
mod fence;
mod memory;
mod sled;

use std::{io, sync::Arc};

use bytes::Bytes;

pub use aside::{check_unused, set_aside};
pub use memory::MemoryDisk;
pub use sled::{SledDisk, SledOptions};

use crate::error::OpenError;

/// Changes to a database, applied in order. Those to keys that begin with a capital letter come
/// before the others; each of the two parts is applied all or nothing.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// None deletes.
    pub changes: Vec<(Vec<u8>, Option<Bytes>)>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), None));
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A key with its value.
pub type KeyValue = (Bytes, Bytes);

/// An ordered database of small values (see [`VALUE_BYTES_MAX`]). Keys that begin with a capital
/// letter are for what is overwritten often; a scan stays on one side.
pub trait Database: Send + Sync {
    /// Applies a batch. Seen by every later read; durable after the next [`Database::sync`].
    ///
    /// # Errors
    /// Of the disk. Nothing is known of the batch then.
    fn apply(&self, batch: Batch) -> io::Result<()>;

    /// One value.
    ///
    /// # Errors
    /// Of the disk.
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// The first keys at or after `from` and before `to`, in order, at most `limit`. Both begin with a
    /// capital letter, or neither does.
    ///
    /// # Errors
    /// Of the disk.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<KeyValue>>;

    /// The full barrier: everything applied before is durable when it returns.
    ///
    /// # Errors
    /// Of the disk. Nothing is known of what was applied since the last barrier then.
    fn sync(&self) -> io::Result<()>;

    /// Lets go of the files and the lock. Everything else fails from then on. Idempotent.
    fn close(&self);
}

/// The largest value that a [`Database`] is given. With 8 MiB segments, sled writes a node (up to
/// some 20 values) of more than 2 MiB to a file of its own, which no barrier would cover.
pub const VALUE_BYTES_MAX: usize = 80 << 10;

/// Which of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 4096;

/// A disk.
pub trait Disk: Send + Sync {
    /// Opens a database, creating it when it is not there.
    ///
    /// # Errors
    /// [`OpenError`].
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, OpenError>;

    /// Whether a database is there.
    ///
    /// # Errors
    /// Of the disk.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// What a slot holds, [`SLOT_BYTES`] long; None: it was never written.
    ///
    /// # Errors
    /// Of the disk.
    fn read_slot(&self, slot: Slot) -> io::Result<Option<Bytes>>;

    /// Overwrites a slot in place with at most [`SLOT_BYTES`]; durable when it returns. A crash may
    /// leave this slot damaged, never the other one.
    ///
    /// # Errors
    /// Of the disk.
    fn write_slot(&self, slot: Slot, bytes: &[u8]) -> io::Result<()>;

    /// The journal; None: it was not created.
    ///
    /// # Errors
    /// Of the disk.
    fn read_journal(&self) -> io::Result<Option<Bytes>>;

    /// Creates the journal, or makes it new, with this content and for good with this size. Durable
    /// when it returns; a crash may leave a part of it.
    ///
    /// # Errors
    /// Of the disk.
    fn create_journal(&self, content: &[u8]) -> io::Result<()>;

    /// Overwrites a part of the journal in place; durable when it returns. A crash may leave each
    /// sector of 512 bytes of this part as it was before.
    ///
    /// # Errors
    /// Of the disk.
    fn write_journal(&self, offset: usize, bytes: &[u8]) -> io::Result<()>;

    /// A small file; None: not there.
    ///
    /// # Errors
    /// Of the disk.
    fn read_file(&self, name: &str) -> io::Result<Option<Bytes>>;

    /// Replaces a small file, all or nothing; durable when it returns.
    ///
    /// # Errors
    /// Of the disk.
    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
}
