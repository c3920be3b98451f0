//! What can be asked of the state. Everything that changes it is a [`Command`].
//!
//! A command is data: logged, replicated, applied. Ids, times and random numbers that it needs
//! are in it. Checks of its own shape (sizes, names) happen in [`crate::apply()`], so that no
//! sender can get around them.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    alert::{AlertId, Raised},
    codec,
    connection::{ConnectionReport, ConnectionStep},
    id::{Epoch, MemberId, Serial, SessionId, Term},
    key::{AllocationId, ConnectionId, Key, KeyRange, LoadId, PartitionId},
    name::Name,
    plan::Basis,
    pool::{Holder, Pool, Preemption},
    record::{Load, NetworkSpec, Owner, Record},
    resources::Resources,
    text,
};

/// A change to the state. At most one revision each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Reads and writes of entries and settings, under preconditions on any records.
    Transaction(Transaction),
    /// Creates or replaces a network with its partitions and their connections.
    ApplyNetwork(ApplyNetwork),
    /// Deletes a network with its partitions and their connections.
    DeleteNetwork {
        /// The network.
        name: Name,
    },
    /// Opens a session. Its id is the revision of the command.
    OpenSession {
        /// How long it lives after its last keep-alive, milliseconds.
        ttl_ms: u64,
        /// What its holder calls itself. May be empty.
        label: String,
    },
    /// Ends a session as its holder asked.
    CloseSession {
        /// The session.
        id: SessionId,
    },
    /// Ends a session whose keep-alives stopped. Only from the leader of the term of its log entry.
    ExpireSession {
        /// The session.
        id: SessionId,
        /// The term in which the proposer leads.
        term: Term,
    },
    /// Registers a worker, or changes what it says of itself.
    RegisterWorker(RegisterWorker),
    /// Asks a worker to give its partitions away, or no longer.
    DrainWorker {
        /// The worker.
        name: Name,
        /// True: drain. False: take partitions again.
        drain: bool,
    },
    /// Removes a worker; what it owns is nobody's from now on.
    LeaveWorker {
        /// The worker.
        name: Name,
        /// The session that must have it. None: only a worker that is down leaves.
        session: Option<SessionId>,
    },
    /// Notes observed loads. What is unknown is left out.
    ReportLoads {
        /// By whose they are.
        loads: Vec<(LoadId, Load)>,
    },
    /// Grants partitions that nobody owns. Grants that do not fit any more are left out.
    AssignPartitions {
        /// The grants, at most one per partition.
        grants: Vec<Grant>,
    },
    /// Gives a partition back.
    ReleasePartition {
        /// The partition.
        id: PartitionId,
        /// The epoch of the grant that ends.
        epoch: Epoch,
    },
    /// Asks the owner of partitions to release them.
    MovePartitions {
        /// The partitions with the worker that is to have each next. None: whoever is chosen.
        moves: Vec<(PartitionId, Option<Name>)>,
        /// What the moves were planned on: when it has changed, the command is rejected. Empty: nothing.
        basis: Basis,
    },
    /// Notes that a coordinator joins, so that its id is not used again.
    AddMember {
        /// Its id.
        id: MemberId,
        /// Where its peers reach it, host:port.
        peer: String,
        /// Where clients reach it, host:port.
        client: String,
    },
    /// Notes that a coordinator is gone for good.
    RetireMember {
        /// Its id.
        id: MemberId,
    },
    /// Notes what the owner of one end saw of connections. What is of other epochs is left out.
    ReportConnections {
        /// The session that owns an end of each.
        session: SessionId,
        /// What it saw.
        reports: Vec<ConnectionReport>,
    },
    /// Does what is due for connections. What is due no more is left out.
    ManageConnections {
        /// What is due, at most once for each.
        steps: Vec<ConnectionStep>,
    },
    /// Lets a connection that is broken or has failed connect again, as if for the first time.
    RetryConnection {
        /// The connection.
        id: ConnectionId,
    },
    /// Creates or replaces a pool. What is granted of it must still be there, and whom networks name.
    PutPool {
        /// Its name.
        name: Name,
        /// What it should be.
        pool: Pool,
    },
    /// Deletes a pool of which nobody has an allocation, and which no network names.
    DeletePool {
        /// Its name.
        name: Name,
    },
    /// Asks for an amount of a pool. It waits until it is granted.
    RequestAllocation(RequestAllocation),
    /// Grants allocations that wait, in this order. What does not fit any more is left out.
    GrantAllocations {
        /// Which.
        ids: Vec<AllocationId>,
    },
    /// Gives an allocation back, or withdraws one that waits. What is required stays.
    ReleaseAllocation {
        /// Which.
        id: AllocationId,
        /// The epoch of its grant. None: it waits.
        epoch: Option<Epoch>,
    },
    /// Asks holders of grants to give them back within the pool's grace. What has ended meanwhile is left out.
    RevokeAllocations {
        /// Which.
        revocations: Vec<Revocation>,
    },
    /// Ends grants. What is in use, or in its grace, or has ended meanwhile, is left out.
    EndAllocations {
        /// Which.
        ends: Vec<GrantEnd>,
    },
    /// Changes how many instances of processes run.
    ScaleProcesses(ScaleProcesses),
    /// Raises alerts and clears others.
    SetAlerts {
        /// What is not as it should be. One that is raised already keeps its time.
        raise: Vec<(AlertId, Raised)>,
        /// What is as it should be again. What is not raised is left out.
        clear: Vec<AlertId>,
    },
    /// Makes what partitions require of pools what their networks' policies and their demand say. What
    /// is so already, and what a pool has no place for, is left out.
    RequireAllocations {
        /// Whose requirements.
        partitions: Vec<PartitionId>,
    },
}

