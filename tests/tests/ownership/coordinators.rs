//! Faults of the coordinators, on their own schedule: what happens to the workers meanwhile is not
//! coordinated with them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_core::{MemberId, Term};
use quorate_tests::{
    calls::Status,
    cluster::{Cluster, HEALTHY_WITHIN, POLL},
};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

/// What happens to coordinators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The leader is killed, and started again when another one leads.
    LeaderKilled,
    /// The leader is paused until another one leads.
    LeaderPaused,
    /// A follower is paused and the leader is killed: no quorum until it goes on.
    NoQuorum,
}

const FAULTS: [Fault; 7] = [
    Fault::LeaderKilled,
    Fault::LeaderPaused,
    Fault::LeaderKilled,
    Fault::NoQuorum,
    Fault::LeaderPaused,
    Fault::LeaderKilled,
    Fault::LeaderKilled,
];
/// How long nothing happens between two faults.
const PAUSE: Duration = Duration::from_secs(4);
/// How long there is no quorum.
const NO_QUORUM: Duration = Duration::from_millis(500);

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) kills: usize,
    pub(crate) pauses: usize,
    pub(crate) leader_changes: usize,
}

/// Does everything once.
pub(crate) async fn run(mut cluster: Cluster) -> Result<(Cluster, Done)> {
    let mut done = Done::default();
    for fault in FAULTS {
        sleep(PAUSE).await;
        strike(&mut cluster, fault, &mut done)
            .await
            .with_context(|| format!("{fault:?}\n{}", cluster.logs()))?;
    }
    Ok((cluster, done))
}

async fn strike(cluster: &mut Cluster, fault: Fault, done: &mut Done) -> Result<()> {
    let (leader, term) = leader(cluster, &cluster.ids(), Term(0)).await?;
    let others: Vec<MemberId> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    match fault {
        Fault::LeaderKilled => {
            cluster.kill(leader)?;
            done.kills += 1;
            self::leader(cluster, &others, term).await?;
            cluster.spawn(leader)?;
        }
        Fault::LeaderPaused => {
            cluster.signal(leader, Signal::STOP)?;
            done.pauses += 1;
            self::leader(cluster, &others, term).await?;
            cluster.signal(leader, Signal::CONT)?;
        }
        Fault::NoQuorum => {
            let follower = others[0];
            cluster.signal(follower, Signal::STOP)?;
            cluster.kill(leader)?;
            (done.kills, done.pauses) = (done.kills + 1, done.pauses + 1);
            sleep(NO_QUORUM).await;
            cluster.signal(follower, Signal::CONT)?;
            self::leader(cluster, &others, term).await?;
            cluster.spawn(leader)?;
        }
    }
    done.leader_changes += 1;
    cluster.wait_caught_up(leader).await
}

/// Which of these members leads, in a term after `after`.
async fn leader(cluster: &Cluster, of: &[MemberId], after: Term) -> Result<(MemberId, Term)> {
    let until = Instant::now() + HEALTHY_WITHIN;
    loop {
        for id in of {
            let status = cluster.coordinator(*id).status().await.ok().filter(Status::leads);
            if let Some(status) = status.filter(|status| status.term > after) {
                return Ok((status.member, status.term));
            }
        }
        ensure!(Instant::now() < until, "no leader among {of:?} in {HEALTHY_WITHIN:?}");
        sleep(POLL).await;
    }
}
