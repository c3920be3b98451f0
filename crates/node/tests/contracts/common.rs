//! A cluster of real nodes in this process, in a temporary directory.

use std::{collections::BTreeMap, time::Duration};

use quorate_core::{Command, Key, MemberId, Operation, Record, Transaction};
use quorate_node::{
    Node,
    config::{Config, Listeners, Member},
    coordinator::Freshness,
};
use tokio::time::Instant;

/// Generous: no test waits for it unless something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::from_default_env()
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// A command that writes one entry.
pub(crate) fn put(key: &str, value: &str) -> Command {
    let record = Record::Entry(value.to_owned().into());
    let key = Key::entry(key.to_owned());
    let operation = Operation::Put { key, record, return_previous: false };
    Command::Transaction(Transaction { success: vec![operation], ..Transaction::default() })
}

pub(crate) struct TestCluster {
    dir: tempfile::TempDir,
    members: Vec<Member>,
    /// Those that were added later.
    joined: Vec<Member>,
    nodes: BTreeMap<u64, Node>,
    change: fn(&mut Config),
}

impl TestCluster {
    /// Starts so many members and waits until each answers a linearizable read.
    pub(crate) async fn start(size: u64) -> Self {
        Self::start_with(size, |_| {}).await
    }

    /// The same with a changed configuration.
    pub(crate) async fn start_with(size: u64, change: fn(&mut Config)) -> Self {
        // Shown by the test runner when a test fails: RUST_LOG=quorate_node=debug tells more.
        drop(tracing_subscriber::fmt().with_test_writer().with_env_filter(filter()).try_init());
        let mut listeners = BTreeMap::new();
        let mut members = Vec::new();
        for id in 1..=size {
            let bound = Listeners::local().await.unwrap();
            members.push(bound.member(MemberId(id)).unwrap());
            listeners.insert(id, bound);
        }
        let dir = tempfile::tempdir().unwrap();
        let (joined, nodes) = (Vec::new(), BTreeMap::new());
        let mut cluster = Self { dir, members, joined, nodes, change };
        let starting = listeners.into_iter().map(|(id, bound)| {
            let config = cluster.config(id);
            async move { (id, Node::start_on(config, bound).await.unwrap()) }
        });
        let nodes = futures::future::join_all(starting).await;
        cluster.nodes = nodes.into_iter().collect();
        cluster.wait_until_it_serves().await;
        cluster
    }

    pub(crate) fn config(&self, id: u64) -> Config {
        let dir = self.dir.path().join(format!("node{id}"));
        let mut config = Config::local(MemberId(id), &self.members, dir);
        if let Some(member) = self.joined.iter().find(|member| member.id == config.node.id) {
            config.cluster.initial_members = Vec::new();
            let others = self.members.iter().chain(&self.joined).filter(|other| *other != member);
            config.cluster.join = others.map(|member| member.peer.clone()).collect();
        }
        (self.change)(&mut config);
        config
    }

    pub(crate) async fn wait_until_it_serves(&self) {
        for node in self.nodes() {
            let read = node.coordinator().read(Freshness::Linearizable, deadline()).await;
            if read.is_err() {
                // Forming and electing may take longer than one call waits for a leader.
                let mut contact = node.coordinator().in_contact();
                let there = contact.wait_for(|there| *there);
                tokio::time::timeout(PATIENCE, there).await.expect("a leader in time").unwrap();
            }
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    pub(crate) async fn stop(&mut self, id: u64) {
        self.nodes.remove(&id).expect("it runs").shutdown().await;
    }

    /// Starts a stopped member on the addresses that it had.
    pub(crate) async fn restart(&mut self, id: u64) {
        self.restart_unheard(id).await;
        self.wait_until_it_serves().await;
    }

    /// The same, without waiting for the others: some of them may be about to leave.
    pub(crate) async fn restart_unheard(&mut self, id: u64) {
        let node = self.start_again(id).await;
        self.nodes.insert(id, node);
    }

    /// Binds the sockets of a coordinator that is to be added.
    pub(crate) async fn newcomer(&mut self, id: u64) -> (Member, Listeners) {
        let bound = Listeners::local().await.unwrap();
        let member = bound.member(MemberId(id)).unwrap();
        self.joined.push(member.clone());
        (member, bound)
    }

    /// Starts one that was added, or will be, and waits until it has learnt of the cluster.
    pub(crate) async fn start_newcomer(&mut self, id: u64, bound: Listeners) {
        let node = Node::start_on(self.config(id), bound).await.unwrap();
        self.nodes.insert(id, node);
    }

    /// Takes a node out of this cluster, without stopping it.
    pub(crate) fn take(&mut self, id: u64) -> Node {
        self.nodes.remove(&id).expect("it runs")
    }

    /// Starts all members, which were stopped, at once.
    pub(crate) async fn restart_all(&mut self) {
        let ids: Vec<u64> = self.members.iter().map(|member| member.id.get()).collect();
        let starting = ids.iter().map(|id| async { (*id, self.start_again(*id).await) });
        let nodes = futures::future::join_all(starting).await;
        self.nodes = nodes.into_iter().collect();
        self.wait_until_it_serves().await;
    }

    async fn start_again(&self, id: u64) -> Node {
        let mut all = self.members.iter().chain(&self.joined);
        let member = all.find(|member| member.id.get() == id).unwrap();
        let mut config = self.config(id);
        config.listen.client = member.client.parse().unwrap();
        config.listen.peer = member.peer.parse().unwrap();
        Node::start(config).await.unwrap()
    }

    pub(crate) async fn shutdown(self) {
        futures::future::join_all(self.nodes.into_values().map(Node::shutdown)).await;
    }
}
