//! Transactions over lists: some steps append, some read.
//!
//! Owns which transaction comes next, and how a list is stored: one entry with its values as text.
//! An append is a read and then a transaction that writes the longer list if the old one has not
//! changed; when it has, the transaction fails and is not tried again. Lists are left for fresh
//! ones before they are long. Must not know what answers mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use quorate_core::Revision;
use quorate_proto::v1::{
    GetOperation, Operation, OperationResult, Precondition, PutOperation, Record,
    TransactionRequest, operation, operation_result, precondition, record,
    store_service_client::StoreServiceClient,
};
use rand::{RngExt, rngs::StdRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

use super::{
    Load, Patience, Settling,
    bench::{Actor, Bench},
    caller::{self, Caller},
    client::{Client, Effect, Unanswered, entry, select_entry, stamp},
};
use crate::history::{
    KeyId, Stamp, Step, Value, What,
    append::{AppendAnswer, AppendCall, AppendStep, List},
};

/// How many lists are in use at a time.
const LISTS: u32 = 12;

/// A list is left after so many appends were tried.
const APPENDS_PER_LIST: u32 = 40;

/// The most steps of a transaction.
const STEPS_MAX: usize = 4;

/// All lists of a run.
pub(crate) struct Appends {
    bench: Arc<Bench>,
    lists: Mutex<InUse>,
}

struct InUse {
    /// The lists in use, with how many appends were tried.
    current: Vec<(KeyId, u32)>,
    next: KeyId,
}

impl Appends {
    /// None used yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Arc<Self> {
        let current = (0..LISTS).map(|key| (KeyId(key), 0)).collect();
        let lists = Mutex::new(InUse { current, next: KeyId(LISTS) });
        Arc::new(Self { bench, lists })
    }

    fn used(&self) -> impl Iterator<Item = KeyId> + use<> {
        let next = self.lists.lock().unwrap_or_else(PoisonError::into_inner).next;
        (0..next.0).map(KeyId)
    }
}

impl Caller for Appends {
    type Call = AppendCall;
    type Answer = AppendAnswer;

    fn bench(&self) -> &Bench {
        &self.bench
    }

    /// One to four steps; a third of the transactions only reads.
    fn draw(&self, rng: &mut StdRng) -> AppendCall {
        let reads_only = rng.random_ratio(1, 3);
        let count = rng.random_range(1..=STEPS_MAX);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = || {
            let at = rng.random_range(0..lists.current.len());
            let InUse { current, next } = &mut *lists;
            let (key, appends) = &mut current[at];
            if reads_only || rng.random_ratio(1, 3) {
                return AppendStep::Read { key: *key };
            }
            *appends += 1;
            if *appends > APPENDS_PER_LIST {
                (*key, *appends) = (*next, 1);
                *next = KeyId(next.0 + 1);
            }
            AppendStep::Append { key: *key, value: self.bench.fresh_value() }
        };
        AppendCall::Txn { steps: (0..count).map(|_| step()).collect() }
    }

    async fn call(
        &self,
        client: &mut Client,
        actor: &Actor,
        call: AppendCall,
    ) -> Step<AppendAnswer> {
        let acting = run(client, &call);
        self.bench.record(actor, call.clone(), What::Append, acting).await
    }
}

impl Load for Arc<Appends> {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        caller::spawn(self, clients, stop);
    }

    /// Reads every list once more, some in a transaction, through one coordinator after the other.
    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            let mut unread: Vec<KeyId> = self.used().collect();
            let mut nodes = self.bench.nodes.iter().cycle();
            while !unread.is_empty() && patience.is_left() {
                let Some(node) = nodes.next() else { return };
                let mut client = self.bench.client(*node);
                let actor = Actor::onlooker(&self.bench, *node);
                let rest = unread.split_off(unread.len().saturating_sub(STEPS_MAX));
                let steps = rest.iter().map(|key| AppendStep::Read { key: *key }).collect();
                let read = self.call(&mut client, &actor, AppendCall::Txn { steps }).await;
                if !matches!(read, Step::Ok { .. }) {
                    unread.extend(rest);
                }
            }
        })
    }
}

