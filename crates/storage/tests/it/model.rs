//! A random workload, and what must be there after a crash: everything that was acknowledged.
//!
//! A life begins quietly in half of the cases: votes and appends only, so that the journal is filled
//! by frames and settled because it is full. Later each removal settles it.
//!
//! Operations are numbered as they are submitted. An acknowledgement of one covers all before it.
//! After a crash, what came after the last acknowledgement may be there in part.

use std::{collections::BTreeMap, fmt, str::FromStr};

use openraft::storage::RaftLogStorage;
use quorate_core::{Stamp, State, apply_request};
use quorate_storage::Vote;

use crate::support::{Draw, Flushed, IDENTITY, Store, entry, id, value};

/// What was asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Append { term: u64, first: u64, count: u64 },
    Truncate { from: u64 },
    Purge { upto: u64 },
    Vote { term: u64 },
    Checkpoint { index: u64 },
}

/// What happened, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Before it is asked for.
    Submitted(Op),
    /// The first so many operations are durable.
    Acknowledged(u64),
    /// The journal was full so many times in this life.
    Full(u64),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted(Op::Append { term, first, count }) => {
                write!(f, "append {term} {first} {count}")
            }
            Self::Submitted(Op::Truncate { from }) => write!(f, "truncate {from} 0 0"),
            Self::Submitted(Op::Purge { upto }) => write!(f, "purge {upto} 0 0"),
            Self::Submitted(Op::Vote { term }) => write!(f, "vote {term} 0 0"),
            Self::Submitted(Op::Checkpoint { index }) => write!(f, "checkpoint {index} 0 0"),
            Self::Acknowledged(count) => write!(f, "ack {count} 0 0"),
            Self::Full(count) => write!(f, "full {count} 0 0"),
        }
    }
}

impl FromStr for Event {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let words: Vec<&str> = line.split(' ').collect();
        let &[word, a, b, c] = words.as_slice() else { return Err(()) };
        let number = |word: &str| word.parse::<u64>().map_err(|_| ());
        let (a, b, c) = (number(a)?, number(b)?, number(c)?);
        Ok(match word {
            "append" => Self::Submitted(Op::Append { term: a, first: b, count: c }),
            "truncate" => Self::Submitted(Op::Truncate { from: a }),
            "purge" => Self::Submitted(Op::Purge { upto: a }),
            "vote" => Self::Submitted(Op::Vote { term: a }),
            "checkpoint" => Self::Submitted(Op::Checkpoint { index: a }),
            "ack" => Self::Acknowledged(a),
            "full" => Self::Full(a),
            _ => return Err(()),
        })
    }
}

/// Works on a store until something fails or `steps` are done; tells of everything.
pub(crate) async fn work(
    store: &mut Store,
    draw: &mut Draw,
    steps: u64,
    tell: &mut impl FnMut(Event),
) -> std::io::Result<()> {
    let mut work = Work::new(store, tell).await;
    work.quiet = if draw.below(2) == 0 { draw.below(700) } else { 0 };
    for _ in 0..steps {
        work.step(draw).await?;
        work.look_at_journal();
    }
    work.wait().await
}

struct Work<'a, F: FnMut(Event)> {
    store: &'a mut Store,
    tell: &'a mut F,
    submitted: u64,
    pending: Vec<(u64, Flushed)>,
    term: u64,
    next: u64,
    applied: u64,
    checkpoint: u64,
    purged: u64,
    /// How many steps remove nothing.
    quiet: u64,
    /// How often the journal was full.
    full: u64,
}

impl<'a, F: FnMut(Event)> Work<'a, F> {
    async fn new(store: &'a mut Store, tell: &'a mut F) -> Self {
        let state = store.log.get_log_state().await.unwrap();
        let vote = store.vote().await.map_or(0, |vote| vote.leader_id.term);
        let last = state.last_log_id.map_or(0, |last| last.committed_leader_id().term);
        let checkpoint = store.published.load().index.0;
        // As openraft does: what is committed is applied, and never truncated any more.
        let committed = store.log.read_committed().await.unwrap();
        let applied = committed.map_or(0, |committed| committed.index()).max(checkpoint);
        store.apply(checkpoint + 1..applied + 1).await;
        Self {
            term: vote.max(last) + 1,
            next: state.last_log_id.map_or(1, |last| last.index() + 1),
            applied,
            checkpoint,
            purged: state.last_purged_log_id.map_or(0, |purged| purged.index()),
            quiet: 0,
            full: 0,
            submitted: 0,
            pending: Vec::new(),
            store,
            tell,
        }
    }

    fn submit(&mut self, op: Op) {
        self.submitted += 1;
        (self.tell)(Event::Submitted(op));
    }

    fn acknowledge(&mut self, count: u64) {
        (self.tell)(Event::Acknowledged(count));
    }

    fn look_at_journal(&mut self) {
        let metrics = self.store.storage.metrics();
        let full = metrics.journal_full.load(std::sync::atomic::Ordering::Relaxed);
        if full > self.full {
            self.full = full;
            (self.tell)(Event::Full(full));
        }
    }

