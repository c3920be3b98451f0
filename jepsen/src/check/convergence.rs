//! Replicas agree, and everybody comes back.
//!
//! Owns the rules over what coordinators say of themselves:
//! - equal log index, equal revision and state hash, at any time, on any two coordinators;
//! - at most one leader in a term;
//! - none ends or panics without having been asked to;
//! - once everything is healed, each takes a fresh write, and all end at the same index and hash.
//!
//! Must not know how statuses are obtained.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorate_core::{LogIndex, MemberId, Term};

use super::{Check, Finding};
use crate::history::{Answer, Line, LineIndex, StatusEvent, Step, What};

/// All rules.
pub(crate) fn check(lines: &[Line]) -> Vec<Finding> {
    let mut findings = agreement(lines);
    findings.extend(one_leader_a_term(lines));
    findings.extend(crashes(lines));
    findings.extend(come_back(lines));
    findings
}

/// The coordinators that are the same at the end, by their last status after everything was
/// healed; none: they are not.
pub(crate) fn same(lines: &[Line], nodes: u64) -> Option<LogIndex> {
    let last = last_statuses(after_healing(lines)?);
    let first = last.values().next()?;
    let all = (1..=nodes).all(|node| {
        last.get(&MemberId(node)).is_some_and(|status| {
            (status.log_index, status.state_hash) == (first.log_index, first.state_hash)
        })
    });
    all.then_some(first.log_index)
}

