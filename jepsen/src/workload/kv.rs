//! Writes of one or several keys at one revision, for the workloads that follow changes.
//!
//! Owns which write comes next: fresh values, several keys at once, deletes. Must not know who
//! follows.

use std::{collections::BTreeSet, sync::Arc};

use quorate_proto::v1::{
    DeleteOperation, Key, Kind, Operation, PutOperation, PutRequest, TransactionRequest, operation,
    store_service_client::StoreServiceClient,
};
use rand::{RngExt, rngs::StdRng};
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

use super::{
    bench::{Actor, Bench, Habit},
    client::{Client, Effect, Unanswered, entry, select_entry, stamp},
};
use crate::history::{
    Stamp, Step, What,
    kv::{KvAnswer, KvCall},
};

/// The most keys that one write changes.
const KEYS_MAX: usize = 4;

/// A client that writes to some of the keys below prefixes until told to stop.
pub(crate) async fn writer(
    bench: Arc<Bench>,
    habit: Habit,
    prefixes: &'static [&'static str],
    keys_per_prefix: u32,
    stop: CancellationToken,
) {
    let mut actor = Actor::new(&bench, &habit, Some(habit.node));
    let mut client = Client::new(habit.node, habit.reads, habit.answer_within);
    while !stop.is_cancelled() {
        let call = draw(&bench, &mut actor.rng, prefixes, keys_per_prefix);
        let step = run(&bench, &mut client, &actor, call).await;
        actor.rest(&bench, step.stage(), &stop).await;
    }
}

/// Makes a call and writes its beginning and its end into the history.
pub(crate) async fn run(
    bench: &Bench,
    client: &mut Client,
    actor: &Actor,
    call: KvCall,
) -> Step<KvAnswer> {
    bench.record(actor, call.clone(), What::Kv, send(client, &call)).await
}

/// Half of the writes put one key, the others change several, some of which are deleted.
fn draw(bench: &Bench, rng: &mut StdRng, prefixes: &[&str], keys_per_prefix: u32) -> KvCall {
    let count = if rng.random_bool(0.5) { 1 } else { rng.random_range(2..=KEYS_MAX) };
    let mut keys = BTreeSet::new();
    while keys.len() < count {
        let prefix = prefixes[rng.random_range(0..prefixes.len())];
        keys.insert(format!("{prefix}{}", rng.random_range(0..keys_per_prefix)));
    }
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for key in keys {
        if !puts.is_empty() && rng.random_ratio(1, 3) {
            deletes.push(key);
        } else {
            puts.push((key, bench.fresh_value()));
        }
    }
    KvCall::Write { puts, deletes }
}

async fn send(client: &mut Client, call: &KvCall) -> Step<KvAnswer> {
    match call {
        KvCall::Write { puts, deletes } => {
            let puts = puts.iter().map(|(key, value)| {
                let value = value.to_string().into_bytes().into();
                let put = PutOperation { key: Some(entry(key)), value, ..PutOperation::default() };
                Operation { operation: Some(operation::Operation::Put(put)) }
            });
            let deletes = deletes.iter().map(|key| {
                let selector = Some(select_entry(key));
                let delete = DeleteOperation { selector, return_previous: false };
                Operation { operation: Some(operation::Operation::Delete(delete)) }
            });
            let success = puts.chain(deletes).collect();
            let request = TransactionRequest { success, ..TransactionRequest::default() };
            let request = client.request(request);
            client.ask(Effect::Write, |store| commit(store, request)).await
        }
        KvCall::Set { setting, value } => {
            let key = setting.clone().into_bytes().into();
            let key = Some(Key { kind: Kind::Setting.into(), key });
            let value = value.to_string().into_bytes().into();
            let request = client.request(PutRequest { key, value, ..PutRequest::default() });
            client.ask(Effect::Write, |store| put(store, request)).await
        }
    }
}

async fn commit(
    mut store: StoreServiceClient<Channel>,
    request: Request<TransactionRequest>,
) -> Result<(KvAnswer, Stamp), Unanswered> {
    let response = store.transaction(request).await?.into_inner();
    Ok((KvAnswer::Written, stamp(response.header.as_ref())?))
}

async fn put(
    mut store: StoreServiceClient<Channel>,
    request: Request<PutRequest>,
) -> Result<(KvAnswer, Stamp), Unanswered> {
    let response = store.put(request).await?.into_inner();
    Ok((KvAnswer::Written, stamp(response.header.as_ref())?))
}
