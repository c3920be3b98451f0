//! The verdict on a history.
//!
//! Owns the checkers and how their findings add up: anything proven wrong makes a run invalid;
//! anything undecided, or too little done, makes it unknown, which is not a pass.
//!
//! Invariants: pure; the same lines give the same judgement. Must not know about processes,
//! networks or files.

pub(crate) mod allocation;
pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod connection;
pub(crate) mod convergence;
pub(crate) mod lock;
pub(crate) mod once;
pub(crate) mod order;
pub(crate) mod ownership;
pub(crate) mod progress;
pub(crate) mod register;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod set;
pub(crate) mod shrink;
pub(crate) mod streams;
pub(crate) mod trace;
pub(crate) mod values;
pub(crate) mod watch;
pub(crate) mod wgl;

use std::fmt;

use serde::Serialize;

use crate::history::{
    KeyId, Line, LineIndex, Nanos, What,
    pair::{self, Malformed, Operation, Paired},
};
use order::Place;

/// What can be said about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Everything checked held, and enough was done for that to mean something.
    Valid,
    /// Nothing was proven wrong, but not everything could be decided.
    Unknown,
    /// Something is wrong.
    Invalid,
}

/// Which checker found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    /// The history itself is one that a run can write.
    History,
    /// Each register behaves like one register.
    Linearizability,
    /// Revisions and log indexes tell the same story as the values and the clock.
    Revisions,
    /// Replicas agree, nobody crashes, everybody comes back.
    Convergence,
    /// Enough was done.
    Progress,
    /// Sets hold what was added.
    Set,
    /// Transactions over lists happen whole, one after the other.
    Append,
    /// Change streams tell everything, once, in order.
    Watch,
    /// Requests are applied once.
    Once,
    /// A lock has one holder at a time.
    Lock,
    /// A partition has one owner at a time.
    Ownership,
    /// What is granted of a pool is within what there is.
    Allocation,
    /// Connections are what follows from networks and owners.
    Connection,
    /// A backup is the state at its revision.
    Backup,
}

/// Something that keeps a run from being valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Who found it.
    pub(crate) check: Check,
    /// How bad it is.
    pub(crate) verdict: Verdict,
    /// What it is, for a person.
    pub(crate) message: String,
    /// The lines of the history that show it.
    pub(crate) lines: Vec<LineIndex>,
}

/// The shortest part of a history that shows a register misbehaving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The register.
    pub(crate) key: KeyId,
    /// Operations that no order explains.
    pub(crate) operations: Vec<Operation>,
}

/// The verdict and what it rests on.
#[derive(Debug, Clone)]
pub(crate) struct Judgement {
    /// The worst of the findings.
    pub(crate) verdict: Verdict,
    /// What was done.
    pub(crate) counts: progress::Counts,
    /// How many registers were searched.
    pub(crate) registers: usize,
    /// What is wrong or undecided.
    pub(crate) findings: Vec<Finding>,
    /// The shortest evidence, when a register misbehaved.
    pub(crate) evidence: Option<Evidence>,
}

/// What the checker of a workload found out.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What is wrong or undecided.
    pub(crate) findings: Vec<Finding>,
    /// What was done, and how much of it is needed.
    pub(crate) work: Vec<Work>,
}

/// How much of something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// What.
    pub(crate) name: &'static str,
    /// How much.
    pub(crate) done: u64,
    /// With less of it the run means nothing.
    pub(crate) needed: u64,
}

