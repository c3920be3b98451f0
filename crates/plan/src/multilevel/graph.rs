//! A network as the partitioner works on it: undirected, with loads on one scale.
//!
//! Invariants: every edge stands at both of its ends with the same weight; no edge joins a vertex
//! to itself, no two join the same pair.

use crate::{loads::Loads, view::NetworkView};

/// What all edge weights add up to, at most.
const WEIGHT_MAX: u64 = 1 << 50;

/// Vertices by number, in compressed rows.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    starts: Vec<usize>,
    neighbors: Vec<(u32, i64)>,
    loads: Vec<i64>,
    resources: usize,
    count: u32,
}

impl Graph {
    /// The graph of a network.
    pub(super) fn of(view: &NetworkView<'_>) -> Self {
        let Loads { of, resources } = Loads::of(view);
        Self::build(view.len(), resources, of, &pairs(view))
    }

    /// From edges that stand once each, in any order; those of one pair are added up.
    pub(super) fn build(
        count: u32,
        resources: usize,
        loads: Vec<i64>,
        pairs: &[(u32, u32, i64)],
    ) -> Self {
        let mut starts = vec![0; count as usize + 1];
        for &(one, other, _) in pairs {
            starts[one as usize + 1] += 1;
            starts[other as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut ends = starts.clone();
        let mut rows = vec![(0, 0); 2 * pairs.len()];
        let mut put = |from: u32, to: u32, weight| {
            let end = &mut ends[from as usize];
            rows[*end] = (to, weight);
            *end += 1;
        };
        for &(one, other, weight) in pairs {
            put(one, other, weight);
            put(other, one, weight);
        }
        let (starts, neighbors) = merge_rows(count, &starts, &rows);
        Self { starts, neighbors, loads, resources, count }
    }

    /// How many vertices there are.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// How many edges there are.
    pub(super) fn edges(&self) -> usize {
        self.neighbors.len() / 2
    }

    /// How many resources there are, at least 1.
    pub(super) fn resources(&self) -> usize {
        self.resources
    }

    /// The neighbors of a vertex, by number, with the weights of the edges.
    pub(super) fn neighbors(&self, vertex: u32) -> &[(u32, i64)] {
        &self.neighbors[self.starts[vertex as usize]..self.starts[vertex as usize + 1]]
    }

    /// The loads of a vertex, by resource.
    pub(super) fn loads(&self, vertex: u32) -> &[i64] {
        let start = vertex as usize * self.resources;
        &self.loads[start..start + self.resources]
    }

    /// The largest load of a vertex.
    pub(super) fn size(&self, vertex: u32) -> i64 {
        self.loads(vertex).iter().copied().max().unwrap_or(0)
    }

    /// What all vertices have together, by resource.
    pub(super) fn totals(&self) -> Vec<i64> {
        let mut totals = vec![0; self.resources];
        for loads in self.loads.chunks_exact(self.resources) {
            totals.iter_mut().zip(loads).for_each(|(total, load)| *total += load);
        }
        totals
    }

    /// The graph in which the vertices of each group are one. `groups` counts from 0 to below
    /// `count`, without a gap.
    pub(super) fn contract(&self, groups: &[u32], count: u32) -> Self {
        let resources = self.resources;
        let mut loads = vec![0; count as usize * resources];
        for (vertex, group) in (0..self.count).zip(groups) {
            let start = *group as usize * resources;
            let sums = &mut loads[start..start + resources];
            sums.iter_mut().zip(self.loads(vertex)).for_each(|(sum, load)| *sum += load);
        }
        let members = Members::of(groups, count);
        let mut starts = Vec::with_capacity(count as usize + 1);
        let mut neighbors: Vec<(u32, i64)> = Vec::with_capacity(self.neighbors.len());
        let mut sums = Sums::new(count);
        starts.push(0);
        for group in 0..count {
            for &vertex in members.of_group(group) {
                for &(neighbor, weight) in self.neighbors(vertex) {
                    let other = groups[neighbor as usize];
                    if other != group {
                        sums.add(other, weight);
                    }
                }
            }
            sums.drain_into(&mut neighbors);
            starts.push(neighbors.len());
        }
        Self { starts, neighbors, loads, resources, count }
    }

    /// The graph of some of the vertices, in their order, and the edges between them.
    pub(super) fn part(&self, vertices: &[u32]) -> Self {
        const OUTSIDE: u32 = u32::MAX;
        let mut numbers = vec![OUTSIDE; self.count as usize];
        let mut count = 0;
        for &vertex in vertices {
            numbers[vertex as usize] = count;
            count += 1;
        }
        let mut starts = Vec::with_capacity(vertices.len() + 1);
        let (mut neighbors, mut loads) = (Vec::new(), Vec::new());
        starts.push(0);
        for &vertex in vertices {
            let inside = self.neighbors(vertex).iter();
            let inside = inside.map(|&(other, weight)| (numbers[other as usize], weight));
            neighbors.extend(inside.filter(|(number, _)| *number != OUTSIDE));
            starts.push(neighbors.len());
            loads.extend_from_slice(self.loads(vertex));
        }
        Self { starts, neighbors, loads, resources: self.resources, count }
    }
}

/// The edges that carry something, once each, and their weights. Where none carries anything, all
/// count alike.
fn pairs(view: &NetworkView<'_>) -> Vec<(u32, u32, i64)> {
    let total: u128 = view.edges().iter().map(|edge| u128::from(edge.rate)).sum();
    let mut shift = 0;
    while (total >> shift) > u128::from(WEIGHT_MAX) {
        shift += 1;
    }
    let weight = |rate: u64| match (total, rate) {
        (0, _) => 1,
        (_, 0) => 0,
        _ => i64::try_from(rate >> shift).unwrap_or(i64::MAX).max(1),
    };
    let edges = view.edges().iter().filter(|edge| edge.from != edge.to);
    let pairs = edges.map(|edge| (edge.from, edge.to, weight(edge.rate)));
    pairs.filter(|(_, _, weight)| *weight > 0).collect()
}

/// Adds up what stands for the same pair in each row.
fn merge_rows(count: u32, starts: &[usize], rows: &[(u32, i64)]) -> (Vec<usize>, Vec<(u32, i64)>) {
    let mut merged = Vec::with_capacity(rows.len());
    let mut merged_starts = Vec::with_capacity(starts.len());
    let mut sums = Sums::new(count);
    merged_starts.push(0);
    for row in starts.windows(2) {
        for &(neighbor, weight) in &rows[row[0]..row[1]] {
            sums.add(neighbor, weight);
        }
        sums.drain_into(&mut merged);
        merged_starts.push(merged.len());
    }
    (merged_starts, merged)
}

/// Sums by number, of which few are in use at a time.
pub(super) struct Sums {
    of: Vec<i64>,
    used: Vec<u32>,
}

impl Sums {
    pub(super) fn new(count: u32) -> Self {
        Self { of: vec![0; count as usize], used: Vec::new() }
    }

    /// Adds something positive.
    pub(super) fn add(&mut self, number: u32, weight: i64) {
        let sum = &mut self.of[number as usize];
        if *sum == 0 {
            self.used.push(number);
        }
        *sum += weight;
    }

    /// One sum.
    pub(super) fn of(&self, number: u32) -> i64 {
        self.of[number as usize]
    }

    /// All sums, in the order in which their numbers were first added.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, i64)> {
        self.used.iter().map(|&number| (number, self.of[number as usize]))
    }

    pub(super) fn clear(&mut self) {
        for number in self.used.drain(..) {
            self.of[number as usize] = 0;
        }
    }

    fn drain_into(&mut self, into: &mut Vec<(u32, i64)>) {
        for number in self.used.drain(..) {
            into.push((number, std::mem::take(&mut self.of[number as usize])));
        }
    }
}

/// The members of groups, in order.
struct Members {
    starts: Vec<usize>,
    members: Vec<u32>,
}

impl Members {
    fn of(groups: &[u32], count: u32) -> Self {
        let mut starts = vec![0; count as usize + 1];
        groups.iter().for_each(|group| starts[*group as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut ends = starts.clone();
        let mut members = vec![0; groups.len()];
        for (vertex, group) in (0..).zip(groups) {
            let end = &mut ends[*group as usize];
            members[*end] = vertex;
            *end += 1;
        }
        Self { starts, members }
    }

    fn of_group(&self, group: u32) -> &[u32] {
        &self.members[self.starts[group as usize]..self.starts[group as usize + 1]]
    }
}
