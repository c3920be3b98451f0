//! The rules of transactions over lists, by the revision oracle: committed transactions are put in
//! the order of their revisions, and every read is compared with what that order gives.
//!
//! Owns them, beside those of [`super::trace`]:
//! - what is read was appended to that list, once;
//! - all reads of a list agree on its order, and the order is that of revisions;
//! - a read at a revision shows every append up to it and none after it: so a transaction is seen
//!   whole or not at all, in all its lists;
//! - a read is dated with the revision of the append that it saw last;
//! - within a transaction, a read shows what was there before with its own earlier appends.
//!
//! The revision of a transaction of unknown outcome is narrowed down by what reads saw of it; what
//! does not fit into any revision is a violation. Because the order is known and total, no search
//! for cycles is needed. Must not know the clock; that is the business of [`super::order`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorate_core::Revision;

use super::{
    Check, Finding, Found, Verdict, Work, healed_at, order,
    order::Place,
    seconds,
    streams::story::Fate,
    trace::{self, Sighting, Words},
};
use crate::history::{
    KeyId, Line, Value, What,
    append::{AppendAnswer, AppendCall, AppendStep, List},
    pair::{self, End, Malformed, Paired},
};

type Txn = Paired<AppendCall, AppendAnswer>;

const WORDS: Words = Words { write: "transaction", written: "appended", seen: "read" };

/// All rules, and the order of these operations with others.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let txns = pair::events(lines, |what| match what {
        What::Append(event) => Some(event),
        _ => None,
    })?;
    let mut lists = Lists::of(&txns);
    lists.trace();
    lists.agree();
    lists.compare();
    let bounds = lists.bounds();
    lists.fit(&bounds);
    let mut findings = std::mem::take(&mut lists.findings);
    findings.truncate(4 * order::FINDINGS_MAX);
    findings.extend(lists.last_reads(lines));
    let places = txns.iter().enumerate().map(|(at, txn)| {
        let writes = txn.call.appends().next().is_some();
        let exact = bounds.get(&at).and_then(Bounds::exact);
        Place::of(txn, writes).pinned_at(exact)
    });
    findings.extend(order::check_with(places, others));
    let committed = || txns.iter().filter(|txn| txn.answered().is_some());
    let appends = committed().flat_map(|txn| txn.call.appends()).count() as u64;
    let several = committed().filter(|txn| txn.call.steps().len() > 1).count() as u64;
    let seconds = seconds(lines);
    let work = vec![
        Work { name: "appends", done: appends, needed: seconds },
        Work { name: "transactions of several steps", done: several, needed: seconds / 2 },
        Work { name: "reads of lists", done: lists.reads.len() as u64, needed: seconds },
    ];
    Ok(Found { findings, work })
}

/// One reading step of a committed transaction.
struct Read<'a> {
    by: usize,
    at: Revision,
    key: KeyId,
    list: &'a List,
    /// What the transaction itself had appended to the list before this step.
    own: Vec<Value>,
}

impl Read<'_> {
    /// The values that others had appended.
    fn others(&self) -> &[Value] {
        let own = self.own.len().min(self.list.values.len());
        &self.list.values[..self.list.values.len() - own]
    }
}

struct Lists<'a> {
    txns: &'a [Txn],
    /// Who was to append a value, and to which list.
    writers: HashMap<Value, (usize, KeyId)>,
    reads: Vec<Read<'a>>,
    /// The longest that was read of each list.
    longest: BTreeMap<KeyId, usize>,
    findings: Vec<Finding>,
}

/// Between which revisions a transaction of unknown outcome took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    after: Revision,
    until: Revision,
}

impl Bounds {
    const OPEN: Self = Self { after: Revision(0), until: Revision(u64::MAX) };

    /// The only revision that is left.
    fn exact(&self) -> Option<Revision> {
        (self.after.next() == self.until).then_some(self.until)
    }
}

