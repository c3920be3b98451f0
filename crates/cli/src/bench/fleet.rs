//! The connections that a measurement uses, and the keys that it writes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use quorate_client::{Client, ClientConfig, Error};
use quorate_core::{Key, KeyRange, Kind, Revision};

use super::payload::Payload;
use crate::{args::BenchLoad, commands::Context};

/// How many connections there are unless it is said.
const CONNECTIONS_DEFAULT: u32 = 16;
/// How many keys are deleted by one command.
const DELETED_AT_ONCE: usize = 500;
/// How many keys are written at the same time before a measurement of reads.
const PREPARED_AT_ONCE: usize = 64;

/// Connections and keys.
#[derive(Debug)]
pub(super) struct Fleet {
    /// A client per connection. They begin at different coordinators, in turn.
    clients: Vec<Client>,
    /// The keys, in key order.
    pub(super) keys: Vec<Key>,
    /// What all keys begin with.
    pub(super) prefix: Bytes,
}

impl Fleet {
    /// Connections for this load, and keys that no other measurement uses.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub(super) async fn connect(context: &Context, load: &BenchLoad) -> Result<Self> {
        let wanted = load.connections.unwrap_or_else(|| load.clients.min(CONNECTIONS_DEFAULT));
        let config = match load.no_sessions {
            true => context.client_config().without_exactly_once(),
            false => context.client_config(),
        };
        let clients = (0..wanted as usize)
            .map(|index| context.client_of(rotated(config.clone(), index)))
            .collect::<Result<Vec<_>, Error>>()
            .map_err(|error| context.explain(&error))?;
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let prefix = format!("bench/{run:x}/");
        let keys = (0..load.keys).map(|index| Key::entry(format!("{prefix}{index:07}"))).collect();
        let fleet = Self { clients, keys, prefix: prefix.into() };
        fleet.revision(context).await?;
        Ok(fleet)
    }

    /// The cluster's revision now.
    pub(super) async fn revision(&self, context: &Context) -> Result<Revision> {
        let answer = self.client(0).count(self.keys[0].clone()).await;
        Ok(answer.map_err(|error| context.explain(&error))?.revision())
    }

    /// The connection of a client or watcher; they take turns.
    pub(super) fn client(&self, index: usize) -> &Client {
        &self.clients[index % self.clients.len()]
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.clients.len()
    }

    /// Writes every key: the value of a key is the one of its index.
    pub(super) async fn prepare(&self, context: &Context, payload: &Payload) -> Result<()> {
        let put = |(index, key): (usize, &Key)| {
            self.client(index).put(key.clone(), payload.value(index as u64)).into_future()
        };
        stream::iter(self.keys.iter().enumerate().map(put))
            .buffer_unordered(PREPARED_AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|error| context.explain(&error))
    }

    /// Deletes every key.
    pub(super) async fn remove(&self, context: &Context) -> Result<()> {
        for keys in self.keys.chunks(DELETED_AT_ONCE) {
            let last = &keys[keys.len() - 1].bytes;
            let range = KeyRange::Bounds {
                kind: Kind::Entry,
                start: keys[0].bytes.clone(),
                end: [&last[..], &[0]].concat().into(),
            };
            let deleted = self.client(0).delete(range).await;
            deleted.map_err(|error| context.explain(&error))?;
        }
        Ok(())
    }
}

/// The same endpoints, beginning with another one.
pub(super) fn rotated(mut config: ClientConfig, by: usize) -> ClientConfig {
    let count = config.endpoints.len();
    config.endpoints.rotate_left(by % count);
    config
}
