//! The sections of a configuration, with their defaults.
//!
//! Names end in their unit. Rules are in [`super::validate`].

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use quorate_core::{MemberId, Name};
use serde::Deserialize;

/// `[node]`: who it is, and where its data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its member id: one of the cluster's, never used again after removal.
    pub id: MemberId,
    /// The folder of its log, checkpoints and durability record. One node each.
    pub data_dir: PathBuf,
}

/// `[listen]`: the addresses it listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// gRPC for clients. Default 127.0.0.1:710N for member N.
    pub client: SocketAddr,
    /// gRPC between coordinators. Default 127.0.0.1:720N.
    pub peer: SocketAddr,
    /// HTTP: /metrics and /health. Default 127.0.0.1:730N.
    pub metrics: SocketAddr,
}

impl Listen {
    /// The default addresses of a member. A member above 99 has no ports of its own in that
    /// scheme: any free ones.
    #[must_use]
    pub fn of(id: MemberId) -> Self {
        let port = |base: u16| match u16::try_from(id.get()) {
            Ok(id) if id <= 99 => base + id,
            _ => 0,
        };
        let at = |base| SocketAddr::from((Ipv4Addr::LOCALHOST, port(base)));
        Self { client: at(7100), peer: at(7200), metrics: at(7300) }
    }

    /// Any free ports on loopback.
    #[must_use]
    pub fn any_port() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { client: any, peer: any, metrics: any }
    }
}

/// `[advertise]`: where others reach it. Default: what `cluster.initial_members` says of this
/// member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Advertise {
    /// For clients, host:port.
    pub client: Option<String>,
    /// For peers, host:port.
    pub peer: Option<String>,
}

/// `[cluster]`: the cluster that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The cluster's name: members of differently named clusters refuse each other.
    pub name: Name,
    /// The members that form the cluster when none exists yet. The same on all of them.
    pub initial_members: Vec<Member>,
    /// Peer addresses of members of a cluster that exists, host:port: for a coordinator that was
    /// added with `quorate member add`, instead of `initial_members`.
    pub join: Vec<String>,
}

impl Default for Cluster {
    fn default() -> Self {
        let name = Name::new("quorate").expect("a literal that matches the pattern");
        Self { name, initial_members: Vec::new(), join: Vec::new() }
    }
}

impl Cluster {
    /// The peer addresses at which a member asks to be let in: `join`, or, for one that is not
    /// among the initial members, theirs. Empty: it forms the cluster with the others.
    pub(crate) fn entrances(&self, me: MemberId) -> Vec<String> {
        if self.initial_members.iter().any(|member| member.id == me) {
            return Vec::new();
        }
        let initial = self.initial_members.iter().map(|member| member.peer.clone());
        self.join.iter().cloned().chain(initial).collect()
    }
}

/// One row of `cluster.initial_members`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its id, from 1.
    pub id: MemberId,
    /// Where its peers reach it, host:port.
    pub peer: String,
    /// Where clients reach it, host:port.
    pub client: String,
}

/// `[raft]`: consensus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raft {
    /// How often a leader tells that it leads, milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest election timeout, milliseconds. At least three heartbeats.
    pub election_ms_min: u64,
    /// The longest election timeout, milliseconds. Each timeout is drawn anew between the two.
    pub election_ms_max: u64,
    /// Most log entries in one replication message.
    pub payload_entries_max: u64,
    /// Most bytes in one replication message; a single larger entry goes alone.
    pub payload_bytes_max: u64,
    /// Most commands that one log entry carries.
    pub batch_commands_max: usize,
    /// Most bytes of commands that one log entry carries; a single larger command goes alone.
    pub batch_bytes_max: usize,
    /// Make a checkpoint after so many log entries.
    pub checkpoint_entries: u64,
    /// Make a checkpoint after so many bytes of log.
    pub checkpoint_bytes: u64,
    /// Keep so many log entries behind a checkpoint, for members that lag a little.
    pub kept_entries: u64,
    /// Purge so many log entries at a time.
    pub purge_entries: u64,
    /// Give up an install of a checkpoint when nothing moved for so long, milliseconds.
    pub install_idle_ms_max: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat_ms: 150,
            election_ms_min: 600,
            election_ms_max: 1_200,
            payload_entries_max: 512,
            payload_bytes_max: 2 << 20,
            batch_commands_max: 512,
            batch_bytes_max: 1 << 20,
            checkpoint_entries: 50_000,
            checkpoint_bytes: 64 << 20,
            kept_entries: 20_000,
            purge_entries: 1_000,
            install_idle_ms_max: 10_000,
        }
    }
}

