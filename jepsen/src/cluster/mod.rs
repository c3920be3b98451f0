//! The coordinators under test, as processes.
//!
//! Owns the hosts' nodes, spare ones included, and what they need from the machine. Must not know
//! why a node is killed.

pub(crate) mod admin;
pub(crate) mod barriers;
pub(crate) mod config;
mod metrics;
pub(crate) mod monitor;
pub(crate) mod node;
pub(crate) mod volume;
pub(crate) mod wall;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use quorate_core::MemberId;

use crate::{
    history::{CrashEvent, EndedEvent, What},
    net::tool,
};
use config::Raft;
use node::{End, Node, Parts};
use volume::{Data, Volume, VolumeKind};
use wall::WallClock;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The binary under test.
    pub(crate) binary: PathBuf,
    /// Where configurations, logs and data go.
    pub(crate) dir: PathBuf,
    /// The hosts of the first members.
    pub(crate) founders: Vec<MemberId>,
    /// A host without a member.
    pub(crate) spare: Option<MemberId>,
    /// Where data is.
    pub(crate) volume: VolumeKind,
    /// The library that shows another time; none: wall clocks are not moved.
    pub(crate) faketime: Option<PathBuf>,
    /// When checkpoints are made.
    pub(crate) raft: Raft,
}

/// All coordinators.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    founders: Vec<MemberId>,
}

impl Cluster {
    /// Makes everything that is needed; nothing runs yet.
    pub(crate) async fn prepare(plan: &Plan) -> anyhow::Result<Self> {
        if plan.faketime.is_some() {
            // The library keeps its state there, and leaves it behind.
            tool::run("mount", &["-t", "tmpfs", "tmpfs", "/dev/shm"]).await?;
        }
        let mut nodes = Vec::new();
        for host in plan.founders.iter().copied().chain(plan.spare) {
            nodes.push(make(plan, host).await.with_context(|| format!("coordinator {host}"))?);
        }
        Ok(Self { nodes, founders: plan.founders.clone() })
    }

    /// The hosts of the first members: at the end of a run there are members on these.
    pub(crate) fn founders(&self) -> &[MemberId] {
        &self.founders
    }

    /// Starts every coordinator that does not run.
    pub(crate) fn start_missing(&self) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(Node::start)
    }

    /// The one on this host.
    pub(crate) fn node(&self, host: MemberId) -> anyhow::Result<&Node> {
        let found = self.nodes.iter().find(|node| node.host == host);
        found.with_context(|| format!("there is no host {host}"))
    }

    /// Those on these hosts, in that order.
    pub(crate) fn on<'a>(&'a self, hosts: &'a [MemberId]) -> impl Iterator<Item = &'a Node> {
        hosts.iter().filter_map(|host| self.nodes.iter().find(|node| node.host == *host))
    }

    /// The coordinators that ended without having been asked to, each told once.
    pub(crate) fn ends(&self) -> Vec<What> {
        let told = |node: &Node| {
            let host = node.host;
            Some(match node.unexpected_end()? {
                End::Expected(detail) => What::Ended(EndedEvent { node: host, detail }),
                End::Crash(detail) => What::Crash(CrashEvent { node: host, detail }),
            })
        };
        self.nodes.iter().filter_map(told).collect()
    }

    /// Asks every coordinator to stop, and kills those that do not; the latter are returned.
    pub(crate) async fn stop_all(&self) -> anyhow::Result<Vec<MemberId>> {
        // All at once, lest those that are left elect one leader after the other.
        self.nodes.iter().try_for_each(Node::ask_to_stop)?;
        let mut stubborn = Vec::new();
        for node in &self.nodes {
            if !node.stop().await? {
                stubborn.push(node.host);
            }
        }
        Ok(stubborn)
    }

    /// Panics in the coordinators' logs.
    pub(crate) fn panics(&self) -> Vec<CrashEvent> {
        let told = |node: &Node| {
            let line = node.panic()?;
            Some(CrashEvent { node: node.host, detail: format!("its log says: {line}") })
        };
        self.nodes.iter().filter_map(told).collect()
    }

    /// What each coordinator said last, for a cluster that did not come up.
    pub(crate) fn last_words(&self) -> String {
        let words: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("--- coordinator {}\n{}", node.host, node.last_words()))
            .collect();
        words.join("\n")
    }

    /// Ends what the data is on; the data stays or goes, the logs stay.
    pub(crate) async fn close(&self, data: Data) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.volume.close(data).await?;
        }
        Ok(())
    }
}

async fn make(plan: &Plan, host: MemberId) -> anyhow::Result<Node> {
    let dir = plan.dir.join(format!("node{host}"));
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let node = Node::new(Parts {
        host,
        binary: plan.binary.clone(),
        volume: Volume::create(&dir, plan.volume).await?,
        wall: wall(plan.faketime.as_deref(), &dir)?,
        dir,
        raft: plan.raft,
        spare: !plan.founders.contains(&host),
    });
    node.found(&plan.founders)?;
    Ok(node)
}

fn wall(library: Option<&Path>, dir: &Path) -> anyhow::Result<Option<WallClock>> {
    library.map(|library| WallClock::create(library.to_owned(), dir)).transpose()
}