/// Reads what is to be appended to, and then does everything at one revision.
async fn run(client: &mut Client, call: &AppendCall) -> Step<AppendAnswer> {
    let keys: BTreeSet<KeyId> = call.appends().map(|(key, _)| key).collect();
    let mut lists = BTreeMap::new();
    if !keys.is_empty() {
        let success = keys.iter().map(|key| get(*key)).collect();
        let request = TransactionRequest { success, ..TransactionRequest::default() };
        let request = client.request(request);
        match client.ask(Effect::None, |store| commit(store, request)).await {
            Step::Ok { answer: Some(read), .. } => lists.extend(keys.into_iter().zip(read)),
            Step::Ok { answer: None, .. } | Step::Invoke => {
                return Step::Fail { error: "no answer to a read".to_owned() };
            }
            Step::Fail { error } | Step::Info { error } => return Step::Fail { error },
        }
    }
    let effect = if lists.is_empty() { Effect::None } else { Effect::Write };
    let request = client.request(transaction(call, lists));
    match client.ask(effect, |store| commit(store, request)).await {
        Step::Ok { answer: Some(reads), stamp } => {
            Step::Ok { answer: AppendAnswer::Committed { reads }, stamp }
        }
        Step::Ok { answer: None, .. } => Step::Fail { error: "a list has changed".to_owned() },
        Step::Invoke => Step::Invoke,
        Step::Fail { error } => Step::Fail { error },
        Step::Info { error } => Step::Info { error },
    }
}

fn transaction(call: &AppendCall, mut lists: BTreeMap<KeyId, List>) -> TransactionRequest {
    let unchanged = |(key, list): (&KeyId, &List)| {
        let test = match list.modified {
            Revision(0) => precondition::Test::Absent(true),
            Revision(modified) => precondition::Test::ModifiedAt(modified),
        };
        Precondition { target: Some(select_entry(&name(*key))), test: Some(test) }
    };
    let preconditions = lists.iter().map(unchanged).collect();
    let mut step = |step: &AppendStep| match step {
        AppendStep::Read { key } => get(*key),
        AppendStep::Append { key, value } => {
            let list = lists.entry(*key).or_insert_with(nothing);
            list.values.push(*value);
            put(*key, &list.values)
        }
    };
    let success = call.steps().iter().map(&mut step).collect();
    TransactionRequest { preconditions, success, ..TransactionRequest::default() }
}

/// What the reads saw; none: the preconditions did not hold.
async fn commit(
    mut store: StoreServiceClient<Channel>,
    request: Request<TransactionRequest>,
) -> Result<(Option<Vec<List>>, Stamp), Unanswered> {
    let response = store.transaction(request).await?.into_inner();
    let stamp = stamp(response.header.as_ref())?;
    let reads = response.results.iter().filter_map(|result| match result {
        OperationResult { result: Some(operation_result::Result::Get(get)) } => {
            Some(get.records.first().map_or_else(nothing, list))
        }
        _ => None,
    });
    Ok((response.succeeded.then(|| reads.collect()), stamp))
}

fn get(key: KeyId) -> Operation {
    let get = GetOperation { selector: Some(select_entry(&name(key))), limit: 0 };
    Operation { operation: Some(operation::Operation::Get(get)) }
}

fn put(key: KeyId, values: &[Value]) -> Operation {
    let text: Vec<String> = values.iter().map(ToString::to_string).collect();
    let (key, value) = (Some(entry(&name(key))), text.join(" ").into_bytes().into());
    let put = PutOperation { key, value, ..PutOperation::default() };
    Operation { operation: Some(operation::Operation::Put(put)) }
}

fn name(key: KeyId) -> String {
    format!("append/{}", key.0)
}

const fn nothing() -> List {
    List { values: Vec::new(), modified: Revision(0) }
}

fn list(found: &Record) -> List {
    let bytes = match &found.value {
        Some(record::Value::Entry(bytes)) => bytes.as_ref(),
        _ => &[],
    };
    let values = bytes.split(|byte| *byte == b' ').map(Value::read).collect();
    List { values, modified: Revision(found.modified) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let operation = put(KeyId(7), &[Value(1), Value(23)]);
        let Some(operation::Operation::Put(put)) = operation.operation else { panic!("a put") };
        let value = Some(record::Value::Entry(put.value));
        let found = Record { value, modified: 5, ..Record::default() };
        let expected = List { values: vec![Value(1), Value(23)], modified: Revision(5) };
        assert_eq!(list(&found), expected);
    }

    #[test]
    fn a_transaction_appends_twice_to_what_it_has_read() {
        let key = KeyId(1);
        let append = |value| AppendStep::Append { key, value: Value(value) };
        let call = AppendCall::Txn { steps: vec![append(2), AppendStep::Read { key }, append(3)] };
        let read = List { values: vec![Value(1)], modified: Revision(4) };
        let request = transaction(&call, BTreeMap::from([(key, read)]));
        let puts = request.success.iter().filter_map(|operation| match &operation.operation {
            Some(operation::Operation::Put(put)) => Some(put.value.as_ref()),
            _ => None,
        });
        assert_eq!(puts.collect::<Vec<_>>(), [b"1 2".as_ref(), b"1 2 3"]);
        assert_eq!(request.preconditions[0].test, Some(precondition::Test::ModifiedAt(4)));
    }
}
