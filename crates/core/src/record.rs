//! What the store holds: one [`Record`] under each [`Key`](crate::key::Key).
//!
//! Owns the shapes. The rules that span records are in [`crate::invariant`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    alert::Alert,
    connection::{Connection, ConnectionPolicy, ConnectionStatus},
    id::{Epoch, Generation, Revision, Serial, SessionId},
    key::Kind,
    name::Name,
    pool::{Allocation, Pool},
    reply::Outcome,
    resources::Resources,
};

/// A value with its revisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned<T> {
    /// The revision that created it.
    pub created: Revision,
    /// The revision that changed it last.
    pub modified: Revision,
    /// How many times it was written since it was created: 1 after creation.
    pub version: u64,
    /// What it holds.
    pub value: T,
}

/// What one key holds. Large kinds are shared, so that a clone is cheap. New kinds go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A user's own value.
    Entry(Entry),
    /// A worker.
    Worker(Arc<Worker>),
    /// A network.
    Network(Arc<Network>),
    /// A partition.
    Partition(Arc<Partition>),
    /// A connection.
    Connection(Arc<Connection>),
    /// A setting's value as text; it was checked against its definition.
    Setting(Arc<str>),
    /// A session.
    Session(Session),
    /// An observed load.
    Load(Load),
    /// A coordinator that was added or removed.
    Member(Arc<Member>),
    /// Internal: the window of a session.
    Window(Window),
    /// Internal: a reply kept for a session.
    Reply(Arc<KeptReply>),
    /// How a connection is doing.
    ConnectionStatus(Arc<ConnectionStatus>),
    /// A pool of resources.
    Pool(Arc<Pool>),
    /// An amount of a pool that was asked for.
    Allocation(Arc<Allocation>),
    /// Something that is not as it should be.
    Alert(Arc<Alert>),
}

impl Record {
    /// The kind of record.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Entry(_) => Kind::Entry,
            Self::Worker(_) => Kind::Worker,
            Self::Network(_) => Kind::Network,
            Self::Partition(_) => Kind::Partition,
            Self::Connection(_) => Kind::Connection,
            Self::Setting(_) => Kind::Setting,
            Self::Session(_) => Kind::Session,
            Self::Load(_) => Kind::Load,
            Self::Member(_) => Kind::Member,
            Self::Window(_) => Kind::Window,
            Self::Reply(_) => Kind::Reply,
            Self::ConnectionStatus(_) => Kind::ConnectionStatus,
            Self::Pool(_) => Kind::Pool,
            Self::Allocation(_) => Kind::Allocation,
            Self::Alert(_) => Kind::Alert,
        }
    }

    /// The session with which the record, or its ownership, ends.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Entry(entry) => entry.session,
            Self::Worker(worker) => worker.session,
            Self::Partition(partition) => partition.owner.as_ref().map(|owner| owner.session),
            Self::Allocation(allocation) => allocation.session(),
            _ => None,
        }
    }
}

/// A user's own value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The user's bytes.
    pub value: Bytes,
    /// The session with which the entry ends. None: it stays until it is deleted.
    pub session: Option<SessionId>,
}

impl<T: Into<Bytes>> From<T> for Entry {
    /// An entry that is bound to no session.
    fn from(value: T) -> Self {
        Self { value: value.into(), session: None }
    }
}

/// A client that shows that it is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// How long it lives after its last keep-alive, milliseconds.
    pub ttl_ms: u64,
    /// What its holder calls itself. May be empty.
    pub label: Arc<str>,
}

/// An observed load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Parts per million of what it could take.
    pub load_ppm: u64,
}

/// A coordinator that was added or removed at run time. Keeps its id from being used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where its peers reach it, host:port. Empty for an initial member that was removed.
    pub peer: String,
    /// Where clients reach it, host:port. Empty for an initial member that was removed.
    pub client: String,
    /// Whether it may be part of the cluster.
    pub state: MemberState,
}

/// Whether a coordinator may be part of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// Added.
    Active,
    /// Removed; its id is never used again.
    Removed,
}

/// How far the holder of a session has the replies to its requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// It has the replies to all serials up to this one; they are forgotten.
    pub acknowledged: Serial,
    /// What the replies kept count for against `session_reply_bytes_max`.
    pub bytes: u64,
}

/// The first reply to a request of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReply {
    /// The digest of the request.
    pub digest: u64,
    /// What it came to.
    pub outcome: Outcome,
}

/// A process that can own partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Where its peers reach it, host:port.
    pub address: String,
    /// What it can give.
    pub capacity: Resources,
    /// What placement may ask for, such as zone=a.
    pub labels: BTreeMap<String, String>,
    /// Whether partitions may be placed on it.
    pub state: WorkerState,
    /// The session that registered it. None: it is down.
    pub session: Option<SessionId>,
}

/// Whether partitions may be placed on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerState {
    /// Registered, not ready yet.
    Joining,
    /// Takes partitions.
    Active,
    /// Gives its partitions away and takes none.
    Draining,
    /// Lost or gone.
    Down,
}

