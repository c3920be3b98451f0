//! The crash programme: what a cluster must survive, with real processes and SIGKILL.
//!
//! [`leader_kills`] writes from several clients while leaders are killed, with followers of the
//! change stream on every member, and then counts what was lost, applied twice, or left out of a
//! stream. [`outage`] has what happens when a majority, everything, or the disk of a member is gone.
//! Every wait is for a condition and bounded; a run that did too little fails.

mod follower;
pub mod outage;
mod verdict;
mod writer;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_core::{MemberId, Revision};
use tokio::{sync::watch, task::JoinSet, time::timeout};

pub use self::verdict::Report;
use self::{follower::Story, writer::Attempt};
use crate::{
    calls::Coordinator,
    cluster::{Cluster, HEALTHY_WITHIN},
};

/// How much a run does.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many leaders are killed, at least.
    pub kills: u32,
    /// How many writes are acknowledged, at least.
    pub writes: u64,
    /// How many clients write at the same time.
    pub clients: u32,
}

/// Acknowledged writes between two steps of a kill, so that each phase sees some.
const WRITES_PER_PHASE: u64 = 50;
/// How long a phase may take.
const PHASE: Duration = Duration::from_secs(120);

/// Kills leaders during writes, then says what came of the writes.
///
/// # Errors
/// When the cluster cannot be started, or does not go on in time after a kill.
pub async fn leader_kills(cluster: &mut Cluster, settings: Settings) -> Result<Report> {
    let (finish, finished) = watch::channel(None);
    let followers = spawn_followers(&cluster.coordinators(), &finished);
    let (acknowledged, progress) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let mut writers = JoinSet::new();
    for client in 0..settings.clients {
        let coordinators = cluster.coordinators();
        writers.spawn(writer::run(client, coordinators, acknowledged.clone(), stopped.clone()));
    }

    for kill in 1..=settings.kills {
        let due = settings.writes * u64::from(kill) / u64::from(settings.kills + 1);
        reach(&progress, due, cluster).await?;
        kill_leader(cluster, &progress).await.with_context(|| format!("kill {kill}"))?;
    }
    reach(&progress, settings.writes, cluster).await?;
    stop.send_replace(true);
    let attempts: Vec<Attempt> = writers.join_all().await.into_iter().flatten().collect();

    cluster.wait_healthy().await?;
    let any = &cluster.coordinators()[0];
    let (last, _) = any.entries("").await?;
    finish.send_replace(Some(last));
    let stories = timeout(PHASE, followers.join_all()).await;
    let stories = stories.with_context(|| format!("no follower end at {last} in {PHASE:?}"))?;

    let mut replicas = Vec::new();
    for coordinator in cluster.coordinators() {
        replicas.push((coordinator.id, coordinator.entries("").await?.1));
    }
    let mut report = verdict::judge(&attempts, &stories, &replicas, last);
    report.kills = settings.kills;
    report.details.extend(different_states(cluster).await?);
    Ok(report)
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

/// Kills the leader, sees the others go on, starts it again and sees it catch up.
async fn kill_leader(cluster: &mut Cluster, progress: &watch::Receiver<u64>) -> Result<()> {
    let leader = cluster.wait_leader().await?;
    cluster.kill(leader)?;
    let before = *progress.borrow();
    cluster.wait_leader().await?;
    reach(progress, before + WRITES_PER_PHASE, cluster).await?;
    cluster.spawn(leader)?;
    cluster.wait_caught_up(leader).await
}

/// Waits until so many writes are acknowledged.
async fn reach(progress: &watch::Receiver<u64>, writes: u64, cluster: &Cluster) -> Result<()> {
    let mut progress = progress.clone();
    let reached = timeout(PHASE, progress.wait_for(|done| *done >= writes)).await;
    let reached = reached.is_ok_and(|reached| reached.is_ok());
    let done = *progress.borrow();
    ensure!(reached, "{done} of {writes} writes in {PHASE:?}\n{}", cluster.logs());
    Ok(())
}

/// Replicas at the same log index whose states differ.
async fn different_states(cluster: &Cluster) -> Result<Vec<String>> {
    cluster.wait_healthy().await?;
    let until = tokio::time::Instant::now() + HEALTHY_WITHIN;
    loop {
        let mut states: Vec<(MemberId, _, u64)> = Vec::new();
        for coordinator in cluster.coordinators() {
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
