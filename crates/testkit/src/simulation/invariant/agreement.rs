//! Coordinators never tell the same revision, log entry or term differently, and no revision is
//! missing between the first and the last.

use crate::simulation::story::Told;

pub(super) fn check(told: &Told) -> Vec<String> {
    let mut found = told.disagreements.clone();
    let revisions = told.events.keys();
    for (before, after) in revisions.clone().zip(revisions.skip(1)) {
        if before.next() != *after {
            found.push(format!("nobody was seen to apply what lies between {before} and {after}"));
        }
    }
    found
}
