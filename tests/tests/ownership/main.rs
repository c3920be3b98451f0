//! At most one owner per partition while workers and coordinators are paused, killed and restarted:
//! real processes, and a checker over what they and the cluster said.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod coordinators;
mod fleet;
mod recorder;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_client::{Client, ClientConfig, Reason};
use quorate_core::{Name, NetworkSpec, PartitionId, PartitionPolicy, Process};
use quorate_tests::{
    cluster::{Cluster, HEALTHY_WITHIN, POLL},
    ownership::{Write, violations},
};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use self::{
    coordinators::Done,
    fleet::{Fleet, WORKERS},
    recorder::{Recorded, late_writes},
};

const PARTITIONS: u32 = 8;
/// How long a short pause of a worker is.
const BRIEFLY: Duration = Duration::from_millis(250);
/// What a worker ends with when its session is lost, or no coordinator answers it.
const UNAVAILABLE: [i32; 2] = [4, 5];

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

/// Each with the fault that strikes the next worker while the first has not got over its own.
const FAULTS: [(Fault, Fault); 8] = [
    (Fault::PausedForLong, Fault::Killed),
    (Fault::Killed, Fault::Stopped),
    (Fault::PausedForLong, Fault::PausedBriefly),
    (Fault::Stopped, Fault::PausedForLong),
    (Fault::Killed, Fault::Killed),
    (Fault::PausedForLong, Fault::PausedForLong),
    (Fault::PausedBriefly, Fault::Killed),
    (Fault::Killed, Fault::PausedForLong),
];

/// The minimum of what must have happened.
const EXPIRIES_MIN: usize = 10;
const LEADER_CHANGES_MIN: usize = 6;
const LEADER_KILLS_MIN: usize = 3;
const GRANTED_AGAIN_MIN: usize = 30;
const LATE_WRITES_MIN: usize = 6;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn spec() -> NetworkSpec {
    let process = |number| Process::new(name(&format!("p{number}")), "test");
    NetworkSpec {
        processes: (0..PARTITIONS).map(process).collect(),
        connections: Vec::new(),
        policy: PartitionPolicy {
            partitions: PARTITIONS,
            strategy: name("round-robin"),
            ..PartitionPolicy::default()
        },
        connection: Default::default(),
    }
}

/// Workers under faults.
struct Field {
    client: Client,
    fleet: Fleet,
    /// Accepted writes of workers that had been away. There should be none.
    late: Vec<Write>,
    late_refused: usize,
}

