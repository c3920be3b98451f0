//! Plain gRPC calls with the generated clients: one call is one request, never retried.
//!
//! Owns what a test may conclude from an answer: [`Failure`] says whether a write may have been
//! applied. Whatever does not say `NOT_APPLIED` may have been.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use quorate_core::{LogIndex, MemberId, Revision, Term};
use quorate_proto::v1::{
    Consistency, Key, KeyBounds, Kind, MemberRole, Operation, Precondition, PutOperation,
    PutRequest, RangeRequest, ReadOptions, Record, ResponseHeader, Selector, StatusRequest,
    TransactionRequest, TransferLeaderRequest, WatchRequest, WatchResponse,
    cluster_service_client::ClusterServiceClient, operation, precondition, selector,
    store_service_client::StoreServiceClient, watch_service_client::WatchServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{
    Code, Request, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// The deadline of every call that is not a stream.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// A status is answered from memory, without a quorum.
const STATUS_DEADLINE: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const PAGE: u32 = 1_000;

/// A connection to one coordinator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Coordinator {
    /// Which one.
    pub id: MemberId,
    channel: Channel,
}

/// What a coordinator says of itself.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which one.
    pub member: MemberId,
    /// Whether it leads, follows, ...
    pub role: MemberRole,
    /// Whom it takes for the leader.
    pub leader: Option<MemberId>,
    /// Its term.
    pub term: Term,
    /// The last entry that it applied.
    pub applied: LogIndex,
    /// The last entry in its log.
    pub last_log: LogIndex,
    /// Its revision.
    pub revision: Revision,
    /// The hash of its state as of `applied`.
    pub state_hash: u64,
}

impl Status {
    /// Whether it says that it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role == MemberRole::Leader
    }
}

/// Why a call has no answer, as far as tests look at it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code:?} {reason} {outcome} {field} {rule}: {message}")]
pub struct Failure {
    /// The gRPC code.
    pub code: Code,
    /// `ErrorInfo.reason`; empty when there are no details.
    pub reason: String,
    /// `ErrorInfo.metadata["outcome"]`; empty when it is not said.
    pub outcome: String,
    /// `ErrorInfo.metadata["field"]`.
    pub field: String,
    /// `ErrorInfo.metadata["rule"]`.
    pub rule: String,
    /// `ErrorInfo.metadata["oldest"]`.
    pub oldest: String,
    /// For people.
    pub message: String,
}

impl Failure {
    /// Whether the error promises that the write never happened.
    #[must_use]
    pub fn not_applied(&self) -> bool {
        self.outcome == "NOT_APPLIED"
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let (reason, metadata) = status
            .get_details_error_info()
            .map(|info| (info.reason, info.metadata))
            .unwrap_or_default();
        let of = |name: &str| metadata.get(name).cloned().unwrap_or_default();
        Self {
            code: status.code(),
            outcome: of("outcome"),
            field: of("field"),
            rule: of("rule"),
            oldest: of("oldest"),
            message: status.message().to_owned(),
            reason,
        }
    }
}

/// A connection that is made when it is used first, and again after it broke.
///
/// # Errors
/// When the address makes no URI.
pub fn connect(id: MemberId, address: SocketAddr) -> Result<Coordinator> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect_lazy();
    Ok(Coordinator { id, channel })
}

