//! A disk in memory, which can crash.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{Database, Disk, Slot};
use crate::error::OpenError;

/// A disk in memory. A clone is another handle of the same disk, so that it can be opened again
/// after whoever held it was dropped.
#[derive(Clone, Default)]
pub struct MemoryDisk {}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses power: of every database a prefix of what was not synced stays, drawn from `seed`.
    /// What was opened before fails from now on.
    pub fn crash(&self, _seed: u64) {
        unimplemented!()
    }

    /// From now on every barrier and every write of a slot or a file fails, until the next crash.
    pub fn fail_writes(&self) {
        unimplemented!()
    }
}

impl Disk for MemoryDisk {
    fn open(&self, _name: &str) -> Result<Arc<dyn Database>, OpenError> {
        unimplemented!()
    }
    fn exists(&self, _name: &str) -> io::Result<bool> {
        unimplemented!()
    }
    fn read_slot(&self, _slot: Slot) -> io::Result<Option<Bytes>> {
        unimplemented!()
    }
    fn write_slot(&self, _slot: Slot, _bytes: &[u8]) -> io::Result<()> {
        unimplemented!()
    }
    fn read_file(&self, _name: &str) -> io::Result<Option<Bytes>> {
        unimplemented!()
    }
    fn write_file(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        unimplemented!()
    }
}
