//! What all clients of a run share: the history, the numbers that are used once, the pace.
//!
//! Owns the numbering of processes and values over all workloads of a run, so that a value says
//! which operation wrote it. Must not know what clients do.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use quorate_core::MemberId;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Reads};
use crate::history::{Event, Process, Stage, Step, Value, What, record::Recorder};

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
        let within = self.habits.first().map_or(Duration::from_secs(3), |it| it.answer_within);
        Client::new(node, Reads::Linearizable, within)
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
