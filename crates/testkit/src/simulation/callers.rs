//! Clients that read, write and swap a few keys, each through any member, without retries.
//!
//! Invariant: a call whose outcome is not known is told so, and never made again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_node::{
    Coordinator,
    coordinator::{Committed, Fate, Freshness, Unanswered},
    core::{
        Command, Guard, Key, KeyRange, Operation, Precondition, Record, Reply, Test, Transaction,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::{
    members::Members,
    story::{Asked, End, Story, entry},
};

/// How many keys they share.
const KEYS: u64 = 5;

/// How long a call may take.
pub(super) const CALL_MAX: Duration = Duration::from_secs(4);

/// What the callers of a simulation share: the last values that anybody saw, to be expected.
pub(super) type Guesses = Arc<Mutex<Vec<Bytes>>>;

/// Calls until the time is up.
pub(super) async fn call(
    number: u64,
    seed: u64,
    members: Members,
    guesses: Guesses,
    story: Story,
    until: Instant,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut writes = 0;
    while Instant::now() < until {
        sleep(Duration::from_millis(random.random_range(5..120))).await;
        let Some(member) = members.any(&mut random) else { continue };
        let asked = draw(number, &mut writes, &guesses, &mut random);
        let began = story.now();
        let end = ask(&member.coordinator, &asked).await;
        learn(&asked, &end, &guesses);
        story.call(number, member.coordinator.member_id(), began, asked, end);
    }
}

fn draw(number: u64, writes: &mut u64, guesses: &Guesses, random: &mut StdRng) -> Asked {
    let at = random.random_range(0..KEYS);
    let key = Key::entry(format!("register/{at}"));
    *writes += 1;
    let value = Bytes::from(format!("{number}.{writes}"));
    match random.random_range(0..10) {
        0..4 => Asked::Read { key },
        4..7 => Asked::Write { key, value },
        _ => {
            let guesses = guesses.lock();
            let expected = usize::try_from(at).ok().and_then(|at| guesses.get(at).cloned());
            Asked::Swap { key, expected: expected.unwrap_or_default(), value }
        }
    }
}

fn learn(asked: &Asked, end: &End, guesses: &Guesses) {
    let End::Done { seen, swapped, .. } = end else { return };
    let value = match asked {
        Asked::Read { .. } => seen.clone(),
        Asked::Swap { .. } if !swapped => None,
        _ => asked.value().cloned(),
    };
    let at = asked.key().bytes.last().map(|digit| usize::from(digit - b'0'));
    if let (Some(value), Some(at)) = (value, at) {
        let mut guesses = guesses.lock();
        let length = guesses.len().max(at + 1);
        guesses.resize(length, Bytes::new());
        guesses[at] = value;
    }
}

async fn ask(coordinator: &Coordinator, asked: &Asked) -> End {
    let deadline = Instant::now() + CALL_MAX;
    let Some(command) = command(asked) else {
        return match coordinator.read(Freshness::Linearizable, deadline).await {
            Ok(view) => End::Done {
                revision: view.state.revision(),
                seen: view.state.get(asked.key()).and_then(|record| entry(&record.value)),
                swapped: false,
            },
            Err(_) => End::Refused,
        };
    };
    end(coordinator.propose(command, deadline).await)
}

/// What a call writes; None: it reads.
pub(super) fn command(asked: &Asked) -> Option<Command> {
    let value = asked.value()?.clone();
    let record = Record::Entry(value.into());
    let put = Operation::Put { key: asked.key().clone(), record, return_previous: false };
    let mut transaction = Transaction { success: vec![put], ..Transaction::default() };
    match asked {
        Asked::Swap { key, expected, .. } => {
            let (target, test) = (KeyRange::Single(key.clone()), Test::Value(expected.clone()));
            transaction.preconditions = vec![Precondition { target, test }];
        }
        Asked::Guarded { partition, epoch, .. } => {
            transaction.guards = vec![Guard::Partition { id: partition.clone(), epoch: *epoch }];
        }
        Asked::Read { .. } | Asked::Write { .. } | Asked::Once { .. } => {}
    }
    Some(Command::Transaction(transaction))
}

/// What the end of a write proves.
pub(super) fn end(answer: Result<Committed, Unanswered>) -> End {
    match answer {
        Ok(Committed { outcome, .. }) => match outcome.result {
            Ok(Reply::Transaction(reply)) => {
                End::Done { revision: outcome.revision, seen: None, swapped: reply.succeeded }
            }
            _ => End::Refused,
        },
        Err(error) if error.fate() == Fate::NotApplied => End::Refused,
        Err(_) => End::Unknown,
    }
}
