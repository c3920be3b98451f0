//! Answers respect real time (linearizability, by the revisions that answers carry): an answer is
//! never from before one that had arrived when its call began, a write's is later than all those,
//! and no two writes share a revision.

use std::collections::BTreeMap;

use quorate_node::core::Revision;

use crate::simulation::story::{Asked, CallStory, End, Told};

pub(super) fn check(told: &Told) -> Vec<String> {
    let mut found = real_time(&told.calls);
    let mut writers: BTreeMap<Revision, &CallStory> = BTreeMap::new();
    for call in &told.calls {
        let Some(revision) = changed(call) else { continue };
        if let Some(other) = writers.insert(revision, call)
            && other.asked != call.asked
        {
            found.push(format!("one revision for two writes: {other:?} and {call:?}"));
        }
    }
    found
}

/// The revision that a call made. None: it changed nothing.
fn changed(call: &CallStory) -> Option<Revision> {
    match (&call.asked, &call.end) {
        (
            Asked::Write { .. } | Asked::Once { .. } | Asked::Guarded { .. },
            End::Done { revision, .. },
        )
        | (Asked::Swap { .. }, End::Done { revision, swapped: true, .. }) => Some(*revision),
        _ => None,
    }
}

fn real_time(calls: &[CallStory]) -> Vec<String> {
    let mut found = Vec::new();
    // Calls are in the order of their ends; the highest revision up to each.
    let mut highest: Vec<(&CallStory, Revision)> = Vec::new();
    for call in calls {
        let End::Done { revision, .. } = call.end else { continue };
        let before = highest.partition_point(|(other, _)| other.ended < call.began);
        if let Some((_, seen)) = before.checked_sub(1).map(|at| highest[at]) {
            // A repeat is answered as the first time, however old that is.
            let again = matches!(call.asked, Asked::Once { .. });
            let late = if changed(call).is_some() { revision <= seen } else { revision < seen };
            if late && !again {
                found.push(format!("revision {seen} was answered before this began: {call:?}"));
            }
        }
        let top = highest.last().map_or(revision, |(_, top)| revision.max(*top));
        highest.push((call, top));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::samples::{done, read, write};
    use super::*;

    fn told(calls: Vec<CallStory>) -> Told {
        Told { calls, ..Told::default() }
    }

    #[test]
    fn a_stale_read_is_found() {
        let fresh = told(vec![write(1, 2, "a", done(5)), read(3, 4, "a", done(5))]);
        assert_eq!(check(&fresh), [""; 0]);
        let stale = told(vec![write(1, 2, "a", done(5)), read(3, 4, "a", done(4))]);
        assert_eq!(check(&stale).len(), 1);
        // Began before the write was answered: either is right.
        let during = told(vec![write(1, 3, "a", done(5)), read(2, 4, "a", done(4))]);
        assert_eq!(check(&during), [""; 0]);
    }

    #[test]
    fn two_writes_at_one_revision_are_found() {
        let twice = told(vec![write(1, 4, "a", done(5)), write(2, 5, "b", done(5))]);
        assert_eq!(check(&twice).len(), 1);
    }

    #[test]
    fn a_write_that_is_not_later_is_found() {
        let late = told(vec![read(1, 2, "a", done(5)), write(3, 4, "b", done(5))]);
        assert_eq!(check(&late).len(), 1);
    }
}
