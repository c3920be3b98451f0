//! At most one owner per partition while workers are paused, killed and restarted: real processes,
//! and a checker over what they and the cluster said.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod checker;
mod fleet;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use quorate_client::{
    Client, ClientConfig, Reason, Start, WatchEvent, WatchOptions, network::partition,
};
use quorate_core::{
    Epoch, Filter, Key, Kind, Name, NetworkSpec, Parallelism, PartitionId, PartitionPolicy,
    Process, Resources, Revision,
};
use quorate_tests::cluster::{Cluster, HEALTHY_WITHIN, POLL};
use rustix::process::Signal;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use checker::{Change, Write, violations};
use fleet::{Fleet, TTL};

const WORKERS: [&str; 3] = ["w1", "w2", "w3"];
const PARTITIONS: u32 = 6;
/// So many of a partition's newest epochs are tried after every change.
const EPOCHS_TRIED: usize = 3;

/// What happens to a worker.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Paused until its session has ended; it finds out when it goes on.
    PausedForLong,
    /// Paused for a moment.
    PausedBriefly,
    /// Killed, and started again at once under its name.
    Killed,
    /// Asked to stop, and started again.
    Stopped,
}

const FAULTS: [Fault; 10] = [
    Fault::PausedForLong,
    Fault::Killed,
    Fault::Stopped,
    Fault::PausedBriefly,
    Fault::Killed,
    Fault::PausedForLong,
    Fault::Killed,
    Fault::Stopped,
    Fault::PausedForLong,
    Fault::Killed,
];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn spec() -> NetworkSpec {
    let process = |number| Process {
        id: name(&format!("p{number}")),
        component: "test".into(),
        needs: Resources::default(),
        parallelism: Parallelism { min: 1, max: 1 },
    };
    NetworkSpec {
        processes: (0..PARTITIONS).map(process).collect(),
        connections: Vec::new(),
        policy: PartitionPolicy { partitions: PARTITIONS, strategy: name("round-robin") },
    }
}

/// What the change stream and the guarded writes said.
#[derive(Default)]
struct Recorded {
    changes: Vec<Change>,
    writes: Vec<Write>,
    refused: usize,
}

/// Follows all partitions from the first revision on. After every change it writes guarded by
/// the newest epochs that the partition had.
async fn record(client: Client, until: watch::Receiver<Option<Revision>>) -> Result<Recorded> {
    let filter = Filter { kinds: vec![Kind::Partition], ..Filter::default() };
    let start = Start::From(Revision(1));
    let mut watch = client.watch(WatchOptions { start, filter, ..WatchOptions::default() });
    let mut recorded = Recorded::default();
    let mut epochs: BTreeMap<PartitionId, BTreeSet<Epoch>> = BTreeMap::new();
    loop {
        // Progress comes on a quiet stream, so that the end is seen too.
        let event = watch.next().await?;
        let (WatchEvent::Changes { revision, .. } | WatchEvent::Progress { revision }) = &event
        else {
            continue;
        };
        let revision = *revision;
        if let WatchEvent::Changes { changes, .. } = event {
            for change in changes {
                let id =
                    PartitionId::parse(std::str::from_utf8(&change.key.bytes)?).context("id")?;
                let current = change.current.as_ref().and_then(|it| partition(&change.key, it));
                let owner = current.and_then(|(_, found)| {
                    let owner = found.value.owner.clone()?;
                    Some((format!("{} {}", owner.worker, owner.session), found.value.epoch?))
                });
                let known = epochs.entry(id.clone()).or_default();
                known.extend(owner.as_ref().map(|(_, epoch)| *epoch));
                for epoch in known.iter().rev().take(EPOCHS_TRIED) {
                    guarded(&client, &id, *epoch, &mut recorded).await?;
                }
                recorded.changes.push(Change { revision, partition: id, owner });
            }
        }
        let end = *until.borrow();
        if end.is_some_and(|end| revision >= end) {
            return Ok(recorded);
        }
    }
}

