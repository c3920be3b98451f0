//! What holds for every change stream.
//!
//! Owns the rules that compare a stream with the story:
//! - ordered and unique: revisions grow, none comes twice;
//! - atomic: a revision comes in one step, with all its matching changes, none twice;
//! - reliable: nothing that matches is left out between the start and where the stream says it is;
//! - filtered: every key matches;
//! - resumable: a start after a token goes on right there;
//! - bookmarked: a notice of progress, or a token, leaves nothing out before it, and never goes
//!   back;
//! - created and previous are what the story says;
//! - a snapshot is the state at its revision, which is not from before the stream was asked for;
//! - "history is lost" and "in the future" are said only when they are true; no stream ends for
//!   another reason than these and the loss of contact.
//!
//! Must not know how the story came about.

use quorate_core::Revision;

use super::{
    Check, Counts, Finding, Floors, Stream,
    story::{Attempt, Fate, Story},
};
use crate::history::{
    LineIndex, Nanos,
    stream::{Change, Held, StreamStart, StreamStep, Told},
};

/// Reasons for which a stream may end without anybody's fault.
const OUT_OF_CONTACT: [&str; 2] = ["NO_QUORUM", "OVERLOADED"];

/// What streams are compared with.
pub(super) struct Rules<'a> {
    /// That of all keys of the workload.
    pub(super) prefix: &'a str,
    /// All changes.
    pub(super) story: &'a Story,
    /// What was asked for.
    pub(super) attempts: &'a [Attempt<'a>],
    /// How far the cluster had answered.
    pub(super) floors: Floors,
    /// The highest revision that anybody ever told.
    pub(super) newest: Revision,
    /// Since when the cluster may forget history.
    pub(super) limited_since: Option<Nanos>,
}

/// A stream that is being followed.
struct Follower<'a, 'b> {
    rules: &'a Rules<'a>,
    stream: &'a Stream<'a>,
    counts: &'b mut Counts,
    /// Everything up to here was told; none: not known yet.
    at: Option<Revision>,
    /// The records of a snapshot that has not ended.
    snapshot: Option<Vec<&'a Held>>,
    snapshot_at: Option<Revision>,
    line: LineIndex,
    told_something: bool,
    findings: Vec<Finding>,
}

impl<'a> Rules<'a> {
    /// Compares a stream with the story.
    pub(super) fn follow(&'a self, stream: &'a Stream<'a>, counts: &mut Counts) -> Vec<Finding> {
        let start = stream.asked.start;
        let before = |first: Revision| Revision(first.0.saturating_sub(1));
        let mut follower = Follower {
            rules: self,
            stream,
            counts,
            at: start.first().map(before),
            snapshot: (start == StreamStart::Snapshot).then(Vec::new),
            snapshot_at: None,
            line: LineIndex(0),
            told_something: false,
            findings: Vec::new(),
        };
        for (line, time, told) in &stream.told {
            follower.line = *line;
            follower.hear(told, *time);
        }
        if follower.told_something && matches!(start, StreamStart::After(_)) {
            follower.counts.resumed += 1;
        }
        follower.findings
    }

    /// The first change that a stream from "now" on must tell: the first that was asked for when
    /// the stream had been accepted.
    fn first_after(&self, opened: Nanos, prefix: &str) -> Option<Revision> {
        let later = self.attempts.iter().filter(|attempt| attempt.invoked > opened);
        let matching = later.filter(|it| it.puts.iter().any(|(key, _)| key.starts_with(prefix)));
        let revisions = matching.filter_map(|attempt| match attempt.fate {
            Fate::Acknowledged { revision, .. } => Some(revision),
            Fate::Refused | Fate::Unknown => None,
        });
        revisions.min()
    }
}

