//! openraft's way out: its requests over [`Transport`].
//!
//! Replication is pipelined over one long-lived stream per follower; heartbeats and checkpoints
//! have connections of their own. What stands still is ended, so that openraft backs off and tries
//! again: a stream by [`Course`], a checkpoint by `install`.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::Either};
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

use super::{course::Course, install, wire};
use crate::transport::{Lane, Peer, PeerError, PeerErrorKind, Transport};

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

pub(super) type RpcResult<T> = Result<T, RPCError<TypeConfig>>;
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
        let idle_max = self.idle_max;
        let course = Course::default();
        let requests = course.requests(input);
        let requests = requests.map(move |request| wire::to_append_request(&request, header));
        Box::pin(async move {
            let mut requests = requests.peekable();
            // openraft waits out its back-off when the first request is taken. Taken after a
            // connection was refused, it never would be: a peer that is down would be called in a
            // tight loop.
            Pin::new(&mut requests).peek().await;
            let opened = within(idle_max, self.bulk.append(requests.boxed())).await?;
            let stream: AppendStream<'s> = course.answers(opened, idle_max);
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
pub(super) fn rpc_error(error: PeerError) -> RPCError<TypeConfig> {
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
