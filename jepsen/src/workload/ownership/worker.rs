//! One simulated worker.
//!
//! Owns its lives: each has a session and a runtime of its own. Invariant: what it claims to act
//! for, it looked after the session's validity at that very time. Must not know who else there is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_client::{
    Client as Library, Reason, Session, Start, WatchEvent, WatchOptions, WorkerProfile,
};
use quorate_core::{
    ConnectionReport, Epoch, Filter, Key, Kind, MemberId, Name, Partition, PartitionId,
    PartitionState, Record, Seen,
};
use quorate_proto::v1::{
    Guard, Operation, PartitionGuard, PutOperation, TransactionRequest, guard, operation,
    store_service_client::StoreServiceClient,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

use super::super::{
    bench::{Actor, Bench, Habit, boot_time, live},
    client::{Effect, Unanswered, entry, stamp},
};
use crate::history::{
    Stamp, What,
    ownership::{GuardedAnswer, GuardedCall, OwnershipEvent, WorkerClaim},
};

/// The time to live of workers' sessions.
const TTL: Duration = Duration::from_secs(2);

/// How often a worker looks whether it may still act, and acts.
const ACT_EVERY: Duration = Duration::from_millis(100);

/// How long a worker lives before it is struck, milliseconds.
const LIFE_MS: std::ops::Range<u64> = 2_000..7_000;

/// In so many looks it reports connections.
const REPORTED_IN: u32 = 4;

/// How long it waits when nothing goes.
const BACK_OFF: Duration = Duration::from_millis(200);

/// How a life ends.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Paused,
    Killed,
    Leaves,
}

/// What a worker acts for: since when, and until when it has looked.
#[derive(Debug, Clone, Copy)]
struct Acting {
    epoch: Epoch,
    from_ms: u64,
    until_ms: u64,
}

/// What is dropped where no runtime can give anything back.
type Remains = (Library, Session);

/// See the module.
pub(super) struct Worker {
    bench: Arc<Bench>,
    name: Name,
    node: MemberId,
    rng: StdRng,
    /// What it acted for when its former life ended.
    had: Vec<(PartitionId, Epoch)>,
    /// No more blows.
    calm: CancellationToken,
    stop: CancellationToken,
}

impl Worker {
    pub(super) fn new(
        bench: Arc<Bench>,
        name: Name,
        habit: &Habit,
        calm: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        let (node, rng) = (habit.node, StdRng::seed_from_u64(habit.seed));
        Self { bench, name, node, rng, had: Vec::new(), calm, stop }
    }

    pub(super) fn live(mut self) {
        let stop = self.stop.clone();
        live(&stop, async || self.life().await);
    }

    async fn life(&mut self) -> Option<Remains> {
        let (client, session) = self.bench.enter(TTL).await?;
        if !self.register(&client, &session).await {
            return None;
        }
        let blow = match self.rng.random_range(0..3) {
            0 => Blow::Paused,
            1 => Blow::Killed,
            _ => Blow::Leaves,
        };
        let mut life = Life {
            worker: self,
            client: client.clone(),
            session: session.clone(),
            acting: BTreeMap::new(),
            blow: Some(blow),
        };
        life.write_as_before().await;
        let killed = life.run().await;
        life.worker.had = life.held();
        life.stop_all();
        killed.then_some((client, session))
    }

    /// Registers as soon as no session that lives has the name.
    async fn register(&self, client: &Library, session: &Session) -> bool {
        let worker = self.name.to_string();
        while !self.stop.is_cancelled() && session.is_valid() {
            let profile = WorkerProfile { address: "10.99.0.254:1".into(), ..Default::default() };
            match client.register_worker(&self.name, session, profile).await {
                Ok(_) => {
                    let session = session.id().to_string();
                    self.tell(OwnershipEvent::Registered { worker, session });
                    return true;
                }
                Err(error) if error.reason() == Some(Reason::AlreadyExists) => {
                    let worker = worker.clone();
                    self.tell(OwnershipEvent::NameTaken { worker });
                }
                Err(_) => {}
            }
            sleep(BACK_OFF).await;
        }
        false
    }

    fn tell(&self, event: OwnershipEvent) {
        self.bench.recorder.add(What::Ownership(event));
    }
}

/// From a registration to its end.
struct Life<'a> {
    worker: &'a mut Worker,
    client: Library,
    session: Session,
    acting: BTreeMap<PartitionId, Acting>,
    blow: Option<Blow>,
}

