//! Whether every request was applied exactly once and answered with what came of it. Pure.
//!
//! Three witnesses: the answers, what the change stream told, and what each member has at the end.
//! The versions that keys must have are counted from the requests alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use quorate_client::Reason;
use quorate_core::{MemberId, Revision};

use crate::{
    load::{Answer, Asked, Came, Guard},
    story::{Histories, Story, Written},
};

/// How many violations of a kind are described.
const SHOWN: usize = 5;

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Requests applied again, or against their answer.
    pub(crate) applied_twice: usize,
    /// Requests without an answer, or whose answer the cluster does not know.
    pub(crate) lost: usize,
    /// Examples of these, and what else is wrong.
    pub(crate) details: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "applied_twice={} lost={}", self.applied_twice, self.lost)
    }
}

/// Judges a run that is over: nothing is in flight any more.
pub(crate) fn judge(
    answers: &[Answer],
    story: &Story,
    members: &[(MemberId, BTreeMap<String, Written>)],
) -> Verdict {
    let histories = Histories::of(story);
    let lost = lost(answers, story, &histories);
    let twice = twice(answers, story);
    let mut other = other_versions(answers, members);
    for (id, entries) in members {
        if *entries != histories.last() {
            other.push(format!("member {id} has other entries than the stream told"));
        }
    }
    let mut verdict = Verdict { applied_twice: twice.len(), lost: lost.len(), details: Vec::new() };
    for (kind, found) in [("lost", lost), ("applied twice", twice), ("differs", other)] {
        let shown = found.into_iter().take(SHOWN);
        verdict.details.extend(shown.map(|one| format!("{kind}: {one}")));
    }
    verdict
}

/// Answers that are not what the stream told at their revision.
fn lost(answers: &[Answer], story: &Story, histories: &Histories) -> Vec<String> {
    let is_lost = |answer: &&Answer| {
        let Answer { number, asked, came } = answer;
        let told = |revision: &Revision, keys: &[(&String, Option<u64>)]| {
            let changes = story.get(revision);
            changes.is_some_and(|changes| {
                changes.len() == keys.len()
                    && keys.iter().all(|(key, number)| {
                        changes.get(*key).is_some_and(|it| it.map(|it| it.number) == *number)
                    })
            })
        };
        let number = Some(*number);
        !match (asked, came) {
            (Asked::Put { key } | Asked::Bound { key }, Came::Wrote { revision, .. }) => {
                told(revision, &[(key, number)])
            }
            (Asked::Count { key, also }, Came::Wrote { revision, before }) => {
                told(revision, &[(key, number), (also, number)])
                    && histories.before(key, *revision) == *before
            }
            (Asked::Delete { key }, Came::Wrote { revision, before }) => {
                told(revision, &[(key, None)]) && histories.before(key, *revision) == *before
            }
            (Asked::Failed { key } | Asked::Delete { key }, Came::Read { revision, found }) => {
                histories.at(key, *revision) == *found
            }
            (Asked::Rejected { guard: Guard::Session }, Came::Refused(reason)) => {
                *reason == Reason::SessionExpired
            }
            (Asked::Rejected { guard: Guard::Partition }, Came::Refused(reason)) => {
                *reason == Reason::StaleEpoch
            }
            _ => false,
        }
    };
    answers.iter().filter(is_lost).map(|answer| format!("{answer:?}")).collect()
}

/// Revisions that belong to no answer, or to two.
fn twice(answers: &[Answer], story: &Story) -> Vec<String> {
    let (mut claimed, mut found) = (BTreeSet::new(), Vec::new());
    for answer in answers {
        if let Came::Wrote { revision, .. } = answer.came
            && !claimed.insert(revision)
        {
            found.push(format!("{answer:?} has the revision of another answer"));
        }
    }
    let unclaimed = story.iter().filter(|(revision, _)| !claimed.contains(revision));
    found.extend(unclaimed.map(|(revision, changes)| format!("{revision}: {changes:?}")));
    found
}

