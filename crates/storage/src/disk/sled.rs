//! A real disk: sled databases, each with a second descriptor for its barriers.
//!
//! sled's `flush` hands its buffers to the page cache and starts the writeback, but never calls
//! fsync. Hence, at open, everything that makes the files reachable is fsynced, and each barrier
//! is a `flush` and then an `fdatasync` on a descriptor of our own. sled reuses segments that it
//! believes to be on disk, so a barrier is also made whenever [`UNSYNCED_BYTES_MAX`] were written,
//! long before a segment of [`SEGMENT_BYTES`] is full.
//!
//! sled panics when it meets damage: every call is fenced, and a panic is an error here.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{Batch, Database, Disk, KeyValue, SLOT_BYTES, Slot, VALUE_BYTES_MAX};
use crate::error::OpenError;

/// Bytes of a segment of sled's file.
const SEGMENT_BYTES: usize = 8 << 20;

/// Bytes of values written between two barriers at most. sled writes a node of up to some 20
/// values again after every 10 changes, so that this makes less than 4 MiB in its file.
const UNSYNCED_BYTES_MAX: usize = 1 << 20;

/// How often sled writes what nobody flushed, and collects garbage: it does neither otherwise.
const BACKGROUND_MS: u64 = 500;

/// How often a lock that another process holds is tried.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// The file with the two slots.
const SLOTS: &str = "durability";

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
    dir: PathBuf,
    options: SledOptions,
    slots: Mutex<Option<File>>,
}

impl SledDisk {
    /// Uses a directory, creating it when it is not there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn new(dir: impl Into<PathBuf>, options: SledOptions) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        sync_with_parent(&dir)?;
        Ok(Self { dir, options, slots: Mutex::new(None) })
    }

    fn config(&self, path: &Path) -> sled::Config {
        sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(self.options.cache_bytes)
            .flush_every_ms(Some(BACKGROUND_MS))
            .mode(sled::Mode::HighThroughput)
    }

    fn open_sled(&self, path: &Path) -> Result<sled::Db, OpenError> {
        let began = Instant::now();
        loop {
            let opened = fence("open", || self.config(path).open());
            match opened {
                Ok(db) => return Ok(db),
                Err(Fault::Sled(error)) if is_lock(&error) => {
                    if began.elapsed() >= self.options.lock_wait {
                        let waited = self.options.lock_wait;
                        return Err(OpenError::Locked { path: path.to_owned(), waited });
                    }
                    thread::sleep(LOCK_RETRY);
                }
                Err(Fault::Sled(sled::Error::Io(error))) if !is_damage(&error) => {
                    return Err(OpenError::Io(error));
                }
                Err(fault) => {
                    return Err(OpenError::Damaged(format!("{}: {fault}", path.display())));
                }
            }
        }
    }

    /// The file with the slots, created with its full size so that no later write changes its
    /// metadata.
    fn slots(&self) -> io::Result<File> {
        let mut slots = self.slots.lock();
        if let Some(file) = &*slots {
            return file.try_clone();
        }
        let path = self.dir.join(SLOTS);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if file.metadata()?.len() == 0 {
            file.write_all_at(&[0; SLOT_BYTES * 2], 0)?;
        }
        file.sync_all()?;
        sync_dir(&self.dir)?;
        *slots = Some(file.try_clone()?);
        Ok(file)
    }
}

