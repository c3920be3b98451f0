//! Connections between partitions, while networks change and partitions move.
//!
//! Owns who changes a network: its edges, and into how many partitions it is cut; it is deleted now and
//! then. The workers that own its partitions are those of the workload `ownership`: they come
//! and go, and are struck. Must not know the rules.

use std::{sync::Arc, time::Duration};

use quorate_core::{Kind, Name, NetworkSpec, PartitionPolicy, Process, ProcessEdge};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Load, Patience, Settling, bench::Bench, facts::Facts, ownership::Ownership};

/// The network that changes.
const NETWORK: &str = "pipes";
const PROCESSES: usize = 10;
/// How often it changes.
const CHANGE_EVERY: Duration = Duration::from_millis(1_500);
/// Every so many changes it is deleted instead.
const DELETED_IN: u32 = 8;

/// See the module.
pub(crate) struct Connections {
    bench: Arc<Bench>,
    workers: Ownership,
    facts: Facts,
}

impl Connections {
    /// Nothing is there yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Self {
        let (workers, facts) = (Ownership::new(bench.clone()), Facts::new(bench.clone()));
        Self { bench, workers, facts }
    }
}

impl Load for Connections {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        self.facts.follow(vec![
            Kind::Network,
            Kind::Partition,
            Kind::Connection,
            Kind::ConnectionStatus,
        ]);
        self.workers.start(clients, stop);
        let seed = self.bench.habits.last().map_or(1, |habit| habit.seed);
        clients.spawn(changes(self.bench.clone(), seed, stop.clone()));
    }

    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            self.workers.settle(patience.clone()).await;
            self.facts.settle(&patience).await;
        })
    }
}

/// Changes the network until told to stop. What is refused, or has no answer, is another one's turn.
async fn changes(bench: Arc<Bench>, seed: u64, stop: CancellationToken) {
    let (Ok(client), mut rng) = (bench.library(), StdRng::seed_from_u64(seed)) else { return };
    while !stop.is_cancelled() {
        if rng.random_range(0..DELETED_IN) == 0 {
            let _ = client.delete_network(&name(NETWORK)).await;
        } else {
            let _ = client.apply_network(&name(NETWORK), spec(&mut rng)).await;
        }
        tokio::select! {
            () = sleep(CHANGE_EVERY) => {}
            () = stop.cancelled() => break,
        }
    }
    client.close().await;
}

fn spec(rng: &mut StdRng) -> NetworkSpec {
    let id = |number: usize| name(&format!("p{number}"));
    let mut connections = Vec::new();
    for from in 0..PROCESSES {
        for to in (0..PROCESSES).filter(|to| *to != from) {
            if rng.random_range(0..4) == 0 {
                connections.push(ProcessEdge { from: id(from), to: id(to), rate: 1 });
            }
        }
    }
    let policy = PartitionPolicy {
        partitions: rng.random_range(1..6),
        strategy: name("round-robin"),
        ..PartitionPolicy::default()
    };
    NetworkSpec {
        processes: (0..PROCESSES).map(|number| Process::new(id(number), "test")).collect(),
        connections,
        policy,
        connection: quorate_core::ConnectionPolicy::default(),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("letters and digits make a name")
}
