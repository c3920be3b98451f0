//! A disk that belongs to one life of a member.
//!
//! Invariant: once that life has ended, nothing that still runs of it reads or writes the disk;
//! the member's next life has the disk for itself.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use quorate_node::storage::{Database, Disk, MemoryDisk, OpenError, disk::Slot};

/// A view of a disk that can be taken away.
#[derive(Clone)]
pub(crate) struct LifeDisk {
    disk: MemoryDisk,
    ended: Arc<AtomicBool>,
}

impl LifeDisk {
    pub(crate) fn new(disk: MemoryDisk) -> Self {
        Self { disk, ended: Arc::default() }
    }

    /// The power fails: of what was not synced, a part that `seed` draws is lost.
    pub(crate) fn crash(&self, seed: u64) {
        self.ended.store(true, Ordering::SeqCst);
        self.disk.crash(seed);
    }

    fn alive(&self) -> io::Result<&MemoryDisk> {
        if self.ended.load(Ordering::SeqCst) {
            Err(io::Error::other("this member has crashed"))
        } else {
            Ok(&self.disk)
        }
    }
}

/// Databases need no check: a crash ends all handles to them.
impl Disk for LifeDisk {
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, OpenError> {
        self.alive()?.open(name)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.alive()?.exists(name)
    }

    fn read_slot(&self, slot: Slot) -> io::Result<Option<Bytes>> {
        self.alive()?.read_slot(slot)
    }

    fn write_slot(&self, slot: Slot, bytes: &[u8]) -> io::Result<()> {
        self.alive()?.write_slot(slot, bytes)
    }

    fn read_journal(&self) -> io::Result<Option<Bytes>> {
        self.alive()?.read_journal()
    }

    fn create_journal(&self, content: &[u8]) -> io::Result<()> {
        self.alive()?.create_journal(content)
    }

    fn write_journal(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.alive()?.write_journal(offset, bytes)
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Bytes>> {
        self.alive()?.read_file(name)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.alive()?.write_file(name, bytes)
    }
}
