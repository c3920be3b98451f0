//! The results as a Markdown table: columns as the fields of [`Course`](crate::course::Course).

use std::fmt::Write as _;

use crate::outcome::Outcome;

/// One row for each trace and option set.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = "\
| trace | option set | rounds to enough | rounds to target | over, instance-s | under, instance-s | changes | largest |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"
    .to_owned();
    for Outcome { trace, set, course } in outcomes {
        let rounds = |rounds: Option<u64>| rounds.map_or("-".to_owned(), |n| n.to_string());
        let written = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            trace.name,
            set.name,
            rounds(course.rounds_to_enough),
            rounds(course.rounds_to_target),
            course.over_s,
            course.under_s,
            course.changes,
            course.largest,
        );
        debug_assert!(written.is_ok(), "a text takes everything");
    }
    text
}
