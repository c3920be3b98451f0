//! What this coordinator does for its peers.
//!
//! Serves from the moment the peer address is bound: while the coordinator is not part of a
//! cluster yet, only bootstrap is answered, everything else is [`PeerErrorKind::NotReady`].
//!
//! Invariant: a message of another cluster, or for another member, has no effect.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use openraft::raft::StreamAppendResult;
use quorate_core::{ClusterId, MemberId};
use quorate_proto::v1::{
    self, forwarded_keep_alives_response::Result as KeepAnswer,
    hand_over_response::Result as HandOverAnswer, read_index_response::Result as ReadAnswer,
};
use quorate_storage::{Checkpoints, TypeConfig};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Raft,
    contact::LeaderHeard,
    forward::{self, check_header},
    install,
    membership::Members,
    proposer::Proposer,
    reads::Reads,
    transfer, wire,
};
use crate::{
    bootstrap::Introduction,
    session::Keeper,
    transport::{Peer, PeerError, PeerErrorKind, PeerStream},
};

/// What serves once this coordinator is part of a cluster.
pub(crate) struct Serving {
    /// Its cluster.
    pub(crate) cluster: ClusterId,
    /// openraft.
    pub(crate) raft: Raft,
    /// Where received checkpoints go.
    pub(crate) checkpoints: Checkpoints,
    /// Notes when the leader is heard.
    pub(crate) heard: Arc<LeaderHeard>,
    /// Where forwarded commands go.
    pub(crate) proposer: Proposer,
    /// Gives read indexes.
    pub(crate) reads: Reads,
    /// Hears sessions.
    pub(crate) keeper: Keeper,
    /// A transfer of a checkpoint in which nothing comes for so long is given up.
    pub(crate) install_idle_max: Duration,
    /// Changes members.
    pub(crate) members: Members,
}

/// This coordinator, as its peers see it.
pub(crate) struct PeerService {
    me: MemberId,
    introduction: Arc<Introduction>,
    serving: OnceLock<Serving>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl PeerService {
    /// Answers bootstrap only, until [`PeerService::serve`].
    pub(crate) fn new(
        me: MemberId,
        introduction: Arc<Introduction>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { me, introduction, serving: OnceLock::new(), tasks, stop }
    }

    /// Begins to answer everything. Once.
    pub(crate) fn serve(&self, serving: Serving) {
        if self.serving.set(serving).is_err() {
            tracing::error!("a coordinator was started twice; the first start stands");
        }
    }

    fn serving(&self) -> Result<&Serving, PeerError> {
        match self.serving.get() {
            Some(serving) if !self.stop.is_cancelled() => Ok(serving),
            _ => {
                let message = format!("member {} is starting or stopping", self.me);
                Err(PeerError::new(PeerErrorKind::NotReady, message))
            }
        }
    }

    fn checked(&self, header: Option<v1::PeerHeader>) -> Result<&Serving, PeerError> {
        let serving = self.serving()?;
        check_header(header, serving.cluster, self.me)?;
        Ok(serving)
    }
}

fn stopped(error: impl std::fmt::Display) -> PeerError {
    PeerError::new(PeerErrorKind::NotReady, format!("consensus stopped: {error}"))
}

#[async_trait]
impl Peer for PeerService {
    async fn append(
        &self,
        requests: BoxStream<'static, v1::AppendRequest>,
    ) -> Result<PeerStream<v1::AppendResponse>, PeerError> {
        // Answers at once: the first request may be long in coming.
        let serving = self.serving()?;
        let (cluster, me) = (serving.cluster, self.me);
        let refusal = Arc::new(OnceLock::new());
        let refused = refusal.clone();
        // A request that is not for this member or cannot be read ends the stream, with the reason
        // as the last answer; the leader opens a new one.
        let read = requests.scan((), move |(), request| {
            let checked = check_header(request.header, cluster, me);
            let request = checked.and_then(|()| wire::append_request(request));
            std::future::ready(request.map_err(|error| refused.get_or_init(|| error).clone()).ok())
        });
        let heard = serving.heard.clone();
        let answer = move |result: Result<StreamAppendResult<TypeConfig>, _>| match result {
            Ok(result) => {
                note(&heard, &result);
                Ok(wire::to_append_response(result))
            }
            Err(error) => Err(stopped(error)),
        };
        let answers = serving.raft.stream_append(read.boxed()).map(answer);
        let last = futures::stream::once(async move { refusal.get().cloned() });
        let last = last.filter_map(|refusal| std::future::ready(refusal.map(Err)));
        Ok(answers.chain(last).take_until(self.stop.clone().cancelled_owned()).boxed())
    }

    async fn heartbeat(&self, request: v1::AppendRequest) -> Result<v1::AppendResponse, PeerError> {
        let serving = self.checked(request.header)?;
        let request = wire::append_request(request)?;
        let prev = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
        let answer = serving.raft.append_entries(request).await.map_err(stopped)?;
        let result = match answer {
            // openraft answers a conflict only to a request that names a position.
            openraft::raft::AppendEntriesResponse::Conflict if prev.is_none() => Ok(None),
            answer => answer.into_stream_result(prev, last),
        };
        note(&serving.heard, &result);
        Ok(wire::to_append_response(result))
    }

