//! Commands on their way to the leader.
//!
//! One link at a time: a persistent bidirectional stream to the coordinator that leads. Commands
//! that wait are sent together. When the stream breaks, those that were sent are `Unknown` (they
//! may be in the leader's log) and those that were not are `NotApplied`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use quorate_core::{ClusterId, LogIndex, MemberId, Outcome, Term, codec};
use quorate_proto::v1::{self, forwarded_reply::Result as Wire};
use quorate_storage::EncodedRequest;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::proposer::{Answer, Origin, Pending, Proposer, fail};
use crate::{
    coordinator::{Committed, Fate, Unanswered},
    transport::{Lane, Peer, PeerError, PeerErrorKind, PeerStream, Transport},
};

/// Batches that wait for the stream to take them, at most.
const BATCHES_MAX: usize = 1024;

/// The link to whoever leads. A clone is another handle.
#[derive(Clone)]
pub(crate) struct Links {
    transport: Arc<dyn Transport>,
    cluster: ClusterId,
    me: MemberId,
    open_max: Duration,
    tasks: TaskTracker,
    stop: CancellationToken,
    current: Arc<Mutex<Option<Link>>>,
}

struct Link {
    leader: MemberId,
    address: String,
    batches: mpsc::Sender<Vec<Pending>>,
}

impl Links {
    /// `open_max`: how long a stream to the leader may take to open.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        (cluster, me): (ClusterId, MemberId),
        open_max: Duration,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let current = Arc::default();
        Self { transport, cluster, me, open_max, tasks, stop, current }
    }

    /// Sends commands to the leader.
    pub(crate) fn send(&self, leader: MemberId, address: &str, batch: Vec<Pending>) {
        if batch.is_empty() {
            return;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = current.as_ref().is_some_and(|link| {
            link.leader == leader && link.address == address && !link.batches.is_closed()
        });
        if !usable {
            *current = Some(self.open(leader, address));
        }
        let Some(link) = current.as_ref() else { return };
        if let Err(refused) = link.batches.try_send(batch) {
            let full = matches!(refused, mpsc::error::TrySendError::Full(_));
            for pending in refused.into_inner() {
                fail(pending, not_sent(leader, full));
            }
        }
    }

    fn open(&self, leader: MemberId, address: &str) -> Link {
        let (batches, waiting) = mpsc::channel(BATCHES_MAX);
        let peer = self.transport.peer(leader, address, Lane::Forward);
        let header = v1::PeerHeader {
            cluster_id: self.cluster.get(),
            from: self.me.get(),
            to: leader.get(),
        };
        let open_max = self.open_max;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let link = LinkTask { leader, sent: BTreeMap::new(), next_id: 0 };
            link.run(peer, header, waiting, open_max, stop).await;
        });
        Link { leader, address: address.to_owned(), batches }
    }
}

fn not_sent(leader: MemberId, full: bool) -> Unanswered {
    if full {
        let retry_after = Duration::from_millis(50);
        return Unanswered::Overloaded { limit: BATCHES_MAX, retry_after };
    }
    Unanswered::Unavailable {
        fate: Fate::NotApplied,
        leader: Some(leader),
        message: format!("member {leader}, which leads, cannot be reached"),
    }
}

struct LinkTask {
    leader: MemberId,
    sent: BTreeMap<u64, oneshot::Sender<Answer>>,
    next_id: u64,
}

