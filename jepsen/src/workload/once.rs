//! Requests that are sent more than once.
//!
//! Owns two ways: writes of the client library, which sends them as often as it takes, through
//! failover; and writes that are sent again by hand with the same session and serial, to several
//! coordinators, at the same time and later, some without waiting for the answer. In between
//! serials are misused, which must do nothing. Must not know what answers mean.

use std::{sync::Arc, time::Duration};

use quorate_client::{Client as Library, WriteOutcome};
use quorate_core::{MemberId, SessionId};
use quorate_proto::v1::{
    OpenSessionRequest, PutRequest, WriteContext, session_service_client::SessionServiceClient,
    store_service_client::StoreServiceClient,
};
use rand::RngExt;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

use super::{
    Load, Patience, Settling,
    bench::{Actor, Bench, Habit, stamp_of},
    client::{Client, Effect, Unanswered, entry, seen, stamp},
    stream::{self, Streams, everything},
};
use crate::history::{
    Stage, Stamp, Step, What,
    once::{OnceAnswer, OnceCall},
};

const ALL: &str = "once/";
const KEYS: u32 = 6;

/// Sessions for requests sent by hand are not kept alive: they live so long, and are left earlier.
const SESSION_TTL: Duration = Duration::from_secs(60);
const SESSION_USED_FOR: Duration = Duration::from_secs(30);

/// After so many unanswered rounds of repeats a request is given up, and its session with it.
const ROUNDS_MAX: usize = 20;

/// An answer that is not waited for is given up after so many milliseconds.
const IMPATIENCE_MS: std::ops::Range<u64> = 1..15;

/// See the module.
pub(crate) struct Once {
    bench: Arc<Bench>,
    streams: Arc<Streams>,
    tasks: JoinSet<()>,
}

impl Once {
    /// Nothing sent yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Self {
        let streams = Streams::new(bench.clone());
        Self { bench, streams, tasks: JoinSet::new() }
    }
}

impl Load for Once {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        self.streams.spawn_library(&mut self.tasks, everything(ALL));
        for (number, habit) in self.bench.habits.iter().enumerate() {
            let (bench, habit, stop) = (self.bench.clone(), *habit, stop.clone());
            if number % 2 == 0 {
                clients.spawn(library(bench, habit, stop));
            } else {
                clients.spawn(by_hand(bench, habit, stop));
            }
        }
    }

    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            self.streams.settle(&patience).await;
            while self.tasks.join_next().await.is_some() {}
        })
    }
}

fn key(actor: &mut Actor) -> String {
    format!("{ALL}{}", actor.rng.random_range(0..KEYS))
}

/// A client that writes through the client library.
async fn library(bench: Arc<Bench>, habit: Habit, stop: CancellationToken) {
    let mut actor = Actor::new(&bench, &habit, None);
    let Ok(client) = bench.library() else { return };
    while !stop.is_cancelled() {
        let call = OnceCall::Put { key: key(&mut actor), value: bench.fresh_value() };
        let step = bench.record(&actor, call.clone(), What::Once, put(&client, &call)).await;
        actor.rest(&bench, step.stage(), &stop).await;
    }
    client.close().await;
}

async fn put(client: &Library, call: &OnceCall) -> Step<OnceAnswer> {
    let (key, value) = call.write();
    match client.put(key, value.to_string()).returning_previous().await {
        Ok(response) => {
            let previous = response.value.as_deref().map(stream::seen);
            let stamp = stamp_of(&response.header);
            Step::Ok { answer: OnceAnswer::Written { previous }, stamp }
        }
        Err(error) if error.outcome() == WriteOutcome::NotApplied => {
            Step::Fail { error: format!("{:?} {error}", error.code()) }
        }
        Err(error) => Step::Info { error: format!("{:?} {error}", error.code()) },
    }
}

/// A client that sends each request several times.
async fn by_hand(bench: Arc<Bench>, habit: Habit, stop: CancellationToken) {
    let mut actor = Actor::new(&bench, &habit, Some(habit.node));
    while !stop.is_cancelled() {
        let Some(session) = open(&bench, habit.node).await else {
            actor.rest(&bench, Stage::Fail(""), &stop).await;
            continue;
        };
        let mut hand = Hand { bench: bench.clone(), session, serial: 0 };
        let until = Instant::now() + SESSION_USED_FOR;
        while !stop.is_cancelled() && Instant::now() < until {
            if !hand.request(&mut actor).await {
                break;
            }
            actor.rest(&bench, Stage::Ok, &stop).await;
        }
    }
}

