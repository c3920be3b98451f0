//! Clients that write and followers of the change stream, while somebody else makes things fail.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_core::{MemberId, Revision};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{
    follower::{self, Story},
    verdict::{self, Report},
    writer::{self, Attempt},
};
use crate::{
    calls::Coordinator,
    cluster::{Cluster, HEALTHY_WITHIN},
};

/// How long a phase may take.
const PHASE: Duration = Duration::from_secs(120);

/// See the module. Ends with [`Load::end`].
#[derive(Debug)]
pub struct Load {
    finish: watch::Sender<Option<Revision>>,
    followers: JoinSet<Story>,
    acknowledged: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    writers: JoinSet<Vec<Attempt>>,
}

impl Load {
    /// Starts so many clients, and followers on every member that runs. All of these members, or
    /// whoever comes in their place, run again at the end.
    #[must_use]
    pub fn start(cluster: &Cluster, clients: u32) -> Self {
        let (finish, finished) = watch::channel(None);
        let coordinators = cluster.running();
        let followers = spawn_followers(&coordinators, &finished);
        let (count, acknowledged) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let mut writers = JoinSet::new();
        for client in 0..clients {
            let coordinators = coordinators.clone();
            writers.spawn(writer::run(client, coordinators, count.clone(), stopped.clone()));
        }
        Self { finish, followers, acknowledged, stop, writers }
    }

    /// How many writes are acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Waits until so many writes are acknowledged.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn reach(&self, writes: u64, cluster: &Cluster) -> Result<()> {
        let mut progress = self.acknowledged.clone();
        let reached = timeout(PHASE, progress.wait_for(|done| *done >= writes)).await;
        let reached = reached.is_ok_and(|reached| reached.is_ok());
        let done = self.acknowledged();
        ensure!(reached, "{done} of {writes} writes in {PHASE:?}\n{}", cluster.logs());
        Ok(())
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn go_on(&self, writes: u64, cluster: &Cluster) -> Result<()> {
        self.reach(self.acknowledged() + writes, cluster).await
    }

    /// Stops the clients and judges what they, the followers and the members that run say.
    ///
    /// # Errors
    /// When the cluster does not get healthy, or the followers do not come to the end, in time.
    pub async fn end(self, cluster: &Cluster) -> Result<Report> {
        self.stop.send_replace(true);
        let attempts: Vec<Attempt> = self.writers.join_all().await.into_iter().flatten().collect();

        cluster.wait_healthy().await?;
        let coordinators = cluster.running();
        let any = coordinators.first().context("somebody runs")?;
        let (last, _) = any.entries("").await?;
        self.finish.send_replace(Some(last));
        let stories = timeout(PHASE, self.followers.join_all()).await;
        let stories = stories.with_context(|| format!("no follower end at {last} in {PHASE:?}"))?;

        let mut replicas = Vec::new();
        for coordinator in coordinators {
            replicas.push((coordinator.id, coordinator.entries("").await?.1));
        }
        let mut report = verdict::judge(&attempts, &stories, &replicas, last);
        report.details.extend(different_states(cluster).await?);
        Ok(report)
    }
}

/// One follower on each member that stays with it, and one that moves on whenever its stream ends.
fn spawn_followers(
    coordinators: &[Coordinator],
    finished: &watch::Receiver<Option<Revision>>,
) -> JoinSet<Story> {
    let mut followers = JoinSet::new();
    for first in 0..coordinators.len() {
        let stays = vec![coordinators[first].clone()];
        followers.spawn(follower::run(stays, finished.clone()));
        let mut moves = coordinators.to_vec();
        moves.rotate_left(first);
        followers.spawn(follower::run(moves, finished.clone()));
    }
    followers
}

/// Replicas at the same log index whose states differ.
async fn different_states(cluster: &Cluster) -> Result<Vec<String>> {
    cluster.wait_healthy().await?;
    let until = tokio::time::Instant::now() + HEALTHY_WITHIN;
    loop {
        let mut states: Vec<(MemberId, _, u64)> = Vec::new();
        for coordinator in cluster.running() {
            let status = coordinator.status().await?;
            states.push((status.member, status.applied, status.state_hash));
        }
        if states.iter().all(|state| state.1 == states[0].1) {
            let same = states.iter().all(|state| state.2 == states[0].2);
            return Ok(if same { Vec::new() } else { vec![format!("states differ: {states:?}")] });
        }
        ensure!(tokio::time::Instant::now() < until, "never at the same index: {states:?}");
    }
}
