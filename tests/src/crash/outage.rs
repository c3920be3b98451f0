//! What happens when a majority, all members, or the disks of some are gone.
//!
//! Each function takes a healthy cluster of three and says what it saw; an error is a broken
//! promise. Must not know how bootstrap or elections work, only what is promised of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use quorate_core::{MemberId, Revision};
use quorate_proto::v1::Consistency;
use tonic::Code;

use super::load::Load;
use crate::{
    calls::{Coordinator, Failure, value},
    cluster::{Cluster, POLL},
};

/// Without a quorum a call must fail in twice the longest election timeout (2 x 1.2 s), plus what
/// a busy machine takes.
const FAILS_WITHIN: Duration = Duration::from_millis(2_400 + 2_000);
/// How long a member that may not start takes to find out.
const REFUSES_WITHIN: Duration = Duration::from_secs(30);
/// How long two wiped members are given to form a cluster, which they must not.
const TEMPTATION: Duration = Duration::from_secs(5);
/// How often all members are killed at once, how many clients write meanwhile, and how many of
/// their writes are acknowledged before and after each time.
const ROUNDS: u32 = 3;
const CLIENTS: u32 = 8;
const WRITES_PER_ROUND: u64 = 300;
const REJOIN: &str = "quorate member rejoin";

/// Entries that must be there: key, value and revision.
#[derive(Debug, Default)]
pub struct Written(BTreeMap<String, (String, Revision)>);

impl Written {
    /// Writes `count` entries through all members in turn.
    ///
    /// # Errors
    /// When a write fails: the cluster must be healthy.
    pub async fn add(&mut self, cluster: &Cluster, name: &str, count: usize) -> Result<()> {
        let running = cluster.running();
        for number in 0..count {
            let (key, value) = (format!("{name}/{number:05}"), format!("value {number} of {name}"));
            let coordinator = &running[number % running.len()];
            let revision = coordinator.put(&key, value.as_bytes()).await;
            let revision = revision.with_context(|| format!("put {key} on {}", coordinator.id))?;
            self.0.insert(key, (value, revision));
        }
        Ok(())
    }

    /// Reads everything, linearizably, from every running member.
    ///
    /// # Errors
    /// When something is missing or different.
    pub async fn check(&self, cluster: &Cluster) -> Result<()> {
        for coordinator in cluster.running() {
            let (_, records) = coordinator.entries("").await?;
            let found: BTreeMap<_, _> = records
                .iter()
                .filter_map(|record| Some((record.key.as_ref()?.key.clone(), record)))
                .collect();
            for (key, (expected, revision)) in &self.0 {
                let record = found.get(key.as_bytes());
                let same = record.is_some_and(|record| {
                    value(record) == *expected && record.modified == revision.get()
                });
                ensure!(same, "member {}: {key} at {revision}: {record:?}", coordinator.id);
            }
        }
        Ok(())
    }
}

/// Two of three are gone: once the leader is left, once a follower. Nothing is answered that needs a
/// quorum, and in time; after their restart everything is there.
///
/// # Errors
/// A broken promise.
pub async fn majority_gone(cluster: &mut Cluster) -> Result<String> {
    let mut written = Written::default();
    let mut slowest = Duration::ZERO;
    for leader_stays in [true, false] {
        written.add(cluster, &format!("majority-{leader_stays}"), 50).await?;
        let leader = cluster.wait_leader().await?;
        let follower = cluster.ids().into_iter().find(|id| *id != leader).context("three")?;
        let left = if leader_stays { leader } else { follower };
        let gone: Vec<_> = cluster.ids().into_iter().filter(|id| *id != left).collect();
        for id in &gone {
            cluster.kill(*id)?;
        }
        let alone = cluster.coordinator(left);
        slowest = slowest.max(answers_nothing(&alone).await?);
        let local = alone.get("majority-true/00000", Consistency::Local).await;
        ensure!(local.context("a local read needs no quorum")?.is_some(), "a local read is empty");
        for id in &gone {
            cluster.spawn(*id)?;
        }
        cluster.wait_healthy().await?;
        written.check(cluster).await?;
    }
    let slowest = slowest.as_millis();
    Ok(format!("majority_gone=ok entries={} slowest_error_ms={slowest}", written.0.len()))
}

