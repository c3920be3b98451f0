//! The revision oracle, one register: replays its writes in the order of revisions and compares
//! every answer with what the register held then.
//!
//! Owns the rules of values, beside those of [`super::trace`]:
//! - what is seen is the last write at or before the revision of the answer;
//! - its version counts the writes up to it: none lost, none applied twice.
//!
//! Must not know other registers.

use std::collections::{BTreeMap, HashMap};

use quorate_core::Revision;

use super::{
    Check, Finding,
    order::{FINDINGS_MAX, Place},
    streams::story::Fate,
    trace::{Pins, Sighting, Words},
};
use crate::history::{
    Answer, Call, KeyId, Seen, Value,
    pair::{self, End, Operation},
};

const WORDS: Words = Words { write: "write", written: "written", seen: "seen" };

/// The findings on all registers, and the revisions of their writes of unknown outcome that were
/// seen.
pub(crate) fn check_all(operations: &[Operation]) -> (Vec<Finding>, Pins) {
    let (mut findings, mut pins) = (Vec::new(), Pins::new());
    for (key, of_key) in pair::by_key(operations) {
        let (found, pinned) = check(key, &of_key);
        findings.extend(found.into_iter().take(FINDINGS_MAX));
        pins.extend(pinned);
    }
    (findings, pins)
}

/// Where operations on registers are in the order of changes.
pub(crate) fn places<'a>(operations: &'a [Operation], pins: &Pins) -> Vec<Place<'a>> {
    let place = |operation: &'a Operation| {
        let answer = operation.answer();
        let writes = answer.is_some_and(|(a, _)| matches!(a, Answer::Written | Answer::Swapped));
        Place {
            id: operation.id,
            invoked: operation.invoked,
            answered: operation.answered().zip(answer.map(|(_, stamp)| *stamp)),
            writes,
            pinned: pins.get(&operation.id).copied(),
            shown: operation,
        }
    };
    operations.iter().map(place).collect()
}

/// The findings on one register, and the revisions of its writes of unknown outcome that were seen.
pub(crate) fn check(key: KeyId, operations: &[&Operation]) -> (Vec<Finding>, Pins) {
    let mut replay = Replay::new(key, operations);
    for observation in observations(operations) {
        replay.trace(&observation);
    }
    for operation in operations {
        replay.compare(operation);
    }
    for observation in observations(operations) {
        replay.count(&observation, operations);
    }
    (replay.findings, replay.pins)
}

/// An operation that saw the register with a value.
struct Observation<'a> {
    by: &'a Operation,
    at: Revision,
    seen: Seen,
}

fn observations<'a>(operations: &[&'a Operation]) -> Vec<Observation<'a>> {
    operations
        .iter()
        .filter_map(|by| {
            let (answer, stamp) = by.answer()?;
            let seen = answer.seen()??;
            Some(Observation { by, at: stamp.revision, seen })
        })
        .collect()
}

struct Replay<'a> {
    key: KeyId,
    /// Who was to write a value.
    writers: HashMap<Value, &'a Operation>,
    /// The writes whose revision is known.
    effects: BTreeMap<Revision, &'a Operation>,
    /// The revisions of writes of unknown outcome, as others saw them.
    pins: Pins,
    findings: Vec<Finding>,
}

