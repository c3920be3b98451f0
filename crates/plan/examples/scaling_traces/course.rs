//! One trace under one option set: what happened, and what it comes to.

use quorate_plan::{NetworkView, ScaleError, ScaleHistory, ScaleRequest, ViewError, scale};

use crate::{
    network::{Running, TICK_MS, spec},
    traces::{BASE_PER_S, CHANGE_MS, OptionSet, Trace},
};

pub(crate) const ROUND_MS: u64 = 15_000;
const OBSERVE_MS: u64 = 5_000;
/// Beyond the target, within which load counts as back at it: rounding records and noise.
const NEAR_PPM: u64 = 20_000;

/// A simulation that could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Name(#[from] quorate_core::name::InvalidName),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Scale(#[from] ScaleError),
}

/// The state at the end of a round, before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) time_ms: u64,
    /// Instances of all processes.
    pub(crate) instances: u32,
    /// What they should have been.
    pub(crate) needed: u32,
    /// Of the process with the most load, in the last interval.
    pub(crate) load_ppm: u64,
    /// Records waiting in all queues.
    pub(crate) waiting: u64,
}

/// What a course comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) rounds: Vec<Round>,
    /// Rounds from the change until every process had as many instances as it needed. None: the change
    /// was over before.
    pub(crate) rounds_to_enough: Option<u64>,
    /// Rounds from the change until every process's load was at the target or below.
    pub(crate) rounds_to_target: Option<u64>,
    /// Instances beyond what was needed, times seconds.
    pub(crate) over_s: u64,
    /// Instances short of what was needed, times seconds.
    pub(crate) under_s: u64,
    /// How often the parallelism of a process was changed.
    pub(crate) changes: u64,
    /// The largest parallelism of any process.
    pub(crate) largest: u32,
}

/// Runs a trace.
pub(crate) fn run(trace: &Trace, set: &OptionSet) -> Result<Course, Failed> {
    let spec = spec(trace.stations)?;
    let view = NetworkView::new(&spec)?;
    let mut network = Running::new(trace.stations, BASE_PER_S, set.policy.target_ppm);
    let (mut history, mut course) = (ScaleHistory::default(), Course::default());
    let mut meter = Meter::default();
    for time_ms in (0..trace.end_ms).step_by(usize::try_from(TICK_MS).unwrap_or(1)) {
        network.tick(trace.offered_per_s(time_ms));
        meter.add(&needed(trace, set, time_ms), &network.parallelism());
        let now_ms = time_ms + TICK_MS;
        if now_ms.is_multiple_of(OBSERVE_MS) {
            network.observe();
        }
        if !now_ms.is_multiple_of(ROUND_MS) {
            continue;
        }
        let observed = network.observed();
        let needed = needed(trace, set, time_ms);
        course.end_round(trace, set, now_ms, &network, &needed);
        let policy = &set.policy;
        let (observed, history_now) = (observed.as_slice(), &history);
        let request = ScaleRequest { view: &view, observed, policy, history: history_now, now_ms };
        let scaling = scale(&request)?;
        for (at, decision) in scaling.decisions.iter().enumerate() {
            course.changes += u64::from(decision.wanted != decision.parallelism);
            network.set_parallelism(at, decision.wanted);
        }
        history = scaling.history;
    }
    (course.over_s, course.under_s) = (meter.over_ms / 1000, meter.under_ms / 1000);
    Ok(course)
}

fn needed(trace: &Trace, set: &OptionSet, time_ms: u64) -> Vec<u32> {
    let rate = trace.mean_per_s(time_ms);
    trace.stations.iter().map(|station| station.needed(rate, set.policy.target_ppm)).collect()
}

/// Instances times milliseconds.
#[derive(Debug, Default)]
struct Meter {
    over_ms: u64,
    under_ms: u64,
}

impl Meter {
    fn add(&mut self, needed: &[u32], parallelism: &[u32]) {
        for (needed, runs) in needed.iter().zip(parallelism) {
            self.over_ms += u64::from(runs.saturating_sub(*needed)) * TICK_MS;
            self.under_ms += u64::from(needed.saturating_sub(*runs)) * TICK_MS;
        }
    }
}

impl Course {
    fn end_round(
        &mut self,
        trace: &Trace,
        set: &OptionSet,
        now_ms: u64,
        network: &Running,
        needed: &[u32],
    ) {
        let parallelism = network.parallelism();
        let loads = network.observed();
        let loads = loads.iter().filter_map(|process| process.series.last());
        let load_ppm = loads.map(|seen| seen.load_ppm).max().unwrap_or(0);
        let largest = parallelism.iter().copied().max().unwrap_or(0);
        self.largest = self.largest.max(largest);
        // What holds at the end of a round was decided at the end of the one before it. The round in
        // which something happens is the first that can see it.
        if trace.has_change() && now_ms > CHANGE_MS {
            let rounds = (now_ms - CHANGE_MS) / ROUND_MS - 1;
            let lasts = trace.mean_per_s(now_ms - TICK_MS) > BASE_PER_S;
            if lasts && parallelism.iter().zip(needed).all(|(runs, needed)| runs >= needed) {
                self.rounds_to_enough.get_or_insert(rounds);
            }
            if load_ppm <= u64::from(set.policy.target_ppm) + NEAR_PPM {
                self.rounds_to_target.get_or_insert(rounds);
            }
        }
        self.rounds.push(Round {
            time_ms: now_ms,
            instances: parallelism.iter().sum(),
            needed: needed.iter().sum(),
            load_ppm,
            waiting: network.waiting(),
        });
    }
}
