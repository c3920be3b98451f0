//! Searches for an order of operations that explains what clients saw.
//!
//! Owns the search: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with Lowe's
//! memo of (operations placed, state), "Testing for Linearizability" (2017), in the linked-list form
//! of Horn and Kroening (2015). An operation without an answer may be placed anywhere after its
//! beginning, or nowhere.
//!
//! Invariants: bounded: gives up after a number of steps, which also bounds the memo. Must not know
//! where operations come from.

use std::collections::HashSet;

use super::register::{Action, Register};
use crate::history::Nanos;

/// How many placements a search may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps(pub(crate) usize);

/// The default bound: some hundred megabytes of memo at most for one register.
pub(crate) const STEPS_MAX: Steps = Steps(2_000_000);

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it does.
    pub(crate) action: Action,
    /// When it began.
    pub(crate) invoked: Nanos,
    /// When it was answered; none: nobody knows whether it happened.
    pub(crate) answered: Option<Nanos>,
}

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linearity {
    /// An order explains everything.
    Linearizable,
    /// No order does.
    Broken,
    /// The bound was reached first.
    GaveUp,
}

/// Searches for an order that respects real time and explains every answer.
pub(crate) fn search(items: &[Item], steps_max: Steps) -> Linearity {
    let mut search = Search::new(items);
    let mut steps = 0;
    loop {
        if search.unanswered_left == 0 {
            return Linearity::Linearizable;
        }
        if steps == steps_max.0 {
            return Linearity::GaveUp;
        }
        match search.at {
            Some(Point::Call(item)) => {
                steps += 1;
                if !search.place(item) {
                    search.advance();
                }
            }
            // An answer was reached whose operation is not placed, or the end: go back.
            Some(Point::Return(_)) | None => {
                if !search.back() {
                    return Linearity::Broken;
                }
            }
        }
    }
}

/// A point in real time: an operation begins or is answered.
#[derive(Debug, Clone, Copy)]
enum Point {
    Call(usize),
    Return(usize),
}

struct Search<'a> {
    items: &'a [Item],
    points: Vec<Point>,
    list: List,
    /// Position in the list, as an index into `points`.
    position: usize,
    at: Option<Point>,
    calls: Vec<usize>,
    returns: Vec<Option<usize>>,
    placed: Vec<u64>,
    state: Register,
    stack: Vec<(usize, Register)>,
    seen: HashSet<(Box<[u64]>, Register)>,
    /// Answered operations that are not placed yet.
    unanswered_left: usize,
}

impl<'a> Search<'a> {
    fn new(items: &'a [Item]) -> Self {
        let points = points(items);
        let (mut calls, mut returns) = (vec![0; items.len()], vec![None; items.len()]);
        for (position, point) in points.iter().enumerate() {
            match point {
                Point::Call(item) => calls[*item] = position,
                Point::Return(item) => returns[*item] = Some(position),
            }
        }
        let list = List::new(points.len());
        let mut search = Self {
            items,
            list,
            position: 0,
            at: None,
            calls,
            returns,
            placed: vec![0; items.len().div_ceil(64)],
            state: None,
            stack: Vec::new(),
            seen: HashSet::new(),
            unanswered_left: items.iter().filter(|item| item.answered.is_some()).count(),
            points,
        };
        search.rewind();
        search
    }

    /// Places an operation next, if the state allows it and this was not tried before.
    fn place(&mut self, item: usize) -> bool {
        let Some(after) = self.items[item].action.step(self.state) else { return false };
        self.flip(item);
        if !self.seen.insert((self.placed.clone().into_boxed_slice(), after)) {
            self.flip(item);
            return false;
        }
        self.stack.push((item, self.state));
        self.state = after;
        self.list.remove(self.calls[item]);
        if let Some(answer) = self.returns[item] {
            self.list.remove(answer);
            self.unanswered_left -= 1;
        }
        self.rewind();
        true
    }

    /// Takes the last placed operation back and goes on after it.
    fn back(&mut self) -> bool {
        let Some((item, before)) = self.stack.pop() else { return false };
        self.state = before;
        self.flip(item);
        if let Some(answer) = self.returns[item] {
            self.list.restore(answer);
            self.unanswered_left += 1;
        }
        self.list.restore(self.calls[item]);
        self.position = self.calls[item];
        self.advance();
        true
    }

    fn flip(&mut self, item: usize) {
        self.placed[item / 64] ^= 1 << (item % 64);
    }

    fn rewind(&mut self) {
        self.position = self.list.end();
        self.advance();
    }

    fn advance(&mut self) {
        self.position = self.list.after(self.position);
        self.at = self.points.get(self.position).copied();
    }
}

/// A doubly linked list over 0..len, closed by its end.
struct List {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl List {
    fn new(len: usize) -> Self {
        let next = (1..=len).chain([0]).collect();
        let previous = [len].into_iter().chain(0..len).collect();
        Self { next, previous }
    }

    fn end(&self) -> usize {
        self.next.len() - 1
    }

    fn after(&self, position: usize) -> usize {
        self.next[position]
    }

