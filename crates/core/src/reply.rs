//! What the caller of a command gets back. Part of the replicated history: same on every replica.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Generation, Revision, SessionId},
    key::{AllocationId, Key},
    record::{Record, Versioned},
    rejection::Rejection,
};

/// A record with its key.
pub type KeyedRecord = (Key, Arc<Versioned<Record>>);

/// The outcome of a command, with the revision of the state right after it: the command's own
/// revision if it changed a record, else the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The revision of the state right after the command.
    pub revision: Revision,
    /// What came of it.
    pub result: Result<Reply, Rejection>,
}

/// What an accepted command returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Of a transaction.
    Transaction(TransactionReply),
    /// Of a network that was applied.
    ApplyNetwork {
        /// What was done.
        outcome: ApplyOutcome,
        /// The network's generation now.
        generation: Generation,
    },
    /// Of a network that was deleted.
    DeleteNetwork {
        /// How many partitions went with it.
        partitions: u32,
        /// How many connections went with it.
        connections: u32,
    },
    /// Of a session that was opened.
    OpenSession {
        /// The session.
        id: SessionId,
        /// How long it lives after its last keep-alive, milliseconds.
        ttl_ms: u64,
    },
    /// Of a command that only says that it was done.
    Done,
    /// Of a command about several records.
    Changed {
        /// How many were changed.
        changed: u32,
    },
    /// Of reports on connections.
    ReportConnections {
        /// How many were news.
        changed: u32,
        /// How many were of other epochs, or of a connection that is not there.
        stale: u32,
    },
    /// Of an allocation that was asked for.
    RequestAllocation {
        /// Which it is.
        id: AllocationId,
    },
}

/// What applying a network did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplyOutcome {
    /// The network is new.
    Created,
    /// The network has a new generation.
    Updated,
    /// The spec was the same; nothing changed.
    Unchanged,
}

/// What a transaction returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionReply {
    /// Whether the preconditions held.
    pub succeeded: bool,
    /// One result for each operation that ran, in order.
    pub results: Vec<OperationReply>,
}

/// The result of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationReply {
    /// Of a get.
    Get {
        /// The records, in key order.
        records: Vec<KeyedRecord>,
        /// Whether the limit left records out.
        more: bool,
    },
    /// Of a put.
    Put {
        /// Only when asked for, and only if the key existed.
        previous: Option<Arc<Versioned<Record>>>,
    },
    /// Of a delete.
    Delete {
        /// How many records were deleted.
        deleted: u64,
        /// Only when asked for.
        previous: Vec<KeyedRecord>,
    },
}