/// Asks for an amount of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestAllocation {
    /// The pool.
    pub pool: Name,
    /// For whom it counts.
    pub tenant: Name,
    /// How much.
    pub amount: Resources,
    /// Who goes first among the same tenant's; higher first.
    pub priority: u32,
    /// With whom it ends.
    pub holder: Holder,
    /// For a partition: its epoch. None: whoever owns it.
    pub epoch: Option<Epoch>,
}

/// Asks a holder for its grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The allocation.
    pub id: AllocationId,
    /// The epoch of its grant.
    pub epoch: Epoch,
    /// Why.
    pub why: Preemption,
}

/// A grant that ends without its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantEnd {
    /// The allocation.
    pub id: AllocationId,
    /// The epoch of its grant.
    pub epoch: Epoch,
    /// Why.
    pub why: EndReason,
}

/// Why a grant ends without its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EndReason {
    /// It was asked back, and the grace is over: it waits again.
    GraceOver,
    /// Nobody used it for the pool's idle time-out: it is gone.
    Idle,
}

/// What is proposed: a command, with what apply must know of its sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// Set when it must be applied at most once, however often it is sent.
    pub call: Option<Call>,
    /// Who asks, and why.
    pub origin: Origin,
}

impl From<Command> for Request {
    /// Without a session: sent twice, it is applied twice.
    fn from(command: Command) -> Self {
        Self { command, call: None, origin: Origin::default() }
    }
}

/// Names a request within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The session.
    pub session: SessionId,
    /// The request's number, never used for another request of the session.
    pub serial: Serial,
    /// Every reply to a serial up to this one has arrived, or is not wanted any more.
    pub acknowledged: Serial,
    /// Tells this request from others: [`digest`] of what the client asked for.
    pub digest: u64,
}

/// A digest of what a client asked for: the XXH3 hash (64 bit) of its encoding.
#[must_use]
pub fn digest<T: Serialize>(asked: &T) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&codec::encode_within(&mut [0; 1024], asked))
}

/// Who changed something, and why: kept with every revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What the client calls itself. May be empty.
    #[serde(with = "crate::text")]
    pub label: Arc<str>,
    /// Why, in a person's words. May be empty.
    #[serde(with = "crate::text")]
    pub reason: Arc<str>,
}

