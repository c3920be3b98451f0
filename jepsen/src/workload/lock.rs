//! Sessions and locks with fencing, by the client library.
//!
//! Owns the holders: each opens a session, takes locks, makes effects that are guarded by the
//! lock's entry, and gives the lock back; or stands still for longer than its session lives, as a
//! paused process does, and goes on as if nothing had happened; or is gone from one moment to the
//! next. What a holder believes is written down with the machine's boot clock. Must not know the
//! rules.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use quorate_client::{Client as Library, Lock, NotTaken, Session};
use quorate_core::MemberId;
use quorate_proto::v1::{
    Operation, Precondition, PutOperation, TransactionRequest, operation, precondition,
    store_service_client::StoreServiceClient,
};
use rand::RngExt;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

use super::{
    Load, Patience, Settling,
    bench::{Actor, Bench, Habit, apart, boot_time, live},
    client::{Effect, Unanswered, entry, select_entry, stamp},
    stream::{Streams, everything},
};
use crate::history::{
    KeyId, Stamp, Step, What,
    lock::{EffectAnswer, EffectCall, Holding, HoldingEnd, PREFIX, effect_key, lock_name},
};

const LOCKS: u32 = 3;

/// The time to live of holders' sessions.
const TTL: Duration = Duration::from_secs(2);

/// How long a holder waits for a lock.
const WAIT: Duration = Duration::from_secs(3);

/// The most locks that a session takes, one after the other.
const LOCKS_PER_SESSION: u32 = 4;

/// The most effects under one lock.
const EFFECTS_MAX: u32 = 8;

/// How long a holder rests when nothing goes.
const BACK_OFF: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Locks {
    bench: Arc<Bench>,
    streams: Arc<Streams>,
    tasks: JoinSet<()>,
}

impl Locks {
    /// Nothing taken yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Self {
        let streams = Streams::new(bench.clone());
        Self { bench, streams, tasks: JoinSet::new() }
    }
}

impl Load for Locks {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        self.streams.spawn_library(&mut self.tasks, everything(PREFIX));
        for habit in &self.bench.habits {
            let holder = Holder::new(self.bench.clone(), habit, stop.clone());
            clients.spawn(apart(move || holder.live()));
        }
    }

    /// Every lock is taken once more.
    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            let nodes = self.bench.nodes.clone();
            for (lock, node) in (0..LOCKS).map(KeyId).zip(nodes.iter().cycle()) {
                while patience.is_left() && !take_once(&self.bench, lock, *node).await {
                    sleep(BACK_OFF).await;
                }
            }
            self.streams.settle(&patience).await;
            while self.tasks.join_next().await.is_some() {}
        })
    }
}

/// Takes a lock, makes an effect and gives it back; whether all of that went well.
async fn take_once(bench: &Arc<Bench>, lock: KeyId, node: MemberId) -> bool {
    let Some((_client, session)) = bench.enter(TTL).await else { return false };
    let Ok(taken) = session.lock_within(&lock_name(lock), WAIT).await else { return false };
    let mut held = Held::new(bench.clone(), lock, &taken);
    let kept = held.still(&taken);
    held.effect(node).await;
    let released = taken.release().await.is_ok();
    held.ended(if kept { HoldingEnd::Released } else { HoldingEnd::Lost });
    released && kept
}

/// How a holder leaves its lock.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    GivesBack,
    StandsStill,
    IsKilled,
}

/// What a holder has when it is killed: dropped where no runtime can give anything back.
type Remains = (Library, Session, Option<Lock>);

struct Holder {
    bench: Arc<Bench>,
    actor: Actor,
    node: MemberId,
    stop: CancellationToken,
}

impl Holder {
    fn new(bench: Arc<Bench>, habit: &Habit, stop: CancellationToken) -> Self {
        let actor = Actor::new(&bench, habit, Some(habit.node));
        Self { bench, actor, node: habit.node, stop }
    }

    fn live(mut self) {
        let stop = self.stop.clone();
        live(&stop, async || self.life().await);
    }

    /// Until the session is lost, or left, or its holder killed.
    async fn life(&mut self) -> Option<Remains> {
        let (client, session) = self.bench.enter(TTL).await?;
        for _ in 0..self.actor.rng.random_range(1..=LOCKS_PER_SESSION) {
            if self.stop.is_cancelled() {
                break;
            }
            let lock = KeyId(self.actor.rng.random_range(0..LOCKS));
            match session.lock_within(&lock_name(lock), WAIT).await {
                Ok(taken) => match self.hold(lock, taken).await {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(kept) => return Some((client, session, kept)),
                },
                Err(NotTaken::Timeout) => {}
                Err(NotTaken::Gone(_)) => return None,
                Err(_) => sleep(BACK_OFF).await,
            }
        }
        // The cluster may be out of reach: then the session ends by itself.
        let _ = session.close().await;
        None
    }