impl<'a> Follower<'a, '_> {
    fn hear(&mut self, told: &'a Told, time: Nanos) {
        match told {
            Told::Asked(_) | Told::Opened | Told::Left => {}
            Told::Message { steps, resume } => {
                for step in steps {
                    self.told_something = true;
                    self.step(step, time);
                }
                if let Some(resume) = resume {
                    self.stands_at(*resume, "a token");
                }
            }
            Told::Ended { reason, oldest, error } => {
                self.ended(reason.as_deref(), *oldest, error, time);
            }
        }
    }

    fn step(&mut self, step: &'a StreamStep, time: Nanos) {
        match step {
            StreamStep::Changes { revision, changes } => self.changes(*revision, changes),
            StreamStep::Progress { revision } => {
                self.counts.bookmarks += 1;
                if *revision > self.rules.newest {
                    self.report(format!("progress to {revision}, which never existed"));
                }
                self.stands_at(*revision, "a notice of progress");
            }
            StreamStep::Snapshot { revision, records } => {
                self.part_of(*revision);
                match &mut self.snapshot {
                    Some(collected) => collected.extend(records),
                    None => self.report(format!("records of {revision} among changes")),
                }
            }
            StreamStep::SnapshotEnd { revision } => {
                self.part_of(*revision);
                self.snapshot_end(*revision);
            }
            StreamStep::Resync { revision } => {
                self.counts.lost += 1;
                // The client library says so too when a snapshot broke off and another one begins.
                let broke_off = self.stream.asked.node.is_none() && self.snapshot.is_some();
                if !broke_off {
                    self.history_is_lost(time);
                    if !self.stream.asked.resync {
                        self.report("a new snapshot that was not asked for".to_owned());
                    }
                }
                if self.at.is_some_and(|at| *revision < at) {
                    self.report(format!("a new snapshot of {revision}, from before"));
                }
                (self.at, self.snapshot) = (None, Some(Vec::new()));
                self.snapshot_at = None;
            }
        }
    }

    fn changes(&mut self, revision: Revision, changes: &'a [Change]) {
        self.counts.delivered += 1;
        if self.snapshot.is_some() {
            self.report(format!("changes of {revision} before the end of the snapshot"));
        }
        if self.position().is_some_and(|at| revision <= at) {
            let at = self.position().unwrap_or_default();
            return self.report(format!("revision {revision} came after {at}"));
        }
        if self.at.is_none() && revision <= self.rules.floors.at(self.stream.asked_at) {
            self.report(format!("revision {revision} is from before the stream was asked for"));
        }
        self.no_gap(Revision(revision.0 - 1), &format!("revision {revision}"));
        let prefix = &self.stream.asked.prefix;
        for (at, change) in changes.iter().enumerate() {
            if !change.key.starts_with(prefix.as_str()) {
                self.report(format!("{} at {revision} does not match", change.key));
            }
            if changes[..at].iter().any(|other| other.key == change.key) {
                self.report(format!("{} came twice at {revision}", change.key));
            }
            self.compare(revision, change);
        }
        let missing = self.rules.story.changed(revision).iter().find(|key| {
            key.starts_with(prefix.as_str()) && !changes.iter().any(|change| change.key == **key)
        });
        if let Some(key) = missing {
            self.report(format!("revision {revision} came without its change of {key}"));
        }
        self.at = Some(revision);
    }

    /// Compares a change with the record before it.
    fn compare(&mut self, revision: Revision, change: &Change) {
        let Change { key, current, created, previous } = change;
        if !self.stream.asked.with_previous && previous.is_some() {
            self.report(format!("{key} at {revision} has a previous record, unasked"));
        }
        if current.is_some_and(|seen| seen.modified != revision) {
            self.report(format!("{key} at {revision} is dated otherwise"));
        }
        if revision > self.rules.story.complete_until || !key.starts_with(self.rules.prefix) {
            return;
        }
        self.counts.compared += 1;
        let before = self.rules.story.before(key, revision);
        if *created != (before.is_none() && current.is_some()) {
            let word = if *created { "is told as new but was there" } else { "was new" };
            self.report(format!("{key} at {revision} {word}"));
        }
        if self.stream.asked.with_previous && *previous != before {
            self.report(format!("{key} at {revision} held {before:?} before, not {previous:?}"));
        }
        let version = before.map_or(1, |seen| seen.version + 1);
        if let Some(seen) = current.filter(|seen| seen.version != version) {
            self.report(format!("{key} at {revision} has version {}, not {version}", seen.version));
        }
    }

    /// The stream says that it has told everything up to here.
    fn stands_at(&mut self, revision: Revision, what: &str) {
        if self.snapshot.is_some() {
            return;
        }
        if self.at.is_some_and(|at| revision < at) {
            let at = self.at.unwrap_or_default();
            return self.report(format!("{what} of {revision} came after {at}"));
        }
        self.no_gap(revision, what);
        self.at = self.at.max(Some(revision));
    }

    /// Nothing that matches is left out up to here.
    fn no_gap(&mut self, until: Revision, what: &str) {
        let Some(after) = self.position() else { return };
        let prefix = self.stream.asked.prefix.as_str();
        if let Some((revision, key)) = self.rules.story.first_between(after, until, prefix) {
            self.report(format!("{what} came without {key} of {revision}, after {after}"));
        }
    }

    /// Up to where everything was told, or at least from where on everything must be.
    fn position(&self) -> Option<Revision> {
        let now = self.stream.asked.start == StreamStart::Now;
        let opened = self.stream.opened_at.filter(|_| now && self.at.is_none());
        let prefix = self.stream.asked.prefix.as_str();
        let first = opened.and_then(|opened| self.rules.first_after(opened, prefix));
        self.at.or(first.map(|first| Revision(first.0 - 1)))
    }

    /// A snapshot has one revision.
    fn part_of(&mut self, revision: Revision) {
        let first = *self.snapshot_at.get_or_insert(revision);
        if first != revision {
            self.report(format!("a snapshot of {first} and of {revision}"));
        }
    }

    fn snapshot_end(&mut self, revision: Revision) {
        let Some(records) = self.snapshot.take() else {
            return self.report(format!("the end of a snapshot of {revision} among changes"));
        };
        self.counts.snapshots += 1;
        let prefix = self.stream.asked.prefix.as_str();
        let asked_for = self.stream.asked.start == StreamStart::Snapshot;
        if asked_for && revision < self.rules.floors.at(self.stream.asked_at) {
            self.report(format!("a snapshot of {revision}, from before it was asked for"));
        }
        if let Some(held) = records.iter().find(|held| !held.key.starts_with(prefix)) {
            self.report(format!("{} in a snapshot does not match", held.key));
        }
        if revision <= self.rules.story.complete_until {
            let difference = self.rules.story.difference(revision, prefix, &records);
            if let Some(difference) = difference {
                self.report(format!("in a snapshot of {revision} {difference}"));
            }
        }
        (self.at, self.snapshot_at) = (Some(revision), None);
    }

    fn ended(&mut self, reason: Option<&str>, oldest: Option<Revision>, error: &str, time: Nanos) {
        match reason {
            None => {}
            Some("COMPACTED") => {
                self.counts.lost += 1;
                self.history_is_lost(time);
                let next = self.at.map(Revision::next);
                match (oldest, next) {
                    (Some(oldest), Some(next)) if oldest <= next => {
                        self.report(format!("{next} is said to be lost, but {oldest} is kept"));
                    }
                    (Some(oldest), _) if oldest > self.rules.newest.next() => {
                        self.report(format!("{oldest} is said to be kept, but never existed"));
                    }
                    (None, _) => self.report("lost history without the oldest".to_owned()),
                    _ => {}
                }
            }
            Some("FUTURE_REVISION") => {
                self.counts.future += 1;
                let known = self.rules.floors.at(self.stream.asked_at);
                let first = self.stream.asked.start.first().unwrap_or_default();
                if first <= known.next() {
                    let what = format!("{first} is said to be in the future, {known} was answered");
                    self.report(what);
                }
            }
            Some(reason) if OUT_OF_CONTACT.contains(&reason) => {}
            Some(reason) => self.report(format!("it ended with {reason}: {error}")),
        }
    }

    /// Nothing is lost before the cluster was told to forget.
    fn history_is_lost(&mut self, time: Nanos) {
        if self.rules.limited_since.is_none_or(|since| time < since) {
            self.report("history is said to be lost, but nobody limited it".to_owned());
        }
    }

    fn report(&mut self, what: String) {
        let asked = self.stream.asked;
        let node = asked.node.map_or("the client library".to_owned(), |it| format!("node {it}"));
        let message = format!(
            "stream {} through {node} ({:?}, prefix {:?}): {what}",
            self.stream.id.0, asked.start, asked.prefix
        );
        self.findings.push(Finding::invalid(Check::Watch, message).shown_by([self.line]));
    }
}
