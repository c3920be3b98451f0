//! `SessionService`: clients that show that they are alive.

use futures::{Stream, StreamExt as _, stream::BoxStream};
use prometheus::IntGauge;
use quorate_core::{Command, Rejection, Reply, SessionId};
use quorate_proto::{
    ErrorDetails,
    convert::write::required_session,
    v1::{self, session_service_server::SessionService},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    error, header,
    read::Reader,
    write::{Sender, Writer, wrong_reply},
};
use crate::{
    coordinator::{Coordinator, Fate, Unanswered},
    metrics::SessionMetrics,
};

/// Most sessions in one request.
const SESSIONS_MAX: usize = 1_000;
/// Requests of one stream that are under way, at most; the next one is not read before.
const UNDER_WAY_MAX: usize = 32;

/// `SessionService`.
#[derive(Clone)]
pub(super) struct Sessions {
    pub(super) coordinator: Coordinator,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) metrics: SessionMetrics,
    pub(super) shutdown: CancellationToken,
}

#[async_trait]
impl SessionService for Sessions {
    async fn open(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let v1::OpenSessionRequest { ttl_ms, label, context } = request;
        let sender = Sender::new(context, &(ttl_ms, &label), deadline)?;
        let command = Command::OpenSession { ttl_ms, label };
        let (header, reply) = self.writer.commit(command, &sender).await?;
        let Reply::OpenSession { id, ttl_ms } = reply else { return Err(wrong_reply(&reply)) };
        let (header, session) = (Some(header.into()), Some(id.into()));
        Ok(Response::new(v1::OpenSessionResponse { header, session, ttl_ms }))
    }

    type KeepAliveStream = BoxStream<'static, Result<v1::KeepAliveResponse, Status>>;

    async fn keep_alive(
        &self,
        request: Request<Streaming<v1::KeepAliveRequest>>,
    ) -> Result<Response<Self::KeepAliveStream>, Status> {
        let open = Open::new(&self.metrics.streams);
        let service = self.clone();
        let answers = request.into_inner().map(move |request| service.clone().answer(request));
        let answers = answers.buffered(UNDER_WAY_MAX);
        Ok(Response::new(self.clone().until_it_ends(answers, open).boxed()))
    }

    async fn close(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        let (request, deadline) = self.writer.open(request);
        let id = required_session(request.session, "session")?;
        let sender = Sender::new(request.context, &id, deadline)?;
        let (header, _) = self.writer.commit(Command::CloseSession { id }, &sender).await?;
        Ok(Response::new(v1::CloseSessionResponse { header: Some(header.into()) }))
    }

    async fn list(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let sessions = view.state.sessions().filter_map(|(id, held)| {
            let session = view.state.session(id)?;
            Some(v1::SessionSummary {
                id: Some(id.into()),
                ttl_ms: session.ttl_ms,
                label: session.label.to_string(),
                held: u32::try_from(held.len()).unwrap_or(u32::MAX),
            })
        });
        let sessions = sessions.collect();
        Ok(Response::new(v1::ListSessionsResponse { header: Some(header.into()), sessions }))
    }
}

impl Sessions {
    /// Answers one request of a stream.
    async fn answer(
        self,
        request: Result<v1::KeepAliveRequest, Status>,
    ) -> Result<v1::KeepAliveResponse, Status> {
        let sessions: Vec<SessionId> = request?.sessions.into_iter().map(Into::into).collect();
        let count = sessions.len() as u64;
        if sessions.len() > SESSIONS_MAX {
            let most = SESSIONS_MAX as u64;
            let rejection = Rejection::limit("sessions", "sessions in a request", count, most);
            return Err(ErrorDetails::from(rejection).into());
        }
        let ended = self.coordinator.keep_alive(sessions).await;
        let ended = ended.map_err(|unanswered| error::read(&unanswered))?;
        self.metrics.requests.inc();
        self.metrics.keep_alives.inc_by(count);
        let header = header::of_view(self.coordinator.member_id(), &self.coordinator.view());
        let ended = ended.into_iter().map(Into::into).collect();
        Ok(v1::KeepAliveResponse { header: Some(header.into()), ended })
    }

    /// Ends a stream at its first error, and when this coordinator cannot tell any more.
    fn until_it_ends(
        self,
        answers: impl Stream<Item = Result<v1::KeepAliveResponse, Status>> + Send + 'static,
        open: Open,
    ) -> impl Stream<Item = Result<v1::KeepAliveResponse, Status>> + Send {
        let state = Some((Box::pin(answers), self.coordinator.in_contact(), open));
        futures::stream::unfold(state, move |state| {
            let service = self.clone();
            async move {
                let (mut answers, mut contact, open) = state?;
                let answer = tokio::select! {
                    biased;
                    () = service.shutdown.cancelled() => Err(stopping()),
                    _ = contact.wait_for(|there| !there) => Err(service.out_of_contact()),
                    answer = answers.next() => answer?,
                };
                if answer.is_err() {
                    service.metrics.ended.inc();
                    return Some((answer, None));
                }
                Some((answer, Some((answers, contact, open))))
            }
        })
    }

    fn out_of_contact(&self) -> Status {
        let leader = self.coordinator.status().leader;
        let message = "contact with a quorum was lost".to_owned();
        error::read(&Unanswered::Unavailable { fate: Fate::NotApplied, leader, message })
    }
}

fn stopping() -> Status {
    error::read(&Unanswered::Stopped { fate: Fate::NotApplied })
}

/// Counts a stream while it is open.
struct Open(IntGauge);

impl Open {
    fn new(streams: &IntGauge) -> Self {
        streams.inc();
        Self(streams.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
