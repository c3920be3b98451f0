//! Turns commands into log entries.
//!
//! ```text
//! callers --> queue (bounded) --> dispatcher --> leading: one entry for all that wait --> raft
//!                                      |
//!                                      +--> following: the link to the leader (`forward`)
//! ```
//!
//! Invariants: a command is proposed at most once by this coordinator; every command that was
//! taken gets an answer, and `NotApplied` is only said of one that never reached a log. A command
//! that was forwarded to this coordinator is not forwarded again.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use openraft::{errors::ClientWriteError, impls::ProgressResponder, raft::ClientWriteResult};
use quorate_core::MemberId;
use quorate_storage::{EncodedRequest, Proposal, TypeConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Raft, contact::Contact, forward::Links, leader_of};
use crate::{
    clock::Clock,
    coordinator::{Committed, Fate, Unanswered},
};

/// What a waiting caller gets.
pub(crate) type Answer = Result<Committed, Unanswered>;

/// A command and who waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The command.
    pub(crate) command: EncodedRequest,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// Who waits.
    pub(crate) answer: oneshot::Sender<Answer>,
    _room: Room,
}

/// The bytes that a waiting command takes of the queue's budget.
#[derive(Debug)]
struct Room {
    bytes: usize,
    used: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The largest command, encoded. Far below the largest log entry, of which it may be the last part.
pub(crate) const COMMAND_BYTES_MAX: usize = 32 << 20;
/// Bytes of commands that wait at most, unless there is only one.
const QUEUE_BYTES_MAX: usize = 256 << 20;

/// Where a command came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this coordinator.
    Here,
    /// Another coordinator, which took this one for the leader.
    Forwarded,
}

/// Sizes of the proposer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Commands that wait at most; one more is refused.
    pub(crate) queue: usize,
    /// Commands in one log entry at most.
    pub(crate) batch: usize,
    /// Bytes of commands in one log entry at most; a single larger command goes alone.
    pub(crate) batch_bytes: usize,
    /// Log entries proposed and not yet applied at most.
    pub(crate) in_flight: usize,
}

/// The way in. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Pending>,
    limit: usize,
    bytes_used: Arc<AtomicUsize>,
}

impl Proposer {
    /// Takes a command, or says that too many wait.
    pub(crate) fn submit(
        &self,
        command: EncodedRequest,
        origin: Origin,
    ) -> Result<oneshot::Receiver<Answer>, Unanswered> {
        let bytes = command.len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(Unanswered::TooLarge { bytes, max: COMMAND_BYTES_MAX });
        }
        let overloaded =
            Unanswered::Overloaded { limit: self.limit, retry_after: Duration::from_millis(50) };
        let before = self.bytes_used.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { bytes, used: self.bytes_used.clone() };
        if before > 0 && before + bytes > QUEUE_BYTES_MAX {
            return Err(overloaded);
        }
        let (answer, waiting) = oneshot::channel();
        match self.queue.try_send(Pending { command, origin, answer, _room: room }) {
            Ok(()) => Ok(waiting),
            Err(mpsc::error::TrySendError::Full(_)) => Err(overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(Unanswered::Stopped { fate: Fate::NotApplied })
            }
        }
    }

    /// How many commands wait in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// Takes what is submitted to the log, or to the leader.
