//! One client's connection to one coordinator.
//!
//! Owns how a call becomes a request, and, above all, what its end proves: only an error that says
//! `NOT_APPLIED`, or a connection that never came about, proves that a write did not happen.
//! Nothing is sent twice: there are no retries here, and a connection that failed is not used
//! again. Must not know which calls are made.

use std::{future::Future, time::Duration};

use quorate_core::{ClusterId, LogIndex, MemberId, Revision, Term};
use quorate_proto::v1::{
    Consistency, GetOperation, Key, Kind, Operation, OperationResult, Precondition, PutOperation,
    PutRequest, RangeRequest, RangeResponse, ReadOptions, Record, ResponseHeader, Selector,
    TransactionRequest, TransactionResponse, operation, operation_result, precondition, record,
    selector, store_service_client::StoreServiceClient,
};
use tokio::time::timeout;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::{
    history::{Answer, Call, KeyId, Seen, Stamp, Step, Value},
    net::{Port, endpoint},
};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How fresh reads are asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Reads {
    /// As fresh as can be: what is under test.
    Linearizable,
    /// What the coordinator has: not linearizable, so a run with it shows that the checks bite.
    Local,
}

/// A connection to one coordinator, made when needed.
pub(crate) struct Client {
    node: MemberId,
    uri: String,
    reads: Reads,
    answer_within: Duration,
    store: Option<StoreServiceClient<Channel>>,
}

impl Client {
    /// Not connected yet.
    pub(crate) fn new(node: MemberId, reads: Reads, answer_within: Duration) -> Self {
        let uri = format!("http://{}", endpoint(node, Port::Client));
        Self { node, uri, reads, answer_within, store: None }
    }

    /// One that does not wait long for an answer.
    pub(crate) fn impatient(node: MemberId, answer_within: Duration) -> Self {
        Self::new(node, Reads::Linearizable, answer_within)
    }

    /// The coordinator.
    pub(crate) const fn node(&self) -> MemberId {
        self.node
    }

    /// Makes a call on a register, once, and tells how it ended; never [`Step::Invoke`].
    pub(crate) async fn call(&mut self, key: KeyId, call: Call) -> Step {
        let (reads, within) = (self.reads, self.answer_within);
        let effect = if call == Call::Read { Effect::None } else { Effect::Write };
        self.ask(
            effect,
            |mut store| async move { send(&mut store, key, call, reads, within).await },
        )
        .await
    }

    /// Sends a request, once, and tells how it ended; never [`Step::Invoke`].
    pub(crate) async fn ask<A, F>(
        &mut self,
        effect: Effect,
        send: impl FnOnce(StoreServiceClient<Channel>) -> F,
    ) -> Step<A>
    where
        F: Future<Output = Result<(A, Stamp), Unanswered>>,
    {
        let store = match self.connected().await {
            Ok(store) => store,
            Err(error) => return Step::Fail { error: format!("not connected: {error}") },
        };
        match timeout(self.answer_within, send(store)).await {
            Ok(Ok((answer, stamp))) => Step::Ok { answer, stamp },
            Ok(Err(unanswered)) => {
                if !unanswered.by_the_server {
                    self.store = None;
                }
                unanswered.step(effect)
            }
            Err(_) => {
                self.store = None;
                Unanswered { error: "timeout".to_owned(), not_applied: false, by_the_server: false }
                    .step(effect)
            }
        }
    }

    /// Asks where the cluster is.
    pub(crate) async fn look(&mut self) -> Step<()> {
        let read = Some(self.read_options());
        let selector = Some(select_entry("nothing"));
        let request = RangeRequest { selector, read, count_only: true, ..RangeRequest::default() };
        let request = self.request(request);
        self.ask(Effect::None, |mut store| async move {
            let response = store.range(request).await?.into_inner();
            Ok(((), stamp(response.header.as_ref())?))
        })
        .await
    }

