//! What happened in a run, as a list of lines in the order of one monotonic clock.
//!
//! Owns the vocabulary of histories and their JSON form (one object a line, told apart by `kind`);
//! everything a verdict needs is in it, so that `check` repeats a run's verdict from the file.
//!
//! Invariants: `index` counts the lines from 0; `time` never decreases; a process has at most one
//! open operation and never does anything again after one whose outcome is unknown.
//!
//! Must not know how operations are sent or how faults are made.

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod edn;
pub(crate) mod fact;
pub(crate) mod kv;
pub(crate) mod lock;
pub(crate) mod once;
pub(crate) mod ownership;
pub(crate) mod pair;
pub(crate) mod record;
pub(crate) mod set;
pub(crate) mod stream;

use std::fmt;

use quorate_core::{ClusterId, LogIndex, MemberId, Revision, Term};
use serde::{Deserialize, Serialize};

use crate::nemesis::fault::{FaultClass, FaultKind};
use append::AppendEvent;
use backup::{Restored, SaveEvent};
use fact::FactEvent;
use kv::KvEvent;
use lock::{EffectEvent, Holding};
use once::OnceEvent;
use ownership::{GuardedEvent, OwnershipEvent};
use set::SetEvent;
use stream::StreamEvent;

/// Nanoseconds since the run began, on its one monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Nanos(pub(crate) u64);

/// The number of a line in its history.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct LineIndex(pub(crate) u64);

/// A logical process: a client until one of its operations ends without a known outcome.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct Process(pub(crate) u64);

/// One register.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct KeyId(pub(crate) u32);

/// A register's value. Every write of a run writes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Value(pub(crate) u64);

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Its number.
    pub(crate) index: LineIndex,
    /// When it happened.
    pub(crate) time: Nanos,
    /// What happened.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum What {
    /// The run begins: what it was asked to do.
    Start(Start),
    /// A client's operation on a register begins or ends.
    Op(OpEvent),
    /// An operation on a set begins or ends.
    Set(SetEvent),
    /// A transaction over lists begins or ends.
    Append(AppendEvent),
    /// A write of keys that are followed begins or ends.
    Kv(KvEvent),
    /// Something happens to a change stream.
    Stream(StreamEvent),
    /// A request that is sent more than once begins or ends.
    Once(OnceEvent),
    /// A holder of a lock has stopped to act.
    Holding(Holding),
    /// An effect guarded by a lock begins or ends.
    Effect(EffectEvent),
    /// Something happens to workers and what they own.
    Ownership(OwnershipEvent),
    /// A write guarded by a partition's epoch begins or ends.
    Guarded(GuardedEvent),
    /// A change stream told of a record.
    Fact(FactEvent),
    /// A backup begins or is complete.
    Save(SaveEvent),
    /// A backup was restored.
    Restored(Restored),
    /// A fault begins.
    Fault(FaultEvent),
    /// A fault is over.
    Over(OverEvent),
    /// No fault is left.
    Heal,
    /// A coordinator's own view of itself.
    Status(StatusEvent),
    /// A coordinator has installed checkpoints from its leader.
    Installs(InstallsEvent),
    /// A coordinator ended by itself, as a fault must make it.
    Ended(EndedEvent),
    /// A coordinator ended without having been asked to, or its log shows a panic.
    Crash(CrashEvent),
    /// Everything is healed for good; what follows must converge.
    Healed,
    /// The run was ended early from outside.
    Interrupted,
}

/// What a run was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// The workload's name.
    pub(crate) workload: String,
    /// The classes of faults.
    pub(crate) nemeses: Vec<FaultClass>,
    /// How many coordinators there are, numbered from 1.
    pub(crate) nodes: u64,
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// What the run must have reached to mean something.
    pub(crate) minimum: Minimum,
}

/// What a run must have reached to mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Minimum {
    /// Operations that succeeded.
    pub(crate) ops: u64,
    /// Faults made.
    pub(crate) faults: u64,
    /// Changes of leader.
    pub(crate) leader_changes: u64,
}

