//! Moves vertices at the border of parts to where they are better connected.
//!
//! Many small searches: each begins with a few vertices, moves the best one though the cut gets larger,
//! goes on with its neighbors, and keeps the best of what it came through. A vertex that a search has
//! moved rests until the next round.
//!
//! Sources: C. Fiduccia, R. Mattheyses, "A linear-time heuristic for improving network partitions",
//! DAC 1982; P. Sanders, C. Schulz, "Engineering multilevel graph partitioning algorithms", ESA 2011
//! (many small searches).

use std::collections::BinaryHeap;

use super::{draw::Draw, graph::Sums, parts::Parts};

/// How thorough to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// The most rounds.
    pub(super) rounds: u32,
    /// With how many vertices a search begins.
    pub(super) seeds: usize,
    /// After how many moves without an improvement a search ends.
    pub(super) patience: usize,
    /// A round must make the cut smaller by one part in so many, or it is the last.
    pub(super) worth: i64,
}

/// Improves until a round is not worth it, or the rounds are over.
pub(super) fn refine(parts: &mut Parts<'_>, effort: Effort, draw: &mut Draw) {
    refine_some(parts, effort, draw, |_| true);
}

/// Improves by moving some of the vertices only.
pub(super) fn refine_some(
    parts: &mut Parts<'_>,
    effort: Effort,
    draw: &mut Draw,
    may_move: impl Fn(u32) -> bool,
) {
    let mut search = Search::new(parts);
    let mut cut = search.parts.cut();
    for _ in 0..effort.rounds {
        let excess = search.parts.excess();
        let improved = search.round(effort, draw, &may_move);
        if excess == 0 && improved.saturating_mul(effort.worth) < cut.max(1) {
            return;
        }
        if excess > 0 && improved <= 0 && search.parts.excess() >= excess {
            return;
        }
        cut -= improved;
    }
}

struct Search<'a, 'g> {
    parts: &'a mut Parts<'g>,
    sums: Sums,
    /// The gain with which a vertex waits; only that entry of the heap counts. It may be less by now:
    /// that shows when it is its turn.
    waiting: Vec<i64>,
    rests: Vec<bool>,
    heap: BinaryHeap<(i64, u32)>,
    moves: Vec<(u32, u32)>,
}

const NOT_WAITING: i64 = i64::MIN;

/// A search does not go on to the neighbors of vertices that have more than this: it ends long
/// before their turn.
const SPREADING_DEGREE: usize = 100;

impl<'a, 'g> Search<'a, 'g> {
    fn new(parts: &'a mut Parts<'g>) -> Self {
        let count = parts.graph.len() as usize;
        Self {
            sums: Sums::new(parts.count()),
            waiting: vec![NOT_WAITING; count],
            rests: vec![false; count],
            heap: BinaryHeap::new(),
            moves: Vec::new(),
            parts,
        }
    }

    /// One search after the other until every vertex at a border was in one. Gives by how much the
    /// cut got smaller.
    fn round(&mut self, effort: Effort, draw: &mut Draw, may_move: &impl Fn(u32) -> bool) -> i64 {
        for (vertex, rests) in (0..).zip(&mut self.rests) {
            *rests = !may_move(vertex);
        }
        let mut border = draw.order(self.parts.graph.len());
        border.retain(|&vertex| self.parts.is_on_border(vertex));
        let searches = border.chunks(effort.seeds.max(1));
        searches.map(|seeds| self.search(seeds, effort.patience)).sum()
    }

    fn search(&mut self, seeds: &[u32], patience: usize) -> i64 {
        for &vertex in seeds {
            if !self.rests[vertex as usize] {
                self.consider(vertex);
            }
        }
        let (mut gained, mut excess, mut best, mut kept) = (0, 0, (0, 0), 0);
        while let Some((gain, vertex)) = self.heap.pop() {
            if self.waiting[vertex as usize] != gain {
                continue;
            }
            self.waiting[vertex as usize] = NOT_WAITING;
            let Some(found) = self.parts.best_move(vertex, &mut self.sums) else { continue };
            if found.gain < gain {
                self.wait(vertex, found.gain);
                continue;
            }
            let from = self.parts.of(vertex);
            self.parts.shift(vertex, found.to);
            self.rests[vertex as usize] = true;
            self.moves.push((vertex, from));
            gained += found.gain;
            excess += found.excess;
            // What is as good counts as well: borders drift until they find a shorter way.
            if (-excess, gained) >= best {
                best = (-excess, gained);
                kept = self.moves.len();
            } else if self.moves.len() - kept > patience {
                break;
            }
            self.touch_neighbors(vertex, from);
        }
        for (_, vertex) in self.heap.drain() {
            self.waiting[vertex as usize] = NOT_WAITING;
        }
        while self.moves.len() > kept {
            if let Some((vertex, from)) = self.moves.pop() {
                self.parts.shift(vertex, from);
            }
        }
        self.moves.clear();
        best.1
    }

    /// The neighbors of a vertex that was moved may gain more than they wait with, or wait for the
    /// first time.
    fn touch_neighbors(&mut self, vertex: u32, from: u32) {
        let (graph, to) = (self.parts.graph, self.parts.of(vertex));
        let neighbors = graph.neighbors(vertex);
        let spreads = neighbors.len() <= SPREADING_DEGREE;
        for &(neighbor, weight) in neighbors {
            let (part, gain) = (self.parts.of(neighbor), self.waiting[neighbor as usize]);
            // Those in the part that it moved to gain less than before.
            if part == to || self.rests[neighbor as usize] {
                continue;
            }
            if gain != NOT_WAITING {
                let more = if part == from { 2 * weight } else { weight };
                self.wait(neighbor, gain + more);
            } else if spreads {
                self.consider(neighbor);
            }
        }
    }

    /// Lets a vertex wait with what it would gain, if it may move anywhere.
    fn consider(&mut self, vertex: u32) {
        match self.parts.best_move(vertex, &mut self.sums) {
            Some(found) if self.waiting[vertex as usize] != found.gain => {
                self.wait(vertex, found.gain);
            }
            Some(_) => {}
            None => self.waiting[vertex as usize] = NOT_WAITING,
        }
    }

    fn wait(&mut self, vertex: u32, gain: i64) {
        self.waiting[vertex as usize] = gain;
        self.heap.push((gain, vertex));
    }
}
