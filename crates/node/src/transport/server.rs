//! Serves a [`Peer`] over gRPC, on the peer address.

use std::sync::Arc;

use futures::{StreamExt, future, stream::BoxStream};
use quorate_proto::v1::{
    self,
    forward_service_server::{ForwardService, ForwardServiceServer},
    raft_service_server::{RaftService, RaftServiceServer},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use super::{Peer, PeerStream, grpc::MESSAGE_BYTES_MAX};

/// The gRPC services of a coordinator for its peers. Streams end when `stop` is cancelled.
#[must_use]
pub fn routes(peer: Arc<dyn Peer>, stop: CancellationToken) -> Routes {
    let server = PeerServer { peer, stop };
    let raft = RaftServiceServer::new(server.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let forward = ForwardServiceServer::new(server)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(raft).add_service(forward)
}

#[derive(Clone)]
struct PeerServer {
    peer: Arc<dyn Peer>,
    stop: CancellationToken,
}

/// A request stream ends at its first error: the sender learns of it by its responses ending.
fn requests<T: Send + 'static>(stream: Request<Streaming<T>>) -> BoxStream<'static, T> {
    stream.into_inner().take_while(|item| future::ready(item.is_ok())).filter_map(ok).boxed()
}

async fn ok<T>(item: Result<T, Status>) -> Option<T> {
    item.ok()
}

type Outgoing<T> = BoxStream<'static, Result<T, Status>>;

impl PeerServer {
    /// Peers keep their streams open, so a stream ends with this coordinator.
    fn outgoing<T: Send + 'static>(&self, stream: PeerStream<T>) -> Response<Outgoing<T>> {
        let stopped = self.stop.clone().cancelled_owned();
        Response::new(stream.map(|item| item.map_err(Status::from)).take_until(stopped).boxed())
    }
}

#[tonic::async_trait]
impl RaftService for PeerServer {
    type AppendStream = Outgoing<v1::AppendResponse>;

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        Ok(self.outgoing(self.peer.append(requests(request)).await?))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        Ok(Response::new(self.peer.heartbeat(request.into_inner()).await?))
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        Ok(Response::new(self.peer.vote(request.into_inner()).await?))
    }

    async fn pre_vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        Ok(Response::new(self.peer.pre_vote(request.into_inner()).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::PeerTransferRequest>,
    ) -> Result<Response<v1::PeerTransferResponse>, Status> {
        Ok(Response::new(self.peer.transfer_leader(request.into_inner()).await?))
    }

    async fn install(
        &self,
        request: Request<Streaming<v1::InstallChunk>>,
    ) -> Result<Response<v1::InstallResponse>, Status> {
        Ok(Response::new(self.peer.install(requests(request)).await?))
    }

    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        Ok(Response::new(self.peer.identify(request.into_inner()).await?))
    }

    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        Ok(Response::new(self.peer.prepare(request.into_inner()).await?))
    }

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        Ok(Response::new(self.peer.join(request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl ForwardService for PeerServer {
    type ProposeStream = Outgoing<v1::ProposeResponse>;

    async fn propose(
        &self,
        request: Request<Streaming<v1::ProposeRequest>>,
    ) -> Result<Response<Self::ProposeStream>, Status> {
        Ok(self.outgoing(self.peer.propose(requests(request)).await?))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        Ok(Response::new(self.peer.read_index(request.into_inner()).await?))
    }

    async fn keep_alive(
        &self,
        request: Request<v1::ForwardedKeepAlives>,
    ) -> Result<Response<v1::ForwardedKeepAlivesResponse>, Status> {
        Ok(Response::new(self.peer.keep_alive(request.into_inner()).await?))
    }

    async fn hand_over(
        &self,
        request: Request<v1::HandOverRequest>,
    ) -> Result<Response<v1::HandOverResponse>, Status> {
        Ok(Response::new(self.peer.hand_over(request.into_inner()).await?))
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<v1::ChangeMembersResponse>, Status> {
        Ok(Response::new(self.peer.change_members(request.into_inner()).await?))
    }
}