impl<'a> Replay<'a> {
    fn new(key: KeyId, operations: &[&'a Operation]) -> Self {
        let mut replay = Self {
            key,
            writers: HashMap::new(),
            effects: BTreeMap::new(),
            pins: Pins::new(),
            findings: Vec::new(),
        };
        for operation in operations {
            if let Some(value) = operation.call.written() {
                replay.writers.insert(value, operation);
            }
            if let Some((Answer::Written | Answer::Swapped, stamp)) = operation.answer() {
                replay.effects.insert(stamp.revision, operation);
            }
        }
        replay
    }

    /// Finds out who wrote what was seen, and when.
    fn trace(&mut self, observation: &Observation<'a>) {
        let Observation { by, at, seen } = observation;
        let Some(writer) = self.writers.get(&seen.value).copied() else {
            return self.report(WORDS.unwritten(&seen.value), &[by]);
        };
        let fate = match &writer.end {
            End::Ok { at, answer: Answer::Written | Answer::Swapped, stamp } => {
                Fate::Acknowledged { at: *at, revision: stamp.revision }
            }
            End::Ok { .. } => {
                let what = format!("{} was seen, but its swap did not swap", seen.value);
                return self.report(what, &[by, writer]);
            }
            End::Fail => Fate::Refused,
            End::Unknown => Fate::Unknown,
        };
        let (answered, dated) = (by.answered(), Some(seen.modified));
        let sighting = Sighting { value: &seen.value, answered, at: *at, dated };
        for what in WORDS.wrong(&sighting, writer.invoked, fate) {
            self.report(what, &[by, writer]);
        }
        if fate == Fate::Unknown {
            self.pin(writer, by, seen.modified);
        }
    }

    fn pin(&mut self, writer: &'a Operation, by: &Operation, modified: Revision) {
        let known = self.pins.contains_key(&writer.id);
        if let Some(what) = WORDS.pin(&mut self.pins, writer.id, modified) {
            self.report(what, &[by, writer]);
        } else if !known && let Some(other) = self.effects.insert(modified, writer) {
            self.report(format!("two writes at revision {modified}"), &[other, writer]);
        }
    }

    /// Compares an answer with what the register held at its revision.
    fn compare(&mut self, operation: &'a Operation) {
        let Some((answer, stamp)) = operation.answer() else { return };
        let (end, told) = match (answer, operation.call) {
            (Answer::Read { seen } | Answer::Mismatch { seen }, _) => {
                (stamp.revision.next(), seen.map(|seen| seen.value))
            }
            (Answer::Swapped, Call::Cas { expected, .. }) => (stamp.revision, expected),
            _ => return,
        };
        if let (Answer::Mismatch { seen }, Call::Cas { expected, .. }) = (answer, operation.call)
            && seen.map(|seen| seen.value) == expected
        {
            self.report("it held what was expected, but did not swap".to_owned(), &[operation]);
        }
        let last = self.effects.range(..end).next_back().map(|(at, writer)| (*at, *writer));
        let held = last.and_then(|(_, writer)| writer.call.written());
        if held == told || self.may_be_undated(told) {
            return;
        }
        let what = format!("told {}, but it held {}", name(told), name(held));
        match last {
            Some((_, writer)) => self.report(what, &[writer, operation]),
            None => self.report(what, &[operation]),
        }
    }

    /// A swap may have expected a value whose write has no known revision: the search decides.
    fn may_be_undated(&self, told: Option<Value>) -> bool {
        told.and_then(|value| self.writers.get(&value))
            .is_some_and(|writer| writer.end == End::Unknown && !self.pins.contains_key(&writer.id))
    }

    /// Compares a version with the number of writes up to it.
    fn count(&mut self, observation: &Observation<'a>, operations: &[&'a Operation]) {
        let Observation { by, seen, .. } = observation;
        let known = self.effects.range(..=seen.modified).count() as u64;
        let perhaps = operations
            .iter()
            .filter(|operation| operation.end == End::Unknown)
            .filter(|operation| operation.call.written().is_some())
            .filter(|operation| !self.pins.contains_key(&operation.id))
            .filter(|operation| by.answered().is_some_and(|answered| operation.invoked < answered))
            .count() as u64;
        if seen.version < known || seen.version > known + perhaps {
            let what = format!(
                "version {} at revision {}, but {known} writes are known up to there and {perhaps} possible",
                seen.version, seen.modified
            );
            self.report(what, &[by]);
        }
    }

    fn report(&mut self, message: String, operations: &[&Operation]) {
        let mut told = format!("{}: {message}", self.key);
        for operation in operations {
            told.push_str("\n    ");
            told.push_str(&operation.to_string());
        }
        let lines = operations.iter().map(|operation| operation.id);
        self.findings.push(Finding::invalid(Check::Revisions, told).shown_by(lines));
    }
}

