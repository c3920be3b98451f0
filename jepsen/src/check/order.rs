//! The revision oracle, global part: replies carry their place in the one order of changes, so the
//! order needs no search, only comparison with the clock and with itself.
//!
//! Owns the rules over all operations of a run together, whatever they are about:
//! - one cluster answers;
//! - no two writes share a revision;
//! - revisions and log indexes grow together;
//! - what ended before something else began comes earlier in both, strictly so before a write.
//!
//! Must not know values; those are the business of [`super::values`] and its like.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use quorate_core::{LogIndex, Revision};

use super::{Check, Finding, trace::Pins};
use crate::history::{LineIndex, Nanos, Stamp, pair::Paired};

/// How many findings of one rule are told; more add nothing.
pub(crate) const FINDINGS_MAX: usize = 5;

/// An operation and its place in the order of changes, as far as known.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The line on which it begins.
    pub(crate) id: LineIndex,
    /// When it began.
    pub(crate) invoked: Nanos,
    /// When it was answered, and from where in the order of changes.
    pub(crate) answered: Option<(Nanos, Stamp)>,
    /// Whether it has a revision of its own.
    pub(crate) writes: bool,
    /// The revision of an operation without an answer, as others saw it.
    pub(crate) pinned: Option<Revision>,
    /// The operation, for people.
    pub(crate) shown: &'a (dyn fmt::Display + 'a),
}

impl<'a> Place<'a> {
    /// The place of an operation that writes or does not.
    pub(crate) fn of<C, A>(operation: &'a Paired<C, A>, writes: bool) -> Self
    where
        Paired<C, A>: fmt::Display,
    {
        let stamp = operation.answer().map(|(_, stamp)| *stamp);
        Self {
            id: operation.id,
            invoked: operation.invoked,
            answered: operation.answered().zip(stamp),
            writes,
            pinned: None,
            shown: operation,
        }
    }

    /// The places of operations that write, some of them known from what others saw.
    pub(crate) fn of_writes<C, A>(
        operations: &'a [Paired<C, A>],
        pins: &Pins,
    ) -> impl Iterator<Item = Self>
    where
        Paired<C, A>: fmt::Display,
    {
        operations.iter().map(|it| Self::of(it, true).pinned_at(pins.get(&it.id).copied()))
    }

    /// With the revision that others saw.
    pub(crate) const fn pinned_at(self, pinned: Option<Revision>) -> Self {
        Self { pinned, ..self }
    }

    /// The revision that it made, as far as known.
    pub(crate) fn effect(&self) -> Option<Revision> {
        match self.answered {
            Some((_, stamp)) => self.writes.then_some(stamp.revision),
            None => self.pinned,
        }
    }
}

/// All rules over a workload's own operations together with others.
pub(crate) fn check_with<'a>(
    own: impl Iterator<Item = Place<'a>>,
    others: Vec<Place<'a>>,
) -> Vec<Finding> {
    let places: Vec<Place<'_>> = own.chain(others).collect();
    check(&places)
}

/// All rules.
pub(crate) fn check(places: &[Place<'_>]) -> Vec<Finding> {
    let answered: Vec<Answered<'_>> = places.iter().filter_map(Answered::of).collect();
    let mut findings = Vec::new();
    findings.extend(one_cluster(&answered).into_iter().take(FINDINGS_MAX));
    findings.extend(unique_writes(places).into_iter().take(FINDINGS_MAX));
    findings.extend(indexes_agree(&answered).into_iter().take(FINDINGS_MAX));
    findings.extend(real_time(places).into_iter().take(FINDINGS_MAX));
    findings
}

/// An answered operation.
struct Answered<'a> {
    place: &'a Place<'a>,
    stamp: Stamp,
}

impl<'a> Answered<'a> {
    fn of(place: &'a Place<'a>) -> Option<Self> {
        place.answered.map(|(_, stamp)| Self { place, stamp })
    }
}

