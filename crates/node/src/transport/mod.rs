//! How coordinators reach each other.
//!
//! Owns the [`Transport`] and [`Peer`] traits and the gRPC implementation behind them. A
//! coordinator serves its peers through the same [`Peer`] trait that it calls them by, so that a
//! simulated network can stand between two of them without a socket.
//!
//! Invariants: messages on one append or forward stream arrive in order or the stream ends with
//! an error; every unary call has a deadline. Must not know what the messages mean.

pub mod grpc;
pub mod server;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;
use quorate_core::MemberId;
use quorate_proto::v1;

/// What a call is for. Each lane has a connection of its own, so that a heartbeat never queues
/// behind bulk replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, heartbeats, read indexes, keep-alives, bootstrap.
    Control,
    /// Log replication.
    Append,
    /// Checkpoint transfers.
    Install,
    /// Commands on behalf of clients.
    Forward,
}

/// Makes connections to peers.
pub trait Transport: Send + Sync + 'static {
    /// A handle to the peer at this address. Does not wait: a connection is made when it is
    /// first used, and again when it broke.
    fn peer(&self, id: MemberId, address: &str, lane: Lane) -> Arc<dyn Peer>;
}

/// A stream of what a peer sends.
pub type PeerStream<T> = BoxStream<'static, Result<T, PeerError>>;

/// What coordinators ask of each other: [`v1`]'s `RaftService` and `ForwardService`.
#[async_trait]
pub trait Peer: Send + Sync + 'static {
    /// Replicates log entries; one answer for each request, in order.
    async fn append(
        &self,
        requests: BoxStream<'static, v1::AppendRequest>,
    ) -> Result<PeerStream<v1::AppendResponse>, PeerError>;

    /// One append, on its own.
    async fn heartbeat(&self, request: v1::AppendRequest) -> Result<v1::AppendResponse, PeerError>;

    /// Asks for a vote.
    async fn vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError>;

    /// Asks whether a vote would be granted.
    async fn pre_vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, PeerError>;

    /// Tells that leadership should move.
    async fn transfer_leader(
        &self,
        request: v1::PeerTransferRequest,
    ) -> Result<v1::PeerTransferResponse, PeerError>;

    /// Installs a checkpoint.
    async fn install(
        &self,
        chunks: BoxStream<'static, v1::InstallChunk>,
    ) -> Result<v1::InstallResponse, PeerError>;

    /// Asks who is there.
    async fn identify(
        &self,
        request: v1::IdentifyRequest,
    ) -> Result<v1::IdentifyResponse, PeerError>;

    /// Proposes a cluster id.
    async fn prepare(&self, request: v1::PrepareRequest) -> Result<v1::PrepareResponse, PeerError>;

    /// Forwards commands; answers in any order.
    async fn propose(
        &self,
        requests: BoxStream<'static, v1::ProposeRequest>,
    ) -> Result<PeerStream<v1::ProposeResponse>, PeerError>;

    /// Asks for a read index.
    async fn read_index(
        &self,
        request: v1::ReadIndexRequest,
    ) -> Result<v1::ReadIndexResponse, PeerError>;

    /// Tells the leader whose holders were heard.
    async fn keep_alive(
        &self,
        request: v1::ForwardedKeepAlives,
    ) -> Result<v1::ForwardedKeepAlivesResponse, PeerError>;

    /// Asks the leader to hand leadership over. Its deadline is in the request.
    async fn hand_over(
        &self,
        request: v1::HandOverRequest,
    ) -> Result<v1::HandOverResponse, PeerError>;

    /// Asks to be let in.
    async fn join(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, PeerError>;

    /// Asks the leader to change the membership. Its deadline is in the request.
    async fn change_members(
        &self,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, PeerError>;
}

/// A peer did not answer, or refused to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PeerError {
    /// What kind of failure.
    pub kind: PeerErrorKind,
    /// What happened.
    pub message: String,
}

/// Kinds of failed peer calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerErrorKind {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// It is not ready to serve: starting or stopping.
    NotReady,
    /// It belongs to another cluster, or is another member.
    WrongCluster,
    /// The message makes no sense.
    Invalid,
}

impl PeerError {
    /// Makes an error.
    #[must_use]
    pub fn new(kind: PeerErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PeerErrorKind::Unreachable => "unreachable",
            PeerErrorKind::Timeout => "no answer in time",
            PeerErrorKind::NotReady => "not ready",
            PeerErrorKind::WrongCluster => "wrong cluster",
            PeerErrorKind::Invalid => "invalid message",
        };
        write!(f, "{kind}: {}", self.message)
    }
}