    async fn vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError> {
        let serving = self.checked(request.header)?;
        let answer = serving.raft.vote(wire::vote_request(request)?).await.map_err(stopped)?;
        Ok(wire::to_vote_response(&answer))
    }

    async fn pre_vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError> {
        let serving = self.checked(request.header)?;
        let answer = serving.raft.pre_vote(wire::vote_request(request)?).await.map_err(stopped)?;
        Ok(wire::to_vote_response(&answer))
    }

    async fn transfer_leader(
        &self,
        request: v1::PeerTransferRequest,
    ) -> Result<v1::PeerTransferResponse, PeerError> {
        let serving = self.checked(request.header)?;
        let request = wire::transfer_request(request)?;
        let answer = serving.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(match answer {
            Ok(()) => v1::PeerTransferResponse { accepted: true, message: String::new() },
            Err(error) => v1::PeerTransferResponse { accepted: false, message: error.to_string() },
        })
    }

    async fn install(
        &self,
        mut chunks: BoxStream<'static, v1::InstallChunk>,
    ) -> Result<v1::InstallResponse, PeerError> {
        let idle_max = self.serving()?.install_idle_max;
        let header = install::receive_header(&mut chunks, idle_max).await?;
        let serving = self.checked(header.header)?;
        let received =
            install::receive_blocks(header, chunks, &serving.checkpoints, idle_max).await?;
        let installed = serving.raft.install_full_snapshot(received.vote, received.snapshot);
        let answer = installed.await.map_err(stopped)?;
        tracing::info!("the checkpoint that was received is installed");
        serving.heard.now();
        Ok(v1::InstallResponse { vote: Some(wire::to_vote(&answer.vote)) })
    }

    async fn identify(
        &self,
        request: v1::IdentifyRequest,
    ) -> Result<v1::IdentifyResponse, PeerError> {
        self.introduction.identify(&request)
    }

    async fn prepare(&self, request: v1::PrepareRequest) -> Result<v1::PrepareResponse, PeerError> {
        self.introduction.prepare(&request).await
    }

    async fn propose(
        &self,
        mut requests: BoxStream<'static, v1::ProposeRequest>,
    ) -> Result<PeerStream<v1::ProposeResponse>, PeerError> {
        self.serving()?;
        let greeting = requests.next().await;
        let serving = self.checked(greeting.and_then(|request| request.header))?;
        Ok(forward::serve(requests, serving.proposer.clone(), &self.tasks, self.stop.clone()))
    }

    async fn read_index(
        &self,
        request: v1::ReadIndexRequest,
    ) -> Result<v1::ReadIndexResponse, PeerError> {
        let serving = self.checked(request.header)?;
        let index = serving.reads.index_as_leader().await;
        let result = match index {
            Ok(index) => ReadAnswer::Index(index.get()),
            Err(error) => ReadAnswer::Error(forward::to_wire(&error)),
        };
        Ok(v1::ReadIndexResponse { result: Some(result) })
    }

    async fn keep_alive(
        &self,
        request: v1::ForwardedKeepAlives,
    ) -> Result<v1::ForwardedKeepAlivesResponse, PeerError> {
        let serving = self.checked(request.header)?;
        let sessions: Vec<_> = request.sessions.into_iter().map(Into::into).collect();
        let result = match serving.keeper.keep_alive(&sessions).await {
            Ok(kept) => KeepAnswer::Kept(kept.into()),
            Err(error) => KeepAnswer::Error(forward::to_wire(&error)),
        };
        Ok(v1::ForwardedKeepAlivesResponse { result: Some(result) })
    }

    async fn hand_over(
        &self,
        request: v1::HandOverRequest,
    ) -> Result<v1::HandOverResponse, PeerError> {
        let serving = self.checked(request.header)?;
        let target = (request.target_id != 0).then_some(MemberId(request.target_id));
        let deadline = Instant::now() + Duration::from_millis(request.wait_ms_max);
        let result = match transfer::hand_over(&serving.raft, target, deadline).await {
            Ok(leader) => HandOverAnswer::LeaderId(leader.get()),
            Err(error) => HandOverAnswer::Error(forward::to_wire(&error)),
        };
        Ok(v1::HandOverResponse { result: Some(result) })
    }

    async fn join(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, PeerError> {
        Ok(self.serving()?.members.join(request).await)
    }

    async fn change_members(
        &self,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, PeerError> {
        self.checked(request.header)?.members.serve(request).await
    }
}

/// A follower that takes a leader's message has heard from it.
fn note(heard: &LeaderHeard, result: &StreamAppendResult<TypeConfig>) {
    if !matches!(result, Err(openraft::raft::StreamAppendError::HigherVote(_))) {
        heard.now();
    }
}