    /// A request with the deadline of this client.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        deadline(message, self.answer_within)
    }

    /// How fresh its reads are.
    pub(crate) fn read_options(&self) -> ReadOptions {
        ReadOptions { consistency: consistency(self.reads).into(), min_revision: 0 }
    }

    async fn connected(&mut self) -> anyhow::Result<StoreServiceClient<Channel>> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        let endpoint = Endpoint::from_shared(self.uri.clone())?.connect_timeout(CONNECT_WITHIN);
        let channel = timeout(CONNECT_WITHIN, endpoint.connect()).await??;
        let store = StoreServiceClient::new(channel);
        self.store = Some(store.clone());
        Ok(store)
    }
}

/// Whether a request changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It does not: without an answer it never happened.
    None,
    /// It does.
    Write,
}

/// A request without an answer, and what that proves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    error: String,
    not_applied: bool,
    /// The coordinator itself said so: the connection is fine.
    by_the_server: bool,
}

impl Unanswered {
    fn step<A>(self, effect: Effect) -> Step<A> {
        // A read that was not answered changed nothing, whatever happened.
        if self.not_applied || effect == Effect::None {
            Step::Fail { error: self.error }
        } else {
            Step::Info { error: self.error }
        }
    }

    pub(crate) fn malformed(what: &str) -> Self {
        Self { error: format!("answer without {what}"), not_applied: false, by_the_server: true }
    }
}

impl From<Status> for Unanswered {
    fn from(status: Status) -> Self {
        let info = status.get_details_error_info();
        let outcome = info.as_ref().and_then(|info| info.metadata.get("outcome"));
        let reason = info.as_ref().map_or("", |info| info.reason.as_str());
        Self {
            error: format!("{:?} {reason} {}", status.code(), status.message()),
            not_applied: outcome.is_some_and(|outcome| outcome == "NOT_APPLIED"),
            by_the_server: info.is_some(),
        }
    }
}

async fn send(
    store: &mut StoreServiceClient<Channel>,
    key: KeyId,
    call: Call,
    reads: Reads,
    within: Duration,
) -> Result<(Answer, Stamp), Unanswered> {
    match call {
        Call::Read => {
            let read = ReadOptions { consistency: consistency(reads).into(), min_revision: 0 };
            let request = RangeRequest {
                selector: Some(select(key)),
                read: Some(read),
                ..RangeRequest::default()
            };
            let response = store.range(deadline(request, within)).await?.into_inner();
            read_answer(&response)
        }
        Call::Write { value } => {
            let request = PutRequest {
                key: Some(name(key)),
                value: text(value).into(),
                return_previous: false,
                ..PutRequest::default()
            };
            let response = store.put(deadline(request, within)).await?.into_inner();
            Ok((Answer::Written, stamp(response.header.as_ref())?))
        }
        Call::Cas { expected, value } => {
            let request = swap(key, expected, value);
            let response = store.transaction(deadline(request, within)).await?.into_inner();
            swap_answer(&response)
        }
    }
}

const fn consistency(reads: Reads) -> Consistency {
    match reads {
        Reads::Linearizable => Consistency::Linearizable,
        Reads::Local => Consistency::Local,
    }
}

fn deadline<T>(message: T, within: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(within);
    request
}

fn swap(key: KeyId, expected: Option<Value>, value: Value) -> TransactionRequest {
    let test = match expected {
        Some(expected) => precondition::Test::Value(text(expected).into()),
        None => precondition::Test::Absent(true),
    };
    let put =
        PutOperation { key: Some(name(key)), value: text(value).into(), ..PutOperation::default() };
    let get = GetOperation { selector: Some(select(key)), limit: 0 };
    let operation = |operation| Operation { operation: Some(operation) };
    TransactionRequest {
        preconditions: vec![Precondition { target: Some(select(key)), test: Some(test) }],
        success: vec![operation(operation::Operation::Put(put))],
        failure: vec![operation(operation::Operation::Get(get))],
        ..TransactionRequest::default()
    }
}

