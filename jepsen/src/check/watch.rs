//! The rules of the workload `watch`: change streams under writes, see [`super::streams`].
//!
//! Owns what that workload must have done. Must not know the rules of streams.

use super::{
    Check, Finding, Found, Work, order,
    order::Place,
    seconds,
    streams::{
        self, Telling,
        story::{Attempt, Fate},
    },
};
use crate::history::{
    Line, What,
    kv::{KvAnswer, KvCall},
    pair::{self, Malformed, Paired},
};

/// That of all keys of the workload.
const PREFIX: &str = "watch/";

/// All rules, and the order of these operations with others.
pub(crate) fn check<'a>(lines: &'a [Line], others: Vec<Place<'a>>) -> Result<Found, Malformed> {
    let operations = operations(lines)?;
    let attempts: Vec<Attempt<'_>> = operations.iter().filter_map(attempt).collect();
    let telling = streams::check(lines, PREFIX, PREFIX, &attempts, &others);
    let mut found = Found::default();
    found.findings.extend(incomplete(&telling, &attempts));
    let Telling { findings, pins, counts, .. } = telling;
    found.findings.extend(findings);
    found.findings.extend(order::check_with(Place::of_writes(&operations, &pins), others));
    let seconds = seconds(lines);
    found.work = vec![
        Work { name: "revisions delivered", done: counts.delivered, needed: 20 * seconds },
        Work { name: "changes compared with before", done: counts.compared, needed: 20 * seconds },
        Work { name: "streams resumed by token", done: counts.resumed, needed: seconds / 2 },
        Work { name: "snapshots", done: counts.snapshots, needed: seconds / 5 },
        Work { name: "notices of progress", done: counts.bookmarks, needed: seconds / 2 },
        Work { name: "told that history is lost", done: counts.lost, needed: seconds / 30 },
        Work { name: "told that a start is in the future", done: counts.future, needed: 1 },
    ];
    Ok(found)
}

/// The writes of keys, from beginning to end.
pub(super) fn operations(lines: &[Line]) -> Result<Vec<Paired<KvCall, KvAnswer>>, Malformed> {
    pair::events(lines, |what| match what {
        What::Kv(event) => Some(event),
        _ => None,
    })
}

/// What a write was to change.
pub(super) fn attempt(operation: &Paired<KvCall, KvAnswer>) -> Option<Attempt<'_>> {
    let KvCall::Write { puts, deletes } = &operation.call else { return None };
    Some(Attempt {
        id: operation.id,
        invoked: operation.invoked,
        puts: puts.iter().map(|(key, value)| (key.as_str(), *value)).collect(),
        deletes: deletes.iter().map(String::as_str).collect(),
        fate: Fate::of(operation),
        shown: operation,
    })
}

/// Streams that tell only a part decide nothing about the rest.
pub(super) fn incomplete(telling: &Telling, attempts: &[Attempt<'_>]) -> Option<Finding> {
    let acked = attempts.iter().filter_map(|attempt| match attempt.fate {
        Fate::Acknowledged { revision, .. } => Some(revision),
        Fate::Refused | Fate::Unknown => None,
    });
    let (last, until) = (acked.max().unwrap_or_default(), telling.story.complete_until);
    (until < last).then(|| {
        let message = format!("no streams tell everything: up to revision {until} of {last}");
        Finding::unknown(Check::Watch, message)
    })
}