/// Runs every checker over a history.
pub(crate) fn judge(lines: &[Line]) -> Judgement {
    let mut counts = progress::count(lines);
    let mut findings = progress::check(lines, &counts);
    findings.extend(convergence::check(lines));
    let (mut registers, mut evidence) = (0, None);
    match pair::operations(lines) {
        Err(malformed) => findings.push(malformed.into()),
        Ok(operations) => {
            let (searched, found, shortest) = linearizability(&operations);
            findings.extend(found);
            (registers, evidence) = (searched, shortest);
            let (found, pins) = values::check_all(&operations);
            findings.extend(found);
            let found = of_workload(lines, values::places(&operations, &pins));
            findings.extend(found.findings);
            for Work { name, done, needed } in found.work {
                counts.work.insert(name, done);
                if done < needed {
                    let message = format!("{name}: {done}, at least {needed} needed");
                    findings.push(Finding::unknown(Check::Progress, message));
                }
            }
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    let verdict = findings.first().map_or(Verdict::Valid, |finding| finding.verdict);
    Judgement { verdict, counts, registers, findings, evidence }
}

/// The rules of the run's workload, and those over all its operations together with those on
/// registers: every run has some, because what comes up and what has healed is shown by them.
fn of_workload(lines: &[Line], registers: Vec<Place<'_>>) -> Found {
    let workload = lines.iter().find_map(|line| match &line.what {
        What::Start(start) => Some(start.workload.as_str()),
        _ => None,
    });
    let found = match workload {
        Some("register") => Ok(Found { findings: order::check(&registers), work: Vec::new() }),
        Some("set") => set::check(lines, registers),
        Some("append") => append::check(lines, registers),
        Some("watch") => watch::check(lines, registers),
        Some("lock") => lock::check(lines, registers),
        Some("once") => once::check(lines, registers),
        Some("ownership") => ownership::check(lines, registers),
        Some("connection") => connection::check(lines, registers),
        Some("allocation") => allocation::check(lines, registers),
        Some("backup") => backup::check(lines, registers),
        other => {
            let message = format!("no checker for the workload {}", other.unwrap_or("(none)"));
            Ok(Found {
                findings: vec![Finding::unknown(Check::History, message)],
                work: Vec::new(),
            })
        }
    };
    found.unwrap_or_else(|malformed| Found { findings: vec![malformed.into()], work: Vec::new() })
}

/// When everything was healed.
pub(crate) fn healed_at(lines: &[Line]) -> Option<Nanos> {
    lines.iter().rfind(|line| line.what == What::Healed).map(|line| line.time)
}

/// For how long clients worked, in whole seconds: what they must have done follows from it.
pub(crate) fn seconds(lines: &[Line]) -> u64 {
    const NANOS_PER_SECOND: u64 = 1_000_000_000;
    let started = lines.first().is_some_and(|line| matches!(line.what, What::Start(_)));
    let until = healed_at(lines).or(lines.last().map(|line| line.time)).unwrap_or_default();
    if started { until.0 / NANOS_PER_SECOND } else { 0 }
}

impl From<Malformed> for Finding {
    fn from(malformed: Malformed) -> Self {
        Self::invalid(Check::History, malformed.to_string())
    }
}

impl Finding {
    /// Something is wrong.
    pub(crate) fn invalid(check: Check, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Invalid, message: message.into(), lines: Vec::new() }
    }

    /// Something could not be decided.
    pub(crate) fn unknown(check: Check, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Unknown, message: message.into(), lines: Vec::new() }
    }

    /// Something is wrong with operations, which are shown.
    pub(crate) fn about<C, A>(check: Check, message: String, shown: &[&Paired<C, A>]) -> Self
    where
        Paired<C, A>: fmt::Display,
    {
        let mut told = message;
        for operation in shown {
            told.push_str("\n    ");
            told.push_str(&operation.to_string());
        }
        Self::invalid(check, told).shown_by(shown.iter().map(|operation| operation.id))
    }

    /// Names the lines that show it.
    pub(crate) fn shown_by(mut self, lines: impl IntoIterator<Item = LineIndex>) -> Self {
        self.lines.extend(lines);
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::History => "history",
            Self::Linearizability => "linearizability",
            Self::Revisions => "revisions",
            Self::Convergence => "convergence",
            Self::Progress => "progress",
            Self::Set => "set",
            Self::Append => "append",
            Self::Watch => "watch",
            Self::Once => "once",
            Self::Lock => "lock",
            Self::Ownership => "ownership",
            Self::Connection => "connection",
            Self::Allocation => "allocation",
            Self::Backup => "backup",
        })
    }
}

