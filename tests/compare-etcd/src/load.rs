//! Writes and reads: clients that each send one request after another until all are done.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    Load, Measured,
    connection::connect,
    etcd::{DeleteRangeRequest, PutRequest, RangeRequest, kv_client::KvClient},
    payload::{Payload, all_keys, key},
};

/// The longest latency that is told apart: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// What one client did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) errors: u64,
    /// (revision, sequence) of every acknowledged write.
    pub(crate) writes: Vec<(i64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Put,
    Get,
}

/// Measures writes. Every reply must have a revision of its own.
pub(crate) async fn put(load: &Load) -> Result<Measured> {
    let channels = connect(&load.endpoints, load.connections()).await?;
    run(load, &channels, Request::Put, load.warmup()).await?;
    let start = Instant::now();
    let mut done = run(load, &channels, Request::Put, load.total).await?;
    let seconds = start.elapsed().as_secs_f64();
    let revisions: BTreeSet<i64> = done.writes.iter().map(|write| write.0).collect();
    done.errors += load.total.saturating_sub(revisions.len() as u64 + done.errors);
    clean(&channels[0]).await?;
    Ok(measured("put", load, done, seconds))
}

/// Measures reads. Every read must return what was written before.
pub(crate) async fn get(load: &Load) -> Result<Measured> {
    let channels = connect(&load.endpoints, load.connections()).await?;
    run(load, &channels, Request::Put, u64::from(load.keys)).await?;
    run(load, &channels, Request::Get, load.warmup()).await?;
    let start = Instant::now();
    let done = run(load, &channels, Request::Get, load.total).await?;
    let seconds = start.elapsed().as_secs_f64();
    clean(&channels[0]).await?;
    Ok(measured("get", load, done, seconds))
}

/// Writes `total` values; the number of a write is its sequence.
pub(crate) async fn writes(load: &Load, channels: &[Channel], total: u64) -> Result<Done> {
    run(load, channels, Request::Put, total).await
}

/// Deletes all keys.
pub(crate) async fn clean(channel: &Channel) -> Result<()> {
    let (key, range_end) = all_keys();
    KvClient::new(channel.clone()).delete_range(DeleteRangeRequest { key, range_end }).await?;
    Ok(())
}

pub(crate) fn measured(operation: &'static str, load: &Load, done: Done, seconds: f64) -> Measured {
    Measured {
        operation,
        clients: load.clients,
        total: load.total,
        errors: done.errors,
        seconds,
        latency_us: done.latency_us,
        deliveries: None,
    }
}

async fn run(load: &Load, channels: &[Channel], request: Request, total: u64) -> Result<Done> {
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for number in 0..load.clients as usize {
        let client = Client {
            kv: KvClient::new(channels[number % channels.len()].clone()),
            payload: Payload::new(load.value_size),
            keys: u64::from(load.keys),
        };
        clients.spawn(client.run(request, Arc::clone(&next), total));
    }
    let mut all = Done::empty()?;
    while let Some(done) = clients.join_next().await {
        let done = done.context("a client panicked")??;
        all.latency_us.add(&done.latency_us)?;
        all.errors += done.errors;
        all.writes.extend(done.writes);
    }
    Ok(all)
}

impl Done {
    fn empty() -> Result<Self> {
        let latency_us = Histogram::new_with_max(LATENCY_US_MAX, 3)?;
        Ok(Self { latency_us, errors: 0, writes: Vec::new() })
    }
}

struct Client {
    kv: KvClient<Channel>,
    payload: Payload,
    keys: u64,
}

impl Client {
    async fn run(mut self, request: Request, next: Arc<AtomicU64>, total: u64) -> Result<Done> {
        let mut done = Done::empty()?;
        loop {
            let sequence = next.fetch_add(1, Ordering::Relaxed);
            if sequence >= total {
                return Ok(done);
            }
            let key = key(sequence % self.keys);
            let start = Instant::now();
            let right = match request {
                Request::Put => self.put(key, sequence, &mut done.writes).await,
                Request::Get => self.get(key, sequence % self.keys).await,
            };
            let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            done.latency_us.saturating_record(took);
            done.errors += u64::from(!right);
        }
    }

    async fn put(&mut self, key: Bytes, sequence: u64, writes: &mut Vec<(i64, u64)>) -> bool {
        let value = self.payload.value(sequence);
        let answer = self.kv.put(PutRequest { key, value }).await;
        let header = answer.ok().and_then(|answer| answer.into_inner().header);
        let revision = header.map_or(0, |header| header.revision);
        writes.push((revision, sequence));
        revision > 0
    }

    /// Before the reads, the n-th key was written with sequence n.
    async fn get(&mut self, key: Bytes, sequence: u64) -> bool {
        let request = RangeRequest { key: key.clone(), range_end: Bytes::new() };
        let answer = self.kv.range(request).await.map(tonic::Response::into_inner);
        answer.is_ok_and(|answer| match &answer.kvs[..] {
            [kv] => kv.key == key && self.payload.sequence(&kv.value) == Some(sequence),
            _ => false,
        })
    }
}
