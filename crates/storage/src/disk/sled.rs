//! A real disk: sled databases, each with a second descriptor for its barriers.
//!
//! sled's `flush` hands its buffers to the page cache and starts the writeback, but never calls
//! fsync. Hence, at open, everything that makes the files reachable is fsynced, and each barrier
//! is a `flush` and then an `fdatasync` on a descriptor of our own. sled reuses segments that it
//! believes to be on disk, so a barrier is also made whenever [`UNSYNCED_BYTES_MAX`] were written,
//! long before a segment of [`SEGMENT_BYTES`] is full.
//!
//! sled panics when it meets damage: every call is fenced (see `fence`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
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
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    Batch, Database, Disk, KeyValue, SLOT_BYTES, Slot, VALUE_BYTES_MAX,
    fence::{self, Fault, fence},
};
use crate::error::OpenError;

/// Bytes of a segment of sled's file.
const SEGMENT_BYTES: usize = 8 << 20;

/// Bytes of values written between two barriers at most. sled writes a node of up to some 20
/// values again after every 10 changes, so that this makes less than 4 MiB in its file.
const UNSYNCED_BYTES_MAX: usize = 1 << 20;

/// How often sled writes what nobody flushed, collects garbage for half of that time, and then
/// fsyncs: it does none of these otherwise. Short, so that it moves little between two fsyncs.
const BACKGROUND_MS: u64 = 100;

/// How the names of files end that sled has not finished writing.
const UNFINISHED: &str = ".generating";

/// The tree of the small keys.
const SMALL: &str = "small";

/// How often a lock that another process holds is tried.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// The file with the two slots.
const SLOTS: &str = "durability";

/// The file with the journal.
const JOURNAL: &str = "journal";

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
    slots: Mutex<Option<Arc<File>>>,
    journal: Mutex<Option<Arc<File>>>,
}

impl SledDisk {
    /// Uses a directory, creating it when it is not there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn new(dir: impl Into<PathBuf>, options: SledOptions) -> io::Result<Self> {
        fence::keep_quiet();
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        sync_with_parent(&dir)?;
        Ok(Self { dir, options, slots: Mutex::default(), journal: Mutex::default() })
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
            remove_unfinished(path)?;
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
    fn slots(&self) -> io::Result<Arc<File>> {
        let mut slots = self.slots.lock();
        if let Some(file) = &*slots {
            return Ok(file.clone());
        }
        let path = self.dir.join(SLOTS);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if file.metadata()?.len() == 0 {
            file.write_all_at(&[0; SLOT_BYTES * 2], 0)?;
        }
        file.sync_all()?;
        sync_dir(&self.dir)?;
        Ok(slots.insert(Arc::new(file)).clone())
    }

    /// The file with the journal, created with its full size already.
    fn journal(&self) -> io::Result<Arc<File>> {
        let mut journal = self.journal.lock();
        if let Some(file) = &*journal {
            return Ok(file.clone());
        }
        let file = OpenOptions::new().write(true).open(self.dir.join(JOURNAL))?;
        Ok(journal.insert(Arc::new(file)).clone())
    }
}

