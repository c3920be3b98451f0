//! Posts alerts that are raised or cleared to a URL, as the leader applies them.
//!
//! ```text
//! applied --follow (while it leads)--> queue of at most QUEUE_MAX --send--> POST, again after a while
//! ```
//!
//! Invariants: what the hook does holds up nothing: what does not fit into the queue is dropped and
//! counted, each try has its time, tries are bounded, and a stop ends it at once. Posts are in
//! the order of their revisions.
//!
//! What it does not do: promise delivery. What waits is lost when this coordinator stops, and around a
//! change of leader an alert may be posted twice or not at all. The record of the alert is the truth.

mod message;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use quorate_core::State;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::message::{Cluster, bodies};
use super::{news::News, seen::HealthSeen};
use crate::{config::Config, coordinator::Coordinator};

/// So many posts wait at most.
const QUEUE_MAX: usize = 1_000;
/// How often one is tried.
const TRIES_MAX: usize = 5;
/// The rest after the first try; twice as long after each further one.
const REST: Duration = Duration::from_millis(250);

/// Where to post, and how long one try may take.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    url: http::Uri,
    timeout: Duration,
    cluster_name: String,
}

impl Hook {
    /// None: nowhere.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let health = &config.health;
        let given = Some(&health.webhook_url).filter(|url| !url.is_empty());
        Some(Self {
            url: given?.parse().ok()?,
            timeout: Duration::from_millis(health.webhook_timeout_ms),
            cluster_name: config.cluster.name.to_string(),
        })
    }
}

/// Runs until `stop`.
pub(super) async fn run(coordinator: Coordinator, hook: Hook, stop: CancellationToken) {
    let (queue, waiting) = mpsc::channel(QUEUE_MAX);
    let seen = coordinator.health_seen().clone();
    let id = coordinator.cluster_id().to_string();
    let cluster = Arc::new(Cluster { name: hook.cluster_name.clone(), id });
    let follower = Follower { seen: seen.clone(), cluster, queue, news: News::default() };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = follow(coordinator, follower) => {}
        () = send(hook, waiting, seen) => {}
    }
}

async fn follow(coordinator: Coordinator, mut follower: Follower) {
    let mut applied = coordinator.applied();
    loop {
        applied.mark_unchanged();
        follower.follow(&coordinator.view().state, coordinator.leads().is_some());
        if applied.changed().await.is_err() {
            return;
        }
    }
}

/// Finds what to post.
struct Follower {
    seen: HealthSeen,
    cluster: Arc<Cluster>,
    queue: mpsc::Sender<Bytes>,
    news: News,
}

impl Follower {
    fn follow(&mut self, state: &State, leads: bool) {
        let events = self.news.of(state, leads);
        for body in events.flat_map(|event| bodies(&self.cluster, event)) {
            if let Err(TrySendError::Full(_)) = self.queue.try_send(body) {
                self.seen.webhook(|webhook| webhook.dropped += 1);
            }
        }
    }
}

async fn send(hook: Hook, mut waiting: mpsc::Receiver<Bytes>, seen: HealthSeen) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // Alerts are rare: a connection each, so that none is found broken.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    while let Some(body) = waiting.recv().await {
        match post(&client, &hook, &body).await {
            Ok(()) => seen.webhook(|webhook| webhook.sent += 1),
            Err(error) => {
                tracing::warn!(url = %hook.url, error, "an alert was not posted; it is given up");
                seen.webhook(|webhook| webhook.failed += 1);
            }
        }
    }
}

type Poster = Client<HttpConnector, Full<Bytes>>;

/// Posts, after a failure again after a while. The error of the last try.
async fn post(client: &Poster, hook: &Hook, body: &Bytes) -> Result<(), String> {
    let rests = (0..TRIES_MAX).map(|tried| REST * (1 << tried));
    let mut rests: VecDeque<Duration> = rests.take(TRIES_MAX - 1).collect();
    loop {
        let error = match timeout(hook.timeout, once(client, hook, body)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => format!("no answer in {} ms", hook.timeout.as_millis()),
        };
        let Some(rest) = rests.pop_front() else { return Err(error) };
        tracing::debug!(url = %hook.url, error, "an alert was not posted; once more");
        sleep(rest).await;
    }
}

async fn once(client: &Poster, hook: &Hook, body: &Bytes) -> Result<(), String> {
    let request = http::Request::post(hook.url.clone())
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.clone()))
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("the answer is {status}")) }
}

#[cfg(test)]
mod tests;
