//! A cluster as placement sees it: workers and partitions by number.
//!
//! Invariants: numbers are positions by name and by id; a need and a capacity of one resource have the
//! same column; all of it is checked once, when the view is made.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Key, Name, PartitionId, Resources, Revision, WorkerState};

use super::{apart::Groups, near::Nearness};

/// A worker, as it was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSpec {
    /// Its name.
    pub name: Name,
    /// The revision that changed its record last.
    pub version: Revision,
    /// What it gives. A resource that is not named is not limited.
    pub capacity: Resources,
    /// What is said of it, such as zone=a.
    pub labels: BTreeMap<String, String>,
    /// How many partitions it may have.
    pub partitions_max: u64,
    /// Whether it takes partitions, and keeps what it has.
    pub state: WorkerState,
}

/// A partition, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Its id.
    pub id: PartitionId,
    /// The revision that changed its record last.
    pub version: Revision,
    /// What it needs, and is given.
    pub demand: Resources,
    /// What it was seen to use of it, parts per million. None: it was not seen yet, and counts as if it
    /// used all.
    pub observed_ppm: Option<u64>,
    /// The worker that has it, or is about to get it. None: nobody.
    pub worker: Option<Name>,
    /// The labels that its worker must have.
    pub requires: BTreeMap<String, String>,
    /// Groups of its network's partitions that it belongs to: no two of one group may be on one worker.
    pub apart: BTreeSet<Name>,
    /// The worker that still runs it while it is on its way to another.
    pub leaving: Option<Name>,
    /// Whether it stays where it is unless it must leave: it is moving, or moved lately.
    pub rests: bool,
    /// Where it should go when it needs a worker.
    pub wish: Wish,
}

impl PartitionSpec {
    /// One that nobody has, and that may be anywhere.
    #[must_use]
    pub fn new(id: PartitionId, version: Revision, demand: Resources) -> Self {
        Self {
            id,
            version,
            demand,
            observed_ppm: None,
            worker: None,
            requires: BTreeMap::new(),
            apart: BTreeSet::new(),
            leaving: None,
            rests: false,
            wish: Wish::default(),
        }
    }
}

/// Where a partition that needs a worker should go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The worker that is to have it, if it can take it.
    pub target: Option<Name>,
    /// The worker that is to have it only if no other can take it.
    pub avoid: Option<Name>,
}

/// What one partition sends to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// The sender.
    pub from: PartitionId,
    /// The receiver.
    pub to: PartitionId,
    /// Bytes per second.
    pub rate: u64,
}

/// The cluster is not one that can be planned for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Two workers have the same name.
    #[error("worker {0} occurs twice")]
    WorkerTwice(Name),
    /// Two partitions have the same id.
    #[error("partition {0} occurs twice")]
    PartitionTwice(PartitionId),
    /// Traffic of a partition that does not exist.
    #[error("traffic {from} -> {to}: there is no partition {missing}")]
    MissingPartition {
        /// The sender.
        from: PartitionId,
        /// The receiver.
        to: PartitionId,
        /// The one of the two that does not exist.
        missing: PartitionId,
    },
    /// More than numbers can count.
    #[error("{what} are more than {max}", max = u32::MAX)]
    TooMany {
        /// What there is too much of.
        what: &'static str,
    },
}

/// A cluster by numbers.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// By name.
    pub(super) workers: Vec<WorkerSpec>,
    /// By id.
    pub(super) partitions: Vec<PartitionSpec>,
    /// The resources that anybody needs.
    pub(super) resources: Vec<Name>,
    /// By partition, then by resource.
    pub(super) needs: Vec<u64>,
    /// What each partition uses of what it needs: by partition, then by resource. None: all of it.
    busy: Option<Vec<u64>>,
    /// By worker, then by resource. [`UNLIMITED`]: as much as anybody wants.
    pub(super) capacity: Vec<u128>,
    /// Where each partition is. Who is not known any more has nothing.
    pub(super) home: Vec<Option<u32>>,
    /// What each partition exchanges, both ways together: with whom, and how much. Sorted.
    neighbors: Vec<(u32, i64)>,
    /// Where the neighbors of a partition begin; one more than there are partitions.
    starts: Vec<usize>,
    /// How near workers are.
    pub(super) nearness: Nearness,
    /// The groups of partitions that must be on different workers.
    pub(super) groups: Groups,
    /// What records may take. None: as much as they need.
    pub(super) bytes: Option<Bytes>,
    /// The revisions that changed the networks last, as far as they are known.
    pub(super) networks: BTreeMap<Name, Revision>,
    /// The settings that bound what workers may have, likewise.
    pub(super) settings: Vec<(Key, Revision)>,
}

