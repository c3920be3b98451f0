//! Peers over gRPC.
//!
//! One lazily made HTTP/2 connection per peer and lane. Dead connections are noticed by HTTP/2
//! pings and `TCP_USER_TIMEOUT`, within [`Timing::dead_after`], and made again on next use.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures::{Stream, StreamExt, stream::BoxStream};
use hyper_util::client::legacy::connect::HttpConnector;
use quorate_core::MemberId;
use quorate_proto::v1::{
    self, forward_service_client::ForwardServiceClient, raft_service_client::RaftServiceClient,
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use super::{Lane, Peer, PeerError, PeerErrorKind, PeerStream, Transport};

/// Largest peer message, bytes: an append request holds at most one entry beyond the byte cap.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// How long peers are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For a connection to be made.
    pub connect: Duration,
    /// For the answer to a unary call.
    pub call: Duration,
    /// A connection without any sign of life for so long is dropped.
    pub dead_after: Duration,
}

impl Timing {
    /// What suits coordinators with this largest election timeout.
    #[must_use]
    pub fn of(election_max: Duration) -> Self {
        Self { connect: election_max / 2, call: election_max, dead_after: election_max * 2 }
    }
}

/// The gRPC transport.
#[derive(Debug)]
pub struct GrpcTransport {
    timing: Timing,
}

impl GrpcTransport {
    /// Makes the transport.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self { timing }
    }
}

impl Transport for GrpcTransport {
    fn peer(&self, id: MemberId, address: &str, lane: Lane) -> Arc<dyn Peer> {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map(|endpoint| connect_lazy(endpoint, self.timing))
            .map_err(|error| {
                let message = format!("member {id} has no usable address {address:?}: {error}");
                PeerError::new(PeerErrorKind::Invalid, message)
            });
        tracing::debug!(peer = %id, address, ?lane, "made a peer handle");
        Arc::new(GrpcPeer { channel, call: self.timing.call })
    }
}

fn connect_lazy(endpoint: Endpoint, timing: Timing) -> Channel {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(timing.connect));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(timing.dead_after));
    endpoint
        .connect_timeout(timing.connect)
        .http2_keep_alive_interval(timing.dead_after / 2)
        .keep_alive_timeout(timing.dead_after / 2)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(8 << 20)
        .initial_stream_window_size(4 << 20)
        .connect_with_connector_lazy(connector)
}

struct GrpcPeer {
    channel: Result<Channel, PeerError>,
    call: Duration,
}

impl GrpcPeer {
    fn raft(&self) -> Result<RaftServiceClient<Channel>, PeerError> {
        let channel = self.channel.clone()?;
        Ok(RaftServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn forward(&self) -> Result<ForwardServiceClient<Channel>, PeerError> {
        let channel = self.channel.clone()?;
        Ok(ForwardServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn unary<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.call);
        request
    }

    /// For a call whose message says how long it may take.
    fn patient<T>(&self, wait_ms_max: u64, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.call.max(Duration::from_millis(wait_ms_max)));
        request
    }
}

impl From<Status> for PeerError {
    fn from(status: Status) -> Self {
        let kind = match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => PeerErrorKind::Timeout,
            Code::FailedPrecondition => PeerErrorKind::WrongCluster,
            Code::InvalidArgument => PeerErrorKind::Invalid,
            Code::Aborted => PeerErrorKind::NotReady,
            _ => PeerErrorKind::Unreachable,
        };
        Self::new(kind, status.message())
    }
}

impl From<PeerError> for Status {
    fn from(error: PeerError) -> Self {
        let code = match error.kind {
            PeerErrorKind::Unreachable => Code::Unavailable,
            PeerErrorKind::Timeout => Code::DeadlineExceeded,
            PeerErrorKind::NotReady => Code::Aborted,
            PeerErrorKind::WrongCluster => Code::FailedPrecondition,
            PeerErrorKind::Invalid => Code::InvalidArgument,
        };
        Self::new(code, error.message)
    }
}

/// A request stream as a type of its own: a boxed stream alone has a lifetime that the compiler
/// cannot carry through an async method of a trait.
struct Outgoing<T>(BoxStream<'static, T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(context)
    }
}

fn incoming<T: 'static + Send>(stream: tonic::Streaming<T>) -> PeerStream<T> {
    stream.map(|item| item.map_err(PeerError::from)).boxed()
}

#[async_trait]
impl Peer for GrpcPeer {
    async fn append(
        &self,
        requests: BoxStream<'static, v1::AppendRequest>,
    ) -> Result<PeerStream<v1::AppendResponse>, PeerError> {
        Ok(incoming(self.raft()?.append(Outgoing(requests)).await?.into_inner()))
    }

    async fn heartbeat(&self, request: v1::AppendRequest) -> Result<v1::AppendResponse, PeerError> {
        Ok(self.raft()?.heartbeat(self.unary(request)).await?.into_inner())
    }

    async fn vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError> {
        Ok(self.raft()?.vote(self.unary(request)).await?.into_inner())
    }

    async fn pre_vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError> {
        Ok(self.raft()?.pre_vote(self.unary(request)).await?.into_inner())
    }

    async fn transfer_leader(
        &self,
        request: v1::PeerTransferRequest,
    ) -> Result<v1::PeerTransferResponse, PeerError> {
        Ok(self.raft()?.transfer_leader(self.unary(request)).await?.into_inner())
    }

    async fn install(
        &self,
        chunks: BoxStream<'static, v1::InstallChunk>,
    ) -> Result<v1::InstallResponse, PeerError> {
        Ok(self.raft()?.install(Outgoing(chunks)).await?.into_inner())
    }

    async fn identify(
        &self,
        request: v1::IdentifyRequest,
    ) -> Result<v1::IdentifyResponse, PeerError> {
        Ok(self.raft()?.identify(self.unary(request)).await?.into_inner())
    }

    async fn prepare(&self, request: v1::PrepareRequest) -> Result<v1::PrepareResponse, PeerError> {
        Ok(self.raft()?.prepare(self.unary(request)).await?.into_inner())
    }

    async fn propose(
        &self,
        requests: BoxStream<'static, v1::ProposeRequest>,
    ) -> Result<PeerStream<v1::ProposeResponse>, PeerError> {
        Ok(incoming(self.forward()?.propose(Outgoing(requests)).await?.into_inner()))
    }

    async fn read_index(
        &self,
        request: v1::ReadIndexRequest,
    ) -> Result<v1::ReadIndexResponse, PeerError> {
        Ok(self.forward()?.read_index(self.unary(request)).await?.into_inner())
    }

    async fn keep_alive(
        &self,
        request: v1::ForwardedKeepAlives,
    ) -> Result<v1::ForwardedKeepAlivesResponse, PeerError> {
        Ok(self.forward()?.keep_alive(self.unary(request)).await?.into_inner())
    }

    async fn hand_over(
        &self,
        request: v1::HandOverRequest,
    ) -> Result<v1::HandOverResponse, PeerError> {
        let request = self.patient(request.wait_ms_max, request);
        Ok(self.forward()?.hand_over(request).await?.into_inner())
    }

    async fn join(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, PeerError> {
        Ok(self.raft()?.join(self.unary(request)).await?.into_inner())
    }

    async fn change_members(
        &self,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, PeerError> {
        let request = self.patient(request.wait_ms_max, request);
        Ok(self.forward()?.change_members(request).await?.into_inner())
    }
}
