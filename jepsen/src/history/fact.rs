//! What a change stream told of records, revision by revision, for workloads whose rules are about
//! the state as a whole.
//!
//! Owns the parts of records that the rules look at. Must not know the rules.

use std::collections::BTreeMap;

use quorate_core::{Record, Revision};
use serde::{Deserialize, Serialize};

/// One thing that was told, in the order of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FactEvent {
    /// The revision.
    pub(crate) revision: Revision,
    /// What is so from then on.
    #[serde(flatten)]
    pub(crate) fact: Fact,
}

/// A directed edge, by the names of its ends.
pub(crate) type Edge = (String, String);

/// What is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub(crate) enum Fact {
    /// A network.
    Network {
        /// Its name.
        id: String,
        /// Its edges between processes; none: there is no such network.
        now: Option<Vec<Edge>>,
    },
    /// A partition.
    Partition {
        /// The partition.
        id: String,
        /// How it is; none: there is no such partition.
        now: Option<PartitionFact>,
    },
    /// What a connection carries.
    Connection {
        /// The connection.
        id: String,
        /// The edges; none: there is no such connection.
        now: Option<Vec<Edge>>,
    },
    /// How a connection is doing.
    Status {
        /// The connection.
        id: String,
        /// How; none: it is not known, because an end has no owner.
        now: Option<StatusFact>,
    },
    /// A session.
    Session {
        /// The session.
        id: String,
        /// Whether it is alive.
        alive: bool,
    },
    /// A pool.
    Pool {
        /// Its name.
        id: String,
        /// How it is; none: there is no such pool.
        now: Option<PoolFact>,
    },
    /// An allocation.
    Allocation {
        /// The allocation.
        id: String,
        /// How it is; none: there is no such allocation.
        now: Option<AllocationFact>,
    },
    /// Who asked for an allocation was answered that it exists as of the revision.
    Requested {
        /// The allocation.
        id: String,
    },
    /// Who gave an allocation back was answered that it does not exist as of the revision.
    Released {
        /// The allocation.
        id: String,
    },
    /// A tenant is struck: it stands still, or is gone.
    Struck {
        /// How.
        how: String,
    },
    /// Everything up to the revision was told.
    Told,
}

/// Amounts by resource.
pub(crate) type Amounts = BTreeMap<String, u64>;

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolFact {
    /// What there is.
    pub(crate) capacity: Amounts,
    /// The most that tenants may be granted.
    pub(crate) limits: BTreeMap<String, Amounts>,
}

/// An allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AllocationFact {
    /// For whom it counts.
    pub(crate) tenant: String,
    /// How much.
    pub(crate) amount: Amounts,
    /// The session with which it ends.
    pub(crate) session: Option<String>,
    /// The epoch of its grant; none: it waits.
    pub(crate) granted: Option<String>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionFact {
    /// Its processes.
    pub(crate) processes: Vec<String>,
    /// The session of its owner, and the epoch; none: nobody owns it.
    pub(crate) owner: Option<(String, String)>,
    /// Whether its network has it no more.
    pub(crate) deleted: bool,
}

/// How a connection is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusFact {
    /// Session and epoch of the owner of the partition that sends.
    pub(crate) from: (String, String),
    /// The same of the one that receives.
    pub(crate) to: (String, String),
    /// What it is doing.
    pub(crate) state: String,
}

impl Fact {
    /// What a record of this key says; none: no rule looks at it.
    pub(crate) fn of(key: &quorate_core::Key, record: Option<&Record>) -> Option<Self> {
        use quorate_core::Kind;
        let id = String::from_utf8_lossy(&key.bytes).into_owned();
        Some(match (key.kind, record) {
            (Kind::Network, Some(Record::Network(network))) => {
                Self::Network { id, now: Some(edges(&network.spec.connections)) }
            }
            (Kind::Network, _) => Self::Network { id, now: None },
            (Kind::Partition, Some(Record::Partition(partition))) => {
                Self::Partition { id, now: Some(partition.as_ref().into()) }
            }
            (Kind::Partition, _) => Self::Partition { id, now: None },
            (Kind::Connection, Some(Record::Connection(connection))) => {
                Self::Connection { id, now: Some(edges(&connection.edges)) }
            }
            (Kind::Connection, _) => Self::Connection { id, now: None },
            (Kind::ConnectionStatus, Some(Record::ConnectionStatus(status))) => {
                Self::Status { id, now: Some(status.as_ref().into()) }
            }
            (Kind::ConnectionStatus, _) => Self::Status { id, now: None },
            (Kind::Session, session) => Self::Session { id, alive: session.is_some() },
            (Kind::Pool, Some(Record::Pool(pool))) => {
                Self::Pool { id, now: Some(pool.as_ref().into()) }
            }
            (Kind::Pool, _) => Self::Pool { id, now: None },
            (Kind::Allocation, Some(Record::Allocation(allocation))) => {
                Self::Allocation { id, now: Some(allocation.as_ref().into()) }
            }
            (Kind::Allocation, _) => Self::Allocation { id, now: None },
            _ => return None,
        })
    }
}

fn edges(edges: &[quorate_core::ProcessEdge]) -> Vec<Edge> {
    edges.iter().map(|edge| (edge.from.to_string(), edge.to.to_string())).collect()
}

impl From<&quorate_core::Partition> for PartitionFact {
    fn from(partition: &quorate_core::Partition) -> Self {
        let owner = partition.owner.as_ref().zip(partition.epoch);
        Self {
            processes: partition.processes.iter().map(|it| it.id.to_string()).collect(),
            owner: owner.map(|(owner, epoch)| (owner.session.to_string(), epoch.to_string())),
            deleted: partition.state == quorate_core::PartitionState::Deleted,
        }
    }
}

impl From<&quorate_core::ConnectionStatus> for StatusFact {
    fn from(status: &quorate_core::ConnectionStatus) -> Self {
        let end =
            |end: &quorate_core::ConnectionEnd| (end.session.to_string(), end.epoch.to_string());
        Self {
            from: end(&status.from),
            to: end(&status.to),
            state: format!("{:?}", status.state).to_lowercase(),
        }
    }
}

impl From<&quorate_core::Pool> for PoolFact {
    fn from(pool: &quorate_core::Pool) -> Self {
        let limit = |(name, tenant): (&quorate_core::Name, &quorate_core::Tenant)| {
            let limit = tenant.limit.iter().map(|(resource, most)| (resource.to_string(), *most));
            (name.to_string(), limit.collect())
        };
        Self { capacity: amounts(&pool.capacity), limits: pool.tenants.iter().map(limit).collect() }
    }
}

impl From<&quorate_core::Allocation> for AllocationFact {
    fn from(allocation: &quorate_core::Allocation) -> Self {
        Self {
            tenant: allocation.tenant.to_string(),
            amount: amounts(&allocation.amount),
            session: allocation.session().map(|session| session.to_string()),
            granted: allocation.grant().map(|grant| grant.epoch.to_string()),
        }
    }
}

fn amounts(resources: &quorate_core::Resources) -> Amounts {
    resources.iter().map(|(name, amount)| (name.to_string(), amount)).collect()
}

/// What was told, revision by revision, in order: each with all that became so at it.
pub(crate) fn revisions<'a>(
    facts: impl IntoIterator<Item = &'a FactEvent>,
) -> BTreeMap<Revision, Vec<&'a Fact>> {
    let mut revisions: BTreeMap<Revision, Vec<&Fact>> = BTreeMap::new();
    for FactEvent { revision, fact } in facts {
        revisions.entry(*revision).or_default().push(fact);
    }
    revisions
}
