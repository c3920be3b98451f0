//! Peers behind the simulated network.
//!
//! A call goes straight to the [`Peer`] that the other member serves; what a message takes on its
//! way there and back is the network's.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use quorate_node::{
    core::MemberId,
    proto::v1,
    transport::{Lane, Peer, PeerError, PeerErrorKind, PeerStream, Transport},
};

use crate::{
    network::{End, SimNetwork},
    wire::Wire,
};

/// One life's way out.
pub(crate) struct SimTransport {
    network: SimNetwork,
    from: End,
}

impl SimTransport {
    pub(crate) fn new(network: SimNetwork, from: End) -> Self {
        Self { network, from }
    }
}

impl Transport for SimTransport {
    fn peer(&self, id: MemberId, _address: &str, _lane: Lane) -> Arc<dyn Peer> {
        Arc::new(SimPeer { network: self.network.clone(), from: self.from, to: id })
    }
}

struct SimPeer {
    network: SimNetwork,
    from: End,
    to: MemberId,
}

impl SimPeer {
    /// There, the answer, and back.
    async fn unary<T, F>(&self, ask: impl FnOnce(Arc<dyn Peer>) -> F) -> Result<T, PeerError>
    where
        F: Future<Output = Result<T, PeerError>>,
    {
        let network = &self.network;
        let (to, server) = network.reach(self.to).await?;
        let call = async {
            network.deliver(self.from, to).await?;
            let answer = tokio::select! {
                biased;
                answer = ask(server) => answer,
                error = network.gone(self.from, to) => return Err(error),
            };
            network.deliver(to, self.from).await?;
            answer
        };
        let timeout = || PeerError::new(PeerErrorKind::Timeout, "no answer");
        tokio::time::timeout(network.call_max(), call).await.map_err(|_| timeout())?
    }

    async fn connect(&self) -> Result<(Wire, Arc<dyn Peer>), PeerError> {
        let (to, server) = self.network.reach(self.to).await?;
        self.network.deliver(self.from, to).await?;
        Ok((Wire::new(self.network.clone(), self.from, to), server))
    }
}

#[async_trait]
impl Peer for SimPeer {
    async fn append(
        &self,
        requests: BoxStream<'static, v1::AppendRequest>,
    ) -> Result<PeerStream<v1::AppendResponse>, PeerError> {
        let (wire, server) = self.connect().await?;
        Ok(wire.answers(server.append(wire.requests(requests)).await?))
    }

    async fn heartbeat(&self, request: v1::AppendRequest) -> Result<v1::AppendResponse, PeerError> {
        self.unary(|server| async move { server.heartbeat(request).await }).await
    }

    async fn vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError> {
        self.unary(|server| async move { server.vote(request).await }).await
    }

    async fn pre_vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError> {
        self.unary(|server| async move { server.pre_vote(request).await }).await
    }

    async fn transfer_leader(
        &self,
        request: v1::PeerTransferRequest,
    ) -> Result<v1::PeerTransferResponse, PeerError> {
        self.unary(|server| async move { server.transfer_leader(request).await }).await
    }

    async fn install(
        &self,
        chunks: BoxStream<'static, v1::InstallChunk>,
    ) -> Result<v1::InstallResponse, PeerError> {
        let (wire, server) = self.connect().await?;
        let answer = server.install(wire.requests(chunks));
        wire.answer(answer).await
    }

    async fn identify(
        &self,
        request: v1::IdentifyRequest,
    ) -> Result<v1::IdentifyResponse, PeerError> {
        self.unary(|server| async move { server.identify(request).await }).await
    }

    async fn prepare(&self, request: v1::PrepareRequest) -> Result<v1::PrepareResponse, PeerError> {
        self.unary(|server| async move { server.prepare(request).await }).await
    }

    async fn propose(
        &self,
        requests: BoxStream<'static, v1::ProposeRequest>,
    ) -> Result<PeerStream<v1::ProposeResponse>, PeerError> {
        let (wire, server) = self.connect().await?;
        Ok(wire.answers(server.propose(wire.requests(requests)).await?))
    }

    async fn read_index(
        &self,
        request: v1::ReadIndexRequest,
    ) -> Result<v1::ReadIndexResponse, PeerError> {
        self.unary(|server| async move { server.read_index(request).await }).await
    }

    async fn keep_alive(
        &self,
        request: v1::ForwardedKeepAlives,
    ) -> Result<v1::ForwardedKeepAlivesResponse, PeerError> {
        self.unary(|server| async move { server.keep_alive(request).await }).await
    }

    async fn hand_over(
        &self,
        request: v1::HandOverRequest,
    ) -> Result<v1::HandOverResponse, PeerError> {
        self.unary(|server| async move { server.hand_over(request).await }).await
    }

    async fn join(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, PeerError> {
        self.unary(|server| async move { server.join(request).await }).await
    }

    async fn change_members(
        &self,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, PeerError> {
        self.unary(|server| async move { server.change_members(request).await }).await
    }
}
