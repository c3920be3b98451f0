//! Smaller and smaller graphs in which heavy edges are hidden.
//!
//! Vertices join the neighboring group to which they have the heaviest connection for its size;
//! those without one join others that hang on the same neighbor, or that hang on nothing. A group
//! never gets larger than a cap, so that balance stays possible, and a level at most 2.5 times
//! smaller than the one before, so that groups grow evenly.
//!
//! Source of the rating: M. Holtgrewe, P. Sanders, C. Schulz, "Engineering a scalable high quality
//! graph partitioner", IPDPS 2010 (weight over the product of the sizes).

use super::{
    draw::Draw,
    graph::{Graph, Sums},
};
use crate::loads::WHOLE;

/// The graphs from fine to coarse, without the one that they begin with.
pub(super) struct Levels {
    levels: Vec<Level>,
}

/// A coarser graph, and the vertex of it that each vertex of the finer one is in.
pub(super) struct Level {
    pub(super) graph: Graph,
    pub(super) groups: Vec<u32>,
}

/// What may be put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    /// Stop at so many vertices.
    pub(super) vertices: u32,
    /// The most that a group may have of any resource.
    pub(super) size_max: i64,
}

impl Goal {
    /// To come down to some vertices, none much larger than the average of them.
    pub(super) fn vertices(graph: &Graph, vertices: u32) -> Self {
        let largest_total = graph.totals().into_iter().max().unwrap_or(0);
        let size_max = largest_total / i64::from(vertices.max(1)) * 3 / 2;
        Self { vertices, size_max: size_max.max(1) }
    }
}

impl Levels {
    /// Coarsens until the goal is reached or nothing much changes any more. Where parts are given,
    /// no group crosses them.
    pub(super) fn of(graph: &Graph, parts: Option<&[u32]>, goal: Goal, draw: &mut Draw) -> Self {
        let mut levels: Vec<Level> = Vec::new();
        let mut parts = parts.map(<[u32]>::to_vec);
        loop {
            let finest = levels.last().map_or(graph, |level| &level.graph);
            if finest.len() <= goal.vertices {
                break;
            }
            let (groups, count) = group(finest, parts.as_deref(), goal, draw);
            // Less than a twentieth gone: not worth a level.
            if u64::from(count) * 20 > u64::from(finest.len()) * 19 {
                break;
            }
            let coarse = finest.contract(&groups, count);
            parts = parts.map(|parts| parts_of_groups(&parts, &groups, count));
            levels.push(Level { graph: coarse, groups });
        }
        Self { levels }
    }

    /// The coarsest graph.
    pub(super) fn coarsest<'a>(&'a self, finest: &'a Graph) -> &'a Graph {
        self.levels.last().map_or(finest, |level| &level.graph)
    }

    /// From coarse to fine: the graph below each level, and the groups of its vertices.
    pub(super) fn down<'a>(
        &'a self,
        finest: &'a Graph,
    ) -> impl Iterator<Item = (&'a Graph, &'a [u32])> {
        (0..self.levels.len()).rev().map(move |at| {
            let below = if at == 0 { finest } else { &self.levels[at - 1].graph };
            (below, self.levels[at].groups.as_slice())
        })
    }

    /// The parts of the coarsest graph's vertices, when no group crosses a part.
    pub(super) fn parts_of_coarsest(&self, parts: &[u32]) -> Vec<u32> {
        self.levels.iter().fold(parts.to_vec(), |parts, level| {
            parts_of_groups(&parts, &level.groups, level.graph.len())
        })
    }
}

fn parts_of_groups(parts: &[u32], groups: &[u32], count: u32) -> Vec<u32> {
    let mut of_group = vec![0; count as usize];
    for (part, group) in parts.iter().zip(groups) {
        of_group[*group as usize] = *part;
    }
    of_group
}

const NOBODY: u32 = u32::MAX;

/// One level's groups while they form. Each is known by the vertex that began it.
struct Forming<'a> {
    graph: &'a Graph,
    parts: Option<&'a [u32]>,
    goal: Goal,
    group: Vec<u32>,
    loads: Vec<i64>,
    alone: Vec<bool>,
    count: u32,
    sums: Sums,
}

