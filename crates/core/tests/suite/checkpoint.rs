//! Taking a state apart and putting it together again.

use std::sync::Arc;

use proptest::prelude::*;
use quorate_core::{
    Event, Key, KeyedRecord, Revision, State, StateHash, apply_request,
    checkpoint::{Builder, Mismatch, Summary},
    codec,
};

use crate::generate::{run, steps};

/// A state in pieces.
#[derive(Clone)]
struct Pieces {
    summary: Summary,
    records: Vec<KeyedRecord>,
    events: Vec<Arc<Event>>,
}

impl Pieces {
    fn of(state: &State) -> Self {
        let history = state.history();
        Self {
            summary: state.summary(),
            records: state.records_from(&Key::entry("")).collect(),
            events: history.from(history.oldest()).cloned().collect(),
        }
    }

    /// As they come back from a disk.
    fn stored(&self) -> Self {
        Self {
            summary: codec::decode(&codec::encode(&self.summary)).unwrap(),
            records: codec::decode(&codec::encode(&self.records)).unwrap(),
            events: codec::decode(&codec::encode(&self.events)).unwrap(),
        }
    }

    fn build(self) -> Result<State, Mismatch> {
        let mut builder = Builder::new(self.summary);
        for (key, record) in self.records {
            builder.record(key, record)?;
        }
        for event in self.events {
            builder.event(event)?;
        }
        builder.finish()
    }
}

proptest! {
    #![proptest_config(crate::cases(64))]

    #[test]
    fn a_checkpoint_and_the_tail_give_the_same_as_the_whole_log(
        steps in steps(40),
        split in 0..40_usize,
    ) {
        let (whole, log) = run(&steps);
        let split = split.min(steps.len());
        let (early, _) = run(&steps[..split]);
        let mut restored = Pieces::of(&early).stored().build().unwrap();
        prop_assert_eq!(restored.hash(), early.hash());
        prop_assert_eq!(restored.settings(), early.settings());
        for logged in &log[split..] {
            apply_request(&mut restored, logged.at, &logged.request);
        }
        prop_assert_eq!(restored.summary(), whole.summary());
        prop_assert!(restored.records().eq(whole.records()));
        prop_assert!(whole.changed_since(&restored).is_empty());
        let oldest = whole.history().oldest();
        prop_assert!(restored.history().from(oldest).eq(whole.history().from(oldest)));
    }

    #[test]
    fn a_damaged_checkpoint_is_refused(steps in steps(30), at in any::<prop::sample::Index>()) {
        let (state, _) = run(&steps);
        prop_assume!(!state.is_empty());
        let pieces = Pieces::of(&state);
        prop_assert!(pieces.clone().build().is_ok());
        for (name, damaged) in damages(&pieces, at.index(pieces.records.len())) {
            prop_assert!(damaged.build().is_err(), "{} went unnoticed", name);
        }
    }
}

/// Ways in which the pieces are not those of the summary.
fn damages(pieces: &Pieces, at: usize) -> Vec<(&'static str, Pieces)> {
    let damage = |change: &dyn Fn(&mut Pieces)| {
        let mut pieces = pieces.clone();
        change(&mut pieces);
        pieces
    };
    let mut damaged = vec![
        ("a lost record", damage(&|p| drop(p.records.remove(at)))),
        ("a repeated record", damage(&|p| p.records.insert(at, p.records[at].clone()))),
        ("a lost event", damage(&|p| drop(p.events.pop()))),
        ("a lost first event", damage(&|p| drop(p.events.remove(0)))),
        ("a repeated event", damage(&|p| p.events.push(p.events[0].clone()))),
        ("another version", damage(&|p| Arc::make_mut(&mut p.records[at].1).version += 1)),
        ("another revision", damage(&|p| p.summary.revision = p.summary.revision.next())),
        ("another oldest", damage(&|p| p.summary.oldest = Revision(p.summary.oldest.0 + 1))),
        ("a huge oldest", damage(&|p| p.summary.oldest = Revision(u64::MAX))),
        ("another time", damage(&|p| p.summary.time_ms += 1)),
        ("another hash", damage(&|p| p.summary.hash = StateHash(p.summary.hash.0 ^ 1))),
        ("another cluster", damage(&|p| p.summary.identity.cluster_id.0 += 1)),
        ("another event time", damage(&|p| Arc::make_mut(&mut p.events[0]).time_ms += 1)),
        ("a lost change", damage(&|p| drop(Arc::make_mut(&mut p.events[0]).changes.pop()))),
    ];
    if pieces.records.len() > 1 {
        damaged.push(("another order", damage(&|p| p.records.reverse())));
    }
    damaged
}
