//! Sets: adds of elements that are unique in the run, and reads of whole sets.
//!
//! Owns which call comes next, and how a set is stored: an entry per element. A set is left for a
//! fresh one before reading it whole is too much. Must not know what answers mean.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use quorate_core::Revision;
use quorate_proto::v1::{
    Kind, PutRequest, RangeRequest, Record, Selector, record, selector,
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
    client::{Client, Effect, Unanswered, entry, stamp},
};
use crate::history::{
    KeyId, Stamp, Step, Value, What,
    set::{SetAnswer, SetCall},
};

/// A set is left after so many adds.
const ADDS_PER_SET: u32 = 400;

/// One in so many operations is a read.
const READ_ONE_IN: u32 = 12;

/// All sets of a run.
pub(crate) struct Sets {
    bench: Arc<Bench>,
    adds: AtomicU32,
}

impl Sets {
    /// None used yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Arc<Self> {
        Arc::new(Self { bench, adds: AtomicU32::new(0) })
    }

    fn current(&self) -> KeyId {
        KeyId(self.adds.load(Ordering::Relaxed) / ADDS_PER_SET)
    }
}

impl Caller for Sets {
    type Call = SetCall;
    type Answer = SetAnswer;

    fn bench(&self) -> &Bench {
        &self.bench
    }

    fn draw(&self, rng: &mut StdRng) -> SetCall {
        if rng.random_ratio(1, READ_ONE_IN) {
            return SetCall::Read { set: self.current() };
        }
        let set = KeyId(self.adds.fetch_add(1, Ordering::Relaxed) / ADDS_PER_SET);
        SetCall::Add { set, element: self.bench.fresh_value() }
    }

    async fn call(&self, client: &mut Client, actor: &Actor, call: SetCall) -> Step<SetAnswer> {
        self.bench.record(actor, call, What::Set, send(client, call)).await
    }
}

impl Load for Arc<Sets> {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        caller::spawn(self, clients, stop);
    }

    /// A last read of every set, through one coordinator after the other.
    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            let mut set = KeyId(0);
            let mut nodes = self.bench.nodes.iter().cycle();
            while set <= self.current() && patience.is_left() {
                let Some(node) = nodes.next() else { return };
                let mut client = self.bench.client(*node);
                let actor = Actor::onlooker(&self.bench, *node);
                let read = self.call(&mut client, &actor, SetCall::Read { set }).await;
                if matches!(read, Step::Ok { .. }) {
                    set = KeyId(set.0 + 1);
                }
            }
        })
    }
}

async fn send(client: &mut Client, call: SetCall) -> Step<SetAnswer> {
    match call {
        SetCall::Add { set, element } => {
            let key = Some(entry(&format!("set/{}/{element}", set.0)));
            let value = element.to_string().into_bytes().into();
            let request = client.request(PutRequest { key, value, ..PutRequest::default() });
            client.ask(Effect::Write, |store| add(store, request)).await
        }
        SetCall::Read { set } => {
            let target = selector::Target::Prefix(format!("set/{}/", set.0).into_bytes().into());
            let selector = Selector { kind: Kind::Entry.into(), target: Some(target) };
            let read = Some(client.read_options());
            let request =
                RangeRequest { selector: Some(selector), read, ..RangeRequest::default() };
            let request = client.request(request);
            client.ask(Effect::None, |store| read_all(store, request)).await
        }
    }
}

async fn add(
    mut store: StoreServiceClient<Channel>,
    request: Request<PutRequest>,
) -> Result<(SetAnswer, Stamp), Unanswered> {
    let response = store.put(request).await?.into_inner();
    Ok((SetAnswer::Added, stamp(response.header.as_ref())?))
}

async fn read_all(
    mut store: StoreServiceClient<Channel>,
    request: Request<RangeRequest>,
) -> Result<(SetAnswer, Stamp), Unanswered> {
    let response = store.range(request).await?.into_inner();
    if response.more {
        return Err(Unanswered::malformed("all the records"));
    }
    let elements = response.records.iter().map(element).collect();
    Ok((SetAnswer::Elements { elements }, stamp(response.header.as_ref())?))
}

/// Its value and the revision that made it.
fn element(found: &Record) -> (Value, Revision) {
    let value = match &found.value {
        Some(record::Value::Entry(bytes)) => Value::read(bytes),
        _ => Value::UNREADABLE,
    };
    (value, Revision(found.modified))
}
