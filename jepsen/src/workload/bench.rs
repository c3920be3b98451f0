//! What all clients of a run share: the history, the numbers that are used once, the pace.
//!
//! Owns the numbering of processes and values over all workloads of a run, so that a value says
//! which operation wrote it. Must not know what clients do.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use quorate_client::{
    ClientConfig, FirstEndpoint, Header, Session, SessionOptions,
    session::{BootClock, Clock},
};
use quorate_core::{MemberId, Revision};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{
    Patience,
    client::{Client, Reads},
};
use crate::{
    history::{Event, Process, Stage, Stamp, Step, Value, What, record::Recorder},
    net::{Port, endpoint},
};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long the client library tries.
const LIBRARY_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client waits after an operation that failed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Bench {
    /// Where everything is written down.
    pub(crate) recorder: Recorder,
    /// The coordinators.
    pub(crate) nodes: Vec<MemberId>,
    /// How each client behaves.
    pub(crate) habits: Vec<Habit>,
    /// The program under test, for what it does besides serving.
    pub(crate) binary: PathBuf,
    /// A directory for files.
    pub(crate) dir: PathBuf,
    next_value: AtomicU64,
    next_process: AtomicU64,
}

/// How one client behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    /// The coordinator that it talks to.
    pub(crate) node: MemberId,
    /// The seed of its choices.
    pub(crate) seed: u64,
    /// The mean time from one of its operations to the next.
    pub(crate) period: Duration,
    /// How fresh its reads are.
    pub(crate) reads: Reads,
    /// How long it waits for an answer.
    pub(crate) answer_within: Duration,
}

impl Bench {
    /// Nothing used yet.
    pub(crate) const fn new(
        recorder: Recorder,
        nodes: Vec<MemberId>,
        habits: Vec<Habit>,
        binary: PathBuf,
        dir: PathBuf,
    ) -> Self {
        let (next_value, next_process) = (AtomicU64::new(1), AtomicU64::new(0));
        Self { recorder, nodes, habits, binary, dir, next_value, next_process }
    }

    /// A value that nobody has written.
    pub(crate) fn fresh_value(&self) -> Value {
        Value(self.next_value.fetch_add(1, Ordering::Relaxed))
    }

    /// A process that has done nothing.
    pub(crate) fn fresh_process(&self) -> Process {
        Process(self.next_process.fetch_add(1, Ordering::Relaxed))
    }

    /// A client of one coordinator, with linearizable reads.
    pub(crate) fn client(&self, node: MemberId) -> Client {
        Client::new(node, Reads::Linearizable, self.answer_within())
    }

    /// How long clients wait for an answer.
    pub(crate) fn answer_within(&self) -> Duration {
        self.habits.first().map_or(Duration::from_secs(3), |habit| habit.answer_within)
    }

    /// A connection to a coordinator.
    pub(crate) async fn connect(&self, node: MemberId) -> anyhow::Result<Channel> {
        let uri = format!("http://{}", endpoint(node, Port::Client));
        let endpoint = Endpoint::from_shared(uri)?.connect_timeout(CONNECT_WITHIN);
        Ok(timeout(CONNECT_WITHIN, endpoint.connect()).await??)
    }

    /// The client library, with all coordinators.
    pub(crate) fn library(&self) -> Result<quorate_client::Client, quorate_client::Error> {
        let endpoints = self.nodes.iter().map(|node| endpoint(*node, Port::Client));
        let config = ClientConfig::new(endpoints).with_first(FirstEndpoint::Random);
        quorate_client::Client::new(config.with_timeout(LIBRARY_TIMEOUT).with_label("jepsen"))
    }

    /// The client library with a session of its own; none: there is no session to be had now, and
    /// some time has passed.
    pub(crate) async fn enter(&self, ttl: Duration) -> Option<(quorate_client::Client, Session)> {
        let client = self.library().ok()?;
        if let Ok(session) = client.open_session(SessionOptions::new(ttl)).await {
            return Some((client, session));
        }
        sleep(BACK_OFF).await;
        None
    }

