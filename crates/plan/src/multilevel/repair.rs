//! Brings loads back within their limits, at the smallest loss for what it brings.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{graph::Sums, parts::Parts};

/// The most times that all vertices are looked at.
const ROUNDS: u32 = 6;

/// Moves vertices until no load is beyond its limits, or no single move helps.
pub(super) fn repair(parts: &mut Parts<'_>) {
    for _ in 0..ROUNDS {
        let before = parts.excess();
        if before == 0 {
            return;
        }
        round(parts, before);
        if parts.excess() >= before {
            return;
        }
    }
}

/// A move that helps: what it loses for how much it brings, and where to.
type Help = (i128, u32);

fn round(parts: &mut Parts<'_>, mut excess: i64) {
    let mut sums = Sums::new(parts.count());
    let mut heap = BinaryHeap::new();
    for vertex in 0..parts.graph.len() {
        if let Some((price, _)) = help(parts, vertex, &mut sums) {
            heap.push(Reverse((price, vertex)));
        }
    }
    while let Some(Reverse((price, vertex))) = heap.pop() {
        let Some((now, to)) = help(parts, vertex, &mut sums) else { continue };
        if now > price {
            heap.push(Reverse((now, vertex)));
            continue;
        }
        excess += parts.excess_of_move(vertex, to);
        parts.shift(vertex, to);
        if excess <= 0 {
            return;
        }
    }
}

/// The cheapest move of a vertex that brings loads closer to their limits: to a part next to it, or
/// to the one with the most room.
fn help(parts: &Parts<'_>, vertex: u32, sums: &mut Sums) -> Option<Help> {
    let from = parts.of(vertex);
    if parts.members(from) == 1 {
        return None;
    }
    parts.sum_connections(vertex, sums);
    let inside = sums.of(from);
    let limits = parts.limits();
    let room = |part: u32| limits.target[part as usize] - parts.load(part);
    let allowed = (0..parts.count()).filter(|part| parts.may(vertex, *part));
    let roomiest = allowed.max_by_key(|part| (room(*part), Reverse(*part)));
    let next_to = sums.iter().chain(roomiest.map(|part| (part, sums.of(part))));
    let price = |(to, outside): (u32, i64)| {
        if to == from || !parts.may(vertex, to) {
            return None;
        }
        let brings = -parts.excess_of_move(vertex, to);
        let loses = i128::from(inside - outside) << 30;
        (brings > 0).then(|| (loses / i128::from(brings), to))
    };
    let best = next_to.filter_map(price).min();
    sums.clear();
    best
}
