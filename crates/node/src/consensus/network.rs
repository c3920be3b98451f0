//! openraft's way out: its requests over [`Transport`].
//!
//! Replication is pipelined over one long-lived stream per follower; heartbeats and checkpoints
//! have connections of their own. A stream whose oldest request waits longer than the idle limit
//! is ended, so that openraft backs off and tries again.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, future::Either, stream::BoxStream};
use openraft::{
    RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
        VoteResponse,
    },
};
use quorate_core::{ClusterId, MemberId};
use quorate_proto::v1;
use quorate_storage::{Checkpoint, MemberAddress, Snapshot, TypeConfig, Vote};

use super::{install, wire};
use crate::transport::{Lane, Peer, PeerError, PeerErrorKind, PeerStream, Transport};

type BoxFuture<'a, T> = openraft::base::BoxFuture<'a, T>;

/// Makes clients to peers for openraft.
pub(crate) struct NetworkFactory {
    transport: Arc<dyn Transport>,
    cluster: ClusterId,
    me: MemberId,
    idle_max: Duration,
}

impl NetworkFactory {
    /// `idle_max`: how long a request on an append stream may wait for its answer.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        cluster: ClusterId,
        me: MemberId,
        idle_max: Duration,
    ) -> Self {
        Self { transport, cluster, me, idle_max }
    }

    fn client(&self, target: u64, address: &MemberAddress, lane: Lane) -> Network {
        let to = MemberId(target);
        let header =
            v1::PeerHeader { cluster_id: self.cluster.get(), from: self.me.get(), to: target };
        let bulk = self.transport.peer(to, &address.peer, lane);
        let control = self.transport.peer(to, &address.peer, Lane::Control);
        Network { lane, bulk, control, header, idle_max: self.idle_max }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, address: &MemberAddress) -> Network {
        self.client(target, address, Lane::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, address: &MemberAddress) -> Network {
        self.client(target, address, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, address: &MemberAddress) -> Network {
        self.client(target, address, Lane::Install)
    }
}

/// A client to one peer, for one purpose.
pub(crate) struct Network {
    lane: Lane,
    bulk: Arc<dyn Peer>,
    control: Arc<dyn Peer>,
    header: v1::PeerHeader,
    idle_max: Duration,
}

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;
type AppendStream<'s> = openraft::base::BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>;

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = Checkpoint;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<TypeConfig>> {
        let message = wire::to_append_request(&request, self.header);
        let answer = within(option.hard_ttl(), self.control.heartbeat(message)).await?;
        let result = wire::append_response(answer).map_err(rpc_error)?;
        Ok(match result {
            Ok(last) if last == last_of(&request) => AppendEntriesResponse::Success,
            Ok(last) => AppendEntriesResponse::PartialSuccess(last),
            Err(openraft::raft::StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(openraft::raft::StreamAppendError::HigherVote(vote)) => {
                AppendEntriesResponse::HigherVote(vote)
            }
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<AppendStream<'s>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        if self.lane == Lane::Control {
            return openraft::network::stream_append_sequential(self, input, option);
        }
        let header = self.header;
        let waiting = Arc::new(AtomicU64::new(0));
        let sent = waiting.clone();
        let requests = input.map(move |request| {
            sent.fetch_add(1, Ordering::Relaxed);
            wire::to_append_request(&request, header)
        });
        Box::pin(async move {
            let mut requests = requests.peekable();
            // openraft waits out its back-off when the first request is taken. Taken after a
            // connection was refused, it never would be: a peer that is down would be called in a
            // tight loop.
            Pin::new(&mut requests).peek().await;
            let opened = within(self.idle_max, self.bulk.append(requests.boxed())).await?;
            let answers = answers_in_time(opened, waiting, self.idle_max);
            let stream: AppendStream<'s> = Box::pin(answers);
            Ok(stream)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let message = wire::to_vote_request(&request, self.header);
        let answer = within(option.hard_ttl(), self.control.vote(message)).await?;
        wire::vote_response(answer).map_err(rpc_error)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let message = wire::to_vote_request(&request, self.header);
        let answer = within(option.hard_ttl(), self.control.pre_vote(message)).await?;
        wire::vote_response(answer).map_err(rpc_error)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let idle_max = option.hard_ttl();
        let transfer = install::send(self.bulk.as_ref(), self.header, vote, snapshot, idle_max);
        let cancel = std::pin::pin!(cancel);
        match futures::future::select(std::pin::pin!(transfer), cancel).await {
            Either::Left((answer, _)) => {
                let answer = answer.map_err(streaming_error)?;
                let vote = wire::vote(answer.vote).map_err(streaming_error)?;
                Ok(SnapshotResponse::new(vote))
            }
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let message = wire::to_transfer_request(&request, self.header);
        let answer = within(option.hard_ttl(), self.control.transfer_leader(message)).await?;
        if answer.accepted {
            return Ok(Ok(()));
        }
        // The reasons of a refusal stay on the other side; openraft only logs them here.
        Ok(Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: None,
        }))
    }
}

fn last_of(request: &AppendEntriesRequest<TypeConfig>) -> Option<quorate_storage::LogId> {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}

/// Passes answers on; ends the stream when a request has waited for its answer for `idle_max`.
fn answers_in_time(
    answers: PeerStream<v1::AppendResponse>,
    waiting: Arc<AtomicU64>,
    idle_max: Duration,
) -> BoxStream<'static, RpcResult<StreamAppendResult<TypeConfig>>> {
    let next = move |state: Option<PeerStream<v1::AppendResponse>>| {
        let waiting = waiting.clone();
        async move {
            let mut answers = state?;
            // Looked at twice per limit: a request that waits at two looks in a row, without an
            // answer in between, has waited for half of it at least and all of it at most.
            let mut waited_before = false;
            let answer = loop {
                match tokio::time::timeout(idle_max / 2, answers.next()).await {
                    Ok(answer) => break answer?,
                    Err(_) if waiting.load(Ordering::Relaxed) == 0 => waited_before = false,
                    Err(_) if !waited_before => waited_before = true,
                    Err(_) => {
                        let message = format!("no answer to an append for {idle_max:?}");
                        break Err(PeerError::new(PeerErrorKind::Timeout, message));
                    }
                }
            };
            waiting.fetch_sub(1, Ordering::Relaxed);
            match answer.and_then(wire::append_response) {
                Ok(result) => Some((Ok(result), Some(answers))),
                Err(error) => Some((Err(rpc_error(error)), None)),
            }
        }
    };
    futures::stream::unfold(Some(answers), next).boxed()
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, PeerError>>,
) -> RpcResult<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(rpc_error),
        Err(_) => {
            let message = format!("no answer within {limit:?}");
            Err(rpc_error(PeerError::new(PeerErrorKind::Timeout, message)))
        }
    }
}

/// Unreachable peers make openraft back off; anything else it tries again at once.
fn rpc_error(error: PeerError) -> RPCError<TypeConfig> {
    match error.kind {
        PeerErrorKind::Timeout | PeerErrorKind::Invalid => {
            RPCError::Network(NetworkError::new(&error))
        }
        PeerErrorKind::Unreachable | PeerErrorKind::NotReady | PeerErrorKind::WrongCluster => {
            RPCError::Unreachable(Unreachable::new(&error))
        }
    }
}

fn streaming_error(error: PeerError) -> StreamingError<TypeConfig> {
    match rpc_error(error) {
        RPCError::Unreachable(error) => StreamingError::Unreachable(error),
        RPCError::Network(error) => StreamingError::Network(error),
        RPCError::Timeout(error) => StreamingError::Timeout(error),
    }
}
