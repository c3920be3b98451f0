//! The names of faults.
//!
//! Owns the vocabulary that schedules, histories and the command line share. Must not know how a
//! fault is made.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A class of faults, as the command line names them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultClass {
    /// The network between coordinators is cut; all shapes are mixed.
    Partition,
    /// Coordinators are killed (SIGKILL) and started again.
    Kill,
    /// Coordinators are stopped (SIGSTOP) and go on (SIGCONT).
    Pause,
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// The network is cut.
    Partition(Shape),
    /// Coordinators are killed.
    Kill(Target),
    /// Coordinators are paused.
    Pause(Target),
}

/// How the network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// Two groups as equal as they can be.
    Half,
    /// The leader with too few others against the rest.
    LeaderMinority,
    /// Every coordinator sees a majority, each another one.
    MajorityRing,
    /// One coordinator's messages get lost in one direction.
    OneWay,
    /// One coordinator sees no other, but its clients still see it.
    Isolated,
    /// Two groups that only one coordinator joins.
    Bridge,
    /// One coordinator sees nobody, clients included.
    Unplugged,
}

/// Who is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The leader.
    Leader,
    /// Any one.
    One,
    /// A majority.
    Majority,
    /// All at once.
    All,
}

impl FaultClass {
    /// All classes.
    pub(crate) const ALL: [Self; 3] = [Self::Partition, Self::Kill, Self::Pause];

    /// As the command line names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::Pause => "pause",
        }
    }

    /// Its kinds that mean something among so many coordinators; those that hit the leader first.
    pub(crate) fn kinds(self, nodes: usize) -> Vec<FaultKind> {
        let shapes = [
            Shape::LeaderMinority,
            Shape::Half,
            Shape::MajorityRing,
            Shape::OneWay,
            Shape::Isolated,
            Shape::Bridge,
            Shape::Unplugged,
        ];
        let targets = [Target::Leader, Target::One, Target::Majority, Target::All];
        match self {
            // Among three, everybody's majority is everybody.
            Self::Partition => shapes
                .into_iter()
                .filter(|shape| nodes > 3 || *shape != Shape::MajorityRing)
                .map(FaultKind::Partition)
                .collect(),
            Self::Kill => targets.into_iter().map(FaultKind::Kill).collect(),
            Self::Pause => targets.into_iter().map(FaultKind::Pause).collect(),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(shape) => write!(f, "partition:{}", shape.name()),
            Self::Kill(target) => write!(f, "kill:{}", target.name()),
            Self::Pause(target) => write!(f, "pause:{}", target.name()),
        }
    }
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::LeaderMinority => "leader_minority",
            Self::MajorityRing => "majority_ring",
            Self::OneWay => "one_way",
            Self::Isolated => "isolated",
            Self::Bridge => "bridge",
            Self::Unplugged => "unplugged",
        }
    }
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::One => "one",
            Self::Majority => "majority",
            Self::All => "all",
        }
    }
}
