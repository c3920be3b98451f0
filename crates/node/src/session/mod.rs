//! Sessions: whose holders show that they are alive, and the end of those whose holders do not.
//!
//! ```text
//! streams of clients --> gather: one batch at a time --> leading: keeper
//!                                   |                       |  heard (deadlines), a quorum confirms, applied
//!                                   +--> following:         |  due: ExpireSession --> proposer, never forwarded
//!                                        the leader's keeper
//! ```
//!
//! Keep-alives are not logged: only the leader knows when it heard a session, and forgets it when
//! it leads no more. What makes that safe:
//!
//! - An answer comes only after a quorum confirmed the leader in a round begun after the
//!   receipt. A later leader was therefore elected after the receipt, and starts all times afresh.
//! - An answer comes only from a leader that has applied the first entry of its term. What earlier
//!   leaders may have logged about the session was applied by then.
//! - An expiry is proposed later than the holder could still count on any answer, and from then on
//!   the session's keep-alives wait for what comes of it, and hold up nobody else's. Marking it and
//!   taking a keep-alive exclude each other. Once a proposal may be in the log, only the log says
//!   what came of it.
//! - An expiry that was proposed in one term and logged in another is rejected by `core`.
//!
//! Must not know what a session holds.

mod deadlines;
mod expiry;
mod gather;
mod keeper;
mod pace;

use std::{sync::Arc, time::Duration};

use quorate_core::{ClusterId, SessionId};
use quorate_proto::v1;
use quorate_storage::Published;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    consensus::{Raft, contact::Contact, proposer::Proposer, reads::Reads},
    coordinator::Unanswered,
    transport::Transport,
};
use gather::KeepAlives;
pub(crate) use keeper::Keeper;

/// What sessions work with.
pub(crate) struct Parts {
    pub(crate) raft: Raft,
    pub(crate) cluster: ClusterId,
    pub(crate) published: Arc<Published>,
    pub(crate) proposer: Proposer,
    pub(crate) reads: Reads,
    pub(crate) contact: Contact,
    pub(crate) transport: Arc<dyn Transport>,
    /// How long a keep-alive waits for a leader, and there for its answer.
    pub(crate) wait_max: Duration,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// What became of sessions whose keep-alives a leader took: all but these are alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// They have ended.
    ended: Vec<SessionId>,
    /// Their expiry is under way.
    undecided: Vec<SessionId>,
}

impl From<Kept> for v1::KeptAlive {
    fn from(Kept { ended, undecided }: Kept) -> Self {
        let wire = |ids: Vec<SessionId>| ids.into_iter().map(Into::into).collect();
        Self { ended: wire(ended), undecided: wire(undecided) }
    }
}

impl From<v1::KeptAlive> for Kept {
    fn from(v1::KeptAlive { ended, undecided }: v1::KeptAlive) -> Self {
        let read = |ids: Vec<v1::SessionId>| ids.into_iter().map(Into::into).collect();
        Self { ended: read(ended), undecided: read(undecided) }
    }
}

/// Sessions, as this coordinator sees to them. A clone is another handle.
#[derive(Clone)]
pub(crate) struct Sessions {
    keeper: Keeper,
    keep_alives: KeepAlives,
}

impl Sessions {
    /// Starts to gather keep-alives and, while leading, to look for sessions whose time is over.
    pub(crate) fn start(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        let keeper = Keeper::start(parts.clone());
        let keep_alives = KeepAlives::start(parts, keeper.clone());
        Self { keeper, keep_alives }
    }

    /// The leader's part.
    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Tells whoever leads. Gives those of the sessions that have ended; all others are alive.
    pub(crate) async fn keep_alive(
        &self,
        sessions: Vec<SessionId>,
    ) -> Result<Vec<SessionId>, Unanswered> {
        self.keep_alives.keep_alive(sessions).await
    }
}
