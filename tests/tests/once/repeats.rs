//! Requests of one session sent by hand, with serials chosen here, and again later: to whichever
//! coordinator, after whatever happened to the members in between.

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use quorate_core::SessionId;
use quorate_proto::v1::{
    DeleteRequest, GetOperation, Guard, Key, Kind, Operation, Precondition, PutOperation,
    PutRequest, Record, ResponseHeader, Selector, TransactionRequest, WriteContext, guard,
    operation, precondition, selector, store_service_client::StoreServiceClient,
};
use quorate_tests::{
    calls::{Coordinator, Failure, timed},
    cluster::{HEALTHY_WITHIN, POLL},
};
use tokio::time::{Instant, sleep};
use tonic::{Code, Response};

/// Serials of a round: one for each kind of request.
const ROUND: u64 = 6;
/// The place in a round of the request whose guard does not hold.
const REJECTED: u64 = 3;
/// Serials between two rounds; some of them are never used.
const SPACING: u64 = 10;

/// The requests of a session and what came of each the first time.
pub(crate) struct Repeats {
    session: SessionId,
    /// One that has ended.
    ended: SessionId,
    first: Vec<(u64, Reply)>,
    /// How many were sent again.
    pub(crate) repeated: usize,
}

/// What came of a request, without what says who answered and when.
#[derive(Debug, Clone, PartialEq)]
enum Reply {
    Answer { revision: u64, body: String },
    Failure { code: Code, reason: String, outcome: String, field: String, message: String },
}

#[derive(Clone)]
enum Request {
    Put(PutRequest),
    Delete(DeleteRequest),
    Transaction(TransactionRequest),
}

impl Repeats {
    pub(crate) fn new(session: SessionId, ended: SessionId) -> Self {
        Self { session, ended, first: Vec::new(), repeated: 0 }
    }

    /// Sends one request of each kind, for the first time. The coordinator must answer.
    pub(crate) async fn round(&mut self, at: &Coordinator) -> Result<()> {
        let begin = self.first.len() as u64 / ROUND * SPACING;
        for kind in 0..ROUND {
            let serial = begin + kind + 1;
            let reply = send(at, self.request(serial, serial, 0)).await;
            let expected = match &reply {
                Reply::Answer { revision, .. } => kind != REJECTED && *revision > 0,
                Reply::Failure { reason, .. } => kind == REJECTED && reason == "SESSION_EXPIRED",
            };
            ensure!(expected, "serial {serial}: {reply:?}");
            self.first.push((serial, reply));
        }
        Ok(())
    }

    /// Sends everything again: the same answers, and nothing changed. Another request under a
    /// serial that was used is refused.
    pub(crate) async fn again(&mut self, at: &Coordinator) -> Result<()> {
        let before = entries(at).await?;
        for (serial, first) in &self.first {
            let again = send(at, self.request(*serial, *serial, 0)).await;
            ensure!(again == *first, "serial {serial} on {}: {again:?} after {first:?}", at.id);
            self.repeated += 1;
        }
        for (serial, _) in self.first.iter().rev().take(usize::try_from(ROUND)?) {
            let other = send(at, self.request(*serial, serial + 1, 0)).await;
            let Reply::Failure { code, field, message, outcome, .. } = &other else {
                bail!("another request under serial {serial} was answered: {other:?}");
            };
            let refused = *code == Code::InvalidArgument
                && field.contains("serial")
                && message.contains("another request")
                && outcome == "NOT_APPLIED";
            ensure!(refused, "another request under serial {serial}: {other:?}");
        }
        let after = entries(at).await?;
        ensure!(before == after, "a repeat changed something: {before:?} became {after:?}");
        Ok(())
    }

    /// Acknowledges the first half of what was sent, used or not; from then on it never applies.
    pub(crate) async fn acknowledge(&self, coordinators: &[Coordinator]) -> Result<()> {
        let last = self.first.last().map_or(0, |(serial, _)| *serial);
        let upto = last / 2;
        let first = send(&coordinators[0], self.request(last + 1, last + 1, upto)).await;
        ensure!(matches!(first, Reply::Answer { .. }), "a new request: {first:?}");
        let before = entries(&coordinators[0]).await?;
        for at in coordinators {
            for serial in 1..=upto {
                let late = send(at, self.request(serial, serial, 0)).await;
                let Reply::Failure { reason, .. } = &late else {
                    bail!("serial {serial} is acknowledged and was answered: {late:?}");
                };
                ensure!(reason == "SERIAL_TOO_OLD", "serial {serial} is acknowledged: {late:?}");
            }
            for (serial, first) in self.first.iter().filter(|(serial, _)| *serial > upto) {
                let again = send(at, self.request(*serial, *serial, 0)).await;
                ensure!(again == *first, "serial {serial}: {again:?} after {first:?}");
            }
        }
        let after = entries(&coordinators[0]).await?;
        ensure!(before == after, "an acknowledged serial was applied: {before:?}, {after:?}");
        Ok(())
    }