    /// How many entries are more than the journal holds.
    fn too_many(&self) -> u64 {
        let mut bytes = 0;
        let sizes = (self.next..).map(|index| value(self.term, index).len());
        sizes.take_while(|size| (bytes += size, bytes <= self.store.journal_bytes).1).count() as u64
            + 1
    }

    async fn step(&mut self, draw: &mut Draw) -> std::io::Result<()> {
        let drawn = draw.below(100);
        if self.quiet > 0 {
            self.quiet -= 1;
            return match drawn {
                0..70 => self.append(1 + draw.below(4)).await,
                70..90 => self.wait().await,
                _ => self.vote().await,
            };
        }
        match drawn {
            0..49 => self.append(1 + draw.below(8)).await,
            49 => self.append(self.too_many()).await,
            50..72 => self.wait().await,
            72..80 if self.next > self.applied + 1 => {
                let from = self.applied + 1 + draw.below(self.next - self.applied - 1);
                self.submit(Op::Truncate { from });
                let keep = (from > 1).then(|| id(self.term, from - 1));
                let keep = self.position(keep).await?;
                self.store.log.truncate_after(keep).await?;
                self.next = from;
                self.term += 1;
                self.append(1 + draw.below(4)).await
            }
            80..88 if self.next > self.applied + 1 => {
                let to = self.applied + 1 + draw.below(self.next - self.applied - 1);
                self.store.apply(self.applied + 1..to + 1).await;
                self.applied = to;
                let committed = self.position(Some(id(self.term, to))).await?;
                self.store.log.save_committed(committed).await
            }
            88..93 if self.applied > self.checkpoint => self.build().await,
            93..96 if self.checkpoint > self.purged => {
                let upto = self.purged + 1 + draw.below(self.checkpoint - self.purged);
                let found = self.store.read(upto..upto + 1).await;
                let Some(found) = found.first() else { return Ok(()) };
                self.submit(Op::Purge { upto });
                self.store.log.purge(found.log_id).await?;
                self.purged = upto;
                Ok(())
            }
            _ => self.vote().await,
        }
    }

    async fn vote(&mut self) -> std::io::Result<()> {
        self.term += 1;
        self.submit(Op::Vote { term: self.term });
        let count = self.submitted;
        self.store.log.save_vote(&Vote::new(self.term, 1)).await?;
        self.acknowledge(count);
        Ok(())
    }

    /// The log id of an entry that is there, whose term the caller does not know.
    async fn position(
        &mut self,
        at: Option<quorate_storage::LogId>,
    ) -> std::io::Result<Option<quorate_storage::LogId>> {
        let Some(at) = at else { return Ok(None) };
        let found = self.store.read(at.index()..at.index() + 1).await;
        let state = self.store.log.get_log_state().await?;
        Ok(found.first().map(|entry| entry.log_id).or(state.last_purged_log_id))
    }

    async fn append(&mut self, count: u64) -> std::io::Result<()> {
        let (term, first) = (self.term, self.next);
        self.submit(Op::Append { term, first, count });
        let entries = (first..first + count).map(|index| entry(term, index)).collect();
        let flushed = self.store.submit(entries).await?;
        self.pending.push((self.submitted, flushed));
        self.next += count;
        Ok(())
    }

    async fn wait(&mut self) -> std::io::Result<()> {
        for (count, flushed) in std::mem::take(&mut self.pending) {
            flushed.await?;
            self.acknowledge(count);
        }
        Ok(())
    }

    async fn build(&mut self) -> std::io::Result<()> {
        use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
        self.submit(Op::Checkpoint { index: self.applied });
        let count = self.submitted;
        let mut builder = self.store.machine.get_snapshot_builder().await;
        builder.build_snapshot().await?;
        self.checkpoint = self.applied;
        self.acknowledge(count);
        Ok(())
    }
}

/// What happened in one life, up to its end.
#[derive(Debug, Default, Clone)]
struct Life {
    full: u64,
    checkpoint: bool,
    purge: bool,
}

/// How lives ended.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) all: u64,
    /// After the journal was settled because it was full.
    pub(crate) after_full: u64,
    /// After a checkpoint that was acknowledged, a purge that is durable.
    pub(crate) after_checkpoint: u64,
    pub(crate) after_purge: u64,
    /// While one was under way.
    pub(crate) in_checkpoint: u64,
    pub(crate) in_purge: u64,
}

impl Ends {
    /// Counts the end of a life: before [`Model::check`].
    pub(crate) fn count(&mut self, model: &Model) {
        let under_way = |what: fn(&Op) -> bool| u64::from(model.since.iter().any(what));
        self.all += 1;
        self.after_full += u64::from(model.life.full > 0);
        self.after_checkpoint += u64::from(model.life.checkpoint);
        self.after_purge += u64::from(model.life.purge);
        self.in_checkpoint += under_way(|op| matches!(op, Op::Checkpoint { .. }));
        self.in_purge += under_way(|op| matches!(op, Op::Purge { .. }));
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (after a full journal {}, a checkpoint {}, a purge {}; during a checkpoint {}, a purge {})",
            self.all,
            self.after_full,
            self.after_checkpoint,
            self.after_purge,
            self.in_checkpoint,
            self.in_purge
        )
    }
}