impl<'a> Lists<'a> {
    fn of(txns: &'a [Txn]) -> Self {
        let (mut writers, mut reads) = (HashMap::new(), Vec::<Read<'a>>::new());
        for (by, txn) in txns.iter().enumerate() {
            for (key, value) in txn.call.appends() {
                writers.insert(value, (by, key));
            }
            let Some((answer, stamp)) = txn.answer() else { continue };
            let (mut own, mut lists) = (Vec::new(), answer.reads().iter());
            for step in txn.call.steps() {
                match step {
                    AppendStep::Append { key, value } => own.push((*key, *value)),
                    AppendStep::Read { key } => {
                        let Some(list) = lists.next() else { continue };
                        let own = own.iter().filter(|(at, _)| at == key).map(|(_, value)| *value);
                        let own = own.collect();
                        reads.push(Read { by, at: stamp.revision, key: *key, list, own });
                    }
                }
            }
        }
        let mut longest: BTreeMap<KeyId, usize> = BTreeMap::new();
        for (at, read) in reads.iter().enumerate() {
            let longest = longest.entry(read.key).or_insert(at);
            if read.list.values.len() > reads[*longest].list.values.len() {
                *longest = at;
            }
        }
        Self { txns, writers, reads, longest, findings: Vec::new() }
    }

    /// Who appended what was read.
    fn trace(&mut self) {
        for at in 0..self.reads.len() {
            let Read { by, key, list, .. } = &self.reads[at];
            let (by, key, list) = (*by, *key, *list);
            let distinct: BTreeSet<&Value> = list.values.iter().collect();
            if distinct.len() != list.values.len() {
                self.report(format!("list {}: one value was read twice", key.0), &[by]);
            }
            for value in &list.values {
                self.trace_one(at, *value);
            }
            if let Some(what) = WORDS.too_new(list.modified, self.reads[at].at) {
                self.report(what, &[by]);
            }
        }
    }

    fn trace_one(&mut self, read: usize, value: Value) {
        let Read { by, key, at, .. } = self.reads[read];
        let Some((writer, of)) = self.writers.get(&value).copied() else {
            return self.report(WORDS.unwritten(&value), &[by]);
        };
        if of != key {
            let what = format!("{value} was appended to list {} but read in {}", of.0, key.0);
            self.report(what, &[by, writer]);
        }
        let answered = self.txns[by].answered();
        let sighting = Sighting { value: &value, answered, at, dated: None };
        let txn = &self.txns[writer];
        for what in WORDS.wrong(&sighting, txn.invoked, Fate::of(txn)) {
            self.report(what, &[by, writer]);
        }
    }

    /// All reads of a list are beginnings of its longest, which is in the order of revisions.
    fn agree(&mut self) {
        let mut found = Vec::new();
        for read in &self.reads {
            let longest = &self.reads[self.longest[&read.key]];
            if !longest.list.values.starts_with(&read.list.values) {
                let key = read.key.0;
                found.push((format!("list {key}: two orders were read"), [read.by, longest.by]));
            }
        }
        for at in self.longest.values() {
            let Read { key, list, .. } = &self.reads[*at];
            let known = list.values.iter().filter_map(|value| {
                let (writer, _) = self.writers.get(value)?;
                Some((self.revision(*writer)?, *writer))
            });
            let known: Vec<(Revision, usize)> = known.collect();
            for pair in known.windows(2).filter(|pair| pair[0].0 > pair[1].0) {
                let what = format!(
                    "list {}: an append of revision {} comes before one of {}",
                    key.0, pair[0].0, pair[1].0
                );
                found.push((what, [pair[0].1, pair[1].1]));
            }
        }
        for (what, txns) in found {
            self.report(what, &txns);
        }
    }

    /// Compares every read with the appends whose revision is known.
    fn compare(&mut self) {
        let mut appends: BTreeMap<KeyId, Vec<(Revision, usize, Value)>> = BTreeMap::new();
        for (at, txn) in self.txns.iter().enumerate() {
            let Some(revision) = self.revision(at) else { continue };
            for (key, value) in txn.call.appends() {
                appends.entry(key).or_default().push((revision, at, value));
            }
        }
        let mut found = Vec::new();
        for read in &self.reads {
            let seen: BTreeSet<&Value> = read.others().iter().collect();
            if !read.list.values.ends_with(&read.own) {
                found.push(("its own appends are not at the end".to_owned(), vec![read.by]));
            }
            for (revision, writer, value) in appends.get(&read.key).into_iter().flatten() {
                let due = *revision <= read.at && *writer != read.by;
                let what = match (due, seen.contains(value)) {
                    (true, false) => "is missing",
                    (false, true) => "was seen",
                    _ => continue,
                };
                let what = format!(
                    "list {}: {value}, appended at revision {revision}, {what} at revision {}",
                    read.key.0, read.at
                );
                found.push((what, vec![*writer, read.by]));
            }
            found.extend(self.wrong_date(read));
        }
        for (what, txns) in found {
            self.report(what, &txns);
        }
    }

    /// A list is dated with the revision of its last append.
    fn wrong_date(&self, read: &Read<'_>) -> Option<(String, Vec<usize>)> {
        let Read { by, list, .. } = read;
        let expected = match list.values.last() {
            None => Revision(0),
            Some(value) => self.revision(self.writers.get(value)?.0)?,
        };
        let (key, told) = (read.key.0, list.modified);
        let what = || format!("list {key} is dated {told}, but changed last at {expected}");
        (told != expected).then(|| (what(), vec![*by]))
    }

    /// What reads say of the revisions of transactions of unknown outcome that took effect.
    fn bounds(&self) -> BTreeMap<usize, Bounds> {
        let mut bounds: BTreeMap<usize, Bounds> = BTreeMap::new();
        for read in &self.reads {
            // A reading writer has a revision of its own: what it sees was before.
            let writes = self.txns[read.by].call.appends().next().is_some();
            let until = if writes { Revision(read.at.0.saturating_sub(1)) } else { read.at };
            for (at, value) in read.others().iter().enumerate() {
                let Some(writer) = self.open(value) else { continue };
                let bound = bounds.entry(writer).or_insert(Bounds::OPEN);
                bound.until = bound.until.min(until);
                if at + 1 == read.list.values.len() {
                    bound.until = bound.until.min(read.list.modified);
                    let before = Revision(read.list.modified.0.saturating_sub(1));
                    bound.after = bound.after.max(before);
                }
                let neighbour = |at: usize| {
                    let writer = self.writers.get(read.others().get(at)?)?.0;
                    self.revision(writer)
                };
                if let Some(before) = at.checked_sub(1).and_then(neighbour) {
                    bound.after = bound.after.max(before);
                }
                if let Some(next) = neighbour(at + 1) {
                    bound.until = bound.until.min(Revision(next.0.saturating_sub(1)));
                }
            }
        }
        self.absences(&mut bounds);
        bounds
    }

    /// A read that does not show what another one shows was before it.
    fn absences(&self, bounds: &mut BTreeMap<usize, Bounds>) {
        let mut of_key: BTreeMap<KeyId, Vec<(Value, usize)>> = BTreeMap::new();
        for writer in bounds.keys() {
            for (key, value) in self.txns[*writer].call.appends() {
                of_key.entry(key).or_default().push((value, *writer));
            }
        }
        for read in &self.reads {
            for (value, writer) in of_key.get(&read.key).into_iter().flatten() {
                if !read.list.values.contains(value)
                    && let Some(bound) = bounds.get_mut(writer)
                {
                    bound.after = bound.after.max(read.at);
                }
            }
        }
    }

    fn fit(&mut self, bounds: &BTreeMap<usize, Bounds>) {
        for (writer, Bounds { after, until }) in bounds {
            if after >= until {
                let what = format!("seen by revision {until} and not yet at {after}");
                self.report(what, &[*writer]);
            }
        }
    }

    /// The transaction of unknown outcome that was to append a value.
    fn open(&self, value: &Value) -> Option<usize> {
        let (writer, _) = self.writers.get(value)?;
        (self.txns[*writer].end == End::Unknown).then_some(*writer)
    }

    fn revision(&self, txn: usize) -> Option<Revision> {
        self.txns[txn].answer().map(|(_, stamp)| stamp.revision)
    }

    fn last_reads(&self, lines: &[Line]) -> Vec<Finding> {
        let Some(healed) = healed_at(lines) else { return Vec::new() };
        let late = self.reads.iter().filter(|read| self.txns[read.by].invoked >= healed);
        let used = self.writers.values().map(|(_, key)| *key).collect();
        trace::unheard(&used, &late.map(|read| read.key).collect(), |key| {
            (Check::Append, Verdict::Unknown, format!("list {} was not read after healing", key.0))
        })
    }

    fn report(&mut self, message: String, txns: &[usize]) {
        let txns: Vec<&Txn> = txns.iter().map(|at| &self.txns[*at]).collect();
        self.findings.push(Finding::about(Check::Append, message, &txns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{History, failed, ok, unknown};

    fn append(key: u32, value: u64) -> AppendStep {
        AppendStep::Append { key: KeyId(key), value: Value(value) }
    }

    const fn read(key: u32) -> AppendStep {
        AppendStep::Read { key: KeyId(key) }
    }

    fn list(values: &[u64], modified: u64) -> List {
        let values = values.iter().map(|value| Value(*value)).collect();
        List { values, modified: Revision(modified) }
    }

    fn txn(history: &mut History, steps: &[AppendStep], reads: &[List], revision: u64) {
        let call = AppendCall::Txn { steps: steps.to_vec() };
        let answer = AppendAnswer::Committed { reads: reads.to_vec() };
        history.operate(1, What::Append, call, ok(answer, revision));
    }

    fn lost(history: &mut History, process: u64, steps: &[AppendStep]) {
        let call = AppendCall::Txn { steps: steps.to_vec() };
        history.operate(process, What::Append, call, unknown());
    }

    #[test]
    fn a_good_history_has_no_findings() {
        let mut history = History::new();
        txn(&mut history, &[read(1), append(1, 1)], &[list(&[], 0)], 1);
        txn(&mut history, &[append(1, 2), read(1), append(2, 3)], &[list(&[1, 2], 2)], 2);
        lost(&mut history, 8, &[append(1, 4), append(2, 5)]);
        lost(&mut history, 9, &[append(1, 6)]);
        txn(&mut history, &[append(2, 7)], &[], 5);
        history.add(What::Healed);
        let reads = [list(&[1, 2, 4], 4), list(&[3, 5, 7], 5)];
        txn(&mut history, &[read(1), read(2)], &reads, 5);
        assert_eq!(history.messages(check), Vec::<String>::new());
    }

    #[test]
    fn a_lost_append_is_found() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1)], &[], 1);
        txn(&mut history, &[append(1, 2)], &[], 2);
        txn(&mut history, &[read(1)], &[list(&[2], 2)], 2);
        history.expect(
            check,
            Verdict::Invalid,
            "1, appended at revision 1, is missing at revision 2",
        );
    }

