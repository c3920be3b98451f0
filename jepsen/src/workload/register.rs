//! Registers: reads, writes and compare-and-swaps.
//!
//! Owns which call comes next. Clients form groups of one client per coordinator; a group works on
//! one register at a time and moves to a fresh one before the old one has seen more operations than
//! a search for an order can bear. Every value is written once in a run. Must not know what answers
//! mean.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use rand::{RngExt, rngs::StdRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Load, Patience, Settling,
    bench::{Actor, Bench, Habit},
    client::Client,
};
use crate::history::{Answer, Call, KeyId, OpEvent, Process, Step, Value, What};

/// After so many operations that may have happened a group takes a fresh register.
const OPS_PER_KEY: u32 = 150;

/// After so many operations of unknown outcome too: each makes the search harder.
const UNKNOWN_PER_KEY: u32 = 12;

/// All registers of a run.
pub(crate) struct Registers {
    next_key: AtomicU32,
    bench: Arc<Bench>,
}

/// The clients that work on the same register.
struct Group {
    registers: Arc<Registers>,
    current: Mutex<Current>,
}

struct Current {
    key: KeyId,
    ops: u32,
    unknown: u32,
    last_seen: Option<Value>,
}

impl Registers {
    /// None used yet.
    pub(crate) fn new(bench: Arc<Bench>) -> Arc<Self> {
        Arc::new(Self { next_key: AtomicU32::new(0), bench })
    }

    /// A group with a fresh register.
    fn group(self: &Arc<Self>) -> Arc<Group> {
        let current = Mutex::new(Current::fresh(self.fresh_key()));
        Arc::new(Group { registers: self.clone(), current })
    }

    /// A register that nobody has used.
    pub(crate) fn fresh_key(&self) -> KeyId {
        KeyId(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// The registers that were used.
    fn used_keys(&self) -> impl Iterator<Item = KeyId> {
        (0..self.next_key.load(Ordering::Relaxed)).map(KeyId)
    }

    /// Writes a fresh value into a register, as a process that has done nothing.
    pub(crate) async fn fresh_write(&self, client: &mut Client, key: KeyId) -> Step {
        let call = Call::Write { value: self.bench.fresh_value() };
        self.run_one(client, self.bench.fresh_process(), key, call).await
    }

    /// Makes a call and writes its beginning and its end into the history.
    async fn run_one(&self, client: &mut Client, process: Process, key: KeyId, call: Call) -> Step {
        let line = |step| What::Op(OpEvent { process, node: client.node(), key, call, step });
        self.bench.recorder.add(line(Step::Invoke));
        let step = client.call(key, call).await;
        let node = client.node();
        self.bench.recorder.add(What::Op(OpEvent { process, node, key, call, step: step.clone() }));
        step
    }
}

impl Load for Arc<Registers> {
    fn start(&mut self, clients: &mut JoinSet<()>, stop: &CancellationToken) {
        for habits in self.bench.habits.chunks(self.bench.nodes.len()) {
            let group = self.group();
            for habit in habits {
                clients.spawn(group.clone().client(*habit, stop.clone()));
            }
        }
    }

    /// A last read of every register.
    fn settle(&mut self, patience: Patience) -> Settling<'_> {
        Box::pin(async move {
            let nodes = self.bench.nodes.iter();
            let mut clients: Vec<Client> = nodes.map(|node| self.bench.client(*node)).collect();
            for (turn, key) in self.used_keys().enumerate() {
                let at = turn % clients.len();
                if patience.is_left() {
                    let process = self.bench.fresh_process();
                    self.run_one(&mut clients[at], process, key, Call::Read).await;
                }
            }
        })
    }
}

impl Group {
    /// One client of the group: works until told to stop, and then finishes what it began.
    async fn client(self: Arc<Self>, habit: Habit, stop: CancellationToken) {
        let bench = &self.registers.bench;
        let mut actor = Actor::new(bench, &habit, Some(habit.node));
        let mut client = Client::new(habit.node, habit.reads, habit.answer_within);
        while !stop.is_cancelled() {
            let (key, call) = self.draw(&mut actor.rng);
            let step = self.registers.run_one(&mut client, actor.process, key, call).await;
            self.learn(key, call, &step);
            actor.rest(bench, step.stage(), &stop).await;
        }
    }

    /// The next call: half of them reads, a quarter each writes and compare-and-swaps, of which
    /// most expect what was seen last and some what cannot be.
    fn draw(&self, rng: &mut StdRng) -> (KeyId, Call) {
        let current = self.lock();
        let call = match rng.random_range(0..100) {
            0..50 => Call::Read,
            50..75 => Call::Write { value: self.registers.bench.fresh_value() },
            75..95 => {
                Call::Cas { expected: current.last_seen, value: self.registers.bench.fresh_value() }
            }
            _ => Call::Cas { expected: None, value: self.registers.bench.fresh_value() },
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

    use rand::SeedableRng;

    use super::*;
    use crate::{
        check::sample::{ok_read, seen, stamp},
        history::record::Recorder,
    };

    fn group() -> (Arc<Group>, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(&directory.path().join("history.jsonl")).unwrap();
        let bench = Bench::new(recorder, Vec::new(), Vec::new(), "quorate".into(), "files".into());
        (Registers::new(Arc::new(bench)).group(), directory)
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