/// How many bytes the records of what is granted take, and may take.
#[derive(Debug, Clone)]
pub(super) struct Bytes {
    /// By partition.
    pub(super) need: Vec<u64>,
    /// By worker: how much more it takes of each.
    pub(super) extra: Vec<u64>,
    /// By worker: how much it has room for.
    pub(super) left: Vec<u64>,
}

/// The labels that say how near two workers are, unless others are given.
pub const DISTANCE_LABELS: [&str; 2] = ["zone", "rack"];

/// A capacity that is not limited.
pub(super) const UNLIMITED: u128 = u128::MAX;

/// What partitions are counted by where nobody needs anything.
const COUNTED: &str = "partitions";

impl ClusterView {
    /// Checks a cluster and numbers it. Traffic may be given in parts, and within one partition; both
    /// directions count alike. O(all log all).
    ///
    /// # Errors
    /// [`ClusterError`] when a name occurs twice, or traffic is of nobody.
    pub fn new(
        mut workers: Vec<WorkerSpec>,
        mut partitions: Vec<PartitionSpec>,
        traffic: &[Traffic],
    ) -> Result<Self, ClusterError> {
        workers.sort_by(|a, b| a.name.cmp(&b.name));
        partitions.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(two) = workers.windows(2).find(|two| two[0].name == two[1].name) {
            return Err(ClusterError::WorkerTwice(two[0].name.clone()));
        }
        if let Some(two) = partitions.windows(2).find(|two| two[0].id == two[1].id) {
            return Err(ClusterError::PartitionTwice(two[0].id.clone()));
        }
        for (what, count) in [("workers", workers.len()), ("partitions", partitions.len())] {
            u32::try_from(count).map_err(|_| ClusterError::TooMany { what })?;
        }
        let (neighbors, starts) = neighbors(&partitions, traffic)?;
        let resources = resources(&partitions);
        let counted = Name::new(COUNTED).expect("the constant is a valid name");
        let uncounted = !resources.is_empty();
        let need = |it: &PartitionSpec, r: &Name| if uncounted { it.demand.get(r) } else { 1 };
        let resources = if uncounted { resources } else { vec![counted] };
        let needs = partitions.iter().flat_map(|it| resources.iter().map(|r| need(it, r)));
        let needs: Vec<u64> = needs.collect();
        let busy = busy(&partitions, &needs);
        let gives = |worker: &WorkerSpec, resource: &Name| match worker.capacity.get(resource) {
            0 => UNLIMITED,
            amount => u128::from(amount),
        };
        let capacity = workers.iter().flat_map(|w| resources.iter().map(move |r| gives(w, r)));
        let capacity = capacity.collect();
        let home = |name: &Name| workers.binary_search_by(|worker| worker.name.cmp(name)).ok();
        let home = |it: &PartitionSpec| it.worker.as_ref().and_then(home).map(number);
        let home = partitions.iter().map(home).collect();
        let nearness = Nearness::new(&workers, &DISTANCE_LABELS.map(str::to_owned));
        let groups = Groups::new(&partitions);
        Ok(Self {
            workers,
            partitions,
            resources,
            needs,
            busy,
            capacity,
            home,
            neighbors,
            starts,
            nearness,
            groups,
            bytes: None,
            networks: BTreeMap::new(),
            settings: Vec::new(),
        })
    }

    /// With other labels that say how near workers are, from the furthest to the nearest.
    #[must_use]
    pub fn with_distance(self, labels: Vec<String>) -> Self {
        Self { nearness: Nearness::new(&self.workers, &labels), ..self }
    }

    /// With some partitions that stay where they are unless they must leave, beside those that do already.
    #[must_use]
    pub fn resting(mut self, mut rests: impl FnMut(&PartitionId) -> bool) -> Self {
        for partition in &mut self.partitions {
            partition.rests = partition.rests || rests(&partition.id);
        }
        self
    }

    /// The workers, by name.
    #[must_use]
    pub fn workers(&self) -> &[WorkerSpec] {
        &self.workers
    }