/// What was asked for and acknowledged.
#[derive(Default, Clone)]
pub(crate) struct Model {
    /// What is durable.
    floor: Floor,
    /// What came after that.
    since: Vec<Op>,
    /// How many operations of this life are in the floor.
    acknowledged: u64,
    life: Life,
    /// A state with its index, for comparison with checkpoints.
    reference: Option<(State, u64)>,
    /// How many entries were acknowledged in all.
    pub(crate) entries: u64,
}

#[derive(Default, Clone)]
struct Floor {
    /// The term of every entry, purged ones included.
    terms: BTreeMap<u64, u64>,
    purged: u64,
    vote: u64,
    checkpoint: u64,
}

impl Model {
    pub(crate) fn tell(&mut self, event: Event) {
        match event {
            Event::Submitted(op) => self.since.push(op),
            Event::Full(count) => self.life.full = count,
            Event::Acknowledged(count) => {
                let durable = usize::try_from(count - self.acknowledged.min(count)).unwrap();
                for op in self.since.drain(..durable) {
                    match op {
                        Op::Append { term, first, count } => {
                            self.entries += count;
                            self.floor.terms.extend((first..first + count).map(|n| (n, term)));
                        }
                        Op::Truncate { from } => drop(self.floor.terms.split_off(&from)),
                        Op::Purge { upto } => {
                            self.floor.purged = upto;
                            self.life.purge = true;
                        }
                        Op::Vote { term } => self.floor.vote = term,
                        Op::Checkpoint { index } => {
                            self.floor.checkpoint = index;
                            self.life.checkpoint = true;
                        }
                    }
                }
                self.acknowledged = self.acknowledged.max(count);
            }
        }
    }

    /// Checks a store that was opened after a crash, and goes on from what is there.
    pub(crate) async fn check(&mut self, store: &mut Store) {
        let truncated = self.since.iter().filter_map(|op| match op {
            Op::Truncate { from } => Some(*from),
            _ => None,
        });
        let safe = truncated.min().unwrap_or(u64::MAX);
        let state = store.log.get_log_state().await.unwrap();
        let purged = state.last_purged_log_id.map_or(0, |purged| purged.index());
        let allowed = self.since.iter().filter_map(|op| match op {
            Op::Purge { upto } => Some(*upto),
            _ => None,
        });
        assert!(purged >= self.floor.purged, "a purge came undone");
        assert!(purged <= allowed.fold(self.floor.purged, u64::max), "purged without being asked");

        let found = store.read(0..u64::MAX).await;
        let mut there = BTreeMap::new();
        for (next, found) in (purged + 1..).zip(found) {
            let (term, index) = (found.log_id.committed_leader_id().term, found.log_id.index());
            assert_eq!(index, next, "a hole in the log");
            assert_eq!(found, entry(term, index), "an entry is not what was written");
            let submitted = self.since.iter().any(|op| {
                matches!(*op, Op::Append { term: t, first, count }
                if t == term && (first..first + count).contains(&index))
            });
            let known = self.floor.terms.get(&index) == Some(&term) || submitted;
            assert!(known, "entry {index} of term {term} was never written");
            there.insert(index, term);
        }
        for (&index, &term) in self.floor.terms.range(purged + 1..safe.max(purged + 1)) {
            assert_eq!(there.get(&index), Some(&term), "acknowledged entry {index} is lost");
        }
        // What is committed is in the log: openraft applies it without asking anybody.
        if let Some(committed) = store.log.read_committed().await.unwrap()
            && committed.index() > purged
        {
            let term = committed.committed_leader_id().term;
            assert_eq!(there.get(&committed.index()), Some(&term), "another entry is committed");
        }
        let vote = store.vote().await.map_or(0, |vote| vote.leader_id.term);
        assert!(vote >= self.floor.vote, "acknowledged vote {} is lost", self.floor.vote);

        self.floor.terms.split_off(&(purged + 1));
        self.floor.terms.extend(there);
        self.check_state(store);
        (self.floor.purged, self.floor.vote) = (purged, vote);
        (self.since, self.acknowledged) = (Vec::new(), 0);
        self.life = Life::default();
    }

    /// The state is that of the checkpoint, which is the state of its entries.
    fn check_state(&mut self, store: &Store) {
        let view = store.published.load();
        assert!(view.index.0 >= self.floor.checkpoint, "an acknowledged checkpoint is lost");
        self.floor.checkpoint = view.index.0;
        let (mut state, at) = self.reference.take().unwrap_or_else(|| (State::new(IDENTITY), 0));
        for index in at + 1..=view.index.0 {
            let openraft::EntryPayload::Normal(proposal) =
                entry(self.floor.terms[&index], index).payload
            else {
                panic!("all entries are normal");
            };
            let batch = proposal.decode().unwrap();
            for request in &batch.requests {
                apply_request(&mut state, Stamp::at(batch.time_ms), request);
            }
        }
        assert_eq!(state.hash(), view.state.hash(), "the checkpoint is not the state");
        self.reference = Some((state, view.index.0));
    }
}
