//! Partitions and the workers that own them.
//!
//! Owns simulated workers, each a client of the client library on a thread of its own: they
//! register under a session, act for what they are granted while their session is valid, release
//! what they are asked to, and are struck: they stand still for longer than their session lives, as
//! a paused process does, are gone from one moment to the next, or leave; and register again under
//! the same name. Meanwhile partitions are moved. What a worker believes is written down with the
//! machine's boot clock. Must not know the rules.

mod worker;

use std::{sync::Arc, time::Duration};

use quorate_client::{Client as Library, Start, Watch, WatchEvent, WatchOptions};
use quorate_core::{
    Filter, Key, Kind, Name, NetworkSpec, PartitionId, PartitionPolicy, Process, Record, Revision,
    Versioned,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Load, Patience, Settling,
    bench::{Bench, apart},
};
use crate::history::{
    What,
    ownership::{Grant, OwnershipEvent},
};
use worker::Worker;

const NETWORK: &str = "fleet";
const PARTITIONS: u32 = 6;
const WORKERS: usize = 4;

/// How often partitions are moved.
const MOVE_EVERY: Duration = Duration::from_secs(3);

/// How the leader moves partitions by itself: often, and also what has just come.
const BALANCE: [(&str, &str); 2] =
    [("balance_interval_ms", "500"), ("balance_cooldown_ms", "1000")];

/// How often a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Ownership {
    bench: Arc<Bench>,
    /// They work until everything has settled.
    workers: JoinSet<()>,
    /// Who follows the partitions, until the workers are gone.
    following: JoinSet<()>,
    stop_workers: CancellationToken,
    stop_following: CancellationToken,
    told: tokio::sync::watch::Sender<Revision>,
}

impl Ownership {
    /// Nobody has registered yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Self {
        Self {
            bench,
            workers: JoinSet::new(),
            following: JoinSet::new(),
            stop_workers: CancellationToken::new(),
            stop_following: CancellationToken::new(),
            told: tokio::sync::watch::Sender::new(Revision(0)),
        }
    }

    fn follow(&mut self) {
        let (bench, stop) = (self.bench.clone(), self.stop_following.clone());
        let told = self.told.clone();
        self.following.spawn(async move {
            let Ok(client) = bench.library() else { return };
            let filter = Filter { kinds: vec![Kind::Partition], ..Filter::default() };
            let start = Start::From(Revision(1));
            let options = WatchOptions {
                start,
                filter,
                progress_interval: LOOK_EVERY,
                ..WatchOptions::default()
            };
            let mut watch = client.watch(options);
            while let Some(revision) = next(&bench, &mut watch, &stop).await {
                told.send_replace(revision);
            }
        });
    }

    /// Waits until everything up to now was told.
    async fn all_told(&self, patience: &Patience) {
        let now = self.bench.revision(patience).await.unwrap_or_default();
        while patience.is_left() && *self.told.borrow() < now {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether every partition has an owner.
    async fn all_owned(&self, client: &Library) -> bool {
        let Ok(found) = client.list_partitions(Some(&name(NETWORK))).await else { return false };
        found.value.len() == PARTITIONS as usize
            && found.value.iter().all(|(_, partition)| partition.value.owner.is_some())
    }
}

impl Load for Ownership {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        self.follow();
        for (number, habit) in self.bench.habits.iter().take(WORKERS).enumerate() {
            let worker = Worker::new(
                self.bench.clone(),
                worker_name(number),
                habit,
                stop.clone(),
                self.stop_workers.clone(),
            );
            self.workers.spawn(apart(move || worker.live()));
        }
        let seed = self.bench.habits.first().map_or(0, |habit| habit.seed);
        clients.spawn(moves(self.bench.clone(), seed, stop.clone()));
    }

    /// Waits until every partition has an owner and all of that was told.
    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            if let Ok(client) = self.bench.library() {
                while patience.is_left() && !self.all_owned(&client).await {
                    sleep(LOOK_EVERY).await;
                }
            }
            self.all_told(&patience).await;
            self.stop_workers.cancel();
            while self.workers.join_next().await.is_some() {}
            // What they wrote last, too.
            self.all_told(&patience).await;
            self.stop_following.cancel();
            while self.following.join_next().await.is_some() {}
        })
    }
}

fn worker_name(number: usize) -> Name {
    name(&format!("w{}", number + 1))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("letters and digits make a name")
}

/// Writes down what a stream of partitions tells next; None when it is over.
async fn next(bench: &Bench, watch: &mut Watch, stop: &CancellationToken) -> Option<Revision> {
    let event = tokio::select! {
        () = stop.cancelled() => return None,
        event = watch.next() => event.ok()?,
    };
    let revision = event.revision();
    let tell = |event| bench.recorder.add(What::Ownership(event));
    if let WatchEvent::Changes { changes, .. } = event {
        for change in changes {
            tell(OwnershipEvent::Grant(grant(revision, &change.key, change.current.as_deref())));
        }
    }
    tell(OwnershipEvent::Told { revision });
    Some(revision)
}

fn grant(revision: Revision, key: &Key, current: Option<&Versioned<Record>>) -> Grant {
    let owner = match current.map(|record| &record.value) {
        Some(Record::Partition(partition)) => {
            let owner = partition.owner.as_ref();
            owner.zip(partition.epoch).map(|(owner, epoch)| {
                (format!("{} {}", owner.worker, owner.session), epoch.to_string())
            })
        }
        _ => None,
    };
    Grant { revision, partition: String::from_utf8_lossy(&key.bytes).into_owned(), owner }
}

/// Makes the partitions, and asks for some of them to be moved now and then. So does the leader.
async fn moves(bench: Arc<Bench>, seed: u64, stop: CancellationToken) {
    let (Ok(client), mut rng) = (bench.library(), StdRng::seed_from_u64(seed)) else { return };
    while !stop.is_cancelled() && client.apply_network(&name(NETWORK), spec()).await.is_err() {
        sleep(LOOK_EVERY).await;
    }
    for (setting, value) in BALANCE {
        let key = Key::setting(&name(setting));
        while !stop.is_cancelled() && client.put(&key, value).await.is_err() {
            sleep(LOOK_EVERY).await;
        }
    }
    while !stop.is_cancelled() {
        tokio::select! {
            () = sleep(MOVE_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let first = rng.random_range(0..PARTITIONS);
        let partition = |index| PartitionId { network: name(NETWORK), index };
        let some = (first..PARTITIONS.min(first + 2)).map(partition).collect();
        let target = worker_name(rng.random_range(0..WORKERS));
        // Refused when somebody is down: the next one may go.
        let _ = client.move_partitions(some, Some(&target)).await;
    }
    client.close().await;
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