    /// The partitions, by id.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionSpec] {
        &self.partitions
    }

    /// The number of a worker.
    #[must_use]
    pub fn worker(&self, name: &Name) -> Option<u32> {
        self.workers.binary_search_by(|worker| worker.name.cmp(name)).ok().map(number)
    }

    /// The number of a partition.
    #[must_use]
    pub fn partition(&self, id: &PartitionId) -> Option<u32> {
        self.partitions.binary_search_by(|it| it.id.cmp(id)).ok().map(number)
    }

    /// How far apart two workers are: 0 for the same, 1 when all labels are the same, one more for each
    /// label from the nearest to the furthest that differs.
    #[must_use]
    pub fn distance(&self, a: u32, b: u32) -> u32 {
        self.nearness.distance(a, b)
    }

    /// What a partition exchanges with others.
    pub(super) fn neighbors(&self, partition: u32) -> &[(u32, i64)] {
        let at = partition as usize;
        &self.neighbors[self.starts[at]..self.starts[at + 1]]
    }

    /// What a partition uses, by resource, as far as it was seen.
    pub(super) fn busy(&self, partition: u32) -> &[u64] {
        let (at, count) = (partition as usize, self.resources.len());
        &self.all_busy()[at * count..(at + 1) * count]
    }

    /// What all partitions use: by partition, then by resource.
    pub(super) fn all_busy(&self) -> &[u64] {
        self.busy.as_ref().unwrap_or(&self.needs)
    }

    /// Whether anybody was seen to use something else than what it needs.
    pub(super) fn is_observed(&self) -> bool {
        self.busy.is_some()
    }

    /// What a partition needs, by resource.
    pub(super) fn needs(&self, partition: u32) -> &[u64] {
        let (at, count) = (partition as usize, self.resources.len());
        &self.needs[at * count..(at + 1) * count]
    }

    /// What a worker gives, by resource.
    pub(super) fn capacity(&self, worker: u32) -> &[u128] {
        let (at, count) = (worker as usize, self.resources.len());
        &self.capacity[at * count..(at + 1) * count]
    }

    /// Whether a worker takes partitions.
    pub(super) fn takes(&self, worker: u32) -> bool {
        self.workers[worker as usize].state == WorkerState::Active
    }

    /// The first label that a partition requires and a worker lacks.
    pub(super) fn lacks(&self, partition: u32, worker: u32) -> Option<(&str, &str)> {
        let labels = &self.workers[worker as usize].labels;
        let mut requires = self.partitions[partition as usize].requires.iter();
        let lacks = requires.find(|(name, value)| labels.get(*name) != Some(value));
        lacks.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn worker_numbers(&self) -> std::ops::Range<u32> {
        0..number(self.workers.len())
    }

    pub(super) fn partition_numbers(&self) -> std::ops::Range<u32> {
        0..number(self.partitions.len())
    }
}

/// Lengths were checked when the view was made.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What partitions use of their needs. None: nobody was seen.
fn busy(partitions: &[PartitionSpec], needs: &[u64]) -> Option<Vec<u64>> {
    partitions.iter().any(|it| it.observed_ppm.is_some()).then(|| {
        let resources = needs.len() / partitions.len().max(1);
        let rows = partitions.iter().zip(needs.chunks(resources.max(1)));
        let uses = |(it, row): (&PartitionSpec, &'_ [u64])| {
            let ppm = u128::from(it.observed_ppm.unwrap_or(1_000_000));
            let part = move |need: &u64| {
                u64::try_from(u128::from(*need) * ppm / 1_000_000).unwrap_or(u64::MAX)
            };
            row.iter().map(part).collect::<Vec<u64>>()
        };
        rows.flat_map(uses).collect()
    })
}

fn resources(partitions: &[PartitionSpec]) -> Vec<Name> {
    let names = partitions.iter().flat_map(|it| it.demand.iter().map(|(name, _)| name));
    names.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

type Neighbors = (Vec<(u32, i64)>, Vec<usize>);

fn neighbors(partitions: &[PartitionSpec], traffic: &[Traffic]) -> Result<Neighbors, ClusterError> {
    let mut pairs: Vec<(u32, u32, i64)> = Vec::with_capacity(2 * traffic.len());
    for Traffic { from, to, rate } in traffic {
        let find = |id: &PartitionId| {
            let found = partitions.binary_search_by(|it| it.id.cmp(id)).map(number);
            found.map_err(|_| ClusterError::MissingPartition {
                from: from.clone(),
                to: to.clone(),
                missing: id.clone(),
            })
        };
        let (a, b) = (find(from)?, find(to)?);
        // Sums of rates stay far from the end of i64.
        let rate = i64::try_from((*rate).min(1 << 40)).unwrap_or(1 << 40);
        if a != b {
            pairs.extend([(a, b, rate), (b, a, rate)]);
        }
    }
    pairs.sort_unstable();
    let mut merged: Vec<(u32, u32, i64)> = Vec::with_capacity(pairs.len());
    for (a, b, rate) in pairs {
        match merged.last_mut() {
            Some(last) if (last.0, last.1) == (a, b) => last.2 = last.2.saturating_add(rate),
            _ => merged.push((a, b, rate)),
        }
    }
    let first = |at: usize| merged.partition_point(|(a, _, _)| (*a as usize) < at);
    let starts = (0..=partitions.len()).map(first).collect();
    Ok((merged.into_iter().map(|(_, b, rate)| (b, rate)).collect(), starts))
}