impl Field {
    /// Waits until the owners of the partitions are as wanted.
    async fn until_owners(&self, wanted: impl Fn(&[Option<String>]) -> bool) -> Result<()> {
        let give_up = Instant::now() + HEALTHY_WITHIN;
        loop {
            let owners = self.owners().await?;
            if wanted(&owners) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "not in time: {owners:?}");
            sleep(POLL).await;
        }
    }

    async fn owners(&self) -> Result<Vec<Option<String>>> {
        let found = self.client.list_partitions(None).await?.value;
        let owner = |partition: &quorate_core::Partition| {
            partition.owner.as_ref().map(|owner| owner.worker.to_string())
        };
        Ok(found.iter().map(|(_, found)| owner(&found.value)).collect())
    }

    /// The beginning of a fault.
    fn strike(&mut self, fault: Fault, worker: &str) -> Result<()> {
        let signal = match fault {
            Fault::PausedForLong | Fault::PausedBriefly => Signal::STOP,
            Fault::Killed => Signal::KILL,
            Fault::Stopped => Signal::INT,
        };
        self.fleet.signal(worker, signal)
    }

    /// The rest of it. Afterwards the worker runs again.
    async fn recover(&mut self, fault: Fault, worker: &str) -> Result<()> {
        match fault {
            Fault::PausedForLong => {
                let gone = |owners: &[Option<String>]| {
                    owners.iter().all(|it| it.as_deref() != Some(worker))
                };
                self.until_owners(gone).await?;
                self.fleet.signal(worker, Signal::CONT)?;
                let (status, left) = self.fleet.ended(worker)?;
                let lost = status.code().is_some_and(|code| UNAVAILABLE.contains(&code));
                ensure!(lost && !left, "it lost its session: {status}");
                let (accepted, refused) =
                    late_writes(&self.client, &self.fleet.believed(worker)).await?;
                self.late.extend(accepted);
                self.late_refused += refused;
            }
            Fault::PausedBriefly => {
                sleep(BRIEFLY).await;
                self.fleet.signal(worker, Signal::CONT)?;
                return self.fleet.mend();
            }
            Fault::Killed => {
                self.fleet.ended(worker)?;
            }
            Fault::Stopped => {
                let (status, left) = self.fleet.ended(worker)?;
                // Unless it lost its session just before, or nobody led.
                let lost = status.code().is_some_and(|code| UNAVAILABLE.contains(&code));
                ensure!(status.success() && left || lost, "it left: {status}");
            }
        }
        self.fleet.start(worker)
    }

    /// Moves half of the partitions to a worker, as often as it takes: it may lose its session, too.
    async fn move_half(&mut self, target: &str) -> Result<()> {
        let half = PARTITIONS / 2;
        let ids = || (0..half).map(|index| PartitionId { network: name("net"), index });
        let give_up = Instant::now() + HEALTHY_WITHIN;
        loop {
            self.fleet.mend()?;
            match self.client.move_partitions(ids().collect(), Some(&name(target))).await {
                Ok(_) => {}
                Err(error) if error.reason() == Some(Reason::PreconditionFailed) => {}
                Err(error) => return Err(error.into()),
            }
            let owners = self.owners().await?;
            let mut moved = owners.iter().take(half as usize);
            let arrived = moved.all(|owner| owner.as_deref() == Some(target));
            if arrived && owners.iter().all(Option::is_some) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "not moved to {target} in time: {owners:?}");
            sleep(POLL).await;
        }
    }

    /// Every fault once, two at a time.
    async fn run(&mut self) -> Result<()> {
        for (round, (first, second)) in FAULTS.into_iter().enumerate() {
            let worker = |number: usize| WORKERS[(round + number) % WORKERS.len()].0;
            self.fleet.mend()?;
            let both = [(first, worker(0)), (second, worker(1))];
            for (fault, worker) in both {
                self.strike(fault, worker)?;
            }
            for (fault, worker) in both {
                let recovered = self.recover(fault, worker).await;
                recovered.with_context(|| format!("round {round}: {fault:?} {worker}"))?;
            }
            // Planned moves, so that whoever is struck next owns something.
            self.move_half(worker(1)).await?;
        }
        self.fleet.mend()
    }

    fn stop(&mut self) -> Result<()> {
        for (worker, _) in WORKERS {
            self.fleet.signal(worker, Signal::INT)?;
            self.fleet.ended(worker)?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_sessions_own_a_partition() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let endpoints = cluster.endpoints();
    let config = ClientConfig::new(endpoints.split(',')).with_timeout(Duration::from_secs(30));
    let client = Client::new(config)?;
    let (end, recorder) = recorder::start(client.clone());
    let fleet = Fleet::new(&cluster);
    let mut field = Field { client: client.clone(), fleet, late: Vec::new(), late_refused: 0 };
    for (worker, _) in WORKERS {
        field.fleet.start(worker)?;
    }
    client.apply_network(&name("net"), spec()).await?;
    field.until_owners(|owners| owners.iter().all(Option::is_some)).await?;

    let striking = tokio::spawn(coordinators::run(cluster));
    field.run().await?;
    let (_cluster, Done { kills, pauses, leader_changes }) = striking.await??;
    field.fleet.mend()?;
    field.stop()?;
    end.send_replace(Some(client.get("end").await?.revision()));
    let recorded = recorder.await??;
    let (again, Field { fleet, late, late_refused, .. }) = (recorded.granted_again(), field);
    let Recorded { changes, writes, refused, ended, .. } = recorded;
    let (expired, claims) = (ended.saturating_sub(fleet.left), fleet.claims());
    println!(
        "leader_kills={kills} coordinator_pauses={pauses} leader_changes={leader_changes} \
         expiries={expired} granted_again={again} changes={} guarded_writes={} \
         stale_refused={refused} late_refused={late_refused} claims={} names_refused={} mended={}",
        changes.len(),
        writes.len(),
        claims.len(),
        fleet.refused,
        fleet.mended
    );
    let all: Vec<Write> = writes.into_iter().chain(late.clone()).collect();
    assert_eq!(violations(&changes, &all, &claims), Vec::<String>::new());
    assert_eq!(late, [], "accepted from workers whose session had ended");
    // It was a test of something.
    assert!(kills >= LEADER_KILLS_MIN && leader_changes >= LEADER_CHANGES_MIN);
    assert!(expired >= EXPIRIES_MIN && again >= GRANTED_AGAIN_MIN);
    assert!(all.len() > 20 && refused > 20 && late_refused >= LATE_WRITES_MIN);
    assert!(claims.len() > 30 && fleet.refused > 0);
    Ok(())
}