fn name(value: Option<Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{
        Verdict,
        sample::{self, History, absent, mismatch, ok_read, seen, swapped, written},
    };

    const KEY: u32 = 1;

    fn write(value: u64) -> Call {
        Call::Write { value: Value(value) }
    }

    fn cas(expected: u64, value: u64) -> Call {
        Call::Cas { expected: Some(Value(expected)), value: Value(value) }
    }

    fn findings(history: &History) -> Vec<Finding> {
        let operations = pair::operations(&history.lines).unwrap();
        let keys = pair::by_key(&operations);
        check(KeyId(KEY), &keys[&KeyId(KEY)]).0
    }

    #[track_caller]
    fn expect(history: &History, part: &str) {
        sample::expect(&findings(history), Verdict::Invalid, part);
    }

    #[test]
    fn a_good_register_has_no_findings() {
        let mut history = History::new();
        history.run(1, KEY, Call::Read, ok_read(absent()), 0);
        history.run(1, KEY, write(1), written(), 1);
        history.unknown(2, KEY, write(2));
        history.run(1, KEY, cas(2, 3), swapped(), 4);
        history.run(1, KEY, cas(2, 4), mismatch(seen(3, 4, 3)), 5);
        history.fail(3, KEY, write(9));
        history.run(1, KEY, Call::Read, ok_read(seen(3, 4, 3)), 8);
        assert_eq!(findings(&history), []);
    }

    #[test]
    fn a_stale_value_is_found() {
        let mut history = History::new();
        history.run(1, KEY, write(1), written(), 1);
        history.run(1, KEY, write(2), written(), 2);
        history.run(1, KEY, Call::Read, ok_read(seen(1, 1, 1)), 3);
        expect(&history, "told 1, but it held 2");
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut history = History::new();
        history.run(1, KEY, write(1), written(), 1);
        history.run(1, KEY, Call::Read, ok_read(absent()), 3);
        expect(&history, "told absent, but it held 1");
    }

    #[test]
    fn a_refused_write_that_acts_is_found() {
        let mut history = History::new();
        history.fail(1, KEY, write(1));
        history.run(2, KEY, Call::Read, ok_read(seen(1, 1, 1)), 1);
        expect(&history, "its write was refused");
    }

    #[test]
    fn a_value_out_of_nowhere_is_found() {
        let mut history = History::new();
        history.run(2, KEY, Call::Read, ok_read(seen(7, 1, 1)), 1);
        expect(&history, "never written");
    }

    #[test]
    fn a_swap_that_did_not_swap_but_acts_is_found() {
        let mut history = History::new();
        history.run(1, KEY, write(1), written(), 1);
        history.run(1, KEY, cas(5, 6), mismatch(seen(1, 1, 1)), 1);
        history.run(1, KEY, Call::Read, ok_read(seen(6, 2, 2)), 2);
        expect(&history, "did not swap");
    }

    #[test]
    fn a_swap_from_the_wrong_value_is_found() {
        let mut history = History::new();
        history.run(1, KEY, write(1), written(), 1);
        history.run(1, KEY, write(2), written(), 2);
        history.run(1, KEY, cas(1, 3), swapped(), 3);
        expect(&history, "told 1, but it held 2");
    }

    #[test]
    fn a_swap_refused_for_nothing_is_found() {
        let mut history = History::new();
        history.run(1, KEY, write(1), written(), 1);
        history.run(1, KEY, cas(1, 3), mismatch(seen(1, 1, 1)), 1);
        expect(&history, "did not swap");
    }

    #[test]
    fn a_write_applied_twice_is_found() {
        let mut history = History::new();
        history.run(1, KEY, write(1), written(), 1);
        history.run(1, KEY, write(2), written(), 3);
        history.run(1, KEY, Call::Read, ok_read(seen(2, 3, 3)), 3);
        expect(&history, "version 3 at revision 3, but 2 writes are known");
    }

    #[test]
    fn a_write_dated_differently_by_two_readers_is_found() {
        let mut history = History::new();
        history.unknown(1, KEY, write(1));
        history.run(2, KEY, Call::Read, ok_read(seen(1, 1, 1)), 2);
        history.run(2, KEY, Call::Read, ok_read(seen(1, 2, 1)), 2);
        expect(&history, "one write was seen at revisions 1 and 2");
    }

    #[test]
    fn a_value_from_the_future_is_found() {
        let mut history = History::new();
        history.run(2, KEY, Call::Read, ok_read(seen(1, 5, 1)), 5);
        history.run(1, KEY, write(1), written(), 5);
        expect(&history, "before it was written");
        let mut history = History::new();
        history.run(1, KEY, write(1), written(), 5);
        history.run(2, KEY, Call::Read, ok_read(seen(1, 5, 1)), 4);
        expect(&history, "what was written at revision 5 was seen at 4");
    }
}
