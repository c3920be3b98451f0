//! The handle through which everything above consensus reads and writes.
//!
//! Services, controllers and embedders hold a [`Coordinator`]; it is cheap to clone. Owns the
//! vocabulary of outcomes: what a caller is told when a write or read cannot be answered.

use std::{sync::Arc, time::Duration};

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use quorate_core::{
    ClusterId, LogIndex, MemberId, Outcome, Rejection, Request, Revision, SessionId, Stamp, Term,
    apply_request,
    mutation::{Mutation, planted},
};
use quorate_storage::{EncodedRequest, LogId, Mark, Published, View};
use tokio::{sync::watch, time::Instant};

use crate::{
    consensus::{
        Raft,
        contact::Contact,
        membership::{Members, in_contact},
        proposer::{Answer, Origin, Proposer},
        reads::Reads,
        transfer,
    },
    controller::Activity,
    health::HealthSeen,
    members::{MemberChange, MemberInfo},
    planner::Planner,
    session::Sessions,
    transport::{Lane, Peer, Transport},
};

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Everything acknowledged before the request began is seen.
    Linearizable,
    /// Never from before this revision.
    AtLeast(Revision),
    /// What this coordinator has now.
    Local,
}

/// A command that was committed and applied (perhaps to a rejection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The term of its log entry.
    pub term: Term,
    /// The index of its log entry.
    pub index: LogIndex,
    /// What came of it.
    pub outcome: Outcome,
}

/// Whether a failed write was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never will be.
    NotApplied,
    /// It may have been, or may yet be.
    Unknown,
}

/// A read or write that has no answer. Nothing deterministic: those are rejections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// No quorum, no leader, or contact with it was lost. gRPC `UNAVAILABLE`, reason `NO_QUORUM`.
    #[error("{message}")]
    Unavailable {
        /// Whether a write was applied.
        fate: Fate,
        /// The leader, when one is known.
        leader: Option<MemberId>,
        /// What happened.
        message: String,
    },
    /// The queue for writes is full. gRPC `RESOURCE_EXHAUSTED`, reason `OVERLOADED`.
    #[error("too many writes are waiting ({limit})")]
    Overloaded {
        /// The queue's length.
        limit: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The command is too large for a log entry. gRPC `INVALID_ARGUMENT`, reason `LIMIT_EXCEEDED`.
    #[error("the command takes {bytes} bytes, {max} are allowed")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// `AtLeast` asked for a revision that did not come in time. gRPC `DEADLINE_EXCEEDED`,
    /// reason `FUTURE_REVISION`.
    #[error("revision {wanted} was not reached in time, this coordinator is at {current}")]
    NotReached {
        /// What was asked for.
        wanted: Revision,
        /// What there is.
        current: Revision,
    },
    /// This coordinator is stopping or has failed. gRPC `UNAVAILABLE`, reason `NO_QUORUM`.
    #[error("this coordinator is shutting down")]
    Stopped {
        /// Whether a write was applied.
        fate: Fate,
    },
}

impl Unanswered {
    /// Whether a write was applied.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Unavailable { fate, .. } | Self::Stopped { fate } => *fate,
            Self::Overloaded { .. } | Self::TooLarge { .. } | Self::NotReached { .. } => {
                Fate::NotApplied
            }
        }
    }

    /// Whether the same call may well succeed a moment later, and surely was not applied.
    fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Unavailable { fate: Fate::NotApplied, .. })
    }
}

/// What a coordinator does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Leads.
    Leader,
    /// Votes and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Follows without a vote.
    Learner,
}

/// What a coordinator knows of itself now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader it knows of.
    pub leader: Option<MemberId>,
    /// The last entry in its log.
    pub last_log_index: LogIndex,
    /// The last entry covered by its newest checkpoint; 0: none.
    pub checkpoint_index: LogIndex,
    /// The last entry that it knows to be committed.
    pub committed_index: LogIndex,
    /// Commands that wait to be proposed here.
    pub proposals_waiting: usize,
}

/// What a [`Coordinator`] is made of.
pub(crate) struct Parts {
    pub(crate) me: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) raft: Raft,
    pub(crate) proposer: Proposer,
    pub(crate) reads: Reads,
    pub(crate) contact: Contact,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) members: Members,
    pub(crate) sessions: Sessions,
    pub(crate) planner: Planner,
    pub(crate) activity: Activity,
    pub(crate) health_seen: HealthSeen,
    /// The largest election timeout: how long a call waits for a leader.
    pub(crate) election_max: Duration,
}

