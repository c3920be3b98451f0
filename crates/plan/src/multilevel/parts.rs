//! Which part each vertex is in, and what that means for loads.
//!
//! Invariant: the loads are those of the vertices, whatever was moved.

use std::cmp::Reverse;

use super::{
    graph::{Graph, Sums},
    limits::Limits,
};

/// Vertices with more edges than this, or than there are parts, have their connections kept.
pub(super) const HUB_DEGREE: usize = 48;

/// Vertices in parts.
#[derive(Debug, Clone)]
pub(super) struct Parts<'a> {
    pub(super) graph: &'a Graph,
    limits: &'a Limits,
    of: Vec<u32>,
    loads: Vec<i64>,
    members: Vec<u32>,
    hubs: Hubs,
}

/// What vertices with many edges have to each part, so that nobody needs to go through their
/// neighbors again and again.
#[derive(Debug, Clone, Default)]
struct Hubs {
    /// The row of each vertex; empty when there are no hubs.
    row_of: Vec<u32>,
    /// A row for each hub: the weight of its edges to each part.
    rows: Vec<i64>,
}

const NO_ROW: u32 = u32::MAX;

impl Hubs {
    fn of(graph: &Graph, of: &[u32], parts: usize) -> Self {
        let degree = HUB_DEGREE.min(parts);
        let is_hub = |vertex: &u32| graph.neighbors(*vertex).len() > degree;
        let hubs: Vec<u32> = (0..graph.len()).filter(is_hub).collect();
        if hubs.is_empty() {
            return Self::default();
        }
        let mut row_of = vec![NO_ROW; graph.len() as usize];
        let mut rows = vec![0; hubs.len() * parts];
        for (row, &hub) in (0..).zip(&hubs) {
            row_of[hub as usize] = row;
            for &(neighbor, weight) in graph.neighbors(hub) {
                rows[row as usize * parts + of[neighbor as usize] as usize] += weight;
            }
        }
        Self { row_of, rows }
    }

    fn row(&self, vertex: u32, parts: usize) -> Option<&[i64]> {
        let row = *self.row_of.get(vertex as usize).filter(|row| **row != NO_ROW)? as usize;
        Some(&self.rows[row * parts..(row + 1) * parts])
    }

    /// A vertex moves; its neighbors' rows follow.
    fn follow(&mut self, graph: &Graph, vertex: u32, from: u32, to: u32, parts: usize) {
        if self.row_of.is_empty() {
            return;
        }
        for &(neighbor, weight) in graph.neighbors(vertex) {
            let row = self.row_of[neighbor as usize];
            if row != NO_ROW {
                let start = row as usize * parts;
                self.rows[start + from as usize] -= weight;
                self.rows[start + to as usize] += weight;
            }
        }
    }
}

/// A way to move a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    /// The part to move it to.
    pub(super) to: u32,
    /// By how much the cut gets smaller.
    pub(super) gain: i64,
    /// By how much loads get further beyond their limits; negative: less so.
    pub(super) excess: i64,
}

/// What it does to a part to get some load.
enum Joining {
    Harmless,
    /// A load gets beyond its limit, or further beyond.
    Harmful,
    /// It has too little so far.
    Depends,
}

impl<'a> Parts<'a> {
    pub(super) fn new(graph: &'a Graph, limits: &'a Limits, of: Vec<u32>) -> Self {
        let (count, resources) = (limits.target.len(), graph.resources());
        let mut parts = Self {
            hubs: Hubs::of(graph, &of, count),
            graph,
            limits,
            of,
            loads: vec![0; count * resources],
            members: vec![0; count],
        };
        for vertex in 0..graph.len() {
            let part = parts.of(vertex);
            parts.put(vertex, part);
        }
        parts
    }

    /// How many parts there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.limits.target.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// The part of a vertex.
    pub(super) fn of(&self, vertex: u32) -> u32 {
        self.of[vertex as usize]
    }

    /// How many vertices a part has.
    pub(super) fn members(&self, part: u32) -> u32 {
        self.members[part as usize]
    }

    pub(super) fn into_of(self) -> Vec<u32> {
        self.of
    }

    /// The loads of a part, by resource.
    pub(super) fn loads(&self, part: u32) -> &[i64] {
        let start = part as usize * self.graph.resources();
        &self.loads[start..start + self.graph.resources()]
    }

    /// The largest load of a part.
    pub(super) fn load(&self, part: u32) -> i64 {
        self.loads(part).iter().copied().max().unwrap_or(0)
    }

    /// What the edges between parts weigh.
    pub(super) fn cut(&self) -> i64 {
        let cut_of = |vertex| {
            let away = self.graph.neighbors(vertex).iter();
            let away = away.filter(move |(other, _)| self.of(*other) != self.of(vertex));
            away.map(|(_, weight)| weight).sum::<i64>()
        };
        (0..self.graph.len()).map(cut_of).sum::<i64>() / 2
    }

    /// By how much all loads together are beyond their limits.
    pub(super) fn excess(&self) -> i64 {
        (0..self.count()).map(|part| self.excess_of(part, self.loads(part).iter().copied())).sum()
    }

    /// By how much one part's loads are beyond its limits.
    pub(super) fn excess_at(&self, part: u32) -> i64 {
        self.excess_of(part, self.loads(part).iter().copied())
    }

    fn excess_of(&self, part: u32, loads: impl Iterator<Item = i64>) -> i64 {
        let (least, most) = (self.limits.least[part as usize], self.limits.most[part as usize]);
        let (mut above, mut largest) = (0, 0);
        for load in loads {
            above += (load - most).max(0);
            largest = load.max(largest);
        }
        above + (least - largest).max(0)
    }

