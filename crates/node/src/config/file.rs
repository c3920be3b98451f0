//! The file's shape where it differs from [`Config`]: fields that have a default which depends on
//! the member id are optional in it.

use std::{net::SocketAddr, path::PathBuf};

use quorate_core::MemberId;
use serde::Deserialize;

use super::{
    Config, ConfigError,
    initial::{InitialSettings, Values},
    section::{Advertise, Cluster, Health, Limits, Listen, Log, Metrics, Node, Raft, Storage},
};

/// A configuration file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    node: FileNode,
    #[serde(default)]
    listen: FileListen,
    #[serde(default)]
    advertise: Advertise,
    #[serde(default)]
    cluster: Cluster,
    #[serde(default)]
    raft: Raft,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    partitions: Values,
    #[serde(default)]
    resources: Values,
    #[serde(default)]
    connections: Values,
    #[serde(default)]
    health: FileHealth,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNode {
    id: MemberId,
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListen {
    client: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// Fields of this coordinator's own beside settings of the cluster.
#[derive(Debug, Default, Deserialize)]
struct FileHealth {
    webhook_url: Option<String>,
    webhook_timeout_ms: Option<u64>,
    #[serde(flatten)]
    settings: Values,
}

/// Reads the text. The error shows the line and the field.
pub(super) fn parse(text: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))
}

impl From<File> for Config {
    fn from(file: File) -> Self {
        let id = file.node.id;
        let (listen, health) = (Listen::of(id), Health::default());
        let data_dir = file.node.data_dir.unwrap_or_else(|| format!("data/node{id}").into());
        Self {
            node: Node { id, data_dir },
            listen: Listen {
                client: file.listen.client.unwrap_or(listen.client),
                peer: file.listen.peer.unwrap_or(listen.peer),
                metrics: file.listen.metrics.unwrap_or(listen.metrics),
            },
            advertise: file.advertise,
            cluster: file.cluster,
            raft: file.raft,
            limits: file.limits,
            storage: file.storage,
            log: file.log,
            metrics: file.metrics,
            health: Health {
                webhook_url: file.health.webhook_url.unwrap_or(health.webhook_url),
                webhook_timeout_ms: file
                    .health
                    .webhook_timeout_ms
                    .unwrap_or(health.webhook_timeout_ms),
            },
            settings: InitialSettings {
                partitions: file.partitions,
                resources: file.resources,
                connections: file.connections,
                health: file.health.settings,
            },
        }
    }
}