    fn remove(&mut self, position: usize) {
        let (before, after) = (self.previous[position], self.next[position]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    /// Undoes the newest `remove` that is not undone yet.
    fn restore(&mut self, position: usize) {
        let (before, after) = (self.previous[position], self.next[position]);
        self.next[before] = position;
        self.previous[after] = position;
    }
}

/// Beginnings and answers in the order of time; at equal times beginnings first, so that touching
/// operations count as concurrent.
fn points(items: &[Item]) -> Vec<Point> {
    let calls = items.iter().enumerate().map(|(at, item)| (item.invoked, 0, Point::Call(at)));
    let answers = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| Some((item.answered?, 1, Point::Return(at))));
    let mut points: Vec<(Nanos, u8, Point)> = calls.chain(answers).collect();
    points.sort_by_key(|(time, order, _)| (*time, *order));
    points.into_iter().map(|(_, _, point)| point).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::history::Value;

    fn item(action: Action, invoked: u64, answered: u64) -> Item {
        Item { action, invoked: Nanos(invoked), answered: Some(Nanos(answered)) }
    }

    fn open(action: Action, invoked: u64) -> Item {
        Item { action, invoked: Nanos(invoked), answered: None }
    }

    fn read(value: u64) -> Action {
        Action::Read(Some(Value(value)))
    }

    fn write(value: u64) -> Action {
        Action::Write(Value(value))
    }

    fn check(items: &[Item]) -> Linearity {
        search(items, STEPS_MAX)
    }

    #[test]
    fn nothing_is_linearizable() {
        assert_eq!(check(&[]), Linearity::Linearizable);
    }

    #[test]
    fn a_read_sees_the_write_before_it() {
        assert_eq!(check(&[item(write(1), 0, 1), item(read(1), 2, 3)]), Linearity::Linearizable);
    }

    #[test]
    fn a_stale_read_is_broken() {
        let items = [item(write(1), 0, 1), item(write(2), 2, 3), item(read(1), 4, 5)];
        assert_eq!(check(&items), Linearity::Broken);
    }

    #[test]
    fn concurrent_writes_go_either_way_but_only_one_way() {
        let writes = [item(write(1), 0, 10), item(write(2), 0, 10)];
        for last in [1, 2] {
            let mut items = writes.to_vec();
            items.push(item(read(last), 11, 12));
            assert_eq!(check(&items), Linearity::Linearizable);
        }
        let mut items = writes.to_vec();
        items.extend([item(read(1), 11, 12), item(read(2), 13, 14)]);
        assert_eq!(check(&items), Linearity::Broken);
    }

    #[test]
    fn a_lost_write_is_broken() {
        let items = [item(write(1), 0, 1), item(Action::Read(None), 2, 3)];
        assert_eq!(check(&items), Linearity::Broken);
    }

    #[test]
    fn two_swaps_from_the_same_value_are_broken() {
        let items =
            [item(Action::Swap(None, Value(1)), 0, 5), item(Action::Swap(None, Value(2)), 0, 5)];
        assert_eq!(check(&items), Linearity::Broken);
    }

    #[test]
    fn an_unanswered_write_may_happen_late_or_never_but_not_twice() {
        let late = [open(write(1), 0), item(Action::Read(None), 5, 6), item(read(1), 50, 60)];
        assert_eq!(check(&late), Linearity::Linearizable);
        let never = [open(write(1), 0), item(Action::Read(None), 5, 6)];
        assert_eq!(check(&never), Linearity::Linearizable);
        let twice =
            [open(write(1), 0), item(read(1), 5, 6), item(write(2), 7, 8), item(read(1), 9, 10)];
        assert_eq!(check(&twice), Linearity::Broken);
    }

    #[test]
    fn an_unanswered_write_does_not_happen_before_it_began() {
        let items = [item(read(1), 0, 1), open(write(1), 2)];
        assert_eq!(check(&items), Linearity::Broken);
    }

    #[test]
    fn the_bound_is_kept() {
        // Twenty open writes and a read of something that nobody wrote.
        let mut items: Vec<Item> = (0..20).map(|value| open(write(value), 0)).collect();
        items.push(item(read(99), 1, 2));
        assert_eq!(search(&items, Steps(1_000)), Linearity::GaveUp);
    }

    #[test]
    fn agrees_with_trying_every_order() {
        let mut rng = StdRng::seed_from_u64(7);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..3_000 {
            let items = random_items(&mut rng);
            let expected = brute_force(&items, None, &mut vec![false; items.len()]);
            let found = check(&items) == Linearity::Linearizable;
            assert_eq!(found, expected, "{items:?}");
            if expected { good += 1 } else { bad += 1 }
        }
        assert!(good > 300 && bad > 300, "both kinds are met: {good} good, {bad} bad");
    }

    fn random_items(rng: &mut StdRng) -> Vec<Item> {
        (0..rng.random_range(2..6))
            .map(|at| {
                let seen = |rng: &mut StdRng| {
                    let value = rng.random_range(0..4);
                    (value > 0).then_some(Value(value))
                };
                let action = match rng.random_range(0..4) {
                    0 => Action::Write(Value(at + 1)),
                    1 => Action::Swap(seen(rng), Value(at + 1)),
                    2 => Action::Mismatch(seen(rng), seen(rng)),
                    _ => Action::Read(seen(rng)),
                };
                let invoked = rng.random_range(0..20);
                let answered = rng.random_bool(0.8).then(|| invoked + rng.random_range(1..12));
                Item { action, invoked: Nanos(invoked), answered: answered.map(Nanos) }
            })
            .collect()
    }

    /// Whether some order of the items that are not done yet explains them.
    fn brute_force(items: &[Item], state: Register, done: &mut Vec<bool>) -> bool {
        let left = |done: &[bool]| (0..items.len()).filter(|at| !done[*at]).collect::<Vec<_>>();
        if left(done).iter().all(|at| items[*at].answered.is_none()) {
            return true;
        }
        left(done).into_iter().any(|at| {
            let too_early = left(done).iter().any(|other| {
                items[*other].answered.is_some_and(|answered| answered < items[at].invoked)
            });
            let Some(after) = items[at].action.step(state).filter(|_| !too_early) else {
                return false;
            };
            done[at] = true;
            let explained = brute_force(items, after, done);
            done[at] = false;
            explained
        })
    }
}
