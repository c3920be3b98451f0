//! What came of the writes: attempts, streams and replicas held against each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;
use quorate_core::{MemberId, Revision};
use quorate_proto::v1::Record;

use super::{
    follower::{Story, Told as Heard},
    writer::{Attempt, Told},
};
use crate::calls::value;

/// How many violations of a kind are described.
const SHOWN: usize = 5;

/// The result of a run. Shown as one line.
#[derive(Debug, Default)]
pub struct Report {
    /// Acknowledged writes.
    pub acked: usize,
    /// Acknowledged writes that a replica does not have as acknowledged.
    pub lost: usize,
    /// Attempts that were applied more than once, or applied although they were said not to be.
    pub duplicated: usize,
    /// Revisions that a follower was not told exactly once and in order.
    pub watch_gaps: usize,
    /// Processes killed.
    pub kills: u32,
    /// What else is wrong, and examples of the above.
    pub details: Vec<String>,
}

impl Report {
    /// Whether everything is as promised.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.watch_gaps == 0 && self.details.is_empty()
    }

    fn describe(&mut self, kind: &str, found: &[String]) {
        self.details.extend(found.iter().take(SHOWN).map(|one| format!("{kind}: {one}")));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, lost, duplicated, watch_gaps, kills, .. } = self;
        write!(
            f,
            "acked={acked} lost={lost} duplicated={duplicated} watch_gaps={watch_gaps} \
             kills={kills}"
        )
    }
}

/// Judges a run that ended at revision `last`.
pub(super) fn judge(
    attempts: &[Attempt],
    stories: &[Story],
    replicas: &[(MemberId, Vec<Record>)],
    last: Revision,
) -> Report {
    let acked = attempts.iter().filter(|attempt| matches!(attempt.told, Told::Applied(_))).count();
    let mut report = Report { acked, ..Report::default() };
    let lost = lost(attempts, replicas);
    let mut duplicated = duplicated(attempts, &stories[0]);
    duplicated.extend(rewritten(replicas));
    let gaps: Vec<String> = stories.iter().flat_map(|story| gaps(story, last)).collect();
    report.lost = lost.len();
    report.duplicated = duplicated.len();
    report.watch_gaps = gaps.len();
    report.describe("lost", &lost);
    report.describe("duplicated", &duplicated);
    report.describe("gap", &gaps);
    let strange = attempts.iter().filter(|attempt| attempt.told == Told::Exists);
    let strange: Vec<_> =
        strange.map(|attempt| format!("{} existed before", attempt.key)).collect();
    report.describe("strange", &strange);
    report.describe("untold", &untold(attempts, stories));
    for story in stories {
        report.describe("stream", &story.broken);
    }
    report
}

/// Acknowledged writes that some replica does not have, or not with this value and revision.
fn lost(attempts: &[Attempt], replicas: &[(MemberId, Vec<Record>)]) -> Vec<String> {
    let replicas: Vec<(MemberId, BTreeMap<&[u8], &Record>)> =
        replicas.iter().map(|(id, records)| (*id, by_key(records))).collect();
    let mut lost = Vec::new();
    for attempt in attempts {
        let Told::Applied(revision) = attempt.told else { continue };
        let missing = replicas.iter().find(|(_, records)| {
            let record = records.get(attempt.key.as_bytes());
            !record.is_some_and(|record| {
                value(record) == attempt.value && record.modified == revision.get()
            })
        });
        if let Some((id, _)) = missing {
            lost.push(format!("{} at {revision} is not on member {id}", attempt.key));
        }
    }
    lost
}

/// Attempts that one whole story tells more often than they may have been applied.
fn duplicated(attempts: &[Attempt], story: &Story) -> Vec<String> {
    let mut told: BTreeMap<&Bytes, BTreeSet<Revision>> = BTreeMap::new();
    for change in &story.changes {
        told.entry(&change.value).or_default().insert(change.revision);
    }
    let mut found = Vec::new();
    for attempt in attempts {
        let allowed = if attempt.told == Told::NotApplied { 0 } else { 1 };
        let value = Bytes::copy_from_slice(attempt.value.as_bytes());
        let revisions = told.get(&value).cloned().unwrap_or_default();
        if revisions.len() > allowed {
            let (value, told) = (&attempt.value, attempt.told);
            found.push(format!("{value:?}, told {told:?}, is at {revisions:?}"));
        }
    }
    found
}

