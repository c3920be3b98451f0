//! What was seen is compared with the write that it came from. Values are unique in a run, so what
//! is seen says who wrote it.
//!
//! Owns the rules:
//! - it was written, by a write that was not refused and had begun;
//! - it is dated with its write's revision, which is none after the one that it was seen at, and the
//!   same for everybody;
//! - what was in use is seen once more when everything is healed.
//!
//! A write of unknown outcome gets its revision from whoever saw it. Must not know what is written,
//! nor what else was seen.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use quorate_core::Revision;

use super::{Check, Finding, Verdict, streams::story::Fate};
use crate::history::{KeyId, LineIndex, Nanos};

/// The revisions of writes of unknown outcome, as others saw them.
pub(crate) type Pins = HashMap<LineIndex, Revision>;

/// How a checker speaks of writes.
pub(crate) struct Words {
    /// Of one of them.
    pub(crate) write: &'static str,
    /// What it did.
    pub(crate) written: &'static str,
    /// What others did.
    pub(crate) seen: &'static str,
}

/// What was seen, by whoever was answered at a revision.
pub(crate) struct Sighting<'a> {
    /// What.
    pub(crate) value: &'a dyn fmt::Display,
    /// When that was told.
    pub(crate) answered: Option<Nanos>,
    /// At which revision.
    pub(crate) at: Revision,
    /// The revision that it is said to come from; none: nothing is said of it.
    pub(crate) dated: Option<Revision>,
}

impl Words {
    /// Something was seen that comes from nowhere.
    pub(crate) fn unwritten(&self, value: &dyn fmt::Display) -> String {
        format!("{value} was {} but never {}", self.seen, self.written)
    }

    /// What is wrong with seeing something that was written by this write.
    pub(crate) fn wrong(&self, of: &Sighting<'_>, invoked: Nanos, fate: Fate) -> Vec<String> {
        let Self { write, written, seen } = self;
        let Sighting { value, answered, at, dated } = of;
        let mut wrong = Vec::new();
        wrong.extend(dated.and_then(|dated| self.too_new(dated, *at)));
        if answered.is_some_and(|answered| answered < invoked) {
            wrong.push(format!("{value} was {seen} before it was {written}"));
        }
        match (fate, dated) {
            (Fate::Refused, _) => {
                wrong.push(format!("{value} was {seen}, but its {write} was refused"));
            }
            (Fate::Acknowledged { revision, .. }, Some(dated)) if revision != *dated => {
                let what = format!("{value} was {written} at revision {revision}");
                wrong.push(format!("{what} but {seen} as of {dated}"));
            }
            (Fate::Acknowledged { .. } | Fate::Unknown, _) => {}
        }
        wrong
    }

    /// What is wrong with seeing something of one revision at another.
    pub(crate) fn too_new(&self, dated: Revision, at: Revision) -> Option<String> {
        let Self { written, seen, .. } = self;
        (dated > at).then(|| format!("what was {written} at revision {dated} was {seen} at {at}"))
    }

    /// Notes the revision of a write of unknown outcome; what is wrong with that.
    pub(crate) fn pin(&self, pins: &mut Pins, id: LineIndex, dated: Revision) -> Option<String> {
        let other = pins.insert(id, dated).filter(|other| *other != dated)?;
        Some(format!("one {} was {} at revisions {other} and {dated}", self.write, self.seen))
    }
}

/// Those in use of which nothing was heard after healing, as findings that are so bad.
pub(crate) fn unheard(
    used: &BTreeSet<KeyId>,
    heard: &BTreeSet<KeyId>,
    told: impl Fn(KeyId) -> (Check, Verdict, String),
) -> Vec<Finding> {
    let finding = |key: &KeyId| {
        let (check, verdict, message) = told(*key);
        Finding { check, verdict, message, lines: Vec::new() }
    };
    used.difference(heard).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words = Words { write: "write", written: "written", seen: "seen" };

    fn wrong(dated: u64, at: u64, fate: Fate) -> Vec<String> {
        let (at, dated) = (Revision(at), Some(Revision(dated)));
        let sighting = Sighting { value: &7, answered: Some(Nanos(5)), at, dated };
        WORDS.wrong(&sighting, Nanos(3), fate)
    }

    #[test]
    fn what_was_seen_as_it_was_written_is_fine() {
        let acknowledged = Fate::Acknowledged { at: Nanos(9), revision: Revision(2) };
        assert!(wrong(2, 2, acknowledged).is_empty() && wrong(2, 8, acknowledged).is_empty());
        assert!(wrong(2, 2, Fate::Unknown).is_empty());
    }

    #[test]
    fn what_cannot_have_been_seen_is_told() {
        let acknowledged = Fate::Acknowledged { at: Nanos(9), revision: Revision(2) };
        assert_eq!(wrong(3, 3, acknowledged), ["7 was written at revision 2 but seen as of 3"]);
        assert_eq!(wrong(2, 1, acknowledged), ["what was written at revision 2 was seen at 1"]);
        assert_eq!(wrong(2, 2, Fate::Refused), ["7 was seen, but its write was refused"]);
        assert_eq!(WORDS.unwritten(&7), "7 was seen but never written");
        let (at, answered) = (Revision(1), Some(Nanos(5)));
        let early = Sighting { value: &7, answered, at, dated: None };
        let told = WORDS.wrong(&early, Nanos(6), Fate::Unknown);
        assert_eq!(told, ["7 was seen before it was written"]);
    }

    #[test]
    fn one_write_has_one_revision() {
        let mut pins = Pins::new();
        assert_eq!(WORDS.pin(&mut pins, LineIndex(1), Revision(4)), None);
        assert_eq!(WORDS.pin(&mut pins, LineIndex(1), Revision(4)), None);
        let other = WORDS.pin(&mut pins, LineIndex(1), Revision(5)).unwrap();
        assert_eq!(other, "one write was seen at revisions 4 and 5");
    }
}
