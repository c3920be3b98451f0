//! How much was done, and whether that is enough for a verdict to mean something.
//!
//! Owns the counts and the minimum. Must not know whether answers are right.

use std::collections::BTreeMap;

use quorate_core::{LogIndex, MemberId, Term};
use serde::Serialize;

use super::{Check, Finding, seconds};
use crate::{
    history::{Line, Stage, Start, StatusEvent, What},
    nemesis::fault::FaultClass,
};

/// So long a class must have had for all of its first kinds to come.
const SECONDS_OF_A_CLASS: u64 = 60;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Operations that were answered.
    pub(crate) ok: u64,
    /// Operations that never happened.
    pub(crate) fail: u64,
    /// Operations of unknown outcome.
    pub(crate) info: u64,
    /// Operations without an answer, by the first two words of why: code and reason.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Faults made.
    pub(crate) faults: u64,
    /// Faults made, by kind.
    pub(crate) faults_by_kind: BTreeMap<String, u64>,
    /// How often a leader followed another, or itself in a later term.
    pub(crate) leader_changes: u64,
    /// How often a coordinator had a newer checkpoint than before.
    pub(crate) checkpoints: u64,
    /// What else the workload did, by name.
    pub(crate) work: BTreeMap<&'static str, u64>,
    /// How many checkpoints coordinators installed from their leader, as far as they lived to tell.
    pub(crate) installs: u64,
    /// The newest checkpoint of each coordinator.
    #[serde(skip)]
    pub(crate) checkpoint: BTreeMap<MemberId, LogIndex>,
    /// The newest leader and its term.
    #[serde(skip)]
    pub(crate) leader: Option<(Term, MemberId)>,
}

impl Counts {
    /// All operations that ended.
    pub(crate) const fn ops(&self) -> u64 {
        self.ok + self.fail + self.info
    }

    /// Counts one more line.
    pub(crate) fn add(&mut self, line: &Line) {
        if let Some(part) = line.what.operation() {
            self.add_stage(part.stage);
        }
        match &line.what {
            What::Fault(event) => {
                self.faults += 1;
                *self.faults_by_kind.entry(event.fault.to_string()).or_default() += 1;
            }
            What::Status(status) => self.add_status(status),
            What::Installs(event) => self.installs += event.more,
            _ => {}
        }
    }

    fn add_stage(&mut self, stage: Stage<'_>) {
        let error = match stage {
            Stage::Invoke => return,
            Stage::Ok => {
                self.ok += 1;
                return;
            }
            Stage::Fail(error) => {
                self.fail += 1;
                error
            }
            Stage::Info(error) => {
                self.info += 1;
                error
            }
        };
        let kind: Vec<&str> = error.split_whitespace().take(2).collect();
        *self.errors.entry(kind.join(" ")).or_default() += 1;
    }

    fn add_status(&mut self, status: &StatusEvent) {
        if status.leads && self.leader.is_none_or(|(term, _)| term < status.term) {
            self.leader_changes += u64::from(self.leader.is_some());
            self.leader = Some((status.term, status.node));
        }
        let newest = self.checkpoint.entry(status.node).or_default();
        if status.checkpoint > *newest {
            *newest = status.checkpoint;
            self.checkpoints += 1;
        }
    }
}

/// Counts a whole history.
pub(crate) fn count(lines: &[Line]) -> Counts {
    let mut counts = Counts::default();
    for line in lines {
        counts.add(line);
    }
    counts
}

/// Compares what was done with the minimum that the history asks for.
pub(crate) fn check(lines: &[Line], counts: &Counts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if lines.iter().any(|line| line.what == What::Interrupted) {
        findings.push(Finding::unknown(Check::Progress, "the run was interrupted"));
    }
    match lines.iter().find_map(|line| match &line.what {
        What::Start(start) => Some(start),
        _ => None,
    }) {
        Some(start) => {
            findings.extend(too_little(start, counts));
            findings.extend(kinds_left_out(start, counts, seconds(lines)));
        }
        None => {
            findings.push(Finding::unknown(
                Check::Progress,
                "the history does not say what it was for",
            ));
        }
    }
    findings
}

