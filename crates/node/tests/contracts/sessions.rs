//! Sessions (13 to 18), over real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_core::{Command, MemberId, Name, Origin, Revision, SessionId, Settings};
use quorate_node::coordinator::Role;
use quorate_proto::{
    Reason,
    convert::{Start, WatchEvent, WatchSpec},
    v1,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    clients::{Clients, Watched, assert_error, entry, put_request},
    common::{PATIENCE, TestCluster, deadline},
};

/// The shortest time to live that the default settings allow.
const TTL: Duration = Duration::from_secs(1);

async fn open(clients: &Clients, ttl: Duration) -> Result<v1::SessionId, Status> {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap();
    let request = v1::OpenSessionRequest { ttl_ms, label: "test".into(), context: None };
    let answer = clients.session.clone().open(request).await?.into_inner();
    assert_eq!(answer.ttl_ms, ttl_ms);
    let session = answer.session.unwrap();
    assert_eq!(session.revision, answer.header.unwrap().revision, "named after its revision");
    Ok(session)
}

async fn close(clients: &Clients, session: v1::SessionId) -> Result<(), Status> {
    let request = v1::CloseSessionRequest { session: Some(session), context: None };
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

fn leader(cluster: &TestCluster) -> u64 {
    let leads = cluster.nodes().find(|node| node.coordinator().status().role == Role::Leader);
    leads.expect("somebody leads").coordinator().member_id().get()
}

/// 25, for sessions.
#[tokio::test(flavor = "multi_thread")]
async fn limits_of_sessions_are_named() {
    let cluster = TestCluster::start(1).await;
    let clients = Clients::of(cluster.node(1)).await;
    for ttl in [TTL - Duration::from_millis(1), Duration::from_millis(3_600_001)] {
        let refused = open(&clients, ttl).await.unwrap_err();
        let details = assert_error(&refused, Code::InvalidArgument, Reason::InvalidField);
        assert_eq!(details.field, "ttl_ms");
        assert!(details.rule.contains("1000") && details.rule.contains("3600000"), "{details:?}");
    }
    let request = v1::OpenSessionRequest { ttl_ms: 1_000, label: "x".repeat(129), context: None };
    let refused = clients.session.clone().open(request).await.unwrap_err();
    assert_eq!(assert_error(&refused, Code::InvalidArgument, Reason::InvalidField).field, "label");
    clients.set("sessions_max", 1).await;
    let session = open(&clients, 60 * TTL).await.unwrap();
    let refused = open(&clients, 60 * TTL).await.unwrap_err();
    let details = assert_error(&refused, Code::InvalidArgument, Reason::LimitExceeded);
    assert!(details.rule.contains("sessions_max"), "{details:?}");

    let mut keeping = Keeping::start(&clients).await;
    let refused = keeping.keep(&vec![session; 1_001]).await.unwrap_err();
    let details = assert_error(&refused, Code::InvalidArgument, Reason::LimitExceeded);
    assert_eq!(details.field, "sessions");
    let request = v1::CloseSessionRequest { session: None, context: None };
    let refused = clients.session.clone().close(request).await.unwrap_err();
    assert_eq!(
        assert_error(&refused, Code::InvalidArgument, Reason::InvalidField).field,
        "session"
    );
    assert_eq!(list(&clients).await.len(), 1, "nothing was changed");
    cluster.shutdown().await;
}

/// The next revision: how many changes it has, and who made them.
async fn next_changes(watched: &mut Watched) -> (Revision, usize, Origin) {
    loop {
        match watched.next().await.unwrap() {
            WatchEvent::Changes { revision, changes, origin, .. } => {
                return (revision, changes.len(), origin);
            }
            WatchEvent::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// 25: a session ends at one revision, however much it holds and whatever the limits are by then; and
/// that revision reaches those who watch.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_holds_all_that_it_may_ends_and_everybody_sees_it() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let value = "x".repeat(1 << 20);
    for end in ["close", "expiry"] {
        let session = open(&clients[0], 60 * TTL).await.unwrap();
        let mut held = 0;
        let refused = loop {
            let request = put_request(entry(&format!("{end}/{held}")), &value);
            let request = v1::PutRequest { session: Some(session), ..request };
            match clients[1].store.clone().put(request).await {
                Ok(_) => held += 1,
                Err(status) => break status,
            }
        };
        let details = assert_error(&refused, Code::InvalidArgument, Reason::LimitExceeded);
        assert_eq!(details.field, "session");
        assert!(details.rule.contains("session_record_bytes_max"), "{details:?}");
        assert_eq!(held, 31);
        for (setting, value) in [
            ("session_record_bytes_max", 1_024),
            ("session_records_max", 1),
            ("command_changes_max", 1),
            ("command_bytes_max", 1_024),
        ] {
            clients[0].set(setting, value).await;
        }
        let from = clients[2].revision().await.next();
        let spec = WatchSpec { start: Start::From(from), with_previous: true, ..<_>::default() };
        let mut watched = clients[2].watch(spec).await.unwrap();
        if end == "close" {
            close(&clients[0], session).await.unwrap();
        } else {
            // Nobody keeps it alive: as the leader does when its time is over.
            let leader = cluster.node(leader(&cluster)).coordinator();
            let id = SessionId::from(session);
            let expire = Command::ExpireSession { id, term: leader.status().term };
            leader.propose(expire, deadline()).await.unwrap().outcome.result.unwrap();
        }
        assert_eq!(next_changes(&mut watched).await.1, held + 1);
        assert!(list(&clients[0]).await.is_empty());
        for setting in [
            "command_bytes_max",
            "command_changes_max",
            "session_records_max",
            "session_record_bytes_max",
        ] {
            let defaults = Settings::default();
            let value = defaults.get(&Name::new(setting).unwrap()).unwrap();
            clients[0].set(setting, value).await;
        }
    }
    cluster.shutdown().await;
}

/// Every revision says who asked for it, and why.
#[tokio::test(flavor = "multi_thread")]
async fn who_opens_and_closes_a_session_is_kept_with_the_revision() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let context = |reason: &str| {
        let (label, reason) = ("ops".to_owned(), reason.to_owned());
        Some(v1::WriteContext { label, reason, ..v1::WriteContext::default() })
    };
    let request = v1::OpenSessionRequest {
        ttl_ms: 60_000,
        label: "holder".into(),
        context: context("maintenance"),
    };
    let opened = clients[0].session.clone().open(request).await.unwrap().into_inner();
    let request = v1::CloseSessionRequest { session: opened.session, context: context("done") };
    let closed = clients[1].session.clone().close(request).await.unwrap().into_inner();
    for (header, reason) in [(opened.header, "maintenance"), (closed.header, "done")] {
        let revision = Revision(header.unwrap().revision);
        let mut watched = clients[2].watch_from(revision).await.unwrap();
        let (at, _, origin) = next_changes(&mut watched).await;
        assert_eq!((at, &*origin.label, &*origin.reason), (revision, "ops", reason));
    }
    let request = v1::OpenSessionRequest {
        ttl_ms: 60_000,
        label: String::new(),
        context: context(&"x".repeat(1_025)),
    };
    let refused = clients[0].session.clone().open(request).await.unwrap_err();
    let details = assert_error(&refused, Code::InvalidArgument, Reason::InvalidField);
    assert!(details.field.contains("reason"), "{details:?}");
    cluster.shutdown().await;
}

/// 17: through every coordinator, while leadership moves around.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_kept_through_any_coordinator_outlive_changes_of_leader() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let ttl = 3 * TTL;
    let mut held = Vec::new();
    for each in &clients {
        held.push((open(each, ttl).await.unwrap(), Keeping::start(each).await));
    }
    for round in 0..12_u64 {
        if round % 3 == 2 {
            let target = MemberId(leader(&cluster) % 3 + 1);
            let node = cluster.node(1).coordinator();
            node.transfer_leader(Some(target), deadline()).await.unwrap();
        }
        for (session, keeping) in &mut held {
            assert_eq!(keeping.keep(&[*session]).await.unwrap(), [], "round {round}");
        }
        tokio::time::sleep(ttl / 8).await;
    }
    // One coordinator goes for good, without handing over its streams: others take its sessions.
    let gone = leader(&cluster);
    cluster.stop(gone).await;
    let rest: Vec<_> = held.iter().map(|(session, _)| *session).collect();
    let index = usize::try_from(gone).unwrap() - 1;
    let (_, mut ended) = held.remove(index);
    let status = ended.keep(&rest).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    for _ in 0..12 {
        for (_, keeping) in &mut held {
            assert_eq!(keeping.keep(&rest).await.unwrap(), []);
        }
        tokio::time::sleep(ttl / 8).await;
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_coordinator_cannot_tell() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    let session = open(&clients, 60 * TTL).await.unwrap();
    let (mut idle, mut asking) = (Keeping::start(&clients).await, Keeping::start(&clients).await);
    assert_eq!(asking.keep(&[session]).await.unwrap(), []);
    cluster.stop(2).await;
    cluster.stop(3).await;
    let began = Instant::now();
    let status = loop {
        match asking.keep(&[session]).await {
            Ok(ended) => assert_eq!(ended, [], "not told of an end without a quorum"),
            Err(status) => break status,
        }
    };
    assert_error(&status, Code::Unavailable, Reason::NoQuorum);
    let status = idle.answer().await.unwrap_err();
    assert_error(&status, Code::Unavailable, Reason::NoQuorum);
    assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
    cluster.restart(2).await;
    assert_eq!(Keeping::start(&clients).await.keep(&[session]).await.unwrap(), []);
    cluster.shutdown().await;
}

/// Keeps sessions alive until told to stop. Gives the longest time to an answer. `asked` counts the
/// requests, before they are sent.
fn keep_all(
    clients: &Clients,
    sessions: Vec<v1::SessionId>,
    stop: watch::Receiver<bool>,
    asked: Arc<AtomicU64>,
) -> JoinHandle<Duration> {
    let clients = clients.clone();
    tokio::spawn(async move {
        let mut keeping = Keeping::start(&clients).await;
        let mut longest = Duration::ZERO;
        while !*stop.borrow() {
            let sent = Instant::now();
            asked.fetch_add(1, Ordering::SeqCst);
            assert_eq!(keeping.keep(&sessions).await.unwrap(), [], "all are alive");
            longest = longest.max(sent.elapsed());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        longest
    })
}

/// Batches that leaders have answered, and sessions that they have expired.
fn counted(cluster: &TestCluster) -> (u64, u64) {
    let each = cluster.nodes().map(|node| node.coordinator());
    each.fold((0, 0), |(batches, expired), coordinator| {
        (batches + coordinator.keep_alive_batches(), expired + coordinator.sessions_expired())
    })
}

/// Processor time that this process has used.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // User and system time, in ticks of 10 ms: the 14th and 15th field of all.
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// 18. QUORATE_TEST_SESSIONS: how many, instead of 2,000.
#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_cost_a_batch_and_end_without_stalling_anything() {
    let many = std::env::var("QUORATE_TEST_SESSIONS").map_or(2_000, |many| many.parse().unwrap());
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let ttl = 8 * TTL;
    let (stop, stopping) = watch::channel(false);
    let (mut keeping, asked) = (Vec::new(), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    for (batch, each) in (0..many / 500).zip(clients.iter().cycle()) {
        let opened = (0..500).map(|_| open(each, ttl));
        let opened: Result<Vec<_>, _> =
            futures::future::join_all(opened).await.into_iter().collect();
        tracing::debug!(batch, "opened");
        keeping.push(keep_all(each, opened.unwrap(), stopping.clone(), asked.clone()));
    }
    let opened_in = began.elapsed();
    let (used, began) = (processor_time(), Instant::now());
    let (answered, requests) = (counted(&cluster).0, asked.load(Ordering::SeqCst));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let share = (processor_time() - used).as_secs_f64() / began.elapsed().as_secs_f64();
    let answered = counted(&cluster).0 - answered;
    let requests = asked.load(Ordering::SeqCst) - requests;
    // Requests that were under way when counting began may be answered by a batch each.
    let most = requests + many as u64 / 500;
    assert!(answered >= 3 && answered <= most, "{answered} batches for {requests} requests");
    let target = MemberId(leader(&cluster) % 3 + 1);
    let node = cluster.node(1).coordinator();
    node.transfer_leader(Some(target), deadline()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(list(&clients[0]).await.len(), many);

    stop.send(true).unwrap();
    let longest: Vec<_> = futures::future::join_all(keeping).await;
    let longest = longest.into_iter().map(Result::unwrap).max().unwrap();
    assert_eq!(counted(&cluster).1, 0, "none expired while it was kept alive");
    let silent = Instant::now();
    let (mut slowest, mut first) = (Duration::ZERO, None);
    let view = || cluster.node(1).coordinator().view();
    while view().state.sessions().len() > 0 {
        let sent = Instant::now();
        clients[2].put("probe", "x").await.unwrap();
        slowest = slowest.max(sent.elapsed());
        if first.is_none() && view().state.sessions().len() < many {
            first = Some(silent.elapsed());
        }
        assert!(silent.elapsed() < ttl + 2 * PATIENCE, "{} left", view().state.sessions().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "{many} sessions opened in {opened_in:?}; kept alive each second for {:.1}% of a core, by \
         {answered} batches for {requests} requests in 4 s, answered in {longest:?} at most; the first ended {first:?} and the last {:?} after \
         the last holder stopped, with a write each 20 ms taking {slowest:?} at most",
        share * 100.0,
        silent.elapsed(),
    );
    assert!(slowest < Duration::from_secs(2), "a write took {slowest:?}");
    cluster.shutdown().await;
}
