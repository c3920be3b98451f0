//! Opens a disk, checks it, and gives openraft its log and its state machine.
//!
//! ```text
//! open:  durability record, databases, identity       refuses what is locked, damaged or foreign
//! start: checkpoint, log                              refuses what is missing or damaged
//! ```

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use quorate_core::{Identity, State};
use tokio::sync::watch;

use crate::{
    checkpoint::{Checkpoints, Generations},
    disk::{Database, Disk},
    durability::Keeper,
    error::{CheckpointError, Fatal, OpenError},
    format::{Position, seal, unseal},
    identity::NodeIdentity,
    journal::JOURNAL_BYTES,
    log::{Flusher, LogReader, LogStore, Recovery, Shared, holds_log},
    machine::StateMachine,
    metrics::Metrics,
    raft_types::SnapshotMeta,
    view::Published,
};

const LOG: &str = "log";
const STATE: &str = "state";
const IDENTITY: &str = "identity";
const REMOVAL: &str = "removal";

/// Where blocking work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// Barriers on a thread of their own, checkpoints on tokio's blocking threads.
    Threads,
    /// All in tasks of the current tokio runtime, without a thread: for simulation, with a
    /// [`crate::MemoryDisk`].
    Tasks,
}

/// Sizes. The defaults are what was measured with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of log entries kept in memory at most; entries that are not durable yet stay whatever
    /// this says.
    pub tail_bytes_max: usize,
    /// Bytes of entries in one replication payload, unless a single entry is larger.
    pub payload_bytes_max: usize,
    /// Bytes of encoded records at which a checkpoint block is split. A quarter more should fit into
    /// one value of the database.
    pub checkpoint_block_bytes: usize,
    /// Bytes of the journal of a new disk; an old one keeps its own. 4 KiB to 16 MiB.
    pub journal_bytes: usize,
    /// How long a barrier takes with [`Executor::Tasks`].
    pub simulated_barrier: SimulatedBarrier,
}

/// How long a barrier takes, in the runtime's time. A clone is of the same disk, which can become
/// slow, and quick again, while it is used.
#[derive(Debug, Clone, Default)]
pub struct SimulatedBarrier {
    micros: Arc<AtomicU64>,
}

impl SimulatedBarrier {
    /// From now on barriers take so long; one that is under way takes what it was to take.
    pub fn set(&self, takes: Duration) {
        let micros = u64::try_from(takes.as_micros()).unwrap_or(u64::MAX);
        self.micros.store(micros, Ordering::Relaxed);
    }

    /// How long the next one takes.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tail_bytes_max: 64 << 20,
            payload_bytes_max: 1 << 20,
            checkpoint_block_bytes: 48 << 10,
            journal_bytes: JOURNAL_BYTES,
            simulated_barrier: SimulatedBarrier::default(),
        }
    }
}

/// Runs blocking work where the executor says.
pub(crate) async fn run<T: Send + 'static>(
    executor: Executor,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    match executor {
        Executor::Tasks => Ok(work()),
        Executor::Threads => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
    }
}

/// An open disk. A clone is another handle of the same.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    log: Arc<dyn Database>,
    state: Arc<dyn Database>,
    options: Options,
    executor: Executor,
    metrics: Arc<Metrics>,
    fatal: watch::Sender<Option<Fatal>>,
    has_data: bool,
    identity: Mutex<Option<NodeIdentity>>,
    removal: Option<String>,
    phase: Mutex<Phase>,
}

/// How far it is.
enum Phase {
    Open(Box<Keeper>),
    Started { shared: Arc<Shared>, flusher: Running },
    Closed,
}

