//! Linearizable reads by read index (Raft thesis, section 6.4).
//!
//! All reads that arrived before a round began share it: the leader confirms that it leads with
//! one exchange of heartbeats and gives its commit index; a follower asks the leader once for all
//! its readers. A reader then waits until that index is applied here and answers from its own
//! state.
//!
//! Invariants: a round begins after the reads that it serves arrived; one round at a time for the
//! readers here, and one for the coordinators that ask this one.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::{
    ReadPolicy,
    async_runtime::watch::WatchReceiver as _,
    errors::{LinearizableReadError, RaftError},
};
use quorate_core::{
    ClusterId, LogIndex, MemberId,
    mutation::{Mutation, planted},
};
use quorate_proto::v1::{self, read_index_response::Result as Wire};
use tokio::sync::{Notify, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Raft, forward, leader_of};
use crate::{
    coordinator::{Fate, Unanswered},
    transport::{Lane, Peer, Transport},
};

type Index = Result<LogIndex, Unanswered>;

/// Gives read indexes. A clone is another handle.
#[derive(Clone)]
pub(crate) struct Reads {
    here: Arc<Waiting>,
    peers: Arc<Waiting>,
}

/// The readers of the next round.
#[derive(Default)]
struct Waiting {
    readers: Mutex<Vec<oneshot::Sender<Index>>>,
    arrived: Notify,
}

impl Waiting {
    async fn wait(&self) -> Index {
        let (reader, index) = oneshot::channel();
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        self.arrived.notify_one();
        index.await.unwrap_or(Err(Unanswered::Stopped { fate: Fate::NotApplied }))
    }

    fn take(&self) -> Vec<oneshot::Sender<Index>> {
        mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reads {
    /// The index that a read which begins now must wait for.
    pub(crate) async fn index(&self) -> Index {
        self.here.wait().await
    }

    /// The same for another coordinator, which takes this one for the leader. It is not asked
    /// further: two that take each other for the leader would wait for each other.
    pub(crate) async fn index_as_leader(&self) -> Index {
        self.peers.wait().await
    }
}

/// Starts the rounds, which run until `stop`.
pub(crate) fn start(
    raft: Raft,
    transport: Arc<dyn Transport>,
    cluster: ClusterId,
    round_max: Duration,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Reads {
    let reads = Reads { here: Arc::default(), peers: Arc::default() };
    for (waiting, asks) in [(&reads.here, true), (&reads.peers, false)] {
        let (raft, transport) = (raft.clone(), transport.clone());
        let rounds = Rounds { raft, transport, cluster, round_max, asks, leader: None };
        tasks.spawn(rounds.run(waiting.clone(), stop.clone()));
    }
    reads
}

struct Rounds {
    raft: Raft,
    transport: Arc<dyn Transport>,
    cluster: ClusterId,
    round_max: Duration,
    /// Whether to ask the leader when this coordinator does not lead.
    asks: bool,
    /// The leader that was asked last, and the handle to it.
    leader: Option<(MemberId, String, Arc<dyn Peer>)>,
}

impl Rounds {
    async fn run(mut self, waiting: Arc<Waiting>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = waiting.arrived.notified() => {}
            }
            let readers = waiting.take();
            if readers.is_empty() {
                continue;
            }
            let index = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Unanswered::Stopped { fate: Fate::NotApplied }),
                index = self.round() => index,
            };
            for reader in readers {
                // A reader that gave up needs no answer.
                drop(reader.send(index.clone()));
            }
        }
        for reader in waiting.take() {
            drop(reader.send(Err(Unanswered::Stopped { fate: Fate::NotApplied })));
        }
    }

    async fn round(&mut self) -> Index {
        let limit = self.round_max;
        let round = async {
            if self.asks && !self.raft.is_leader() {
                self.ask().await
            } else {
                confirm(&self.raft).await
            }
        };
        match tokio::time::timeout(limit, round).await {
            Ok(index) => index,
            Err(_) => Err(no_quorum(None, format!("no quorum answered within {limit:?}"))),
        }
    }

    async fn ask(&mut self) -> Index {
        let Some((leader, address)) = leader_of(&self.raft) else {
            return Err(no_quorum(None, "there is no leader".into()));
        };
        let me = *self.raft.node_id();
        if leader == MemberId(me) {
            return Err(no_quorum(None, "leadership is changing".into()));
        }
        let known = self.leader.as_ref().is_some_and(|(id, at, _)| *id == leader && *at == address);
        if !known {
            let peer = self.transport.peer(leader, &address, Lane::Control);
            self.leader = Some((leader, address, peer));
        }
        let Some((_, _, peer)) = &self.leader else {
            return Err(no_quorum(None, "there is no leader".into()));
        };
        let header = v1::PeerHeader { cluster_id: self.cluster.get(), from: me, to: leader.get() };
        let answer = peer.read_index(v1::ReadIndexRequest { header: Some(header) }).await;
        let answer = answer.map_err(|error| no_quorum(Some(leader), error.to_string()))?;
        match answer.result {
            Some(Wire::Index(index)) => Ok(LogIndex(index)),
            Some(Wire::Error(error)) => Err(forward::from_wire(error)),
            None => Err(no_quorum(Some(leader), "an empty answer".into())),
        }
    }
}

/// The leader's own round: a quorum answers heartbeats sent after this call.
async fn confirm(raft: &Raft) -> Index {
    if planted(Mutation::ReadWithoutQuorum) && raft.is_leader() {
        let applied = raft.metrics().borrow_watched().last_applied;
        return Ok(LogIndex(applied.map_or(0, |id| id.index)));
    }
    match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(linearizer) => Ok(LogIndex(linearizer.read_log_id().index())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
            let leader = to.leader_id.map(MemberId);
            Err(no_quorum(leader, "this coordinator does not lead any more".into()))
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
            Err(no_quorum(None, error.to_string()))
        }
        Err(RaftError::Fatal(_)) => Err(Unanswered::Stopped { fate: Fate::NotApplied }),
    }
}

fn no_quorum(leader: Option<MemberId>, message: String) -> Unanswered {
    Unanswered::Unavailable { fate: Fate::NotApplied, leader, message }
}
