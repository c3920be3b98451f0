//! The leader's part: hears sessions, and ends those that it has not heard in time.
//!
//! Invariants: see [`super`]. The mutex around the deadlines is never held across an await, nor for
//! more than [`CHUNK`] sessions at a time.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_core::{
    Command, LogIndex, Origin, Request, SessionId, Term,
    mutation::{Mutation, planted},
};
use quorate_storage::{EncodedRequest, View};
use tokio::time::Instant;

use super::{
    Kept, Parts,
    deadlines::Deadlines,
    expiry::Expiry,
    pace::{EVERY, Pace},
};
use crate::{
    consensus::{
        leader_of, leading_term,
        proposer::{self, Answer, not_leader},
    },
    coordinator::{Fate, Unanswered},
};

/// How many sessions are looked at before others get their turn.
const CHUNK: usize = 1_000;
/// Expiries that are under way at a time, at most: the rest of a crowd waits for them.
const EXPIRIES_MAX: usize = 256;
/// How long to wait before an expiry of which nothing is known is proposed again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The leader's knowledge of sessions. A clone is another handle.
#[derive(Clone)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Arc<Parts>,
    deadlines: Mutex<Deadlines>,
    expired: AtomicU64,
    batches: AtomicU64,
}

impl Keeper {
    /// Starts to look for sessions whose time is over.
    pub(super) fn start(parts: Arc<Parts>) -> Self {
        let shared = Shared {
            parts,
            deadlines: Mutex::default(),
            expired: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        };
        let keeper = Self { shared: Arc::new(shared) };
        keeper.shared.parts.tasks.spawn(keeper.clone().run());
        keeper
    }

    /// How many sessions this coordinator has expired.
    pub(crate) fn expired(&self) -> u64 {
        self.shared.expired.load(Ordering::Relaxed)
    }

    /// How many batches of keep-alives it has answered.
    pub(crate) fn batches(&self) -> u64 {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// Takes keep-alives that arrived now.
    pub(crate) async fn keep_alive(&self, sessions: &[SessionId]) -> Result<Kept, Unanswered> {
        let received = Instant::now();
        let give_up = received + self.shared.parts.wait_max;
        // Counted at once, so that nothing is decided without what has arrived already.
        for chunk in sessions.chunks(CHUNK) {
            let mut deadlines = self.lock();
            for id in chunk {
                deadlines.heard(*id, received);
            }
        }
        if !planted(Mutation::KeepAliveWithoutQuorum) {
            let index = self.shared.parts.reads.index_as_leader().await?;
            self.applied(index, give_up).await?;
        }
        let mut kept = Kept::default();
        for chunk in sessions.chunks(CHUNK) {
            self.acknowledge(chunk, received, &mut kept)?;
            tokio::task::yield_now().await;
        }
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        Ok(kept)
    }

    fn acknowledge(
        &self,
        chunk: &[SessionId],
        received: Instant,
        kept: &mut Kept,
    ) -> Result<(), Unanswered> {
        let mut deadlines = self.lock();
        let view = self.renew(&mut deadlines);
        if deadlines.term().is_none() {
            let leader = leader_of(&self.shared.parts.raft).map(|(id, _)| id);
            return Err(not_leader(leader));
        }
        deadlines.keep(chunk, received, |id| view.state.session(id).is_some(), kept);
        Ok(())
    }

    async fn applied(&self, index: LogIndex, give_up: Instant) -> Result<(), Unanswered> {
        let mut applied = self.shared.parts.published.subscribe();
        let reached = applied.wait_for(|applied| *applied >= index);
        match tokio::time::timeout_at(give_up, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Unanswered::Stopped { fate: Fate::NotApplied }),
            Err(_) => Err(self.no_answer("the read index was not applied here in time")),
        }
    }

    fn no_answer(&self, message: &str) -> Unanswered {
        let leader = leader_of(&self.shared.parts.raft).map(|(id, _)| id);
        Unanswered::Unavailable { fate: Fate::NotApplied, leader, message: message.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, Deadlines> {
        self.shared.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the deadlines to the term that is led. It is led from when its first entry is
    /// applied: until then the state may lack what earlier leaders logged.
    fn renew(&self, deadlines: &mut Deadlines) -> Arc<View> {
        let parts = &self.shared.parts;
        let view = parts.published.load();
        let term = leading_term(&parts.raft).filter(|term| view.term == *term);
        if deadlines.lead(term) {
            tracing::debug!(term = term.map_or(0, Term::get), "counting the time of sessions");
        }
        view
    }

    async fn run(self) {
        let stop = self.shared.parts.stop.clone();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pace = Pace::new(Instant::now());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let now = Instant::now();
            let may_decide = pace.look(now);
            if self.arm().await && may_decide {
                self.expire_due(now);
            }
        }
    }

    /// Starts the times of sessions that are new here. False when this coordinator does not lead.
    async fn arm(&self) -> bool {
        loop {
            {
                let mut deadlines = self.lock();
                let view = self.renew(&mut deadlines);
                if deadlines.term().is_none() {
                    return false;
                }
                let mut new = view.state.sessions_after(deadlines.armed()).take(CHUNK).peekable();
                if new.peek().is_none() {
                    if deadlines.is_crowded(view.state.sessions().len()) {
                        deadlines.prune(|id| view.state.session(id).is_some());
                    }
                    return true;
                }
                let new = new.map(|(id, session)| (id, session.ttl_ms));
                deadlines.arm(new, Instant::now());
            }
            tokio::task::yield_now().await;
        }
    }

    fn expire_due(&self, now: Instant) {
        let (term, due) = {
            let mut deadlines = self.lock();
            let view = self.renew(&mut deadlines);
            let Some(term) = deadlines.term() else { return };
            let exists = |id| view.state.session(id).is_some();
            (term, deadlines.take_due(now, EXPIRIES_MAX, exists))
        };
        for id in due {
            self.shared.parts.tasks.spawn(self.clone().expire(id, term));
        }
    }

    /// Proposes an expiry until it is known what came of it, or another term has begun.
    async fn expire(self, id: SessionId, term: Term) {
        let origin = Origin { reason: "its keep-alives stopped".into(), ..Origin::default() };
        let command = Command::ExpireSession { id, term };
        let request = EncodedRequest::new(&Request { command, call: None, origin });
        let mut expiry = Expiry::default();
        loop {
            let answer = self.propose(request.clone()).await;
            if answer.as_ref().is_ok_and(|committed| committed.outcome.result.is_ok()) {
                self.shared.expired.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(settled) = expiry.settled(answer) {
                tracing::info!(session = %id, %term, ?settled, "an expiry was settled");
                self.lock().settle(id, term, settled);
                return;
            }
            // It may be in the log: what is proposed after it tells what came of it.
            tokio::select! {
                biased;
                () = self.shared.parts.stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
            if self.lock().term() != Some(term) {
                return;
            }
        }
    }

    async fn propose(&self, request: EncodedRequest) -> Answer {
        // As if it came from a peer: what this coordinator can no longer propose is forwarded to nobody.
        let submitted = self.shared.parts.proposer.submit(request, proposer::Origin::Forwarded);
        let unknown = || Err(Unanswered::Stopped { fate: Fate::Unknown });
        submitted?.await.unwrap_or_else(|_| unknown())
    }
}
