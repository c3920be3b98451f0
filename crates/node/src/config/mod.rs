//! What a coordinator is told when it starts.
//!
//! Owns the configuration's shape, its defaults, how a file and the environment become one, and
//! the rules that a configuration must keep. Embedders build a [`Config`] in code; `quorate serve`
//! reads one from TOML. Precedence: flag (set by the caller on the result), environment, file,
//! default.
//!
//! Invariant: a configuration that passed [`Config::validate`] needs no further check.
//! Must not know what the values do.

mod environment;
mod file;
mod initial;
mod listeners;
mod section;
mod validate;

use std::path::{Path, PathBuf};

use quorate_core::MemberId;

pub use initial::InitialSettings;
pub use listeners::Listeners;
pub use section::{
    Advertise, Cluster, Health, Limits, Listen, Log, LogFormat, Member, Metrics, Node, Raft,
    Storage,
};
pub use validate::Problem;
pub(crate) use validate::is_address;

/// Everything a coordinator is told when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who it is, and where its data is.
    pub node: Node,
    /// Where it listens.
    pub listen: Listen,
    /// Where others reach it, when that is not what the list of members says.
    pub advertise: Advertise,
    /// The cluster that it belongs to.
    pub cluster: Cluster,
    /// Consensus.
    pub raft: Raft,
    /// What clients may ask for at most.
    pub limits: Limits,
    /// The store on disk.
    pub storage: Storage,
    /// What is logged.
    pub log: Log,
    /// Where alerts are told.
    pub health: Health,
    /// How many time series a scrape has.
    pub metrics: Metrics,
    /// Initial values of the cluster's settings.
    pub settings: InitialSettings,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The text is not TOML, or has an unknown, missing or mistyped field. The message names the
    /// line and the field.
    #[error("{0}")]
    Syntax(String),
    /// An environment variable does not fit the field that it sets.
    #[error("environment variable {variable}: {message}")]
    Environment {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        message: String,
    },
    /// Fields break rules: all of them are listed.
    #[error("{}", validate::list(.0))]
    Invalid(Vec<Problem>),
}

impl Config {
    /// A configuration with defaults: listening on loopback, on the ports of this member id.
    #[must_use]
    pub fn new(id: MemberId, data_dir: impl Into<PathBuf>, cluster: Cluster) -> Self {
        Self {
            node: Node { id, data_dir: data_dir.into() },
            listen: Listen::of(id),
            advertise: Advertise::default(),
            cluster,
            raft: Raft::default(),
            limits: Limits::default(),
            storage: Storage::default(),
            log: Log::default(),
            health: Health::default(),
            metrics: Metrics::default(),
            settings: InitialSettings::default(),
        }
    }

    /// One of several members on loopback in one process or on one machine, on whatever ports are
    /// free, with election times that a busy machine keeps. Serve it with [`Listeners::local`].
    #[must_use]
    pub fn local(id: MemberId, members: &[Member], data_dir: impl Into<PathBuf>) -> Self {
        let cluster = Cluster { initial_members: members.to_vec(), ..Cluster::default() };
        let raft = Raft {
            heartbeat_ms: 100,
            election_ms_min: 1_000,
            election_ms_max: 2_000,
            ..Raft::default()
        };
        Self {
            listen: Listen::any_port(),
            raft,
            storage: Storage { cache_bytes: 16 << 20, ..Storage::default() },
            ..Self::new(id, data_dir, cluster)
        }
    }

    /// Reads a configuration from TOML and checks it.
    ///
    /// # Errors
    /// [`ConfigError`], naming field and rule.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::from_toml_with(text, std::iter::empty())
    }

    /// Reads a configuration from TOML, lays variables such as `QUORATE_DATA_DIR` or
    /// `QUORATE_RAFT_HEARTBEAT_MS` over it, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`], naming field or variable, and rule.
    pub fn from_toml_with(
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let config = Self::from(environment::overlay(file::parse(text)?, text, variables)?);
        config.validate()?;
        Ok(config)
    }

    /// Reads a file, lays this process's environment over it, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_toml_with(&text, std::env::vars())
    }

    /// Checks every rule.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems = validate::problems(self);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(problems)) }
    }

    /// Where clients reach this member, host:port.
    #[must_use]
    pub fn client_address(&self) -> String {
        self.address(&self.advertise.client, |member| &member.client, &self.listen.client)
    }

    /// Where peers reach this member, host:port.
    #[must_use]
    pub fn peer_address(&self) -> String {
        self.address(&self.advertise.peer, |member| &member.peer, &self.listen.peer)
    }

    fn address(
        &self,
        advertised: &Option<String>,
        listed: impl Fn(&Member) -> &String,
        listen: &std::net::SocketAddr,
    ) -> String {
        let own = self.cluster.initial_members.iter().find(|member| member.id == self.node.id);
        advertised
            .clone()
            .or_else(|| own.map(|member| listed(member).clone()))
            .unwrap_or_else(|| listen.to_string())
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
