//! Keeps all sessions of a client alive, over one stream.
//!
//! ```text
//!   due sessions -> t0 -> send -> answer in time: count from t0; the next in a third of the TTL
//!                           \-> broken, silent: another coordinator, at once while one is untried
//! ```
//!
//! Invariants: one request is under way at a time, so that an answer belongs to it; a session that
//! its holder has lost is not kept alive any more. The task ends when there is nothing to keep.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::channel::mpsc;
use parking_lot::Mutex;
use quorate_core::SessionId;
use quorate_proto::{
    ConvertError,
    convert::Header,
    v1::{self, session_service_client::SessionServiceClient},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tonic::Streaming;

use super::{
    Link,
    lease::{Lease, Lost},
};
use crate::{
    error::{Effect, Error},
    pool::{EndpointIndex, Tried, delay},
    seen::Identity,
};

/// A keep-alive is sent after this part of the time to live.
const INTERVALS_PER_TTL: u32 = 3;
/// The most sessions in one request.
const SESSIONS_MAX: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    link: Arc<Link>,
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    table: Mutex<Table>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Table {
    sessions: BTreeMap<SessionId, KeptSession>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct KeptSession {
    lease: Arc<Lease>,
    interval: Duration,
    due: Instant,
}

impl Keeper {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, kept: Arc::default() }
    }

    /// Keeps a session alive from now on. Call within a runtime.
    pub(crate) fn keep(&self, lease: Arc<Lease>, ttl: Duration) {
        let interval = ttl / INTERVALS_PER_TTL;
        let mut table = self.kept.table.lock();
        let due = Instant::now() + interval;
        table.sessions.insert(lease.id(), KeptSession { lease, interval, due });
        // It ends with its runtime, too.
        if table.task.as_ref().is_none_or(JoinHandle::is_finished) {
            let task = Task {
                link: self.link.clone(),
                kept: self.kept.clone(),
                stream: None,
                tried: Tried::default(),
                rounds: 0,
            };
            table.task = Some(tokio::spawn(task.run()));
        }
        drop(table);
        self.kept.added.notify_one();
    }

    /// Keeps it alive no longer.
    pub(crate) fn forget(&self, id: SessionId) {
        self.kept.table.lock().sessions.remove(&id);
        self.kept.added.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.kept.table.lock().task.take() {
            task.abort();
        }
    }
}

struct Task {
    link: Arc<Link>,
    kept: Arc<Kept>,
    stream: Option<Stream>,
    tried: Tried,
    rounds: u32,
}

struct Stream {
    index: EndpointIndex,
    requests: mpsc::UnboundedSender<v1::KeepAliveRequest>,
    /// None before the first answer.
    answers: Option<Streaming<v1::KeepAliveResponse>>,
}

/// What is to be done next.
enum Turn {
    Send { sessions: Vec<Arc<Lease>>, patience: Duration },
    Wait(Instant),
    Leave,
}

impl Task {
    async fn run(mut self) {
        loop {
            match self.turn() {
                Turn::Leave => return,
                Turn::Wait(until) => {
                    let added = self.kept.clone();
                    tokio::select! {
                        biased;
                        () = added.added.notified() => {}
                        () = sleep_until(until) => {}
                    }
                }
                Turn::Send { sessions, patience } => {
                    // Before it is sent: what it takes to arrive counts.
                    let (t0, now) = (sessions[0].now(), Instant::now());
                    match self.exchange(&sessions, patience).await {
                        Ok(ended) => self.answered(&sessions, &ended, t0, now),
                        Err(error) => self.failed(&error, patience).await,
                    }
                }
            }
        }
    }