    /// Whether any neighbor of a vertex is in another part.
    pub(super) fn is_on_border(&self, vertex: u32) -> bool {
        let part = self.of(vertex);
        self.graph.neighbors(vertex).iter().any(|(other, _)| self.of(*other) != part)
    }

    /// By how much loads get further beyond limits when a vertex moves.
    pub(super) fn excess_of_move(&self, vertex: u32, to: u32) -> i64 {
        let (from, moved) = (self.of(vertex), self.graph.loads(vertex));
        let (left, joined) = (self.loads(from), self.loads(to));
        let after_from = left.iter().zip(moved).map(|(sum, load)| sum - load);
        let after_to = joined.iter().zip(moved).map(|(sum, load)| sum + load);
        self.excess_of(from, after_from) - self.excess_at(from) + self.excess_of(to, after_to)
            - self.excess_at(to)
    }

    /// The best move of a vertex to a part that it has neighbors in, of those after which loads are
    /// no further beyond limits than before. Of equals, to the part that is further below its
    /// target, then to the lower.
    pub(super) fn best_move(&self, vertex: u32, sums: &mut Sums) -> Option<Move> {
        let from = self.of(vertex);
        if self.members(from) == 1 {
            return None;
        }
        if let Some(row) = self.hubs.row(vertex, self.members.len()) {
            let connected = (0..).zip(row.iter().copied()).filter(|(_, weight)| *weight > 0);
            return self.best_of(vertex, row[from as usize], connected);
        }
        self.sum_connections(vertex, sums);
        let best = self.best_of(vertex, sums.of(from), sums.iter());
        sums.clear();
        best
    }

    /// The best move of those to parts with their connections.
    fn best_of(
        &self,
        vertex: u32,
        inside: i64,
        connected: impl Iterator<Item = (u32, i64)>,
    ) -> Option<Move> {
        let (from, moved) = (self.of(vertex), self.graph.loads(vertex));
        let may_leave = self.may_leave(from, moved);
        let mut best: Option<(Move, i64)> = None;
        for (to, weight) in connected {
            let gain = weight - inside;
            if to == from || best.is_some_and(|(best, _)| best.gain > gain) {
                continue;
            }
            let excess = match self.joining(to, moved) {
                Joining::Harmless if may_leave => 0,
                Joining::Harmful if may_leave => continue,
                _ => self.excess_of_move(vertex, to),
            };
            if excess > 0 {
                continue;
            }
            let room = self.limits.target[to as usize] - self.load(to);
            let rank = (gain, room, Reverse(to));
            if best.is_none_or(|(best, other)| rank > (best.gain, other, Reverse(best.to))) {
                best = Some((Move { to, gain, excess }, room));
            }
        }
        best.map(|(found, _)| found)
    }

    /// Whether a part that loses some load has been and stays within its limits.
    #[inline]
    fn may_leave(&self, part: u32, loads: &[i64]) -> bool {
        let (least, most) = (self.limits.least[part as usize], self.limits.most[part as usize]);
        let mut rest = 0;
        for (sum, load) in self.loads(part).iter().zip(loads) {
            if *sum > most {
                return false;
            }
            rest = rest.max(sum - load);
        }
        rest >= least
    }

    /// What it does to a part to get some load.
    #[inline]
    fn joining(&self, part: u32, loads: &[i64]) -> Joining {
        let (least, most) = (self.limits.least[part as usize], self.limits.most[part as usize]);
        let (mut had, mut fits) = (0, true);
        for (sum, load) in self.loads(part).iter().zip(loads) {
            fits &= sum + load <= most || *load == 0;
            had = had.max(*sum);
        }
        match (had >= least, fits) {
            (true, true) => Joining::Harmless,
            (true, false) => Joining::Harmful,
            (false, _) => Joining::Depends,
        }
    }

    /// Adds up what a vertex's edges to each part weigh.
    pub(super) fn sum_connections(&self, vertex: u32, sums: &mut Sums) {
        if let Some(row) = self.hubs.row(vertex, self.members.len()) {
            for (part, &weight) in (0..).zip(row).filter(|(_, weight)| **weight > 0) {
                sums.add(part, weight);
            }
            return;
        }
        for &(other, weight) in self.graph.neighbors(vertex) {
            sums.add(self.of(other), weight);
        }
    }

    /// What a vertex's edges to its own part and to another weigh.
    pub(super) fn connections(&self, vertex: u32, to: u32) -> (i64, i64) {
        let (from, mut inside, mut outside) = (self.of(vertex), 0, 0);
        if let Some(row) = self.hubs.row(vertex, self.members.len()) {
            return (row[from as usize], row[to as usize]);
        }
        for &(other, weight) in self.graph.neighbors(vertex) {
            let part = self.of(other);
            if part == from {
                inside += weight;
            } else if part == to {
                outside += weight;
            }
        }
        (inside, outside)
    }

    /// Moves a vertex.
    pub(super) fn shift(&mut self, vertex: u32, to: u32) {
        let from = self.of(vertex);
        let resources = self.graph.resources();
        let start = from as usize * resources;
        let loads = self.graph.loads(vertex);
        self.loads[start..start + resources]
            .iter_mut()
            .zip(loads)
            .for_each(|(sum, load)| *sum -= load);
        self.members[from as usize] -= 1;
        self.put(vertex, to);
        self.hubs.follow(self.graph, vertex, from, to, self.members.len());
    }

    fn put(&mut self, vertex: u32, to: u32) {
        let resources = self.graph.resources();
        let start = to as usize * resources;
        let loads = self.graph.loads(vertex);
        self.loads[start..start + resources]
            .iter_mut()
            .zip(loads)
            .for_each(|(sum, load)| *sum += load);
        self.members[to as usize] += 1;
        self.of[vertex as usize] = to;
    }
}
