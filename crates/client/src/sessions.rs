//! All sessions of the cluster, whoever holds them. What a holder does with its own is in
//! [`crate::session`].

use std::time::Duration;

use quorate_core::SessionId;
use quorate_proto::{ConvertError, convert::write::required_session, v1};

use crate::{
    call::{Audited, Call, Carried, Operation, Read, rpc},
    client::Client,
};

impl Client {
    /// The sessions that are alive, in the order in which they were opened.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// for session in client.list_sessions().await?.value {
    ///     println!("{} holds {} records", session.id, session.held);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_sessions(&self) -> Call<ListSessions> {
        Call::new(self, ListSessions)
    }

    /// Ends any session with everything that it holds, at one revision. An error with the reason
    /// `SESSION_EXPIRED` when it has ended before.
    pub fn end_session(&self, id: SessionId) -> Call<EndSession> {
        Call::new(self, EndSession { id })
    }
}

/// Lists sessions.
#[derive(Debug, Clone)]
pub struct ListSessions;

/// A session that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSession {
    /// Its id.
    pub id: SessionId,
    /// How long it lives after its last keep-alive.
    pub ttl: Duration,
    /// What its holder calls itself.
    pub label: String,
    /// How many entries, workers and partitions it holds.
    pub held: u32,
}

impl Read for ListSessions {}

impl Operation for ListSessions {
    type Output = Vec<FoundSession>;
    rpc!(
        Read,
        session_service_client::SessionServiceClient.list(ListSessionsRequest)
            -> ListSessionsResponse
    );

    fn request(&self, carried: Carried) -> v1::ListSessionsRequest {
        v1::ListSessionsRequest { read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::ListSessionsResponse) -> Result<Self::Output, ConvertError> {
        let session = |session: v1::SessionSummary| {
            Ok(FoundSession {
                id: required_session(session.id, "sessions.id")?,
                ttl: Duration::from_millis(session.ttl_ms),
                label: session.label,
                held: session.held,
            })
        };
        answer.sessions.into_iter().map(session).collect()
    }
}

/// Ends a session.
#[derive(Debug, Clone)]
pub struct EndSession {
    id: SessionId,
}

impl Audited for EndSession {}

impl Operation for EndSession {
    type Output = ();
    rpc!(
        Control,
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
