//! All changes of a workload, as its streams and its acknowledgements tell them together.
//!
//! Owns the rules that need no stream's position:
//! - any two tell the same of a revision;
//! - what is told was asked for, by somebody who was not refused and had begun, and happened once;
//! - what was acknowledged is told at its revision, as it was asked for.
//!
//! Must not know how a stream is judged.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use quorate_core::Revision;

use super::{Check, Counts, Finding, Stream, Telling, coverage};
use crate::history::{
    LineIndex, Nanos, Seen, Value,
    pair::{End, Paired},
    stream::{Change, Held, StreamStep, Told},
};

/// Something that was to change keys.
pub(crate) struct Attempt<'a> {
    /// The line on which it begins.
    pub(crate) id: LineIndex,
    /// When it began.
    pub(crate) invoked: Nanos,
    /// Keys that were to take values, all at one revision.
    pub(crate) puts: Vec<(&'a str, Value)>,
    /// Keys that were to be deleted, if they exist.
    pub(crate) deletes: Vec<&'a str>,
    /// What came of it.
    pub(crate) fate: Fate,
    /// The operation, for people.
    pub(crate) shown: &'a (dyn fmt::Display + 'a),
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was done.
    Acknowledged {
        /// When that was told.
        at: Nanos,
        /// At which revision.
        revision: Revision,
    },
    /// It never happened and never will.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Fate {
    /// Of an operation.
    pub(crate) fn of<C, A>(operation: &Paired<C, A>) -> Self {
        match &operation.end {
            End::Ok { at, stamp, .. } => Self::Acknowledged { at: *at, revision: stamp.revision },
            End::Fail => Self::Refused,
            End::Unknown => Self::Unknown,
        }
    }
}

/// A key at a revision that changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fact {
    /// What it then held; none: it was deleted.
    pub(crate) current: Option<Seen>,
    /// The line that told it first.
    pub(crate) line: LineIndex,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Story {
    keys: BTreeMap<String, BTreeMap<Revision, Fact>>,
    revisions: BTreeMap<Revision, Vec<String>>,
    /// Everything up to here is known.
    pub(crate) complete_until: Revision,
}

impl Story {
    /// The changes of a key.
    pub(crate) fn of_key(&self, key: &str) -> impl Iterator<Item = (Revision, Fact)> + '_ {
        let facts = self.keys.get(key).into_iter().flatten();
        facts.map(|(revision, fact)| (*revision, *fact))
    }

    /// The keys that were ever changed.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The keys that a revision changed.
    pub(crate) fn changed(&self, revision: Revision) -> &[String] {
        self.revisions.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// The first revision in (after, until] that changed a key with this prefix.
    pub(crate) fn first_between(
        &self,
        after: Revision,
        until: Revision,
        prefix: &str,
    ) -> Option<(Revision, &str)> {
        if after >= until {
            return None;
        }
        self.revisions.range(after.next()..=until).find_map(|(revision, keys)| {
            let key = keys.iter().find(|key| key.starts_with(prefix))?;
            Some((*revision, key.as_str()))
        })
    }

    /// What a key held before a revision.
    pub(crate) fn before(&self, key: &str, revision: Revision) -> Option<Seen> {
        self.keys.get(key)?.range(..revision).next_back()?.1.current
    }

    /// All records as of a revision whose keys have this prefix, in key order.
    pub(crate) fn state(&self, revision: Revision, prefix: &str) -> Vec<Held> {
        let keys = self.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        keys.filter_map(|(key, _)| {
            let seen = self.before(key, revision.next())?;
            Some(Held { key: key.clone(), seen })
        })
        .collect()
    }

    /// The first difference between records and the state as of a revision.
    pub(crate) fn difference(
        &self,
        revision: Revision,
        prefix: &str,
        records: &[&Held],
    ) -> Option<String> {
        let state = self.state(revision, prefix);
        let expected: BTreeMap<&str, Seen> = held(state.iter());
        let found: BTreeMap<&str, Seen> = held(records.iter().copied());
        if found.len() != records.len() {
            return Some("one record came twice".to_owned());
        }
        let keys = expected.keys().chain(found.keys());
        let differs = keys.copied().find(|key| expected.get(key) != found.get(key))?;
        let show = |seen: Option<&Seen>| seen.map_or("absent".to_owned(), ToString::to_string);
        let (is, should) = (show(found.get(differs)), show(expected.get(differs)));
        Some(format!("{differs} is {is}, but was {should}"))
    }
}

fn held<'a>(records: impl Iterator<Item = &'a Held>) -> BTreeMap<&'a str, Seen> {
    records.map(|held| (held.key.as_str(), held.seen)).collect()
}

