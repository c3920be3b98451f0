//! The order in which data flows through a network, also when it flows in circles.
//!
//! Invariants: a process comes after every process that it receives from, unless the two are on a
//! common cycle; among those that may come next, the one with the lower number does. Needs no
//! recursion: a chain of any length takes constant call depth.
//!
//! Sources: R. Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1972,
//! section 4 (strongly connected components); A. Kahn, "Topological sorting of large networks",
//! CACM 1962.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::view::NetworkView;

/// All processes in topological order of the network whose cycles are condensed.
///
/// The members of a strongly connected component stand together, in order of their numbers, and
/// the component is ordered among the others by its lowest number. O((n + m) log n).
#[must_use]
pub fn topological_order(view: &NetworkView<'_>) -> Vec<u32> {
    Condensed::of(view).order
}

/// A network whose cycles are condensed: its strongly connected components in topological order.
pub(crate) struct Condensed {
    order: Vec<u32>,
    /// The lowest number of each process's component.
    lead: Vec<u32>,
}

impl Condensed {
    pub(crate) fn of(view: &NetworkView<'_>) -> Self {
        let components = Components::of(view);
        Self { order: condensed_order(view, &components), lead: components.lead }
    }

    /// The members of each component, in order of their numbers. No component is empty.
    pub(crate) fn components(&self) -> impl Iterator<Item = &[u32]> {
        self.order.chunk_by(|one, next| self.are_together(*one, *next))
    }

    /// Whether two processes are the same or on a common cycle.
    pub(crate) fn are_together(&self, one: u32, other: u32) -> bool {
        self.lead[one as usize] == self.lead[other as usize]
    }
}

fn condensed_order(view: &NetworkView<'_>, components: &Components) -> Vec<u32> {
    let mut waits_for = vec![0_usize; components.lead.len()];
    for edge in view.edges() {
        let (from, to) = (components.lead_of(edge.from), components.lead_of(edge.to));
        if from != to {
            waits_for[to as usize] += 1;
        }
    }
    let is_ready =
        |number: &u32| components.lead_of(*number) == *number && waits_for[*number as usize] == 0;
    let mut ready: BinaryHeap<_> = view.numbers().filter(is_ready).map(Reverse).collect();
    let mut order = Vec::with_capacity(components.lead.len());
    while let Some(Reverse(lead)) = ready.pop() {
        let members = components.members(lead);
        order.extend_from_slice(members);
        for edge in members.iter().flat_map(|member| view.edges_from(*member)) {
            let next = components.lead_of(edge.to);
            if next == lead {
                continue;
            }
            waits_for[next as usize] -= 1;
            if waits_for[next as usize] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    order
}

/// The strongly connected components; each is named by its member with the lowest number.
struct Components {
    /// The lead of each process's component.
    lead: Vec<u32>,
    /// All processes, sorted by (lead, number).
    by_lead: Vec<u32>,
    /// Where each lead's members begin in `by_lead`; meaningless for others.
    starts: Vec<usize>,
}

impl Components {
    fn of(view: &NetworkView<'_>) -> Self {
        let lead = Search::run(view);
        let mut by_lead: Vec<u32> = view.numbers().collect();
        by_lead.sort_unstable_by_key(|number| (lead[*number as usize], *number));
        let mut starts = vec![0; lead.len()];
        for (at, number) in by_lead.iter().enumerate() {
            if lead[*number as usize] == *number {
                starts[*number as usize] = at;
            }
        }
        Self { lead, by_lead, starts }
    }

    fn lead_of(&self, process: u32) -> u32 {
        self.lead[process as usize]
    }

    /// A lead is the lowest of its members, so they begin with it.
    fn members(&self, lead: u32) -> &[u32] {
        let rest = &self.by_lead[self.starts[lead as usize]..];
        let end = rest.iter().position(|number| self.lead_of(*number) != lead);
        &rest[..end.unwrap_or(rest.len())]
    }
}

const NONE: u32 = u32::MAX;

/// Tarjan's search with its own stack of calls.
struct Search<'v> {
    view: &'v NetworkView<'v>,
    /// When a process was first seen, or [`NONE`].
    seen: Vec<u32>,
    /// The earliest process on the stack known to be reachable.
    low: Vec<u32>,
    /// The lead of a finished component's members, or [`NONE`].
    lead: Vec<u32>,
    /// Seen, and in no finished component.
    stack: Vec<u32>,
    /// The calls under way: a process, and how many of its edges were followed.
    calls: Vec<(u32, usize)>,
    clock: u32,
}

impl<'v> Search<'v> {
    fn run(view: &'v NetworkView<'v>) -> Vec<u32> {
        let fresh = vec![NONE; view.len() as usize];
        let mut search = Self {
            view,
            seen: fresh.clone(),
            low: fresh.clone(),
            lead: fresh,
            stack: Vec::new(),
            calls: Vec::new(),
            clock: 0,
        };
        for root in view.numbers() {
            if search.seen[root as usize] == NONE {
                search.enter(root);
                search.finish_calls();
            }
        }
        search.lead
    }

    fn enter(&mut self, process: u32) {
        self.seen[process as usize] = self.clock;
        self.low[process as usize] = self.clock;
        self.clock += 1;
        self.stack.push(process);
        self.calls.push((process, 0));
    }

    fn finish_calls(&mut self) {
        while let Some((process, followed)) = self.calls.last_mut() {
            let process = *process;
            let edge = self.view.edges_from(process).get(*followed);
            *followed += 1;
            match edge.map(|edge| edge.to) {
                Some(to) if self.seen[to as usize] == NONE => self.enter(to),
                Some(to) if self.lead[to as usize] == NONE => {
                    self.lower(process, self.seen[to as usize]);
                }
                Some(_) => {}
                None => self.leave(process),
            }
        }
    }

    fn lower(&mut self, process: u32, bound: u32) {
        let low = &mut self.low[process as usize];
        *low = bound.min(*low);
    }

    fn leave(&mut self, process: u32) {
        self.calls.pop();
        let low = self.low[process as usize];
        if let Some((caller, _)) = self.calls.last() {
            self.lower(*caller, low);
        }
        if low == self.seen[process as usize] {
            self.close_component(process);
        }
    }

    /// Everything above `root` on the stack, and `root`, is one component.
    fn close_component(&mut self, root: u32) {
        let at = self.stack.iter().rposition(|process| *process == root).unwrap_or(0);
        let lead = self.stack[at..].iter().copied().min().unwrap_or(root);
        for process in self.stack.drain(at..) {
            self.lead[process as usize] = lead;
        }
    }
}
