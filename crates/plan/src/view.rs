//! A network as planners see it: processes and edges by number.
//!
//! Invariants: process numbers are positions in the canonical (sorted by id) specification; the
//! edges are sorted by (from, to), at most one per pair, and both ends exist. All of it is
//! checked once, when the view is made.

use std::ops::Range;

use quorate_core::{Name, NetworkSpec, Process, ProcessEdge, Resources};

use crate::tags::{Tag, TagKey, Tags};

/// A network by numbers. Borrows the specification.
#[derive(Debug, Clone)]
pub struct NetworkView<'a> {
    processes: &'a [Process],
    edges: Vec<Edge>,
    /// Where the edges that leave a process begin; one more than there are processes.
    starts: Vec<usize>,
    count: u32,
    tags: Tags,
}

/// A directed edge between two processes, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The process that sends.
    pub from: u32,
    /// The process that receives; may be the same.
    pub to: u32,
    /// Expected traffic, bytes per second.
    pub rate: u64,
}

/// The specification is not one that can be planned for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// There is nothing to partition.
    #[error("the network has no processes")]
    EmptyNetwork,
    /// Processes are numbered with 32 bits.
    #[error("the network has {count} processes, more than {max}", max = u32::MAX)]
    TooManyProcesses {
        /// How many there are.
        count: usize,
    },
    /// The processes are not sorted by id, or an id occurs twice.
    #[error("process {id} is out of order or occurs twice: the specification is not canonical")]
    ProcessOrder {
        /// The first process that does not come after the one before it.
        id: Name,
    },
    /// The connections are not sorted by (from, to), or a pair occurs twice.
    #[error(
        "connection {from} -> {to} is out of order or occurs twice: the specification is not canonical"
    )]
    ConnectionOrder {
        /// The sender of the first connection that does not come after the one before it.
        from: Name,
        /// Its receiver.
        to: Name,
    },
    /// A connection names a process that does not exist.
    #[error("connection {from} -> {to}: there is no process {missing}")]
    MissingProcess {
        /// The sender.
        from: Name,
        /// The receiver.
        to: Name,
        /// The one of the two that does not exist.
        missing: Name,
    },
}

impl<'a> NetworkView<'a> {
    /// Checks a specification and numbers it. O((n + m) log n).
    ///
    /// # Errors
    /// [`ViewError`] when the specification is empty, not canonical or refers to nothing.
    pub fn new(spec: &'a NetworkSpec) -> Result<Self, ViewError> {
        let processes = spec.processes.as_slice();
        let count = match u32::try_from(processes.len()) {
            Ok(0) => return Err(ViewError::EmptyNetwork),
            Ok(count) => count,
            Err(_) => return Err(ViewError::TooManyProcesses { count: processes.len() }),
        };
        if let Some(pair) = processes.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return Err(ViewError::ProcessOrder { id: pair[1].id.clone() });
        }
        let edges = number_edges(processes, &spec.connections)?;
        let unit = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Ok(Self::of_parts(processes, edges, Tags::of(processes, unit, count)))
    }

    /// From what was checked: sorted processes and sorted edges.
    pub(crate) fn of_parts(processes: &'a [Process], edges: Vec<Edge>, tags: Tags) -> Self {
        let count = u32::try_from(processes.len()).unwrap_or(u32::MAX);
        let starts = (0..=count).map(|from| edges.partition_point(|e| e.from < from)).collect();
        Self { processes, edges, starts, count, tags }
    }

    /// How many processes there are, at least 1.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Never: a view has at least one process.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The numbers of all processes.
    #[must_use]
    pub fn numbers(&self) -> Range<u32> {
        0..self.count
    }

    /// All processes, by number.
    #[must_use]
    pub fn processes(&self) -> &'a [Process] {
        self.processes
    }

    /// All edges, sorted by (from, to).
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The edges that leave a process, sorted by receiver. None leave a process that is not there.
    #[must_use]
    pub fn edges_from(&self, process: u32) -> &[Edge] {
        let at = process as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => &self.edges[*start..*end],
            _ => &[],
        }
    }

    /// Whether there are processes that must not meet in one partition.
    #[must_use]
    pub fn has_conflicts(&self) -> bool {
        !self.tags.is_empty()
    }

    /// What a process says of its partition, by key. Two that have one key with different values must
    /// not be in one partition.
    #[must_use]
    pub fn tags(&self, process: u32) -> &[Tag] {
        self.tags.of_process(process)
    }

    /// What the keys of tags stand for, by number.
    #[must_use]
    pub fn tag_keys(&self) -> &[TagKey] {
        self.tags.keys()
    }

    /// The processes that have tags, those with which the most others conflict first.
    pub(crate) fn tagged(&self) -> Vec<u32> {
        self.tags.tagged()
    }

    /// What all processes need together at their smallest parallelism.
    #[must_use]
    pub fn demand(&self) -> Resources {
        let mut sum = Resources::default();
        for process in self.processes {
            sum.add(&process.needs, process.parallelism.min);
        }
        sum
    }
}

fn number_edges(
    processes: &[Process],
    connections: &[ProcessEdge],
) -> Result<Vec<Edge>, ViewError> {
    let pair = |edge: &ProcessEdge| (edge.from.clone(), edge.to.clone());
    let in_order = |two: &&[ProcessEdge]| (&two[0].from, &two[0].to) < (&two[1].from, &two[1].to);
    if let Some(two) = connections.windows(2).find(|two| !in_order(two)) {
        let (from, to) = pair(&two[1]);
        return Err(ViewError::ConnectionOrder { from, to });
    }
    let number = |id: &Name, edge: &ProcessEdge| {
        let found = processes.binary_search_by(|process| process.id.cmp(id)).ok();
        found.and_then(|at| u32::try_from(at).ok()).ok_or_else(|| {
            let (from, to) = pair(edge);
            ViewError::MissingProcess { from, to, missing: id.clone() }
        })
    };
    connections
        .iter()
        .map(|edge| {
            let (from, to) = (number(&edge.from, edge)?, number(&edge.to, edge)?);
            Ok(Edge { from, to, rate: edge.rate })
        })
        .collect()
}