enum Running {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

/// What [`Storage::start`] gives.
pub struct Started {
    /// For openraft.
    pub log: LogStore,
    /// For openraft.
    pub machine: StateMachine,
    /// The newest applied state.
    pub published: Arc<Published>,
    /// Sends and receives checkpoints.
    pub checkpoints: Checkpoints,
}

impl Storage {
    /// Opens a disk and reads the identity recorded on it. Blocks.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        executor: Executor,
    ) -> Result<Self, OpenError> {
        check_parts(&disk)?;
        // The lock first: whoever still holds it may write to everything that is read after.
        let (log, state) = (disk.open(LOG)?, disk.open(STATE)?);
        let identity = read_identity(&*disk)?;
        let removal = read_removal(&*disk)?;
        let mut keeper = Keeper::open(disk.clone())?;
        if !keeper.found && identity.is_some() {
            return Err(OpenError::Damaged("the durability record is missing".into()));
        }
        if !keeper.found {
            if holds_log(&*log)? || !state.scan(b"a", b"z", 1)?.is_empty() {
                return Err(OpenError::Damaged("the durability record is missing".into()));
            }
            log.sync()?;
            state.sync()?;
            keeper.create(options.journal_bytes)?;
        }
        let record = &keeper.record;
        let has_data =
            record.vote.is_some() || record.last.is_some() || record.checkpoint.is_some();
        let inner = Inner {
            disk,
            log,
            state,
            options,
            executor,
            metrics: Arc::default(),
            fatal: watch::Sender::new(None),
            has_data,
            identity: Mutex::new(identity),
            removal,
            phase: Mutex::new(Phase::Open(Box::new(keeper))),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The identity recorded; None: a new disk.
    #[must_use]
    pub fn identity(&self) -> Option<NodeIdentity> {
        self.inner.identity.lock().clone()
    }

    /// Whether it held a vote, a log entry or a checkpoint when it was opened.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.inner.has_data
    }

    /// Records the identity. Durable when it returns. Blocks.
    ///
    /// # Errors
    /// Of the disk.
    pub fn record_identity(&self, identity: &NodeIdentity) -> io::Result<()> {
        self.inner.disk.write_file(IDENTITY, &seal(identity))?;
        *self.inner.identity.lock() = Some(identity.clone());
        Ok(())
    }

    /// Why this coordinator must not take part any more, when that was recorded.
    #[must_use]
    pub fn removal(&self) -> Option<String> {
        self.inner.removal.clone()
    }

    /// Records that this coordinator was removed from its cluster, and who says so. Durable when
    /// it returns. Blocks.
    ///
    /// # Errors
    /// Of the disk.
    pub fn record_removal(&self, message: &str) -> io::Result<()> {
        self.inner.disk.write_file(REMOVAL, &seal(&message.to_owned()))
    }

    /// Checks log and checkpoint against what was recorded as durable, loads them, and gives
    /// openraft what it needs. Once per open; within a tokio runtime with [`Executor::Tasks`].
    /// Blocks.
    ///
    /// # Errors
    /// [`OpenError`]: refuses, and says what is missing.
    pub fn start(&self, identity: Identity) -> Result<Started, OpenError> {
        let mut phase = self.inner.phase.lock();
        let Phase::Open(mut keeper) = std::mem::replace(&mut *phase, Phase::Closed) else {
            return Err(OpenError::Io(io::Error::other("started before, or closed")));
        };
        let Inner { log, state, options, executor, metrics, fatal, .. } = &*self.inner;
        let pointer = keeper.record.checkpoint;
        let generations = Generations::load(state.clone(), metrics.clone(), pointer)?;
        let (initial, meta) = initial_state(&generations, identity)?;
        let covered = meta.last_log_id.map(Position::from);
        let recovery = Recovery::read(&**log, &mut keeper, covered, options.tail_bytes_max)?;
        // From here on nothing is refused.
        let view = recovery.apply(&**log, &mut keeper)?;
        generations.tidy()?;
        let shared = Arc::new(Shared::new(view, log.clone(), metrics.clone(), fatal.clone()));
        let flusher = Flusher::new(shared.clone(), *keeper, options.tail_bytes_max);
        let flusher = match executor {
            Executor::Threads => {
                let named = thread::Builder::new().name("quorate-log".into());
                Running::Thread(named.spawn(|| flusher.run())?)
            }
            Executor::Tasks => {
                Running::Task(tokio::spawn(flusher.run_task(options.simulated_barrier.clone())))
            }
        };
        *phase = Phase::Started { shared: shared.clone(), flusher };
        let checkpoints = Checkpoints::new(
            Arc::new(generations),
            shared.clone(),
            metrics.clone(),
            *executor,
            options.checkpoint_block_bytes,
        );
        let reader = LogReader::new(shared.clone(), *executor, options.payload_bytes_max);
        let machine =
            StateMachine::new(initial, meta, checkpoints.clone(), shared, metrics.clone());
        let published = machine.published().clone();
        Ok(Started { log: LogStore::new(reader), machine, published, checkpoints })
    }

    /// Becomes Some once, when this coordinator must stop.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.inner.fatal.subscribe()
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.inner.metrics.clone()
    }

