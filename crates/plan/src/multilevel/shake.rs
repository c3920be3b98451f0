//! Small graphs once more, from a little beside the best that was found.
//!
//! Some vertices are thrown into random parts, and what comes of it after repair and refinement
//! counts when it is no worse. This finds what single moves do not: exchanges of several large
//! vertices between parts that have no room.
//!
//! Source: H. Lourenço, O. Martin, T. Stützle, "Iterated local search", Handbook of Metaheuristics,
//! 2003.

use super::{draw::Draw, effort, fill_empty, parts::Parts, refine::refine, repair::repair};

/// Up to how many vertices a graph is small.
const SHAKEN_VERTICES: u32 = 2_000;
/// How often it is shaken: at most, and in relation to what each time costs.
const TIMES_MAX: usize = 300;
const COST_MAX: usize = 200_000;
const COST_PER_PART: usize = 8;
/// One vertex in so many is thrown, at most, and two more.
const THROWN_SHARE: u32 = 10;

/// Tries to get better; never gets worse.
pub(super) fn shake(best: &mut Parts<'_>, draw: &mut Draw) {
    let count = best.graph.len();
    if count > SHAKEN_VERTICES {
        return;
    }
    let mut rank = (best.excess(), best.cut());
    let cost = count as usize + best.graph.edges() + best.count() as usize * COST_PER_PART;
    for _ in 0..(COST_MAX / cost.max(1)).min(TIMES_MAX) {
        let mut shaken = best.clone();
        throw(&mut shaken, draw);
        repair(&mut shaken);
        refine(&mut shaken, effort(best.graph), draw);
        fill_empty(&mut shaken);
        let found = (shaken.excess(), shaken.cut());
        if found <= rank {
            (*best, rank) = (shaken, found);
        }
    }
}

/// Throws some vertices into random parts. No part gets empty.
fn throw(parts: &mut Parts<'_>, draw: &mut Draw) {
    let count = parts.graph.len();
    for _ in 0..2 + draw.below((count / THROWN_SHARE).max(1)) {
        let (vertex, to) = (draw.below(count), draw.below(parts.count()));
        if parts.of(vertex) != to && parts.members(parts.of(vertex)) > 1 {
            parts.shift(vertex, to);
        }
    }
}
