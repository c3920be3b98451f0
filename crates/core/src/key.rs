//! Keys: a kind and bytes, in one order over all kinds.
//!
//! Entry keys are the user's bytes. The other kinds use their id's text: `net`, `net/0`,
//! `net/0->net/1`, `pool/17`. Typed ids convert both ways.

use std::{fmt, ops::Bound};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    alert::AlertId,
    id::{MemberId, Serial, SessionId},
    name::Name,
};

/// The kinds of records. Discriminants are part of the stored and wire formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Kind {
    /// A user's own key and value.
    Entry = 1,
    /// A session of a client.
    Session = 2,
    /// A worker.
    Worker = 3,
    /// A network.
    Network = 4,
    /// A partition.
    Partition = 5,
    /// A pool of resources.
    Pool = 6,
    /// An amount of a pool that was asked for.
    Allocation = 7,
    /// A connection.
    Connection = 8,
    /// The load observed of a worker, a partition or an allocation.
    Load = 9,
    /// A setting.
    Setting = 10,
    /// A coordinator that was added or removed.
    Member = 11,
    /// How a connection is doing.
    ConnectionStatus = 12,
    /// Something that is not as it should be.
    Alert = 13,
    /// Internal: how far the holder of a session has the replies to its requests.
    Window = 252,
    /// Internal: a reply kept for a session.
    Reply = 253,
}

impl Kind {
    /// All kinds that callers see, in key order.
    pub const ALL: [Self; 13] = [
        Self::Entry,
        Self::Session,
        Self::Worker,
        Self::Network,
        Self::Partition,
        Self::Pool,
        Self::Allocation,
        Self::Connection,
        Self::Load,
        Self::Setting,
        Self::Member,
        Self::ConnectionStatus,
        Self::Alert,
    ];

    /// Kinds that no caller sees: they have no revisions of their own and are in no event. After
    /// all others in key order.
    pub const INTERNAL: [Self; 2] = [Self::Window, Self::Reply];

    /// Whether no caller sees records of this kind.
    #[must_use]
    pub const fn is_internal(self) -> bool {
        matches!(self, Self::Window | Self::Reply)
    }

    /// The kind's name in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Session => "session",
            Self::Worker => "worker",
            Self::Network => "network",
            Self::Partition => "partition",
            Self::Pool => "pool",
            Self::Allocation => "allocation",
            Self::Connection => "connection",
            Self::Load => "load",
            Self::Setting => "setting",
            Self::Member => "member",
            Self::ConnectionStatus => "connection_status",
            Self::Alert => "alert",
            Self::Window => "window",
            Self::Reply => "reply",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

/// The number is no kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no kind of record")]
pub struct UnknownKind(pub u8);

impl TryFrom<u8> for Kind {
    type Error = UnknownKind;

    fn try_from(number: u8) -> Result<Self, UnknownKind> {
        let mut all = Self::ALL.into_iter().chain(Self::INTERNAL);
        all.find(|kind| *kind as u8 == number).ok_or(UnknownKind(number))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names one record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The kind of record. Comes first in the order.
    pub kind: Kind,
    /// The user's bytes, or the id's text.
    pub bytes: Bytes,
}

impl Key {
    /// An entry's key.
    #[must_use]
    pub fn entry(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Entry, bytes: bytes.into() }
    }

    /// A session's key.
    #[must_use]
    pub fn session(id: SessionId) -> Self {
        Self::text(Kind::Session, &id)
    }

    /// The key of a coordinator's record.
    #[must_use]
    pub fn member(id: MemberId) -> Self {
        Self::text(Kind::Member, &id)
    }

    /// An alert's key.
    #[must_use]
    pub fn alert(id: &AlertId) -> Self {
        Self::text(Kind::Alert, id)
    }

    /// The key of an observed load.
    #[must_use]
    pub fn load(of: &LoadId) -> Self {
        Self::text(Kind::Load, of)
    }

    /// The session that a key of kind session names.
    #[must_use]
    pub fn as_session(&self) -> Option<SessionId> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        (self.kind == Kind::Session).then(|| SessionId::parse(text)).flatten()
    }

    /// A pool's key.
    #[must_use]
    pub fn pool(name: &Name) -> Self {
        Self::text(Kind::Pool, name)
    }

    /// An allocation's key.
    #[must_use]
    pub fn allocation(id: &AllocationId) -> Self {
        Self::text(Kind::Allocation, id)
    }

    /// The allocation that a key of kind allocation names.
    #[must_use]
    pub fn as_allocation(&self) -> Option<AllocationId> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        (self.kind == Kind::Allocation).then(|| AllocationId::parse(text)).flatten()
    }

    pub(crate) fn window(session: SessionId) -> Self {
        Self { kind: Kind::Window, bytes: Bytes::copy_from_slice(&session.to_bytes()) }
    }

    pub(crate) fn reply(session: SessionId, serial: Serial) -> Self {
        let bytes = [&session.to_bytes()[..], &serial.0.to_be_bytes()].concat();
        Self { kind: Kind::Reply, bytes: bytes.into() }
    }

    /// A worker's key.
    #[must_use]
    pub fn worker(name: &Name) -> Self {
        Self::text(Kind::Worker, name)
    }

    /// A network's key.
    #[must_use]
    pub fn network(name: &Name) -> Self {
        Self::text(Kind::Network, name)
    }

    /// A partition's key.
    #[must_use]
    pub fn partition(id: &PartitionId) -> Self {
        Self::text(Kind::Partition, id)
    }

    /// A connection's key.
    #[must_use]
    pub fn connection(id: &ConnectionId) -> Self {
        Self::text(Kind::Connection, id)
    }

    /// The key of how a connection is doing.
    #[must_use]
    pub fn connection_status(id: &ConnectionId) -> Self {
        Self::text(Kind::ConnectionStatus, id)
    }

    /// The partition that a key of kind partition names.
    #[must_use]
    pub fn as_partition(&self) -> Option<PartitionId> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        (self.kind == Kind::Partition).then(|| PartitionId::parse(text)).flatten()
    }

    /// The connection that a key of kind connection or connection status names.
    #[must_use]
    pub fn as_connection(&self) -> Option<ConnectionId> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        let named = matches!(self.kind, Kind::Connection | Kind::ConnectionStatus);
        named.then(|| ConnectionId::parse(text)).flatten()
    }

    /// A setting's key.
    #[must_use]
    pub fn setting(name: &Name) -> Self {
        Self::text(Kind::Setting, name)
    }

    fn text(kind: Kind, text: &impl fmt::Display) -> Self {
        Self { kind, bytes: text.to_string().into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, String::from_utf8_lossy(&self.bytes))
    }
}

