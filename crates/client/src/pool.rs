//! The coordinators' addresses and the connections to them.
//!
//! Connections are made when first used and again when lost. An endpoint that failed is left
//! alone for a while, longer each time; the one that answered last is asked first.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint as Transport};

use crate::{
    config::{Backoff, ClientConfig, Endpoint, FirstEndpoint},
    error::Error,
};

/// How much of one stream, and of all streams of a connection, a coordinator may send before the
/// client takes it. Bounds what a slow consumer keeps in memory.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// An endpoint's number in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndpointIndex(usize);

/// Which endpoints a call has tried since it last waited.
#[derive(Debug, Default)]
pub(crate) struct Tried(Vec<EndpointIndex>);

impl Tried {
    /// One that needs no trying, because it just failed.
    pub(crate) fn add(&mut self, index: EndpointIndex) {
        if !self.0.contains(&index) {
            self.0.push(index);
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Member>,
    preferred: AtomicUsize,
    backoff: Backoff,
}

#[derive(Debug)]
struct Member {
    endpoint: Endpoint,
    channels: Vec<Channel>,
    turn: AtomicUsize,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    retry_at: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, Error> {
        if config.endpoints.is_empty() {
            return Err(Error::invalid("endpoints", "must not be empty"));
        }
        let members: Vec<_> = config
            .endpoints
            .iter()
            .map(|text| Member::new(text, config))
            .collect::<Result<_, _>>()?;
        let preferred = match config.first {
            FirstEndpoint::First => 0,
            FirstEndpoint::Random => rand::rng().random_range(0..members.len()),
        };
        Ok(Self { members, preferred: AtomicUsize::new(preferred), backoff: config.backoff })
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.members.iter().map(|member| &member.endpoint)
    }

    /// How many endpoints there are; never 0.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn find(&self, endpoint: &Endpoint) -> Option<EndpointIndex> {
        self.members.iter().position(|member| member.endpoint == *endpoint).map(EndpointIndex)
    }

    pub(crate) fn endpoint(&self, index: EndpointIndex) -> &Endpoint {
        &self.members[index.0].endpoint
    }

    /// A connection to an endpoint; they take turns.
    pub(crate) fn channel(&self, index: EndpointIndex) -> Channel {
        let member = &self.members[index.0];
        let turn = member.turn.fetch_add(1, Ordering::Relaxed);
        member.channels[turn % member.channels.len()].clone()
    }

    /// The next endpoint to try: from the preferred one on, the first that has not failed lately;
    /// if all have, the one that may be tried soonest. None when all were tried.
    pub(crate) fn pick(&self, tried: &mut Tried) -> Option<EndpointIndex> {
        let (count, now) = (self.members.len(), Instant::now());
        let preferred = self.preferred.load(Ordering::Relaxed);
        let in_turn = (0..count).map(|offset| EndpointIndex((preferred + offset) % count));
        let untried: Vec<_> = in_turn.filter(|index| !tried.0.contains(index)).collect();
        let wait = |index: &EndpointIndex| {
            let retry_at = self.members[index.0].health.lock().retry_at;
            retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
        };
        // The first of the least: in turn among those that need no waiting.
        let picked = untried.into_iter().min_by_key(wait)?;
        tried.0.push(picked);
        Some(picked)
    }

    /// The endpoint answered.
    pub(crate) fn succeeded(&self, index: EndpointIndex) {
        let mut health = self.members[index.0].health.lock();
        if health.failures > 0 {
            *health = Health::default();
        }
        drop(health);
        if self.preferred.load(Ordering::Relaxed) != index.0 {
            self.preferred.store(index.0, Ordering::Relaxed);
        }
    }

    /// The endpoint did not answer, or cannot serve.
    pub(crate) fn failed(&self, index: EndpointIndex) {
        let mut health = self.members[index.0].health.lock();
        let delay = delay(self.backoff, health.failures);
        health.failures = health.failures.saturating_add(1);
        health.retry_at = Some(Instant::now() + delay);
    }
}

/// How long to wait after `failures` earlier failures: a random half to whole of the bound.
pub(crate) fn delay(backoff: Backoff, failures: u32) -> Duration {
    let doubled = backoff.min.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    doubled.min(backoff.max).mul_f64(rand::rng().random_range(0.5..=1.0))
}

impl Member {
    fn new(text: &str, config: &ClientConfig) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(text)?;
        let transport = Transport::from_shared(format!("http://{endpoint}"))
            .map_err(|error| Error::invalid("endpoints", format!("{text:?}: {error}")))?
            .http2_keep_alive_interval(config.keep_alive_interval)
            .keep_alive_timeout(config.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let connect = || {
            let mut connector = HttpConnector::new();
            connector.enforce_http(false);
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(config.connect_timeout));
            #[cfg(target_os = "linux")]
            connector.set_tcp_user_timeout(Some(config.keep_alive_timeout));
            transport.connect_with_connector_lazy(connector)
        };
        let channels = (0..config.connections_per_endpoint.get()).map(|_| connect()).collect();
        let (turn, health) = (AtomicUsize::new(0), Mutex::default());
        Ok(Self { endpoint, channels, turn, health })
    }
}