    /// Stops the flusher after what was appended before is durable, and lets go of the databases.
    /// Call it after openraft was shut down. Idempotent.
    pub async fn close(&self) {
        let phase = std::mem::replace(&mut *self.inner.phase.lock(), Phase::Closed);
        if let Phase::Started { shared, flusher } = phase {
            shared.close();
            let ended = match flusher {
                Running::Thread(thread) => {
                    let joined = tokio::task::spawn_blocking(|| thread.join().is_ok()).await;
                    joined.unwrap_or(false)
                }
                Running::Task(task) => task.await.is_ok(),
            };
            if !ended {
                tracing::error!("the flusher of the log panicked");
            }
        }
        let inner = self.inner.clone();
        let closed = run(self.inner.executor, move || {
            inner.log.close();
            inner.state.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "closing the databases");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Phase::Started { shared, .. } = self.phase.get_mut() {
            shared.close();
        }
    }
}

/// Refuses a disk of which a database is gone, before opening creates it.
fn check_parts(disk: &Arc<dyn Disk>) -> Result<(), OpenError> {
    let missing = || -> io::Result<Option<&str>> {
        for name in [LOG, STATE] {
            if !disk.exists(name)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    };
    if missing()?.is_none() {
        return Ok(());
    }
    let found = Keeper::open(disk.clone())?.found;
    // Looked for again: another process may be creating all of it.
    match missing()? {
        Some(name) if found => Err(OpenError::Damaged(format!("the {name} database is missing"))),
        Some(_) if read_identity(&**disk)?.is_some() => {
            Err(OpenError::Damaged("the durability record is missing".into()))
        }
        _ => Ok(()),
    }
}

fn read_identity(disk: &dyn Disk) -> Result<Option<NodeIdentity>, OpenError> {
    let Some(bytes) = disk.read_file(IDENTITY)? else { return Ok(None) };
    let identity = unseal(&bytes)
        .map_err(|error| OpenError::Damaged(format!("the identity cannot be read: {error}")))?;
    Ok(Some(identity))
}

fn read_removal(disk: &dyn Disk) -> Result<Option<String>, OpenError> {
    let Some(bytes) = disk.read_file(REMOVAL)? else { return Ok(None) };
    // Whatever it says, it is there.
    Ok(Some(unseal(&bytes).unwrap_or_else(|_| "a note of it cannot be read".to_owned())))
}

/// The state of the current checkpoint, or an empty one.
fn initial_state(
    generations: &Generations,
    identity: Identity,
) -> Result<(State, SnapshotMeta), OpenError> {
    let Some(current) = generations.current() else {
        return Ok((State::new(identity), SnapshotMeta::default()));
    };
    let found = current.manifest.summary.identity;
    if found != identity {
        return Err(OpenError::WrongIdentity(format!(
            "cluster {} restored {} times, expected {} restored {} times",
            found.cluster_id, found.restore_epoch, identity.cluster_id, identity.restore_epoch
        )));
    }
    let state = current.state.get().cloned();
    let state = state.ok_or_else(|| OpenError::Damaged("the checkpoint has no state".into()))?;
    Ok((state, current.manifest.meta()?))
}

impl From<CheckpointError> for OpenError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Damaged(message) => Self::Damaged(message),
            CheckpointError::Io(error) => Self::Io(error),
        }
    }
}
