//! A coordinator that does what a script says, and remembers what it was asked.

mod partitions;

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, future, stream};
use parking_lot::Mutex;
use quorate_client::{Backoff, Client, ClientConfig};
use quorate_proto::v1::{
    self, cluster_service_server as cluster, network_service_server as network,
    partition_service_server as partition, session_service_server as session,
    store_service_server as store, watch_service_server as watch,
};
use tokio::{io::AsyncReadExt as _, net::TcpListener, task::JoinHandle, time::Instant};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, async_trait, transport::Server};

pub(crate) const CLUSTER: u64 = 0xc1;

/// A header of the cluster at a revision.
pub(crate) fn header(revision: u64) -> v1::ResponseHeader {
    v1::ResponseHeader {
        cluster_id: CLUSTER,
        member_id: 1,
        revision,
        term: 1,
        log_index: revision,
        restore_epoch: 0,
    }
}

/// What a coordinator does with a call.
pub(crate) enum Step {
    /// Answers with this header.
    Answer(v1::ResponseHeader),
    /// Answers a range.
    Range(v1::RangeResponse),
    /// Fails.
    Fail(Status),
    /// Never answers.
    Hang,
    /// Streams these messages, then does as the end says.
    Stream(Vec<v1::WatchResponse>, End),
}

/// How a stream ends.
pub(crate) enum End {
    /// With this status.
    Fail(Status),
    /// Without one.
    Close,
    /// Not at all.
    Hang,
}

/// What a coordinator was asked.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Range(v1::RangeRequest),
    Put(v1::PutRequest),
    Transaction(v1::TransactionRequest),
    Open(v1::OpenSessionRequest),
    Close(v1::CloseSessionRequest),
    Watch(v1::WatchRequest),
    Other,
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<(Asked, Option<String>)>>,
    sessions: Arc<Sessions>,
}

/// Sessions are not scripted: they are opened, kept alive until a test ends them, and closed.
#[derive(Default)]
struct Sessions {
    opened: Mutex<u64>,
    refusals: Mutex<VecDeque<Status>>,
    kept: Mutex<Vec<(Instant, v1::KeepAliveRequest)>>,
    behaviour: Mutex<Behaviour>,
    ended: Mutex<Vec<v1::SessionId>>,
}

/// What a coordinator does with keep-alives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers them.
    #[default]
    Answer,
    /// Takes them and says nothing.
    Silent,
    /// Ends the stream.
    Break,
}

/// See the module. Stops when dropped.
pub(crate) struct Coordinator {
    address: SocketAddr,
    script: Arc<Script>,
    task: JoinHandle<()>,
}

impl Coordinator {
    /// Starts one with a script; when it is used up, calls are answered at revision 1.
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let script = Arc::new(Script::default());
        script.steps.lock().extend(steps);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(store::StoreServiceServer::from_arc(script.clone()))
            .add_service(watch::WatchServiceServer::from_arc(script.clone()))
            .add_service(network::NetworkServiceServer::from_arc(script.clone()))
            .add_service(partition::PartitionServiceServer::from_arc(script.clone()))
            .add_service(session::SessionServiceServer::from_arc(script.clone()))
            .add_service(cluster::ClusterServiceServer::from_arc(script.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { server.await.unwrap() });
        Self { address, script, task }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().iter().map(|(asked, _)| asked.clone()).collect()
    }

    /// The contexts of the puts it was asked for.
    pub(crate) fn contexts(&self) -> Vec<v1::WriteContext> {
        let context = |asked| match asked {
            Asked::Put(request) => Some(request.context.unwrap_or_default()),
            _ => None,
        };
        self.asked().into_iter().filter_map(context).collect()
    }

    /// How many sessions were opened here.
    pub(crate) fn opened(&self) -> u64 {
        *self.script.sessions.opened.lock()
    }

    /// Opening a session fails so, as often as there are statuses.
    pub(crate) fn refuse_to_open(&self, statuses: impl IntoIterator<Item = Status>) {
        self.script.sessions.refusals.lock().extend(statuses);
    }

    /// The keep-alives that arrived, with when.
    pub(crate) fn keep_alives(&self) -> Vec<(Instant, v1::KeepAliveRequest)> {
        self.script.sessions.kept.lock().clone()
    }

