//! Clusters from text.
//!
//! ```text
//! worker a cpu=100 mem=5 zone=x max=3 draining     workers; resources by number, labels by text
//! 0 cpu=10 on a needs zone=x                        partitions, of the network p
//! 1 cpu=10 apart g                                  no two of the group g on one worker
//! 2 cpu=10 seen 500000                              it uses half of what it needs
//! 0 1 7                                             traffic between two of them
//! ```

use std::collections::BTreeMap;

use quorate_core::{Name, PartitionId, Resources, Revision, WorkerState};
use quorate_plan::cluster::{ClusterView, PartitionSpec, Traffic, WorkerSpec};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn id(index: u32) -> PartitionId {
    PartitionId { network: name("p"), index }
}

/// What a planner was asked, for those who check its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) workers: Vec<WorkerSpec>,
    pub(crate) partitions: Vec<PartitionSpec>,
    pub(crate) traffic: Vec<Traffic>,
}

impl Cluster {
    pub(crate) fn parse(text: &str) -> Self {
        let mut cluster = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                ["worker", name, rest @ ..] => cluster.workers.push(worker(name, rest)),
                [from, to, rate] if to.parse::<u32>().is_ok() => {
                    let end = |text: &str| id(text.parse().unwrap());
                    let rate = rate.parse().unwrap();
                    cluster.traffic.push(Traffic { from: end(from), to: end(to), rate });
                }
                [index, rest @ ..] => cluster.partitions.push(partition(index, rest)),
            }
        }
        cluster
    }

    pub(crate) fn view(&self) -> ClusterView {
        ClusterView::new(self.workers.clone(), self.partitions.clone(), &self.traffic).unwrap()
    }
}

fn worker(text: &str, words: &[&str]) -> WorkerSpec {
    let mut worker = WorkerSpec {
        name: name(text),
        version: Revision(1),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
        partitions_max: u64::MAX,
        state: WorkerState::Active,
    };
    for word in words {
        match word.split_once('=') {
            Some(("max", value)) => worker.partitions_max = value.parse().unwrap(),
            Some((key, value)) => match value.parse() {
                Ok(amount) => worker.capacity.set(name(key), amount),
                Err(_) => _ = worker.labels.insert(key.to_owned(), value.to_owned()),
            },
            None => {
                worker.state = match *word {
                    "draining" => WorkerState::Draining,
                    "down" => WorkerState::Down,
                    "joining" => WorkerState::Joining,
                    other => panic!("{other}"),
                }
            }
        }
    }
    worker
}

fn partition(index: &str, words: &[&str]) -> PartitionSpec {
    let id = id(index.parse().unwrap());
    let mut partition = PartitionSpec::new(id, Revision(1), Resources::default());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (*word, word.split_once('=')) {
            ("on", _) => partition.worker = Some(name(words.next().unwrap())),
            ("needs", _) => {
                let (key, value) = words.next().unwrap().split_once('=').unwrap();
                partition.requires.insert(key.to_owned(), value.to_owned());
            }
            ("apart", _) => _ = partition.apart.insert(name(words.next().unwrap())),
            ("rests", _) => partition.rests = true,
            ("leaves", _) => partition.leaving = Some(name(words.next().unwrap())),
            ("seen", _) => partition.observed_ppm = Some(words.next().unwrap().parse().unwrap()),
            ("to", _) => partition.wish.target = Some(name(words.next().unwrap())),
            ("avoids", _) => partition.wish.avoid = Some(name(words.next().unwrap())),
            (_, Some((key, value))) => partition.demand.set(name(key), value.parse().unwrap()),
            (other, None) => panic!("{other}"),
        }
    }
    partition
}
