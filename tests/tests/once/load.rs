//! The load: many requests of several kinds in flight at once, through the client library, and what
//! was answered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use quorate_client::{Client, Error, ErrorKind, FoundRecord, Previous, Reason, Session};
use quorate_core::{
    Epoch, OperationReply, PartitionId, RestoreEpoch, Revision, SessionId, TransactionReply,
};
use tokio::{sync::watch, task::JoinSet};

use crate::story::Written;

/// Everything that the load writes begins with it.
pub(crate) const PREFIX: &str = "load/";
/// Requests in flight, each under a serial of its own.
pub(crate) const IN_FLIGHT: usize = 1_000;
/// So many different keys of each kind.
pub(crate) const KEYS: u64 = 97;

/// What a request asks for. Every value written is the number of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A put of a key that others write too.
    Put { key: String },
    /// A transaction that counts: it writes both keys and returns what the first was.
    Count { key: String, also: String },
    /// A transaction whose precondition does not hold: it would write, and reads the key instead.
    Failed { key: String },
    /// A transaction whose guard does not hold.
    Rejected { guard: Guard },
    /// A delete of a key that is written and deleted again and again.
    Delete { key: String },
    /// A put of a key that is bound to a session.
    Bound { key: String },
}

/// What a rejected transaction requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A session that has ended.
    Session,
    /// An ownership that never was.
    Partition,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// Something was written at this revision; what was there before, if it was asked for.
    Wrote { revision: Revision, before: Option<Written> },
    /// Nothing was written; what was read as of this revision.
    Read { revision: Revision, found: Option<Written> },
    /// Refused for this reason.
    Refused(Reason),
    /// No answer, or one that should not be.
    Wrong(String),
}

/// A request with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) number: u64,
    pub(crate) asked: Asked,
    pub(crate) came: Came,
}

/// The kinds of requests, in turn.
pub(crate) fn asked(number: u64) -> Asked {
    let of = |kind: &str| format!("{PREFIX}{kind}/{}", number / 10 % KEYS);
    match number % 10 {
        0..3 => Asked::Put { key: of("put") },
        3..5 => Asked::Count { key: of("count"), also: of("also") },
        5 => Asked::Failed { key: of("count") },
        6 => Asked::Rejected {
            guard: if (number / 10).is_multiple_of(2) { Guard::Session } else { Guard::Partition },
        },
        7 => Asked::Put { key: of("gone") },
        8 => Asked::Delete { key: of("gone") },
        _ => Asked::Bound { key: of("bound") },
    }
}

/// A load that goes on until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: watch::Receiver<u64>,
    clients: JoinSet<Vec<Answer>>,
}

/// What all of its requests share.
#[derive(Clone)]
struct Shared {
    client: Client,
    /// What bound entries are bound to.
    session: Session,
    /// One that has ended.
    ended: SessionId,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    answered: Arc<watch::Sender<u64>>,
}

impl Load {
    pub(crate) fn start(client: Client, session: Session, ended: SessionId) -> Self {
        let (count, answered) = watch::channel(0);
        let stop = Arc::<AtomicBool>::default();
        let (next, answering) = (Arc::default(), Arc::new(count));
        let shared =
            Shared { client, session, ended, next, stop: stop.clone(), answered: answering };
        let mut clients = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            clients.spawn(shared.clone().run());
        }
        Self { stop, answered, clients }
    }

    /// How many requests are answered.
    pub(crate) fn answered(&self) -> watch::Receiver<u64> {
        self.answered.clone()
    }

    /// Begins nothing new, and waits for the answers to what is in flight.
    pub(crate) async fn end(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

impl Shared {
    async fn run(self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let asked = asked(number);
            let came = self.ask(number, &asked).await.unwrap_or_else(|error| refused(&error));
            answers.push(Answer { number, asked, came });
            self.answered.send_modify(|count| *count += 1);
        }
        answers
    }

    async fn ask(&self, number: u64, asked: &Asked) -> Result<Came, Error> {
        let (client, value) = (&self.client, number.to_string());
        let never = format!("{PREFIX}never/{number}");
        Ok(match asked {
            Asked::Put { key } => wrote(client.put(key.as_str(), value).await?.revision()),
            Asked::Bound { key } => {
                let put = client.put(key.as_str(), value).bound_to(&self.session);
                wrote(put.await?.revision())
            }
            Asked::Count { key, also } => {
                let count =
                    client.transaction().put_with(key.as_str(), value.clone(), Previous::Return);
                let reply = count.put(also.as_str(), value).commit().await?;
                counted(reply.revision(), &reply.value)
            }
            Asked::Failed { key } => {
                let fails = client.transaction().when_exists(never.as_str()).put(never, value);
                let reply = fails.or_else().get(key.as_str()).commit().await?;
                read(reply.revision(), &reply.value)
            }
            Asked::Rejected { guard } => {
                let rejected = client.transaction().put(never, value);
                let rejected = match guard {
                    Guard::Session => rejected.guard_session(self.ended),
                    Guard::Partition => rejected.guard_partition(nowhere(), no_epoch()),
                };
                let reply = rejected.commit().await?;
                Came::Wrong(format!("a guard was passed over: {reply:?}"))
            }
            Asked::Delete { key } => {
                let reply = client.delete(key.as_str()).returning_previous().await?;
                let (revision, before) = (reply.revision(), reply.value.previous);
                match (reply.value.deleted, before.first()) {
                    (0, None) => Came::Read { revision, found: None },
                    (1, Some((_, before))) => {
                        with(before, |before| Came::Wrote { revision, before: Some(before) })
                    }
                    other => Came::Wrong(format!("{other:?} was deleted")),
                }
            }
        })
    }
}

fn nowhere() -> PartitionId {
    PartitionId::parse("nowhere/0").expect("a partition's id")
}

fn no_epoch() -> Epoch {
    Epoch { restore: RestoreEpoch(0), revision: Revision(1) }
}

fn wrote(revision: Revision) -> Came {
    Came::Wrote { revision, before: None }
}

fn with(record: &FoundRecord, came: impl FnOnce(Written) -> Came) -> Came {
    Written::of(record).map_or_else(|error| Came::Wrong(error.to_string()), came)
}

fn counted(revision: Revision, reply: &TransactionReply) -> Came {
    match &reply.results[..] {
        [OperationReply::Put { previous }, OperationReply::Put { previous: None }] => {
            match previous {
                None => wrote(revision),
                Some(before) => {
                    with(before, |before| Came::Wrote { revision, before: Some(before) })
                }
            }
        }
        other => Came::Wrong(format!("{other:?} of a transaction that counts")),
    }
}

fn read(revision: Revision, reply: &TransactionReply) -> Came {
    match (&reply.results[..], reply.succeeded) {
        ([OperationReply::Get { records, .. }], false) => match records.first() {
            None => Came::Read { revision, found: None },
            Some((_, found)) => with(found, |found| Came::Read { revision, found: Some(found) }),
        },
        other => Came::Wrong(format!("{other:?} of a precondition that does not hold")),
    }
}

fn refused(error: &Error) -> Came {
    match (error.kind(), error.reason()) {
        (ErrorKind::Rejected, Some(reason)) => Came::Refused(reason),
        _ => Came::Wrong(error.to_string()),
    }
}
