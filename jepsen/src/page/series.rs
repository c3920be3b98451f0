//! What a report draws, out of a history.
//!
//! Owns how lines become bars and points: who led when, which fault hit whom, how many operations
//! ended how in each interval, and how long answers took. The number of intervals is bounded
//! whatever the length of the run. Must not know how they are drawn.

use std::collections::{BTreeMap, HashMap};

use quorate_core::{MemberId, Term};
use serde::Serialize;

use crate::history::{FaultEvent, FaultId, Line, Part, Process, Stage, StatusEvent, What};

/// The lengths of intervals that are tried, in seconds; the first of which a run has few enough is
/// taken.
const INTERVALS: [f64; 11] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// The most intervals of a run.
const INTERVALS_MAX: f64 = 240.0;

/// After so long without a word from it, in seconds, a coordinator is not shown as leading.
const SILENCE_MAX: f64 = 2.0;

/// Everything that is drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    /// The length of the run in seconds.
    pub(crate) seconds: f64,
    /// The length of an interval in seconds.
    pub(crate) interval: f64,
    /// The hosts with coordinators, in order.
    pub(crate) nodes: Vec<MemberId>,
    /// The faults, in order.
    pub(crate) faults: Vec<FaultBar>,
    /// Who led when.
    pub(crate) leaders: Vec<LeaderBar>,
    /// Points in time that matter.
    pub(crate) marks: Vec<Mark>,
    /// All operations, by interval.
    pub(crate) all: Vec<Interval>,
    /// The operations through each node, by interval.
    pub(crate) by_node: BTreeMap<MemberId, Vec<Interval>>,
    /// The latencies of all answers in milliseconds, sorted.
    latencies: Vec<f64>,
}

/// A fault at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FaultBar {
    id: FaultId,
    /// From, in seconds.
    pub(crate) from: f64,
    /// Until, in seconds.
    pub(crate) until: f64,
    /// Class and kind.
    pub(crate) kind: String,
    /// The class.
    pub(crate) class: &'static str,
    /// Whom it hit, for people.
    pub(crate) detail: String,
    /// Whom it hit; none: the cluster as a whole.
    pub(crate) nodes: Vec<MemberId>,
}

/// A coordinator leading in a term.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LeaderBar {
    /// The coordinator's host.
    pub(crate) node: MemberId,
    /// The term.
    pub(crate) term: Term,
    /// From, in seconds.
    pub(crate) from: f64,
    /// Until, in seconds.
    pub(crate) until: f64,
}

/// A point in time that matters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    /// When, in seconds.
    pub(crate) at: f64,
    /// On which host; none: everywhere.
    pub(crate) node: Option<MemberId>,
    /// What.
    pub(crate) what: MarkKind,
    /// In words.
    pub(crate) detail: String,
}

/// What happened at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// A coordinator ended by itself, as a fault must make it.
    Ended,
    /// A coordinator did what it must not do.
    Crash,
    /// Everything was healed for good.
    Healed,
}

/// What ended in an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Interval {
    /// Operations that were answered.
    pub(crate) ok: u64,
    /// Operations that never happened.
    pub(crate) fail: u64,
    /// Operations of unknown outcome.
    pub(crate) info: u64,
    /// The latencies of answers in milliseconds, sorted.
    latencies: Vec<f64>,
}

/// A run in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Numbers {
    /// The length of the run in seconds.
    pub(crate) seconds: f64,
    /// Answered operations a second.
    pub(crate) ok_per_second: f64,
    /// Half of all answers took no longer, in milliseconds.
    pub(crate) latency_ms_p50: Option<f64>,
    /// 95 of a hundred.
    pub(crate) latency_ms_p95: Option<f64>,
    /// 99 of a hundred.
    pub(crate) latency_ms_p99: Option<f64>,
    /// None took longer.
    pub(crate) latency_ms_max: Option<f64>,
    /// How often a coordinator ended by itself, as a fault must make it.
    pub(crate) expected_ends: usize,
}

/// Reads a whole history.
pub(crate) fn read(lines: &[Line]) -> Series {
    let seconds = lines.last().map_or(0.0, |line| line.time.seconds()).max(0.001);
    let fits = |interval: &f64| seconds / interval <= INTERVALS_MAX;
    let interval = INTERVALS.into_iter().find(fits).unwrap_or(seconds / INTERVALS_MAX);
    let mut series = Series { seconds, interval, ..Series::default() };
    let mut begun = HashMap::new();
    for line in lines {
        series.add(line, &mut begun);
    }
    for fault in &mut series.faults {
        fault.until = fault.until.min(seconds);
    }
    series.latencies.sort_by(f64::total_cmp);
    let by_node = series.by_node.values_mut().flatten();
    for interval in series.all.iter_mut().chain(by_node) {
        interval.latencies.sort_by(f64::total_cmp);
    }
    series
}