impl Raft {
    /// How often a leader tells that it leads.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// The longest election timeout.
    #[must_use]
    pub fn election_max(&self) -> Duration {
        Duration::from_millis(self.election_ms_max)
    }
}

/// `[limits]`: what clients may ask for at most. Limits that all members must agree on are
/// settings, not configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request, bytes.
    pub request_bytes_max: usize,
    /// Largest answer of a range, bytes of keys and values; `more` is set when records are left
    /// out. A single larger record goes alone.
    pub response_bytes_max: usize,
    /// Writes that may wait for the leader on this member; one more is refused as OVERLOADED.
    pub proposals_max: usize,
    /// Change streams on this member; one more is refused as LIMIT_EXCEEDED.
    pub watchers_max: usize,
    /// Backups that this member makes at a time; one more is refused as LIMIT_EXCEEDED.
    pub snapshots_max: usize,
    /// Give up a backup when nothing of it was taken for so long, milliseconds.
    pub snapshot_idle_ms_max: u64,
    /// Plans and questions about placement that this member works on at a time; further ones wait until
    /// their deadline, and are then refused as OVERLOADED.
    pub plans_max: usize,
    /// Concurrent calls on one client connection; further ones wait.
    pub connection_streams_max: u32,
    /// Concurrent client connections; further ones are closed.
    pub connections_max: usize,
    /// The deadline of a request that sets none, milliseconds.
    pub deadline_ms_default: u64,
    /// The longest deadline a request may set, milliseconds; a longer one is cut to it.
    pub deadline_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 4 << 20,
            response_bytes_max: 4 << 20,
            proposals_max: 8_192,
            watchers_max: 20_000,
            snapshots_max: 2,
            snapshot_idle_ms_max: 30_000,
            plans_max: 4,
            connection_streams_max: 2_048,
            connections_max: 20_000,
            deadline_ms_default: 5_000,
            deadline_ms_max: 60_000,
        }
    }
}

/// `[storage]`: the store on disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Memory that the store's page cache may use, bytes, for log and checkpoints each.
    pub cache_bytes: u64,
    /// Log entries kept in memory, so that apply and replication do not read the disk, bytes.
    pub tail_bytes_max: usize,
}

impl Default for Storage {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, tail_bytes_max: 64 << 20 }
    }
}

/// `[log]`: what is logged, to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A filter in `tracing`'s syntax: `info`, or `info,quorate_node=debug`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// `[health]`: where alerts are told besides the change stream and the metrics. What is checked, and how
/// often, are settings in the same section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Where this coordinator, leading, posts alerts that are raised or cleared:
    /// `http://host:port/path`. Empty: nowhere.
    pub webhook_url: String,
    /// How long one try to post may take, milliseconds.
    pub webhook_timeout_ms: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self { webhook_url: String::new(), webhook_timeout_ms: 2_000 }
    }
}

/// `[metrics]`: how many time series a scrape has. What is beyond is summed up under one label, or left
/// out; `quorate_metrics_left_out` says how much.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// So many networks have series of their own, the first by name; all others have some together.
    pub networks_max: usize,
    /// So many pools have series of their own, the first by name; all others have some together.
    pub pools_max: usize,
    /// So many resources are shown, the first by name: of each pool, and of workers and partitions.
    pub resources_max: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { networks_max: 200, pools_max: 100, resources_max: 16 }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}
