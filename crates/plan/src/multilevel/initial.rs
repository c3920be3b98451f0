//! Parts for a graph that has none: split in two, and each side again, as often as is needed.
//!
//! A split is a small partitioning of its own: coarsened further, grown from a random vertex several
//! times, the best one refined on the way back.
//!
//! Source of the growing: G. Karypis, V. Kumar, "A fast and high quality multilevel scheme for
//! partitioning irregular graphs", SIAM J. Sci. Comput. 1998, section 3.2 (greedy graph growing).

use std::collections::BinaryHeap;

use super::{
    coarsen::{Goal, Levels},
    draw::Draw,
    graph::Graph,
    limits::{Limits, PPM, Tolerance, ratio},
    parts::Parts,
    refine::{Effort, refine},
    repair::repair,
};

/// At how many vertices a split is grown.
const GROWN_AT: u32 = 160;
/// How often it is grown; the best one counts.
const GROWN_TIMES: u32 = 12;
/// How often a whole split is made, unless the graph has many edges; the best one counts.
const SPLITS: u32 = 3;
const SPLIT_EDGES: usize = 40_000;
/// Every split may be off by this much at least, in parts per million.
const SLACK_MIN_PPM: i64 = 2_000;

const EFFORT: Effort = Effort { rounds: 6, seeds: usize::MAX, patience: 120, worth: 1_000 };

/// Some of the vertices, and the parts that they are to fill.
struct Task {
    vertices: Vec<u32>,
    first: u32,
    parts: u32,
}

/// Gives each vertex a part with the targets of `limits`.
pub(super) fn split_all(
    graph: &Graph,
    limits: &Limits,
    tolerance: Tolerance,
    draw: &mut Draw,
) -> Vec<u32> {
    let mut of = vec![0; graph.len() as usize];
    let parts = u32::try_from(limits.target.len()).unwrap_or(u32::MAX);
    let mut tasks = vec![Task { vertices: (0..graph.len()).collect(), first: 0, parts }];
    while let Some(task) = tasks.pop() {
        if task.parts == 1 {
            task.vertices.iter().for_each(|vertex| of[*vertex as usize] = task.first);
            continue;
        }
        let part = graph.part(&task.vertices);
        let left = task.parts / 2;
        let sides = split(&part, &side_limits(&part, limits, &task, left, tolerance), draw);
        let side = |wanted: u32| {
            let both = task.vertices.iter().zip(&sides);
            both.filter(|(_, side)| **side == wanted).map(|(vertex, _)| *vertex).collect()
        };
        tasks.push(Task { vertices: side(0), first: task.first, parts: left });
        tasks.push(Task { vertices: side(1), first: task.first + left, parts: task.parts - left });
    }
    of
}

/// What the two sides of a split may have, so that the splits after it can keep the tolerance.
fn side_limits(
    part: &Graph,
    limits: &Limits,
    task: &Task,
    left: u32,
    tolerance: Tolerance,
) -> Limits {
    let sum = |first: u32, count: u32| -> i64 {
        limits.target[first as usize..(first + count) as usize].iter().sum()
    };
    let (target_left, target) = (sum(task.first, left), sum(task.first, task.parts));
    let load = part.totals().into_iter().max().unwrap_or(0);
    // How many millionths the whole may still be off, spread over the splits that follow.
    let above = PPM + i64::from(tolerance.above_ppm);
    let rest = ratio(ratio(target, above, PPM), PPM, load) - PPM;
    let depth = i64::from(task.parts.next_power_of_two().trailing_zeros());
    let slack = PPM + (rest / depth.max(1)).max(SLACK_MIN_PPM);
    let left_load = ratio(load, target_left, target);
    let targets = [left_load, load - left_load];
    Limits::sides(targets, targets.map(|side| ratio(side, slack, PPM)))
}

/// The side of each vertex: the best of several splits.
fn split(graph: &Graph, limits: &Limits, draw: &mut Draw) -> Vec<u32> {
    let tries = if graph.edges() > SPLIT_EDGES { 1 } else { SPLITS };
    let split = |_| split_once(graph, limits, &mut draw.split());
    let splits = (0..tries).map(split);
    let best = splits.min_by_key(|(excess, cut, _)| (*excess, *cut));
    best.map_or_else(Vec::new, |(_, _, sides)| sides)
}

fn split_once(graph: &Graph, limits: &Limits, draw: &mut Draw) -> (i64, i64, Vec<u32>) {
    let levels = Levels::of(graph, None, Goal::vertices(graph, GROWN_AT), draw);
    let coarsest = levels.coarsest(graph);
    let grow = |_| {
        let mut sides = Parts::new(coarsest, limits, grow(coarsest, limits, draw));
        improve(&mut sides, draw);
        (sides.excess(), sides.cut(), sides.into_of())
    };
    let best = (0..GROWN_TIMES).map(grow).min_by_key(|(excess, cut, _)| (*excess, *cut));
    let mut of = best.map_or_else(Vec::new, |(_, _, sides)| sides);
    for (below, groups) in levels.down(graph) {
        let fine = groups.iter().map(|group| of[*group as usize]).collect();
        let mut sides = Parts::new(below, limits, fine);
        improve(&mut sides, draw);
        of = sides.into_of();
    }
    let sides = Parts::new(graph, limits, of);
    (sides.excess(), sides.cut(), sides.into_of())
}

fn improve(sides: &mut Parts<'_>, draw: &mut Draw) {
    repair(sides);
    refine(sides, EFFORT, draw);
}

/// Side 0 grows from a random vertex, by the vertex that is connected to it best, until it has
/// what it should have.
fn grow(graph: &Graph, limits: &Limits, draw: &mut Draw) -> Vec<u32> {
    let mut sides = Parts::new(graph, limits, vec![1; graph.len() as usize]);
    let resources = i64::try_from(graph.resources()).unwrap_or(i64::MAX);
    let enough = limits.target[0].saturating_mul(resources);
    let mut heap = BinaryHeap::new();
    let mut order = draw.order(graph.len()).into_iter();
    let sum = |sides: &Parts<'_>| sides.loads(0).iter().sum::<i64>();
    while sum(&sides) < enough && sides.members(1) > 1 {
        let (gain, vertex) = match heap.pop() {
            Some(entry) => entry,
            None => match order.find(|vertex| sides.of(*vertex) == 1) {
                Some(vertex) => (i64::MIN, vertex),
                None => break,
            },
        };
        if sides.of(vertex) == 0 {
            continue;
        }
        let (inside, outside) = sides.connections(vertex, 0);
        if gain > outside - inside {
            heap.push((outside - inside, vertex));
            continue;
        }
        sides.shift(vertex, 0);
        for &(neighbor, _) in graph.neighbors(vertex) {
            if sides.of(neighbor) == 1 {
                let (inside, outside) = sides.connections(neighbor, 0);
                heap.push((outside - inside, neighbor));
            }
        }
    }
    sides.into_of()
}