impl Disk for SledDisk {
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, OpenError> {
        let path = self.dir.join(name);
        let db = self.open_sled(&path)?;
        let small = fence("open", || db.open_tree(SMALL));
        let small =
            small.map_err(|fault| OpenError::Damaged(format!("{}: {fault}", path.display())))?;
        let file = OpenOptions::new().read(true).write(true).open(path.join("db"))?;
        let blobs = path.join("blobs");
        file.sync_all()?;
        File::open(path.join("conf"))?.sync_all()?;
        sync_dir(&blobs)?;
        sync_dir(&path)?;
        sync_dir(&self.dir)?;
        Ok(Arc::new(SledDatabase {
            trees: RwLock::new(Some(Trees { large: db, small })),
            file,
            blobs,
            unsynced: AtomicUsize::new(0),
            typical: AtomicUsize::new(0),
        }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.dir.join(name).join("db").try_exists()
    }

    /// Synced first, as the journal.
    fn read_slot(&self, slot: Slot) -> io::Result<Option<Bytes>> {
        let file = match File::open(self.dir.join(SLOTS)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.sync_all()?;
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

    /// Synced first: what a killed process wrote and did not sync must not count and then be lost.
    fn read_journal(&self) -> io::Result<Option<Bytes>> {
        match File::open(self.dir.join(JOURNAL)) {
            Ok(file) => file.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        self.read_file(JOURNAL)
    }

    /// Written in place and not renamed into place: it counts only once a slot was written.
    fn create_journal(&self, content: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.dir.join(JOURNAL))?;
        file.write_all(content)?;
        file.sync_all()?;
        sync_dir(&self.dir)
    }

    fn write_journal(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let file = self.journal()?;
        file.write_all_at(bytes, offset as u64)?;
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

/// sled writes a whole node again after every few changes to it, so what is small and changes often
/// must not be a neighbour of what is large.
struct Trees {
    large: sled::Db,
    /// Keys that begin with a capital letter.
    small: sled::Tree,
}

impl Trees {
    fn of(&self, key: &[u8]) -> &sled::Tree {
        if is_small(key) { &self.small } else { &self.large }
    }
}

fn is_small(key: &[u8]) -> bool {
    key.first().is_some_and(u8::is_ascii_uppercase)
}

struct SledDatabase {
    /// None: closed.
    trees: RwLock<Option<Trees>>,
    /// A descriptor of sled's file, for barriers.
    file: File,
    /// Where sled puts what is too large for its file.
    blobs: PathBuf,
    /// Bytes given to sled since the last barrier, about.
    unsynced: AtomicUsize,
    /// Bytes of a value, about: what a deletion costs, since its neighbours are written again.
    typical: AtomicUsize,
}

impl SledDatabase {
    fn with<T>(&self, what: &str, use_it: impl FnOnce(&Trees) -> sled::Result<T>) -> io::Result<T> {
        let trees = self.trees.read();
        let Some(trees) = trees.as_ref() else {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the database is closed"));
        };
        fence(what, || use_it(trees)).map_err(io::Error::from)
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
        for (key, value) in &batch.changes {
            let typical = self.typical.load(Ordering::Relaxed);
            bytes += key.len();
            match value {
                Some(value) => {
                    debug_assert!(value.len() <= VALUE_BYTES_MAX);
                    bytes += value.len();
                    self.typical.store((typical * 7 + value.len()) / 8, Ordering::Relaxed);
                }
                None => bytes += typical,
            }
        }
        let (small, large): (Vec<Change>, Vec<Change>) =
            batch.changes.into_iter().partition(|(key, _)| is_small(key));
        self.with("apply", |trees| {
            apply(&trees.small, small)?;
            apply(&trees.large, large)
        })?;
        let unsynced = self.unsynced.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unsynced > UNSYNCED_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let value = self.with("get", |trees| trees.of(key).get(key))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<KeyValue>> {
        self.with("scan", |trees| {
            let mut found = Vec::new();
            for item in trees.of(from).range(from..to).take(limit) {
                let (key, value) = item?;
                found.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
            }
            Ok(found)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with("flush", |trees| trees.large.flush())?;
        self.unsynced.store(0, Ordering::Relaxed);
        rustix::fs::fdatasync(&self.file)?;
        self.sync_blobs()
    }

    fn close(&self) {
        let trees = self.trees.write().take();
        // A database that met damage, or whose disk does not sync, panics when it is dropped.
        let closed = fence("close", || {
            drop(trees);
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

/// A change of a batch.
type Change = (Vec<u8>, Option<Bytes>);

/// Applies changes, all or nothing. sled writes a batch to its file at once, in two parts and with
/// a wake-up of another thread for each; a single change, which needs no batch, waits for a flush.
fn apply(tree: &sled::Tree, mut changes: Vec<Change>) -> sled::Result<()> {
    if changes.len() > 1 {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, &*value),
                None => batch.remove(key),
            }
        }
        return tree.apply_batch(batch);
    }
    match changes.pop() {
        Some((key, Some(value))) => tree.insert(key, &*value).map(drop),
        Some((key, None)) => tree.remove(key).map(drop),
        None => Ok(()),
    }
}

/// Removes what sled was writing at its last open when the disk was full or the process died. sled
/// takes such a file for its newest snapshot and calls the database damaged; what counts is only
/// what it has renamed into place, and without any it reads its whole file.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let file = match File::open(path.join("db")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // Whoever has the database open may be writing one just now.
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn sync_with_parent(dir: &Path) -> io::Result<()> {
    sync_dir(dir)?;
    match dir.canonicalize()?.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}
