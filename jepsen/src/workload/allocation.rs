//! Tenants that contend for a pool.
//!
//! Owns the tenants: each opens a session, asks for amounts, keeps what it is granted for a while and gives
//! it back; or stands still for longer than its session lives, is gone from one moment to the next, or
//! leaves with everything that it holds. Meanwhile the pool grows and shrinks, and registers are written
//! as in the workload `register`. Must not know the rules.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_client::{Client as Library, Session};
use quorate_core::{
    AllocationId, Holder, Kind, Name, Pool, PoolPolicy, RequestAllocation, Resources, Tenant,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Load, Patience, Settling,
    bench::{Bench, apart, live},
    facts::Facts,
    register::Registers,
};
use crate::history::{
    What,
    fact::{Fact, FactEvent},
};

const POOL: &str = "shared";
const TENANTS: [&str; 3] = ["a", "b", "c"];
/// What the pool has of each resource, at least.
const CAPACITY_MIN: u64 = 12;
const CPU: &str = "cpu";
const GPU: &str = "gpu";
/// The time to live of tenants' sessions.
const TTL: Duration = Duration::from_secs(2);
/// How long a tenant lives before it is struck, milliseconds.
const LIFE_MS: std::ops::Range<u64> = 1_000..4_000;
/// The mean time from one thing that it does to the next, milliseconds.
const PACE_MS: std::ops::Range<u64> = 50..250;
/// What it asks for and has at a time, at most.
const HELD_MAX: usize = 6;
/// How often the pool is changed.
const RESIZE_EVERY: Duration = Duration::from_secs(2);
/// How long a call may take.
const CALL_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Allocations {
    bench: Arc<Bench>,
    registers: Arc<Registers>,
    facts: Facts,
    /// Asks for everything once nobody else does.
    last: Option<(Library, Session)>,
}

impl Allocations {
    /// There is no pool yet.
    pub(crate) fn new(registers: Arc<Registers>, bench: Arc<Bench>) -> Self {
        let facts = Facts::new(bench.clone());
        Self { bench, registers, facts, last: None }
    }
}

impl Load for Allocations {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        self.facts.follow(vec![Kind::Session, Kind::Pool, Kind::Allocation]);
        self.registers.start(clients, stop);
        let seed = self.bench.habits.last().map_or(1, |habit| habit.seed);
        clients.spawn(resizes(self.bench.clone(), seed, stop.clone()));
        for (number, habit) in self.bench.habits.iter().enumerate() {
            let name = TENANTS[number % TENANTS.len()];
            let (bench, habit, stop) = (self.bench.clone(), *habit, stop.clone());
            clients.spawn(apart(move || {
                let mut rng = StdRng::seed_from_u64(habit.seed);
                live(&stop, async || life(&bench, name, &mut rng, &stop).await);
            }));
        }
    }

    /// What somebody asks for last is granted when the sessions of all others have ended.
    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            self.registers.settle(patience.clone()).await;
            while patience.is_left() && self.last.is_none() {
                self.last = self.bench.enter(10 * TTL).await;
            }
            if let Some((client, session)) = &self.last {
                let asked = request(TENANTS[0], session, amount(CAPACITY_MIN, CAPACITY_MIN));
                let mut id = None;
                while patience.is_left() && id.is_none() {
                    id = client.request_allocation(asked.clone()).await.ok().map(|it| it.value);
                }
                while let Some(id) = &id
                    && patience.is_left()
                    && !is_granted(client, id).await
                {
                    sleep(LOOK_EVERY).await;
                }
            }
            self.facts.settle(&patience).await;
        })
    }
}

async fn is_granted(client: &Library, id: &AllocationId) -> bool {
    let Ok(found) = client.list_allocations(Some(&id.pool), None).await else { return false };
    let found = found.value.allocations.into_iter().find(|it| it.id == *id);
    found.is_some_and(|it| it.allocation.value.grant().is_some())
}

/// What is dropped where no runtime can give anything back.
type Remains = (Library, Session);

