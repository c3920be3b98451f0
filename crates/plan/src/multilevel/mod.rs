//! The multilevel strategy: little traffic between partitions that are about equally loaded.
//!
//! ```text
//! network -> graph -> coarser .. coarsest -> split in two, again and again
//!                                               |
//!              best of several <- finer, repaired and refined on every level
//! ```
//!
//! Objective, in this order: loads within their limits, for every resource; little traffic between
//! partitions. O(rounds * edges * log processes). Where single processes are too large for the
//! limits, they are loosened around the balance that can be reached: the last bit of it is not worth
//! any amount of traffic.
//!
//! A network that has partitions already keeps them: see `again`. One with processes that must not meet
//! gets them apart afterwards: see `rules`.
//!
//! Invariants: the same network, count and seed give the same answer on every machine; integers
//! only; no partition is empty.
//!
//! Sources: G. Karypis, V. Kumar, "Multilevel k-way partitioning scheme for irregular graphs", JPDC
//! 1998; P. Sanders, C. Schulz, "Engineering multilevel graph partitioning algorithms", ESA 2011.

mod again;
mod coarsen;
mod draw;
mod graph;
mod initial;
mod limits;
mod parts;
mod refine;
mod repair;
mod rules;
mod shake;
#[cfg(test)]
mod tests;

pub use self::limits::Tolerance;
use self::{
    coarsen::{Goal, Levels},
    draw::Draw,
    graph::Graph,
    limits::{Limits, PPM, mul_ppm, ratio},
    parts::Parts,
    refine::{Effort, refine},
    repair::repair,
    shake::shake,
};
use crate::facts::COARSE_PPM;
use crate::strategy::{BalanceStrategy, PartitionRequest, StrategyFailure};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Multilevel {
    tolerance: Tolerance,
}

/// At how many vertices the first partition is made, at least, and for each part.
const COARSEST_MIN: u32 = 3_000;
const COARSEST_PER_PART: u32 = 40;

/// Smaller networks are partitioned several times, and the best one counts.
const TRIES_MAX: u32 = 6;
const TRIED_VERTICES: u32 = 20_000;
/// With how many vertices searches begin: at first, and each time that a network is gone through
/// once more within its parts. Networks with many processes or edges do that only once.
const SEEDS: usize = 16;
const CYCLES: [usize; 6] = [SEEDS, SEEDS, SEEDS, SEEDS, 1, 1];
const CYCLED_EDGES: usize = 60_000;
/// Down to how many vertices, at least, and for each part.
const CYCLED_MIN: u32 = 600;
const CYCLED_PER_PART: u32 = 20;

/// Searches are fewer and shorter on larger graphs.
fn effort(graph: &Graph) -> Effort {
    match graph.edges() {
        0..60_000 => Effort { rounds: 8, seeds: SEEDS, patience: 30, worth: 1_000 },
        60_000..200_000 => Effort { rounds: 5, seeds: SEEDS, patience: 30, worth: 500 },
        _ => Effort { rounds: 3, seeds: SEEDS, patience: 4, worth: 200 },
    }
}

impl Multilevel {
    /// The name it is registered under.
    pub const NAME: &'static str = "multilevel";

    /// One that keeps loads closer to or further from their targets.
    #[must_use]
    pub fn with_tolerance(tolerance: Tolerance) -> Self {
        Self { tolerance }
    }
}

impl BalanceStrategy for Multilevel {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn assign(&self, request: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
        let (view, count) = (request.view, request.partitions);
        let graph = Graph::of(view);
        let mut draw = Draw::new(request.seed.0);
        let limits = Limits::of(count, request.shares, self.tolerance);
        let of = match request.current {
            _ if count == 1 || graph.len() <= 1 => vec![0; graph.len() as usize],
            Some(current) => {
                let limits = Limits::of(count, request.shares, self.tolerance.widened());
                return Ok(again::again(&graph, &limits, view, current, &mut draw)?);
            }
            None => self.fresh(&graph, &limits, request, &mut draw)?,
        };
        if view.has_conflicts() {
            return Ok(rules::keep(&graph, &limits, view, of, &mut draw)?);
        }
        Ok(of)
    }
}

fn nothing() -> StrategyFailure {
    StrategyFailure::new("nothing was tried")
}

impl Multilevel {
    /// A network that has no partitions yet.
    fn fresh(
        &self,
        graph: &Graph,
        limits: &Limits,
        request: &PartitionRequest<'_>,
        draw: &mut Draw,
    ) -> Result<Vec<u32>, StrategyFailure> {
        let strict = self.best(graph, limits, draw).ok_or_else(nothing)?;
        let Some(loosened) = self.loosened(&strict) else { return Ok(strict.into_of()) };
        let limits = Limits::of(request.partitions, request.shares, loosened.tolerance);
        let strict = Parts::new(graph, &limits, strict.into_of());
        let loose = loosened.best(graph, &limits, draw).ok_or_else(nothing)?;
        let better = (loose.excess(), loose.cut()) < (strict.excess(), strict.cut());
        Ok(if better { loose } else { strict }.into_of())
    }

