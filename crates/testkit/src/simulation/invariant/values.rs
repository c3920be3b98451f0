//! What was answered is what the order of revisions says: a read saw what its key held at the
//! revision of its answer; a write is there, at its revision, and nowhere else; a condition held or
//! did not; what was refused is nowhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_node::core::{Key, Kind, Revision};

use crate::simulation::story::{Asked, CallStory, End, Told, entry};

/// What each key held, from which revision on; and where each value was written.
struct Replay {
    held: BTreeMap<Key, BTreeMap<Revision, Option<Bytes>>>,
    written: BTreeMap<(Key, Bytes), Vec<Revision>>,
}

pub(super) fn check(told: &Told) -> Vec<String> {
    let replay = Replay::of(told);
    told.calls.iter().filter_map(|call| replay.wrong(call)).collect()
}

impl Replay {
    fn of(told: &Told) -> Self {
        let (mut held, mut written) = (BTreeMap::new(), BTreeMap::new());
        let changes = told.events.iter().flat_map(|(revision, applied)| {
            applied.event.changes.iter().map(move |change| (*revision, change))
        });
        for (revision, change) in changes.filter(|(_, change)| change.key.kind == Kind::Entry) {
            let value = change.current.as_ref().and_then(|record| entry(&record.value));
            if let Some(value) = &value {
                let place: &mut Vec<_> =
                    written.entry((change.key.clone(), value.clone())).or_default();
                place.push(revision);
            }
            let key: &mut BTreeMap<_, _> = held.entry(change.key.clone()).or_default();
            key.insert(revision, value);
        }
        Self { held, written }
    }

    fn at(&self, key: &Key, revision: Revision) -> Option<Bytes> {
        self.held.get(key)?.range(..=revision).next_back()?.1.clone()
    }

    fn wrong(&self, call: &CallStory) -> Option<String> {
        let key = call.asked.key();
        let places = call.asked.value().map(|value| {
            let places = self.written.get(&(key.clone(), value.clone()));
            places.cloned().unwrap_or_default()
        });
        let places = places.unwrap_or_default();
        let what = match (&call.asked, &call.end) {
            (Asked::Read { .. }, End::Done { revision, seen, .. }) => {
                let held = self.at(key, *revision);
                (held != *seen).then(|| format!("it held {held:?}"))
            }
            (Asked::Swap { expected, .. }, End::Done { revision, swapped: false, .. }) => {
                let held = self.at(key, *revision);
                let wrong = held.as_ref() == Some(expected) || !places.is_empty();
                wrong.then(|| format!("it held {held:?}, and was written at {places:?}"))
            }
            (Asked::Swap { expected, .. }, End::Done { revision, .. })
                if self.at(key, Revision(revision.get() - 1)).as_ref() != Some(expected) =>
            {
                Some("it did not hold that".to_owned())
            }
            (_, End::Done { revision, .. }) => {
                (places != [*revision]).then(|| format!("it was written at {places:?}"))
            }
            (Asked::Read { .. }, End::Refused | End::Unknown) => None,
            // Of a request that is sent again only the whole tells.
            (Asked::Once { .. }, End::Refused | End::Unknown) => None,
            (_, End::Refused) => {
                (!places.is_empty()).then(|| format!("it was written at {places:?}"))
            }
            (_, End::Unknown) => {
                (places.len() > 1).then(|| format!("it was written at {places:?}"))
            }
        };
        what.map(|what| format!("{what}: {call:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{done, event, read, saw, swap, write};
    use super::*;

    fn told(calls: Vec<CallStory>, events: &[(u64, &str, &str)]) -> Told {
        let events = events.iter().map(|(revision, key, value)| event(*revision, key, value));
        Told { calls, events: events.collect(), ..Told::default() }
    }

    #[test]
    fn each_kind_of_lie_is_found() {
        let events = [(1, "a", "a1"), (2, "b", "b2"), (3, "a", "a3")];
        let one = |call| check(&told(vec![call], &events)).len();
        assert_eq!(one(read(1, 2, "a", saw(2, "a1"))), 0);
        assert_eq!(one(read(1, 2, "a", saw(3, "a1"))), 1, "an old value");
        assert_eq!(one(read(1, 2, "c", done(3))), 0);
        assert_eq!(one(read(1, 2, "c", saw(3, "a1"))), 1, "a value from nowhere");
        assert_eq!(one(write(1, 2, "a3", done(3))), 0);
        assert_eq!(one(write(1, 2, "a3", done(2))), 1, "another revision");
        assert_eq!(one(write(1, 2, "a9", done(4))), 1, "acknowledged and not there");
        assert_eq!(one(write(1, 2, "a9", End::Refused)), 0);
        assert_eq!(one(write(1, 2, "a9", End::Unknown)), 0);
        assert_eq!(one(write(1, 2, "a3", End::Refused)), 1, "refused and there");
        assert_eq!(one(swap(1, 2, "a3", "a1", done(3))), 0);
        assert_eq!(one(swap(1, 2, "a3", "b2", done(3))), 1, "it did not hold that");
        let refused = || End::Done { revision: Revision(3), seen: None, swapped: false };
        assert_eq!(one(swap(1, 2, "a9", "a3", refused())), 1, "it held what was expected");
        assert_eq!(one(swap(1, 2, "a9", "a1", refused())), 0);
    }

    #[test]
    fn a_write_of_unknown_outcome_that_is_there_twice_is_found() {
        let events = [(1, "a", "a1"), (2, "a", "a1")];
        assert_eq!(check(&told(vec![write(1, 2, "a1", End::Unknown)], &events)).len(), 1);
    }
}