async fn guarded(
    client: &Client,
    id: &PartitionId,
    epoch: Epoch,
    recorded: &mut Recorded,
) -> Result<()> {
    let write = client.transaction().put(Key::entry(format!("effect/{id}")), epoch.to_string());
    match write.guard_partition(id.clone(), epoch).commit().await {
        Ok(response) => {
            let (revision, partition) = (response.revision(), id.clone());
            recorded.writes.push(Write { revision, partition, epoch });
        }
        Err(error) if error.reason() == Some(Reason::StaleEpoch) => recorded.refused += 1,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Waits until the owners of the partitions are as wanted.
async fn until_owners(client: &Client, wanted: impl Fn(&[Option<String>]) -> bool) -> Result<()> {
    let give_up = Instant::now() + HEALTHY_WITHIN;
    loop {
        let found = client.list_partitions(None).await?.value;
        let owner = |partition: &quorate_core::Partition| {
            partition.owner.as_ref().map(|owner| owner.worker.to_string())
        };
        let owners: Vec<_> = found.iter().map(|(_, found)| owner(&found.value)).collect();
        if wanted(&owners) {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "not in time: {owners:?}");
        tokio::time::sleep(POLL).await;
    }
}

async fn strike(
    fault: Fault,
    worker: &str,
    fleet: &mut Fleet,
    cluster: &Cluster,
    client: &Client,
) -> Result<()> {
    let gone = |owners: &[Option<String>]| owners.iter().all(|it| it.as_deref() != Some(worker));
    match fault {
        Fault::PausedForLong => {
            fleet.signal(worker, Signal::STOP)?;
            until_owners(client, gone).await?;
            fleet.signal(worker, Signal::CONT)?;
            let (status, left) = fleet.ended(worker)?;
            ensure!(status.code() == Some(4) && !left, "it lost its session: {status}");
        }
        Fault::PausedBriefly => {
            fleet.signal(worker, Signal::STOP)?;
            tokio::time::sleep(TTL / 4).await;
            return fleet.signal(worker, Signal::CONT);
        }
        Fault::Killed => {
            fleet.signal(worker, Signal::KILL)?;
            fleet.ended(worker)?;
        }
        Fault::Stopped => {
            fleet.signal(worker, Signal::INT)?;
            let (status, left) = fleet.ended(worker)?;
            // Unless it lost its session just before.
            ensure!(status.success() && left || status.code() == Some(4), "it left: {status}");
        }
    }
    fleet.start(cluster, worker)
}

/// Moves half of the partitions to a worker, as often as it takes: it may lose its session, too.
async fn move_half(
    client: &Client,
    target: &Name,
    fleet: &mut Fleet,
    cluster: &Cluster,
) -> Result<()> {
    let half = || (0..PARTITIONS / 2).map(|index| PartitionId { network: name("net"), index });
    let give_up = Instant::now() + HEALTHY_WITHIN;
    loop {
        fleet.mend(cluster)?;
        match client.move_partitions(half().collect(), Some(target)).await {
            Ok(_) => {}
            Err(error) if error.reason() == Some(Reason::PreconditionFailed) => {}
            Err(error) => return Err(error.into()),
        }
        let found = client.list_partitions(None).await?.value;
        let owners = found.iter().map(|(_, found)| found.value.owner.as_ref());
        let owners: Vec<_> = owners.map(|owner| owner.map(|owner| &owner.worker)).collect();
        let arrived = owners.iter().take(half().count()).all(|owner| *owner == Some(target));
        if arrived && owners.iter().all(Option::is_some) {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "not moved to {target} in time: {owners:?}");
        tokio::time::sleep(POLL).await;
    }
}

fn start_recording(
    client: Client,
) -> (watch::Sender<Option<Revision>>, JoinHandle<Result<Recorded>>) {
    let (end, until) = watch::channel(None);
    (end, tokio::spawn(record(client, until)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_sessions_own_a_partition() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let endpoints = cluster.endpoints();
    let config = ClientConfig::new(endpoints.split(',')).with_timeout(Duration::from_secs(30));
    let client = Client::new(config)?;
    let (end, recorder) = start_recording(client.clone());
    let mut fleet = Fleet::new();
    for worker in WORKERS {
        fleet.start(&cluster, worker)?;
    }
    client.apply_network(&name("net"), spec()).await?;
    let owned = |owners: &[Option<String>]| {
        owners.len() == PARTITIONS as usize && owners.iter().all(Option::is_some)
    };
    until_owners(&client, owned).await?;
    for (round, fault) in FAULTS.into_iter().enumerate() {
        let worker = WORKERS[round % WORKERS.len()];
        if round == FAULTS.len() / 2 {
            let leader = cluster.wait_leader().await?;
            cluster.kill(leader)?;
            cluster.spawn(leader)?;
        }
        fleet.mend(&cluster)?;
        strike(fault, worker, &mut fleet, &cluster, &client)
            .await
            .with_context(|| format!("round {round}: {fault:?} {worker}"))?;
        // Planned moves, so that whoever was struck owns something when it is struck again.
        let target = name(WORKERS[(round + 1) % WORKERS.len()]);
        move_half(&client, &target, &mut fleet, &cluster).await?;
    }
    fleet.mend(&cluster)?;
    for worker in WORKERS {
        fleet.signal(worker, Signal::INT)?;
        fleet.ended(worker)?;
    }
    end.send_replace(Some(client.get("end").await?.revision()));
    let Recorded { changes, writes, refused } = recorder.await??;
    let claims = fleet.claims();
    println!(
        "changes={} guarded_writes={} stale_refused={refused} claims={} names_refused={} mended={}",
        changes.len(),
        writes.len(),
        claims.len(),
        fleet.refused,
        fleet.mended
    );
    assert_eq!(violations(&changes, &writes, &claims), Vec::<String>::new());
    // It was a test of something.
    assert!(writes.len() > 10 && refused > 20 && claims.len() > 20 && fleet.refused > 0);
    Ok(())
}
