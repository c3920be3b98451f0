//! The vocabulary of the workload `lock`.
//!
//! Owns what holders say of themselves, with times on the machine's boot clock, and effects that
//! are guarded by the lock's entry, and the names of the keys. Must not know how a lock is taken.

use std::fmt;

use quorate_core::Revision;
use serde::{Deserialize, Serialize};

use super::{Event, KeyId, Process, Value};

/// That of all keys of the workload.
pub(crate) const PREFIX: &str = "lock/";

/// That of the keys that effects write.
pub(crate) const EFFECTS: &str = "lock/effect/";

/// The key that the effects of a lock write.
pub(crate) fn effect_key(lock: KeyId) -> String {
    format!("{EFFECTS}{}", lock.0)
}

/// The name of a lock: the prefix of the entries of those who wait for it.
pub(crate) fn lock_name(lock: KeyId) -> String {
    format!("{PREFIX}queue/{}", lock.0)
}

/// A guarded effect begins or ends.
pub(crate) type EffectEvent = Event<EffectCall, EffectAnswer>;

/// What a holder, or a former one, asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub(crate) enum EffectCall {
    /// To write a value if the entry of its lock exists.
    Effect {
        /// The lock.
        lock: KeyId,
        /// The entry that shows that it is held.
        entry: String,
        /// The holder's fencing epoch: the revision of its entry.
        epoch: Revision,
        /// The value.
        value: Value,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum EffectAnswer {
    /// It was written.
    Written,
}

/// What a holder believed: it had the lock from the first time to the last, nanoseconds on the boot
/// clock. Written down when it stops to act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holding {
    /// Who.
    pub(crate) holder: Process,
    /// The lock.
    pub(crate) lock: KeyId,
    /// The fencing epoch: the revision of its entry.
    pub(crate) epoch: Revision,
    /// When it had got the lock.
    pub(crate) from_ns: u64,
    /// When it last found that it still had it.
    pub(crate) until_ns: u64,
    /// How it ended.
    pub(crate) end: HoldingEnd,
}

/// How a holding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HoldingEnd {
    /// Given back.
    Released,
    /// The holder found that it had lost it.
    Lost,
    /// The holder was gone from one moment to the next.
    Killed,
}

impl EffectCall {
    /// The lock, the entry, the epoch and the value.
    pub(crate) fn parts(&self) -> (KeyId, &str, Revision, Value) {
        let Self::Effect { lock, entry, epoch, value } = self;
        (*lock, entry, *epoch, *value)
    }
}

impl fmt::Display for EffectCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lock, entry, epoch, value) = self.parts();
        write!(f, "effect {value} of epoch {epoch} of lock {} by {entry}", lock.0)
    }
}

impl fmt::Display for EffectAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("written")
    }
}
