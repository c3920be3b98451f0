//! The names of faults.
//!
//! Owns the vocabulary that schedules, histories and the command line share, and what is known of a
//! class without making it: its kinds, what it asks of a run, which classes it must not meet. Must
//! not know how a fault is made.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enumeration of names: a list of all, and each as it is written.
macro_rules! names {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])+ $variant:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub(crate) enum $type { $($(#[$doc])+ #[serde(rename = $name)] $variant,)+ }

        impl $type {
            /// All of them; those that hit the leader first.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// As it is written.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

/// A class of faults, as the command line names them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum FaultClass {
    /// No faults at all.
    None,
    /// The network between coordinators is cut; all shapes are mixed.
    Partition,
    /// Coordinators are killed (SIGKILL) and started again.
    Kill,
    /// Coordinators are stopped (SIGSTOP) and go on (SIGCONT).
    Pause,
    /// Packets between coordinators get lost at random.
    Loss,
    /// Packets of coordinators arrive late.
    Delay,
    /// The wall clock of coordinators jumps.
    Clock,
    /// The disk of coordinators is full.
    Disk,
    /// Barriers of coordinators' disks are slow, or fail.
    SlowDisk,
    /// Coordinators are stopped in good order (SIGTERM) and started again, one after the other.
    Restart,
    /// Coordinators join and leave.
    Membership,
    /// Leadership is handed over again and again.
    Transfer,
    /// Checkpoints and purges come all the time, while coordinators lag or are killed.
    Compact,
    /// The power of coordinators' disks is cut.
    Power,
    /// All that this machine can do, several at once.
    Mixed,
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
    /// Packets get lost.
    Loss(Rate),
    /// Packets are late.
    Delay(Lag),
    /// Wall clocks jump.
    Clock(Motion),
    /// Disks are full.
    Disk(Target),
    /// Barriers are slow or fail.
    SlowDisk(Barrier),
    /// Restarts in good order.
    Restart(Order),
    /// Members come and go.
    Membership(Change),
    /// Leadership moves.
    Transfer(Storm),
    /// Checkpoints and purges under stress.
    Compact(Stress),
    /// Power is cut.
    Power(Target),
}

names! {
    /// How the network is cut.
    Shape {
        /// The leader with too few others against the rest.
        LeaderMinority = "leader_minority",
        /// Two groups as equal as they can be.
        Half = "half",
        /// Every coordinator sees a majority, each another one.
        MajorityRing = "majority_ring",
        /// One coordinator's messages get lost in one direction.
        OneWay = "one_way",
        /// One coordinator sees no other, but its clients still see it.
        Isolated = "isolated",
        /// Two groups that only one coordinator joins.
        Bridge = "bridge",
        /// One coordinator sees nobody, clients included.
        Unplugged = "unplugged",
    }
}

names! {
    /// Who is hit.
    Target {
        /// The leader.
        Leader = "leader",
        /// Any one.
        One = "one",
        /// A majority.
        Majority = "majority",
        /// All at once.
        All = "all",
    }
}

names! {
    /// How many packets get lost.
    Rate {
        /// Many: 30 % on the links of the leader.
        Leader30 = "leader_30",
        /// Few: 5 % on all links.
        All5 = "all_5",
        /// Many: 20 % on all links.
        All20 = "all_20",
        /// Most: 60 % on half of all ways, drawn one by one.
        Some60 = "some_60",
    }
}

names! {
    /// How late packets are.
    Lag {
        /// The leader's, by 100 ms.
        Leader = "leader_100ms",
        /// Everybody's, by 30 ms.
        All = "all_30ms",
        /// Everybody's, by 50 ms give or take 50, so that they overtake each other.
        Jitter = "jitter",
    }
}

names! {
    /// How a wall clock moves.
    Motion {
        /// The leader's jumps by up to an hour.
        LeaderStep = "leader_step",
        /// Some jump forward by up to a day.
        Forward = "forward",
        /// Some jump back by up to a day.
        Back = "back",
        /// Some jump to and fro, several times a second.
        Strobe = "strobe",
    }
}

names! {
    /// What happens to barriers (fsync, fdatasync).
    Barrier {
        /// The leader's take some 300 ms.
        SlowLeader = "slow_leader",
        /// The leader's fail.
        FailLeader = "fail_leader",
        /// A majority's take some 100 ms.
        SlowMajority = "slow_majority",
        /// One coordinator's fail.
        FailOne = "fail_one",
        /// A majority's fail.
        FailMajority = "fail_majority",
    }
}

names! {
    /// Who is restarted after whom.
    Order {
        /// Whoever leads, again and again, as often as there are coordinators.
        Leaders = "leaders",
        /// Everybody once, in an order drawn by lot.
        Rolling = "rolling",
    }
}

names! {
    /// How the membership changes; it changes back when the fault is over.
    Change {
        /// The leader's place is taken by a coordinator on a spare host.
        ReplaceLeader = "replace_leader",
        /// A coordinator on a spare host joins, learns and is promoted.
        Grow = "grow",
        /// One coordinator is removed, and comes back empty under a new id.
        Shrink = "shrink",
        /// One coordinator's place is taken by one on a spare host.
        Replace = "replace",
    }
}

names! {
    /// How leadership moves.
    Storm {
        /// To whomever the lot falls on, some five times a second.
        Random = "random",
        /// To and fro between two.
        PingPong = "ping_pong",
    }
}

names! {
    /// What meets the checkpoints and purges that come all the time.
    Stress {
        /// The leader is paused and must be brought up from a checkpoint.
        LagLeader = "lag_leader",
        /// One coordinator is paused and must be brought up from a checkpoint.
        LagOne = "lag_one",
        /// One coordinator is killed and started at once, several times.
        KillOne = "kill_one",
        /// All are killed and started at once, several times.
        KillAll = "kill_all",
    }
}

/// How many of the classes a mixed run must have met to be one.
const MIXED_MIN: usize = 3;

impl FaultClass {
    /// All classes.
    pub(crate) const ALL: [Self; 15] = [
        Self::None,
        Self::Partition,
        Self::Kill,
        Self::Pause,
        Self::Loss,
        Self::Delay,
        Self::Clock,
        Self::Disk,
        Self::SlowDisk,
        Self::Restart,
        Self::Membership,
        Self::Transfer,
        Self::Compact,
        Self::Power,
        Self::Mixed,
    ];

    /// As the command line names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::SlowDisk => "slow_disk",
            Self::Restart => "restart",
            Self::Membership => "membership",
            Self::Transfer => "transfer",
            Self::Compact => "compact",
            Self::Power => "power",
            Self::Mixed => "mixed",
        }
    }

    /// What it does, in a few words.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::None => "no faults",
            Self::Partition => "the network between coordinators is cut",
            Self::Kill => "SIGKILL, and a start later",
            Self::Pause => "SIGSTOP, and SIGCONT later",
            Self::Loss => "packets get lost at random (nftables)",
            Self::Delay => "packets are late (tc netem)",
            Self::Clock => "the wall clock jumps (libfaketime)",
            Self::Disk => "the disk is full",
            Self::SlowDisk => "fsync is slow or fails (strace)",
            Self::Restart => "SIGTERM and a start, one after the other",
            Self::Membership => "coordinators join and leave",
            Self::Transfer => "leadership is handed over again and again",
            Self::Compact => "checkpoints and purges all the time, with laggards and kills",
            Self::Power => "the disk's power is cut (ext4 on a loop device; root)",
            Self::Mixed => "all that this machine can do, several at once",
        }
    }

    /// Its kinds that mean something among so many coordinators; those that hit the leader first.
    pub(crate) fn kinds(self, nodes: usize) -> Vec<FaultKind> {
        fn all<T: Copy>(names: &[T], kind: impl Fn(T) -> FaultKind) -> Vec<FaultKind> {
            names.iter().map(|name| kind(*name)).collect()
        }
        match self {
            // The mixed run's kinds are those of its classes.
            Self::None | Self::Mixed => Vec::new(),
            Self::Partition => {
                // Among three, everybody's majority is everybody.
                let shapes = Shape::ALL.iter().copied();
                let fit = shapes.filter(|shape| nodes > 3 || *shape != Shape::MajorityRing);
                fit.map(FaultKind::Partition).collect()
            }
            Self::Kill => all(Target::ALL, FaultKind::Kill),
            Self::Pause => all(Target::ALL, FaultKind::Pause),
            Self::Loss => all(Rate::ALL, FaultKind::Loss),
            Self::Delay => all(Lag::ALL, FaultKind::Delay),
            Self::Clock => all(Motion::ALL, FaultKind::Clock),
            Self::Disk => all(Target::ALL, FaultKind::Disk),
            Self::SlowDisk => all(Barrier::ALL, FaultKind::SlowDisk),
            Self::Restart => all(Order::ALL, FaultKind::Restart),
            Self::Membership => all(Change::ALL, FaultKind::Membership),
            Self::Transfer => all(Storm::ALL, FaultKind::Transfer),
            Self::Compact => all(Stress::ALL, FaultKind::Compact),
            Self::Power => all(Target::ALL, FaultKind::Power),
        }
    }

    /// So many of its kinds come first, in their order: those that a run must not end without.
    pub(crate) const fn first_kinds(self) -> usize {
        match self {
            Self::None | Self::Mixed => 0,
            // The leader's place is taken, the cluster grows, it shrinks: each is something else.
            Self::Membership => 3,
            _ => 1,
        }
    }

    /// How many changes of leader a run with it, of so many seconds, must see.
    pub(crate) fn leader_changes(self, seconds: u64) -> u64 {
        match self {
            Self::None | Self::Loss | Self::Delay | Self::Clock | Self::Compact => 0,
            // Only the first of its kinds is sure to hit the leader.
            Self::Membership => 1,
            _ => (seconds / 30).max(1),
        }
    }

    /// Whether one of its faults takes long, whatever the schedule says.
    pub(crate) const fn takes_long(self) -> bool {
        matches!(self, Self::Disk | Self::SlowDisk | Self::Restart | Self::Membership | Self::Power)
    }

    /// Whether its faults must not meet this class's: at most one at a time does something to the
    /// files of coordinators, and none meets its like.
    pub(crate) fn excludes(self, other: Self) -> bool {
        let on_files = |class| {
            matches!(
                class,
                Self::Disk | Self::SlowDisk | Self::Membership | Self::Power | Self::Compact
            )
        };
        self == other || (on_files(self) && on_files(other))
    }

    /// Whether these kinds of faults, as written, are what a run with this class must meet.
    pub(crate) fn is_met_by<'a>(self, kinds: impl Iterator<Item = &'a String>) -> bool {
        let classes: std::collections::BTreeSet<&str> =
            kinds.filter_map(|kind| kind.split(':').next()).collect();
        match self {
            Self::None => true,
            Self::Mixed => classes.len() >= MIXED_MIN,
            class => classes.contains(class.name()),
        }
    }
}