impl Series {
    /// The run in numbers.
    pub(crate) fn numbers(&self) -> Numbers {
        let ended = self.marks.iter().filter(|mark| mark.what == MarkKind::Ended);
        Numbers {
            seconds: self.seconds,
            ok_per_second: self.latencies.len() as f64 / self.seconds.max(0.001),
            latency_ms_p50: quantile(&self.latencies, 0.5),
            latency_ms_p95: quantile(&self.latencies, 0.95),
            latency_ms_p99: quantile(&self.latencies, 0.99),
            latency_ms_max: self.latencies.last().copied(),
            expected_ends: ended.count(),
        }
    }

    fn add(&mut self, line: &Line, begun: &mut HashMap<Process, f64>) {
        let at = line.time.seconds();
        if let Some(part) = line.what.operation() {
            self.add_operation(at, part, begun);
        }
        match &line.what {
            What::Start(start) => self.nodes = (1..=start.nodes).map(MemberId).collect(),
            What::Fault(fault) => self.add_fault(at, fault),
            What::Over(over) => self.end_faults(at, |fault| fault.id == over.id),
            What::Heal => self.end_faults(at, |_| true),
            What::Status(status) => self.add_status(at, status),
            What::Ended(end) => self.mark(at, Some(end.node), MarkKind::Ended, &end.detail),
            What::Crash(crash) => self.mark(at, Some(crash.node), MarkKind::Crash, &crash.detail),
            What::Healed => self.mark(at, None, MarkKind::Healed, "healed for good"),
            _ => {}
        }
    }

    fn add_operation(&mut self, at: f64, part: Part<'_>, begun: &mut HashMap<Process, f64>) {
        let Part { process, node, stage } = part;
        if stage == Stage::Invoke {
            begun.insert(process, at);
            return;
        }
        let latency_ms = begun.remove(&process).map(|from| (at - from) * 1_000.0);
        if let (Stage::Ok, Some(ms)) = (stage, latency_ms) {
            self.latencies.push(ms);
        }
        let number = index(at, self.interval);
        let of_node = node.map(|node| self.by_node.entry(node).or_default());
        for intervals in std::iter::once(&mut self.all).chain(of_node) {
            if intervals.len() <= number {
                intervals.resize_with(number + 1, Interval::default);
            }
            intervals[number].add(stage, latency_ms);
        }
    }

    fn add_fault(&mut self, at: f64, fault: &FaultEvent) {
        self.faults.push(FaultBar {
            id: fault.id,
            from: at,
            until: f64::INFINITY,
            kind: fault.fault.to_string(),
            class: fault.fault.class().name(),
            detail: fault.detail.clone(),
            nodes: fault.nodes.clone(),
        });
    }

    fn end_faults(&mut self, at: f64, which: impl Fn(&FaultBar) -> bool) {
        for fault in self.faults.iter_mut().filter(|fault| fault.until.is_infinite()) {
            if which(fault) {
                fault.until = at;
            }
        }
    }

    fn add_status(&mut self, at: f64, status: &StatusEvent) {
        if !self.nodes.contains(&status.node) {
            self.nodes.push(status.node);
            self.nodes.sort_unstable();
        }
        if !status.leads {
            return;
        }
        let newest = self.leaders.iter_mut().rev().find(|bar| bar.node == status.node);
        match newest {
            Some(bar) if bar.term == status.term && at - bar.until <= SILENCE_MAX => {
                bar.until = at;
            }
            _ => self.leaders.push(LeaderBar {
                node: status.node,
                term: status.term,
                from: at,
                until: at,
            }),
        }
    }

    fn mark(&mut self, at: f64, node: Option<MemberId>, what: MarkKind, detail: &str) {
        self.marks.push(Mark { at, node, what, detail: detail.to_owned() });
    }
}

impl Interval {
    /// So many of a hundred answers took no longer, in milliseconds; none: there were no answers.
    pub(crate) fn latency_ms(&self, share: f64) -> Option<f64> {
        quantile(&self.latencies, share)
    }

