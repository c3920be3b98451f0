//! The pure domain of Quorate.
//!
//! Owns the records, the commands, [`State`] and the one function that changes it, [`apply()`].
//! The same commands in the same order give the same state, byte for byte, on every replica.
//!
//! Invariants: no IO, no async, no clock, no randomness, no hash-ordered iteration. Must not know
//! about Raft, disks, networks or wire formats.
//!
//! ```
//! use quorate_core::{
//!     ClusterId, Command, Identity, Key, Operation, Record, RestoreEpoch, Revision, Stamp, State,
//!     Transaction, apply,
//! };
//!
//! let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) };
//! let mut state = State::new(identity);
//! let before = state.clone(); // cheap, and never changes
//!
//! let put = Operation::Put {
//!     key: Key::entry("colour"),
//!     record: Record::Entry("blue".into()),
//!     return_previous: false,
//! };
//! let command = Command::Transaction(Transaction { success: vec![put], ..Default::default() });
//! let applied = apply(&mut state, Stamp::at(1_000), &command);
//!
//! assert_eq!(applied.outcome.revision, Revision(1));
//! assert!(applied.event.is_some_and(|event| event.changes[0].created()));
//! assert!(state.get(&Key::entry("colour")).is_some());
//! assert!(before.is_empty());
//! ```

mod adjacency;
pub mod alert;
pub mod apply;
pub mod checkpoint;
pub mod codec;
pub mod command;
pub mod connection;
pub mod constraint;
pub mod event;
pub mod filter;
mod hash;
mod held;
pub mod history;
pub mod id;
pub mod invariant;
pub mod key;
pub mod label;
pub mod mutation;
pub mod name;
pub mod network;
pub mod notice;
pub mod plan;
pub mod pool;
pub mod record;
pub mod rejection;
pub mod reply;
mod requests;
pub mod requirement;
pub mod resources;
pub mod restore;
pub mod setting;
mod size;
pub mod state;
mod sums;
mod text;

pub use alert::{Alert, AlertId, Raised, Severity};
pub use apply::{Applied, Stamp, apply, apply_request};
pub use command::{
    ApplyNetwork, Batch, Call, Command, EndReason, Grant, GrantEnd, Guard, Operation, Origin,
    Precondition, RegisterWorker, Request, RequestAllocation, Revocation, ScaleProcesses,
    ScaledProcess, Test, Transaction, digest,
};
pub use connection::{
    CONNECTION_ERROR_BYTES_MAX, Connection, ConnectionEnd, ConnectionPolicy, ConnectionReport,
    ConnectionState, ConnectionStatus, ConnectionStep, Due, Seen,
};
pub use event::{Change, Event};
pub use filter::Filter;
pub use history::History;
pub use id::{
    ClusterId, Epoch, Generation, LogIndex, MemberId, RestoreEpoch, Revision, Serial, SessionId,
    StateHash, Term,
};
pub use invariant::Violation;
pub use key::{AllocationId, ConnectionId, Key, KeyRange, Kind, LoadId, PartitionId};
pub use name::Name;
pub use notice::{Notice, NoticeKind};
pub use pool::{
    Allocation, AllocationGrant, AllocationState, Holder, Pool, PoolPolicy, Preemption, Tenant,
};
pub use record::{
    Entry, KeptReply, Load, Member, MemberState, Network, NetworkSpec, Owner, Parallelism,
    Partition, PartitionPolicy, PartitionState, PlacedProcess, Process, ProcessEdge, Record,
    Session, Versioned, Window, Worker, WorkerState,
};
pub use rejection::{Reason, Rejection};
pub use reply::{ApplyOutcome, KeyedRecord, OperationReply, Outcome, Reply, TransactionReply};
pub use requirement::Requirement;
pub use resources::Resources;
pub use setting::{SETTINGS, SettingDefinition, Settings};
pub use state::{Identity, State};
pub use sums::{PoolUse, Sums, TenantUse};