impl Coordinator {
    /// Writes an entry.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn put(&self, key: &str, value: &[u8]) -> Result<Revision, Failure> {
        let key = Some(entry(key));
        let request =
            PutRequest { key, value: Bytes::copy_from_slice(value), ..PutRequest::default() };
        let answer = self.store().put(timed(request)).await?.into_inner();
        Ok(revision(answer.header))
    }

    /// Writes an entry that must not exist. `None`: it exists.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn create(&self, key: &str, value: &[u8]) -> Result<Option<Revision>, Failure> {
        let target = selector::Target::Key(Bytes::copy_from_slice(key.as_bytes()));
        let target = Selector { kind: Kind::Entry.into(), target: Some(target) };
        let put = PutOperation {
            key: Some(entry(key)),
            value: Bytes::copy_from_slice(value),
            ..PutOperation::default()
        };
        let request = TransactionRequest {
            preconditions: vec![Precondition {
                target: Some(target),
                test: Some(precondition::Test::Absent(true)),
            }],
            success: vec![Operation { operation: Some(operation::Operation::Put(put)) }],
            ..TransactionRequest::default()
        };
        let answer = self.store().transaction(timed(request)).await?.into_inner();
        Ok(answer.succeeded.then(|| revision(answer.header)))
    }

    /// All entries whose keys begin with `prefix`, by linearizable reads, a page at a time; with
    /// the revision of the last page.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn entries(&self, prefix: &str) -> Result<(Revision, Vec<Record>), Failure> {
        let mut start = prefix.as_bytes().to_vec();
        let mut end = start.clone();
        end.push(u8::MAX); // Keys of tests are text: no byte of theirs is as high.
        let mut records = Vec::new();
        loop {
            let bounds = KeyBounds { start: start.into(), end: Bytes::copy_from_slice(&end) };
            let bounds = Some(selector::Target::Bounds(bounds));
            let request = RangeRequest {
                selector: Some(Selector { kind: Kind::Entry.into(), target: bounds }),
                limit: PAGE,
                ..RangeRequest::default()
            };
            let answer = self.store().range(timed(request)).await?.into_inner();
            records.extend(answer.records);
            let last = records.last().and_then(|record| record.key.as_ref());
            match last {
                Some(last) if answer.more => start = [&last.key[..], &[0]].concat(),
                _ => return Ok((revision(answer.header), records)),
            }
        }
    }

    /// The value of an entry, as fresh as asked for.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn get(&self, key: &str, consistency: Consistency) -> Result<Option<Bytes>, Failure> {
        let target = selector::Target::Key(Bytes::copy_from_slice(key.as_bytes()));
        let request = RangeRequest {
            selector: Some(Selector { kind: Kind::Entry.into(), target: Some(target) }),
            read: Some(ReadOptions { consistency: consistency.into(), min_revision: 0 }),
            ..RangeRequest::default()
        };
        let answer = self.store().range(timed(request)).await?.into_inner();
        Ok(answer.records.first().map(value))
    }

    /// Follows changes. Not bounded in time.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn watch(&self, request: WatchRequest) -> Result<Streaming<WatchResponse>, Failure> {
        let mut client = WatchServiceClient::new(self.channel.clone());
        let client = client.watch(request);
        let answer = tokio::time::timeout(DEADLINE, client).await;
        let answer = answer.map_err(|_| tonic::Status::deadline_exceeded("no stream in time"))?;
        Ok(answer?.into_inner())
    }

    /// What the coordinator says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Status> {
        let mut request = Request::new(StatusRequest {});
        request.set_timeout(STATUS_DEADLINE);
        let mut client = ClusterServiceClient::new(self.channel.clone());
        let answer = tokio::time::timeout(STATUS_DEADLINE, client.status(request)).await??;
        let answer = answer.into_inner();
        let header = answer.header.context("a status has a header")?;
        Ok(Status {
            member: MemberId(header.member_id),
            role: answer.role(),
            leader: Some(MemberId(answer.leader_id)).filter(|leader| leader.get() > 0),
            term: Term(header.term),
            applied: LogIndex(answer.applied_index),
            last_log: LogIndex(answer.last_log_index),
            revision: Revision(header.revision),
            state_hash: answer.state_hash,
        })
    }

    /// Asks for this coordinator to lead.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn lead(&self) -> Result<(), Failure> {
        let request = TransferLeaderRequest { target_id: self.id.get() };
        let mut client = ClusterServiceClient::new(self.channel.clone());
        client.transfer_leader(timed(request)).await?;
        Ok(())
    }

    /// The gRPC channel, for calls that have no method here.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    fn store(&self) -> StoreServiceClient<Channel> {
        StoreServiceClient::new(self.channel.clone())
    }
}

/// What a coordinator counts under a name, read from its metrics address.
///
/// # Errors
/// When it does not answer in time, or has no such metric.
pub async fn metric(address: SocketAddr, name: &str) -> Result<f64> {
    let page = tokio::time::timeout(DEADLINE, metrics_page(address)).await??;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {name} at {address}"))?.trim().parse()?)
}

async fn metrics_page(address: SocketAddr) -> Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    connection.read_to_string(&mut page).await?;
    Ok(page)
}

/// The value of an entry's record; empty for another kind.
#[must_use]
pub fn value(record: &Record) -> Bytes {
    match &record.value {
        Some(quorate_proto::v1::record::Value::Entry(value)) => value.clone(),
        _ => Bytes::new(),
    }
}

/// A request with the deadline of all calls.
#[must_use]
pub fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

fn entry(key: &str) -> Key {
    Key { kind: Kind::Entry.into(), key: Bytes::copy_from_slice(key.as_bytes()) }
}

fn revision(header: Option<ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision))
}