    fn add(&mut self, stage: Stage<'_>, latency_ms: Option<f64>) {
        match stage {
            Stage::Invoke => {}
            Stage::Ok => {
                self.ok += 1;
                self.latencies.extend(latency_ms);
            }
            Stage::Fail(_) => self.fail += 1,
            Stage::Info(_) => self.info += 1,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a run has few intervals")]
#[expect(clippy::cast_sign_loss, reason = "times are not negative")]
fn index(at: f64, interval: f64) -> usize {
    (at / interval) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "within the length of a list")]
#[expect(clippy::cast_sign_loss, reason = "shares are not negative")]
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, absent, ok, ok_read},
        history::{
            Call, Nanos, OverEvent, Step, Value,
            once::{OnceAnswer, OnceCall, OnceEvent},
        },
        nemesis::fault::{FaultKind, Target},
    };

    /// A history whose lines are a second apart.
    fn slowly(history: History) -> Vec<Line> {
        let mut lines = history.lines;
        for (at, line) in (0..).zip(&mut lines) {
            line.time = Nanos(at * 1_000_000_000);
        }
        lines
    }

    #[test]
    fn operations_are_counted_where_they_end() {
        let mut history = History::started(0, 0, 0);
        history.run(1, 1, Call::Read, ok_read(absent()), 0);
        history.fail(1, 1, Call::Read);
        history.unknown(1, 1, Call::Write { value: Value(1) });
        let series = read(&slowly(history));
        assert_eq!((series.seconds, series.interval), (6.0, 0.5));
        let ended: Vec<(usize, u64, u64, u64)> = (0..)
            .zip(&series.all)
            .filter(|(_, all)| all.ok + all.fail + all.info > 0)
            .map(|(at, all)| (at, all.ok, all.fail, all.info))
            .collect();
        assert_eq!(ended, [(4, 1, 0, 0), (8, 0, 1, 0), (12, 0, 0, 1)]);
        assert_eq!(series.by_node[&MemberId(1)], series.all);
        let numbers = series.numbers();
        assert_eq!((numbers.latency_ms_p50, numbers.latency_ms_max), (Some(1e3), Some(1e3)));
    }

    #[test]
    fn operations_of_every_workload_are_drawn() {
        let text = include_str!("../../tests/histories/kinds.jsonl");
        let lines: Vec<Line> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let kinds = ["set", "append", "kv", "once", "effect", "guarded", "save"];
        for kind in kinds {
            let of_kind = |line: &&Line| serde_json::to_value(&line.what).unwrap()["kind"] == kind;
            let lines: Vec<Line> = lines.iter().filter(of_kind).cloned().collect();
            let ends = |stage: Stage<'_>| stage != Stage::Invoke;
            let parts = lines.iter().map(|line| line.what.operation().unwrap());
            let ended = parts.filter(|part| ends(part.stage)).count() as u64;
            let drawn: u64 = read(&lines).all.iter().map(|all| all.ok + all.fail + all.info).sum();
            assert!(ended > 0 && drawn == ended, "{kind}: {drawn} of {ended}");
        }
    }

    #[test]
    fn what_the_library_sent_is_drawn_where_it_was_answered() {
        let mut history = History::started(0, 0, 0);
        let call = || OnceCall::Put { key: "once/1".to_owned(), value: Value(1) };
        let event = |step| OnceEvent { process: Process(1), node: None, call: call(), step };
        history.add(What::Once(event(Step::Invoke)));
        history.add(What::Once(event(ok(OnceAnswer::Written { previous: None }, 1))));
        let series = read(&history.lines);
        assert_eq!(series.by_node[&MemberId(1)], series.all);
        assert_eq!(series.numbers().latency_ms_max.map(|ms| (ms * 1e3).round()), Some(1.0));
    }

    #[test]
    fn a_fault_lasts_until_it_is_over() {
        let fault = |id, node| {
            What::Fault(FaultEvent {
                id: FaultId(id),
                fault: FaultKind::Kill(Target::One),
                detail: String::new(),
                nodes: vec![MemberId(node)],
            })
        };
        let mut history = History::started(0, 0, 0);
        history.add(fault(1, 1));
        history.add(fault(2, 2));
        history.add(What::Over(OverEvent { id: FaultId(1) }));
        history.add(What::Heal);
        history.add(fault(3, 3));
        history.add(What::Healed);
        let series = read(&slowly(history));
        let spans: Vec<(f64, f64)> =
            series.faults.iter().map(|fault| (fault.from, fault.until)).collect();
        assert_eq!(spans, [(1.0, 3.0), (2.0, 4.0), (5.0, 6.0)]);
    }

    #[test]
    fn leading_without_a_break_is_one_bar() {
        let mut history = History::started(0, 0, 0);
        for (leader, term) in [(1, 1), (1, 1), (2, 2), (1, 3), (1, 4)] {
            history.status(leader, leader, term, 1, 1);
        }
        history.status(3, 9, 4, 1, 1);
        let series = read(&slowly(history));
        let bars: Vec<(u64, u64)> =
            series.leaders.iter().map(|bar| (bar.node.get(), bar.term.get())).collect();
        assert_eq!(bars, [(1, 1), (2, 2), (1, 3), (1, 4)]);
        assert_eq!((series.leaders[0].from, series.leaders[0].until), (1.0, 2.0));
        assert_eq!(series.nodes.len(), 3);
    }

    #[test]
    fn a_long_run_has_no_more_intervals_than_a_short_one() {
        for seconds in [10, 600, 3_600, 86_400, 1_000_000] {
            let mut lines = History::started(0, 0, 0).lines;
            lines[0].time = Nanos(seconds * 1_000_000_000);
            let series = read(&lines);
            assert!(series.seconds / series.interval <= INTERVALS_MAX, "{seconds}");
        }
    }
}