    #[test]
    fn an_append_from_the_future_is_found() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1)], &[], 5);
        txn(&mut history, &[read(1)], &[list(&[1], 5)], 4);
        history.expect(
            check,
            Verdict::Invalid,
            "1, appended at revision 5, was seen at revision 4",
        );
        let mut history = History::new();
        txn(&mut history, &[read(1)], &[list(&[1], 1)], 1);
        txn(&mut history, &[append(1, 1)], &[], 1);
        history.expect(check, Verdict::Invalid, "before it was appended");
    }

    #[test]
    fn two_orders_of_a_list_are_found() {
        let mut history = History::new();
        lost(&mut history, 8, &[append(1, 1)]);
        lost(&mut history, 9, &[append(1, 2)]);
        txn(&mut history, &[read(1)], &[list(&[1, 2], 2)], 2);
        txn(&mut history, &[read(1)], &[list(&[2, 1], 2)], 2);
        history.expect(check, Verdict::Invalid, "two orders were read");
    }

    #[test]
    fn a_list_against_the_order_of_revisions_is_found() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1)], &[], 1);
        txn(&mut history, &[append(1, 2)], &[], 2);
        txn(&mut history, &[read(1)], &[list(&[2, 1], 1)], 2);
        history.expect(check, Verdict::Invalid, "an append of revision 2 comes before one of 1");
    }

    #[test]
    fn a_transaction_that_is_seen_in_part_is_found() {
        let mut history = History::new();
        lost(&mut history, 8, &[append(1, 1), append(2, 2)]);
        txn(&mut history, &[read(1), read(2)], &[list(&[1], 3), list(&[], 0)], 3);
        history.expect(check, Verdict::Invalid, "seen by revision 3 and not yet at 3");
        // The same when it is known to have committed.
        let mut history = History::new();
        txn(&mut history, &[append(1, 1), append(2, 2)], &[], 3);
        txn(&mut history, &[read(1), read(2)], &[list(&[1], 3), list(&[], 0)], 3);
        history.expect(
            check,
            Verdict::Invalid,
            "2, appended at revision 3, is missing at revision 3",
        );
    }

    #[test]
    fn what_was_refused_or_never_appended_is_found() {
        let mut history = History::new();
        let call = AppendCall::Txn { steps: vec![append(1, 1)] };
        history.operate(3, What::Append, call, failed());
        txn(&mut history, &[append(2, 2)], &[], 1);
        txn(&mut history, &[read(1)], &[list(&[1, 2, 7], 1)], 1);
        history.expect(check, Verdict::Invalid, "its transaction was refused");
        history.expect(check, Verdict::Invalid, "2 was appended to list 2 but read in 1");
        history.expect(check, Verdict::Invalid, "7 was read but never appended");
    }

    #[test]
    fn a_value_that_is_there_twice_is_found() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1)], &[], 1);
        txn(&mut history, &[read(1)], &[list(&[1, 1], 1)], 1);
        history.expect(check, Verdict::Invalid, "one value was read twice");
    }

    #[test]
    fn wrong_dates_are_found() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1)], &[], 1);
        txn(&mut history, &[append(2, 2)], &[], 2);
        txn(&mut history, &[read(1)], &[list(&[1], 2)], 2);
        history.expect(check, Verdict::Invalid, "list 1 is dated 2, but changed last at 1");
    }

    #[test]
    fn own_appends_that_are_not_seen_are_found() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1), read(1)], &[list(&[], 0)], 1);
        history.expect(check, Verdict::Invalid, "its own appends are not at the end");
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1)], &[], 1);
        txn(&mut history, &[append(1, 2)], &[], 2);
        txn(&mut history, &[read(1)], &[list(&[1], 1)], 1);
        history.expect(check, Verdict::Invalid, "answered at revision 1, after 2");
    }

    #[test]
    fn a_list_that_is_not_read_at_the_end_is_undecided() {
        let mut history = History::new();
        txn(&mut history, &[append(1, 1)], &[], 1);
        history.add(What::Healed);
        history.expect(check, Verdict::Unknown, "list 1 was not read after healing");
    }
}
