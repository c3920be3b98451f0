//! The keep-alives of this coordinator's clients, on their way to the leader.
//!
//! What arrives while one batch is under way makes the next one. A batch that finds no leader is
//! tried again, with what came meanwhile, until those in it have waited long enough; so are those
//! of which a session's expiry is under way, while all others are answered.
//!
//! Invariant: a session is told to be alive only by a batch that was sent after its keep-alive
//! came in.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use openraft::async_runtime::watch::WatchReceiver;
use quorate_core::{MemberId, SessionId};
use quorate_proto::v1::{self, forwarded_keep_alives_response::Result as Wire};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Keeper, Kept, Parts};
use crate::{
    consensus::{Raft, forward, leader_of},
    coordinator::{Fate, Unanswered},
    transport::{Lane, Peer},
};

/// Requests of clients that wait, at most; one more is refused.
const WAITING_MAX: usize = 8_192;
/// How long to wait before a batch is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

type Ended = Result<Vec<SessionId>, Unanswered>;

/// The way in. A clone is another handle.
#[derive(Clone)]
pub(super) struct KeepAlives {
    queue: mpsc::Sender<Waiting>,
    wait_max: Duration,
}

struct Waiting {
    sessions: Vec<SessionId>,
    give_up: Instant,
    answer: oneshot::Sender<Ended>,
}

impl KeepAlives {
    /// Starts to send batches.
    pub(super) fn start(parts: Arc<Parts>, keeper: Keeper) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let wait_max = parts.wait_max;
        let batches = Batches { parts: parts.clone(), keeper, waiting: Vec::new(), leader: None };
        parts.tasks.spawn(batches.run(waiting));
        Self { queue, wait_max }
    }

    /// Gives those of the sessions that have ended; all others are alive.
    pub(super) async fn keep_alive(&self, sessions: Vec<SessionId>) -> Ended {
        let (answer, ended) = oneshot::channel();
        let give_up = Instant::now() + self.wait_max;
        let retry_after = Duration::from_millis(50);
        match self.queue.try_send(Waiting { sessions, give_up, answer }) {
            Ok(()) => ended.await.unwrap_or_else(|_| Err(stopped())),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(Unanswered::Overloaded { limit: WAITING_MAX, retry_after })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopped()),
        }
    }
}

fn stopped() -> Unanswered {
    Unanswered::Stopped { fate: Fate::NotApplied }
}

fn unavailable(leader: Option<MemberId>, message: String) -> Unanswered {
    Unanswered::Unavailable { fate: Fate::NotApplied, leader, message }
}

struct Batches {
    parts: Arc<Parts>,
    keeper: Keeper,
    waiting: Vec<Waiting>,
    /// The leader that was asked last, and the handle to it.
    leader: Option<(MemberId, String, Arc<dyn Peer>)>,
}

