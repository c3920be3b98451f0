//! Sessions (13 to 18), over real sockets.

use std::time::Duration;

use quorate_proto::{Reason, v1};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    clients::{Clients, assert_error, entry, put_request},
    common::{PATIENCE, TestCluster},
};

/// The shortest time to live that the default settings allow.
const TTL: Duration = Duration::from_secs(1);

async fn open(clients: &Clients, ttl: Duration) -> Result<v1::SessionId, Status> {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap();
    let request = v1::OpenSessionRequest { ttl_ms, label: "test".into() };
    let answer = clients.session.clone().open(request).await?.into_inner();
    assert_eq!(answer.ttl_ms, ttl_ms);
    let session = answer.session.unwrap();
    assert_eq!(session.revision, answer.header.unwrap().revision, "named after its revision");
    Ok(session)
}

async fn close(clients: &Clients, session: v1::SessionId) -> Result<(), Status> {
    let request = v1::CloseSessionRequest { session: Some(session) };
    clients.session.clone().close(request).await.map(drop)
}

async fn list(clients: &Clients) -> Vec<v1::SessionSummary> {
    let request = v1::ListSessionsRequest::default();
    clients.session.clone().list(request).await.unwrap().into_inner().sessions
}

/// A stream of keep-alives.
struct Keeping {
    requests: mpsc::Sender<v1::KeepAliveRequest>,
    answers: Streaming<v1::KeepAliveResponse>,
}

impl Keeping {
    async fn start(clients: &Clients) -> Self {
        let (requests, sent) = mpsc::channel(64);
        let answers = clients.session.clone().keep_alive(ReceiverStream::new(sent)).await.unwrap();
        Self { requests, answers: answers.into_inner() }
    }

    async fn send(&self, sessions: &[v1::SessionId]) {
        // A stream that has ended says so when its answer is asked for.
        drop(self.requests.send(v1::KeepAliveRequest { sessions: sessions.to_vec() }).await);
    }

    async fn answer(&mut self) -> Result<Vec<v1::SessionId>, Status> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        let answer = answer.map_err(|_| Status::aborted("nothing came in time"))??;
        Ok(answer.ok_or_else(|| Status::aborted("ended without a word"))?.ended)
    }

    /// Keeps these sessions alive. Gives those that have ended.
    async fn keep(&mut self, sessions: &[v1::SessionId]) -> Result<Vec<v1::SessionId>, Status> {
        self.send(sessions).await;
        self.answer().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_opened_kept_listed_and_closed_through_any_coordinator() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let mut sessions = Vec::new();
    for each in &clients {
        sessions.push(open(each, 60 * TTL).await.unwrap());
    }
    let nobody = v1::SessionId { restore: 0, revision: 1_000_000 };
    for each in &clients {
        let mut keeping = Keeping::start(each).await;
        assert_eq!(keeping.keep(&sessions).await.unwrap(), []);
        let asked = [sessions[0], nobody, sessions[2]];
        assert_eq!(keeping.keep(&asked).await.unwrap(), [nobody]);
        assert_eq!(keeping.keep(&[]).await.unwrap(), []);
        let listed: Vec<_> = list(each).await.into_iter().map(|one| one.id.unwrap()).collect();
        assert_eq!(listed, sessions, "in the order in which they were opened");
    }
    close(&clients[0], sessions[1]).await.unwrap();
    let mut keeping = Keeping::start(&clients[2]).await;
    assert_eq!(keeping.keep(&sessions).await.unwrap(), [sessions[1]]);
    let again = close(&clients[1], sessions[1]).await.unwrap_err();
    assert_error(&again, Code::FailedPrecondition, Reason::SessionExpired);
    cluster.shutdown().await;
}

/// 17, on a cluster where nothing else happens.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_cluster_expires_a_session_in_time_and_what_it_holds_with_it() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let session = open(&clients[0], TTL).await.unwrap();
    let put = v1::PutRequest { session: Some(session), ..put_request(entry("held"), "x") };
    clients[1].store.clone().put(put).await.unwrap();
    assert_eq!(list(&clients[2]).await[0].held, 1);
    let mut keeping = Keeping::start(&clients[2]).await;
    for _ in 0..8 {
        tokio::time::sleep(TTL / 4).await;
        assert_eq!(keeping.keep(&[session]).await.unwrap(), [], "kept past its time to live");
    }
    let sent = Instant::now();
    assert_eq!(keeping.keep(&[session]).await.unwrap(), []);
    // Looks locally, so that the cluster stays idle.
    let coordinator = cluster.node(1).coordinator();
    let mut applied = coordinator.applied();
    let ended = applied.wait_for(|_| coordinator.view().state.sessions().len() == 0);
    tokio::time::timeout(PATIENCE, ended).await.expect("it expires").unwrap();
    let after = sent.elapsed();
    assert!(after > TTL && after < TTL * 2, "expired after {after:?}");
    assert_eq!(clients[0].get("held", None).await.unwrap().0, None, "gone with its session");
    assert_eq!(keeping.keep(&[session]).await.unwrap(), [session]);
    cluster.shutdown().await;
}