    /// The best of several tries.
    fn best<'a>(&self, graph: &'a Graph, limits: &'a Limits, draw: &mut Draw) -> Option<Parts<'a>> {
        let tries = (TRIED_VERTICES / graph.len()).clamp(1, TRIES_MAX);
        let tries = (0..tries).map(|_| {
            let mut parts = self.once(graph, limits, &mut draw.split());
            fill_empty(&mut parts);
            (parts.excess(), parts.cut(), parts)
        });
        let (_, _, mut best) = tries.min_by_key(|(excess, cut, _)| (*excess, *cut))?;
        shake(&mut best, draw);
        Some(best)
    }

    fn once<'a>(&self, graph: &'a Graph, limits: &'a Limits, draw: &mut Draw) -> Parts<'a> {
        let parts = u32::try_from(limits.target.len()).unwrap_or(u32::MAX);
        let coarsest = parts.saturating_mul(COARSEST_PER_PART).max(COARSEST_MIN);
        let goal = Goal::vertices(graph, coarsest);
        let levels = Levels::of(graph, None, goal, draw);
        let of = initial::split_all(levels.coarsest(graph), limits, self.tolerance, draw);
        let mut of = uncoarsen(graph, &levels, limits, of, SEEDS, draw);
        let small = graph.len() < TRIED_VERTICES && graph.edges() < CYCLED_EDGES;
        let (cycles, goal) = if small {
            let coarsest = parts.saturating_mul(CYCLED_PER_PART).max(CYCLED_MIN);
            (CYCLES.as_slice(), Goal::vertices(graph, coarsest))
        } else {
            (&CYCLES[..1], goal)
        };
        for &seeds in cycles {
            let levels = Levels::of(graph, Some(&of), goal, draw);
            let coarse = levels.parts_of_coarsest(&of);
            of = uncoarsen(graph, &levels, limits, coarse, seeds, draw);
        }
        Parts::new(graph, limits, of)
    }

    /// Where single processes are so large that loads cannot be kept within their limits: a
    /// strategy that tolerates as much beyond the balance that was reached as this one does beyond
    /// a perfect one. None where loads are within their limits or processes are small.
    fn loosened(&self, best: &Parts<'_>) -> Option<Self> {
        if best.excess() == 0 || best.graph.len() >= TRIED_VERTICES {
            return None;
        }
        let mut largest = vec![0; best.count() as usize];
        for vertex in 0..best.graph.len() {
            let of_part = &mut largest[best.of(vertex) as usize];
            *of_part = best.graph.size(vertex).max(*of_part);
        }
        let limits = best.limits();
        let mean = (0..best.count()).map(|part| best.load(part)).sum::<i64>();
        let mean = mean / i64::from(best.count());
        let coarse = largest.iter().any(|size| *size > mul_ppm(mean, COARSE_PPM.into()));
        // A process that is beyond the limit by itself says nothing about the others.
        let counts = (0..).zip(&largest);
        let counts = counts.filter(|(part, size)| **size <= limits.most[*part as usize]);
        let share = |part| ratio(best.load(part), PPM, limits.target[part as usize]);
        let shares: Vec<i64> = counts.map(|(part, _)| share(part)).collect();
        let tolerance = self.tolerance.beyond(*shares.iter().min()?, *shares.iter().max()?);
        (coarse && tolerance != self.tolerance).then_some(Self { tolerance })
    }
}

/// Refines from the coarsest graph to the finest.
fn uncoarsen(
    graph: &Graph,
    levels: &Levels,
    limits: &Limits,
    of: Vec<u32>,
    seeds: usize,
    draw: &mut Draw,
) -> Vec<u32> {
    let improve = |graph: &Graph, of: Vec<u32>, draw: &mut Draw| {
        let mut parts = Parts::new(graph, limits, of);
        repair(&mut parts);
        refine(&mut parts, Effort { seeds, ..effort(graph) }, draw);
        parts.into_of()
    };
    let mut of = improve(levels.coarsest(graph), of, draw);
    for (below, groups) in levels.down(graph) {
        of = improve(below, groups.iter().map(|group| of[*group as usize]).collect(), draw);
    }
    of
}

/// Gives every empty part the lightest vertex of the part that has the most.
fn fill_empty(parts: &mut Parts<'_>) {
    for part in 0..parts.count() {
        if parts.members(part) > 0 {
            continue;
        }
        let fullest = (0..parts.count()).max_by_key(|part| parts.members(*part));
        let of_fullest = (0..parts.graph.len()).filter(|vertex| Some(parts.of(*vertex)) == fullest);
        if let Some(vertex) = of_fullest.min_by_key(|vertex| parts.graph.size(*vertex)) {
            parts.shift(vertex, part);
        }
    }
}