impl Batches {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let stop = self.parts.stop.clone();
        let batches = async {
            while self.gather(&mut queue).await {
                let sessions = self.waiting.iter().flat_map(|one| one.sessions.iter().copied());
                let sessions: BTreeSet<_> = sessions.collect();
                match self.attempt(sessions.into_iter().collect()).await {
                    Ok(kept) => {
                        self.waiting = answer(std::mem::take(&mut self.waiting), &kept);
                        if self.waiting.is_empty() {
                            continue;
                        }
                        let leader = leader_of(&self.parts.raft).map(|(id, _)| id);
                        let message = "an expiry was not settled in time".to_owned();
                        self.give_up(&unavailable(leader, message));
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                    Err(error) => {
                        self.give_up(&error);
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
            }
        };
        // Who still waits after that finds that nobody will answer.
        stop.run_until_cancelled(batches).await;
    }

    /// Takes all that waits. False when no more will come.
    async fn gather(&mut self, queue: &mut mpsc::Receiver<Waiting>) -> bool {
        self.waiting.retain(|one| !one.answer.is_closed());
        if self.waiting.is_empty() {
            match queue.recv().await {
                Some(first) => self.waiting.push(first),
                None => return false,
            }
        }
        while let Ok(one) = queue.try_recv() {
            self.waiting.push(one);
        }
        true
    }

    /// Tells those who have waited long enough; out of contact, everybody.
    fn give_up(&mut self, error: &Unanswered) {
        let soon = Instant::now() + AGAIN_AFTER;
        let all = !self.parts.contact.is_there();
        let (over, waiting): (Vec<_>, _) =
            self.waiting.drain(..).partition(|one| all || one.give_up <= soon);
        self.waiting = waiting;
        for one in over {
            drop(one.answer.send(Err(error.clone())));
        }
    }

    async fn attempt(&mut self, sessions: Vec<SessionId>) -> Result<Kept, Unanswered> {
        let Some((leader, address)) = leader_of(&self.parts.raft) else {
            return Err(unavailable(None, "there is no leader".into()));
        };
        let me = *self.parts.raft.node_id();
        if leader == MemberId(me) {
            return self.keeper.keep_alive(&sessions).await;
        }
        let known = self.leader.as_ref().is_some_and(|(id, at, _)| *id == leader && *at == address);
        if !known {
            let peer = self.parts.transport.peer(leader, &address, Lane::Control);
            self.leader = Some((leader, address, peer));
        }
        let Some((_, _, peer)) = &self.leader else {
            return Err(unavailable(None, "there is no leader".into()));
        };
        let header =
            v1::PeerHeader { cluster_id: self.parts.cluster.get(), from: me, to: leader.get() };
        let sessions = sessions.into_iter().map(Into::into).collect();
        let asked = peer.keep_alive(v1::ForwardedKeepAlives { header: Some(header), sessions });
        let answer = tokio::select! {
            biased;
            answer = asked => answer.map_err(|error| unavailable(Some(leader), error.to_string()))?,
            () = leads_no_more(&self.parts.raft, leader) => {
                return Err(unavailable(None, format!("member {leader} leads no more")));
            }
        };
        match answer.result {
            Some(Wire::Kept(kept)) => Ok(kept.into()),
            Some(Wire::Error(error)) => Err(forward::from_wire(error)),
            None => Err(unavailable(Some(leader), "an empty answer".into())),
        }
    }
}

/// Answers all but those who ask for a session of which nothing is decided: gives these.
fn answer(all: Vec<Waiting>, kept: &Kept) -> Vec<Waiting> {
    let ended: BTreeSet<_> = kept.ended.iter().collect();
    let undecided: BTreeSet<_> = kept.undecided.iter().collect();
    let decided = |one: &Waiting| one.sessions.iter().all(|id| !undecided.contains(id));
    let (decided, waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(decided);
    for Waiting { mut sessions, answer, .. } in decided {
        sessions.retain(|id| ended.contains(id));
        // Who gave up needs no answer.
        drop(answer.send(Ok(sessions)));
    }
    waiting
}

/// Returns when this coordinator takes another one for the leader.
async fn leads_no_more(raft: &Raft, leader: MemberId) {
    let mut metrics = raft.server_metrics();
    while metrics.borrow_watched().current_leader == Some(leader.get()) {
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{RestoreEpoch, Revision};

    use super::*;

    fn session(number: u64) -> SessionId {
        SessionId { restore: RestoreEpoch(0), revision: Revision(number) }
    }

    fn waiting(sessions: &[u64]) -> (Waiting, oneshot::Receiver<Ended>) {
        let (answer, ended) = oneshot::channel();
        let sessions = sessions.iter().copied().map(session).collect();
        (Waiting { sessions, give_up: Instant::now(), answer }, ended)
    }

    #[test]
    fn a_session_of_which_nothing_is_decided_holds_up_nobody_elses() {
        let asked = [waiting(&[1, 2]), waiting(&[3]), waiting(&[2, 4]), waiting(&[])];
        let (all, mut answers): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let kept = Kept { ended: vec![session(2), session(4)], undecided: vec![session(3)] };
        let left = answer(all, &kept);
        assert_eq!(left.len(), 1);
        let told: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().ok()).collect();
        let ended = |ids: &[u64]| Some(Ok(ids.iter().copied().map(session).collect()));
        assert_eq!(told, [ended(&[2]), None, ended(&[2, 4]), ended(&[])]);
        // Later it is.
        let left = answer(left, &Kept { ended: vec![session(3)], undecided: vec![] });
        assert!(left.is_empty());
        assert_eq!(answers[1].try_recv().unwrap(), Ok(vec![session(3)]));
    }
}
