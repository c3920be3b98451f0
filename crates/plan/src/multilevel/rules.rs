//! Takes processes apart that must not meet.
//!
//! Parts are made without a look at that. Then who must leave moves to where it is connected best, and
//! the parts are refined with moves that keep the rules. Parts whose processes require different values
//! of a label are first claimed for one of them: so many for each value as its processes fill.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    draw::Draw, effort, fill_empty, graph::Graph, limits::Limits, parts::Parts, refine::refine,
    repair::repair,
};
use crate::{
    seating::{NoPlace, Seating, Seats},
    tags::{Tag, TagKey},
    view::NetworkView,
};

/// Changes a partition of the graph so that it keeps the rules.
pub(super) fn keep(
    graph: &Graph,
    limits: &Limits,
    view: &NetworkView<'_>,
    of: Vec<u32>,
    draw: &mut Draw,
) -> Result<Vec<u32>, NoPlace> {
    let homes: Vec<Option<u32>> = of.into_iter().map(Some).collect();
    let of = settle(graph, limits, view, &homes)?;
    let mut parts = Parts::new(graph, limits, of).keeping(view);
    repair(&mut parts);
    refine(&mut parts, effort(graph), draw);
    fill_empty(&mut parts);
    Ok(parts.into_of())
}

/// Finds parts for those that must not meet; they stay where they are, if they can. Who has no part
/// and no conflicts is in limbo, the part after all others.
pub(super) fn settle(
    graph: &Graph,
    limits: &Limits,
    view: &NetworkView<'_>,
    homes: &[Option<u32>],
) -> Result<Vec<u32>, NoPlace> {
    let partitions = u32::try_from(limits.target.len()).unwrap_or(u32::MAX);
    let home = |home: &Option<u32>| home.filter(|home| *home < partitions);
    let order = view.tagged();
    let mut of: Vec<u32> = homes.iter().map(|it| home(it).unwrap_or(partitions)).collect();
    order.iter().for_each(|vertex| of[*vertex as usize] = partitions);
    let with_limbo = limits.with_limbo();
    let seats = Seated(Parts::new(graph, &with_limbo, of));
    let claims = claims(graph, limits, view, homes);
    let own = order.clone();
    let seated = Seating { view, partitions, own, order, homes, claims }.seat(&seats)?;
    Ok(seated.0.into_of())
}

/// Parts with some vertices still in limbo.
#[derive(Clone)]
struct Seated<'a>(Parts<'a>);

impl Seats for Seated<'_> {
    type Rank = Rank;

    fn rank(&self, vertex: u32, part: u32) -> Rank {
        rank(&self.0, vertex, part)
    }

    fn put(&mut self, vertex: u32, part: u32) {
        self.0.shift(vertex, part);
    }
}

type Rank = (bool, i64, i64, Reverse<u32>);

/// How good a part is for a vertex that has none: it goes where it is connected best, if there is room,
/// and among equals where there is most room.
pub(super) fn rank(parts: &Parts<'_>, vertex: u32, part: u32) -> Rank {
    let room = parts.limits().target[part as usize] - parts.load(part);
    let (_, connection) = parts.connections(vertex, part);
    let fits = room >= parts.graph.size(vertex);
    (fits, if fits { connection } else { 0 }, room, Reverse(part))
}

/// For which value of a label each part is.
fn claims(
    graph: &Graph,
    limits: &Limits,
    view: &NetworkView<'_>,
    homes: &[Option<u32>],
) -> BTreeSet<(u32, Tag)> {
    let mut claims = BTreeSet::new();
    for (key, what) in (0..).zip(view.tag_keys()) {
        if matches!(what, TagKey::Label(_)) {
            claim(graph, limits, view, homes, key, &mut claims);
        }
    }
    claims
}

/// The values that have most in a part get it, as long as enough are left for the others.
fn claim(
    graph: &Graph,
    limits: &Limits,
    view: &NetworkView<'_>,
    homes: &[Option<u32>],
    key: u32,
    claims: &mut BTreeSet<(u32, Tag)>,
) {
    let count = limits.target.len();
    let mut totals: BTreeMap<Tag, i64> = BTreeMap::new();
    let mut loads: BTreeMap<(u32, Tag), i64> = BTreeMap::new();
    for vertex in view.numbers() {
        for tag in view.tags(vertex).iter().filter(|tag| tag.key == key) {
            *totals.entry(*tag).or_default() += graph.size(vertex);
            let home = homes[vertex as usize].filter(|home| (*home as usize) < count);
            if let Some(home) = home {
                *loads.entry((home, *tag)).or_default() += graph.size(vertex);
            }
        }
    }
    let mut needs = parts_needed(totals, limits);
    let mut needed: usize = needs.values().sum();
    let mut free = count;
    let mut loads: Vec<(i64, u32, Tag)> =
        loads.into_iter().map(|((part, tag), load)| (load, part, tag)).collect();
    loads.sort_unstable_by_key(|(load, part, tag)| (Reverse(*load), *part, *tag));
    let mut claimed = vec![false; count];
    for (_, part, tag) in loads {
        let own = needs.entry(tag).or_default();
        if claimed[part as usize] || (*own == 0 && free <= needed) {
            continue;
        }
        claimed[part as usize] = true;
        claims.insert((part, tag));
        free -= 1;
        needed -= usize::from(*own > 0);
        *own = own.saturating_sub(1);
    }
}

/// How many parts the vertices of each tag fill: 1 at least, and not more together than there are.
fn parts_needed(totals: BTreeMap<Tag, i64>, limits: &Limits) -> BTreeMap<Tag, usize> {
    let count = limits.target.len();
    let whole: i64 = limits.target.iter().sum();
    let average = (whole / i64::try_from(count).unwrap_or(i64::MAX).max(1)).max(1);
    let rounded = |load: i64| usize::try_from((load + average / 2) / average).unwrap_or(0);
    let need = |(tag, load)| (tag, rounded(load).clamp(1, count));
    let mut needs: BTreeMap<Tag, usize> = totals.into_iter().map(need).collect();
    let mut beyond = needs.values().sum::<usize>().saturating_sub(count);
    while beyond > 0 {
        let most = needs.values_mut().max_by_key(|need| **need).filter(|need| **need > 1);
        let Some(most) = most else { break };
        *most -= 1;
        beyond -= 1;
    }
    needs
}