pub(crate) struct Dispatcher {
    raft: Raft,
    links: Links,
    clock: Arc<dyn Clock>,
    contact: Contact,
    limits: Limits,
    in_flight: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// Not started yet.
    pub(crate) fn new(
        raft: Raft,
        links: Links,
        clock: Arc<dyn Clock>,
        contact: Contact,
        limits: Limits,
        tasks: &TaskTracker,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(limits.in_flight));
        Self { raft, links, clock, contact, limits, in_flight, tasks: tasks.clone() }
    }

    /// Runs until `stop`. Gives the way in.
    pub(crate) fn start(self, stop: CancellationToken) -> Proposer {
        let limit = self.limits.queue;
        let (queue, received) = mpsc::channel(limit);
        self.tasks.clone().spawn(self.run(received, stop));
        Proposer { queue, limit, bytes_used: Arc::default() }
    }

    async fn run(self, mut queue: mpsc::Receiver<Pending>, stop: CancellationToken) {
        let mut waiting = VecDeque::with_capacity(self.limits.batch);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                first = queue.recv() => match first {
                    Some(pending) => waiting.push_back(pending),
                    None => break,
                },
            }
            if self.raft.is_leader() {
                // Whatever comes while earlier entries are under way goes into the next one.
                let permit = tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    permit = self.in_flight.clone().acquire_owned() => permit.ok(),
                    () = self.contact.lost() => None,
                };
                self.gather(&mut queue, &mut waiting);
                match permit {
                    Some(permit) => self.propose(waiting.drain(..), permit).await,
                    None => waiting.drain(..).for_each(|pending| fail(pending, no_quorum())),
                }
            } else {
                self.gather(&mut queue, &mut waiting);
                self.forward(waiting.drain(..).collect());
            }
        }
        queue.close();
        while let Some(pending) = waiting.pop_front().or_else(|| queue.try_recv().ok()) {
            fail(pending, Unanswered::Stopped { fate: Fate::NotApplied });
        }
    }

    fn gather(&self, queue: &mut mpsc::Receiver<Pending>, waiting: &mut VecDeque<Pending>) {
        let mut bytes: usize = waiting.iter().map(|pending| pending.command.len()).sum();
        while waiting.len() < self.limits.batch && bytes < self.limits.batch_bytes {
            match queue.try_recv() {
                Ok(pending) => {
                    bytes += pending.command.len();
                    waiting.push_back(pending);
                }
                Err(_) => break,
            }
        }
    }

    /// Proposes one entry for all of them. Those whose callers are gone are left out.
    async fn propose(&self, pending: impl Iterator<Item = Pending>, permit: OwnedSemaphorePermit) {
        let (commands, answers): (Vec<_>, Vec<_>) = pending
            .filter(|pending| !pending.answer.is_closed())
            .map(|pending| (pending.command, pending.answer))
            .unzip();
        if commands.is_empty() {
            return;
        }
        let proposal = Proposal::join(self.clock.unix_ms(), &commands);
        let (responder, outcome) = ProgressResponder::complete_only();
        if self.raft.write(proposal).responder(responder).await.is_err() {
            let stopped = || Err(Unanswered::Stopped { fate: Fate::NotApplied });
            answers.into_iter().for_each(|answer| drop(answer.send(stopped())));
            return;
        }
        let contact = self.contact.clone();
        self.tasks.spawn(async move {
            let mut outcome = outcome;
            tokio::select! {
                biased;
                outcome = &mut outcome => deliver(outcome.ok(), answers),
                () = contact.lost() => {
                    // Nobody waits for a quorum that may not come back; the entry may still be
                    // committed. Its place is taken until it is settled.
                    let lost = || Err(quorum_lost());
                    answers.into_iter().for_each(|answer| drop(answer.send(lost())));
                    drop(outcome.await);
                }
            }
            drop(permit);
        });
    }

    fn forward(&self, pending: Vec<Pending>) {
        let leader = leader_of(&self.raft);
        let me = MemberId(*self.raft.node_id());
        let (mine, forwarded): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|pending| pending.origin == Origin::Here);
        for refused in forwarded {
            fail(refused, not_leader(leader.as_ref().map(|(id, _)| *id)));
        }
        match leader {
            Some((id, address)) if id != me => self.links.send(id, &address, mine),
            _ => mine.into_iter().for_each(|pending| fail(pending, not_leader(None))),
        }
    }
}

/// Hands the outcomes of one log entry to those who wait for them, in order.
fn deliver(outcome: Option<ClientWriteResult<TypeConfig>>, answers: Vec<oneshot::Sender<Answer>>) {
    let failure = match outcome {
        Some(Ok(response)) => {
            let applied = response.data;
            debug_assert_eq!(applied.outcomes.len(), answers.len(), "one outcome per command");
            for (outcome, answer) in applied.outcomes.into_iter().zip(answers) {
                let committed = Committed { term: applied.term, index: applied.index, outcome };
                // The caller may have given up; its outcome is in the log all the same.
                drop(answer.send(Ok(committed)));
            }
            return;
        }
        Some(Err(ClientWriteError::ForwardToLeader(to))) => not_leader(to.leader_id.map(MemberId)),
        Some(Err(ClientWriteError::LogEntryDiscarded(to))) => Unanswered::Unavailable {
            fate: Fate::Unknown,
            leader: to.leader_id.map(MemberId),
            message: "leadership was lost before the write was committed".into(),
        },
        Some(Err(error)) => Unanswered::Unavailable {
            fate: Fate::NotApplied,
            leader: None,
            message: error.to_string(),
        },
        None => Unanswered::Stopped { fate: Fate::Unknown },
    };
    for answer in answers {
        drop(answer.send(Err(failure.clone())));
    }
}

/// Tells a caller that there will be no outcome.
pub(crate) fn fail(pending: Pending, reason: Unanswered) {
    drop(pending.answer.send(Err(reason)));
}

/// This coordinator does not lead; the command was not taken.
pub(crate) fn not_leader(leader: Option<MemberId>) -> Unanswered {
    let message = match leader {
        Some(id) => format!("this coordinator does not lead, member {id} does"),
        None => "there is no leader".to_owned(),
    };
    Unanswered::Unavailable { fate: Fate::NotApplied, leader, message }
}

fn no_quorum() -> Unanswered {
    Unanswered::Unavailable {
        fate: Fate::NotApplied,
        leader: None,
        message: "this coordinator leads without a quorum".into(),
    }
}

fn quorum_lost() -> Unanswered {
    Unanswered::Unavailable {
        fate: Fate::Unknown,
        leader: None,
        message: "contact with a quorum was lost; the write may still be committed".into(),
    }
}
