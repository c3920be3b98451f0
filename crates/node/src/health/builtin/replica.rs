//! Members whose states differ.
//!
//! Equal states are what everything else stands on: one that differs comes of a fault of this
//! software or of the machine, and is not mended by itself.

use std::{cmp::Reverse, collections::BTreeMap};

use async_trait::async_trait;
use quorate_core::{LogIndex, MemberId, Name, Revision, Severity, StateHash};
use quorate_storage::Mark;

use crate::health::check::{Finding, Findings, HealthCheck, HealthContext};

/// What the members' states were after the same log entries.
pub(super) struct StateDiffers;

#[async_trait]
impl HealthCheck for StateDiffers {
    fn name(&self) -> Name {
        Name::new("state_differs").expect("the text is a valid name")
    }

    async fn check(&self, context: &HealthContext) -> Result<Findings, String> {
        Ok(differing(&context.marks().await))
    }
}

/// Members whose state is not that of most others, of as many the one with the lowest id: one finding
/// each, about the oldest log entry after which that is seen.
pub(super) fn differing(members: &BTreeMap<MemberId, Vec<Mark>>) -> Findings {
    /// By revision and hash.
    type Same = BTreeMap<(Revision, u64), Vec<MemberId>>;
    let mut by_index: BTreeMap<LogIndex, Same> = BTreeMap::new();
    for (id, marks) in members {
        let mut marks = marks.clone();
        // The newest may be one that is kept, too.
        marks.dedup();
        // Before the first entry a state is what it was restored from, or nothing.
        for mark in marks.into_iter().filter(|mark| mark.index.get() > 0) {
            let same = by_index.entry(mark.index).or_default();
            same.entry((mark.revision, mark.hash.0)).or_default().push(*id);
        }
    }
    let mut findings = Findings::new();
    for (index, states) in by_index {
        let most = states.iter().max_by_key(|(_, ids)| (ids.len(), Reverse(ids.first().copied())));
        let Some((most, right)) = most else { continue };
        for ((revision, hash), ids) in states.iter().filter(|(state, _)| *state != most) {
            for id in ids {
                let message = format!(
                    "after log entry {index} member {id} has state {} at revision {revision}, {} {} at \
                     revision {}",
                    StateHash(*hash),
                    listed(right),
                    StateHash(most.1),
                    most.0
                );
                let severity = Severity::Critical;
                let finding = Finding { value: revision.get(), ..Finding::new(severity, message) };
                findings.entry(id.to_string()).or_insert(finding);
            }
        }
    }
    findings
}

/// `member 1 has`, `members 1, 2 have`.
fn listed(ids: &[MemberId]) -> String {
    let all: Vec<String> = ids.iter().map(ToString::to_string).collect();
    match ids.len() {
        1 => format!("member {} has", all[0]),
        _ => format!("members {} have", all.join(", ")),
    }
}