fn one_cluster(answered: &[Answered<'_>]) -> Vec<Finding> {
    let Some(first) = answered.first() else { return Vec::new() };
    let others = answered.iter().filter(|other| other.stamp.cluster != first.stamp.cluster);
    others
        .map(|other| {
            let (one, two) = (first.stamp.cluster, other.stamp.cluster);
            broken(format!("two clusters answered: {one} and {two}"), [first.place, other.place])
        })
        .collect()
}

fn unique_writes(places: &[Place<'_>]) -> Vec<Finding> {
    let mut by_revision: HashMap<Revision, &Place<'_>> = HashMap::new();
    let mut findings = Vec::new();
    for write in places {
        let Some(revision) = write.effect() else { continue };
        if let Some(other) = by_revision.insert(revision, write) {
            findings.push(broken(format!("two writes have revision {revision}"), [other, write]));
        }
    }
    findings
}

/// In the order of log indexes, revisions never decrease, and a write's is above all before it.
fn indexes_agree(answered: &[Answered<'_>]) -> Vec<Finding> {
    let mut by_index: BTreeMap<LogIndex, Vec<&Answered<'_>>> = BTreeMap::new();
    for one in answered {
        by_index.entry(one.stamp.log_index).or_default().push(one);
    }
    let mut highest: Option<&Answered<'_>> = None;
    let mut findings = Vec::new();
    for at_index in by_index.values() {
        for one in at_index {
            let Some(before) = highest else { continue };
            let (low, high) = (one.stamp.revision, before.stamp.revision);
            if low < high || (one.place.writes && low == high) {
                findings.push(broken(
                    format!(
                        "revision {low} at log index {} comes after revision {high} at log index {}",
                        one.stamp.log_index, before.stamp.log_index
                    ),
                    [before.place, one.place],
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
fn real_time(places: &[Place<'_>]) -> Vec<Finding> {
    let by_id: HashMap<LineIndex, &Place<'_>> =
        places.iter().map(|place| (place.id, place)).collect();
    let mut findings = Vec::new();
    let mut report = |earlier: LineIndex, later: &Place<'_>, what: String| {
        let Some(earlier) = by_id.get(&earlier) else { return };
        findings.push(broken(what, [earlier, later]));
    };
    for (place, floor) in floors(places) {
        let (revision, earlier) = floor.revision;
        if let Some((_, stamp)) = place.answered {
            let own = stamp.revision;
            if own < revision || (place.writes && own == revision && revision > Revision(0)) {
                let what =
                    format!("answered at revision {own}, after {revision} had been answered");
                report(earlier, place, what);
            }
            let (index, earlier) = floor.log_index;
            if stamp.log_index < index {
                let own = stamp.log_index;
                let what = format!("answered at log index {own}, after {index} had been answered");
                report(earlier, place, what);
            }
        } else if let Some(own) = place.pinned
            && own <= revision
        {
            let what = format!("took effect at revision {own}, before it began");
            report(earlier, place, what);
        }
    }
    findings
}

/// For each operation the latest place that had been answered when it began.
fn floors<'a>(places: &'a [Place<'a>]) -> Vec<(&'a Place<'a>, Floor)> {
    let begins = places.iter().map(|place| (place.invoked, 1, place));
    let answers = places.iter().filter_map(|place| Some((place.answered?.0, 0, place)));
    let mut points: Vec<(Nanos, u8, &Place<'_>)> = begins.chain(answers).collect();
    // At equal times beginnings come first: touching operations count as concurrent.
    points.sort_by_key(|(time, kind, place)| (*time, std::cmp::Reverse(*kind), place.id));
    let (mut floor, mut found) = (Floor::default(), Vec::new());
    for (_, kind, place) in points {
        if kind == 1 {
            found.push((place, floor));
        } else if let Some((_, stamp)) = place.answered {
            floor.revision = floor.revision.max((stamp.revision, place.id));
            floor.log_index = floor.log_index.max((stamp.log_index, place.id));
        }
    }
    found
}

fn broken(message: String, places: [&Place<'_>; 2]) -> Finding {
    let told = format!("{message}\n    {}\n    {}", places[0].shown, places[1].shown);
    Finding::invalid(Check::Revisions, told).shown_by(places.map(|place| place.id))
}

#[cfg(test)]
mod tests {
    use quorate_core::ClusterId;

    use super::*;
    use crate::{
        check::{
            sample::{History, absent, ok_read, seen, stamp, written},
            values,
        },
        history::{Call, Step, Value, What, pair},
    };

    fn write(value: u64) -> Call {
        Call::Write { value: Value(value) }
    }

    fn messages(history: &History) -> Vec<String> {
        let operations = pair::operations(&history.lines).unwrap();
        let (_, pins) = values::check_all(&operations);
        let places = values::places(&operations, &pins);
        check(&places).into_iter().map(|finding| finding.message).collect()
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
        assert!(messages(&history)[0].contains("two writes have revision 1"));
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
