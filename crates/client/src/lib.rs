//! The client library of Quorate.
//!
//! [`Client`] calls a cluster through several coordinators, one at a time: it moves on when one
//! does not answer, waits when it is told to, and stops at the deadline.
//!
//! What callers may rely on:
//!
//! - A read is linearizable unless [`Call::local`] or [`Call::at_least`] says otherwise, and never
//!   from before what the client has seen, through whichever coordinator.
//! - A write is applied at most once, however often it must be sent
//!   ([`ClientConfig::exactly_once`]), and one that fails says whether it was applied
//!   ([`Error::outcome`]).
//! - A [`Session`] says that it is lost before anybody else can take what it holds.
//! - A [`Watch`] goes on over lost connections and coordinators, without gap or repeat.
//! - An answer from another cluster, or from before a restore, is an error.
//!
//! Owns endpoints, retries and what was seen. Must not know how coordinators work.

pub mod alerts;
pub mod balance;
pub mod call;
pub mod client;
pub mod cluster;
pub mod config;
pub mod connections;
pub mod error;
mod exactly_once;
pub mod network;
pub mod network_file;
pub mod plan;
mod pool;
pub mod pools;
pub mod recipe;
pub mod records;
pub mod reshape;
pub mod scale;
mod seen;
mod sent;
pub mod session;
pub mod sessions;
pub mod snapshot;
pub mod transaction;
pub mod watch;
pub mod workers;

pub use alerts::FoundAlert;
pub use balance::Balanced;
pub use call::{Call, Response};
pub use client::Client;
pub use cluster::{Member, MemberState, MemberStatus, Members, Removal, Role};
pub use config::{Backoff, ClientConfig, Endpoint, FirstEndpoint};
pub use connections::{FoundConnection, ReportedConnections};
pub use error::{Error, ErrorKind};
pub use network::{AppliedNetwork, DeletedNetwork, FoundNetwork, FoundPartition};
pub use plan::{PlannedNetwork, SupposedWorker};
pub use pools::{AllocationPage, FoundAllocation, FoundPool, FoundTenant};
pub use quorate_proto::{
    Reason, WriteOutcome,
    convert::{Consistency, Header, NetworkNumbers, ResumeToken, Start, WatchEvent, WatchedChange},
};
pub use recipe::{Gone, Leader, LeaderWatch, Leadership, Lock, NotTaken};
pub use records::{Deleted, FoundRecord, IntoKey, IntoRange, KeyPage, Page};
pub use session::{Lost, Session, SessionOptions};
pub use sessions::FoundSession;
pub use snapshot::{SnapshotDownload, SnapshotPart};
pub use transaction::{Previous, TransactionBuilder, entries};
pub use watch::{Position, Watch, WatchOptions};
pub use workers::{FoundWorker, WorkerProfile};
