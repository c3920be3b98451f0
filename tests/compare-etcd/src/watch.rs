//! Deliveries: watchers, each on a stream of its own, follow every write.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tonic::{
    Streaming,
    codegen::tokio_stream::{Stream, wrappers::ReceiverStream},
    transport::Channel,
};

use crate::{
    Load, Measured,
    connection::connect,
    etcd::{
        WatchCreateRequest, WatchRequest, WatchResponse, event::EventType,
        watch_client::WatchClient, watch_request::RequestUnion,
    },
    load::{clean, measured, writes},
    payload::{Payload, all_keys},
};

/// Without a delivery for so long, a watcher gives up.
const SILENCE: Duration = Duration::from_secs(20);

/// Measures deliveries. Every watcher must be told every write, in order and exactly once.
pub(crate) async fn watch(load: &Load) -> Result<Measured> {
    let channels = connect(&load.endpoints, load.connections()).await?;
    let warm = writes(load, &channels, load.warmup()).await?;
    // Named, since a member that lags would take "from now" for an earlier revision.
    let first = warm.writes.iter().map(|write| write.0).max().unwrap_or(0) + 1;
    let mut watchers = JoinSet::new();
    for number in 0..load.watchers as usize {
        let watcher = Watcher::start(&channels[number % channels.len()], first).await?;
        watchers.spawn(watcher.run(load.total, Payload::new(load.value_size)));
    }
    let start = Instant::now();
    let mut done = writes(load, &channels, load.total).await?;
    let stories = watchers.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    done.writes.sort_unstable();
    let mut errors = done.errors;
    for story in stories {
        errors += u64::from(story? != done.writes);
    }
    clean(&channels[0]).await?;
    done.errors = errors;
    let deliveries = Some(load.total * u64::from(load.watchers));
    Ok(Measured { deliveries, ..measured("watch", load, done, seconds) })
}

struct Watcher {
    /// Ends the stream when dropped.
    _requests: mpsc::Sender<WatchRequest>,
    stream: Streaming<WatchResponse>,
}

impl Watcher {
    async fn start(channel: &Channel, start_revision: i64) -> Result<Self> {
        let (key, range_end) = all_keys();
        let create = WatchCreateRequest { key, range_end, start_revision };
        let request_union = Some(RequestUnion::CreateRequest(create));
        let (requests, receiver) = mpsc::channel(1);
        requests.send(WatchRequest { request_union }).await?;
        let mut client = WatchClient::new(channel.clone());
        let mut stream = client.watch(requests_of(receiver)).await?.into_inner();
        let created = timeout(SILENCE, stream.message()).await??;
        ensure!(created.is_some_and(|answer| answer.created), "the watch was not created");
        Ok(Self { _requests: requests, stream })
    }

    /// Every delivery, as (revision, sequence).
    async fn run(mut self, total: u64, payload: Payload) -> Result<Vec<(i64, u64)>> {
        let mut story = Vec::new();
        while (story.len() as u64) < total {
            let message = timeout(SILENCE, self.stream.message()).await;
            let message = message.with_context(|| format!("{} deliveries", story.len()))??;
            let message = message.context("the stream ended")?;
            for event in message.events {
                if event.r#type() != EventType::Put {
                    bail!("something was deleted");
                }
                let kv = event.kv.context("an event has a key")?;
                let sequence = payload.sequence(&kv.value).context("a damaged value")?;
                story.push((kv.mod_revision, sequence));
            }
        }
        Ok(story)
    }
}

fn requests_of(receiver: mpsc::Receiver<WatchRequest>) -> impl Stream<Item = WatchRequest> {
    ReceiverStream::new(receiver)
}
