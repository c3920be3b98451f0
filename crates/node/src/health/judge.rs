//! When findings are an alert, and when no longer: pure.
//!
//! Invariants: an alert is raised after so many findings in a row and cleared after so many runs
//! without; whoever begins to judge counts from nothing, and leaves what is raised until then.

use std::collections::BTreeMap;

use quorate_core::{AlertId, Name, Raised, Severity};

use super::check::{Finding, Findings, Pace, Recovery};

/// Counts what one check finds.
#[derive(Debug, Default)]
pub(super) struct Judge {
    counts: BTreeMap<AlertId, Count>,
}

/// How often in a row.
#[derive(Debug, Default)]
struct Count {
    failures: u64,
    successes: u64,
    /// Whether something was done about it, or is to be: once for an alert, also when it cannot be raised.
    acted: bool,
    /// What is still to be done about it.
    deferred: Option<Recovery>,
}

/// What follows from a run of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What to do first.
    pub(super) recover: Vec<(AlertId, Recovery, String)>,
    /// Alerts to raise, or whose severity changed.
    pub(super) raise: Vec<(AlertId, Raised)>,
    /// Alerts to clear.
    pub(super) clear: Vec<AlertId>,
}

impl Judge {
    /// Forgets what was counted.
    pub(super) fn reset(&mut self) {
        self.counts.clear();
    }

    /// Judges a run. `standing`: the alerts of this check that are raised.
    pub(super) fn judge(
        &mut self,
        check: &Name,
        findings: Findings,
        standing: &BTreeMap<AlertId, Severity>,
        pace: Pace,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let findings: BTreeMap<AlertId, Finding> = findings
            .into_iter()
            .filter(|(subject, _)| AlertId::is_subject(subject))
            .map(|(subject, finding)| (AlertId { check: check.clone(), subject }, finding))
            .collect();
        self.counts.retain(|id, _| findings.contains_key(id) || standing.contains_key(id));
        for id in standing.keys().filter(|id| !findings.contains_key(id)) {
            let count = self.counts.entry(id.clone()).or_default();
            *count = Count { successes: count.successes + 1, ..Count::default() };
            if count.successes >= pace.successes {
                verdict.clear.push(id.clone());
            }
        }
        for (id, finding) in findings {
            let count = self.counts.entry(id.clone()).or_default();
            (count.failures, count.successes) = (count.failures + 1, 0);
            let raised = standing.get(&id);
            let Finding { severity, message, value, recovery } = finding;
            let recovery = match raised {
                None if count.failures < pace.failures => None,
                None if !count.acted => {
                    count.acted = true;
                    Some(recovery)
                }
                _ => count.deferred.take(),
            };
            if let Some(recovery) = recovery.filter(|recovery| *recovery != Recovery::None) {
                verdict.recover.push((id.clone(), recovery, message.clone()));
            }
            if count.failures >= pace.failures && raised != Some(&severity) {
                let message = cut(message, Raised::MESSAGE_BYTES_MAX);
                verdict.raise.push((id, Raised { severity, message, value }));
            }
        }
        verdict
    }

    /// What had to be done must wait until the next run.
    pub(super) fn defer(&mut self, id: &AlertId, recovery: Recovery) {
        if let Some(count) = self.counts.get_mut(id) {
            count.deferred = Some(recovery);
        }
    }
}

fn cut(mut text: String, max: usize) -> String {
    while text.len() > max {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PACE: Pace = Pace {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures: 3,
        successes: 2,
    };

    /// A judge, and the alerts as the log would have them.
    #[derive(Default)]
    struct Court {
        judge: Judge,
        standing: BTreeMap<AlertId, Severity>,
    }

    fn id() -> AlertId {
        AlertId { check: Name::new("load").unwrap(), subject: "w".into() }
    }

    fn finding(severity: Severity) -> Finding {
        let worker = Name::new("w").unwrap();
        Finding { recovery: Recovery::DrainWorker(worker), ..Finding::new(severity, "busy") }
    }

    impl Court {
        /// A run: how many were recovered, raised, cleared.
        fn run(&mut self, severity: Option<Severity>) -> [usize; 3] {
            let findings = severity.map(|severity| ("w".to_owned(), finding(severity)));
            let findings = findings.into_iter().collect();
            let verdict = self.judge.judge(&id().check, findings, &self.standing, PACE);
            for (id, raised) in &verdict.raise {
                self.standing.insert(id.clone(), raised.severity);
            }
            for id in &verdict.clear {
                self.standing.remove(id);
            }
            [verdict.recover.len(), verdict.raise.len(), verdict.clear.len()]
        }
    }

    impl Court {
        fn raise(&mut self) {
            let runs = [WARNING; 3].map(|bad| self.run(bad));
            assert_eq!(runs[2], [1, 1, 0]);
        }
    }

    const WARNING: Option<Severity> = Some(Severity::Warning);

    #[test]
    fn it_takes_so_many_in_a_row() {
        let mut court = Court::default();
        for bad in [WARNING, WARNING, None, WARNING, WARNING] {
            assert_eq!(court.run(bad), [0, 0, 0]);
        }
        assert_eq!(court.run(WARNING), [1, 1, 0]);
        assert_eq!(court.run(WARNING), [0, 0, 0], "it is raised and was seen to");
        for good in [None, WARNING, None] {
            assert_eq!(court.run(good), [0, 0, 0]);
        }
        assert_eq!(court.run(None), [0, 0, 1]);
        assert_eq!(court.run(None), [0, 0, 0]);
    }

    #[test]
    fn severity_is_brought_up_to_date() {
        let mut court = Court::default();
        court.raise();
        assert_eq!(court.run(Some(Severity::Critical)), [0, 1, 0]);
        assert_eq!(court.standing[&id()], Severity::Critical);
    }

    #[test]
    fn a_new_judge_raises_and_clears_nothing_at_once() {
        let mut court = Court::default();
        court.raise();
        court.judge = Judge::default();
        assert_eq!(court.run(None), [0, 0, 0], "one run without it does not clear it");
        assert_eq!(court.run(None), [0, 0, 1]);
        court.run(WARNING);
        court.run(WARNING);
        court.judge.reset();
        assert_eq!(court.run(WARNING), [0, 0, 0], "what another leader counted does not count");
    }

    #[test]
    fn what_was_deferred_is_done_later_while_it_lasts() {
        let mut court = Court::default();
        court.raise();
        court.judge.defer(&id(), Recovery::Custom);
        assert_eq!(court.run(WARNING), [1, 0, 0]);
        assert_eq!(court.run(WARNING), [0, 0, 0]);
        court.judge.defer(&id(), Recovery::Custom);
        court.run(None);
        assert_eq!(court.run(WARNING), [0, 0, 0], "it was over meanwhile");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(cut("ä".repeat(300), 511).len(), 510);
    }
}
