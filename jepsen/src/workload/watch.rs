//! Change streams under writes and while history is forgotten.
//!
//! Owns who follows what:
//! - on every coordinator one that stays there and goes on by its token, one that moves to another
//!   coordinator with its token again and again, and one that starts anew in the past, now, with
//!   the next revision, in the future or with a snapshot;
//! - some that are slow, with and without a new snapshot when they fall behind;
//! - two of the client library.
//!
//! Meanwhile the history that is kept is made small and large again. Must not know the rules.

use std::{sync::Arc, time::Duration};

use quorate_core::{MemberId, Revision};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Load, Patience, Settling,
    bench::{Actor, Bench, Habit},
    kv,
    stream::{Outcome, Streams, Wish, everything},
};
use crate::history::{
    kv::{HISTORY_BYTES_MAX, KvCall},
    stream::{Asked, StreamStart},
};

const ALL: &str = "watch/";
const PARTS: [&str; 2] = ["watch/a/", "watch/b/"];
const KEYS_PER_PART: u32 = 8;

/// The history that is kept while it is small, bytes: some hundred revisions.
const SMALL_HISTORY: u64 = 128 << 10;
const SMALL_FOR: Duration = Duration::from_secs(3);
const LARGE_FOR: Duration = Duration::from_secs(5);

/// How long to wait before the next connection when one has failed.
const BACK_OFF: Duration = Duration::from_millis(200);

/// A start in the past is at most so many revisions ago.
const PAST: u64 = 400;
/// A start in the future is so many revisions ahead.
const FUTURE: u64 = 100_000;

/// Writers take so many times as long as clients of other workloads: every write is delivered to
/// many.
const SLOWER: u32 = 2;

/// See the module.
pub(crate) struct Watching {
    bench: Arc<Bench>,
    streams: Arc<Streams>,
    tasks: JoinSet<()>,
}

impl Watching {
    /// Nobody follows yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Self {
        let streams = Streams::new(bench.clone());
        Self { bench, streams, tasks: JoinSet::new() }
    }
}

impl Load for Watching {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        for habit in &self.bench.habits {
            let habit = Habit { period: habit.period * SLOWER, ..*habit };
            let (bench, stop) = (self.bench.clone(), stop.clone());
            clients.spawn(kv::writer(bench, habit, &PARTS, KEYS_PER_PART, stop));
        }
        clients.spawn(forget(self.bench.clone(), stop.clone()));
        let seed = self.bench.habits.first().map_or(0, |habit| habit.seed);
        let followers = self.bench.nodes.iter().copied().flat_map(|node| {
            let roles = [Role::Stays, Role::Moves, Role::StartsAnew];
            roles.into_iter().map(move |role| (node, role))
        });
        let slow = self.bench.nodes.iter().copied().take(2).map(|node| (node, Role::Slow));
        for (number, (node, role)) in followers.chain(slow).enumerate() {
            self.streams.expect(node);
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(number as u64 + 1));
            let prefix = match role {
                Role::Stays => ALL,
                _ => [ALL, PARTS[0], PARTS[1]][rng.random_range(0..3)],
            };
            let follower = Follower { streams: self.streams.clone(), node, role, prefix, rng };
            self.tasks.spawn(follower.run(self.bench.clone()));
        }
        self.streams.spawn_library(&mut self.tasks, everything(ALL));
        let resyncing = Asked { resync: true, prefix: PARTS[1].to_owned(), ..everything(ALL) };
        self.streams.spawn_library(&mut self.tasks, resyncing);
    }

    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            self.streams.settle(&patience).await;
            while self.tasks.join_next().await.is_some() {}
        })
    }
}

/// How a follower behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Goes on at the same coordinator.
    Stays,
    /// Goes on at another coordinator.
    Moves,
    /// Starts somewhere else each time.
    StartsAnew,
    /// Takes long for every message.
    Slow,
}

struct Follower {
    streams: Arc<Streams>,
    node: MemberId,
    role: Role,
    /// What it sees, over all its connections.
    prefix: &'static str,
    rng: StdRng,
}

impl Follower {
    async fn run(mut self, bench: Arc<Bench>) {
        let mut wish = self.first();
        while !self.streams.stop().is_cancelled() {
            wish.asked.node = Some(self.node);
            let outcome = self.streams.connection(self.node, &wish).await;
            if self.role == Role::Moves {
                self.node = bench.nodes[self.rng.random_range(0..bench.nodes.len())];
            }
            if outcome.reason.is_some() || outcome.token.is_none() {
                sleep(BACK_OFF).await;
            }
            wish = self.next(outcome);
        }
    }

    fn first(&mut self) -> Wish {
        let asked = Asked {
            node: Some(self.node),
            start: StreamStart::From(Revision(1)),
            prefix: self.prefix.to_owned(),
            with_previous: self.rng.random_bool(0.5),
            resync: self.role != Role::Stays && self.rng.random_bool(0.5),
        };
        let lag = match self.role {
            Role::Slow => Duration::from_millis(self.rng.random_range(100..600)),
            _ => Duration::ZERO,
        };
        let mut wish = Wish { asked, token: None, lasts: None, lag };
        match self.role {
            Role::Stays => {}
            Role::Moves => wish.lasts = Some(self.span(500..2_500)),
            Role::StartsAnew => {
                wish.asked.start = self.anywhere();
                wish.lasts = Some(self.span(500..1_500));
            }
            Role::Slow => wish.lasts = Some(self.span(4_000..8_000)),
        }
        wish
    }

    /// Goes on after the token, or anew: with a snapshot where history is lost.
    fn next(&mut self, outcome: Outcome) -> Wish {
        let mut wish = self.first();
        if self.role == Role::StartsAnew {
            return wish;
        }
        match outcome.token {
            Some(token) if outcome.reason.as_deref() != Some("COMPACTED") => {
                wish.asked.start = StreamStart::After(token.revision);
                wish.token = Some(token);
            }
            _ => wish.asked.start = StreamStart::Snapshot,
        }
        wish
    }

    fn anywhere(&mut self) -> StreamStart {
        let newest = self.streams.newest();
        match self.rng.random_range(0..10) {
            0..3 => {
                let ago = self.rng.random_range(0..PAST);
                StreamStart::From(Revision(newest.0.saturating_sub(ago).max(1)))
            }
            3..5 => StreamStart::Now,
            5..7 => StreamStart::From(newest.next()),
            7..9 => StreamStart::Snapshot,
            _ => StreamStart::From(Revision(newest.0 + FUTURE)),
        }
    }

    fn span(&mut self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(ms))
    }
}

/// Makes the history that is kept small and large again, through one coordinator after the other.
async fn forget(bench: Arc<Bench>, stop: CancellationToken) {
    let (name, large) = HISTORY_BYTES_MAX;
    let sizes = [(large, LARGE_FOR), (SMALL_HISTORY, SMALL_FOR)];
    for (turn, (value, lasts)) in sizes.into_iter().cycle().enumerate() {
        if stop.is_cancelled() {
            return;
        }
        let node = bench.nodes[turn % bench.nodes.len()];
        let (mut client, actor) = (bench.client(node), Actor::onlooker(&bench, node));
        let call = KvCall::Set { setting: name.to_owned(), value };
        kv::run(&bench, &mut client, &actor, call).await;
        tokio::select! {
            () = sleep(lasts) => {}
            () = stop.cancelled() => {}
        }
    }
}
