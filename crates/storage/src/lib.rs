//! Raft log, vote, checkpoints and durability of a coordinator, on sled.
//!
//! Owns everything that a coordinator keeps on disk, and the newest applied [`View`]. The order of
//! use is [`Storage::open`], [`Storage::identity`] (or, on a new disk, [`Storage::record_identity`])
//! and [`Storage::start`], which checks what is there and gives openraft its log and its state
//! machine.
//!
//! ```text
//! append --> tail (memory, readable at once) --> flusher --> log database, not synced yet
//!                                                  |
//! apply --> State --> Published    callbacks <-- journal --(full)--> sync, durability record
//!             |
//!             +--> checkpoint --> state database, synced --> journal
//! ```
//!
//! Invariants: nothing is reported durable before the disk said so; what was reported durable is
//! there at the next open, or the open is refused. Must not know about networks, services, clocks.

pub mod backup;
pub mod checkpoint;
pub mod disk;
mod durability;
pub mod error;
mod format;
mod fragment;
pub mod identity;
mod journal;
pub mod log;
pub mod machine;
pub mod metrics;
pub mod raft_types;
pub mod restore;
pub mod runtime;
pub mod storage;
pub mod view;

pub use backup::{Backup, BackupError, BackupPiece, BackupPieces};
pub use checkpoint::{Checkpoint, CheckpointBuilder, CheckpointWriter, Checkpoints};
pub use disk::{Database, Disk, MemoryDisk, SledDisk, SledOptions, check_unused, set_aside};
pub use error::{CheckpointError, Fatal, OpenError};
pub use identity::NodeIdentity;
pub use log::{LogReader, LogStore};
pub use machine::StateMachine;
pub use metrics::{Histogram, Metrics};
pub use raft_types::{
    EncodedRequest, Entry, LogId, MemberAddress, Membership, Outcomes, Proposal, Snapshot,
    SnapshotMeta, StoredMembership, TypeConfig, Vote,
};
pub use restore::{RestoreError, restore};
pub use storage::{Executor, Options, SimulatedBarrier, Started, Storage};
pub use view::{Mark, Published, View};
