//! The rules of sets, by the revision oracle: a read shows exactly what had been added by then.
//!
//! Owns them, beside those of [`super::trace`]:
//! - every add acknowledged at or before the revision of a read is in it, as is every add of
//!   unknown outcome that another read dates so.
//!
//! Must not know the order of other operations; that is the business of [`super::order`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorate_core::Revision;

use super::{
    Check, Finding, Found, Verdict, Work, healed_at, order,
    order::Place,
    seconds,
    streams::story::Fate,
    trace::{self, Pins, Sighting, Words},
};
use crate::history::{
    KeyId, Line, Value, What,
    pair::{self, End, Malformed, Paired},
    set::{SetAnswer, SetCall},
};

type Operation = Paired<SetCall, SetAnswer>;

const WORDS: Words = Words { write: "add", written: "added", seen: "read" };

/// All rules, and the order of these operations with others.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let operations = pair::events(lines, |what| match what {
        What::Set(event) => Some(event),
        _ => None,
    })?;
    let mut sets: BTreeMap<KeyId, Set<'_>> = BTreeMap::new();
    for operation in &operations {
        let (SetCall::Add { set, .. } | SetCall::Read { set }) = operation.call;
        sets.entry(set).or_default().note(operation);
    }
    let (mut findings, mut pins) = (Vec::new(), Pins::new());
    for (key, set) in &mut sets {
        set.trace();
        set.compare();
        let found = set.findings.drain(..).take(order::FINDINGS_MAX);
        findings.extend(found.map(|it| at_set(*key, it)));
        pins.extend(set.pins.drain());
    }
    findings.extend(last_reads(lines, &sets));
    let places = operations.iter().map(|operation| {
        let writes = matches!(operation.call, SetCall::Add { .. });
        Place::of(operation, writes).pinned_at(pins.get(&operation.id).copied())
    });
    findings.extend(order::check_with(places, others));
    let answered = |adds: bool| {
        let mut answered = operations.iter().filter(|it| it.answered().is_some());
        let is = |it: &&Operation| matches!(it.call, SetCall::Add { .. }) == adds;
        answered.by_ref().filter(is).count() as u64
    };
    let seconds = seconds(lines);
    let work = vec![
        Work { name: "adds", done: answered(true), needed: 2 * seconds },
        Work { name: "reads of sets", done: answered(false), needed: seconds / 2 },
    ];
    Ok(Found { findings, work })
}

fn at_set(key: KeyId, finding: Finding) -> Finding {
    Finding { message: format!("set {}: {}", key.0, finding.message), ..finding }
}

#[derive(Default)]
struct Set<'a> {
    adds: HashMap<Value, &'a Operation>,
    reads: Vec<Read<'a>>,
    /// The adds whose revision is known.
    effects: BTreeMap<Revision, &'a Operation>,
    /// The revisions of adds of unknown outcome, as reads showed them.
    pins: Pins,
    findings: Vec<Finding>,
}

struct Read<'a> {
    by: &'a Operation,
    at: Revision,
    elements: &'a [(Value, Revision)],
}

impl<'a> Set<'a> {
    fn note(&mut self, operation: &'a Operation) {
        match (&operation.call, operation.answer()) {
            (SetCall::Add { element, .. }, answer) => {
                self.adds.insert(*element, operation);
                if let Some((_, stamp)) = answer {
                    self.effects.insert(stamp.revision, operation);
                }
            }
            (SetCall::Read { .. }, Some((SetAnswer::Elements { elements }, stamp))) => {
                self.reads.push(Read { by: operation, at: stamp.revision, elements });
            }
            (SetCall::Read { .. }, _) => {}
        }
    }

    /// Finds out who added what was read, and when.
    fn trace(&mut self) {
        for at in 0..self.reads.len() {
            let Read { by, at, elements } = self.reads[at];
            for (element, dated) in elements {
                self.trace_one(by, at, *element, *dated);
            }
        }
    }

    fn trace_one(&mut self, by: &Operation, at: Revision, element: Value, dated: Revision) {
        let Some(add) = self.adds.get(&element).copied() else {
            return self.report(WORDS.unwritten(&element), &[by]);
        };
        let (answered, dated) = (by.answered(), Some(dated));
        let sighting = Sighting { value: &element, answered, at, dated };
        for what in WORDS.wrong(&sighting, add.invoked, Fate::of(add)) {
            self.report(what, &[by, add]);
        }
        if let (End::Unknown, Some(dated)) = (&add.end, dated) {
            match WORDS.pin(&mut self.pins, add.id, dated) {
                Some(what) => self.report(what, &[by, add]),
                None => {
                    self.effects.insert(dated, add);
                }
            }
        }
    }

    /// Compares each read with what had been added by then.
    fn compare(&mut self) {
        for at in 0..self.reads.len() {
            let Read { by, at, elements } = self.reads[at];
            let read: BTreeSet<Value> = elements.iter().map(|(element, _)| *element).collect();
            if read.len() != elements.len() {
                self.report("one element was read twice".to_owned(), &[by]);
            }
            let missing = self.effects.range(..=at).find_map(|(revision, add)| match add.call {
                SetCall::Add { element, .. } if !read.contains(&element) => {
                    Some((*revision, element, *add))
                }
                _ => None,
            });
            if let Some((revision, element, add)) = missing {
                let what =
                    format!("{element}, added at revision {revision}, is missing at revision {at}");
                self.report(what, &[add, by]);
            }
        }
    }

