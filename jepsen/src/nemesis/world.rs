//! What all faults of a run work with, and how one of them passes its time.
//!
//! Owns nothing that is not also used by others. Must not know single faults.

use std::time::Duration;

use anyhow::Context;
use quorate_core::MemberId;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::members::Roll;
use crate::{
    cluster::{Cluster, monitor::Monitor, node::Node},
    history::{CrashEvent, What, record::Recorder},
    net::{Port, endpoint, nft::Firewall},
};

/// How often a condition is looked at again.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What all faults of a run work with.
pub(crate) struct World {
    /// The processes.
    pub(crate) cluster: Cluster,
    /// The network.
    pub(crate) firewall: Firewall,
    /// Who leads.
    pub(crate) monitor: Monitor,
    /// Where it is told.
    pub(crate) recorder: Recorder,
    /// Who is a member, and on which host.
    pub(super) roll: Roll,
}

/// The time that a fault has.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// Until then it stays.
    pub(super) until: Instant,
    /// Or until all faults must end.
    pub(super) halt: CancellationToken,
    /// Nothing counts any more: what takes long is given up.
    pub(super) abandon: CancellationToken,
}

impl World {
    /// Everything that is needed, with the cluster as it was founded.
    pub(crate) fn new(
        cluster: Cluster,
        firewall: Firewall,
        monitor: Monitor,
        recorder: Recorder,
    ) -> Self {
        let roll = Roll::founded(cluster.founders());
        Self { cluster, firewall, monitor, recorder, roll }
    }

    /// Notes processes that ended by themselves; tells whether one did that must not.
    pub(crate) fn look(&self) -> bool {
        let ends = self.cluster.ends();
        let crashed = ends.iter().any(|end| matches!(end, What::Crash(_)));
        for end in ends {
            self.recorder.add(end);
        }
        crashed
    }

    /// Tells that a coordinator did what it must not do.
    pub(super) fn accuse(&self, node: &Node, detail: impl Into<String>) {
        self.recorder.add(What::Crash(CrashEvent { node: node.host, detail: detail.into() }));
    }

    /// Kills coordinators, all at once, and reaps them.
    pub(super) async fn kill(&self, hosts: &[MemberId]) -> anyhow::Result<()> {
        let struck: Result<Vec<_>, _> = self.cluster.on(hosts).map(Node::strike).collect();
        for mut child in struck?.into_iter().flatten() {
            child.wait().await.context("reap a coordinator")?;
        }
        Ok(())
    }

    /// Waits until a coordinator serves clients, or for so long.
    pub(super) async fn serves(&self, node: &Node, within: Duration) {
        let address = endpoint(node.host, Port::Client);
        let reached = async {
            while TcpStream::connect(&address).await.is_err() {
                sleep(LOOK_EVERY).await;
            }
        };
        // One that does not is found by the checks, not here.
        let served = timeout(within, reached).await;
        drop(served);
    }
}

impl Span {
    /// Whether there is time left.
    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.until && !self.halt.is_cancelled()
    }

    /// Lets the time pass.
    pub(super) async fn pass(&self) {
        self.pass_until(self.until).await;
    }

    /// Lets some of the time pass.
    pub(super) async fn wait(&self, time: Duration) {
        self.pass_until(self.until.min(Instant::now() + time)).await;
    }

    async fn pass_until(&self, time: Instant) {
        tokio::select! {
            () = sleep_until(time) => {}
            () = self.halt.cancelled() => {}
        }
    }
}