impl Life<'_> {
    /// Works until the session is lost, or it leaves, or is killed; true: killed.
    async fn run(&mut self) -> bool {
        let filter = Filter {
            kinds: vec![Kind::Partition],
            worker: Some(self.worker.name.clone()),
            ..Filter::default()
        };
        let start = Start::Snapshot;
        let options = WatchOptions { start, filter, resync: true, ..WatchOptions::default() };
        let mut watch = self.client.watch(options);
        let mut ticks = interval(ACT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let struck_at =
            Instant::now() + Duration::from_millis(self.worker.rng.random_range(LIFE_MS));
        let (calm, stop) = (self.worker.calm.clone(), self.worker.stop.clone());
        loop {
            let strikes = self.blow.is_some() && !calm.is_cancelled();
            tokio::select! {
                biased;
                _ = self.session.lost() => return false,
                () = stop.cancelled() => {
                    self.leave().await;
                    return false;
                }
                () = sleep_until(struck_at), if strikes => {
                    let Some(blow) = self.blow.take() else { continue };
                    self.tell_struck(blow);
                    match blow {
                        Blow::Killed => return true,
                        Blow::Leaves => {
                            self.leave().await;
                            return false;
                        }
                        Blow::Paused => self.stand_still().await,
                    }
                }
                _ = ticks.tick() => self.act().await,
                event = watch.next() => match event {
                    Ok(event) => self.hear(event).await,
                    Err(_) => return false,
                }
            }
        }
    }

    /// Looks whether it may act, and if so does something for one of its partitions.
    async fn act(&mut self) {
        // Before it looks: what it finds holds at this time, whatever delays it.
        let now = now_ms();
        if !self.session.is_valid() {
            return;
        }
        self.acting.values_mut().for_each(|acting| acting.until_ms = now.max(acting.from_ms));
        let count = self.acting.len();
        if count > 0 {
            let at = self.worker.rng.random_range(0..count);
            let one = self.acting.iter().nth(at).map(|(id, acting)| (id.clone(), acting.epoch));
            if let Some((id, epoch)) = one {
                self.write(&id, epoch).await;
            }
        }
        if self.worker.rng.random_range(0..REPORTED_IN) == 0 {
            self.report().await;
        }
    }

    /// Says of connections of its partitions that they are up, or broken. Only those of the grants that it
    /// has are heard.
    async fn report(&mut self) {
        let Ok(found) = self.client.list_connections(None).local().await else { return };
        let session = self.session.id();
        let mut reports = Vec::new();
        for connection in found.value {
            let Some(status) = connection.status else { continue };
            if status.from.session == session || status.to.session == session {
                let seen = match self.worker.rng.random_range(0..4) {
                    0 => Seen::Broken("as chance will have it".to_owned()),
                    _ => Seen::Up,
                };
                let (from_epoch, to_epoch) = (status.from.epoch, status.to.epoch);
                reports.push(ConnectionReport { id: connection.id, from_epoch, to_epoch, seen });
            }
        }
        if !reports.is_empty() {
            // Whatever comes of it is in the change stream.
            let _ = self.client.report_connections(session, reports).await;
        }
    }

    /// The thread, and with it the keep-alives. Then it writes for everything that it had, without
    /// a look at its session: the guard must refuse what is not its own any more.
    async fn stand_still(&mut self) {
        std::thread::sleep(2 * TTL);
        for (id, epoch) in self.held() {
            self.write(&id, epoch).await;
        }
    }

    /// Writes for what its former life had. The name was free for it to come back, so that life's
    /// session is over: the guard must refuse all of it.
    async fn write_as_before(&mut self) {
        for (id, epoch) in std::mem::take(&mut self.worker.had) {
            self.write(&id, epoch).await;
        }
    }

    fn held(&self) -> Vec<(PartitionId, Epoch)> {
        self.acting.iter().map(|(id, acting)| (id.clone(), acting.epoch)).collect()
    }

    async fn leave(&mut self) {
        self.stop_all();
        // When the cluster is out of reach the session's end says the same.
        let left = self.client.leave_worker(&self.worker.name, Some(self.session.id())).await;
        drop(left);
        let closed = self.session.close().await;
        drop(closed);
        self.client.close().await;
    }

    async fn hear(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Snapshot { records, .. } => {
                for (key, record) in records {
                    self.note(&key, Some(&record.value)).await;
                }
            }
            WatchEvent::Changes { changes, .. } => {
                for change in changes {
                    let current = change.current.as_ref().map(|record| &record.value);
                    self.note(&change.key, current).await;
                }
            }
            // What it still owns comes again.
            WatchEvent::Resync { .. } => self.stop_all(),
            WatchEvent::SnapshotEnd { .. } | WatchEvent::Progress { .. } => {}
        }
    }

    /// A partition is now so; None: it is gone.
    async fn note(&mut self, key: &Key, current: Option<&Record>) {
        let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse);
        let (Some(id), Kind::Partition) = (id, key.kind) else { return };
        let mine = match current {
            Some(Record::Partition(partition)) if self.owns(partition) => partition,
            _ => return self.stop(&id),
        };
        let Some(epoch) = mine.epoch else { return };
        match mine.state {
            PartitionState::Assigned => self.begin(id, epoch),
            PartitionState::Releasing | PartitionState::Deleted => {
                self.stop(&id);
                // When it fails, the end of the session gives it back.
                let released = self.client.release_partition(&id, epoch).await;
                drop(released);
            }
            PartitionState::Unassigned => {}
        }
    }

    fn owns(&self, partition: &Partition) -> bool {
        partition.owner.as_ref().is_some_and(|owner| {
            owner.worker == self.worker.name && owner.session == self.session.id()
        })
    }

    fn begin(&mut self, id: PartitionId, epoch: Epoch) {
        let now = now_ms();
        // Whoever stood still in between must not believe what it read before.
        let new = self.acting.get(&id).is_none_or(|acting| acting.epoch != epoch);
        if new && self.session.is_valid() {
            self.stop(&id);
            self.acting.insert(id, Acting { epoch, from_ms: now, until_ms: now });
        }
    }

    fn stop(&mut self, id: &PartitionId) {
        let Some(Acting { epoch, from_ms, until_ms }) = self.acting.remove(id) else { return };
        let worker = format!("{} {}", self.worker.name, self.session.id());
        let (partition, epoch) = (id.to_string(), epoch.to_string());
        let claim = WorkerClaim { worker, partition, epoch, from_ms, until_ms };
        self.worker.tell(OwnershipEvent::Claim(claim));
    }

    fn stop_all(&mut self) {
        let all: Vec<PartitionId> = self.acting.keys().cloned().collect();
        for id in all {
            self.stop(&id);
        }
    }

    /// A write that the cluster does only while the partition is owned in this epoch.
    async fn write(&self, id: &PartitionId, epoch: Epoch) {
        let bench = &self.worker.bench;
        let (partition, value) = (id.to_string(), bench.fresh_value());
        let call = GuardedCall::Guarded { partition, epoch: epoch.to_string(), value };
        let actor = Actor::onlooker(bench, self.worker.node);
        let mut client = bench.client(self.worker.node);
        let request = client.request(transaction(&call, epoch));
        let sending = client.ask(Effect::Write, |store| commit(store, request));
        bench.record(&actor, call, What::Guarded, sending).await;
    }

    fn tell_struck(&self, blow: Blow) {
        let how = match blow {
            Blow::Paused => "paused",
            Blow::Killed => "killed",
            Blow::Leaves => "leaves",
        };
        let worker = self.worker.name.to_string();
        self.worker.tell(OwnershipEvent::Struck { worker, how: how.to_owned() });
    }
}

fn transaction(call: &GuardedCall, epoch: Epoch) -> TransactionRequest {
    let (partition, _, value) = call.parts();
    let put = PutOperation {
        key: Some(entry(&format!("effect/{partition}"))),
        value: value.to_string().into_bytes().into(),
        ..PutOperation::default()
    };
    let guarded = PartitionGuard { partition: partition.to_owned(), epoch: Some(epoch.into()) };
    TransactionRequest {
        success: vec![Operation { operation: Some(operation::Operation::Put(put)) }],
        guards: vec![Guard { guard: Some(guard::Guard::Partition(guarded)) }],
        ..TransactionRequest::default()
    }
}

async fn commit(
    mut store: StoreServiceClient<Channel>,
    request: Request<TransactionRequest>,
) -> Result<(GuardedAnswer, Stamp), Unanswered> {
    let response = store.transaction(request).await?.into_inner();
    Ok((GuardedAnswer::Written, stamp(response.header.as_ref())?))
}

fn now_ms() -> u64 {
    u64::try_from(boot_time().as_millis()).unwrap_or(u64::MAX)
}