impl Disk for SledDisk {
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, OpenError> {
        let path = self.dir.join(name);
        let db = self.open_sled(&path)?;
        let file = OpenOptions::new().read(true).write(true).open(path.join("db"))?;
        let blobs = path.join("blobs");
        file.sync_all()?;
        File::open(path.join("conf"))?.sync_all()?;
        sync_dir(&blobs)?;
        sync_dir(&path)?;
        sync_dir(&self.dir)?;
        Ok(Arc::new(SledDatabase {
            db: RwLock::new(Some(db)),
            file,
            blobs,
            unsynced: AtomicUsize::new(0),
        }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.dir.join(name).join("db").try_exists()
    }

    fn read_slot(&self, slot: Slot) -> io::Result<Option<Bytes>> {
        if !self.dir.join(SLOTS).try_exists()? {
            return Ok(None);
        }
        let file = self.slots()?;
        let (start, len) = (offset(slot), file.metadata()?.len());
        let mut bytes = vec![0; SLOT_BYTES];
        let there = usize::try_from(len.saturating_sub(start)).unwrap_or(0).min(SLOT_BYTES);
        file.read_exact_at(&mut bytes[..there], start)?;
        Ok(bytes.iter().any(|&byte| byte != 0).then(|| bytes.into()))
    }

    fn write_slot(&self, slot: Slot, bytes: &[u8]) -> io::Result<()> {
        let file = self.slots()?;
        file.write_all_at(bytes, offset(slot))?;
        Ok(rustix::fs::fdatasync(&file)?)
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Bytes>> {
        match fs::read(self.dir.join(name)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, new) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_dir(&self.dir)
    }
}

struct SledDatabase {
    /// None: closed.
    db: RwLock<Option<sled::Db>>,
    /// A descriptor of sled's file, for barriers.
    file: File,
    /// Where sled puts what is too large for its file.
    blobs: PathBuf,
    /// Bytes of values since the last barrier.
    unsynced: AtomicUsize,
}

impl SledDatabase {
    fn with<T>(
        &self,
        what: &str,
        use_it: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> io::Result<T> {
        let db = self.db.read();
        let Some(db) = db.as_ref() else {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the database is closed"));
        };
        fence(what, || use_it(db)).map_err(io::Error::from)
    }

    /// Syncs the files in which sled keeps large values: none, as long as all values are small.
    fn sync_blobs(&self) -> io::Result<()> {
        let mut any = false;
        for entry in fs::read_dir(&self.blobs)? {
            any = true;
            match File::open(entry?.path()) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if any { sync_dir(&self.blobs) } else { Ok(()) }
    }
}

impl Database for SledDatabase {
    fn apply(&self, batch: Batch) -> io::Result<()> {
        let mut bytes = 0;
        let mut sled_batch = sled::Batch::default();
        for (key, value) in batch.changes {
            match value {
                Some(value) => {
                    debug_assert!(value.len() <= VALUE_BYTES_MAX);
                    bytes += key.len() + value.len();
                    sled_batch.insert(key, &*value);
                }
                None => sled_batch.remove(key),
            }
        }
        self.with("apply", |db| db.apply_batch(sled_batch))?;
        let unsynced = self.unsynced.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unsynced > UNSYNCED_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let value = self.with("get", |db| db.get(key))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<KeyValue>> {
        self.with("scan", |db| {
            let mut found = Vec::new();
            for item in db.range(from..to).take(limit) {
                let (key, value) = item?;
                found.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
            }
            Ok(found)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with("flush", |db| db.flush())?;
        self.unsynced.store(0, Ordering::Relaxed);
        rustix::fs::fdatasync(&self.file)?;
        self.sync_blobs()
    }

    fn close(&self) {
        let db = self.db.write().take();
        // A database that met damage may panic once more when it is dropped.
        let closed = fence("close", || {
            drop(db);
            Ok(())
        });
        if let Err(fault) = closed {
            tracing::warn!(%fault, "closing a database");
        }
    }
}

impl Drop for SledDatabase {
    fn drop(&mut self) {
        self.close();
    }
}

/// What came of a call of sled.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Sled(sled::Error),
    #[error("sled panicked in {what}: {message}")]
    Panic { what: String, message: String },
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sled(sled::Error::Io(error)) => error,
            fault => io::Error::new(io::ErrorKind::InvalidData, fault),
        }
    }
}

/// Calls sled and turns a panic into an error.
fn fence<T>(what: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault::Sled(error)),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_else(|| "no message".to_owned());
            Err(Fault::Panic { what: what.to_owned(), message })
        }
    }
}

fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// Whether an error of reading means that the file is not as it should be.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

const fn offset(slot: Slot) -> u64 {
    match slot {
        Slot::A => 0,
        Slot::B => SLOT_BYTES as u64,
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn sync_with_parent(dir: &Path) -> io::Result<()> {
    sync_dir(dir)?;
    match dir.canonicalize()?.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}
