//! A request with a session and a serial is applied at most once, however often and wherever it is
//! sent, and every answer to it is the same.

use std::collections::BTreeMap;

use quorate_node::core::Revision;

use crate::simulation::story::{Asked, End, Told};

pub(super) fn check(told: &Told) -> Vec<String> {
    let mut answers: BTreeMap<u64, Vec<Revision>> = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for call in &told.calls {
        if let Asked::Once { request, key, .. } = &call.asked {
            keys.insert(key, *request);
            if let End::Done { revision, .. } = call.end {
                answers.entry(*request).or_default().push(revision);
            }
        }
    }
    let mut applied: BTreeMap<u64, Vec<Revision>> = BTreeMap::new();
    for (revision, event) in &told.events {
        for change in &event.event.changes {
            if let Some(request) = keys.get(&change.key) {
                applied.entry(*request).or_default().push(*revision);
            }
        }
    }
    let twice = applied
        .iter()
        .filter(|(_, revisions)| revisions.len() > 1)
        .map(|(request, revisions)| format!("request {request} was applied at {revisions:?}"));
    let differently = answers.iter().filter_map(|(request, answers)| {
        let applied = applied.get(request).and_then(|revisions| revisions.first());
        let same = answers.iter().all(|answer| Some(answer) == applied);
        (!same).then(|| format!("request {request} is at {applied:?}, answers said {answers:?}"))
    });
    twice.chain(differently).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{done, event, once};
    use super::*;

    fn told(answers: &[u64], revisions: &[u64]) -> Told {
        let calls = answers.iter().map(|revision| once(7, done(*revision))).collect();
        let events = revisions.iter().map(|revision| event(*revision, "once/7", "7")).collect();
        Told { calls, events, ..Told::default() }
    }

    #[test]
    fn repeats_are_found() {
        assert_eq!(check(&told(&[3, 3], &[3])), [""; 0]);
        assert_eq!(check(&told(&[3], &[3, 4])).len(), 1, "applied twice");
        assert_eq!(check(&told(&[3, 4], &[3])).len(), 1, "another answer");
        assert_eq!(check(&told(&[3], &[])).len(), 1, "never applied");
    }
}