/// Keys whose version at the end is not the number of requests that wrote them. Those that were
/// deleted in between begin anew, in an order that only the stream knows.
fn other_versions(
    answers: &[Answer],
    members: &[(MemberId, BTreeMap<String, Written>)],
) -> Vec<String> {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    for answer in answers {
        match &answer.asked {
            Asked::Put { key } | Asked::Bound { key } => *expected.entry(key).or_default() += 1,
            Asked::Count { key, also } => {
                *expected.entry(key).or_default() += 1;
                *expected.entry(also).or_default() += 1;
            }
            Asked::Delete { key } => {
                deleted.insert(key.as_str());
            }
            Asked::Failed { .. } | Asked::Rejected { .. } => {}
        }
    }
    expected.retain(|key, _| !deleted.contains(key));
    let mut found = Vec::new();
    for (id, entries) in members {
        for (key, version) in &expected {
            let has = entries.get(*key).map(|entry| entry.version);
            if has != Some(*version) {
                found.push(format!("member {id}: {key} has version {has:?}, not {version}"));
            }
        }
        let strange = entries
            .keys()
            .filter(|key| !expected.contains_key(key.as_str()) && !deleted.contains(key.as_str()));
        found.extend(strange.map(|key| format!("member {id}: nobody wrote {key}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(number: u64, asked: Asked, came: Came) -> Answer {
        Answer { number, asked, came }
    }

    fn wrote(revision: u64, before: Option<(u64, u64)>) -> Came {
        Came::Wrote { revision: Revision(revision), before: before.map(written) }
    }

    fn written((number, version): (u64, u64)) -> Written {
        Written { number, version }
    }

    fn key(key: &str) -> String {
        key.to_owned()
    }

    /// Two puts of a key, two counts, a put that is deleted, and three that change nothing.
    fn answers() -> Vec<Answer> {
        let count = || Asked::Count { key: key("c"), also: key("a") };
        let found = Some(written((3, 1)));
        vec![
            answer(1, Asked::Put { key: key("p") }, wrote(1, None)),
            answer(2, Asked::Put { key: key("p") }, wrote(2, None)),
            answer(3, count(), wrote(3, None)),
            answer(4, count(), wrote(5, Some((3, 1)))),
            answer(5, Asked::Put { key: key("g") }, wrote(6, None)),
            answer(6, Asked::Delete { key: key("g") }, wrote(7, Some((5, 1)))),
            answer(7, Asked::Failed { key: key("c") }, Came::Read { revision: Revision(4), found }),
            answer(
                8,
                Asked::Delete { key: key("g") },
                Came::Read { revision: Revision(4), found: None },
            ),
            answer(
                9,
                Asked::Rejected { guard: Guard::Partition },
                Came::Refused(Reason::StaleEpoch),
            ),
        ]
    }

    fn story() -> Story {
        let one = |revision, changes: &[(&str, Option<(u64, u64)>)]| {
            let changes = changes.iter().map(|(it, entry)| (key(it), entry.map(written)));
            (Revision(revision), changes.collect())
        };
        Story::from([
            one(1, &[("p", Some((1, 1)))]),
            one(2, &[("p", Some((2, 2)))]),
            one(3, &[("c", Some((3, 1))), ("a", Some((3, 1)))]),
            one(5, &[("c", Some((4, 2))), ("a", Some((4, 2)))]),
            one(6, &[("g", Some((5, 1)))]),
            one(7, &[("g", None)]),
        ])
    }

    fn verdict(answers: &[Answer], story: &Story) -> Verdict {
        judge(answers, story, &[(MemberId(1), Histories::of(story).last())])
    }

    #[test]
    fn a_good_run_is_clean() {
        let verdict = verdict(&answers(), &story());
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(verdict.to_string(), "applied_twice=0 lost=0");
    }

    #[test]
    fn a_second_application_is_found_by_its_revision_and_by_the_version() {
        let mut story = story();
        story.insert(Revision(8), [(key("p"), Some(written((1, 3))))].into());
        let found = verdict(&answers(), &story);
        assert_eq!((found.applied_twice, found.lost), (1, 0), "{found:?}");
        assert!(found.details.iter().any(|it| it.contains("version")), "{found:?}");
    }

    #[test]
    fn an_answer_at_another_revision_is_lost_and_the_one_it_made_nobodys() {
        let mut answers = answers();
        answers[1].came = wrote(1, None);
        let found = verdict(&answers, &story());
        assert_eq!((found.applied_twice, found.lost), (2, 1), "{found:?}");
    }

    #[test]
    fn an_answer_that_was_read_at_another_time_is_lost() {
        for (at, came) in [
            (3, wrote(5, Some((3, 2)))),
            (5, wrote(7, None)),
            (6, Came::Read { revision: Revision(4), found: Some(written((4, 2))) }),
            (7, Came::Read { revision: Revision(6), found: None }),
            (8, Came::Refused(Reason::SessionExpired)),
            (0, Came::Wrong("no answer".into())),
        ] {
            let mut answers = answers();
            answers[at].came = came;
            assert_eq!(verdict(&answers, &story()).lost, 1, "{at}");
        }
    }

    #[test]
    fn a_member_that_differs_is_found() {
        let mut entries = Histories::of(&story()).last();
        entries.remove("p");
        entries.insert(key("never"), written((9, 1)));
        let found = judge(&answers(), &story(), &[(MemberId(1), entries)]);
        assert_eq!((found.applied_twice, found.lost, found.details.len()), (0, 0, 3), "{found:?}");
    }
}