    /// Which sessions are due: those whose time has come, and with them those of whose interval
    /// half has passed, so that they go together from then on.
    fn turn(&self) -> Turn {
        let mut table = self.kept.table.lock();
        table.sessions.retain(|_, kept| kept.lease.remaining().is_ok());
        let Some(first) = table.sessions.values().map(|kept| kept.due).min() else {
            table.task = None;
            return Turn::Leave;
        };
        let now = Instant::now();
        if first > now {
            return Turn::Wait(first);
        }
        let due = table.sessions.values().filter(|kept| kept.due <= now + kept.interval / 2);
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|kept| kept.due);
        due.truncate(SESSIONS_MAX);
        let shortest = due.iter().map(|kept| kept.interval).min().unwrap_or_default();
        let sessions = due.into_iter().map(|kept| kept.lease.clone()).collect();
        Turn::Send { sessions, patience: shortest * 2 / 3 }
    }

    /// Sends one request and waits for its answer: those of the sessions that have ended.
    async fn exchange(
        &mut self,
        sessions: &[Arc<Lease>],
        patience: Duration,
    ) -> Result<Vec<SessionId>, Error> {
        let sessions = sessions.iter().map(|lease| lease.id().into()).collect();
        let request = v1::KeepAliveRequest { sessions };
        let answer = timeout(patience, self.answer(request)).await;
        let answer = answer.map_err(|_| Error::timed_out(Effect::None, patience))??;
        let unreadable = |error: ConvertError| Error::unreadable(Effect::None, &error);
        let header = Header::of(answer.header).map_err(unreadable)?;
        let Header { cluster_id, restore_epoch, .. } = header;
        // Its revision is not taken over: no read asked for it.
        let same = self.link.seen.check(Identity { cluster_id, restore_epoch });
        same.map_err(|message| Error::wrong_cluster(Effect::None, message))?;
        Ok(answer.ended.into_iter().map(Into::into).collect())
    }

    async fn answer(
        &mut self,
        request: v1::KeepAliveRequest,
    ) -> Result<v1::KeepAliveResponse, Error> {
        let status = |status| Error::from_status(&status, Effect::None);
        let (requests, receiver) = mpsc::unbounded();
        let (stream, receiver) = match self.stream.take() {
            Some(stream) => (self.stream.insert(stream), None),
            None => {
                let index = self.pick();
                let stream = Stream { index, requests, answers: None };
                (self.stream.insert(stream), Some(receiver))
            }
        };
        // At most one waits there: the next is sent after the answer. A stream that has ended
        // says why when it is read.
        let _ = stream.requests.unbounded_send(request);
        if let Some(receiver) = receiver {
            let channel = self.link.pool.channel(stream.index);
            let opened = SessionServiceClient::new(channel).keep_alive(receiver).await;
            stream.answers = Some(opened.map_err(status)?.into_inner());
        }
        let ended = || Error::no_time("the coordinator ended the stream");
        let answers = stream.answers.as_mut().ok_or_else(ended)?;
        answers.message().await.map_err(status)?.ok_or_else(ended)
    }

    fn pick(&mut self) -> EndpointIndex {
        let pool = &self.link.pool;
        pool.pick(&mut self.tried).unwrap_or_else(|| {
            self.tried = Tried::default();
            pool.pick(&mut self.tried).expect("a pool is never empty")
        })
    }

    fn answered(&mut self, sent: &[Arc<Lease>], ended: &[SessionId], t0: Duration, now: Instant) {
        if let Some(stream) = &self.stream {
            self.link.pool.succeeded(stream.index);
        }
        (self.tried, self.rounds) = (Tried::default(), 0);
        let mut table = self.kept.table.lock();
        for lease in sent {
            if ended.contains(&lease.id()) {
                lease.end(Lost::Ended);
                table.sessions.remove(&lease.id());
                continue;
            }
            lease.extend(t0);
            if let Some(kept) = table.sessions.get_mut(&lease.id()) {
                kept.due = now + kept.interval;
            }
        }
    }

    /// Moves on: at once while there is a coordinator that was not tried.
    async fn failed(&mut self, error: &Error, patience: Duration) {
        let pool = &self.link.pool;
        if let Some(stream) = self.stream.take() {
            tracing::debug!(endpoint = %pool.endpoint(stream.index), %error, "keep-alive failed");
            pool.failed(stream.index);
            self.tried.add(stream.index);
        }
        if self.tried.len() >= pool.len() {
            let wait = delay(self.link.config.backoff, self.rounds).min(patience);
            self.rounds = self.rounds.saturating_add(1);
            tokio::time::sleep(wait).await;
        }
    }
}
