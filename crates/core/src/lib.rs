//! The pure domain of Quorate.
//!
//! Owns the records, the commands, [`State`] and the one function that changes it, [`apply()`].
//! The same commands in the same order give the same state, byte for byte, on every replica.
//!
//! Invariants: no IO, no async, no clock, no randomness, no hash-ordered iteration. Must not know
//! about Raft, disks, networks or wire formats.

pub mod apply;
pub mod checkpoint;
pub mod codec;
pub mod command;
pub mod event;
pub mod filter;
mod hash;
pub mod history;
pub mod id;
pub mod invariant;
pub mod key;
pub mod name;
pub mod network;
pub mod record;
pub mod rejection;
pub mod reply;
pub mod resources;
pub mod setting;
mod size;
pub mod state;

pub use apply::{Applied, Stamp, apply};
pub use command::{ApplyNetwork, Batch, Command, Operation, Precondition, Test, Transaction};
pub use event::{Change, Event};
pub use filter::Filter;
pub use history::History;
pub use id::{
    ClusterId, Epoch, Generation, LogIndex, MemberId, RestoreEpoch, Revision, StateHash, Term,
};
pub use invariant::Violation;
pub use key::{ConnectionId, Key, KeyRange, Kind, PartitionId};
pub use name::Name;
pub use record::{
    Connection, ConnectionState, Network, NetworkSpec, Parallelism, Partition, PartitionPolicy,
    PartitionState, PlacedProcess, Process, ProcessEdge, Record, Versioned, Worker, WorkerState,
};
pub use rejection::{Reason, Rejection};
pub use reply::{ApplyOutcome, KeyedRecord, OperationReply, Outcome, Reply, TransactionReply};
pub use resources::Resources;
pub use setting::{SETTINGS, SettingDefinition, Settings};
pub use state::{Identity, State};