/// Puts the story together.
pub(super) fn tell(
    prefix: &str,
    written: &str,
    streams: &[Stream<'_>],
    attempts: &[Attempt<'_>],
) -> Telling {
    let mut teller = Teller { story: Story::default(), findings: Vec::new() };
    for stream in streams {
        teller.listen(stream);
    }
    teller.story.complete_until = complete_until(prefix, streams);
    let pins = teller.compare(written, attempts);
    let Teller { story, findings } = teller;
    Telling { story, findings, pins, counts: Counts::default() }
}

struct Teller {
    story: Story,
    findings: Vec<Finding>,
}

impl Teller {
    fn listen(&mut self, stream: &Stream<'_>) {
        for (line, _, told) in &stream.told {
            let Told::Message { steps, .. } = told else { continue };
            for step in steps {
                let StreamStep::Changes { revision, changes } = step else { continue };
                for change in changes {
                    self.hear(*line, *revision, change);
                }
            }
        }
    }

    fn hear(&mut self, line: LineIndex, revision: Revision, change: &Change) {
        let fact = Fact { current: change.current, line };
        let facts = self.story.keys.entry(change.key.clone()).or_default();
        match facts.get(&revision) {
            None => {
                facts.insert(revision, fact);
                self.story.revisions.entry(revision).or_default().push(change.key.clone());
            }
            Some(other) if other.current != fact.current => {
                let message =
                    format!("two streams tell differently of {} at {revision}", change.key);
                let finding = Finding::invalid(Check::Watch, message);
                self.findings.push(finding.shown_by([other.line, line]));
            }
            Some(_) => {}
        }
    }

    /// Compares what was told with what was asked for.
    fn compare(&mut self, written: &str, attempts: &[Attempt<'_>]) -> HashMap<LineIndex, Revision> {
        let mut writers: HashMap<Value, Vec<&Attempt<'_>>> = HashMap::new();
        for attempt in attempts {
            for (_, value) in &attempt.puts {
                writers.entry(*value).or_default().push(attempt);
            }
        }
        let (mut pins, mut found) = (HashMap::new(), Vec::new());
        let mut told: HashMap<Value, Revision> = HashMap::new();
        for (key, facts) in self.story.keys.iter().filter(|(key, _)| key.starts_with(written)) {
            for (revision, fact) in facts {
                let Some(Seen { value, .. }) = fact.current else { continue };
                let shown = |what: String| {
                    let message = format!("{key} = {value} at revision {revision}: {what}");
                    Finding::invalid(Check::Watch, message).shown_by([fact.line])
                };
                if let Some(other) = told.insert(value, *revision) {
                    found.push(shown(format!("it was written at revision {other} already")));
                }
                let writers = writers.get(&value).map_or(&[][..], Vec::as_slice);
                if let Some(wrong) = unasked(key, value, writers) {
                    found.push(shown(wrong));
                }
                for attempt in writers.iter().filter(|it| it.fate == Fate::Unknown) {
                    pins.insert(attempt.id, *revision);
                }
            }
        }
        found.extend(attempts.iter().filter_map(|attempt| self.untold(attempt)));
        self.findings.extend(found);
        pins
    }

    /// What was acknowledged but is not told, or told differently.
    fn untold(&self, attempt: &Attempt<'_>) -> Option<Finding> {
        let Fate::Acknowledged { revision, .. } = attempt.fate else { return None };
        let told = self.story.changed(revision);
        if told.is_empty() && revision > self.story.complete_until {
            return None;
        }
        let wrong = |what: String| {
            let message = format!("{what} at revision {revision}\n    {}", attempt.shown);
            Finding::invalid(Check::Watch, message).shown_by([attempt.id])
        };
        for (key, value) in &attempt.puts {
            let fact = self.story.keys.get(*key).and_then(|facts| facts.get(&revision));
            let current = fact.and_then(|fact| fact.current);
            if fact.is_none() && revision > self.story.complete_until {
                continue;
            }
            if current.map(|seen| seen.value) != Some(*value) {
                return Some(wrong(format!("{key} = {value} was acknowledged but is not told")));
            }
        }
        let asked = |key: &str| {
            attempt.puts.iter().any(|(put, _)| *put == key) || attempt.deletes.contains(&key)
        };
        let other = told.iter().find(|key| !asked(key))?;
        Some(wrong(format!("{other} was not asked for but is told")))
    }
}

/// Why a change that was told is one that nobody asked for.
fn unasked(key: &str, value: Value, writers: &[&Attempt<'_>]) -> Option<String> {
    let Some(first) = writers.first() else { return Some("nobody wrote it".to_owned()) };
    let of_key = |attempt: &&&Attempt<'_>| attempt.puts.contains(&(key, value));
    if !writers.iter().any(|attempt| of_key(&attempt)) {
        return Some(format!("it was written to another key\n    {}", first.shown));
    }
    let refused = writers.iter().all(|attempt| attempt.fate == Fate::Refused);
    refused.then(|| format!("its write was refused\n    {}", first.shown))
}

/// Up to which revision the streams that see every key tell everything.
fn complete_until(prefix: &str, streams: &[Stream<'_>]) -> Revision {
    let whole = streams.iter().filter(|stream| prefix.starts_with(&stream.asked.prefix));
    let mut covered: Vec<(Revision, Revision)> = whole.flat_map(|it| coverage(it)).collect();
    covered.sort_unstable();
    let mut until = Revision(0);
    for (after, last) in covered {
        if after <= until {
            until = until.max(last);
        }
    }
    until
}
