//! Clusters to measure with: for benchmarks, and for examples that print tables.

use std::collections::BTreeMap;

use quorate_core::{Name, PartitionId, Resources, Revision, WorkerState, plan::Plan};
use quorate_plan::cluster::{ClusterView, PartitionSpec, Traffic, WorkerSpec};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

pub(crate) fn cpu(amount: u64) -> Resources {
    [(name(Resources::CPU_MILLIS), amount)].into_iter().collect()
}

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// One of the workers, which are in three zones.
pub(crate) fn worker(at: u32, capacity: u64) -> WorkerSpec {
    WorkerSpec {
        name: name(&format!("w{at:04}")),
        version: Revision(1),
        capacity: cpu(capacity),
        labels: BTreeMap::from([("zone".to_owned(), format!("z{}", at % 3))]),
        partitions_max: u64::MAX,
        state: WorkerState::Active,
    }
}

/// Workers, and partitions of networks of 100, each of which sends to the next two.
pub(crate) struct Cluster {
    pub(crate) workers: Vec<WorkerSpec>,
    pub(crate) partitions: Vec<PartitionSpec>,
    pub(crate) traffic: Vec<Traffic>,
}

impl Cluster {
    /// Partitions need 50 to 150; workers give half as much again as all need.
    pub(crate) fn new(workers: u32, partitions: u32, draw: &mut Draw) -> Self {
        let id =
            |at: u32| PartitionId { network: name(&format!("n{:04}", at / 100)), index: at % 100 };
        let mut partition =
            |at: u32| PartitionSpec::new(id(at), Revision(1), cpu(50 + draw.below(101)));
        let edges = (0..partitions).flat_map(|at| [(at, at + 1), (at, at + 2)]);
        let inside = edges.filter(|(from, to)| from / 100 == to / 100);
        let traffic = inside.map(|(from, to)| Traffic { from: id(from), to: id(to), rate: 1_000 });
        let capacity = u64::from(partitions / workers) * 150;
        Self {
            workers: (0..workers).map(|at| worker(at, capacity)).collect(),
            traffic: traffic.collect(),
            partitions: (0..partitions).map(&mut partition).collect(),
        }
    }

    pub(crate) fn view(&self) -> ClusterView {
        ClusterView::new(self.workers.clone(), self.partitions.clone(), &self.traffic)
            .expect("a valid cluster")
    }

    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        let to: BTreeMap<_, _> = plan.moves().map(|one| (&one.partition, &one.to)).collect();
        for partition in &mut self.partitions {
            if let Some(to) = to.get(&partition.id) {
                partition.worker = Some((*to).clone());
            }
        }
    }
}