/// All three are killed at once, in the middle of writes, again and again; after each restart they
/// go on, and at the end everything acknowledged is there.
///
/// # Errors
/// A broken promise.
pub async fn all_gone(cluster: &mut Cluster) -> Result<String> {
    let load = Load::start(cluster, CLIENTS);
    let mut kills = 0;
    for _ in 0..ROUNDS {
        load.go_on(WRITES_PER_ROUND, cluster).await?;
        cluster.kill_all()?;
        for id in cluster.ids() {
            cluster.spawn(id)?;
            kills += 1;
        }
        cluster.wait_leader().await?;
    }
    load.go_on(WRITES_PER_ROUND, cluster).await?;
    let mut report = load.end(cluster).await?;
    report.kills = kills;
    ensure!(report.is_clean(), "{report}\n{}\n{}", report.details.join("\n"), cluster.logs());
    Ok(format!("all_gone=ok {report}"))
}

/// One member loses its disk: it refuses to start and says what to do, the others go on. Then a
/// second one does: no second cluster comes to be, whether the third is there or not.
///
/// # Errors
/// A broken promise.
pub async fn disks_gone(cluster: &mut Cluster) -> Result<String> {
    let mut written = Written::default();
    written.add(cluster, "disks", 50).await?;
    let [first, second, third] = cluster.ids()[..] else { bail!("three members are needed") };

    cluster.kill(third)?;
    cluster.wipe(third)?;
    cluster.spawn(third)?;
    refuses(cluster, third)?;
    cluster.wait_healthy().await?;
    written.add(cluster, "one-wiped", 50).await?;
    written.check(cluster).await?;

    cluster.kill(second)?;
    cluster.wipe(second)?;
    for id in [second, third] {
        cluster.spawn(id)?;
    }
    for id in [second, third] {
        refuses(cluster, id)?;
    }
    answers_nothing(&cluster.coordinator(first)).await.with_context(|| cluster.logs())?;

    cluster.kill(first)?;
    for id in [second, third] {
        cluster.spawn(id)?;
    }
    let until = Instant::now() + TEMPTATION;
    while Instant::now() < until {
        for id in [second, third] {
            let answer = cluster.coordinator(id).put("second-cluster", b"x").await;
            ensure!(answer.is_err(), "wiped member {id} took a write: {answer:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    cluster.spawn(first)?;
    for id in [second, third] {
        refuses(cluster, id)?;
    }
    answers_nothing(&cluster.coordinator(first)).await.with_context(|| cluster.logs())?;
    Ok(format!("disks_gone=ok entries={}", written.0.len()))
}

/// The member ends with an error that says what to do.
fn refuses(cluster: &mut Cluster, id: MemberId) -> Result<()> {
    let status = cluster.wait_exit(id, REFUSES_WITHIN)?;
    ensure!(!status.success(), "member {id} without its data ended well");
    let log = cluster.log(id);
    ensure!(log.contains(REJOIN), "member {id} does not name `{REJOIN}`; {log}");
    Ok(())
}

/// Writes and linearizable reads fail in time, with an error that says why and what became of it.
/// Returns the longest time that took.
async fn answers_nothing(alone: &Coordinator) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    // The first calls may meet a leader that does not know yet, the later ones one that does.
    for round in 0..3 {
        let key = format!("no-quorum/{round}");
        let start = Instant::now();
        let put = alone.put(&key, b"x").await.map(|_| ());
        no_quorum("put", put, true, start, &mut slowest)?;
        let start = Instant::now();
        let create = alone.create(&key, b"x").await.map(|_| ());
        no_quorum("transaction", create, true, start, &mut slowest)?;
        let start = Instant::now();
        let get = alone.get(&key, Consistency::Linearizable).await.map(|_| ());
        no_quorum("get", get, false, start, &mut slowest)?;
    }
    Ok(slowest)
}

fn no_quorum(
    what: &str,
    answer: Result<(), Failure>,
    writes: bool,
    start: Instant,
    slowest: &mut Duration,
) -> Result<()> {
    let took = start.elapsed();
    let Err(failure) = answer else { bail!("{what} was answered without a quorum") };
    ensure!(
        failure.code == Code::Unavailable && failure.reason == "NO_QUORUM",
        "{what} without a quorum, after {took:?}: {failure}"
    );
    let said = ["NOT_APPLIED", "UNKNOWN"].contains(&failure.outcome.as_str());
    ensure!(said || !writes, "{what} does not say its outcome: {failure}");
    ensure!(took <= FAILS_WITHIN, "{what} took {took:?} to fail, at most {FAILS_WITHIN:?}");
    *slowest = took.max(*slowest);
    Ok(())
}