/// A client's operation begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpEvent {
    /// Who.
    pub(crate) process: Process,
    /// The coordinator asked.
    pub(crate) node: MemberId,
    /// The register.
    pub(crate) key: KeyId,
    /// What was asked.
    #[serde(flatten)]
    pub(crate) call: Call,
    /// Whether it begins here, or how it ended.
    #[serde(flatten)]
    pub(crate) step: Step,
}

/// What a client asks of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum Call {
    /// Its value.
    Read,
    /// To take a value.
    Write {
        /// The new value.
        value: Value,
    },
    /// To take a value if it has the expected one.
    Cas {
        /// What it must hold; none: it must not exist.
        expected: Option<Value>,
        /// The new value.
        value: Value,
    },
}

/// A client's operation of another workload than registers begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event<C, A> {
    /// Who.
    pub(crate) process: Process,
    /// The coordinator asked; none: the client library chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<MemberId>,
    /// What was asked.
    #[serde(flatten)]
    pub(crate) call: C,
    /// Whether it begins here, or how it ended.
    #[serde(flatten)]
    pub(crate) step: Step<A>,
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Step<A = Answer> {
    /// It begins.
    Invoke,
    /// It was answered.
    Ok {
        /// The answer.
        answer: A,
        /// Who answered, from which point of the order of changes.
        stamp: Stamp,
    },
    /// It never happened and never will.
    Fail {
        /// Why.
        error: String,
    },
    /// Nobody knows: it may have happened or may yet happen.
    Info {
        /// Why.
        error: String,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To a read.
    Read {
        /// The register; none: it does not exist.
        seen: Option<Seen>,
    },
    /// To a write.
    Written,
    /// To a compare-and-swap that did.
    Swapped,
    /// To a compare-and-swap that did not.
    Mismatch {
        /// The register at that point; none: it does not exist.
        seen: Option<Seen>,
    },
}

/// A register as an answer showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Its value.
    pub(crate) value: Value,
    /// The revision that wrote the value.
    pub(crate) modified: Revision,
    /// How many times it had been written.
    pub(crate) version: u64,
}

/// Who answered, from which point of the order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The coordinator.
    pub(crate) member: MemberId,
    /// Its term.
    pub(crate) term: Term,
    /// The revision read at or made.
    pub(crate) revision: Revision,
    /// The log entry read at or made.
    pub(crate) log_index: LogIndex,
}

/// The number of a fault in its run.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct FaultId(pub(crate) u32);

/// A fault begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultEvent {
    /// Which one it is.
    #[serde(default)]
    pub(crate) id: FaultId,
    /// What it is.
    pub(crate) fault: FaultKind,
    /// Whom it hits, for people.
    pub(crate) detail: String,
    /// Whom it hits.
    #[serde(default)]
    pub(crate) nodes: Vec<MemberId>,
}

/// A fault is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OverEvent {
    /// Which one.
    pub(crate) id: FaultId,
}

/// A coordinator ended by itself, as a fault must make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedEvent {
    /// The coordinator.
    pub(crate) node: MemberId,
    /// How it ended and what it said last.
    pub(crate) detail: String,
}

/// A coordinator's own view of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusEvent {
    /// The coordinator.
    pub(crate) node: MemberId,
    /// Whether it says that it leads.
    pub(crate) leads: bool,
    /// Its term.
    pub(crate) term: Term,
    /// The leader it knows of.
    pub(crate) leader: Option<MemberId>,
    /// Its revision.
    pub(crate) revision: Revision,
    /// The last entry applied.
    pub(crate) log_index: LogIndex,
    /// The hash of its state at that entry.
    pub(crate) state_hash: u64,
    /// The last entry in its newest checkpoint.
    pub(crate) checkpoint: LogIndex,
}

/// A coordinator has installed checkpoints from its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstallsEvent {
    /// The coordinator.
    pub(crate) node: MemberId,
    /// How many more than were told before.
    pub(crate) more: u64,
}

/// A coordinator ended without having been asked to, or its log shows a panic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrashEvent {
    /// The coordinator.
    pub(crate) node: MemberId,
    /// How it ended and what it said last.
    pub(crate) detail: String,
}

