//! Members whose states differ.
//!
//! Equal states are what everything else stands on: one that differs comes of a fault of this
//! software or of the machine, and is not mended by itself.
//!
//! Invariants: a member is accused by a majority of all members only, and no more once it is seen to agree
//! with one; where there is no majority, the finding names the states and accuses nobody.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use quorate_core::{Alert, LogIndex, MemberId, Name, Raised, Revision, Severity, StateHash};
use quorate_storage::Mark;

use crate::{
    health::check::{Finding, Findings, HealthCheck, HealthContext},
    members::Standing,
};

/// The subject where nobody can say whose state is right.
const UNDECIDED: &str = "members";

/// What the members' states were after the same log entries.
pub(super) struct StateDiffers;

#[async_trait]
impl HealthCheck for StateDiffers {
    fn name(&self) -> Name {
        Name::new("state_differs").expect("the text is a valid name")
    }

    async fn check(&self, context: &HealthContext) -> Result<Findings, String> {
        let takes_part = context
            .members()
            .iter()
            .filter(|it| matches!(it.standing, Standing::Voter | Standing::Learner));
        let members: BTreeSet<MemberId> = takes_part.map(|it| it.id).collect();
        let compared = compare(&context.marks().await, members.len());
        Ok(compared.findings(&members, standing(context, &self.name())))
    }
}

/// What is raised, by subject.
fn standing(context: &HealthContext, check: &Name) -> BTreeMap<String, Raised> {
    let alerts = context.state().alerts().filter(|(id, _)| id.check == *check);
    let raised = |alert: &Alert| {
        let Alert { severity, message, value, .. } = alert.clone();
        Raised { severity, message, value }
    };
    alerts.map(|(id, alert)| (id.subject, raised(alert))).collect()
}

/// What came of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// Those that a majority contradicts, and where nobody can say.
    found: Findings,
    /// Those that were seen in a majority.
    agree: BTreeSet<MemberId>,
}

impl Compared {
    /// What is found, with what was found before and could not be looked at again: that a member is
    /// silent, or has nothing to compare yet, mends nothing.
    pub(super) fn findings(
        mut self,
        members: &BTreeSet<MemberId>,
        standing: BTreeMap<String, Raised>,
    ) -> Findings {
        for (subject, raised) in standing {
            let stays = match subject.parse().map(MemberId) {
                Ok(id) => members.contains(&id) && !self.agree.contains(&id),
                Err(_) => subject == UNDECIDED && self.agree.is_empty(),
            };
            if stays {
                let finding = Finding {
                    value: raised.value,
                    ..Finding::new(raised.severity, raised.message)
                };
                self.found.entry(subject).or_insert(finding);
            }
        }
        self.found
    }
}

/// The members in each state after one log entry, by revision and hash.
type States = BTreeMap<(Revision, u64), BTreeSet<MemberId>>;

/// Compares what so many members are known to have been after the same log entries. One finding for each
/// that differs, about the oldest entry after which that is seen.
pub(super) fn compare(marks: &BTreeMap<MemberId, Vec<Mark>>, members: usize) -> Compared {
    let mut compared = Compared::default();
    let mut by_index = by_index(marks);
    let mut wrong = BTreeSet::new();
    for (index, states) in &mut by_index {
        without(states, &wrong);
        let Some((most, right)) = states.iter().find(|(_, ids)| 2 * ids.len() > members) else {
            continue;
        };
        compared.agree.extend(right);
        for (state, ids) in states.iter().filter(|(state, _)| *state != most) {
            for id in ids {
                let message = format!(
                    "after log entry {index} {}, {}",
                    said(state, &[*id].into()),
                    said(most, right)
                );
                compared.found.insert(id.to_string(), finding(state.0, message));
                wrong.insert(*id);
            }
        }
    }
    compared.agree.retain(|id| !wrong.contains(id));
    for (index, mut states) in by_index {
        without(&mut states, &wrong);
        if states.len() > 1 && states.values().all(|ids| 2 * ids.len() <= members) {
            let all: Vec<String> = states.iter().map(|(state, ids)| said(state, ids)).collect();
            let message = format!(
                "after log entry {index} {}: no majority tells which is right",
                all.join(", ")
            );
            let revision = states.keys().next_back().map_or(Revision(0), |(revision, _)| *revision);
            compared.found.entry(UNDECIDED.to_owned()).or_insert(finding(revision, message));
        }
    }
    compared
}

fn by_index(marks: &BTreeMap<MemberId, Vec<Mark>>) -> BTreeMap<LogIndex, States> {
    let mut by_index: BTreeMap<LogIndex, States> = BTreeMap::new();
    for (id, marks) in marks {
        // Before the first entry a state is what it was restored from, or nothing.
        for mark in marks.iter().filter(|mark| mark.index.get() > 0) {
            let states = by_index.entry(mark.index).or_default();
            states.entry((mark.revision, mark.hash.0)).or_default().insert(*id);
        }
    }
    by_index
}

fn without(states: &mut States, wrong: &BTreeSet<MemberId>) {
    states.retain(|_, ids| {
        ids.retain(|id| !wrong.contains(id));
        !ids.is_empty()
    });
}

fn finding(revision: Revision, message: String) -> Finding {
    Finding { value: revision.get(), ..Finding::new(Severity::Critical, message) }
}

/// `members 1, 2 have state 00000000000000ab at revision 7`.
fn said((revision, hash): &(Revision, u64), ids: &BTreeSet<MemberId>) -> String {
    let all: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let who = match ids.len() {
        1 => format!("member {} has", all[0]),
        _ => format!("members {} have", all.join(", ")),
    };
    format!("{who} state {} at revision {revision}", StateHash(*hash))
}