impl LinkTask {
    async fn run(
        mut self,
        peer: Arc<dyn Peer>,
        header: v1::PeerHeader,
        mut waiting: mpsc::Receiver<Vec<Pending>>,
        open_max: Duration,
        stop: CancellationToken,
    ) {
        let (requests, outgoing) = mpsc::channel(BATCHES_MAX);
        // The header goes first and alone: until the stream is open no command has been sent.
        let greeting = v1::ProposeRequest { header: Some(header), commands: Vec::new() };
        let greeted = requests.try_send(greeting).is_ok();
        let open = peer.propose(ReceiverStream::new(outgoing).boxed());
        match tokio::time::timeout(open_max, open).await {
            Ok(Ok(replies)) if greeted => {
                tracing::debug!(leader = %self.leader, "forwarding to the leader");
                self.pump(replies, &requests, &mut waiting, &stop).await;
            }
            Ok(Err(error)) => tracing::debug!(leader = %self.leader, %error, "no link"),
            _ => tracing::debug!(leader = %self.leader, "no link in time"),
        }
        waiting.close();
        while let Ok(batch) = waiting.try_recv() {
            batch.into_iter().for_each(|pending| fail(pending, not_sent(self.leader, false)));
        }
        for answer in std::mem::take(&mut self.sent).into_values() {
            drop(answer.send(Err(self.unknown())));
        }
    }

    /// Sends what waits and takes replies, until the stream breaks or nothing more will wait and
    /// everything sent is answered.
    async fn pump(
        &mut self,
        mut replies: PeerStream<v1::ProposeResponse>,
        requests: &mpsc::Sender<v1::ProposeRequest>,
        waiting: &mut mpsc::Receiver<Vec<Pending>>,
        stop: &CancellationToken,
    ) {
        let mut next: Option<Vec<Pending>> = None;
        let mut more = true;
        while more || next.is_some() || !self.sent.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                reply = replies.next() => match reply {
                    Some(Ok(reply)) => reply.replies.into_iter().for_each(|one| self.answer(one)),
                    Some(Err(error)) => {
                        tracing::debug!(leader = %self.leader, %error, "the link broke");
                        break;
                    }
                    None => break,
                },
                permit = requests.reserve(), if next.is_some() => {
                    let (Ok(permit), Some(batch)) = (permit, next.take()) else { break };
                    permit.send(self.request(batch));
                }
                batch = waiting.recv(), if more && next.is_none() => match batch {
                    Some(batch) => next = Some(batch),
                    None => more = false,
                },
            }
        }
        for pending in next.into_iter().flatten() {
            fail(pending, not_sent(self.leader, false));
        }
    }

    fn request(&mut self, batch: Vec<Pending>) -> v1::ProposeRequest {
        let commands = batch
            .into_iter()
            .filter(|pending| !pending.answer.is_closed())
            .map(|pending| {
                self.next_id += 1;
                self.sent.insert(self.next_id, pending.answer);
                let command = pending.command.bytes().clone();
                v1::ForwardedCommand { id: self.next_id, command }
            })
            .collect();
        v1::ProposeRequest { header: None, commands }
    }

    fn answer(&mut self, reply: v1::ForwardedReply) {
        let Some(waiting) = self.sent.remove(&reply.id) else { return };
        let answer = match reply.result {
            Some(Wire::Committed(bytes)) => codec::decode::<(Term, LogIndex, Outcome)>(&bytes)
                .map(|(term, index, outcome)| Committed { term, index, outcome })
                .map_err(|error| self.garbled(&error.to_string())),
            Some(Wire::Error(error)) => Err(from_wire(error)),
            None => Err(self.garbled("no result")),
        };
        drop(waiting.send(answer));
    }

    fn garbled(&self, message: &str) -> Unanswered {
        Unanswered::Unavailable {
            fate: Fate::Unknown,
            leader: Some(self.leader),
            message: format!("the leader's answer cannot be read: {message}"),
        }
    }

    fn unknown(&self) -> Unanswered {
        Unanswered::Unavailable {
            fate: Fate::Unknown,
            leader: Some(self.leader),
            message: format!("the connection to member {}, which led, broke", self.leader),
        }
    }
}

/// Reads why the leader has no outcome.
pub(crate) fn from_wire(error: v1::ForwardError) -> Unanswered {
    if error.overloaded {
        let retry_after = Duration::from_millis(50);
        return Unanswered::Overloaded { limit: 0, retry_after };
    }
    let fate = if error.outcome_unknown { Fate::Unknown } else { Fate::NotApplied };
    let leader = (error.leader_id != 0).then_some(MemberId(error.leader_id));
    Unanswered::Unavailable { fate, leader, message: error.message }
}

