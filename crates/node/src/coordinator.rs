//! The handle through which everything above consensus reads and writes.
//!
//! Services, controllers and embedders hold a [`Coordinator`]; it is cheap to clone. Owns the
//! vocabulary of outcomes: what a caller is told when a write or read cannot be answered.

use std::{sync::Arc, time::Duration};

use quorate_core::{ClusterId, Command, LogIndex, MemberId, Outcome, Revision, Term};
use quorate_storage::View;
use tokio::{sync::watch, time::Instant};

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
    /// `AtLeast` asked for a revision that did not come in time. gRPC `DEADLINE_EXCEEDED`... with
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
}

/// The handle. See the module.
#[derive(Clone)]
pub struct Coordinator {}

impl Coordinator {
    /// This coordinator.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        unimplemented!()
    }

    /// Its cluster.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        unimplemented!()
    }

    /// Commits a command through the leader, wherever it is, and waits until it is applied there.
    ///
    /// # Errors
    /// [`Unanswered`]; its fate says whether the command was applied. By the deadline at the latest.
    pub async fn propose(
        &self,
        _command: Command,
        _deadline: Instant,
    ) -> Result<Committed, Unanswered> {
        unimplemented!()
    }

    /// The newest view that is fresh enough. Waits for it.
    ///
    /// # Errors
    /// [`Unanswered`] when freshness cannot be had by the deadline.
    pub async fn read(
        &self,
        _freshness: Freshness,
        _deadline: Instant,
    ) -> Result<Arc<View>, Unanswered> {
        unimplemented!()
    }

    /// The newest view here.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        unimplemented!()
    }

    /// Tells whenever a newer view is there, and its index.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<LogIndex> {
        unimplemented!()
    }

    /// What this coordinator knows of itself now.
    #[must_use]
    pub fn status(&self) -> Status {
        unimplemented!()
    }

    /// False when this coordinator has had no contact with a leader (or, leading, with a quorum)
    /// for longer than the largest election timeout, or is stopping. Streams end then.
    #[must_use]
    pub fn in_contact(&self) -> watch::Receiver<bool> {
        unimplemented!()
    }

    /// Hands leadership to `target` (None: the most up-to-date voter) and waits until it leads.
    ///
    /// # Errors
    /// [`Unanswered`] when it does not lead by the deadline.
    pub async fn transfer_leader(
        &self,
        _target: Option<MemberId>,
        _deadline: Instant,
    ) -> Result<MemberId, Unanswered> {
        unimplemented!()
    }
}
