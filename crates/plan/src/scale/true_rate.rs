//! How many instances each process needs for all that its network is offered, found in one pass.
//!
//! What an instance can do is told by the records that it processes in a second of being busy, and
//! how much of a process's input becomes output by what it sends for what it processes. Neither depends
//! on whether the process keeps up. So the rate offered from outside is followed through the
//! network, in topological order:
//!
//! ```text
//! target rate of a process = offered from outside + sum over senders of
//!                            target rate of the sender * (sent to it / processed by the sender)
//! instances = ceil(target rate / (records per busy second of an instance * target load))
//! ```
//!
//! A cycle is condensed to one process. What entered it is what its members processed less what
//! they sent each other; if it is offered g times that, each of them has to process g times what it
//! does. While a queue on the cycle grows or shrinks this is an estimate that later rounds mend.
//!
//! Source: V. Kalavri, J. Liagouris, M. Hoffmann, D. Dimitrova, M. Forshaw, T. Roscoe, "Three steps
//! is all you need: fast, accurate, automatic scaling decisions for distributed streaming dataflows"
//! (DS2), OSDI 2018, section 3. There, operators are assumed to be busy all the time (target load
//! 1), the network to have no cycle, and all output to go to every receiver.
//!
//! Invariants: rates are in records per 1,000,000 seconds and saturate at the largest `u64` (18 * 10^12
//! records a second); no product exceeds 128 bits; nothing is recursive.

use super::{
    ScaleRequest,
    decision::Fallback,
    observation::{FlowCounts, Observation, total_flow},
    policy::Cycles,
    rules::saturate,
};
use crate::topology::Condensed;

/// What one process needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand {
    Needs {
        /// To have the target load with all that is offered.
        instances: u32,
        /// What the present instances would have, in parts per million; more than 1,000,000 when they
        /// cannot process it.
        load_ppm: u64,
    },
    Unknown(Fallback),
}

/// What each process needs, by number. `recent` has the observations that count, by number.
pub(super) fn demands(
    request: &ScaleRequest<'_>,
    recent: &[&[Observation]],
    cycles: Cycles,
) -> Vec<Demand> {
    let condensed = Condensed::of(request.view);
    let fresh = vec![Inflow::default(); recent.len()];
    let flows = recent.iter().map(|seen| total_flow(seen)).collect();
    let mut pass = Pass { request, condensed: &condensed, cycles, flows, inflow: fresh };
    let mut demands = vec![Demand::Needs { instances: 0, load_ppm: 0 }; recent.len()];
    for members in condensed.components() {
        let outcome = pass.judge(members);
        for member in members {
            demands[*member as usize] = pass.demand(*member, &outcome);
            pass.send(*member, &outcome);
        }
    }
    demands
}

/// What comes to a process from others when everything keeps up.
#[derive(Debug, Clone, Default)]
struct Inflow {
    rate: u64,
    /// A process whose rates are not known, and on which this depends.
    unknown: Option<u32>,
}

/// What becomes of a component.
enum Outcome {
    /// It will process `offered / entered` of what it processes now.
    Grows { offered: u64, entered: u64 },
    /// As the policy has it: what it sends stays as it is.
    Stays(Fallback),
    /// Neither what it needs nor what it will send is known, because of this process.
    Unknown(Fallback, u32),
}

struct Pass<'a> {
    request: &'a ScaleRequest<'a>,
    condensed: &'a Condensed,
    cycles: Cycles,
    flows: Vec<Option<FlowCounts>>,
    inflow: Vec<Inflow>,
}

