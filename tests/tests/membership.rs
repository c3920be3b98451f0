//! Members that are lost and come back, or are replaced, while clients write: real processes and
//! the commands that people use.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use quorate_core::MemberId;
use quorate_tests::{
    cluster::{Cluster, HEALTHY_WITHIN, POLL},
    command::{quorate, start},
    crash::Load,
};
use rustix::process::Signal;

const CLIENTS: u32 = 6;
/// Acknowledged writes before and after each step.
const WRITES: u64 = 150;
/// How long a member that may not start takes to find out, and one that may stop takes to do it.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const ID: MemberId = MemberId(3);

/// What a member loses while it is away.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// The second half of its log.
    Tail,
    /// Everything.
    Disk,
    /// Its newest votes, with what it logged since.
    Vote,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_tail_its_disk_or_its_vote_rejoins_under_load() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let load = Load::start(&cluster, CLIENTS);
    for (loss, back_as) in [(Loss::Tail, 4), (Loss::Disk, 5), (Loss::Vote, 6)] {
        load.go_on(WRITES, &cluster).await?;
        lose(&mut cluster, &load, loss).await.with_context(|| format!("{loss:?}"))?;
        cluster.spawn(ID)?;
        let status = cluster.wait_exit(ID, ENDS_WITHIN)?;
        let log = cluster.log(ID);
        ensure!(status.code() == Some(1), "{loss:?}: it ended with {status}; {log}");
        ensure!(log.contains("quorate member rejoin"), "{loss:?}: {log}");
        load.go_on(WRITES, &cluster).await?;
        rejoin(&mut cluster, back_as).with_context(|| format!("{loss:?}"))?;
    }
    load.go_on(WRITES, &cluster).await?;
    let report = load.end(&cluster).await?;
    println!("rejoins=3 {report}");
    assert!(report.is_clean(), "{report}\n{}", report.details.join("\n"));
    assert_eq!(voters(&cluster)?, [1, 2, 6]);
    Ok(())
}

/// Stops the member, and takes away what it had.
async fn lose(cluster: &mut Cluster, load: &Load, loss: Loss) -> Result<()> {
    let database = cluster.data_dir(ID).join("log/db");
    match loss {
        Loss::Disk => {
            cluster.kill(ID)?;
            cluster.wipe(ID)?;
        }
        Loss::Tail => {
            // Asked to stop it settles its journal, which would bring back what its log has lost.
            ensure!(cluster.stop(ID, ENDS_WITHIN)?.success(), "it stops");
            let file = OpenOptions::new().write(true).open(&database)?;
            file.set_len(file.metadata()?.len() / 2)?;
        }
        Loss::Vote => {
            ensure!(cluster.stop(ID, ENDS_WITHIN)?.success(), "it stops");
            let old = fs::read(&database)?;
            cluster.spawn(ID)?;
            // It votes for others, and for itself.
            cluster.wait_caught_up(ID).await?;
            for id in [MemberId(1), MemberId(2), ID, MemberId(1)] {
                lead(cluster, id).await?;
                load.go_on(WRITES, cluster).await?;
            }
            ensure!(cluster.stop(ID, ENDS_WITHIN)?.success(), "it stops");
            fs::write(&database, old)?;
        }
    }
    Ok(())
}

/// Makes a member lead, however often it must be asked.
async fn lead(cluster: &Cluster, id: MemberId) -> Result<()> {
    let until = Instant::now() + HEALTHY_WITHIN;
    let target = cluster.coordinator(id).status().await?.member.to_string();
    while cluster.wait_leader().await? != id {
        ensure!(Instant::now() < until, "member {id} does not lead\n{}", cluster.logs());
        // Whatever it says: who leads is asked next.
        quorate(cluster, &["member", "transfer", &target])?;
    }
    Ok(())
}

