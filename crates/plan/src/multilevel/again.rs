//! Another plan for a network that has one: what is somewhere stays there, if it can.
//!
//! ```text
//! who is nowhere -> limbo, a part that must have nothing -> repaired -> refined, who moved only
//! ```
//!
//! Invariants: no process that has a partition moves unless a load is beyond its limits, which are
//! wider here, it must not meet others any more, or a partition would be empty.

use super::{
    draw::Draw,
    effort, fill_empty,
    graph::Graph,
    limits::Limits,
    parts::Parts,
    refine::refine_some,
    repair::repair,
    rules::{rank, settle},
};
use crate::{seating::NoPlace, view::NetworkView};

/// Gives each vertex a part, beginning with where it is.
pub(super) fn again(
    graph: &Graph,
    limits: &Limits,
    view: &NetworkView<'_>,
    current: &[Option<u32>],
    draw: &mut Draw,
) -> Result<Vec<u32>, NoPlace> {
    let count = u32::try_from(limits.target.len()).unwrap_or(u32::MAX);
    let home = |part: &Option<u32>| part.filter(|part| *part < count).unwrap_or(count);
    let with_limbo = limits.with_limbo();
    let homes: Vec<u32> = current.iter().map(home).collect();
    let begin = match view.has_conflicts() {
        true => settle(graph, limits, view, current)?,
        false => homes.clone(),
    };
    let mut parts = Parts::new(graph, &with_limbo, begin).keeping(view);
    repair(&mut parts);
    leave_limbo(&mut parts, count);
    let mut parts = Parts::new(graph, limits, parts.into_of()).keeping(view);
    let moved: Vec<bool> =
        homes.iter().zip(0..).map(|(home, vertex)| *home != parts.of(vertex)).collect();
    refine_some(&mut parts, effort(graph), draw, |vertex| moved[vertex as usize]);
    fill_empty(&mut parts);
    Ok(parts.into_of())
}

/// Who has no part yet, because nothing had room or it counts for nothing, gets the best one.
fn leave_limbo(parts: &mut Parts<'_>, limbo: u32) {
    for vertex in 0..parts.graph.len() {
        if parts.of(vertex) != limbo {
            continue;
        }
        let allowed = (0..limbo).filter(|part| parts.may(vertex, *part));
        if let Some(part) = allowed.max_by_key(|part| rank(parts, vertex, *part)) {
            parts.shift(vertex, part);
        }
    }
}
