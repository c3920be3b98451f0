//! Sessions over changes of leader (13 to 17 of the contract), in simulated time.
//!
//! A holder counts its session as the contract says: from before it sent a keep-alive that was
//! answered. The cluster must never end it before that.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_node::{
    Coordinator,
    coordinator::{Role, Unanswered},
    core::{Command, Key, MemberId, Operation, Record, Reply, SessionId, Term, Transaction},
};
use quorate_testkit::{Conditions, SimCluster, SimOptions};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// How much later than it may a leader ends a session: it looks now and then, and the log takes its time.
const BOUND: Duration = Duration::from_millis(300);

/// The shortest time to live.
const TTL: Duration = SECOND;

/// How long a leader waits for a session.
fn allowed(ttl: Duration) -> Duration {
    ttl * 101 / 100
}

async fn started(seed: u64) -> SimCluster {
    // RUST_LOG=debug shows what happens.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    SimCluster::start(SimOptions { seed, ..SimOptions::default() }).await.unwrap()
}

/// The leader, and the others.
async fn roles(cluster: &SimCluster) -> (MemberId, Vec<MemberId>) {
    let leader = cluster.leader(10 * SECOND).await.unwrap();
    (leader, cluster.members().filter(|id| *id != leader).collect())
}

async fn open(coordinator: &Coordinator, ttl: Duration) -> SessionId {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap();
    let command = Command::OpenSession { ttl_ms, label: "test".into() };
    let opened = coordinator.propose(command, Instant::now() + 5 * SECOND).await.unwrap();
    match opened.outcome.result.unwrap() {
        Reply::OpenSession { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

/// Whether a coordinator has seen the session end.
fn has_ended(coordinator: &Coordinator, id: SessionId) -> bool {
    let state = &coordinator.view().state;
    state.revision() > id.revision && state.session(id).is_none()
}

/// When the session is seen to end there.
async fn end_of(coordinator: &Coordinator, id: SessionId) -> Instant {
    let mut applied = coordinator.applied();
    let ended = applied.wait_for(|_| has_ended(coordinator, id));
    timeout(60 * SECOND, ended).await.expect("it ends").unwrap();
    Instant::now()
}

async fn keep(coordinator: &Coordinator, id: SessionId) -> Result<Vec<SessionId>, Unanswered> {
    coordinator.keep_alive(vec![id]).await
}

/// 14, 15: the expiry first. What comes then waits, and is told what came of the expiry.
#[tokio::test(start_paused = true)]
async fn a_keep_alive_after_its_expiry_was_proposed_waits_for_it() {
    let cluster = started(1).await;
    let (leader, others) = roles(&cluster).await;
    let coordinator = cluster.coordinator(leader).unwrap();
    let term = coordinator.status().term;
    let id = open(coordinator, TTL).await;
    assert_eq!(keep(coordinator, id).await, Ok(vec![]));
    let heard = Instant::now();

    sleep_until(heard + 950 * MS).await;
    cluster.network().partition(&[leader], &others);
    let before = coordinator.status().last_log_index;
    sleep_until(heard + 1_110 * MS).await;
    assert!(coordinator.status().last_log_index > before, "the expiry is in the leader's log");
    assert!(!has_ended(coordinator, id), "and cannot be committed");
    let waiting = coordinator.clone();
    let waiting = tokio::spawn(async move { keep(&waiting, id).await });
    sleep_until(heard + 1_250 * MS).await;
    assert!(!waiting.is_finished());
    cluster.network().heal();
    assert_eq!(waiting.await.unwrap(), Ok(vec![id]));
    assert_eq!((coordinator.status().term, coordinator.sessions_expired()), (term, 1));
    cluster.shutdown().await;
}

/// 14, 15: the keep-alive first, though a quorum confirms it only after the time would have been over.
#[tokio::test(start_paused = true)]
async fn a_keep_alive_before_the_time_is_over_counts_from_its_receipt() {
    let cluster = started(2).await;
    let (leader, others) = roles(&cluster).await;
    let coordinator = cluster.coordinator(leader).unwrap();
    let term = coordinator.status().term;
    let id = open(coordinator, TTL).await;
    assert_eq!(keep(coordinator, id).await, Ok(vec![]));
    let heard = Instant::now();

    sleep_until(heard + 850 * MS).await;
    cluster.network().partition(&[leader], &others);
    sleep_until(heard + 950 * MS).await;
    let sent = Instant::now();
    let waiting = coordinator.clone();
    let waiting = tokio::spawn(async move { keep(&waiting, id).await });
    sleep_until(heard + 1_150 * MS).await;
    assert!(!waiting.is_finished(), "no quorum, no answer");
    cluster.network().heal();
    assert_eq!(waiting.await.unwrap(), Ok(vec![]));
    let after = end_of(coordinator, id).await - sent;
    assert!(after >= allowed(TTL) && after <= allowed(TTL) + BOUND, "ended after {after:?}");
    assert_eq!(coordinator.status().term, term);
    cluster.shutdown().await;
}

/// 14, 15: what a leader without a quorum hears and proposes has no effect.
#[tokio::test(start_paused = true)]
async fn a_deposed_leader_neither_answers_nor_expires() {
    let cluster = started(3).await;
    let (old, others) = roles(&cluster).await;
    let deposed = cluster.coordinator(old).unwrap();
    let id = open(deposed, TTL).await;
    assert_eq!(keep(deposed, id).await, Ok(vec![]));
    cluster.network().partition(&[old], &others);

    let asking = deposed.clone();
    let asking = tokio::spawn(async move {
        let until = Instant::now() + 6 * SECOND;
        let mut refused = 0;
        while Instant::now() < until {
            let answer = keep(&asking, id).await;
            assert!(answer.is_err(), "answered without a quorum: {answer:?}");
            refused += 1;
            sleep(100 * MS).await;
        }
        refused
    });
    let new = cluster.leader_among(&others, 10 * SECOND).await.unwrap();
    let holding = cluster.coordinator(new).unwrap();
    let mut kept = 0;
    while !asking.is_finished() {
        assert_eq!(keep(holding, id).await, Ok(vec![]));
        kept += 1;
        sleep(100 * MS).await;
    }
    assert!(kept > 20 && asking.await.unwrap() > 3);
    cluster.network().heal();
    cluster.converge(30 * SECOND).await.unwrap();
    assert_eq!(keep(deposed, id).await, Ok(vec![]), "as a follower it answers again");
    let expired: u64 =
        cluster.members().map(|id| cluster.coordinator(id).unwrap().sessions_expired()).sum();
    assert_eq!(expired, 0);
    cluster.shutdown().await;
}

/// 15: an expiry that only a deposed leader has in its log.
#[tokio::test(start_paused = true)]
async fn an_expiry_that_a_deposed_leader_proposed_is_gone_with_its_term() {
    let cluster = started(4).await;
    let (old, others) = roles(&cluster).await;
    let deposed = cluster.coordinator(old).unwrap();
    let id = open(deposed, TTL).await;
    assert_eq!(keep(deposed, id).await, Ok(vec![]));
    sleep(500 * MS).await;
    cluster.network().partition(&[old], &others);
    let before = deposed.status().last_log_index;
    let new = cluster.leader_among(&others, 10 * SECOND).await.unwrap();
    let holding = cluster.coordinator(new).unwrap();
    for _ in 0..30 {
        assert_eq!(keep(holding, id).await, Ok(vec![]));
        sleep(100 * MS).await;
    }
    assert!(deposed.status().last_log_index > before, "the deposed leader has proposed it");
    cluster.network().heal();
    for _ in 0..30 {
        assert_eq!(keep(holding, id).await, Ok(vec![]));
        sleep(100 * MS).await;
    }
    cluster.converge(30 * SECOND).await.unwrap();
    assert!(!has_ended(deposed, id));
    assert_eq!(deposed.sessions_expired(), 0);
    cluster.shutdown().await;
}

/// 16.
#[tokio::test(start_paused = true)]
async fn a_new_leader_starts_afresh() {
    let cluster = started(5).await;
    let (old, others) = roles(&cluster).await;
    let ttl = 4 * SECOND;
    let id = open(cluster.coordinator(old).unwrap(), ttl).await;
    assert_eq!(keep(cluster.coordinator(old).unwrap(), id).await, Ok(vec![]));
    sleep(ttl - 500 * MS).await;
    let term = cluster.coordinator(old).unwrap().status().term;
    let new = cluster.coordinator(others[0]).unwrap();
    let moving = Instant::now();
    new.transfer_leader(Some(others[0]), moving + 5 * SECOND).await.unwrap();
    let mut applied = new.applied();
    applied.wait_for(|_| new.view().term > term).await.unwrap();
    let began = Instant::now();
    let ended = end_of(new, id).await;
    let after = ended - moving;
    assert!(after >= allowed(ttl), "ended {after:?} after leadership began to move");
    let after = ended - began;
    assert!(after <= allowed(ttl) + BOUND, "ended {after:?} after the new term began");
    cluster.shutdown().await;
}

/// A session, as its holder sees it.
struct Held {
    id: SessionId,
    valid_until: Instant,
    /// When anybody saw it end.
    ended: Option<Instant>,
    last_sent: Instant,
    stop: bool,
}

type Handles = Arc<Mutex<BTreeMap<MemberId, Coordinator>>>;

/// Keeps a session alive through any coordinator, going elsewhere when one does not answer.
async fn hold(held: Arc<Mutex<Held>>, handles: Handles, ttl: Duration, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let (id, stop) = {
            let held = held.lock().unwrap();
            (held.id, held.stop)
        };
        if stop {
            return;
        }
        let all: Vec<_> = handles.lock().unwrap().values().cloned().collect();
        let through = all.choose(&mut random).unwrap();
        let sent = Instant::now();
        held.lock().unwrap().last_sent = sent;
        match timeout(700 * MS, keep(through, id)).await {
            Ok(Ok(ended)) => {
                let mut held = held.lock().unwrap();
                if ended.is_empty() {
                    held.valid_until = held.valid_until.max(sent + ttl * 99 / 100);
                    assert!(
                        held.ended.is_none_or(|at| at >= held.valid_until),
                        "seed {seed}: ended while its holder counts on it"
                    );
                } else {
                    assert!(Instant::now() >= held.valid_until, "seed {seed}: told too early");
                }
            }
            // Elsewhere, at once.
            _ => {
                sleep(10 * MS).await;
                continue;
            }
        }
        sleep(ttl / 8).await;
    }
}

impl Held {
    /// Notes when anybody sees it end: not while its holder counts on it.
    fn look(&mut self, all: &[Coordinator], seed: u64) {
        if self.ended.is_none() && all.iter().any(|each| has_ended(each, self.id)) {
            let now = Instant::now();
            assert!(now >= self.valid_until, "seed {seed}: {:?} early", self.valid_until - now);
            self.ended = Some(now);
        }
    }
}

/// Who led in each term, as far as anybody saw it.
type Leaders = Arc<Mutex<BTreeMap<Term, MemberId>>>;

/// How often a term began under another leader than the one before.
fn changes(leaders: &Leaders) -> usize {
    let leaders: Vec<_> = leaders.lock().unwrap().values().copied().collect();
    leaders.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// Looks at all coordinators for the ends of the sessions, and for leaders.
async fn observe(held: Vec<Arc<Mutex<Held>>>, leaders: Leaders, handles: Handles, seed: u64) {
    loop {
        let all: Vec<_> = handles.lock().unwrap().values().cloned().collect();
        held.iter().for_each(|held| held.lock().unwrap().look(&all, seed));
        for each in &all {
            let status = each.status();
            if status.role == Role::Leader {
                leaders.lock().unwrap().insert(status.term, each.member_id());
            }
        }
        sleep(5 * MS).await;
    }
}

async fn fault(cluster: &mut SimCluster, handles: &Handles, random: &mut StdRng) {
    let Ok(leader) = cluster.leader(5 * SECOND).await else { return };
    let others: Vec<_> = cluster.members().filter(|id| *id != leader).collect();
    let pause = Duration::from_millis(random.random_range(300..2_500));
    match random.random_range(0..4) {
        0 => cluster.network().partition(&[leader], &others),
        1 => cluster.network().cut_one_way(leader, *others.choose(random).unwrap()),
        2 => {
            let target = *others.choose(random).unwrap();
            let coordinator = cluster.coordinator(target).unwrap();
            drop(coordinator.transfer_leader(Some(target), Instant::now() + 2 * SECOND).await);
        }
        _ => {
            handles.lock().unwrap().remove(&leader);
            cluster.crash(leader);
        }
    }
    sleep(pause).await;
    cluster.network().heal();
    if cluster.coordinator(leader).is_err() {
        cluster.restart(leader).await.unwrap();
        handles.lock().unwrap().insert(leader, cluster.coordinator(leader).unwrap().clone());
    }
    sleep(SECOND).await;
}

/// What else the cluster does while sessions run out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Writes,
}

/// Writes now and then, through the leader.
async fn write_on(coordinator: Coordinator) {
    for count in 0_u64.. {
        let record = Record::Entry(count.to_string().into());
        let put = Operation::Put { key: Key::entry("busy"), record, return_previous: false };
        let transaction = Transaction { success: vec![put], ..Transaction::default() };
        let command = Command::Transaction(transaction);
        drop(coordinator.propose(command, Instant::now() + SECOND).await);
        sleep(20 * MS).await;
    }
}

/// Sessions of different times to live, each with a holder, under a watch.
struct Fleet {
    held: Vec<(Duration, Arc<Mutex<Held>>)>,
    holders: Vec<JoinHandle<()>>,
    observer: JoinHandle<()>,
    leaders: Leaders,
    handles: Handles,
    seed: u64,
}

impl Fleet {
    async fn start(cluster: &SimCluster, seed: u64) -> Self {
        let (leader, _) = roles(cluster).await;
        let all = cluster.members().map(|id| (id, cluster.coordinator(id).unwrap().clone()));
        let handles: Handles = Arc::new(Mutex::new(all.collect()));
        let (mut held, mut holders) = (Vec::new(), Vec::new());
        for seconds in [8, 9, 12] {
            let (ttl, before) = (seconds * SECOND, Instant::now());
            let id = open(cluster.coordinator(leader).unwrap(), ttl).await;
            let valid_until = before + ttl * 99 / 100;
            let one = Held { id, valid_until, ended: None, last_sent: before, stop: false };
            let one = Arc::new(Mutex::new(one));
            let holder = hold(one.clone(), handles.clone(), ttl, seed + u64::from(seconds));
            holders.push(tokio::spawn(holder));
            held.push((ttl, one));
        }
        let leaders = Leaders::default();
        let watched = held.iter().map(|(_, held)| held.clone()).collect();
        let observer = tokio::spawn(observe(watched, leaders.clone(), handles.clone(), seed));
        Self { held, holders, observer, leaders, handles, seed }
    }

    /// Nobody saw anything that must not be, and all are alive.
    fn check(&self) {
        let seed = self.seed;
        assert!(!self.observer.is_finished(), "seed {seed}");
        assert!(self.holders.iter().all(|holder| !holder.is_finished()), "seed {seed}");
        for (ttl, held) in &self.held {
            let ended = held.lock().unwrap().ended;
            assert!(ended.is_none(), "seed {seed}: one of {ttl:?} ended though kept alive");
        }
    }

    /// The holders stop, and each session ends in time.
    async fn run_out(self, cluster: &SimCluster, meanwhile: Meanwhile) {
        let seed = self.seed;
        let leader = cluster.coordinator(cluster.leader(10 * SECOND).await.unwrap()).unwrap();
        let term = leader.status().term;
        self.held.iter().for_each(|(_, held)| held.lock().unwrap().stop = true);
        for holder in self.holders {
            holder.await.unwrap();
        }
        let last_log_index = leader.status().last_log_index;
        let writer =
            (meanwhile == Meanwhile::Writes).then(|| tokio::spawn(write_on(leader.clone())));
        let ends = self.held.iter().map(|(ttl, held)| async move {
            let (id, last) = {
                let held = held.lock().unwrap();
                (held.id, held.last_sent)
            };
            let after = end_of(leader, id).await - last;
            let in_time = after <= allowed(*ttl) + BOUND;
            assert!(in_time, "seed {seed}: {ttl:?} ended {after:?} after the last keep-alive");
        });
        futures::future::join_all(ends).await;
        sleep(10 * MS).await;
        assert!(!self.observer.is_finished(), "seed {seed}: not early");
        self.observer.abort();
        assert_eq!(leader.status().term, term, "seed {seed}: no change");
        let logged = leader.status().last_log_index.get() - last_log_index.get();
        match writer {
            None => assert!(logged <= self.held.len() as u64, "seed {seed}: {logged} entries"),
            Some(writer) => {
                writer.abort();
                assert!(logged > 100, "seed {seed}: {logged} entries");
            }
        }
    }
}

/// 17. Over so many changes of leader, and on a network that breaks connections.
async fn outlives_changes_of_leader(seed: u64, wanted: usize, meanwhile: Meanwhile) {
    let mut cluster = started(seed).await;
    let mut random = StdRng::seed_from_u64(seed);
    let fleet = Fleet::start(&cluster, seed).await;
    let mut faults = 0;
    while changes(&fleet.leaders) < wanted {
        fault(&mut cluster, &fleet.handles, &mut random).await;
        fleet.check();
        faults += 1;
        assert!(faults < 10 * wanted, "seed {seed}: {} changes", changes(&fleet.leaders));
    }
    let bad = Conditions { breaks_ppm: 50_000, ..Conditions::default() };
    cluster.network().set_conditions(bad);
    sleep(16 * SECOND).await;
    fleet.check();
    cluster.network().set_conditions(Conditions::default());
    sleep(8 * SECOND).await;
    fleet.check();
    tracing::info!(seed, faults, changes = changes(&fleet.leaders), "the leader changed");
    fleet.run_out(&cluster, meanwhile).await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_kept_alive_outlive_fifty_changes_of_leader() {
    outlives_changes_of_leader(10, 50, Meanwhile::Nothing).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_kept_alive_outlive_changes_of_leader_while_others_write() {
    for seed in 11..14 {
        outlives_changes_of_leader(seed, 8, Meanwhile::Writes).await;
    }
}
