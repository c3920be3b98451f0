//! Progressive filling: whose turn it is, and what is granted.
//!
//! Invariant: what is available only shrinks, so that a request which does not fit when it is
//! considered would not fit later either; each is considered once with the guarantees and once with
//! the rest.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use quorate_core::Resources;

use super::{
    books::{Asked, Books, Decisions, Queues},
    input::PoolView,
    outcome::{GrantBasis, WaitReason},
    share::Share,
};

/// Who is next: the higher priority, then the smaller share over weight, then the name.
type Turn = Reverse<(Reverse<u32>, Share, usize)>;

/// Tenants that take turns, each with its queue.
struct Turns<'a> {
    heap: BinaryHeap<Turn>,
    queues: Vec<VecDeque<Asked<'a>>>,
}

impl<'a> Turns<'a> {
    fn new(books: &Books<'_>, queues: Queues<'a>) -> Self {
        let queues: Vec<VecDeque<_>> = queues.into_iter().map(VecDeque::from).collect();
        let heap = (0..queues.len())
            .filter(|account| !queues[*account].is_empty())
            .map(|account| turn(books, account));
        Self { heap: heap.collect(), queues }
    }

    /// The next request in the queue of the tenant whose turn it is, by what is granted so far.
    fn next(&mut self) -> Option<Asked<'a>> {
        let Reverse((_, _, account)) = self.heap.pop()?;
        self.queues[account].pop_front()
    }

    /// Lets a tenant take turns again.
    fn again(&mut self, books: &Books<'_>, account: usize) {
        if !self.queues[account].is_empty() {
            self.heap.push(turn(books, account));
        }
    }
}

fn turn(books: &Books<'_>, account: usize) -> Turn {
    let of = &books.accounts[account];
    Reverse((Reverse(of.tenant.priority), books.level(account, &of.used), account))
}

/// Lets those wait that want what the pool never has.
pub(super) fn turn_away<'a>(
    books: &Books<'_>,
    mut queues: Queues<'a>,
    decisions: &mut Decisions,
) -> Queues<'a> {
    for queue in &mut queues {
        queue.retain(|asked| match too_large(books, asked) {
            Some(reason) => {
                decisions.wait(asked, reason, Resources::default());
                false
            }
            None => true,
        });
    }
    queues
}

fn too_large(books: &Books<'_>, asked: &Asked<'_>) -> Option<WaitReason> {
    for (name, amount) in asked.request.amount.iter() {
        let resource = name.clone();
        match books.names.binary_search(&name) {
            Err(_) => return Some(WaitReason::NotInPool { resource }),
            Ok(at) if books.capacity[at] < amount => {
                let capacity = books.capacity[at];
                return Some(WaitReason::LargerThanPool { resource, capacity });
            }
            Ok(_) => {}
        }
    }
    None
}

/// Grants what is within guarantees and fits. Gives those that are within them and do not fit, in
/// the order in which they were considered, and the queues of all others.
pub(super) fn serve_guarantees<'a>(
    books: &mut Books<'_>,
    queues: Queues<'a>,
    decisions: &mut Decisions,
) -> (Vec<Asked<'a>>, Queues<'a>) {
    let mut blocked = Vec::new();
    let mut others: Queues<'a> = queues.iter().map(|_| Vec::new()).collect();
    let mut turns = Turns::new(books, queues);
    while let Some(asked) = turns.next() {
        let account = asked.account;
        if !within_guarantee(books, &asked, &books.accounts[account].used) {
            others[account].push(asked);
        } else if books.obstacle(&asked).is_some() {
            blocked.push(asked);
        } else {
            decisions.grant(books, &asked, GrantBasis::Guarantee);
        }
        turns.again(books, account);
    }
    (blocked, others)
}

/// Whether a tenant that uses that much would be within its guarantee with a request granted, in
/// all that the request is about.
pub(super) fn within_guarantee(books: &Books<'_>, asked: &Asked<'_>, used: &[u64]) -> bool {
    let guarantee = &books.accounts[asked.account].guarantee;
    asked.amount.iter().zip(used).zip(guarantee).all(|((amount, used), guarantee)| {
        *amount == 0 || u128::from(*used) + u128::from(*amount) <= u128::from(*guarantee)
    })
}

/// Puts requests back into the queues, each at its place.
pub(super) fn merge<'a>(mut queues: Queues<'a>, back: Vec<Asked<'a>>) -> Queues<'a> {
    for asked in back {
        queues[asked.account].push(asked);
    }
    for queue in &mut queues {
        queue.sort_by_key(Asked::place);
    }
    queues
}

/// Grants what fits, in turns; the first that starves and does not fit reserves.
pub(super) fn serve_fairly(
    books: &mut Books<'_>,
    queues: Queues<'_>,
    view: &PoolView<'_>,
    decisions: &mut Decisions,
) {
    let mut reserved = false;
    let mut turns = Turns::new(books, queues);
    while let Some(asked) = turns.next() {
        match books.obstacle(&asked) {
            None => decisions.grant(books, &asked, GrantBasis::FairShare),
            Some(reason) => {
                let limited = matches!(
                    reason,
                    WaitReason::OverLimit { .. } | WaitReason::BehindGuaranteed { .. }
                );
                let mut holds = Resources::default();
                if !reserved && !limited && view.starves(asked.request) {
                    holds = books.hold(&asked);
                    reserved = true;
                }
                decisions.wait(&asked, reason, holds);
            }
        }
        turns.again(books, asked.account);
    }
}