/// Searches every register for an order that explains it; the smallest one without is shrunk.
fn linearizability(operations: &[Operation]) -> (usize, Vec<Finding>, Option<Evidence>) {
    let keys = pair::by_key(operations);
    let mut findings = Vec::new();
    let mut smallest: Option<(KeyId, &[&Operation])> = None;
    for (key, of_key) in &keys {
        match wgl::search(&register::items(of_key), wgl::STEPS_MAX) {
            wgl::Linearity::Linearizable => {}
            wgl::Linearity::GaveUp => findings.push(Finding::unknown(
                Check::Linearizability,
                format!("{key}: no order was found within {} steps", wgl::STEPS_MAX.0),
            )),
            wgl::Linearity::Broken => {
                findings.push(Finding::invalid(
                    Check::Linearizability,
                    format!("{key}: no order of its {} operations explains them", of_key.len()),
                ));
                if smallest.is_none_or(|(_, other)| of_key.len() < other.len()) {
                    smallest = Some((*key, of_key));
                }
            }
        }
    }
    let evidence =
        smallest.map(|(key, of_key)| Evidence { key, operations: shrink::shortest(of_key) });
    (keys.len(), findings, evidence)
}

#[cfg(test)]
mod tests {
    use super::{
        sample::{History, absent, ok_read, seen, swapped, written},
        *,
    };
    use crate::history::{Call, Value};

    fn write(value: u64) -> Call {
        Call::Write { value: Value(value) }
    }

    #[test]
    fn a_good_run_is_valid() {
        let mut history = History::started(2, 0, 0);
        history.run(1, 1, Call::Read, ok_read(absent()), 0);
        history.run(1, 1, write(5), written(), 1);
        history.run(2, 1, Call::Cas { expected: Some(Value(5)), value: Value(6) }, swapped(), 2);
        history.run(1, 1, Call::Read, ok_read(seen(6, 2, 2)), 2);
        history.converge();
        let judgement = judge(&history.lines);
        assert_eq!(judgement.findings, []);
        assert_eq!(judgement.verdict, Verdict::Valid);
        assert_eq!(judgement.registers, 2, "the fresh writes have a register of their own");
    }

    #[test]
    fn a_stale_read_is_invalid_and_shown() {
        let mut history = History::started(2, 0, 0);
        history.run(1, 1, write(5), written(), 1);
        history.run(1, 1, write(6), written(), 2);
        history.run(1, 2, write(7), written(), 3);
        history.run(2, 1, Call::Read, ok_read(seen(5, 1, 1)), 1);
        history.converge();
        let judgement = judge(&history.lines);
        assert_eq!(judgement.verdict, Verdict::Invalid);
        let evidence = judgement.evidence.unwrap();
        assert_eq!((evidence.key, evidence.operations.len()), (KeyId(1), 3));
        let checks: Vec<Check> = judgement.findings.iter().map(|finding| finding.check).collect();
        assert!(checks.contains(&Check::Linearizability), "{checks:?}");
        assert!(checks.contains(&Check::Revisions), "{checks:?}");
    }

    #[test]
    fn too_little_done_is_unknown() {
        let mut history = History::started(1_000, 0, 0);
        history.run(1, 1, write(5), written(), 1);
        history.converge();
        assert_eq!(judge(&history.lines).verdict, Verdict::Unknown);
    }

    #[test]
    fn an_interrupted_run_is_unknown() {
        let mut history = History::started(1, 0, 0);
        history.run(1, 1, write(5), written(), 1);
        history.add(What::Interrupted);
        history.converge();
        assert_eq!(judge(&history.lines).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_malformed_history_is_invalid() {
        let mut history = History::started(0, 0, 0);
        history.invoke(1, 1, Call::Read);
        history.invoke(1, 1, Call::Read);
        history.converge();
        assert_eq!(judge(&history.lines).verdict, Verdict::Invalid);
    }
}