    /// Where the cluster is now; none: nobody answers in time.
    pub(crate) async fn revision(&self, patience: &Patience) -> Option<Revision> {
        for node in self.nodes.iter().cycle() {
            if !patience.is_left() {
                break;
            }
            if let Step::Ok { stamp, .. } = self.client(*node).look().await {
                return Some(stamp.revision);
            }
            sleep(BACK_OFF).await;
        }
        None
    }

    /// Writes the beginning of an operation into the history, and its end when it has come.
    pub(crate) async fn record<C: Clone, A: Clone>(
        &self,
        actor: &Actor,
        call: C,
        line: impl Fn(Event<C, A>) -> What,
        act: impl Future<Output = Step<A>>,
    ) -> Step<A> {
        let Actor { process, node, .. } = *actor;
        let event = |step| Event { process, node, call: call.clone(), step };
        self.recorder.add(line(event(Step::Invoke)));
        let step = act.await;
        self.recorder.add(line(event(step.clone())));
        step
    }
}

/// The place in the order of changes that an answer of the client library tells.
pub(crate) const fn stamp_of(header: &Header) -> Stamp {
    Stamp {
        cluster: header.cluster_id,
        member: header.member_id,
        term: header.term,
        revision: header.revision,
        log_index: header.log_index,
    }
}

/// The time on the machine's boot clock.
pub(crate) fn boot_time() -> Duration {
    BootClock.now()
}

/// Runs something on a thread of its own, outside of any runtime: what blocks it stands still as a
/// paused process does, and what it drops is gone as if it was killed.
pub(crate) async fn apart(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        work();
        drop(done);
    });
    // Nothing is sent: the end of the thread is what is waited for.
    let _ = ended.await;
}

/// One life after the other, each with a runtime of its own, until told to stop. What a life leaves
/// behind is dropped where no runtime can give anything back.
pub(crate) fn live<R>(stop: &CancellationToken, mut life: impl AsyncFnMut() -> Option<R>) {
    while !stop.is_cancelled() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        let remains = runtime.block_on(life());
        runtime.shutdown_background();
        drop(remains);
    }
}

/// One client as the history names it, and its pace.
pub(crate) struct Actor {
    /// The process that it is now.
    pub(crate) process: Process,
    /// The coordinator that it talks to; none: the client library chooses.
    pub(crate) node: Option<MemberId>,
    /// Its choices.
    pub(crate) rng: StdRng,
    period: Duration,
    due: Instant,
}

impl Actor {
    /// One that begins now.
    pub(crate) fn new(bench: &Bench, habit: &Habit, node: Option<MemberId>) -> Self {
        Self {
            process: bench.fresh_process(),
            node,
            rng: StdRng::seed_from_u64(habit.seed),
            period: habit.period,
            due: Instant::now(),
        }
    }

    /// One that does a single operation at a coordinator.
    pub(crate) fn onlooker(bench: &Bench, node: MemberId) -> Self {
        let reads = Reads::Linearizable;
        let (period, answer_within) = (Duration::ZERO, Duration::ZERO);
        Self::new(bench, &Habit { node, seed: 0, period, reads, answer_within }, Some(node))
    }

    /// After an operation: becomes another process if nobody knows what came of it, and waits until
    /// the next one is due, or until it is to stop.
    pub(crate) async fn rest(&mut self, bench: &Bench, stage: Stage<'_>, stop: &CancellationToken) {
        if matches!(stage, Stage::Info(_)) {
            self.process = bench.fresh_process();
        }
        if stage != Stage::Ok {
            sleep(BACK_OFF).await;
        }
        let gap = self.period.mul_f64(self.rng.random_range(0.5..1.5));
        self.due = (self.due + gap).max(Instant::now());
        tokio::select! {
            () = sleep_until(self.due) => {}
            () = stop.cancelled() => {}
        }
    }
}