impl Pass<'_> {
    fn judge(&self, members: &[u32]) -> Outcome {
        let is_unseen = |member: &&u32| self.flows[**member as usize].is_none();
        let depends = |member: &u32| self.inflow[*member as usize].unknown;
        let unseen = members.iter().find(is_unseen).copied();
        if let Some(culprit) = unseen.or_else(|| members.iter().find_map(depends)) {
            return self.unknown(culprit);
        }
        let is_cycle = self.inner(members).next().is_some();
        if is_cycle && self.cycles == Cycles::FallBack {
            return Outcome::Stays(Fallback::OnCycle);
        }
        let offered = members.iter().fold(0_u64, |sum, member| {
            let arrived = self.rate(*member, |flow| flow.arrived);
            sum.saturating_add(self.inflow[*member as usize].rate).saturating_add(arrived)
        });
        let processed = members.iter().fold(0_u128, |sum, member| {
            sum + u128::from(self.rate(*member, |flow| flow.processed))
        });
        let inner = self.inner(members).map(u128::from).sum();
        let entered = u64::try_from(processed.saturating_sub(inner)).unwrap_or(u64::MAX);
        match (offered, entered, is_cycle) {
            (0, _, _) => Outcome::Grows { offered: 0, entered: 1 },
            (_, 0, true) => Outcome::Unknown(Fallback::ClosedCycle, members[0]),
            (_, 0, false) => self.unknown(members[0]),
            _ => Outcome::Grows { offered, entered },
        }
    }

    fn unknown(&self, culprit: u32) -> Outcome {
        let process = self.request.view.processes()[culprit as usize].id.clone();
        Outcome::Unknown(Fallback::RatesUnknown { process }, culprit)
    }

    /// The rates at which members send each other, or themselves.
    fn inner(&self, members: &[u32]) -> impl Iterator<Item = u64> {
        members.iter().flat_map(|member| {
            let edges = (0..).zip(self.request.view.edges_from(*member));
            let inner = edges.filter(|(_, edge)| self.condensed.are_together(edge.from, edge.to));
            inner.map(|(at, _)| self.sent_rate(*member, at))
        })
    }

    fn demand(&self, member: u32, outcome: &Outcome) -> Demand {
        let (offered, entered) = match outcome {
            Outcome::Grows { offered, entered } => (*offered, *entered),
            Outcome::Stays(fallback) | Outcome::Unknown(fallback, _) => {
                return Demand::Unknown(fallback.clone());
            }
        };
        let Some(flow) = &self.flows[member as usize] else {
            return Demand::Needs { instances: 0, load_ppm: 0 };
        };
        let target = grown(self.rate(member, |flow| flow.processed), offered, entered);
        let busy = u128::from(target) * u128::from(flow.busy_us);
        // Records, rates and microseconds: a million each for the units of rate and of busy time, and
        // one back for that of load.
        let per_load = 1_000_000 * u128::from(flow.processed.max(1));
        let parallelism = self.request.observed[member as usize].parallelism;
        let load = busy / (per_load * u128::from(parallelism));
        let instances = busy.div_ceil(per_load * u128::from(self.request.policy.target_ppm));
        Demand::Needs {
            instances: saturate(instances),
            load_ppm: u64::try_from(load).unwrap_or(u64::MAX),
        }
    }

    /// Follows what a member will send to other components.
    fn send(&mut self, member: u32, outcome: &Outcome) {
        for (at, edge) in self.request.view.edges_from(member).iter().enumerate() {
            if self.condensed.are_together(edge.from, edge.to) {
                continue;
            }
            let now = self.sent_rate(member, at);
            let inflow = &mut self.inflow[edge.to as usize];
            let more = match outcome {
                Outcome::Grows { offered, entered } => grown(now, *offered, *entered),
                Outcome::Stays(_) => now,
                Outcome::Unknown(_, culprit) => {
                    inflow.unknown.get_or_insert(*culprit);
                    continue;
                }
            };
            inflow.rate = inflow.rate.saturating_add(more);
        }
    }

    fn rate(&self, process: u32, count: impl Fn(&FlowCounts) -> u64) -> u64 {
        self.flows[process as usize].as_ref().map_or(0, |flow| rate(count(flow), flow.interval_ms))
    }

    /// Over the edge at that place among those that leave the process.
    fn sent_rate(&self, process: u32, at: usize) -> u64 {
        self.rate(process, |flow| flow.sent.get(at).copied().unwrap_or(0))
    }
}

/// Records per 1,000,000 seconds.
fn rate(count: u64, interval_ms: u64) -> u64 {
    let rate = (u128::from(count) * 1_000_000_000).checked_div(u128::from(interval_ms));
    rate.map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

/// A rate, `offered / entered` times as high.
fn grown(rate: u64, offered: u64, entered: u64) -> u64 {
    let rate = (u128::from(rate) * u128::from(offered)).checked_div(u128::from(entered));
    rate.map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}