/// Asks, holds and gives back until it is struck or told to stop.
async fn life(
    bench: &Arc<Bench>,
    tenant: &str,
    rng: &mut StdRng,
    stop: &CancellationToken,
) -> Option<Remains> {
    let (client, session) = bench.enter(TTL).await?;
    let struck_at = Instant::now() + Duration::from_millis(rng.random_range(LIFE_MS));
    let mut asked: Vec<AllocationId> = Vec::new();
    while !stop.is_cancelled() && session.is_valid() {
        sleep(Duration::from_millis(rng.random_range(PACE_MS))).await;
        if Instant::now() > struck_at {
            let blow = rng.random_range(0..3);
            let how = ["stands still", "is gone", "leaves"][blow];
            tell(bench, 0, Fact::Struck { how: how.to_owned() });
            match blow {
                0 => std::thread::sleep(2 * TTL),
                1 => return Some((client, session)),
                _ => break,
            }
        }
        if asked.len() < HELD_MAX && rng.random_range(0..3) > 0 {
            let amount = amount(rng.random_range(1..6), rng.random_range(0..4));
            let call = client.request_allocation(request(tenant, &session, amount));
            if let Ok(Ok(done)) = timeout(CALL_WITHIN, call).await {
                let id = done.value.to_string();
                tell(bench, done.revision().get(), Fact::Requested { id });
                asked.push(done.value.clone());
            }
        } else if !asked.is_empty() {
            let id = asked.swap_remove(rng.random_range(0..asked.len()));
            give_back(bench, &client, &id).await;
        }
    }
    let closed = timeout(CALL_WITHIN, session.close()).await;
    drop(closed);
    client.close().await;
    None
}

/// Gives back what was granted, or withdraws what waits.
async fn give_back(bench: &Bench, client: &Library, id: &AllocationId) {
    let list = timeout(CALL_WITHIN, client.list_allocations(Some(&id.pool), None)).await;
    let Ok(Ok(found)) = list else { return };
    let found = found.value.allocations.into_iter().find(|it| it.id == *id);
    let Some(found) = found else { return };
    let epoch = found.allocation.value.grant().map(|grant| grant.epoch);
    if let Ok(Ok(done)) = timeout(CALL_WITHIN, client.release_allocation(id, epoch)).await {
        tell(bench, done.revision().get(), Fact::Released { id: id.to_string() });
    }
}

/// Makes the pool, and changes how much it has. What is refused is another one's turn.
async fn resizes(bench: Arc<Bench>, seed: u64, stop: CancellationToken) {
    let (Ok(client), mut rng) = (bench.library(), StdRng::seed_from_u64(seed)) else { return };
    while !stop.is_cancelled() {
        let more = rng.random_range(0..CAPACITY_MIN);
        let _ = client.put_pool(&name(POOL), pool(CAPACITY_MIN + more)).await;
        tokio::select! {
            () = sleep(RESIZE_EVERY) => {}
            () = stop.cancelled() => break,
        }
    }
    client.close().await;
}

fn pool(capacity: u64) -> Pool {
    let tenant = |(number, text): (u64, &&str)| {
        let mut tenant = Tenant { weight: number + 1, ..Tenant::default() };
        if number == 0 {
            tenant.guarantee = amount(4, 2);
        } else {
            tenant.limit = BTreeMap::from([(name(CPU), CAPACITY_MIN)]);
        }
        (name(text), tenant)
    };
    Pool {
        capacity: amount(capacity, capacity),
        tenants: (0..).zip(&TENANTS).map(tenant).collect(),
        policy: PoolPolicy { grace_ms: 500, starving_after_ms: 3_000, idle_timeout_ms: 20_000 },
    }
}

fn request(tenant: &str, session: &Session, amount: Resources) -> RequestAllocation {
    RequestAllocation {
        pool: name(POOL),
        tenant: name(tenant),
        amount,
        priority: 0,
        holder: Holder::Session(session.id()),
        epoch: None,
    }
}

fn amount(cpu: u64, gpu: u64) -> Resources {
    [(name(CPU), cpu), (name(GPU), gpu)].into_iter().collect()
}

fn tell(bench: &Bench, revision: u64, fact: Fact) {
    bench.recorder.add(What::Fact(FactEvent { revision: quorate_core::Revision(revision), fact }));
}

fn name(text: &str) -> Name {
    Name::new(text).expect("letters and digits make a name")
}