    /// What it does with keep-alives from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.script.sessions.behaviour.lock() = behaviour;
    }

    /// Keep-alives of this session are answered so that it has ended.
    pub(crate) fn end_session(&self, id: v1::SessionId) {
        self.script.sessions.ended.lock().push(id);
    }

    /// The sessions that it was asked to close.
    pub(crate) fn closed(&self) -> Vec<v1::SessionId> {
        let closed = |asked| match asked {
            Asked::Close(request) => request.session,
            _ => None,
        };
        self.asked().into_iter().filter_map(closed).collect()
    }

    /// The watches it was asked for.
    pub(crate) fn watches(&self) -> Vec<v1::WatchRequest> {
        let watch = |asked| match asked {
            Asked::Watch(request) => Some(request),
            _ => None,
        };
        self.asked().into_iter().filter_map(watch).collect()
    }

    /// The `grpc-timeout` headers of the calls.
    pub(crate) fn timeouts(&self) -> Vec<Option<String>> {
        self.script.asked.lock().iter().map(|(_, timeout)| timeout.clone()).collect()
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A listener that takes a request for the key "key" and then breaks the connection.
pub(crate) async fn breaker() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut taken = Vec::new();
            while !taken.windows(3).any(|bytes| bytes == b"key") {
                if socket.read_buf(&mut taken).await.is_ok_and(|read| read > 0) {
                    continue;
                }
                break;
            }
        }
    });
    (address, task)
}

/// A client of these coordinators, with short pauses and without a session.
pub(crate) fn client(endpoints: &[String]) -> Client {
    Client::new(config(endpoints).without_exactly_once()).unwrap()
}

/// A client of these coordinators, with short pauses, whose writes are applied at most once.
pub(crate) fn once(endpoints: &[String]) -> Client {
    Client::new(config(endpoints).with_exactly_once()).unwrap()
}

pub(crate) fn config(endpoints: &[String]) -> ClientConfig {
    let backoff = Backoff { min: Duration::from_millis(2), max: Duration::from_millis(20) };
    ClientConfig { backoff, ..ClientConfig::new(endpoints.iter().cloned()) }
}

/// Waits until this holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Sessions {
    async fn answer(
        &self,
        request: v1::KeepAliveRequest,
    ) -> Option<Result<v1::KeepAliveResponse, Status>> {
        self.kept.lock().push((Instant::now(), request.clone()));
        let behaviour = *self.behaviour.lock();
        match behaviour {
            Behaviour::Silent => None,
            Behaviour::Break => Some(Err(Status::unavailable("out of contact"))),
            Behaviour::Answer => {
                let gone = self.ended.lock().clone();
                let ended = request.sessions.into_iter().filter(|id| gone.contains(id)).collect();
                Some(Ok(v1::KeepAliveResponse { header: Some(header(1)), ended }))
            }
        }
    }
}

impl Script {
    fn next(&self, asked: Asked, metadata: &tonic::metadata::MetadataMap) -> Step {
        let timeout = metadata.get("grpc-timeout").map(|text| text.to_str().unwrap().to_owned());
        self.asked.lock().push((asked, timeout));
        self.steps.lock().pop_front().unwrap_or(Step::Answer(header(1)))
    }

    async fn answer<M>(
        &self,
        asked: Asked,
        request: &Request<M>,
    ) -> Result<v1::ResponseHeader, Status> {
        match self.next(asked, request.metadata()) {
            Step::Answer(header) => Ok(header),
            Step::Fail(status) => Err(status),
            Step::Hang => future::pending().await,
            Step::Range(_) | Step::Stream(..) => panic!("the script has a step of another call"),
        }
    }
}

#[async_trait]
impl store::StoreService for Script {
    async fn range(
        &self,
        request: Request<v1::RangeRequest>,
    ) -> Result<Response<v1::RangeResponse>, Status> {
        let header = match self.next(Asked::Range(request.get_ref().clone()), request.metadata()) {
            Step::Range(response) => return Ok(Response::new(response)),
            Step::Answer(header) => Some(header),
            Step::Fail(status) => return Err(status),
            Step::Hang => future::pending().await,
            Step::Stream(..) => panic!("the script has a step of another call"),
        };
        Ok(Response::new(v1::RangeResponse { header, ..v1::RangeResponse::default() }))
    }

    async fn put(
        &self,
        request: Request<v1::PutRequest>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let header = self.answer(Asked::Put(request.get_ref().clone()), &request).await?;
        Ok(Response::new(v1::PutResponse { header: Some(header), previous: None }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let header = self.answer(Asked::Other, &request).await?;
        Ok(Response::new(v1::DeleteResponse { header: Some(header), deleted: 1, previous: vec![] }))
    }

    async fn transaction(
        &self,
        request: Request<v1::TransactionRequest>,
    ) -> Result<Response<v1::TransactionResponse>, Status> {
        let asked = Asked::Transaction(request.get_ref().clone());
        let header = Some(self.answer(asked, &request).await?);
        Ok(Response::new(v1::TransactionResponse { header, succeeded: true, results: vec![] }))
    }
}

#[async_trait]
impl watch::WatchService for Script {
    type WatchStream = stream::BoxStream<'static, Result<v1::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        match self.next(Asked::Watch(request.get_ref().clone()), request.metadata()) {
            Step::Stream(messages, end) => {
                let messages = stream::iter(messages.into_iter().map(Ok));
                Ok(Response::new(match end {
                    End::Fail(status) => messages.chain(stream::iter([Err(status)])).boxed(),
                    End::Close => messages.boxed(),
                    End::Hang => messages.chain(stream::pending()).boxed(),
                }))
            }
            Step::Fail(status) => Err(status),
            Step::Hang => future::pending().await,
            // Used up: a stream that says nothing.
            Step::Answer(_) => Ok(Response::new(stream::pending().boxed())),
            Step::Range(_) => panic!("the script has a step of another call"),
        }
    }
}