fn read_answer(response: &RangeResponse) -> Result<(Answer, Stamp), Unanswered> {
    let stamp = stamp(response.header.as_ref())?;
    Ok((Answer::Read { seen: response.records.first().map(seen) }, stamp))
}

fn swap_answer(response: &TransactionResponse) -> Result<(Answer, Stamp), Unanswered> {
    let stamp = stamp(response.header.as_ref())?;
    if response.succeeded {
        return Ok((Answer::Swapped, stamp));
    }
    match response.results.as_slice() {
        [OperationResult { result: Some(operation_result::Result::Get(get)) }] => {
            Ok((Answer::Mismatch { seen: get.records.first().map(seen) }, stamp))
        }
        _ => Err(Unanswered::malformed("the result of its read")),
    }
}

/// Who answered, and from where in the order of changes.
pub(crate) fn stamp(header: Option<&ResponseHeader>) -> Result<Stamp, Unanswered> {
    let header = header.ok_or_else(|| Unanswered::malformed("a header"))?;
    Ok(Stamp {
        cluster: ClusterId(header.cluster_id),
        member: MemberId(header.member_id),
        term: Term(header.term),
        revision: Revision(header.revision),
        log_index: LogIndex(header.log_index),
    })
}

/// A record as histories show it.
pub(crate) fn seen(record: &Record) -> Seen {
    let value = match &record.value {
        Some(record::Value::Entry(bytes)) => Value::read(bytes),
        _ => Value::UNREADABLE,
    };
    Seen { value, modified: Revision(record.modified), version: record.version }
}

/// The key of an entry.
pub(crate) fn entry(key: &str) -> Key {
    Key { kind: Kind::Entry.into(), key: key.to_owned().into_bytes().into() }
}

/// Selects an entry.
pub(crate) fn select_entry(key: &str) -> Selector {
    let target = selector::Target::Key(key.to_owned().into_bytes().into());
    Selector { kind: Kind::Entry.into(), target: Some(target) }
}

fn name(key: KeyId) -> Key {
    entry(&key.to_string())
}

fn select(key: KeyId) -> Selector {
    select_entry(&key.to_string())
}

fn text(value: Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(1);
    const WRITE: Call = Call::Write { value: Value(1) };

    fn status(outcome: &str) -> Status {
        let metadata = HashMap::from([("outcome".to_owned(), outcome.to_owned())]);
        let details = ErrorDetails::with_error_info("NO_QUORUM", "quorate", metadata);
        Status::with_error_details(Code::Unavailable, "no leader", details)
    }

    #[test]
    fn only_not_applied_proves_that_a_write_did_not_happen() {
        let step = |status: Status, effect| Unanswered::from(status).step::<()>(effect);
        assert!(matches!(step(status("NOT_APPLIED"), Effect::Write), Step::Fail { .. }));
        assert!(matches!(step(status("UNKNOWN"), Effect::Write), Step::Info { .. }));
        assert!(matches!(
            step(Status::unavailable("broken pipe"), Effect::Write),
            Step::Info { .. }
        ));
        assert!(matches!(
            step(Status::invalid_argument("what?"), Effect::Write),
            Step::Info { .. }
        ));
        assert!(matches!(step(status("UNKNOWN"), Effect::None), Step::Fail { .. }));
    }

    #[test]
    fn a_value_that_is_no_number_is_one_that_nobody_wrote() {
        let record = Record {
            value: Some(record::Value::Entry(b"torn".to_vec().into())),
            modified: 3,
            version: 2,
            ..Record::default()
        };
        assert_eq!(seen(&record).value, Value::UNREADABLE);
    }

    #[tokio::test]
    async fn a_connection_that_never_came_about_proves_it_too() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let mut client = Client { uri, ..Client::new(MemberId(9), Reads::Linearizable, WITHIN) };
        assert!(matches!(client.call(KeyId(1), WRITE).await, Step::Fail { .. }));
    }
}
