//! A change stream tells what it was asked for (7 to 9 of the contract): after its start, or after
//! the snapshot it was told to take, every matching change of every revision, once, in order,
//! whole, with the right values before and after; and progress only when nothing was left out.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use quorate_node::{
    core::{Change, Filter, Key, Record, Revision, Versioned},
    proto::convert::{WatchEvent, WatchedChange},
};

use crate::simulation::story::{StreamStory, Told};

pub(super) fn check(told: &Told) -> Vec<String> {
    let streams = told.streams.iter().enumerate();
    let mut found = Vec::new();
    for (number, stream) in streams {
        let filter = &stream.filter;
        let mut reader = Reader { told, filter, at: stream.after, snapshot: None };
        let wrong = stream.told.iter().find_map(|event| reader.wrong(event));
        found.extend(wrong.map(|what| describe(number, stream, &what)));
    }
    found
}

fn describe(number: usize, stream: &StreamStory, what: &str) -> String {
    format!("subscriber {number} ({:?}, resumed {} times): {what}", stream.filter, stream.resumed)
}

/// Reads a stream beside the story of all revisions.
struct Reader<'a> {
    told: &'a Told,
    filter: &'a Filter,
    /// Everything up to it was told. None: the first change says where it begins.
    at: Option<Revision>,
    /// The snapshot that is being told.
    snapshot: Option<Snapshot>,
}

/// The records of a snapshot so far.
#[derive(Default)]
struct Snapshot {
    revision: Revision,
    records: BTreeMap<Key, Arc<Versioned<Record>>>,
}

impl Reader<'_> {
    fn wrong(&mut self, event: &WatchEvent) -> Option<String> {
        match event {
            WatchEvent::Changes { revision, changes, .. } => self.changes(*revision, changes),
            WatchEvent::Progress { revision } => self.pass(*revision, "progress"),
            WatchEvent::Resync { .. } => {
                (self.at, self.snapshot) = (None, None);
                None
            }
            WatchEvent::Snapshot { revision, records } => {
                // One that broke off begins again, perhaps at another revision.
                let begun = self.snapshot.take().filter(|begun| begun.revision == *revision);
                let mut snapshot = begun.unwrap_or_default();
                let records = records.iter().map(|(key, record)| (key.clone(), record.clone()));
                snapshot.revision = *revision;
                snapshot.records.extend(records);
                (self.at, self.snapshot) = (None, Some(snapshot));
                None
            }
            WatchEvent::SnapshotEnd { revision } => {
                self.at = Some(*revision);
                let snapshot = self.snapshot.take().unwrap_or_default();
                self.whole(*revision, &snapshot)
            }
        }
    }

    fn changes(&mut self, revision: Revision, changes: &[WatchedChange]) -> Option<String> {
        let skipped = self.pass(Revision(revision.get() - 1), "a change");
        if skipped.is_some() {
            return skipped;
        }
        self.at = Some(revision);
        let Some(applied) = self.told.events.get(&revision) else {
            return Some(format!("revision {revision} was told and never applied"));
        };
        let wanted: Vec<&Change> =
            applied.event.changes.iter().filter(|change| self.filter.matches(change)).collect();
        let same = wanted.len() == changes.len()
            && wanted.iter().zip(changes).all(|(wanted, change)| is(change, wanted));
        (!same).then(|| format!("revision {revision} was told as {changes:?}, not {wanted:?}"))
    }

    /// Everything up to here was told, whatever comes: nothing that matches may have been left out.
    fn pass(&mut self, to: Revision, what: &str) -> Option<String> {
        let from = self.at.replace(to)?;
        if to < from {
            return Some(format!("{what} at {to} after {from}"));
        }
        let between = self.told.events.range((Bound::Excluded(from), Bound::Unbounded));
        let between = between.take_while(|(revision, _)| **revision <= to);
        let matching = |changes: &[Change]| changes.iter().any(|it| self.filter.matches(it));
        let missed = { between }.find(|(_, applied)| matching(&applied.event.changes));
        missed.map(|(missed, _)| format!("{what} at {to} came after {from}, without {missed}"))
    }

    /// What is wrong with a snapshot that ended at a revision.
    fn whole(&self, revision: Revision, snapshot: &Snapshot) -> Option<String> {
        let mut held = BTreeMap::new();
        for (_, applied) in self.told.events.range(..=revision) {
            for change in &applied.event.changes {
                match &change.current {
                    Some(record) => held.insert(&change.key, record),
                    None => held.remove(&change.key),
                };
            }
        }
        held.retain(|key, record| self.filter.matches_record(key, &record.value));
        let same = snapshot.records.iter().eq(held.iter().map(|(key, record)| (*key, *record)));
        (!same).then(|| {
            let (told, held) = (snapshot.records.len(), held.len());
            format!("the snapshot at {revision} has {told} records, not just the {held} there were")
        })
    }
}

/// Whether a change was told as it was made.
fn is(told: &WatchedChange, made: &Change) -> bool {
    let previous = told.previous.is_none() || told.previous == made.previous;
    told.key == made.key
        && told.current == made.current
        && told.created == made.created()
        && previous
}

#[cfg(test)]
mod tests {
    use super::super::samples::{event, stream};
    use super::*;

    fn wrong(told: Vec<WatchEvent>) -> usize {
        let events = [(1, "a", "1"), (2, "b", "2"), (3, "a", "3")];
        let events = events.iter().map(|(revision, key, value)| event(*revision, key, value));
        let streams = vec![StreamStory { told, ..stream(Some(0)) }];
        check(&Told { events: events.collect(), streams, ..Told::default() }).len()
    }

    fn told(revision: u64, key: &str, value: &str) -> WatchEvent {
        let (revision, applied) = event(revision, key, value);
        let change = &applied.event.changes[0];
        let change = WatchedChange {
            key: change.key.clone(),
            current: change.current.clone(),
            created: change.created(),
            previous: None,
        };
        WatchEvent::Changes {
            revision,
            changes: vec![change],
            origin: Default::default(),
            time_ms: 0,
        }
    }

    #[test]
    fn every_broken_rule_is_found() {
        let all = || vec![told(1, "a", "1"), told(2, "b", "2"), told(3, "a", "3")];
        let progress = |revision| WatchEvent::Progress { revision: Revision(revision) };
        assert_eq!(wrong(all()), 0);
        assert_eq!(wrong([all(), vec![progress(3)]].concat()), 0);
        assert_eq!(wrong(all()[1..].to_vec()), 1, "the first is missing");
        assert_eq!(wrong(vec![told(1, "a", "1"), told(3, "a", "3")]), 1, "a gap");
        assert_eq!(wrong(vec![told(1, "a", "1"), told(1, "a", "1")]), 1, "a repeat");
        assert_eq!(wrong(vec![told(1, "a", "9")]), 1, "another value");
        assert_eq!(wrong(vec![told(1, "a", "1"), progress(2)]), 1, "progress over a change");
        let empty = WatchEvent::Changes {
            revision: Revision(1),
            changes: vec![],
            origin: Default::default(),
            time_ms: 0,
        };
        assert_eq!(wrong(vec![empty]), 1, "a part of a revision");
    }

    #[test]
    fn a_snapshot_that_lacks_a_record_is_found() {
        let (_, applied) = event(2, "b", "2");
        let change = applied.event.changes[0].clone();
        let record = (change.key, change.current.unwrap());
        let snapshot = WatchEvent::Snapshot { revision: Revision(2), records: vec![record] };
        let end = WatchEvent::SnapshotEnd { revision: Revision(2) };
        assert_eq!(wrong(vec![snapshot, end]), 1);
    }
}