/// The coordinators that took a fresh write after everything was healed.
pub(crate) fn refreshed(lines: &[Line]) -> BTreeSet<MemberId> {
    after_healing(lines)
        .unwrap_or_default()
        .iter()
        .filter_map(|line| match &line.what {
            What::Op(event) => match event.step {
                Step::Ok { answer: Answer::Written, .. } => Some(event.node),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn statuses(lines: &[Line]) -> impl Iterator<Item = (LineIndex, &StatusEvent)> {
    lines.iter().filter_map(|line| match &line.what {
        What::Status(status) => Some((line.index, status)),
        _ => None,
    })
}

fn agreement(lines: &[Line]) -> Vec<Finding> {
    let mut at_index: HashMap<LogIndex, (LineIndex, &StatusEvent)> = HashMap::new();
    for (line, status) in statuses(lines) {
        let (first_line, first) = *at_index.entry(status.log_index).or_insert((line, status));
        if (first.state_hash, first.revision) != (status.state_hash, status.revision) {
            let message = format!(
                "coordinators {} and {} differ at log index {}: revision {} hash {:016x}, revision {} hash {:016x}",
                first.node,
                status.node,
                status.log_index,
                first.revision,
                first.state_hash,
                status.revision,
                status.state_hash,
            );
            let finding = Finding::invalid(Check::Convergence, message);
            return vec![finding.shown_by([first_line, line])];
        }
    }
    Vec::new()
}

fn one_leader_a_term(lines: &[Line]) -> Vec<Finding> {
    let mut leaders: BTreeMap<Term, (LineIndex, MemberId)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (line, status) in statuses(lines).filter(|(_, status)| status.leads) {
        let (first_line, first) = *leaders.entry(status.term).or_insert((line, status.node));
        if first != status.node && findings.is_empty() {
            let message = format!(
                "coordinators {first} and {} both lead in term {}",
                status.node, status.term
            );
            findings
                .push(Finding::invalid(Check::Convergence, message).shown_by([first_line, line]));
        }
    }
    findings
}

fn crashes(lines: &[Line]) -> Vec<Finding> {
    lines
        .iter()
        .filter_map(|line| match &line.what {
            What::Crash(crash) => {
                let message = format!("coordinator {}: {}", crash.node, crash.detail);
                Some(Finding::invalid(Check::Convergence, message).shown_by([line.index]))
            }
            _ => None,
        })
        .collect()
}

fn come_back(lines: &[Line]) -> Vec<Finding> {
    let Some(nodes) = lines.iter().find_map(|line| match &line.what {
        What::Start(start) => Some(start.nodes),
        _ => None,
    }) else {
        return vec![Finding::unknown(
            Check::Convergence,
            "the history does not say how many nodes",
        )];
    };
    let Some(after) = after_healing(lines) else {
        let message = "the history ends before everything was healed";
        return vec![Finding::unknown(Check::Convergence, message)];
    };
    let mut findings = Vec::new();
    let refreshed = refreshed(lines);
    let silent: Vec<String> = (1..=nodes)
        .filter(|node| !refreshed.contains(&MemberId(*node)))
        .map(|node| node.to_string())
        .collect();
    if !silent.is_empty() {
        findings.push(Finding::invalid(
            Check::Convergence,
            format!("after healing no fresh write through coordinator {}", silent.join(", ")),
        ));
    }
    if same(lines, nodes).is_none() {
        let last: Vec<String> = last_statuses(after)
            .values()
            .map(|s| format!("{}: index {} hash {:016x}", s.node, s.log_index, s.state_hash))
            .collect();
        let message =
            format!("after healing the coordinators are not the same: {}", last.join("; "));
        findings.push(Finding::invalid(Check::Convergence, message));
    }
    findings
}

fn after_healing(lines: &[Line]) -> Option<&[Line]> {
    let at = lines.iter().rposition(|line| line.what == What::Healed)?;
    lines.get(at + 1..)
}

fn last_statuses(lines: &[Line]) -> BTreeMap<MemberId, &StatusEvent> {
    statuses(lines).map(|(_, status)| (status.node, status)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{
            Verdict,
            sample::{self, History},
        },
        history::CrashEvent,
    };

    #[track_caller]
    fn expect(history: &History, verdict: Verdict, part: &str) {
        sample::expect(&check(&history.lines), verdict, part);
    }

    #[test]
    fn a_good_run_has_no_findings() {
        let mut history = History::started(0, 0, 0);
        history.status(1, 1, 1, 5, 50);
        history.status(2, 1, 1, 4, 40);
        history.status(2, 1, 1, 5, 50);
        history.status(2, 2, 2, 6, 60);
        history.converge();
        assert_eq!(check(&history.lines), []);
    }

    #[test]
    fn replicas_that_differ_are_found() {
        let mut history = History::started(0, 0, 0);
        history.status(1, 1, 1, 5, 50);
        history.status(2, 1, 1, 5, 51);
        history.converge();
        expect(&history, Verdict::Invalid, "coordinators 1 and 2 differ at log index 5");
    }

    #[test]
    fn two_leaders_of_a_term_are_found() {
        let mut history = History::started(0, 0, 0);
        history.status(1, 1, 3, 5, 50);
        history.status(2, 2, 3, 5, 50);
        history.converge();
        expect(&history, Verdict::Invalid, "both lead in term 3");
    }

    #[test]
    fn a_node_that_stays_behind_is_found() {
        let mut history = History::started(0, 0, 0);
        history.converge();
        history.status(2, 1, 1, 8_999, 70);
        expect(&history, Verdict::Invalid, "not the same");
    }

    #[test]
    fn a_node_that_takes_no_writes_is_found() {
        let mut history = History::started(0, 0, 0);
        history.add(What::Healed);
        for node in 1..=3 {
            history.status(node, 1, 1, 9, 9);
        }
        expect(&history, Verdict::Invalid, "no fresh write through coordinator 1, 2, 3");
    }

    #[test]
    fn a_crash_is_found() {
        let mut history = History::started(0, 0, 0);
        let detail = "ended by itself".to_owned();
        history.add(What::Crash(CrashEvent { node: MemberId(2), detail }));
        history.converge();
        expect(&history, Verdict::Invalid, "coordinator 2: ended by itself");
    }

    #[test]
    fn a_history_that_stops_short_is_unknown() {
        expect(&History::started(0, 0, 0), Verdict::Unknown, "before everything was healed");
        expect(&History::new(), Verdict::Unknown, "how many nodes");
    }
}