/// What a line tells of a client's operation, whatever its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Who.
    pub(crate) process: Process,
    /// The coordinator asked; when the client library chose, the member that answered, if one did.
    pub(crate) node: Option<MemberId>,
    /// Whether it begins here, or how it ended.
    pub(crate) stage: Stage<'a>,
}

/// Where an operation of any workload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage<'a> {
    /// It begins.
    Invoke,
    /// It was answered.
    Ok,
    /// It never happened; why.
    Fail(&'a str),
    /// Nobody knows; why.
    Info(&'a str),
}

impl What {
    /// The operation that this line is about, if it is about one.
    pub(crate) fn operation(&self) -> Option<Part<'_>> {
        Some(match self {
            Self::Op(OpEvent { process, node, step, .. }) => Part::of(*process, Some(*node), step),
            Self::Set(event) => event.part(),
            Self::Append(event) => event.part(),
            Self::Kv(event) => event.part(),
            Self::Once(event) => event.part(),
            Self::Effect(event) => event.part(),
            Self::Guarded(event) => event.part(),
            Self::Save(event) => event.part(),
            Self::Start(_)
            | Self::Stream(_)
            | Self::Holding(_)
            | Self::Ownership(_)
            | Self::Fact(_)
            | Self::Restored(_)
            | Self::Fault(_)
            | Self::Over(_)
            | Self::Heal
            | Self::Status(_)
            | Self::Installs(_)
            | Self::Ended(_)
            | Self::Crash(_)
            | Self::Healed
            | Self::Interrupted => return None,
        })
    }
}

impl<C, A> Event<C, A> {
    fn part(&self) -> Part<'_> {
        Part::of(self.process, self.node, &self.step)
    }
}

impl<'a> Part<'a> {
    fn of<A>(process: Process, asked: Option<MemberId>, step: &'a Step<A>) -> Self {
        let answered = match step {
            Step::Ok { stamp, .. } => Some(stamp.member),
            Step::Invoke | Step::Fail { .. } | Step::Info { .. } => None,
        };
        Self { process, node: asked.or(answered), stage: step.stage() }
    }
}

impl<A> Step<A> {
    /// The same without the answer.
    pub(crate) fn stage(&self) -> Stage<'_> {
        match self {
            Self::Invoke => Stage::Invoke,
            Self::Ok { .. } => Stage::Ok,
            Self::Fail { error } => Stage::Fail(error),
            Self::Info { error } => Stage::Info(error),
        }
    }
}

impl Nanos {
    /// In seconds.
    pub(crate) fn seconds(self) -> f64 {
        std::time::Duration::from_nanos(self.0).as_secs_f64()
    }
}

impl Value {
    /// Stands for a value that is not a number: nobody wrote it, so checks find it.
    pub(crate) const UNREADABLE: Self = Self(u64::MAX);

    /// The number that the bytes are.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).ok();
        text.and_then(|text| text.parse().ok()).map_or(Self::UNREADABLE, Self)
    }
}

impl Answer {
    /// The register as the answer showed it; none: the answer shows nothing of it.
    pub(crate) const fn seen(&self) -> Option<Option<Seen>> {
        match self {
            Self::Read { seen } | Self::Mismatch { seen } => Some(*seen),
            Self::Written | Self::Swapped => None,
        }
    }
}

impl Call {
    /// The value it writes, if it does.
    pub(crate) const fn written(&self) -> Option<Value> {
        match self {
            Self::Read => None,
            Self::Write { value } | Self::Cas { value, .. } => Some(*value),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "register/{}", self.0)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => write!(f, "read"),
            Self::Write { value } => write!(f, "write {value}"),
            Self::Cas { expected: Some(expected), value } => write!(f, "cas {expected} -> {value}"),
            Self::Cas { expected: None, value } => write!(f, "cas absent -> {value}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written => write!(f, "written"),
            Self::Swapped => write!(f, "swapped"),
            Self::Read { seen: Some(seen) } => write!(f, "{seen}"),
            Self::Read { seen: None } => write!(f, "absent"),
            Self::Mismatch { seen: Some(seen) } => write!(f, "mismatch, it holds {seen}"),
            Self::Mismatch { seen: None } => write!(f, "mismatch, absent"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (revision {}, version {})", self.value, self.modified, self.version)
    }
}
