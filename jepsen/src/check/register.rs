//! The sequential model of one register, and which operations matter to it.
//!
//! Owns the meaning of reads, writes and compare-and-swaps. Must not know how an order is searched.
//!
//! Operations that cannot change the answer are left out before the search, because each operation
//! of unknown outcome doubles it: refused ones; reads without an answer; and writes of unknown
//! outcome whose value no other operation saw or expected. The last is sound because every write of
//! a run has a value of its own and a compare-and-swap that did not swap reports what it saw: if an
//! order with such a write explains the rest, so does the same order without it.

use std::collections::HashSet;

use super::wgl::Item;
use crate::history::{
    Answer, Call, Value,
    pair::{End, Operation},
};

/// The state of one register; none: it does not exist.
pub(crate) type Register = Option<Value>;

/// One operation as the model takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It held this.
    Read(Register),
    /// It took this.
    Write(Value),
    /// It held the first and took the second.
    Swap(Register, Value),
    /// It held the second and therefore not the first.
    Mismatch(Register, Register),
}

impl Action {
    /// The state after it; none: it cannot happen in this state.
    pub(crate) fn step(self, state: Register) -> Option<Register> {
        match self {
            Self::Read(seen) => (state == seen).then_some(state),
            Self::Write(value) => Some(Some(value)),
            Self::Swap(expected, value) => (state == expected).then_some(Some(value)),
            Self::Mismatch(expected, seen) => (state == seen && seen != expected).then_some(state),
        }
    }
}

/// The operations of one register that matter, for the search.
pub(crate) fn items(operations: &[&Operation]) -> Vec<Item> {
    relevant(operations)
        .into_iter()
        .filter_map(|operation| {
            let action = action(operation)?;
            Some(Item { action, invoked: operation.invoked, answered: operation.answered() })
        })
        .collect()
}

/// The values that operations saw or expected, each with whoever wrote it left out.
pub(crate) fn observed(operations: &[&Operation]) -> HashSet<Value> {
    let mut values = HashSet::new();
    for operation in operations {
        if operation.end == End::Fail {
            continue;
        }
        if let Call::Cas { expected: Some(expected), .. } = operation.call {
            values.insert(expected);
        }
        if let Some((answer, _)) = operation.answer()
            && let Some(Some(seen)) = answer.seen()
        {
            values.insert(seen.value);
        }
    }
    values
}

fn relevant<'a>(operations: &[&'a Operation]) -> Vec<&'a Operation> {
    let mut kept: Vec<&Operation> =
        operations.iter().copied().filter(|operation| action(operation).is_some()).collect();
    if !values_are_unique(&kept) {
        return kept;
    }
    loop {
        let (before, observed) = (kept.len(), observed(&kept));
        kept.retain(|operation| {
            operation.end != End::Unknown
                || operation.call.written().is_some_and(|value| observed.contains(&value))
        });
        if kept.len() == before {
            return kept;
        }
    }
}

fn values_are_unique(operations: &[&Operation]) -> bool {
    let mut values = HashSet::new();
    operations.iter().filter_map(|operation| operation.call.written()).all(|v| values.insert(v))
}

fn action(operation: &Operation) -> Option<Action> {
    match (&operation.end, operation.call) {
        (End::Fail, _) | (End::Unknown, Call::Read) => None,
        (End::Unknown, Call::Write { value }) => Some(Action::Write(value)),
        (End::Unknown, Call::Cas { expected, value }) => Some(Action::Swap(expected, value)),
        (End::Ok { answer, .. }, call) => Some(answered(answer, call)),
    }
}

fn answered(answer: &Answer, call: Call) -> Action {
    let value = |seen: &Option<crate::history::Seen>| seen.map(|seen| seen.value);
    match (answer, call) {
        (Answer::Mismatch { seen }, Call::Cas { expected, .. }) => {
            Action::Mismatch(expected, value(seen))
        }
        (Answer::Read { seen } | Answer::Mismatch { seen }, _) => Action::Read(value(seen)),
        (_, Call::Write { value }) => Action::Write(value),
        (_, Call::Cas { expected, value }) => Action::Swap(expected, value),
        // A read answered as a write has seen nothing: it can be explained by no state.
        (_, Call::Read) => Action::Mismatch(None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{History, ok_read, seen, swapped},
        history::{KeyId, pair},
    };

    fn actions(history: &History) -> Vec<Action> {
        let operations = pair::operations(&history.lines).unwrap();
        let keys = pair::by_key(&operations);
        items(&keys[&KeyId(1)]).into_iter().map(|item| item.action).collect()
    }

    #[test]
    fn steps_follow_the_register() {
        let one = Some(Value(1));
        assert_eq!(Action::Read(None).step(None), Some(None));
        assert_eq!(Action::Read(one).step(None), None);
        assert_eq!(Action::Swap(None, Value(1)).step(None), Some(one));
        assert_eq!(Action::Swap(None, Value(2)).step(one), None);
        assert_eq!(Action::Mismatch(None, one).step(one), Some(one));
        assert_eq!(Action::Mismatch(one, one).step(one), None, "it should have swapped");
    }

    #[test]
    fn a_write_of_unknown_outcome_stays_only_if_somebody_saw_it() {
        let mut history = History::new();
        history.unknown(1, 1, Call::Write { value: Value(5) });
        history.unknown(2, 1, Call::Write { value: Value(6) });
        history.unknown(3, 1, Call::Read);
        history.fail(4, 1, Call::Write { value: Value(7) });
        history.run(5, 1, Call::Read, ok_read(seen(6, 3, 1)), 3);
        assert_eq!(actions(&history), [Action::Write(Value(6)), Action::Read(Some(Value(6)))]);
    }

    #[test]
    fn a_chain_of_unknown_swaps_that_leads_nowhere_goes() {
        let mut history = History::new();
        history.unknown(1, 1, Call::Write { value: Value(5) });
        history.unknown(2, 1, Call::Cas { expected: Some(Value(5)), value: Value(6) });
        assert_eq!(actions(&history), []);
    }

    #[test]
    fn what_a_swap_expected_counts_as_seen() {
        let mut history = History::new();
        history.unknown(1, 1, Call::Write { value: Value(5) });
        let cas = Call::Cas { expected: Some(Value(5)), value: Value(6) };
        history.run(2, 1, cas, swapped(), 2);
        assert_eq!(
            actions(&history),
            [Action::Write(Value(5)), Action::Swap(Some(Value(5)), Value(6))]
        );
    }

    #[test]
    fn nothing_is_left_out_when_values_repeat() {
        let mut history = History::new();
        history.unknown(1, 1, Call::Write { value: Value(5) });
        history.unknown(2, 1, Call::Write { value: Value(5) });
        assert_eq!(actions(&history).len(), 2);
    }
}
