//! Opens a disk, checks it, and gives openraft its log and its state machine.

use std::{io, sync::Arc};

use quorate_core::Identity;
use tokio::sync::watch;

use crate::{
    checkpoint::Checkpoints,
    disk::Disk,
    error::{Fatal, OpenError},
    identity::NodeIdentity,
    log::LogStore,
    machine::StateMachine,
    metrics::Metrics,
    view::Published,
};

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
    /// Bytes of encoded records at which a checkpoint block is split.
    pub checkpoint_block_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tail_bytes_max: 64 << 20,
            payload_bytes_max: 1 << 20,
            checkpoint_block_bytes: 64 << 10,
        }
    }
}

/// An open disk. A clone is another handle of the same.
#[derive(Clone)]
pub struct Storage {}

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
    /// Opens a disk and reads the identity recorded on it. Needs a tokio runtime only with
    /// [`Executor::Tasks`]. Blocks.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        _disk: Arc<dyn Disk>,
        _options: Options,
        _executor: Executor,
    ) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// The identity recorded; None: a new disk.
    #[must_use]
    pub fn identity(&self) -> Option<NodeIdentity> {
        unimplemented!()
    }

    /// Whether it ever held a vote, a log entry or a checkpoint.
    #[must_use]
    pub fn has_data(&self) -> bool {
        unimplemented!()
    }

    /// Records the identity. Durable when it returns. Blocks.
    ///
    /// # Errors
    /// Of the disk.
    pub fn record_identity(&self, _identity: &NodeIdentity) -> io::Result<()> {
        unimplemented!()
    }

    /// Checks log and checkpoint against what was recorded as durable, loads them, and gives
    /// openraft what it needs. Once per open. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]: refuses, and says what is missing.
    pub fn start(&self, _identity: Identity) -> Result<Started, OpenError> {
        unimplemented!()
    }

    /// Becomes Some once, when this coordinator must stop.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        unimplemented!()
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        unimplemented!()
    }

    /// Stops the flusher after what was appended before is durable, and lets go of the databases.
    /// Call it after openraft was shut down. Idempotent.
    pub async fn close(&self) {
        unimplemented!()
    }
}