    /// Makes effects while it has the lock. Breaks when it is killed.
    async fn hold(&mut self, lock: KeyId, taken: Lock) -> ControlFlow<Option<Lock>> {
        let mut held = Held::new(self.bench.clone(), lock, &taken);
        let effects = self.actor.rng.random_range(1..=EFFECTS_MAX);
        let leaving = match self.actor.rng.random_range(0..10) {
            0 => Leaving::StandsStill,
            1 => Leaving::IsKilled,
            _ => Leaving::GivesBack,
        };
        for _ in 0..effects {
            if !held.still(&taken) {
                held.ended(HoldingEnd::Lost);
                return ControlFlow::Continue(());
            }
            held.effect(self.node).await;
            sleep(Duration::from_millis(self.actor.rng.random_range(1..30))).await;
        }
        match leaving {
            Leaving::IsKilled => {
                held.ended(HoldingEnd::Killed);
                return ControlFlow::Break(Some(taken));
            }
            Leaving::StandsStill => {
                // The thread, and with it the keep-alives.
                std::thread::sleep(2 * TTL);
                // It does not look whether it still has the lock: the guard must.
                held.effect(self.node).await;
            }
            Leaving::GivesBack => {}
        }
        let kept = held.still(&taken);
        // Written down before it is given back: from then on another may have it.
        held.ended(if kept { HoldingEnd::Released } else { HoldingEnd::Lost });
        // When the cluster is out of reach it goes with the session.
        let _ = taken.release().await;
        ControlFlow::Continue(())
    }
}

/// What is believed of a lock that was taken.
struct Held {
    bench: Arc<Bench>,
    holding: Holding,
    entry: String,
    /// It held it at some time after it was told so.
    ever: bool,
}

impl Held {
    fn new(bench: Arc<Bench>, lock: KeyId, taken: &Lock) -> Self {
        let now = now_ns();
        let holding = Holding {
            holder: bench.fresh_process(),
            lock,
            epoch: taken.epoch().revision,
            from_ns: now,
            until_ns: now,
            end: HoldingEnd::Lost,
        };
        let entry = String::from_utf8_lossy(&taken.key().bytes).into_owned();
        Self { bench, holding, entry, ever: false }
    }

    /// Whether the holder still has it, by what it knows.
    fn still(&mut self, taken: &Lock) -> bool {
        // Before it looks: what it finds holds at this time, whatever delays it.
        let now = now_ns();
        let held = taken.is_held();
        if held {
            self.holding.until_ns = now.max(self.holding.from_ns);
            self.ever = true;
        }
        held
    }

    /// A write that the cluster does only while the lock's entry exists.
    async fn effect(&self, node: MemberId) {
        let Holding { lock, epoch, .. } = self.holding;
        let (entry, value) = (self.entry.clone(), self.bench.fresh_value());
        let call = EffectCall::Effect { lock, entry, epoch, value };
        let actor = Actor::onlooker(&self.bench, node);
        let mut client = self.bench.client(node);
        let request = client.request(transaction(&call));
        let sending = client.ask(Effect::Write, |store| commit(store, request));
        let done = async {
            match sending.await {
                Step::Ok { answer: true, stamp } => {
                    Step::Ok { answer: EffectAnswer::Written, stamp }
                }
                Step::Ok { answer: false, .. } => Step::Fail { error: "not held".to_owned() },
                Step::Invoke => Step::Invoke,
                Step::Fail { error } => Step::Fail { error },
                Step::Info { error } => Step::Info { error },
            }
        };
        self.bench.record(&actor, call, What::Effect, done).await;
    }

    fn ended(self, end: HoldingEnd) {
        if self.ever {
            self.bench.recorder.add(What::Holding(Holding { end, ..self.holding }));
        }
    }
}

fn transaction(call: &EffectCall) -> TransactionRequest {
    let (lock, holder, _, value) = call.parts();
    let test = Some(precondition::Test::Exists(true));
    let put = PutOperation {
        key: Some(entry(&effect_key(lock))),
        value: value.to_string().into_bytes().into(),
        ..PutOperation::default()
    };
    TransactionRequest {
        preconditions: vec![Precondition { target: Some(select_entry(holder)), test }],
        success: vec![Operation { operation: Some(operation::Operation::Put(put)) }],
        ..TransactionRequest::default()
    }
}

/// Whether the lock's entry was there.
async fn commit(
    mut store: StoreServiceClient<Channel>,
    request: Request<TransactionRequest>,
) -> Result<(bool, Stamp), Unanswered> {
    let response = store.transaction(request).await?.into_inner();
    Ok((response.succeeded, stamp(response.header.as_ref())?))
}

fn now_ns() -> u64 {
    u64::try_from(boot_time().as_nanos()).unwrap_or(u64::MAX)
}