impl FaultKind {
    /// Its class.
    pub(crate) const fn class(self) -> FaultClass {
        match self {
            Self::Partition(_) => FaultClass::Partition,
            Self::Kill(_) => FaultClass::Kill,
            Self::Pause(_) => FaultClass::Pause,
            Self::Loss(_) => FaultClass::Loss,
            Self::Delay(_) => FaultClass::Delay,
            Self::Clock(_) => FaultClass::Clock,
            Self::Disk(_) => FaultClass::Disk,
            Self::SlowDisk(_) => FaultClass::SlowDisk,
            Self::Restart(_) => FaultClass::Restart,
            Self::Membership(_) => FaultClass::Membership,
            Self::Transfer(_) => FaultClass::Transfer,
            Self::Compact(_) => FaultClass::Compact,
            Self::Power(_) => FaultClass::Power,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Partition(shape) => shape.name(),
            Self::Kill(target) | Self::Pause(target) | Self::Disk(target) | Self::Power(target) => {
                target.name()
            }
            Self::Loss(rate) => rate.name(),
            Self::Delay(lag) => lag.name(),
            Self::Clock(motion) => motion.name(),
            Self::SlowDisk(barrier) => barrier.name(),
            Self::Restart(order) => order.name(),
            Self::Membership(change) => change.name(),
            Self::Transfer(storm) => storm.name(),
            Self::Compact(stress) => stress.name(),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.class().name(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn names_on_the_command_line_in_histories_and_in_reports_are_the_same() {
        for class in FaultClass::ALL {
            assert_eq!(class.to_possible_value().unwrap().get_name(), class.name());
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
            for kind in class.kinds(5) {
                assert_eq!(kind.class(), class);
                let json = serde_json::to_value(kind).unwrap();
                let (outer, inner) = json.as_object().unwrap().iter().next().unwrap();
                assert_eq!(kind.to_string(), format!("{outer}:{}", inner.as_str().unwrap()));
                assert!(kind.to_string().starts_with(class.name()));
            }
        }
        assert_eq!(FaultClass::value_variants().len(), FaultClass::ALL.len());
    }

    #[test]
    fn a_mixed_run_must_meet_several_classes() {
        let kinds = ["kill:one", "kill:all", "loss:all_5"].map(String::from);
        assert!(!FaultClass::Mixed.is_met_by(kinds.iter()));
        let kinds = ["kill:one", "disk:all", "loss:all_5"].map(String::from);
        assert!(FaultClass::Mixed.is_met_by(kinds.iter()));
        assert!(FaultClass::Disk.is_met_by(kinds.iter()));
        assert!(!FaultClass::SlowDisk.is_met_by(kinds.iter()));
    }

    #[test]
    fn growth_and_shrinkage_are_among_what_comes_first() {
        for nodes in [3, 5] {
            let kinds = FaultClass::Membership.kinds(nodes);
            let first = &kinds[..FaultClass::Membership.first_kinds()];
            for change in [Change::ReplaceLeader, Change::Grow, Change::Shrink] {
                assert!(first.contains(&FaultKind::Membership(change)), "{first:?}");
            }
        }
    }

    #[test]
    fn what_works_on_files_does_not_meet() {
        assert!(FaultClass::Disk.excludes(FaultClass::Power));
        assert!(FaultClass::Kill.excludes(FaultClass::Kill));
        assert!(!FaultClass::Kill.excludes(FaultClass::Disk));
    }
}
