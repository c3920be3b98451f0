//! The calls that open and close sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_core::SessionId;
use quorate_proto::{
    ConvertError,
    v1::{self, session_service_client::SessionServiceClient},
};
use tokio::{runtime::Handle, time::timeout};

use super::{Clock, Link, has_ended};
use crate::{
    call::{Call, Carried, Operation, rpc},
    client::Client,
    error::Error,
    pool::Tried,
};

/// Opens a session. One that is opened twice, because an answer was lost, is never kept alive.
#[derive(Debug, Clone)]
pub(crate) struct OpenSession {
    ttl: Duration,
    label: String,
    clock: Arc<dyn Clock>,
    sent_at: SentAt,
}

/// When a request was sent last, by the clock of sessions. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentAt(Arc<AtomicU64>);

impl SentAt {
    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Acquire))
    }

    fn set(&self, at: Duration) {
        // 584 years of nanoseconds.
        self.0.store(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }
}

/// A session that was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) id: SessionId,
    pub(crate) ttl: Duration,
}

impl OpenSession {
    pub(crate) fn new(ttl: Duration, label: String, clock: Arc<dyn Clock>) -> Self {
        Self { ttl, label, clock, sent_at: SentAt::default() }
    }

    /// Knows when the attempt that was answered began.
    pub(crate) fn sent_at(&self) -> SentAt {
        self.sent_at.clone()
    }
}

impl Operation for OpenSession {
    type Output = Opened;
    rpc!(
        Repeatable,
        session_service_client::SessionServiceClient.open(OpenSessionRequest)
            -> OpenSessionResponse
    );

    fn request(&self, carried: Carried) -> v1::OpenSessionRequest {
        self.sent_at.set(self.clock.now());
        let ttl_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        v1::OpenSessionRequest { ttl_ms, label: self.label.clone(), context: carried.context }
    }

    fn read(&self, answer: v1::OpenSessionResponse) -> Result<Opened, ConvertError> {
        let id = answer.session.ok_or_else(|| ConvertError::new("session", "required"))?.into();
        Ok(Opened { id, ttl: Duration::from_millis(answer.ttl_ms) })
    }
}

/// Closes a session.
#[derive(Debug, Clone)]
struct CloseSession {
    id: SessionId,
}

impl Operation for CloseSession {
    type Output = ();
    rpc!(
        Repeatable,
        session_service_client::SessionServiceClient.close(CloseSessionRequest)
            -> CloseSessionResponse
    );

    fn request(&self, carried: Carried) -> v1::CloseSessionRequest {
        v1::CloseSessionRequest { session: Some(self.id.into()), context: carried.context }
    }

    fn read(&self, _answer: v1::CloseSessionResponse) -> Result<(), ConvertError> {
        Ok(())
    }
}

/// Closes a session; that it has ended before is no error.
pub(crate) async fn close(client: &Client, id: SessionId) -> Result<(), Error> {
    match Call::new(client, CloseSession { id }).await {
        Ok(_) => Ok(()),
        Err(error) if has_ended(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Tries once to close a session, if there is a runtime to do it in. The cluster ends it anyway.
pub(crate) fn close_in_background(link: &Arc<Link>, id: SessionId) {
    let Ok(runtime) = Handle::try_current() else { return };
    let link = link.clone();
    runtime.spawn(async move {
        let Some(index) = link.pool.pick(&mut Tried::default()) else { return };
        let mut service = SessionServiceClient::new(link.pool.channel(index));
        let context = link.config.audit(None);
        let request = v1::CloseSessionRequest { session: Some(id.into()), context };
        let closed = timeout(link.config.attempt_timeout, service.close(request)).await;
        if !matches!(closed, Ok(Ok(_))) {
            tracing::debug!(session = %id, "could not be closed, its time runs out");
        }
    });
}
