//! The client against three real coordinators in this process, on sockets and disk.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod calls;
mod once;
mod recipes;
mod streams;

use std::{collections::BTreeMap, time::Duration};

use quorate_client::{Client, ClientConfig};
use quorate_core::{KeyRange, Kind, MemberId};
use quorate_node::{
    Node,
    config::{Config, Listeners, Member},
};

/// Three coordinators, and the folder of their data.
struct Cluster {
    folder: tempfile::TempDir,
    members: Vec<Member>,
    nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    async fn start() -> Self {
        let (mut bound, mut members) = (Vec::new(), Vec::new());
        for id in 1..=3 {
            let listeners = Listeners::local().await.unwrap();
            members.push(listeners.member(MemberId(id)).unwrap());
            bound.push((id, listeners));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self { folder, members, nodes: BTreeMap::new() };
        let starting = bound.into_iter().map(|(id, listeners)| {
            let config = cluster.config(id);
            async move { (id, Node::start_on(config, listeners).await.unwrap()) }
        });
        cluster.nodes = futures::future::join_all(starting).await.into_iter().collect();
        // Forming takes a while on a busy machine.
        let everything = KeyRange::Prefix(Kind::Entry, "".into());
        cluster.client().count(everything).timeout(Duration::from_secs(60)).await.unwrap();
        cluster
    }

    fn config(&self, id: u64) -> Config {
        let folder = self.folder.path().join(format!("node{id}"));
        Config::local(MemberId(id), &self.members, folder)
    }

    async fn stop(&mut self, id: u64) {
        self.nodes.remove(&id).unwrap().shutdown().await;
    }

    async fn restart(&mut self, id: u64) {
        let member = self.members.iter().find(|member| member.id == MemberId(id)).unwrap();
        let mut config = self.config(id);
        config.listen.client = member.client.parse().unwrap();
        config.listen.peer = member.peer.parse().unwrap();
        self.nodes.insert(id, Node::start(config).await.unwrap());
    }

    /// A client of all, with more patience than a busy machine needs.
    fn client(&self) -> Client {
        let endpoints = self.members.iter().map(|member| member.client.clone());
        let config = ClientConfig::new(endpoints).with_timeout(Duration::from_secs(20));
        Client::new(config).unwrap()
    }

    async fn shutdown(self) {
        futures::future::join_all(self.nodes.into_values().map(Node::shutdown)).await;
    }
}