/// Writes why there is no outcome.
pub(super) fn to_wire(error: &Unanswered) -> v1::ForwardError {
    let (fate, leader) = match error {
        Unanswered::Unavailable { fate, leader, .. } => (*fate, *leader),
        Unanswered::Stopped { fate } => (*fate, None),
        Unanswered::Overloaded { .. }
        | Unanswered::TooLarge { .. }
        | Unanswered::NotReached { .. } => (Fate::NotApplied, None),
    };
    v1::ForwardError {
        outcome_unknown: fate == Fate::Unknown,
        not_leader: false,
        overloaded: matches!(error, Unanswered::Overloaded { .. }),
        leader_id: leader.map_or(0, MemberId::get),
        message: error.to_string(),
    }
}

/// Serves the link of another coordinator: proposes what it sends, here and nowhere else.
pub(super) fn serve(
    mut requests: BoxStream<'static, v1::ProposeRequest>,
    proposer: Proposer,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> PeerStream<v1::ProposeResponse> {
    let (replies, outgoing) = mpsc::channel(BATCHES_MAX);
    let inner = tasks.clone();
    tasks.spawn(async move {
        loop {
            let request = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = replies.closed() => break,
                request = requests.next() => request,
            };
            let Some(request) = request else { break };
            // A permit per message in flight bounds what one link can have under way.
            let Ok(permit) = replies.clone().reserve_owned().await else { break };
            let submitted = request.commands.into_iter().map(|one| submit(one, &proposer));
            let submitted: Vec<_> = submitted.collect();
            if submitted.is_empty() {
                continue;
            }
            inner.spawn(async move {
                let finished = futures::future::join_all(submitted.into_iter().map(finish)).await;
                permit.send(Ok(v1::ProposeResponse { replies: finished }));
            });
        }
    });
    ReceiverStream::new(outgoing).boxed()
}

type Submitted = (u64, Result<oneshot::Receiver<Answer>, Unanswered>);

fn submit(one: v1::ForwardedCommand, proposer: &Proposer) -> Submitted {
    let waiting = EncodedRequest::from_bytes(one.command)
        .map_err(|error| Unanswered::Unavailable {
            fate: Fate::NotApplied,
            leader: None,
            message: format!("a forwarded command cannot be read: {error}"),
        })
        .and_then(|command| proposer.submit(command, Origin::Forwarded));
    (one.id, waiting)
}

async fn finish((id, waiting): Submitted) -> v1::ForwardedReply {
    let answer = match waiting {
        Ok(waiting) => waiting.await.unwrap_or(Err(Unanswered::Stopped { fate: Fate::Unknown })),
        Err(refused) => Err(refused),
    };
    let result = match answer {
        Ok(Committed { term, index, outcome }) => {
            Wire::Committed(codec::encode(&(term, index, outcome)).into())
        }
        Err(error) => Wire::Error(to_wire(&error)),
    };
    v1::ForwardedReply { id, result: Some(result) }
}

/// A message that is not for this coordinator.
pub(super) fn check_header(
    header: Option<v1::PeerHeader>,
    cluster: ClusterId,
    me: MemberId,
) -> Result<(), PeerError> {
    let header = header
        .ok_or_else(|| PeerError::new(PeerErrorKind::Invalid, "the peer header is missing"))?;
    if header.cluster_id != cluster.get() {
        let theirs = ClusterId(header.cluster_id);
        let message = format!("this is cluster {cluster}, the message is for cluster {theirs}");
        return Err(PeerError::new(PeerErrorKind::WrongCluster, message));
    }
    if header.to != me.get() {
        let message = format!("this is member {me}, the message is for member {}", header.to);
        return Err(PeerError::new(PeerErrorKind::WrongCluster, message));
    }
    Ok(())
}