fn too_little(start: &Start, counts: &Counts) -> Vec<Finding> {
    let minimum = &start.minimum;
    let rows = [
        ("operations answered", counts.ok, minimum.ops),
        ("faults", counts.faults, minimum.faults),
        ("leader changes", counts.leader_changes, minimum.leader_changes),
    ];
    let mut findings: Vec<Finding> = rows
        .into_iter()
        .filter(|(_, reached, minimum)| reached < minimum)
        .map(|(name, reached, minimum)| {
            Finding::unknown(
                Check::Progress,
                format!("{reached} {name}, at least {minimum} needed"),
            )
        })
        .collect();
    if minimum.faults > 0 {
        for class in &start.nemeses {
            if !class.is_met_by(counts.faults_by_kind.keys()) {
                let message = format!("no fault of the class {} was made", class.name());
                findings.push(Finding::unknown(Check::Progress, message));
            }
        }
    }
    findings
}

/// A class that had its time must have shown each of the kinds that come first.
fn kinds_left_out(start: &Start, counts: &Counts, seconds: u64) -> Vec<Finding> {
    let classes = start.nemeses.len() as u64;
    if start.minimum.faults == 0 || seconds < classes * SECONDS_OF_A_CLASS {
        return Vec::new();
    }
    let nodes = usize::try_from(start.nodes).unwrap_or(usize::MAX);
    let first = |class: &FaultClass| class.kinds(nodes).into_iter().take(class.first_kinds());
    let kinds = start.nemeses.iter().flat_map(first).map(|kind| kind.to_string());
    kinds
        .filter(|kind| !counts.faults_by_kind.contains_key(kind))
        .map(|kind| Finding::unknown(Check::Progress, format!("{kind} was never made")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, absent, ok_read},
        history::{Call, InstallsEvent, Nanos, Value},
        nemesis::fault::{Change, FaultKind, Target},
    };

    #[test]
    fn everything_is_counted() {
        let mut history = History::started(1, 1, 1);
        history.run(1, 1, Call::Read, ok_read(absent()), 0);
        history.fail(1, 1, Call::Read);
        history.unknown(1, 1, Call::Write { value: Value(1) });
        history.fault(FaultKind::Kill(Target::Leader));
        history.status(1, 1, 1, 1, 1);
        history.status(1, 1, 1, 1, 1);
        history.status(2, 2, 3, 1, 1);
        history.status(1, 1, 1, 1, 1);
        history.add(What::Installs(InstallsEvent { node: MemberId(1), more: 2 }));
        let counts = count(&history.lines);
        let errors = BTreeMap::from([("no quorum".to_owned(), 1), ("timeout".to_owned(), 1)]);
        assert_eq!(counts.errors, errors);
        assert_eq!((counts.checkpoints, counts.installs), (2, 2), "one by each of two nodes");
        assert_eq!((counts.ok, counts.fail, counts.info, counts.ops()), (1, 1, 1, 3));
        assert_eq!(
            (counts.faults, counts.leader_changes),
            (1, 1),
            "an old leader's claim is no change"
        );
        assert_eq!(check(&history.lines, &counts), []);
    }

    #[test]
    fn each_minimum_is_kept() {
        let history = History::started(1, 2, 3);
        let found = check(&history.lines, &count(&history.lines));
        let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "0 operations answered, at least 1 needed",
                "0 faults, at least 2 needed",
                "0 leader changes, at least 3 needed"
            ]
        );
    }

    #[test]
    fn a_minute_of_membership_grows_and_shrinks() {
        let left_out = |met: &[Change], seconds: u64| {
            let mut history = History::started(0, 1, 0);
            if let What::Start(start) = &mut history.lines[0].what {
                start.nemeses = vec![FaultClass::Membership];
            }
            met.iter().for_each(|change| history.fault(FaultKind::Membership(*change)));
            history.add(What::Healed);
            history.lines.last_mut().unwrap().time = Nanos(seconds * 1_000_000_000);
            let found = check(&history.lines, &count(&history.lines));
            found.into_iter().map(|finding| finding.message).collect::<Vec<_>>()
        };
        let replaced = [Change::ReplaceLeader, Change::Replace];
        let missed = ["membership:grow was never made", "membership:shrink was never made"];
        assert_eq!(left_out(&replaced, 60), missed);
        assert!(left_out(&replaced, 59).is_empty(), "too short for all of them");
        let all = [Change::ReplaceLeader, Change::Grow, Change::Shrink];
        assert!(left_out(&all, 60).is_empty());
    }

    #[test]
    fn each_class_of_faults_must_be_met() {
        let mut history = History::started(0, 1, 0);
        if let What::Start(start) = &mut history.lines[0].what {
            start.nemeses = vec![FaultClass::Kill, FaultClass::Partition];
        }
        history.fault(FaultKind::Kill(Target::All));
        let found = check(&history.lines, &count(&history.lines));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("partition"), "{found:?}");
    }
}
