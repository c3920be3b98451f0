//! Faults that can be planted, to show that the tests would find them.
//!
//! With the feature `mutations`, which no release build has, `plant` breaks one rule in the whole
//! process. Without it [`planted`] is `false` at compile time, and every place that asks is
//! compiled away. `cargo run --release -p quorate-testkit --features mutations --bin mutants`
//! plants one after the other, and tells what caught each.
//!
//! Must not be asked for anything but a fault: what a build does without one is what it does.

use std::fmt;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says what it breaks: see `Mutation::broken`")]
pub enum Mutation {
    StaleRead,
    ReadWithoutQuorum,
    AckBeforeQuorum,
    SkippedSync,
    ForgottenVote,
    LostReplies,
    EarlyExpiry,
    KeepAliveWithoutQuorum,
    NoFencing,
    MoveWithoutRelease,
    SplitRevision,
    WatchGap,
    KeptEpoch,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::StaleRead,
        Self::ReadWithoutQuorum,
        Self::AckBeforeQuorum,
        Self::SkippedSync,
        Self::ForgottenVote,
        Self::LostReplies,
        Self::EarlyExpiry,
        Self::KeepAliveWithoutQuorum,
        Self::NoFencing,
        Self::MoveWithoutRelease,
        Self::SplitRevision,
        Self::WatchGap,
        Self::KeptEpoch,
    ];

    /// What it is called on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StaleRead => "stale-read",
            Self::ReadWithoutQuorum => "read-without-quorum",
            Self::AckBeforeQuorum => "ack-before-quorum",
            Self::SkippedSync => "skipped-sync",
            Self::ForgottenVote => "forgotten-vote",
            Self::LostReplies => "lost-replies",
            Self::EarlyExpiry => "early-expiry",
            Self::KeepAliveWithoutQuorum => "keep-alive-without-quorum",
            Self::NoFencing => "no-fencing",
            Self::MoveWithoutRelease => "move-without-release",
            Self::SplitRevision => "split-revision",
            Self::WatchGap => "watch-gap",
            Self::KeptEpoch => "kept-epoch",
        }
    }

    /// What it breaks, for a person.
    #[must_use]
    pub const fn broken(self) -> &'static str {
        match self {
            Self::StaleRead => "a linearizable read is answered from what the coordinator has",
            Self::ReadWithoutQuorum => "a leader gives a read index without asking a quorum",
            Self::AckBeforeQuorum => "a leader answers a write before a quorum has it",
            Self::SkippedSync => "the log's barrier writes nothing to the journal",
            Self::ForgottenVote => "a vote is not written to the disk",
            Self::LostReplies => "apply does not look for the kept reply of a repeated request",
            Self::EarlyExpiry => "a leader waits for a session half as long as it must",
            Self::KeepAliveWithoutQuorum => "a leader answers keep-alives without asking a quorum",
            Self::NoFencing => "the epoch of a guarded write is not compared",
            Self::MoveWithoutRelease => "a moved partition is free before its owner released it",
            Self::SplitRevision => "a change stream tells the changes of a revision one by one",
            Self::WatchGap => "a change stream leaves a revision out after each message",
            Self::KeptEpoch => "a partition that gets or loses processes keeps its epoch",
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "mutations")]
pub use on::{plant, planted};

/// Whether this rule is broken: no.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
#[must_use]
pub const fn planted(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
mod on {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutation;

    /// 0: none; else one more than the mutation's place.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    fn number(mutation: Mutation) -> u8 {
        mutation as u8 + 1
    }

    /// Breaks this rule, and no other, in the whole process from now on. None: no rule.
    pub fn plant(mutation: Option<Mutation>) {
        PLANTED.store(mutation.map_or(0, number), Ordering::Relaxed);
    }

    /// Whether this rule is broken.
    #[must_use]
    pub fn planted(mutation: Mutation) -> bool {
        PLANTED.load(Ordering::Relaxed) == number(mutation)
    }
}