/// Names a partition: `net/0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The network.
    pub network: Name,
    /// The number within the network, from 0.
    pub index: u32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.index)
    }
}

impl PartitionId {
    /// Reads `net/0`. None when the text is no partition id, or not in its one canonical form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (network, index) = text.split_once('/')?;
        let id = Self { network: Name::new(network).ok()?, index: index.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }
}

/// Names an allocation: `pool/17`, or `pool/17.1` when the same command made several of the pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AllocationId {
    /// The pool.
    pub pool: Name,
    /// The revision at which it was asked for.
    pub number: u64,
    /// Which of those that were made of the pool at that revision, from 0.
    pub part: u32,
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, number, part } = self;
        match part {
            0 => write!(f, "{pool}/{number}"),
            part => write!(f, "{pool}/{number}.{part}"),
        }
    }
}

impl AllocationId {
    /// Reads `pool/17`. None when the text is no allocation id, or not in its one canonical form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pool, numbers) = text.split_once('/')?;
        let (number, part) = numbers.split_once('.').unwrap_or((numbers, "0"));
        let (number, part) = (number.parse().ok()?, part.parse().ok()?);
        let id = Self { pool: Name::new(pool).ok()?, number, part };
        (id.to_string() == text).then_some(id)
    }
}

/// Whose load it is: a worker's name, a partition's id, or an allocation's id after `allocation:`. A
/// name has neither slash nor colon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LoadId {
    /// A worker.
    Worker(Name),
    /// A partition.
    Partition(PartitionId),
    /// An allocation.
    Allocation(AllocationId),
}

impl fmt::Display for LoadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(name) => fmt::Display::fmt(name, f),
            Self::Partition(id) => fmt::Display::fmt(id, f),
            Self::Allocation(id) => write!(f, "{}{id}", Self::ALLOCATION),
        }
    }
}

impl LoadId {
    /// What comes before an allocation's id.
    const ALLOCATION: &'static str = "allocation:";

    /// Reads a worker's name, a partition's id, or an allocation's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(id) = text.strip_prefix(Self::ALLOCATION) {
            return AllocationId::parse(id).map(Self::Allocation);
        }
        if text.contains('/') {
            return PartitionId::parse(text).map(Self::Partition);
        }
        Name::new(text).ok().map(Self::Worker)
    }
}

/// Names a connection: `net/0->net/1`. Both ends are of the same network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId {
    /// The network.
    pub network: Name,
    /// The number of the sending partition.
    pub from: u32,
    /// The number of the receiving partition.
    pub to: u32,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, from, to } = self;
        write!(f, "{network}/{from}->{network}/{to}")
    }
}

impl ConnectionId {
    /// The partition that sends, and the one that receives.
    #[must_use]
    pub fn ends(&self) -> [PartitionId; 2] {
        [self.from, self.to].map(|index| PartitionId { network: self.network.clone(), index })
    }

    /// Reads `net/0->net/1`. None when the text is no connection id, or not in its canonical form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("->")?;
        let (from, to) = (PartitionId::parse(from)?, PartitionId::parse(to)?);
        (from.network == to.network).then_some(Self {
            network: from.network,
            from: from.index,
            to: to.index,
        })
    }
}

/// One record or a range of records of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRange {
    /// Exactly this key.
    Single(Key),
    /// Every key of the kind that begins with these bytes.
    Prefix(Kind, Bytes),
    /// Every key of the kind in [start, end); an empty end is no bound.
    Bounds {
        /// The kind of records.
        kind: Kind,
        /// The first key in the range.
        start: Bytes,
        /// The first key after the range.
        end: Bytes,
    },
}

impl KeyRange {
    /// The kind of records that it names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Single(key) => key.kind,
            Self::Prefix(kind, _) | Self::Bounds { kind, .. } => *kind,
        }
    }

    /// Whether the range holds this key.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        match self {
            Self::Single(single) => single == key,
            Self::Prefix(kind, prefix) => *kind == key.kind && key.bytes.starts_with(prefix),
            Self::Bounds { kind, start, end } => {
                *kind == key.kind && *start <= key.bytes && (end.is_empty() || key.bytes < *end)
            }
        }
    }

    /// Where to start in the map, and for how long to go on: `start..` while [`Self::contains`].
    #[must_use]
    pub fn start(&self) -> Bound<Key> {
        Bound::Included(match self {
            Self::Single(key) => key.clone(),
            Self::Prefix(kind, bytes) | Self::Bounds { kind, start: bytes, .. } => {
                Key { kind: *kind, bytes: bytes.clone() }
            }
        })
    }
}
