//! What must hold of a story, whatever faults were made. One invariant a file.
//!
//! An invariant is a pure function of the story. It names what it found in a sentence for a
//! person, with times, so that the trace of the seed can be looked at there.

mod agreement;
mod exactly_once;
mod order;
mod ownership;
#[cfg(test)]
mod samples;
mod sessions;
mod streams;
mod values;

use std::fmt;

use super::story::Told;

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Coordinators never tell the same thing differently.
    Agreement,
    /// Answers respect real time: nothing acknowledged is ever unseen later.
    Order,
    /// Reads and conditions see what the order of revisions says; what was acknowledged is there.
    Values,
    /// A request is applied at most once, and every answer to it is the same.
    ExactlyOnce,
    /// A session lives as long as its holder may rely on it, and ends soon after.
    Sessions,
    /// A partition has one owner that may act at any time.
    Ownership,
    /// A change stream tells every matching change once, in order.
    Streams,
    /// The cluster goes on when nothing is wrong any more.
    Progress,
}

/// Finds what does not hold in a story, in sentences for a person.
type Check = fn(&Told) -> Vec<String>;

impl Invariant {
    /// Those that are checked on a story.
    const CHECKED: [(Self, Check); 7] = [
        (Self::Agreement, agreement::check),
        (Self::Order, order::check),
        (Self::Values, values::check),
        (Self::ExactlyOnce, exactly_once::check),
        (Self::Sessions, sessions::check),
        (Self::Ownership, ownership::check),
        (Self::Streams, streams::check),
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agreement => "agreement",
            Self::Order => "order",
            Self::Values => "values",
            Self::ExactlyOnce => "exactly-once",
            Self::Sessions => "sessions",
            Self::Ownership => "ownership",
            Self::Streams => "streams",
            Self::Progress => "progress",
        })
    }
}

/// Everything that does not hold.
pub(super) fn check(told: &Told) -> Vec<(Invariant, String)> {
    let found = |(invariant, check): &(Invariant, Check)| {
        check(told).into_iter().map(|what| (*invariant, what)).collect::<Vec<_>>()
    };
    Invariant::CHECKED.iter().flat_map(found).collect()
}
