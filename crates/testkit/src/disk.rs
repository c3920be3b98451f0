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
use quorate_node::storage::{
    Database, Disk, OpenError,
    disk::{Batch, KeyValue, Slot},
};

/// A view of a disk that can be taken away.
#[derive(Clone)]
pub(crate) struct LifeDisk {
    disk: Arc<dyn Disk>,
    life: Life,
}

/// Whether it has ended.
#[derive(Clone, Default)]
struct Life(Arc<AtomicBool>);

impl Life {
    fn alive(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            Err(io::Error::other("this member has crashed"))
        } else {
            Ok(())
        }
    }
}

impl LifeDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, life: Life::default() }
    }

    /// The life ends: whatever is called from now on fails.
    pub(crate) fn end(&self) {
        self.life.0.store(true, Ordering::SeqCst);
    }

    fn alive(&self) -> io::Result<&dyn Disk> {
        self.life.alive().map(|()| &*self.disk)
    }
}

/// An open database of such a disk.
struct LifeDatabase {
    database: Arc<dyn Database>,
    life: Life,
}

impl LifeDatabase {
    fn alive(&self) -> io::Result<&dyn Database> {
        self.life.alive().map(|()| &*self.database)
    }
}

impl Database for LifeDatabase {
    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.alive()?.apply(batch)
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.alive()?.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<KeyValue>> {
        self.alive()?.scan(from, to, limit)
    }

    fn sync(&self) -> io::Result<()> {
        self.alive()?.sync()
    }

    /// Also after the end, so that the next life can open it.
    fn close(&self) {
        self.database.close();
    }
}

impl Disk for LifeDisk {
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, OpenError> {
        let database = self.alive()?.open(name)?;
        Ok(Arc::new(LifeDatabase { database, life: self.life.clone() }))
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
