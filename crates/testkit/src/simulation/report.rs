//! What a simulation did, and what did not hold.
//!
//! Invariant: a simulation that did too little to mean something has not passed.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{
    Simulation,
    faults::Faults,
    invariant::{self, Invariant},
    story::{Asked, End, Told},
};

/// What one simulation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The simulation.
    pub seed: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that were refused, or whose outcome is unknown.
    pub unanswered: u64,
    /// Answers to requests that had been sent before.
    pub repeated: u64,
    /// Faults that were made.
    pub faults: u64,
    /// Different kinds of them.
    pub kinds: u64,
    /// Lives that ended with a loss of power.
    pub crashes: u64,
    /// Terms in which somebody was seen to lead.
    pub leaders: u64,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Revisions that were applied.
    pub revisions: u64,
    /// Events that subscribers were told.
    pub told: u64,
    /// Messages between members.
    pub messages: u64,
    /// A hash of everything that passed between members, and when.
    pub trace: u64,
    /// What did not hold. Empty: it passed.
    pub violations: Vec<Violation>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub invariant: Invariant,
    /// What was found.
    pub what: String,
}

impl Report {
    /// A report of a simulation that ended before it began.
    pub(super) fn failed(simulation: Simulation, what: String) -> Self {
        let violations = vec![Violation { invariant: Invariant::Progress, what }];
        Self { violations, ..Self::empty(simulation) }
    }

    fn empty(simulation: Simulation) -> Self {
        Self {
            seed: simulation.seed,
            answered: 0,
            unanswered: 0,
            repeated: 0,
            faults: 0,
            kinds: 0,
            crashes: 0,
            leaders: 0,
            sessions: 0,
            revisions: 0,
            told: 0,
            messages: 0,
            trace: 0,
            violations: Vec::new(),
        }
    }

    /// What it did too little of to mean something.
    fn too_little(&self, length: Duration) -> Option<String> {
        let seconds = length.as_secs();
        let minimums = [
            ("answered calls", self.answered, 5 * seconds),
            ("faults", self.faults, seconds / 15),
            ("events on streams", self.told, seconds),
            ("sessions", self.sessions, 4),
        ];
        let low = minimums.into_iter().find(|(_, did, minimum)| did < minimum);
        low.map(|(what, did, minimum)| format!("only {did} {what}, at least {minimum} are needed"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed={} answered={} unanswered={} repeated={} faults={} kinds={} crashes={} \
             leaders={} sessions={} revisions={} told={} messages={} trace={:016x} violations={}",
            self.seed,
            self.answered,
            self.unanswered,
            self.repeated,
            self.faults,
            self.kinds,
            self.crashes,
            self.leaders,
            self.sessions,
            self.revisions,
            self.told,
            self.messages,
            self.trace,
            self.violations.len()
        )
    }
}

/// Ends a simulation: stops its members, checks its story.
pub(super) async fn finish(simulation: Simulation, faults: Faults, wrong: Vec<String>) -> Report {
    let Faults { cluster, story, made, crashes, .. } = faults;
    let network = cluster.network().clone();
    let broken: Vec<String> = cluster
        .running()
        .filter_map(|id| cluster.coordinator(id).ok())
        .filter_map(|it| {
            Some(format!("member {}: {:?}", it.member_id(), it.view().state.check().err()?))
        })
        .collect();
    let (messages, trace) = (network.counts().delivered, network.trace());
    cluster.shutdown().await;
    let told = story.told();
    let mut report = Report {
        faults: made.len() as u64,
        kinds: made.iter().collect::<BTreeSet<_>>().len() as u64,
        crashes,
        messages,
        trace,
        ..count(simulation, &told)
    };
    let found = wrong.into_iter().map(|what| (Invariant::Progress, what));
    let found = found.chain(broken.into_iter().map(|what| (Invariant::Agreement, what)));
    let found = found.chain(invariant::check(&told));
    let found =
        found.chain(report.too_little(simulation.length).map(|it| (Invariant::Progress, it)));
    report.violations = found.map(|(invariant, what)| Violation { invariant, what }).collect();
    report
}

fn count(simulation: Simulation, told: &Told) -> Report {
    let answered = told.calls.iter().filter(|call| matches!(call.end, End::Done { .. }));
    let answered = answered.count() as u64;
    let mut requests = BTreeSet::new();
    let again = told.calls.iter().filter(|call| match call.asked {
        Asked::Once { request, .. } => !requests.insert(request),
        _ => false,
    });
    Report {
        repeated: again.count() as u64,
        answered,
        unanswered: told.calls.len() as u64 - answered,
        leaders: told.leaders.len() as u64,
        sessions: told.holders.len() as u64,
        revisions: told.events.len() as u64,
        told: told.streams.iter().map(|stream| stream.told.len() as u64).sum(),
        ..Report::empty(simulation)
    }
}
