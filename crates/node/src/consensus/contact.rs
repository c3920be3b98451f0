//! Whether this coordinator may believe what it knows.
//!
//! A leader is in contact while its messages come or, to itself, while a quorum answers: within the
//! largest election timeout. This coordinator is out of contact when there has been no such leader
//! for half as long again, so an election or a transfer that succeeds is none. Out of contact, waiting writes are answered
//! `UNKNOWN`, reads fail and streams end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use openraft::{Instant as _, async_runtime::watch::WatchReceiver};
use quorate_core::MemberId;
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Raft;

/// Remembers when the leader was heard last.
#[derive(Debug)]
pub(crate) struct LeaderHeard {
    start: Instant,
    last_us: AtomicU64,
}

impl LeaderHeard {
    /// Never heard.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), last_us: AtomicU64::new(0) }
    }

    /// A message of the leader was accepted now.
    pub(crate) fn now(&self) {
        let us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_us.store(us.max(1), Ordering::Relaxed);
    }

    fn within(&self, limit: Duration) -> bool {
        match self.last_us.load(Ordering::Relaxed) {
            0 => false,
            us => self.start.elapsed().saturating_sub(Duration::from_micros(us)) <= limit,
        }
    }
}

/// The leader that this coordinator may count on now: itself with a quorum behind it, or another
/// that it heard from. None: out of contact.
fn leader_in_contact(raft: &Raft, heard: &LeaderHeard, limit: Duration) -> Option<MemberId> {
    if let Ok(leader) = raft.as_leader() {
        let me = *raft.node_id();
        // openraft notes answers of others only: to a lone voter nobody has any to give.
        let alone = raft.voter_ids().all(|voter| voter == me);
        let acked = || leader.last_quorum_acked().is_some_and(|at| at.elapsed() <= limit);
        return (alone || acked()).then_some(MemberId(me));
    }
    let leader = raft.server_metrics().borrow_watched().current_leader?;
    (leader != *raft.node_id() && heard.within(limit)).then_some(MemberId(leader))
}

/// How contact is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Silence longer than this is no contact.
    pub(crate) limit: Duration,
    /// How often to look.
    pub(crate) every: Duration,
}

/// Whether there is contact, and with which leader. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    leader: watch::Receiver<Option<MemberId>>,
    there: watch::Receiver<bool>,
}

impl Contact {
    /// Starts to look, until `stop`.
    pub(crate) fn start(
        raft: Raft,
        heard: Arc<LeaderHeard>,
        timing: Timing,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (leader_to, leader) = watch::channel(None);
        let (there_to, there) = watch::channel(false);
        tasks.spawn(async move {
            look(&raft, &heard, timing, &stop, |leader, is_there| {
                there_to.send_if_modified(|before| std::mem::replace(before, is_there) != is_there);
                leader_to.send_if_modified(|before| std::mem::replace(before, leader) != leader)
            })
            .await;
        });
        Self { leader, there }
    }

    /// The leader in contact.
    pub(crate) fn leader(&self) -> Option<MemberId> {
        *self.leader.borrow()
    }

    /// Whether there is contact.
    pub(crate) fn is_there(&self) -> bool {
        *self.there.borrow()
    }

    /// Tells whether there is contact.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.there.clone()
    }

    /// Returns when contact is lost, or this coordinator stops.
    pub(crate) async fn lost(&self) {
        // An error means that nobody looks any more: it is stopping.
        drop(self.there.clone().wait_for(|there| !there).await);
    }

    /// Returns true when a leader is in contact, false when this coordinator stops.
    pub(crate) async fn regained(&self) -> bool {
        self.leader.clone().wait_for(Option::is_some).await.is_ok()
    }
}

async fn look(
    raft: &Raft,
    heard: &LeaderHeard,
    timing: Timing,
    stop: &CancellationToken,
    tell: impl Fn(Option<MemberId>, bool) -> bool,
) {
    let mut tick = tokio::time::interval(timing.every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut server = raft.server_metrics();
    let mut last_good: Option<Instant> = None;
    loop {
        let leader = leader_in_contact(raft, heard, timing.limit);
        if leader.is_some() {
            last_good = Some(Instant::now());
        }
        // An election is no loss of contact until it takes too long.
        let there = last_good.is_some_and(|at| at.elapsed() <= timing.limit / 2);
        if tell(leader, there) {
            tracing::info!(leader = leader.map_or(0, MemberId::get), there, "contact changed");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
            changed = server.changed() => if changed.is_err() { break },
        }
    }
    tell(None, false);
}