/// The group of each vertex, counted from 0, and how many there are.
fn group(graph: &Graph, parts: Option<&[u32]>, goal: Goal, draw: &mut Draw) -> (Vec<u32>, u32) {
    let count = graph.len();
    let loads = (0..count).flat_map(|vertex| graph.loads(vertex).iter().copied()).collect();
    let alone = vec![true; count as usize];
    let (group, sums) = ((0..count).collect(), Sums::new(count));
    let mut forming = Forming { graph, parts, goal, group, loads, alone, count, sums };
    // Shrink at most 2.5 times.
    let least = goal.vertices.max(count / 5 * 2);
    let order = draw.order(count);
    for &vertex in &order {
        if forming.count <= least {
            break;
        }
        if forming.alone[vertex as usize] {
            forming.join_heaviest(vertex);
        }
    }
    forming.join_left_over(&order, least);
    forming.numbered()
}

impl Forming<'_> {
    fn size(&self, group: u32) -> i64 {
        let resources = self.graph.resources();
        let start = group as usize * resources;
        self.loads[start..start + resources].iter().copied().max().unwrap_or(0)
    }

    fn fits(&self, group: u32, vertex: u32) -> bool {
        let start = group as usize * self.graph.resources();
        let loads = self.loads[start..].iter().zip(self.graph.loads(vertex));
        let same_part =
            self.parts.is_none_or(|parts| parts[group as usize] == parts[vertex as usize]);
        same_part && loads.into_iter().all(|(sum, load)| sum + load <= self.goal.size_max)
    }

    fn join(&mut self, group: u32, vertex: u32) {
        let resources = self.graph.resources();
        let start = group as usize * resources;
        let sums = &mut self.loads[start..start + resources];
        sums.iter_mut().zip(self.graph.loads(vertex)).for_each(|(sum, load)| *sum += load);
        self.group[vertex as usize] = group;
        self.alone[vertex as usize] = false;
        self.alone[group as usize] = false;
        self.count -= 1;
    }

    /// Joins a vertex to the group to which it is connected best.
    fn join_heaviest(&mut self, vertex: u32) {
        for &(neighbor, weight) in self.graph.neighbors(vertex) {
            self.sums.add(self.group[neighbor as usize], weight);
        }
        let mut best: Option<(i128, u32)> = None;
        for (group, weight) in self.sums.iter() {
            if group == vertex || !self.fits(group, vertex) {
                continue;
            }
            // Below the average size, smaller makes no difference.
            let least = WHOLE / i64::from(self.graph.len()) / 4 + 1;
            let rating = (i128::from(weight) << 60) / i128::from(self.size(group).max(least));
            if best.is_none_or(|(best, other)| (rating, other) > (best, group)) {
                best = Some((rating, group));
            }
        }
        self.sums.clear();
        if let Some((_, group)) = best {
            self.join(group, vertex);
        }
    }

    /// Joins vertices that found nobody: those that hang on the same neighbor most, and those that
    /// hang on nothing.
    fn join_left_over(&mut self, order: &[u32], least: u32) {
        let mut waiting = vec![NOBODY; self.graph.len() as usize + 1];
        for &vertex in order {
            if self.count <= least {
                return;
            }
            if !self.alone[vertex as usize] {
                continue;
            }
            let heaviest = self.graph.neighbors(vertex).iter();
            let heaviest = heaviest.max_by_key(|(neighbor, weight)| (*weight, u32::MAX - neighbor));
            let place = heaviest.map_or(self.graph.len(), |(neighbor, _)| *neighbor) as usize;
            match waiting[place] {
                NOBODY => waiting[place] = vertex,
                group if self.fits(group, vertex) => {
                    self.join(group, vertex);
                    // Pairs, but for those that hang on nothing.
                    if place < self.graph.len() as usize {
                        waiting[place] = NOBODY;
                    }
                }
                _ => waiting[place] = vertex,
            }
        }
    }

    fn numbered(self) -> (Vec<u32>, u32) {
        let mut numbers = vec![NOBODY; self.group.len()];
        let mut count = 0;
        for &group in &self.group {
            let number = &mut numbers[group as usize];
            if *number == NOBODY {
                *number = count;
                count += 1;
            }
        }
        (self.group.iter().map(|&group| numbers[group as usize]).collect(), count)
    }
}
