//! Another plan for a network that has one: what is somewhere stays there, if it can.
//!
//! ```text
//! who is nowhere -> limbo, a part that must have nothing -> repaired -> refined, who moved only
//! ```
//!
//! Invariants: no process that has a partition moves unless a load is beyond its limits, which are
//! wider here, or a partition would be empty.

use super::{
    draw::Draw, effort, fill_empty, graph::Graph, limits::Limits, parts::Parts,
    refine::refine_some, repair::repair,
};

/// Gives each vertex a part, beginning with where it is.
pub(super) fn again(
    graph: &Graph,
    limits: &Limits,
    current: &[Option<u32>],
    draw: &mut Draw,
) -> Vec<u32> {
    let count = u32::try_from(limits.target.len()).unwrap_or(u32::MAX);
    let home = |part: &Option<u32>| part.filter(|part| *part < count).unwrap_or(count);
    let with_limbo = limits.with_limbo();
    let homes: Vec<u32> = current.iter().map(home).collect();
    let mut parts = Parts::new(graph, &with_limbo, homes.clone());
    repair(&mut parts);
    leave_limbo(&mut parts, count);
    let mut parts = Parts::new(graph, limits, parts.into_of());
    let moved: Vec<bool> =
        homes.iter().zip(0..).map(|(home, vertex)| *home != parts.of(vertex)).collect();
    refine_some(&mut parts, effort(graph), draw, |vertex| moved[vertex as usize]);
    fill_empty(&mut parts);
    parts.into_of()
}

/// Who has no part yet, because nothing had room or it counts for nothing, goes where it is
/// connected best; among equals, where there is most room.
fn leave_limbo(parts: &mut Parts<'_>, limbo: u32) {
    for vertex in 0..parts.graph.len() {
        if parts.of(vertex) != limbo {
            continue;
        }
        let rank = |part: &u32| {
            let room = parts.limits().target[*part as usize] - parts.load(*part);
            let (_, connection) = parts.connections(vertex, *part);
            let fits = room >= parts.graph.size(vertex);
            (fits, if fits { connection } else { 0 }, room, std::cmp::Reverse(*part))
        };
        if let Some(part) = (0..limbo).max_by_key(rank) {
            parts.shift(vertex, part);
        }
    }
}
