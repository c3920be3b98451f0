//! The revision oracle, global part: replies carry their place in the one order of changes, so the
//! order needs no search, only comparison with the clock and with itself.
//!
//! Owns the rules over all registers together:
//! - one cluster answers;
//! - no two writes share a revision;
//! - revisions and log indexes grow together;
//! - what ended before something else began comes earlier in both, strictly so before a write.
//!
//! Must not know values; those are the business of [`super::values`].

use std::collections::{BTreeMap, HashMap};

use quorate_core::{LogIndex, Revision};

use super::{Check, Finding, values};
use crate::history::{
    Answer, LineIndex, Nanos, Stamp,
    pair::{self, Operation},
};

/// How many findings of one rule are told; more add nothing.
const FINDINGS_MAX: usize = 5;

/// All rules, the values' too.
pub(crate) fn check(operations: &[Operation]) -> Vec<Finding> {
    let placed: Vec<Placed> = operations.iter().filter_map(Placed::of).collect();
    let mut findings = Vec::new();
    findings.extend(one_cluster(&placed).into_iter().take(FINDINGS_MAX));
    findings.extend(unique_writes(&placed).into_iter().take(FINDINGS_MAX));
    findings.extend(indexes_agree(&placed).into_iter().take(FINDINGS_MAX));
    let mut pins = HashMap::new();
    for (key, of_key) in pair::by_key(operations) {
        let (found, pinned) = values::check(key, &of_key);
        findings.extend(found.into_iter().take(FINDINGS_MAX));
        pins.extend(pinned);
    }
    findings.extend(real_time(operations, &pins).into_iter().take(FINDINGS_MAX));
    findings
}

/// An answered operation and its place.
struct Placed<'a> {
    operation: &'a Operation,
    stamp: &'a Stamp,
    writes: bool,
}

impl<'a> Placed<'a> {
    fn of(operation: &'a Operation) -> Option<Self> {
        let (answer, stamp) = operation.answer()?;
        let writes = matches!(answer, Answer::Written | Answer::Swapped);
        Some(Self { operation, stamp, writes })
    }
}