/// Runs the command, and the member as soon as it may start.
fn rejoin(cluster: &mut Cluster, back_as: u64) -> Result<()> {
    let (config, data) = (path(cluster.config(ID))?, path(cluster.data_dir(ID))?);
    let rejoining =
        start(cluster, &["member", "rejoin", "--config", &config, "--data-dir", &data])?;
    let note = PathBuf::from(&data).join("member.toml");
    // There may be one of an earlier time.
    let is_noted =
        || fs::read_to_string(&note).is_ok_and(|it| it.contains(&format!("= {back_as}")));
    let until = Instant::now() + HEALTHY_WITHIN;
    while !is_noted() {
        ensure!(Instant::now() < until, "no {} in time", note.display());
        std::thread::sleep(POLL);
    }
    cluster.spawn(ID)?;
    let ran = rejoining.ended()?;
    let rows = ran.json().with_context(|| cluster.logs())?;
    let row = rows.first().context("a row")?;
    ensure!(row["member_id"] == back_as && row["state"] == "voter", "{row}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_died_is_replaced_under_load_and_the_new_one_counts() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let (dead, new) = (MemberId(3), MemberId(4));
    lead(&cluster, dead).await?;
    cluster.kill(dead)?;
    let load = Load::start(&cluster, CLIENTS);
    load.go_on(WRITES, &cluster).await?;
    cluster.newcomer(new)?;
    let (peer, client) = (cluster.peer(new).to_string(), cluster.endpoint(new).to_string());
    let replace = ["member", "replace", "3", "4", "--peer", &peer, "--client", &client];
    let replacing = start(&cluster, &replace)?;
    cluster.spawn(new)?;
    let ran = replacing.ended()?;
    ensure!(ran.code == 0, "{ran:?}\n{}", cluster.logs());
    load.go_on(WRITES, &cluster).await?;
    assert_eq!(voters(&cluster)?, [1, 2, 4]);

    // With one of the old ones away nothing is acknowledged without the new one.
    let other = cluster.wait_leader().await?;
    let other = if other == new { MemberId(1) } else { other };
    cluster.kill(other)?;
    load.go_on(WRITES, &cluster).await?;
    cluster.spawn(other)?;
    load.go_on(WRITES, &cluster).await?;
    let report = load.end(&cluster).await?;
    println!("replaced=1 {report}");
    assert!(report.is_clean(), "{report}\n{}", report.details.join("\n"));

    // The dead one comes back, is told, and ends.
    cluster.spawn(dead)?;
    let status = cluster.wait_exit(dead, ENDS_WITHIN)?;
    let log = cluster.log(dead);
    ensure!(status.code() == Some(1) && log.contains("member 3 was removed"), "{status}: {log}");
    Ok(())
}

/// A leader counts on whom it heard within the longest election timeout: so long that the paused
/// learner answers as far as the leader knows, and only lags.
const PATIENT: &str = "\
[raft]
election_ms_min = 600
election_ms_max = 20000
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_answers_and_lags_is_not_promoted() -> Result<()> {
    let mut cluster = Cluster::start_with(1, PATIENT).await?;
    let (leader, learner) = (cluster.coordinator(MemberId(1)), MemberId(2));
    cluster.newcomer(learner)?;
    let (peer, client) = (cluster.peer(learner).to_string(), cluster.endpoint(learner).to_string());
    quorate(&cluster, &["member", "add", "2", "--peer", &peer, "--client", &client])?.json()?;
    cluster.spawn(learner)?;
    let until = Instant::now() + HEALTHY_WITHIN;
    while state(&cluster, learner)? != "learner" {
        ensure!(Instant::now() < until, "it does not join\n{}", cluster.logs());
    }
    cluster.wait_caught_up(learner).await?;

    cluster.signal(learner, Signal::STOP)?;
    for number in 0..200 {
        leader.put(&format!("k{number}"), b"v").await?;
    }
    let refused = quorate(&cluster, &["member", "promote", "2"])?;
    cluster.signal(learner, Signal::CONT)?;
    let said = ["member 2 lags", "are missing and at most 50 may be", "PRECONDITION_FAILED"];
    ensure!(
        refused.code == 1 && said.iter().all(|it| refused.stderr.contains(it)),
        "a learner that lags: {refused:?}"
    );
    assert_eq!(state(&cluster, learner)?, "learner", "nothing was changed");
    let promoted = quorate(&cluster, &["member", "promote", "2", "--wait"])?;
    ensure!(promoted.code == 0, "{promoted:?}");
    assert_eq!(voters(&cluster)?, [1, 2]);
    Ok(())
}

fn state(cluster: &Cluster, id: MemberId) -> Result<String> {
    let rows = quorate(cluster, &["member", "list"])?.json()?;
    let row = rows.iter().find(|row| row["member_id"] == id.get());
    Ok(row.and_then(|row| row["state"].as_str()).unwrap_or_default().to_owned())
}

fn voters(cluster: &Cluster) -> Result<Vec<u64>> {
    let rows = quorate(cluster, &["member", "list"])?.json()?;
    let voters = rows.iter().filter(|row| row["state"] == "voter");
    voters.map(|row| row["member_id"].as_u64().context("an id")).collect()
}

fn path(path: &std::path::Path) -> Result<String> {
    Ok(path.to_str().context("a readable path")?.to_owned())
}