/// A network of processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// What the user described, in canonical order.
    pub spec: NetworkSpec,
    /// Counts the changes of the spec, from 1.
    pub generation: Generation,
}

/// What a user describes.
///
/// Canonical: processes sorted by id, connections sorted by (from, to). What is valid is in
/// [`crate::network`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The processes.
    pub processes: Vec<Process>,
    /// The directed connections between them.
    pub connections: Vec<ProcessEdge>,
    /// How it is partitioned.
    pub policy: PartitionPolicy,
    /// By which rules its partitions are connected; what it does not say, the settings do.
    pub connection: ConnectionPolicy,
}

/// How a network is partitioned. Chosen: the first two fields were filled in when the network was
/// applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPolicy {
    /// How many partitions, 1 to the number of processes.
    pub partitions: u32,
    /// The strategy's name.
    pub strategy: Name,
    /// How large the partitions are to be in proportion to each other, by number; each at least 1.
    /// Empty: all alike.
    pub shares: Vec<u32>,
    /// The pool of which each partition requires what it needs. None: of none.
    pub pool: Option<Name>,
    /// For which of the pool's tenants that counts. Given exactly when the pool is.
    pub tenant: Option<Name>,
}

impl PartitionPolicy {
    /// The strategy's name that leaves the choice to the coordinator. Never in a stored network.
    pub const CHOOSE: &'static str = "default";

    /// How many partitions it asks for: one per share where it gives no number. 0: it does not say.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self.partitions {
            0 => u32::try_from(self.shares.len()).unwrap_or(u32::MAX),
            partitions => partitions,
        }
    }

    /// The pool that it names, with the tenant.
    #[must_use]
    pub fn source(&self) -> Option<(&Name, &Name)> {
        self.pool.as_ref().zip(self.tenant.as_ref())
    }
}

/// Left to the coordinator, as in a spec that does not say: 0 partitions, all alike, the strategy
/// [`PartitionPolicy::CHOOSE`]; of no pool.
impl Default for PartitionPolicy {
    fn default() -> Self {
        let strategy = Name::new(Self::CHOOSE).expect("the text is a valid name");
        Self { partitions: 0, strategy, shares: Vec::new(), pool: None, tenant: None }
    }
}

/// One process of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Unique in its network.
    pub id: Name,
    /// What runs: a name that the worker knows.
    pub component: String,
    /// What one instance of it needs.
    pub needs: Resources,
    /// How many instances may run in parallel.
    pub parallelism: Parallelism,
    /// The labels that its worker must have.
    pub requires: BTreeMap<String, String>,
    /// Its affinity group: all its processes are in one partition. Groups are those of one network.
    pub affinity: Option<Name>,
    /// Its anti-affinity group: no two of its processes are in one partition, and no two of those
    /// partitions on one worker.
    pub anti_affinity: Option<Name>,
}

impl Process {
    /// One that needs nothing, runs once and has no constraints.
    #[must_use]
    pub fn new(id: Name, component: impl Into<String>) -> Self {
        Self {
            id,
            component: component.into(),
            needs: Resources::default(),
            parallelism: Parallelism { min: 1, max: 1 },
            requires: BTreeMap::new(),
            affinity: None,
            anti_affinity: None,
        }
    }
}

/// Bounds of parallelism: `1 <= min <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parallelism {
    /// The fewest instances.
    pub min: u32,
    /// The most instances.
    pub max: u32,
}

/// A directed connection from one process to another. At most one per ordered pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEdge {
    /// The process that sends.
    pub from: Name,
    /// The process that receives.
    pub to: Name,
    /// Expected traffic in bytes per second.
    pub rate: u64,
}

/// Processes of one network that run together on one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The processes, sorted by id. Never empty.
    pub processes: Vec<PlacedProcess>,
    /// What they need together, parallelism included.
    pub demand: Resources,
    /// Declared load: [`Resources::dominant_share_ppm`] of what the network needs at the least
    /// parallelism of its processes, so that scaling one changes no other partition.
    pub load_ppm: u64,
    /// Who owns it.
    pub owner: Option<Owner>,
    /// The epoch of its last grant, or of its owner's last change of processes.
    pub epoch: Option<Epoch>,
    /// What it is doing.
    pub state: PartitionState,
    /// The worker that is to have it next, when it is being moved.
    pub target: Option<Name>,
    /// The labels that its worker must have: all that its processes require.
    pub requires: BTreeMap<String, String>,
    /// The anti-affinity groups of its processes. No other partition of the network with one of them
    /// is on the same worker.
    pub apart: BTreeSet<Name>,
}

/// Who owns a partition: one incarnation of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The worker.
    pub worker: Name,
    /// Its session.
    pub session: SessionId,
}

/// A process in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedProcess {
    /// The process.
    pub id: Name,
    /// How many parallel instances run.
    pub parallelism: u32,
}

/// What a partition is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionState {
    /// Nobody owns it.
    Unassigned,
    /// Its owner runs it.
    Assigned,
    /// Its owner is asked to release it.
    Releasing,
    /// Its network does not have it any more; its owner is asked to release it. Goes with the
    /// ownership.
    Deleted,
}