async fn open(bench: &Bench, node: MemberId) -> Option<SessionId> {
    let mut sessions = SessionServiceClient::new(bench.connect(node).await.ok()?);
    let ttl_ms = u64::try_from(SESSION_TTL.as_millis()).ok()?;
    let request = OpenSessionRequest { ttl_ms, label: "by hand".to_owned(), context: None };
    let opened = timeout(bench.answer_within(), sessions.open(request)).await.ok()?.ok()?;
    opened.into_inner().session.map(Into::into)
}

/// A session whose serials are chosen here.
struct Hand {
    bench: Arc<Bench>,
    session: SessionId,
    serial: u64,
}

impl Hand {
    /// Sends one request until it was answered twice, or for too long; then misuses its serial.
    /// False when the session is of no more use.
    async fn request(&mut self, actor: &mut Actor) -> bool {
        self.serial += 1;
        let call = OnceCall::Again { key: key(actor), value: self.bench.fresh_value() };
        let mut answers = 0;
        for _ in 0..ROUNDS_MAX {
            answers += self.round(actor, &call).await;
            if answers > 1 {
                break;
            }
        }
        if answers < 2 {
            return false;
        }
        if actor.rng.random_ratio(1, 4) {
            let (key, value) = (key(actor), self.bench.fresh_value());
            // The serial of this request, or of one that was acknowledged with it.
            let back = actor.rng.random_range(0..2).min(self.serial - 1);
            let node = self.node(actor);
            let misuse = OnceCall::Misuse { key, value };
            self.send(node, misuse, self.serial - back, None).await;
        }
        true
    }

    /// Sends a request to two coordinators at once; how often it was answered.
    async fn round(&self, actor: &mut Actor, call: &OnceCall) -> usize {
        let (one, two) = (self.node(actor), self.node(actor));
        let impatient = actor.rng.random_bool(0.4);
        let patience =
            impatient.then(|| Duration::from_millis(actor.rng.random_range(IMPATIENCE_MS)));
        let (first, second) = tokio::join!(
            self.send(one, call.clone(), self.serial, patience),
            self.send(two, call.clone(), self.serial, None)
        );
        let answered = |step: &Step<OnceAnswer>| matches!(step, Step::Ok { .. });
        let answers = [&first, &second].into_iter().filter(|step| answered(step)).count();
        if answers == 0 {
            sleep(Duration::from_millis(100)).await;
        }
        answers
    }

    fn node(&self, actor: &mut Actor) -> MemberId {
        self.bench.nodes[actor.rng.random_range(0..self.bench.nodes.len())]
    }

    async fn send(
        &self,
        node: MemberId,
        call: OnceCall,
        serial: u64,
        patience: Option<Duration>,
    ) -> Step<OnceAnswer> {
        let actor = Actor::onlooker(&self.bench, node);
        let mut client = match patience {
            Some(patience) => Client::impatient(node, patience),
            None => self.bench.client(node),
        };
        let (key, value) = call.write();
        let context = WriteContext {
            session: Some(self.session.into()),
            serial,
            acknowledged: self.serial - 1,
            ..WriteContext::default()
        };
        let request = client.request(PutRequest {
            key: Some(entry(key)),
            value: value.to_string().into_bytes().into(),
            return_previous: true,
            context: Some(context),
            ..PutRequest::default()
        });
        let sending = client.ask(Effect::Write, |store| write(store, request));
        self.bench.record(&actor, call, What::Once, sending).await
    }
}

async fn write(
    mut store: StoreServiceClient<Channel>,
    request: Request<PutRequest>,
) -> Result<(OnceAnswer, Stamp), Unanswered> {
    let response = store.put(request).await?.into_inner();
    let previous = response.previous.as_ref().map(seen);
    Ok((OnceAnswer::Written { previous }, stamp(response.header.as_ref())?))
}