#[async_trait]
impl network::NetworkService for Script {
    async fn apply(
        &self,
        request: Request<v1::ApplyNetworkRequest>,
    ) -> Result<Response<v1::ApplyNetworkResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        let network = Some(v1::NetworkSummary {
            name: request.into_inner().name,
            generation: 1,
            partitions: 2,
            strategy: "round-robin".into(),
            ..v1::NetworkSummary::default()
        });
        let outcome = v1::ApplyOutcome::Created.into();
        Ok(Response::new(v1::ApplyNetworkResponse { header, outcome, network }))
    }

    async fn get(
        &self,
        request: Request<v1::GetNetworkRequest>,
    ) -> Result<Response<v1::GetNetworkResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::GetNetworkResponse { header, summary: None, network: None }))
    }

    async fn list(
        &self,
        request: Request<v1::ListNetworksRequest>,
    ) -> Result<Response<v1::ListNetworksResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::ListNetworksResponse { header, networks: vec![] }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteNetworkRequest>,
    ) -> Result<Response<v1::DeleteNetworkResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::DeleteNetworkResponse { header, partitions: 2, connections: 1 }))
    }

    async fn plan(
        &self,
        request: Request<v1::PlanNetworkRequest>,
    ) -> Result<Response<v1::PlanNetworkResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::PlanNetworkResponse { header, ..Default::default() }))
    }

    async fn scale(
        &self,
        request: Request<v1::ScaleNetworkRequest>,
    ) -> Result<Response<v1::ScaleNetworkResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::ScaleNetworkResponse { header, ..Default::default() }))
    }

    async fn plan_scale(
        &self,
        request: Request<v1::PlanScaleRequest>,
    ) -> Result<Response<v1::PlanScaleResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::PlanScaleResponse { header, ..Default::default() }))
    }
}

#[async_trait]
impl cluster::ClusterService for Script {
    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        let role = v1::MemberRole::Follower.into();
        let response = v1::StatusResponse { header, role, ..v1::StatusResponse::default() };
        Ok(Response::new(response))
    }

    async fn members(
        &self,
        request: Request<v1::MembersRequest>,
    ) -> Result<Response<v1::MembersResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::MembersResponse { header, members: vec![], leader_id: 2 }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let leader_id = request.get_ref().target_id;
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::TransferLeaderResponse { header, leader_id }))
    }

    async fn list_alerts(
        &self,
        request: Request<v1::ListAlertsRequest>,
    ) -> Result<Response<v1::ListAlertsResponse>, Status> {
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::ListAlertsResponse { header, alerts: vec![] }))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let member = v1::Member { id: request.get_ref().id, ..v1::Member::default() };
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::AddMemberResponse { header, member: Some(member) }))
    }

    async fn promote_member(
        &self,
        request: Request<v1::PromoteMemberRequest>,
    ) -> Result<Response<v1::PromoteMemberResponse>, Status> {
        let member = v1::Member { id: request.get_ref().id, ..v1::Member::default() };
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::PromoteMemberResponse { header, member: Some(member) }))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let member = v1::Member { id: request.get_ref().id, ..v1::Member::default() };
        let header = Some(self.answer(Asked::Other, &request).await?);
        Ok(Response::new(v1::RemoveMemberResponse { header, member: Some(member) }))
    }
}

#[async_trait]
impl session::SessionService for Script {
    type KeepAliveStream = stream::BoxStream<'static, Result<v1::KeepAliveResponse, Status>>;

    async fn open(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let request = request.into_inner();
        self.asked.lock().push((Asked::Open(request.clone()), None));
        if let Some(status) = self.sessions.refusals.lock().pop_front() {
            return Err(status);
        }
        let mut opened = self.sessions.opened.lock();
        *opened += 1;
        let session = Some(v1::SessionId { restore: 0, revision: *opened });
        let header = Some(header(1));
        Ok(Response::new(v1::OpenSessionResponse { header, session, ttl_ms: request.ttl_ms }))
    }

    async fn keep_alive(
        &self,
        request: Request<tonic::Streaming<v1::KeepAliveRequest>>,
    ) -> Result<Response<Self::KeepAliveStream>, Status> {
        let sessions = self.sessions.clone();
        let answers = request.into_inner().filter_map(move |request| {
            let sessions = sessions.clone();
            async move { sessions.answer(request.ok()?).await }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn close(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        self.asked.lock().push((Asked::Close(request.into_inner()), None));
        Ok(Response::new(v1::CloseSessionResponse { header: Some(header(1)) }))
    }

    async fn list(
        &self,
        _request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        Ok(Response::new(v1::ListSessionsResponse { header: Some(header(1)), sessions: vec![] }))
    }
}
