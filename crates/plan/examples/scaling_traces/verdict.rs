//! What holds of every course, whatever its option set.

use crate::{course::Course, network::PARALLELISM_MAX, outcome::Outcome};

/// What does not hold, a line each.
pub(crate) fn violations(outcomes: &[Outcome]) -> Vec<String> {
    let mut found = Vec::new();
    for Outcome { trace, set, course } in outcomes {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                found.push(format!("{}, {}: {what}", trace.name, set.name));
            }
        };
        must(!trace.is_step() || course.rounds_to_enough.is_some(), "never has enough instances");
        must(!trace.has_change() || course.rounds_to_target.is_some(), "is never back at target");
        must(is_drained(course), "records wait at the end");
        must(course.largest < PARALLELISM_MAX, "grows without end");
    }
    found
}

/// Less waits at the end than is offered in the last second.
fn is_drained(course: &Course) -> bool {
    course.rounds.last().is_some_and(|round| round.waiting < 100)
}