impl Origin {
    /// What a client says of itself and of what it does.
    #[must_use]
    pub fn new(label: &str, reason: &str) -> Self {
        Self { label: text::shared(label), reason: text::shared(reason) }
    }
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterWorker {
    /// Its name.
    pub name: Name,
    /// The session that it holds.
    pub session: SessionId,
    /// Where its peers reach it, host:port.
    pub address: String,
    /// What it can give.
    pub capacity: Resources,
    /// What placement may ask for.
    pub labels: BTreeMap<String, String>,
}

/// A partition for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The partition.
    pub partition: PartitionId,
    /// Its owner to be.
    pub owner: Owner,
}

/// If all preconditions hold, runs `success`, else `failure`; all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// All must hold. An empty list holds.
    pub preconditions: Vec<Precondition>,
    /// Run when they hold.
    pub success: Vec<Operation>,
    /// Run when they do not.
    pub failure: Vec<Operation>,
    /// All must hold, or the transaction is rejected.
    pub guards: Vec<Guard>,
}

/// What the sender of a transaction must still have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The session is alive. Else `SessionExpired`.
    Session(SessionId),
    /// The partition has an owner, with this epoch. Else `StaleEpoch`.
    Partition {
        /// The partition.
        id: PartitionId,
        /// The epoch of the sender's grant.
        epoch: Epoch,
    },
}

/// A condition on the records that a range names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// Which records.
    pub target: KeyRange,
    /// What must hold.
    pub test: Test,
}

/// What must hold of the records that a precondition names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// At least one exists.
    Exists,
    /// None exists.
    Absent,
    /// At least one exists, and every one was changed last at this revision.
    ModifiedAt(crate::id::Revision),
    /// At least one exists, and every one holds these bytes (entries, and settings as text).
    Value(bytes::Bytes),
}

/// One operation of a transaction. Sees the effects of those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Reads records in key order, at most `limit` (0: the limit in the settings).
    Get {
        /// Which records.
        range: KeyRange,
        /// At most so many.
        limit: u32,
    },
    /// Writes one record: an entry or a setting.
    Put {
        /// Where.
        key: Key,
        /// What; its kind is the key's.
        record: Record,
        /// Return the record as it was before.
        return_previous: bool,
    },
    /// Deletes records: entries or settings.
    Delete {
        /// Which records.
        range: KeyRange,
        /// Return the records as they were before.
        return_previous: bool,
    },
}

/// Creates or replaces a network. The plan (which process is in which partition) was made by the
/// sender; apply derives everything else from it: the partitions' demand and the connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyNetwork {
    /// The network.
    pub name: Name,
    /// What it should be. Apply brings it into canonical order.
    pub spec: NetworkSpec,
    /// The plan: for each process of the canonical (sorted by id) spec, its partition's number.
    /// Every number below `spec.policy.partitions` occurs.
    pub assignment: Vec<u32>,
    /// What the plan was based on: the `modified` of the network's record, or None when the
    /// network must not exist. Otherwise the command is rejected as a stale plan.
    pub basis: Option<crate::id::Revision>,
}

/// Changes how many instances of a network's processes run in parallel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleProcesses {
    /// The network.
    pub network: Name,
    /// The processes, each at most once.
    pub changes: Vec<ScaledProcess>,
    /// What the changes were planned on: when it has changed, the command is rejected. Empty: nothing.
    pub basis: Basis,
}

/// How many instances of a process there are to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaledProcess {
    /// The number of its partition.
    pub partition: u32,
    /// The process.
    pub process: Name,
    /// How many, within the bounds of the process.
    pub parallelism: u32,
}

/// What one log entry holds: requests that were proposed together, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's wall clock when it proposed this, in milliseconds since 1970.
    pub time_ms: u64,
    /// The requests.
    pub requests: Vec<Request>,
}