/// The handle. See the module.
#[derive(Clone)]
pub struct Coordinator {
    parts: Arc<Parts>,
    published: Arc<Published>,
}

impl Coordinator {
    pub(crate) fn new(parts: Parts, published: Arc<Published>) -> Self {
        Self { parts: Arc::new(parts), published }
    }

    /// This coordinator.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        self.parts.me
    }

    /// Where its plans are made.
    #[must_use]
    pub fn planner(&self) -> &Planner {
        &self.parts.planner
    }

    /// What its controllers did.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.parts.activity
    }

    /// What it told of, and what its health checks found.
    #[must_use]
    pub fn health_seen(&self) -> &HealthSeen {
        &self.parts.health_seen
    }

    /// Its cluster.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.parts.cluster
    }

    /// Commits a request through the leader, wherever it is, and waits until it is applied there.
    ///
    /// # Errors
    /// [`Unanswered`]; its fate says whether the command was applied. By the deadline at the
    /// latest; without a quorum, within twice the largest election timeout.
    pub async fn propose(
        &self,
        request: impl Into<Request>,
        deadline: Instant,
    ) -> Result<Committed, Unanswered> {
        let request = request.into();
        if planted(Mutation::AckBeforeQuorum) && self.parts.raft.is_leader() {
            return Ok(self.answer_early(request, deadline));
        }
        let request = EncodedRequest::new(&request);
        let patience = deadline.min(Instant::now() + self.parts.election_max);
        let mut backoff = Duration::from_millis(5);
        loop {
            self.wait_for_leader(patience).await?;
            let refused = match self.submit(request.clone(), Origin::Here, deadline).await {
                Err(error) if error.is_worth_another_try() => error,
                answer => return answer,
            };
            // Nothing was applied: the leader was just changing. Try again while there is time.
            if Instant::now() + backoff >= patience {
                return Err(refused);
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(Duration::from_millis(100));
        }
    }

    /// Proposes a request, and tells what it will come to if nothing comes in between: the fault
    /// [`Mutation::AckBeforeQuorum`].
    fn answer_early(&self, request: Request, deadline: Instant) -> Committed {
        let (view, here) = (self.view(), self.clone());
        let at = Stamp { time_ms: 0, term: view.term };
        let outcome = apply_request(&mut view.state.clone(), at, &request).outcome;
        tokio::spawn(async move { here.propose_here(request, deadline).await });
        Committed { term: view.term, index: LogIndex(view.index.get() + 1), outcome }
    }

    /// Commits a request only if this coordinator leads: it is never forwarded.
    ///
    /// # Errors
    /// As [`Coordinator::propose`], at once when another leads.
    pub(crate) async fn propose_here(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Committed, Unanswered> {
        self.submit(EncodedRequest::new(&request), Origin::Forwarded, deadline).await
    }

    /// The term in which this coordinator leads, once it has applied an entry of that term. None:
    /// it does not lead, as far as it knows, or not yet with all that was committed before.
    pub(crate) fn leads(&self) -> Option<Term> {
        let leads = self.parts.raft.is_leader();
        let term = Term(self.parts.raft.metrics().borrow_watched().current_term);
        (leads && self.view().term == term).then_some(term)
    }

    /// Members whom this leader has not heard for the largest election timeout; none while another
    /// leads.
    pub(crate) fn unheard(&self) -> Vec<MemberId> {
        let limit = self.parts.election_max;
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.heartbeat.is_none() {
            return Vec::new();
        }
        let members = metrics.membership_config.membership().nodes().map(|(id, _)| *id);
        members.filter(|id| !in_contact(&metrics, *id, limit)).map(MemberId).collect()
    }

    async fn submit(&self, request: EncodedRequest, origin: Origin, deadline: Instant) -> Answer {
        let mut waiting = self.parts.proposer.submit(request, origin)?;
        let unknown = |message: &str| {
            let (fate, leader) = (Fate::Unknown, self.status().leader);
            Err(Unanswered::Unavailable { fate, leader, message: message.to_owned() })
        };
        let answer = tokio::select! {
            biased;
            answer = &mut waiting => answer,
            () = tokio::time::sleep_until(deadline) => {
                return unknown("the write was not committed in time; it may still be");
            }
            () = self.parts.contact.lost() => {
                // What arrived together with the loss still counts.
                match waiting.try_recv() {
                    Ok(answer) => return answer,
                    Err(_) => return unknown(
                        "contact with a quorum was lost; the write may still be committed",
                    ),
                }
            }
        };
        answer.unwrap_or(Err(Unanswered::Stopped { fate: Fate::Unknown }))
    }

    /// The newest view that is fresh enough. Waits for it.
    ///
    /// # Errors
    /// [`Unanswered`] when freshness cannot be had by the deadline.
    pub async fn read(
        &self,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Arc<View>, Unanswered> {
        match freshness {
            Freshness::Local => Ok(self.view()),
            Freshness::AtLeast(revision) => self.wait_for_revision(revision, deadline).await,
            Freshness::Linearizable if planted(Mutation::StaleRead) => Ok(self.view()),
            Freshness::Linearizable => {
                let index = self.read_index(deadline).await?;
                self.wait_for_index(index, deadline).await
            }
        }
    }

    /// An index that covers everything acknowledged, by any coordinator, before this call.
    ///
    /// # Errors
    /// [`Unanswered`] when no quorum confirms it by the deadline, or within twice the largest
    /// election timeout.
    pub async fn read_index(&self, deadline: Instant) -> Result<LogIndex, Unanswered> {
        let patience = deadline.min(Instant::now() + self.parts.election_max);
        let mut backoff = Duration::from_millis(5);
        loop {
            self.wait_for_leader(patience).await?;
            let asked = tokio::time::timeout_at(deadline, self.parts.reads.index()).await;
            let refused = match asked {
                Ok(Ok(index)) => return Ok(index),
                Ok(Err(error)) => error,
                Err(_) => return Err(self.no_leader("no quorum confirmed the read in time")),
            };
            if !refused.is_worth_another_try() || Instant::now() + backoff >= patience {
                return Err(refused);
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(Duration::from_millis(100));
        }
    }

    async fn wait_for_leader(&self, patience: Instant) -> Result<(), Unanswered> {
        if self.parts.contact.leader().is_some() {
            return Ok(());
        }
        match tokio::time::timeout_at(patience, self.parts.contact.regained()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unanswered::Stopped { fate: Fate::NotApplied }),
            Err(_) => Err(self.no_leader("no leader with a quorum is known here")),
        }
    }

    fn no_leader(&self, message: &str) -> Unanswered {
        let (fate, leader) = (Fate::NotApplied, self.status().leader);
        Unanswered::Unavailable { fate, leader, message: message.to_owned() }
    }

    async fn wait_for_index(
        &self,
        index: LogIndex,
        deadline: Instant,
    ) -> Result<Arc<View>, Unanswered> {
        let view = self.view();
        if view.index >= index {
            return Ok(view);
        }
        let mut applied = self.published.subscribe();
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| *applied >= index) => match reached {
                Ok(_) => Ok(self.view()),
                Err(_) => Err(Unanswered::Stopped { fate: Fate::NotApplied }),
            },
            () = tokio::time::sleep_until(deadline) => {
                Err(self.no_leader("the read index was not applied here in time"))
            }
            () = self.parts.contact.lost() => {
                Err(self.no_leader("contact with a quorum was lost while the read waited"))
            }
        }
    }

    async fn wait_for_revision(
        &self,
        wanted: Revision,
        deadline: Instant,
    ) -> Result<Arc<View>, Unanswered> {
        let mut applied = self.published.subscribe();
        loop {
            applied.mark_unchanged();
            let view = self.view();
            let current = view.state.revision();
            if current >= wanted {
                return Ok(view);
            }
            match tokio::time::timeout_at(deadline, applied.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Unanswered::Stopped { fate: Fate::NotApplied }),
                Err(_) => return Err(Unanswered::NotReached { wanted, current }),
            }
        }
    }

    /// Tells the leader, wherever it is, that the holders of these sessions are alive. Gives those
    /// that have ended; all others were alive after this call began. A session lives at least for
    /// its time to live after that, minus what clock rates differ (1%).
    ///
    /// # Errors
    /// [`Unanswered`] when no leader with a quorum could be asked within about the largest election
    /// timeout: nothing is known then.
    pub async fn keep_alive(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, Unanswered> {
        self.parts.sessions.keep_alive(sessions).await
    }

    /// How many sessions this coordinator has expired, as the leader.
    #[must_use]
    pub fn sessions_expired(&self) -> u64 {
        self.parts.sessions.keeper().expired()
    }

    /// How many batches of keep-alives this coordinator has answered, as the leader.
    #[must_use]
    pub fn keep_alive_batches(&self) -> u64 {
        self.parts.sessions.keeper().batches()
    }

    /// The newest view here.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.published.load()
    }

    /// Tells whenever a newer view is there, and its index.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<LogIndex> {
        self.published.subscribe()
    }

    /// What the state here was after some log entries, for comparison, and what it is now.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        self.published.marks()
    }

    /// A handle to another member, for short questions.
    pub(crate) fn peer(&self, id: MemberId, address: &str) -> Arc<dyn Peer> {
        self.parts.transport.peer(id, address, Lane::Control)
    }

    /// What this coordinator knows of itself now.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: Option<LogId>| LogIndex(id.map_or(0, |id| id.index));
        Status {
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Follower | ServerState::Shutdown => Role::Follower,
            },
            term: Term(metrics.current_term),
            leader: metrics.current_leader.map(MemberId),
            last_log_index: LogIndex(metrics.last_log_index.unwrap_or(0)),
            checkpoint_index: index(metrics.snapshot),
            committed_index: index(metrics.local_committed),
            proposals_waiting: self.parts.proposer.waiting(),
        }
    }

    /// Waits until the leader known here is another than `known`, and tells it (inner None: nobody
    /// leads). Outer None: this coordinator has stopped.
    pub async fn next_leader(&self, known: Option<MemberId>) -> Option<Option<MemberId>> {
        let mut metrics = self.parts.raft.server_metrics();
        loop {
            let leader = metrics.borrow_watched().current_leader.map(MemberId);
            if leader != known {
                return Some(leader);
            }
            metrics.changed().await.ok()?;
        }
    }

    /// False when this coordinator has had no leader in contact (heard from, or, leading, backed by
    /// a quorum, within the largest election timeout) for half as long again, or is stopping.
    /// Streams end then; an election that succeeds in time ends none.
    #[must_use]
    pub fn in_contact(&self) -> watch::Receiver<bool> {
        self.parts.contact.subscribe()
    }

    /// Hands leadership to `target` (None: the most up-to-date voter) and waits until it leads.
    ///
    /// # Errors
    /// [`Unanswered`] when it does not lead by the deadline.
    pub async fn transfer_leader(
        &self,
        target: Option<MemberId>,
        deadline: Instant,
    ) -> Result<MemberId, Unanswered> {
        let patience = deadline.min(Instant::now() + self.parts.election_max);
        loop {
            self.wait_for_leader(patience).await?;
            let refused = match transfer::transfer(&self.parts, target, deadline).await {
                Err(error) if error.is_worth_another_try() => error,
                answer => return answer,
            };
            // Leadership was just changing, perhaps as asked.
            if target.is_some_and(|target| !self.is_voter(target)) || Instant::now() >= patience {
                return Err(refused);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Changes who the members are, and waits until it is done. The same change twice is the same
    /// as once. `origin` is kept with the revisions that it makes.
    ///
    /// # Errors
    /// [`Unanswered`] when it was not done by the deadline, or nobody leads; a change that must not
    /// be made is a [`Rejection`] and changes nothing.
    pub async fn change_members(
        &self,
        change: &MemberChange,
        origin: &quorate_core::Origin,
        deadline: Instant,
    ) -> Result<Result<MemberInfo, Rejection>, Unanswered> {
        let mut begun = false;
        let mut backoff = Duration::from_millis(20);
        loop {
            let patience = deadline.min(Instant::now() + self.parts.election_max);
            let waited = self.wait_for_leader(patience).await;
            let given_up = waited.is_err() || Instant::now() + backoff >= deadline;
            let answer = match waited {
                Ok(()) => self.parts.members.change(change, origin, deadline).await,
                Err(error) => Err(error),
            };
            let (fate, leader, message) = match answer {
                Err(Unanswered::Unavailable { fate, leader, message }) => (fate, leader, message),
                answer => return answer,
            };
            begun |= fate == Fate::Unknown;
            // Leadership was just changing, perhaps so that the member that led can be removed.
            if given_up {
                let fate = if begun { Fate::Unknown } else { Fate::NotApplied };
                return Err(Unanswered::Unavailable { fate, leader, message });
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(Duration::from_millis(200));
        }
    }

    fn is_voter(&self, member: MemberId) -> bool {
        self.parts.raft.voter_ids().any(|voter| voter == member.get())
    }
}
