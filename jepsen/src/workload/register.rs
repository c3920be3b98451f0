//! Registers: reads, writes and compare-and-swaps.
//!
//! Owns which call comes next. Clients form groups of one client per coordinator; a group works on
//! one register at a time and moves to a fresh one before the old one has seen more operations than
//! a search for an order can bear. Every value is written once in a run. Must not know what answers
//! mean.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_core::MemberId;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Reads};
use crate::history::{Answer, Call, KeyId, OpEvent, Process, Step, Value, What, record::Recorder};

/// After so many operations that may have happened a group takes a fresh register.
const OPS_PER_KEY: u32 = 150;

/// After so many operations of unknown outcome too: each makes the search harder.
const UNKNOWN_PER_KEY: u32 = 12;

/// How long a client waits after an operation that failed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What all clients of a run share.
pub(crate) struct Registers {
    next_key: AtomicU32,
    next_value: AtomicU64,
    next_process: AtomicU64,
    recorder: Recorder,
}

/// The clients that work on the same register.
pub(crate) struct Group {
    registers: Arc<Registers>,
    current: Mutex<Current>,
}

struct Current {
    key: KeyId,
    ops: u32,
    unknown: u32,
    last_seen: Option<Value>,
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

impl Registers {
    /// None used yet.
    pub(crate) fn new(recorder: Recorder) -> Arc<Self> {
        Arc::new(Self {
            next_key: AtomicU32::new(0),
            next_value: AtomicU64::new(1),
            next_process: AtomicU64::new(0),
            recorder,
        })
    }

    /// A group with a fresh register.
    pub(crate) fn group(self: &Arc<Self>) -> Arc<Group> {
        let current = Mutex::new(Current::fresh(self.fresh_key()));
        Arc::new(Group { registers: self.clone(), current })
    }

    /// A register that nobody has used.
    pub(crate) fn fresh_key(&self) -> KeyId {
        KeyId(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// The registers that were used.
    pub(crate) fn used_keys(&self) -> impl Iterator<Item = KeyId> {
        (0..self.next_key.load(Ordering::Relaxed)).map(KeyId)
    }

    /// A value that nobody has written.
    pub(crate) fn fresh_value(&self) -> Value {
        Value(self.next_value.fetch_add(1, Ordering::Relaxed))
    }

    /// A process that has done nothing.
    pub(crate) fn fresh_process(&self) -> Process {
        Process(self.next_process.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a call and writes its beginning and its end into the history.
    pub(crate) async fn run_one(
        &self,
        client: &mut Client,
        process: Process,
        key: KeyId,
        call: Call,
    ) -> Step {
        let line = |step| What::Op(OpEvent { process, node: client.node(), key, call, step });
        self.recorder.add(line(Step::Invoke));
        let step = client.call(key, call).await;
        let node = client.node();
        self.recorder.add(What::Op(OpEvent { process, node, key, call, step: step.clone() }));
        step
    }
}

impl Group {
    /// One client of the group: works until told to stop, and then finishes what it began.
    pub(crate) async fn client(self: Arc<Self>, habit: Habit, stop: CancellationToken) {
        let mut rng = StdRng::seed_from_u64(habit.seed);
        let mut client = Client::new(habit.node, habit.reads, habit.answer_within);
        let mut process = self.registers.fresh_process();
        let mut due = Instant::now();
        while !stop.is_cancelled() {
            let (key, call) = self.draw(&mut rng);
            let step = self.registers.run_one(&mut client, process, key, call).await;
            self.learn(key, call, &step);
            if matches!(step, Step::Info { .. }) {
                process = self.registers.fresh_process();
            }
            if !matches!(step, Step::Ok { .. }) {
                sleep(BACK_OFF).await;
            }
            due = (due + habit.period.mul_f64(rng.random_range(0.5..1.5))).max(Instant::now());
            tokio::select! {
                () = sleep_until(due) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// The next call: half of them reads, a quarter each writes and compare-and-swaps, of which
    /// most expect what was seen last and some what cannot be.
    fn draw(&self, rng: &mut StdRng) -> (KeyId, Call) {
        let current = self.lock();
        let call = match rng.random_range(0..100) {
            0..50 => Call::Read,
            50..75 => Call::Write { value: self.registers.fresh_value() },
            75..95 => {
                Call::Cas { expected: current.last_seen, value: self.registers.fresh_value() }
            }
            _ => Call::Cas { expected: None, value: self.registers.fresh_value() },
        };
        (current.key, call)
    }

    fn learn(&self, key: KeyId, call: Call, step: &Step) {
        let mut current = self.lock();
        if current.key != key {
            return;
        }
        match step {
            Step::Ok { answer, .. } => {
                current.ops += 1;
                current.last_seen = match answer {
                    Answer::Read { seen } | Answer::Mismatch { seen } => seen.map(|s| s.value),
                    Answer::Written | Answer::Swapped => call.written(),
                };
            }
            Step::Info { .. } => {
                current.ops += 1;
                current.unknown += 1;
            }
            Step::Fail { .. } | Step::Invoke => {}
        }
        if current.ops >= OPS_PER_KEY || current.unknown >= UNKNOWN_PER_KEY {
            *current = Current::fresh(self.registers.fresh_key());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    const fn fresh(key: KeyId) -> Self {
        Self { key, ops: 0, unknown: 0, last_seen: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::check::sample::{ok_read, seen, stamp};

    fn group() -> (Arc<Group>, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(&directory.path().join("history.jsonl")).unwrap();
        (Registers::new(recorder).group(), directory)
    }

    fn ok() -> Step {
        Step::Ok { answer: ok_read(seen(7, 1, 1)), stamp: stamp(1) }
    }

    #[test]
    fn a_register_is_left_before_it_is_too_much() {
        let (group, _directory) = group();
        let key = group.lock().key;
        for _ in 0..OPS_PER_KEY {
            assert_eq!(group.lock().key, key);
            group.learn(key, Call::Read, &ok());
        }
        assert_ne!(group.lock().key, key);
        let key = group.lock().key;
        for _ in 0..UNKNOWN_PER_KEY {
            assert_eq!(group.lock().key, key);
            let call = Call::Write { value: Value(1) };
            group.learn(key, call, &Step::Info { error: String::new() });
        }
        assert_ne!(group.lock().key, key);
    }

    #[test]
    fn an_answer_about_a_register_that_was_left_teaches_nothing() {
        let (group, _directory) = group();
        group.learn(KeyId(99), Call::Read, &ok());
        let current = group.lock();
        assert_eq!((current.ops, current.last_seen), (0, None));
    }

    #[test]
    fn every_kind_of_call_is_made_and_no_value_twice() {
        let (group, _directory) = group();
        let mut rng = StdRng::seed_from_u64(1);
        let key = group.lock().key;
        group.learn(key, Call::Read, &ok());
        let calls: Vec<Call> = (0..400).map(|_| group.draw(&mut rng).1).collect();
        let values: Vec<Value> = calls.iter().filter_map(Call::written).collect();
        assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len());
        let hopeful = |call: &&Call| matches!(call, Call::Cas { expected: Some(Value(7)), .. });
        assert!(calls.iter().filter(hopeful).count() > 40);
        assert!(calls.iter().filter(|call| **call == Call::Read).count() > 100);
    }
}
