//! Makes evidence short.
//!
//! Owns which operations may be left out of a history without turning a good one bad: everything
//! after a point in time (linearizability is prefix-closed), operations that change nothing, and
//! writes whose value nobody saw or expected. So what is left is still proof. Must not know why a
//! history is broken.

use super::{
    register::{items, observed},
    wgl::{Linearity, Steps, search},
};
use crate::history::{
    Answer, Call, Nanos,
    pair::{End, Operation},
};

/// The bound of one search; what cannot be decided within it is kept.
const STEPS_MAX: Steps = Steps(200_000);

/// A short part of a broken register's history that is broken too.
pub(crate) fn shortest(operations: &[&Operation]) -> Vec<Operation> {
    let all: Vec<Operation> = operations.iter().copied().cloned().collect();
    let mut kept = shortest_prefix(&all);
    loop {
        let before = kept.len();
        leave_out(&mut kept);
        if kept.len() == before {
            return kept;
        }
    }
}

/// The history up to the answer with which it breaks.
fn shortest_prefix(all: &[Operation]) -> Vec<Operation> {
    let mut answers: Vec<Nanos> = all.iter().filter_map(Operation::answered).collect();
    answers.sort_unstable();
    let first = answers.partition_point(|until| !is_broken(&prefix(all, *until)));
    match answers.get(first) {
        Some(until) => prefix(all, *until),
        None => all.to_vec(),
    }
}

fn prefix(all: &[Operation], until: Nanos) -> Vec<Operation> {
    all.iter()
        .filter(|operation| operation.invoked <= until)
        .cloned()
        .map(|mut operation| {
            if operation.answered().is_some_and(|answered| answered > until) {
                operation.end = End::Unknown;
            }
            operation
        })
        .collect()
}

/// One pass: tries to do without each operation that may be left out, the latest first.
fn leave_out(kept: &mut Vec<Operation>) {
    for at in (0..kept.len()).rev() {
        let without: Vec<Operation> = kept
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(_, o)| o.clone())
            .collect();
        if may_go(&kept[at], &without) && is_broken(&without) {
            *kept = without;
        }
    }
}

fn may_go(operation: &Operation, others: &[Operation]) -> bool {
    let changes_nothing = match (&operation.end, operation.call) {
        (End::Fail, _) | (_, Call::Read) => true,
        (End::Ok { answer, .. }, _) => matches!(answer, Answer::Mismatch { .. }),
        (End::Unknown, _) => false,
    };
    let others: Vec<&Operation> = others.iter().collect();
    changes_nothing
        || operation.call.written().is_none_or(|value| !observed(&others).contains(&value))
}

fn is_broken(operations: &[Operation]) -> bool {
    let operations: Vec<&Operation> = operations.iter().collect();
    search(&items(&operations), STEPS_MAX) == Linearity::Broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, ok_read, seen, written},
        history::{KeyId, Value, pair},
    };

    #[test]
    fn only_what_proves_it_is_left() {
        let mut history = History::new();
        for value in 1..=40 {
            let call = Call::Write { value: Value(value) };
            history.run(1, 1, call, written(), value);
            history.run(2, 1, Call::Read, ok_read(seen(value, value, value)), value);
        }
        history.run(2, 1, Call::Read, ok_read(seen(38, 38, 38)), 38);
        history.run(1, 1, Call::Write { value: Value(50) }, written(), 41);
        history.run(2, 1, Call::Read, ok_read(seen(50, 41, 41)), 41);
        let operations = pair::operations(&history.lines).unwrap();
        let short = shortest(&pair::by_key(&operations)[&KeyId(1)]);
        assert!(is_broken(&short));
        assert_eq!(short.len(), 3, "{short:#?}");
        assert_eq!(short[0].call, Call::Write { value: Value(38) });
        assert_eq!(short[2].call, Call::Read);
    }
}