/// Keys that were written more than once: nobody does that.
fn rewritten(replicas: &[(MemberId, Vec<Record>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (id, records) in replicas {
        for record in records.iter().filter(|record| record.version != 1) {
            let key = String::from_utf8_lossy(record.key.as_ref().map_or(&[], |key| &key.key));
            found.push(format!("member {id}: {key} has version {}", record.version));
        }
    }
    found
}

/// Revisions that a story does not tell exactly once and in order, from 1 to `last`.
fn gaps(story: &Story, last: Revision) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = Revision(0);
    for Heard { revision, .. } in &story.changes {
        if *revision != before.next() {
            found.push(format!("{revision} follows {before} (told by {:?})", story.told_by));
        }
        before = *revision;
    }
    if before != last {
        found.push(format!("the story ends at {before}, the cluster is at {last}"));
    }
    found
}

/// Acknowledged writes that a story does not tell at their revision; stories that differ.
fn untold(attempts: &[Attempt], stories: &[Story]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, story) in stories.iter().enumerate() {
        if story.changes != stories[0].changes {
            found.push(format!("followers 0 and {number} were told different stories"));
        }
    }
    let told: BTreeMap<Revision, &Heard> =
        stories[0].changes.iter().map(|change| (change.revision, change)).collect();
    for attempt in attempts {
        let Told::Applied(revision) = attempt.told else { continue };
        let right = told.get(&revision).is_some_and(|change| {
            change.key == attempt.key
                && change.value == attempt.value
                && change.put
                && change.created
        });
        if !right {
            found.push(format!("{} at {revision}: {:?}", attempt.key, told.get(&revision)));
        }
    }
    found
}

fn by_key(records: &[Record]) -> BTreeMap<&[u8], &Record> {
    let keyed =
        records.iter().map(|record| (record.key.as_ref().map_or(&[][..], |key| &key.key), record));
    keyed.collect()
}

#[cfg(test)]
mod tests {
    use quorate_proto::v1::{Key, record};

    use super::*;

    /// Three acknowledged writes, one unknown that was applied, one refused that was not.
    fn attempts() -> Vec<Attempt> {
        let told = [
            Told::Applied(Revision(1)),
            Told::Applied(Revision(2)),
            Told::Unknown,
            Told::NotApplied,
            Told::Applied(Revision(4)),
        ];
        let attempt = |(number, told)| Attempt {
            key: format!("k{number}"),
            value: format!("v{number}"),
            told,
        };
        told.into_iter().enumerate().map(attempt).collect()
    }

    fn story() -> Story {
        let change = |(revision, number)| Heard {
            revision: Revision(revision),
            key: format!("k{number}").into(),
            value: format!("v{number}").into(),
            put: true,
            created: true,
        };
        let changes = (1..).zip([0, 1, 2, 4]).map(change).collect();
        Story { changes, ..Story::default() }
    }

    fn replica() -> Vec<Record> {
        let record = |change: &Heard| Record {
            key: Some(Key { kind: 1, key: change.key.clone() }),
            created: change.revision.get(),
            modified: change.revision.get(),
            version: 1,
            session: None,
            value: Some(record::Value::Entry(change.value.clone())),
        };
        story().changes.iter().map(record).collect()
    }

    fn verdict(stories: &[Story], replica: Vec<Record>) -> Report {
        judge(&attempts(), stories, &[(MemberId(1), replica)], Revision(4))
    }

    #[test]
    fn a_good_history_is_clean() {
        let report = verdict(&[story(), story()], replica());
        assert!(report.is_clean(), "{report} {:?}", report.details);
        assert_eq!(report.to_string(), "acked=3 lost=0 duplicated=0 watch_gaps=0 kills=0");
    }

    #[test]
    fn an_acknowledged_write_that_is_missing_or_changed_is_lost() {
        let mut missing = replica();
        missing.remove(1);
        assert_eq!(verdict(&[story()], missing).lost, 1);
        let mut changed = replica();
        changed[0].value = Some(record::Value::Entry("other".into()));
        changed[3].modified = 3;
        assert_eq!(verdict(&[story()], changed).lost, 2);
    }

    #[test]
    fn a_write_applied_twice_or_against_its_answer_is_duplicated() {
        let mut twice = story();
        twice.changes[3].value = "v2".into();
        assert_eq!(verdict(&[twice], replica()).duplicated, 1);
        let mut refused = story();
        refused.changes[2].value = "v3".into();
        assert_eq!(verdict(&[refused], replica()).duplicated, 1);
        let mut rewritten = replica();
        rewritten[2].version = 2;
        assert_eq!(verdict(&[story()], rewritten).duplicated, 1);
    }

    #[test]
    fn a_story_with_a_hole_a_repeat_or_an_early_end_has_gaps() {
        let mut hole = story();
        hole.changes.remove(1);
        assert_eq!(verdict(&[story(), hole], replica()).watch_gaps, 1);
        let mut repeat = story();
        repeat.changes.insert(1, repeat.changes[0].clone());
        assert_eq!(verdict(&[story(), repeat], replica()).watch_gaps, 1);
        let mut early = story();
        early.changes.pop();
        assert_eq!(verdict(&[story(), early], replica()).watch_gaps, 1);
    }

    #[test]
    fn stories_that_differ_are_not_clean() {
        let mut other = story();
        other.changes[2].created = false;
        let report = verdict(&[story(), other], replica());
        assert_eq!(report.lost + report.duplicated + report.watch_gaps, 0);
        assert!(!report.is_clean());
    }
}