fn one_cluster(placed: &[Placed<'_>]) -> Vec<Finding> {
    let Some(first) = placed.first() else { return Vec::new() };
    placed
        .iter()
        .filter(|other| other.stamp.cluster != first.stamp.cluster)
        .map(|other| {
            broken(
                format!(
                    "two clusters answered: {} and {}",
                    first.stamp.cluster, other.stamp.cluster
                ),
                [first.operation, other.operation],
            )
        })
        .collect()
}

fn unique_writes(placed: &[Placed<'_>]) -> Vec<Finding> {
    let mut by_revision: HashMap<Revision, &Operation> = HashMap::new();
    let mut findings = Vec::new();
    for write in placed.iter().filter(|placed| placed.writes) {
        if let Some(other) = by_revision.insert(write.stamp.revision, write.operation) {
            findings.push(broken(
                format!("two writes were given revision {}", write.stamp.revision),
                [other, write.operation],
            ));
        }
    }
    findings
}

/// In the order of log indexes, revisions never decrease, and a write's is above all before it.
fn indexes_agree(placed: &[Placed<'_>]) -> Vec<Finding> {
    let mut by_index: BTreeMap<LogIndex, Vec<&Placed<'_>>> = BTreeMap::new();
    for one in placed {
        by_index.entry(one.stamp.log_index).or_default().push(one);
    }
    let mut highest: Option<&Placed<'_>> = None;
    let mut findings = Vec::new();
    for at_index in by_index.values() {
        for one in at_index {
            let Some(before) = highest else { continue };
            let (low, high) = (one.stamp.revision, before.stamp.revision);
            if low < high || (one.writes && low == high) {
                findings.push(broken(
                    format!(
                        "revision {low} at log index {} comes after revision {high} at log index {}",
                        one.stamp.log_index, before.stamp.log_index
                    ),
                    [before.operation, one.operation],
                ));
            }
        }
        highest = at_index.iter().copied().chain(highest).max_by_key(|one| one.stamp.revision);
    }
    findings
}

/// The latest place that had been answered at some time.
#[derive(Debug, Clone, Copy, Default)]
struct Floor {
    revision: (Revision, LineIndex),
    log_index: (LogIndex, LineIndex),
}

/// What ended before something else began comes earlier in the order.
fn real_time(operations: &[Operation], pins: &HashMap<LineIndex, Revision>) -> Vec<Finding> {
    let by_id: HashMap<LineIndex, &Operation> =
        operations.iter().map(|operation| (operation.id, operation)).collect();
    let mut findings = Vec::new();
    let mut report = |earlier: LineIndex, later: &Operation, what: String| {
        let Some(earlier) = by_id.get(&earlier) else { return };
        findings.push(broken(what, [earlier, later]));
    };
    for (operation, floor) in floors(operations) {
        let (revision, earlier) = floor.revision;
        if let Some(placed) = Placed::of(operation) {
            let own = placed.stamp.revision;
            if own < revision || (placed.writes && own == revision && revision > Revision(0)) {
                let what =
                    format!("answered at revision {own}, after {revision} had been answered");
                report(earlier, operation, what);
            }
            let (index, earlier) = floor.log_index;
            if placed.stamp.log_index < index {
                let own = placed.stamp.log_index;
                let what = format!("answered at log index {own}, after {index} had been answered");
                report(earlier, operation, what);
            }
        } else if let Some(own) = pins.get(&operation.id)
            && *own <= revision
        {
            let what = format!("took effect at revision {own}, before it began");
            report(earlier, operation, what);
        }
    }
    findings
}

/// For each operation the latest place that had been answered when it began.
fn floors(operations: &[Operation]) -> Vec<(&Operation, Floor)> {
    let begins = operations.iter().map(|operation| (operation.invoked, 1, operation));
    let answers =
        operations.iter().filter_map(|operation| Some((operation.answered()?, 0, operation)));
    let mut points: Vec<(Nanos, u8, &Operation)> = begins.chain(answers).collect();
    // At equal times beginnings come first: touching operations count as concurrent.
    points.sort_by_key(|(time, kind, operation)| (*time, std::cmp::Reverse(*kind), operation.id));
    let (mut floor, mut found) = (Floor::default(), Vec::new());
    for (_, kind, operation) in points {
        if kind == 1 {
            found.push((operation, floor));
        } else if let Some((_, stamp)) = operation.answer() {
            floor.revision = floor.revision.max((stamp.revision, operation.id));
            floor.log_index = floor.log_index.max((stamp.log_index, operation.id));
        }
    }
    found
}

fn broken(message: String, operations: [&Operation; 2]) -> Finding {
    let told = format!("{message}\n    {}\n    {}", operations[0], operations[1]);
    Finding::invalid(Check::Revisions, told).shown_by(operations.map(|operation| operation.id))
}

#[cfg(test)]
mod tests {
    use quorate_core::ClusterId;

    use super::*;
    use crate::{
        check::sample::{History, absent, ok_read, seen, stamp, written},
        history::{Call, Step, Value, What},
    };

    fn write(value: u64) -> Call {
        Call::Write { value: Value(value) }
    }

    fn messages(history: &History) -> Vec<String> {
        let operations = pair::operations(&history.lines).unwrap();
        check(&operations).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_good_history_has_no_findings() {
        let mut history = History::new();
        history.run(1, 1, Call::Read, ok_read(absent()), 0);
        history.run(1, 1, write(1), written(), 1);
        history.unknown(2, 1, write(2));
        history.run(1, 2, write(3), written(), 3);
        history.run(1, 1, Call::Read, ok_read(seen(2, 2, 2)), 3);
        assert_eq!(messages(&history), Vec::<String>::new());
    }

    #[test]
    fn two_writes_at_one_revision_are_found() {
        let mut history = History::new();
        history.invoke(1, 1, write(1));
        history.invoke(2, 2, write(2));
        history.end(1, 1, write(1), written(), 1);
        history.end(2, 2, write(2), written(), 1);
        assert!(messages(&history)[0].contains("two writes were given revision 1"));
    }

    #[test]
    fn an_answer_from_the_past_is_found_across_registers() {
        let mut history = History::new();
        history.run(1, 1, write(1), written(), 5);
        history.run(2, 2, Call::Read, ok_read(absent()), 4);
        let found = messages(&history);
        assert!(found[0].contains("at revision 4, after 5"), "{found:?}");
    }

    #[test]
    fn a_write_does_not_reuse_an_answered_revision() {
        let mut history = History::new();
        history.run(1, 1, Call::Read, ok_read(absent()), 5);
        history.run(2, 2, write(1), written(), 5);
        assert!(messages(&history)[0].contains("at revision 5, after 5"));
    }

    #[test]
    fn concurrent_operations_come_in_any_order() {
        let mut history = History::new();
        history.invoke(1, 1, write(1));
        history.invoke(2, 2, write(2));
        history.end(1, 1, write(1), written(), 2);
        history.end(2, 2, write(2), written(), 1);
        assert_eq!(messages(&history), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_write_does_not_act_before_it_began() {
        let mut history = History::new();
        history.run(1, 1, write(1), written(), 5);
        history.unknown(2, 2, write(2));
        history.run(1, 2, Call::Read, ok_read(seen(2, 3, 1)), 6);
        let found = messages(&history);
        assert!(found.iter().any(|message| message.contains("before it began")), "{found:?}");
    }

    #[test]
    fn revisions_and_log_indexes_must_agree() {
        let mut history = History::new();
        history.invoke(1, 1, write(1));
        history.invoke(2, 2, write(2));
        history.end(1, 1, write(1), written(), 1);
        history.end(2, 2, write(2), written(), 2);
        if let What::Op(event) = &mut history.lines[3].what
            && let Step::Ok { stamp, .. } = &mut event.step
        {
            stamp.log_index = LogIndex(3);
        }
        let found = messages(&history);
        assert!(found[0].contains("comes after revision 2 at log index 3"), "{found:?}");
    }

    #[test]
    fn two_clusters_are_found() {
        let mut history = History::new();
        history.run(1, 1, write(1), written(), 1);
        history.invoke(2, 2, Call::Read);
        history.end(2, 2, Call::Read, ok_read(absent()), 1);
        if let What::Op(event) = &mut history.lines[3].what {
            let other = Stamp { cluster: ClusterId(43), ..stamp(1) };
            event.step = Step::Ok { answer: ok_read(absent()), stamp: other };
        }
        assert!(messages(&history)[0].contains("two clusters answered"));
    }
}
