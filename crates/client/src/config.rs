//! How a client reaches its cluster and how long it waits.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use quorate_proto::v1;

use crate::{
    error::Error,
    session::{BootClock, Clock},
};

/// Whether writes are applied at most once unless the configuration says otherwise.
const EXACTLY_ONCE_DEFAULT: bool = true;

/// The longest label that a coordinator accepts.
const LABEL_BYTES_MAX: usize = 128;

/// The address of a coordinator, as in the configuration: `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// Reads `host:port` or `http://host:port`.
    ///
    /// # Errors
    /// When the text is no such address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let address = text.trim().trim_start_matches("http://").trim_end_matches('/');
        let invalid = || Error::invalid("endpoints", format!("{text:?} is not host:port"));
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let valid = !host.is_empty()
            && !host.contains(['/', '@', ' '])
            && port.parse::<u16>().is_ok_and(|port| port != 0);
        if valid { Ok(Self(address.into())) } else { Err(invalid()) }
    }

    /// `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which endpoint a client tries first. It stays with one that answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FirstEndpoint {
    /// The first in the list.
    #[default]
    First,
    /// A random one: spreads many clients over the coordinators.
    Random,
}

/// How long to wait before trying again: doubles from `min` to `max`, each time a random part of
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first delay's upper bound.
    pub min: Duration,
    /// Every delay's upper bound.
    pub max: Duration,
}

/// How a client reaches its cluster and how long it waits.
///
/// ```
/// use quorate_client::ClientConfig;
///
/// let config = ClientConfig::new(["127.0.0.1:7101", "127.0.0.1:7102", "127.0.0.1:7103"]);
/// assert_eq!(config.timeout.as_secs(), 5);
/// ```
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The coordinators' client addresses, `host:port`. Not empty.
    pub endpoints: Vec<String>,
    /// Which endpoint to try first.
    pub first: FirstEndpoint,
    /// How long a call may take with all its retries, unless it says otherwise.
    pub timeout: Duration,
    /// How long one attempt of a read may take before another endpoint is tried. An attempt of a
    /// write has all the time there is, because giving it up would leave its outcome unknown.
    pub attempt_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How often a connection is tested by an HTTP/2 ping, idle ones too.
    pub keep_alive_interval: Duration,
    /// How long the answer to a ping, or to sent data (`TCP_USER_TIMEOUT`, on Linux), may take
    /// before the connection is given up.
    pub keep_alive_timeout: Duration,
    /// How many connections there are to each endpoint; calls take turns.
    pub connections_per_endpoint: NonZeroUsize,
    /// How long to wait between attempts when every endpoint was tried.
    pub backoff: Backoff,
    /// The largest message accepted from a coordinator.
    pub message_bytes_max: usize,
    /// What the client calls itself, at most 128 bytes: kept with every revision that it makes.
    /// The program's name unless it is set.
    pub label: String,
    /// Why, of writes that do not say it themselves ([`Call::reason`](crate::Call::reason)). May be
    /// empty.
    pub reason: String,
    /// Whether writes are applied at most once however often they must be sent: the first one
    /// opens a session. Otherwise a write whose outcome is unknown is not sent again.
    pub exactly_once: bool,
    /// How long the cluster keeps the outcomes of writes after it last heard of this client.
    pub exactly_once_ttl: Duration,
    /// What sessions are counted by. Another one is for tests.
    pub clock: Arc<dyn Clock>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let endpoints = ["127.0.0.1:7101", "127.0.0.1:7102", "127.0.0.1:7103"];
        Self {
            endpoints: endpoints.map(str::to_owned).into(),
            first: FirstEndpoint::First,
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(3),
            connections_per_endpoint: NonZeroUsize::MIN,
            backoff: Backoff { min: Duration::from_millis(20), max: Duration::from_secs(1) },
            message_bytes_max: 64 << 20,
            label: program_name(),
            reason: String::new(),
            exactly_once: EXACTLY_ONCE_DEFAULT,
            exactly_once_ttl: Duration::from_secs(10),
            clock: Arc::new(BootClock),
        }
    }
}

impl ClientConfig {
    /// The defaults, with these endpoints.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Self { endpoints, ..Self::default() }
    }

    /// With another limit on how long calls may take.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// With this many connections to each endpoint.
    #[must_use]
    pub fn with_connections_per_endpoint(self, connections: NonZeroUsize) -> Self {
        Self { connections_per_endpoint: connections, ..self }
    }

    /// With another choice of the first endpoint.
    #[must_use]
    pub fn with_first(self, first: FirstEndpoint) -> Self {
        Self { first, ..self }
    }

    /// With another name for itself.
    #[must_use]
    pub fn with_label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// With a reason for writes that do not say one themselves.
    #[must_use]
    pub fn with_reason(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// With writes that are applied at most once.
    #[must_use]
    pub fn with_exactly_once(self) -> Self {
        Self { exactly_once: true, ..self }
    }

    /// Without sessions of its own: a write whose outcome is unknown is not sent again.
    #[must_use]
    pub fn without_exactly_once(self) -> Self {
        Self { exactly_once: false, ..self }
    }
}

impl ClientConfig {
    /// Who asks for a change, and why, if there is anything to say.
    pub(crate) fn audit(&self, reason: Option<&str>) -> Option<v1::WriteContext> {
        let (label, reason) = (self.label.clone(), reason.unwrap_or(&self.reason).to_owned());
        (!label.is_empty() || !reason.is_empty()).then(|| v1::WriteContext {
            label,
            reason,
            ..v1::WriteContext::default()
        })
    }
}

/// The file name of the program, as far as it fits.
fn program_name() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    let mut name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    if let Some(name) = &mut name {
        let end = (0..=LABEL_BYTES_MAX.min(name.len())).rev();
        let end = end.into_iter().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
        name.truncate(end);
    }
    name.unwrap_or_default()
}
