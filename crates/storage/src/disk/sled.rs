//! A real disk: sled databases, each with a second descriptor for its barriers.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Database, Disk, Slot};
use crate::error::OpenError;

/// How sled is used.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// Bytes of cache per database.
    pub cache_bytes: u64,
    /// How long to wait for another process to let go of the lock.
    pub lock_wait: Duration,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, lock_wait: Duration::from_secs(5) }
    }
}

/// A directory with sled databases.
#[derive(Debug)]
pub struct SledDisk {
    _dir: PathBuf,
    _options: SledOptions,
}

impl SledDisk {
    /// Uses a directory, creating it when it is not there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn new(dir: impl Into<PathBuf>, options: SledOptions) -> io::Result<Self> {
        Ok(Self { _dir: dir.into(), _options: options })
    }
}

impl Disk for SledDisk {
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
