//! A coordinator whose disk is full, or does not sync, stops with a message and an exit code, and
//! never goes on with what it may have lost. Started again with a disk that works, it has everything
//! that was acknowledged.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use quorate_core::MemberId;
use quorate_proto::v1::Consistency;
use quorate_tests::{
    cluster::{Cluster, HEALTHY_WITHIN, POLL},
    command::quorate,
    crash::Load,
    volume::Volume,
};

/// How long a coordinator takes from the failure to its end: it finishes open calls.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const FULL: &str = "40m";
const LARGER: &str = "400m";
const VALUE_BYTES: usize = 20_000;
/// How often it is started while there is no room.
const RESTARTS: u32 = 3;
const FULL_MESSAGE: &str = "No space left on device";
/// More than fit.
const WRITES_MAX: usize = 10_000;
const WRITES_MIN: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_coordinator_and_loses_nothing() -> Result<()> {
    let mut cluster = Cluster::prepare(1).await?;
    let id = MemberId(1);
    let volume = match Volume::mount(cluster.data_dir(id), FULL) {
        Ok(volume) => volume,
        Err(why) => {
            println!("SKIPPED, no small file system: {why:#}");
            return Ok(());
        }
    };
    let entering = volume.entering();
    let entering: Vec<&str> = entering.iter().map(String::as_str).collect();
    cluster.spawn_under(id, &entering)?;
    cluster.wait_healthy().await?;

    let coordinator = cluster.coordinator(id);
    let mut acknowledged = Vec::new();
    let failure = loop {
        let number = acknowledged.len();
        ensure!(number < WRITES_MAX, "the disk is not full after {number} writes");
        match coordinator.put(&format!("k{number:05}"), &value(number)).await {
            Ok(_) => acknowledged.push(number),
            Err(failure) => break failure,
        }
    };
    ensure!(acknowledged.len() >= WRITES_MIN, "only {} writes", acknowledged.len());
    ensures_stopped(&mut cluster, id, FULL_MESSAGE)?;
    ensure!(coordinator.get("k00000", Consistency::Local).await.is_err(), "nobody answers");

    for start in 1..=RESTARTS {
        cluster.spawn_under(id, &entering)?;
        let met = on_a_full_disk(&mut cluster, id, &mut acknowledged).await?;
        println!("start {start} on the full disk: {met}; acked={}", acknowledged.len());
    }

    volume.resize(LARGER)?;
    cluster.spawn_under(id, &entering)?;
    cluster.wait_healthy().await?;
    let (_, records) = coordinator.entries("k").await?;
    ensure!(records.len() >= acknowledged.len(), "{} of {acknowledged:?}", records.len());
    let there: BTreeMap<_, _> = records
        .iter()
        .filter_map(|record| {
            Some((&record.key.as_ref()?.key[..], quorate_tests::calls::value(record)))
        })
        .collect();
    for number in &acknowledged {
        let key = format!("k{number:05}");
        let found = there.get(key.as_bytes()).with_context(|| format!("{key} is lost"))?;
        ensure!(found[..] == value(*number), "{key} differs");
    }
    coordinator.put("after", b"v").await?;
    println!("acked={} lost=0, then: {failure}", acknowledged.len());
    Ok(())
}

/// Started on a disk that has no room, it refuses and says why, or serves what it has until it is
/// to write what does not fit, and then says why it stops.
async fn on_a_full_disk(
    cluster: &mut Cluster,
    id: MemberId,
    acknowledged: &mut Vec<usize>,
) -> Result<&'static str> {
    let coordinator = cluster.coordinator(id);
    let until = Instant::now() + HEALTHY_WITHIN;
    let leads = async || coordinator.status().await.is_ok_and(|status| status.leads());
    while !leads().await {
        match cluster.wait_exit(id, POLL) {
            Ok(status) => {
                let log = cluster.log(id);
                ensure!(status.code() == Some(1), "it ended with {status}; {log}");
                ensure!(log.contains(FULL_MESSAGE), "{log}");
                return Ok("refused");
            }
            Err(running) => {
                ensure!(Instant::now() < until, "it neither serves nor ends: {running}")
            }
        }
    }
    let (_, records) = coordinator.entries("k").await?;
    ensure!(records.len() >= acknowledged.len(), "{} of {acknowledged:?}", records.len());
    // What was unknown may have been applied, so from here on numbers are left out.
    let first = acknowledged.last().map_or(0, |last| last + 2);
    for number in first..first + WRITES_MAX {
        match coordinator.put(&format!("k{number:05}"), &value(number)).await {
            Ok(_) => acknowledged.push(number),
            Err(_) => break,
        }
    }
    ensures_stopped(cluster, id, FULL_MESSAGE)?;
    Ok("served")
}

fn value(number: usize) -> Vec<u8> {
    // Not to be compressed.
    let mut draw = number as u64;
    let next = || {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        draw.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(VALUE_BYTES).collect()
}

/// The failing call, what it fails with, and from which call on.
const FAULTS: [(&str, &str, u32); 3] =
    [("fdatasync", "EIO", 400), ("pwrite64", "ENOSPC", 700), ("pwrite64", "EIO", 200)];
const CLIENTS: u32 = 6;
const WRITES: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_fails_stops_and_the_others_go_on() -> Result<()> {
    if let Err(why) = Command::new("strace").arg("-V").stdout(Stdio::null()).status() {
        println!("SKIPPED, strace is not there: {why}");
        return Ok(());
    }
    let mut cluster = Cluster::start(3).await?;
    let load = Load::start(&cluster, CLIENTS);
    for ((call, error, when), id) in FAULTS.into_iter().zip(cluster.ids()) {
        cluster.stop(id, ENDS_WITHIN)?;
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:error={error}:when={when}+");
        // As a grandchild, so that the coordinator itself is the child that is waited for.
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        cluster.spawn_under(id, &strace)?;
        cluster.wait_caught_up(id).await?;
        lead(&cluster, id).await?;
        let says = if error == "EIO" { "Input/output error" } else { "No space left on device" };
        ensures_stopped(&mut cluster, id, says).with_context(|| format!("{call} {error}"))?;
        load.go_on(WRITES, &cluster).await?;
        cluster.spawn(id)?;
        cluster.wait_caught_up(id).await?;
    }
    load.go_on(WRITES, &cluster).await?;
    let report = load.end(&cluster).await?;
    println!("failed_disks={} {report}", FAULTS.len());
    assert!(report.is_clean(), "{report}\n{}", report.details.join("\n"));
    Ok(())
}

/// Makes a member lead, unless its disk fails before.
async fn lead(cluster: &Cluster, id: MemberId) -> Result<()> {
    let until = Instant::now() + HEALTHY_WITHIN;
    while cluster.wait_leader().await? != id && cluster.coordinator(id).status().await.is_ok() {
        ensure!(Instant::now() < until, "member {id} does not lead\n{}", cluster.logs());
        // Whatever it says: who leads is asked next.
        quorate(cluster, &["member", "transfer", &id.to_string()])?;
    }
    Ok(())
}

/// The process ends by itself, in time, with exit code 1 and a message.
fn ensures_stopped(cluster: &mut Cluster, id: MemberId, says: &str) -> Result<()> {
    let status = cluster.wait_exit(id, ENDS_WITHIN)?;
    let log = cluster.log(id);
    ensure!(status.code() == Some(1), "it ended with {status}; {log}");
    ensure!(log.contains("this coordinator has stopped") && log.contains(says), "{log}");
    Ok(())
}