    /// The request of kind `of` (its last digit says which) under a serial.
    fn request(&self, serial: u64, of: u64, acknowledged: u64) -> Request {
        let context = Some(WriteContext {
            session: Some(self.session.into()),
            serial,
            acknowledged,
            ..WriteContext::default()
        });
        let value = Bytes::from(format!("request {of}"));
        let put = |key: &str| PutOperation {
            key: Some(key_of(key)),
            value: value.clone(),
            return_previous: true,
            session: None,
        };
        match of % SPACING {
            1 => Request::Put(PutRequest {
                key: Some(key_of("hand/put")),
                value: value.clone(),
                return_previous: true,
                session: None,
                context,
            }),
            2 => Request::Transaction(TransactionRequest {
                success: vec![
                    step(operation::Operation::Put(put("hand/count"))),
                    step(operation::Operation::Put(put("hand/gone"))),
                ],
                context,
                ..TransactionRequest::default()
            }),
            3 => Request::Transaction(TransactionRequest {
                preconditions: vec![Precondition {
                    target: Some(selector_of("hand/never")),
                    test: Some(precondition::Test::Exists(true)),
                }],
                success: vec![step(operation::Operation::Put(put("hand/never")))],
                failure: vec![step(operation::Operation::Get(GetOperation {
                    selector: Some(selector_of("hand/count")),
                    limit: 0,
                }))],
                context,
                ..TransactionRequest::default()
            }),
            4 => Request::Transaction(TransactionRequest {
                guards: vec![Guard { guard: Some(guard::Guard::Session(self.ended.into())) }],
                success: vec![step(operation::Operation::Put(put("hand/never")))],
                context,
                ..TransactionRequest::default()
            }),
            5 => Request::Delete(DeleteRequest {
                selector: Some(selector_of("hand/gone")),
                return_previous: true,
                context,
            }),
            _ => Request::Put(PutRequest {
                key: Some(key_of(&format!("hand/bound/{of}"))),
                value,
                return_previous: false,
                session: Some(self.session.into()),
                context,
            }),
        }
    }
}

/// Sends a request until something is known of it.
async fn send(at: &Coordinator, request: Request) -> Reply {
    let until = Instant::now() + HEALTHY_WITHIN;
    loop {
        let reply = send_once(at, request.clone()).await;
        let Reply::Failure { code, .. } = &reply else { return reply };
        let passes = matches!(code, Code::Unavailable | Code::DeadlineExceeded);
        if !passes || Instant::now() > until {
            return reply;
        }
        sleep(POLL).await;
    }
}

async fn send_once(at: &Coordinator, request: Request) -> Reply {
    let mut store = StoreServiceClient::new(at.channel());
    match request {
        Request::Put(request) => {
            reply(store.put(timed(request)).await, |answer| answer.header.take())
        }
        Request::Delete(request) => {
            reply(store.delete(timed(request)).await, |answer| answer.header.take())
        }
        Request::Transaction(request) => {
            reply(store.transaction(timed(request)).await, |answer| answer.header.take())
        }
    }
}

fn reply<T: std::fmt::Debug>(
    answer: Result<Response<T>, tonic::Status>,
    header: impl FnOnce(&mut T) -> Option<ResponseHeader>,
) -> Reply {
    match answer {
        Ok(answer) => {
            let mut answer = answer.into_inner();
            let revision = header(&mut answer).map_or(0, |header| header.revision);
            Reply::Answer { revision, body: format!("{answer:?}") }
        }
        Err(status) => {
            let Failure { code, reason, outcome, field, message, .. } = status.into();
            Reply::Failure { code, reason, outcome, field, message }
        }
    }
}

/// Everything that these requests wrote.
async fn entries(at: &Coordinator) -> Result<Vec<Record>> {
    let until = Instant::now() + HEALTHY_WITHIN;
    loop {
        match at.entries("hand/").await {
            Ok((_, records)) => return Ok(records),
            Err(failure) if Instant::now() > until => return Err(failure.into()),
            Err(_) => sleep(POLL).await,
        }
    }
}

fn key_of(key: &str) -> Key {
    Key { kind: Kind::Entry.into(), key: Bytes::copy_from_slice(key.as_bytes()) }
}

fn selector_of(key: &str) -> Selector {
    let target = selector::Target::Key(Bytes::copy_from_slice(key.as_bytes()));
    Selector { kind: Kind::Entry.into(), target: Some(target) }
}

fn step(operation: operation::Operation) -> Operation {
    Operation { operation: Some(operation) }
}