    fn report(&mut self, message: String, operations: &[&Operation]) {
        self.findings.push(Finding::about(Check::Set, message, operations));
    }
}

fn last_reads(lines: &[Line], sets: &BTreeMap<KeyId, Set<'_>>) -> Vec<Finding> {
    let Some(healed) = healed_at(lines) else { return Vec::new() };
    let is_read = |set: &Set<'_>| set.reads.iter().any(|read| read.by.invoked >= healed);
    let read = sets.iter().filter(|(_, set)| is_read(set)).map(|(key, _)| *key).collect();
    trace::unheard(&sets.keys().copied().collect(), &read, |key| {
        (Check::Set, Verdict::Unknown, format!("set {} was not read after healing", key.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{History, failed, ok, unknown};

    const SET: KeyId = KeyId(1);

    fn add(element: u64) -> SetCall {
        SetCall::Add { set: SET, element: Value(element) }
    }

    fn read(elements: &[(u64, u64)]) -> SetAnswer {
        let elements = elements.iter().map(|(e, r)| (Value(*e), Revision(*r))).collect();
        SetAnswer::Elements { elements }
    }

    fn added(history: &mut History, element: u64, revision: u64) {
        history.operate(element, What::Set, add(element), ok(SetAnswer::Added, revision));
    }

    fn reads(history: &mut History, elements: &[(u64, u64)], revision: u64) {
        let call = SetCall::Read { set: SET };
        history.operate(99, What::Set, call, ok(read(elements), revision));
    }

    #[test]
    fn a_good_set_has_no_findings() {
        let mut history = History::new();
        reads(&mut history, &[], 0);
        added(&mut history, 1, 1);
        history.operate(2, What::Set, add(2), unknown());
        history.operate(3, What::Set, add(3), failed());
        history.operate(4, What::Set, add(4), unknown());
        added(&mut history, 5, 3);
        history.add(What::Healed);
        reads(&mut history, &[(1, 1), (2, 2), (5, 3)], 4);
        assert_eq!(history.messages(check), Vec::<String>::new());
    }

    #[test]
    fn a_lost_add_is_found() {
        let mut history = History::new();
        added(&mut history, 1, 1);
        added(&mut history, 2, 2);
        reads(&mut history, &[(2, 2)], 2);
        history.expect(check, Verdict::Invalid, "1, added at revision 1, is missing at revision 2");
    }

    #[test]
    fn an_add_of_unknown_outcome_that_comes_and_goes_is_found() {
        let mut history = History::new();
        history.operate(1, What::Set, add(1), unknown());
        reads(&mut history, &[(1, 1)], 1);
        reads(&mut history, &[], 2);
        history.expect(check, Verdict::Invalid, "1, added at revision 1, is missing at revision 2");
    }

    #[test]
    fn what_was_refused_or_never_added_is_found() {
        let mut history = History::new();
        history.operate(1, What::Set, add(1), failed());
        reads(&mut history, &[(1, 1), (7, 1)], 1);
        history.expect(check, Verdict::Invalid, "its add was refused");
        history.expect(check, Verdict::Invalid, "7 was read but never added");
    }

    #[test]
    fn wrong_dates_are_found() {
        let mut history = History::new();
        added(&mut history, 1, 1);
        reads(&mut history, &[(1, 2)], 2);
        history.expect(check, Verdict::Invalid, "added at revision 1 but read as of 2");
        let mut history = History::new();
        history.operate(1, What::Set, add(1), unknown());
        reads(&mut history, &[(1, 1)], 2);
        reads(&mut history, &[(1, 2)], 2);
        history.expect(check, Verdict::Invalid, "read at revisions 1 and 2");
        let mut history = History::new();
        history.operate(1, What::Set, add(1), unknown());
        reads(&mut history, &[(1, 5)], 4);
        history.expect(check, Verdict::Invalid, "what was added at revision 5 was read at 4");
    }

    #[test]
    fn an_element_from_the_future_or_twice_is_found() {
        let mut history = History::new();
        reads(&mut history, &[(1, 1), (1, 1)], 1);
        added(&mut history, 1, 1);
        history.expect(check, Verdict::Invalid, "before it was added");
        history.expect(check, Verdict::Invalid, "read twice");
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut history = History::new();
        added(&mut history, 1, 1);
        added(&mut history, 2, 2);
        reads(&mut history, &[(1, 1)], 1);
        history.expect(check, Verdict::Invalid, "answered at revision 1, after 2");
    }

    #[test]
    fn a_set_that_is_not_read_at_the_end_is_undecided() {
        let mut history = History::new();
        added(&mut history, 1, 1);
        history.add(What::Healed);
        history.expect(check, Verdict::Unknown, "was not read after healing");
    }
}
