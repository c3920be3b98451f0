//! Decides which fault comes when, and whom it hits.
//!
//! Owns the seeded choice. Classes take turns, and within a class every kind comes once before any
//! comes again, the first being one that hits the leader; so a short run meets each class. What a
//! run must not end without comes before the rest. Must not know how a fault is made.

use std::{collections::VecDeque, ops::Range, time::Duration};

use quorate_core::MemberId;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    fault::{Barrier, Change, FaultClass, FaultKind, Lag, Motion, Order, Storm, Stress, Target},
    topology,
};
use crate::net::CutSet;

/// What to do to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Injection {
    /// The kind of fault.
    pub(crate) kind: FaultKind,
    /// Whom it hits, for people.
    pub(crate) detail: String,
    /// Whom it hits.
    pub(crate) nodes: Vec<MemberId>,
    /// What is done to them.
    pub(crate) effect: Effect,
    /// How long it stays.
    pub(crate) stays: Duration,
}

impl Injection {
    /// All hosts that it concerns: those that it hits, and those on which somebody comes.
    pub(crate) fn hosts(&self) -> Vec<MemberId> {
        let come: &[MemberId] = match &self.effect {
            Effect::Members(spare) => spare,
            _ => &[],
        };
        self.nodes.iter().chain(come).copied().collect()
    }
}

/// What is done to the nodes of an injection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// These ways through the network are cut.
    Cut(CutSet),
    /// On these ways so many of a hundred packets get lost.
    Lose {
        /// The ways.
        ways: CutSet,
        /// How many.
        percent: u8,
    },
    /// What they send is late.
    Delay {
        /// By how much.
        by: Duration,
        /// Give or take.
        jitter: Duration,
    },
    /// They are killed, and started when it is over.
    Kill,
    /// They are stopped in their tracks.
    Pause,
    /// Their wall clocks jump by so many seconds.
    Step(i64),
    /// Their wall clocks jump to and fro by so many seconds.
    Strobe(i64),
    /// Their disks are full.
    Fill,
    /// Their barriers take so long.
    SlowBarriers(Duration),
    /// Their barriers fail.
    FailingBarriers,
    /// They are restarted in good order, in this order.
    Restart,
    /// Whoever leads is restarted, as often as there are nodes.
    RestartLeaders,
    /// These are the spare hosts whose coordinators are members, and the nodes are none.
    Members(Vec<MemberId>),
    /// Leadership goes from node to node, in this order and so often a second.
    Transfer,
    /// They are killed and started at once, again and again.
    KillAndStart,
    /// The power of their disks is cut, and they die with it.
    CutPower,
}

/// The schedule of one run.
pub(crate) struct Schedule {
    rng: StdRng,
    nodes: Vec<MemberId>,
    spare: Option<MemberId>,
    decks: Vec<Deck>,
    turn: usize,
    pace: Pace,
}

struct Deck {
    class: FaultClass,
    cards: VecDeque<FaultKind>,
    dealt: bool,
}

/// How long faults and the calm between them last, in milliseconds.
struct Pace {
    calm_ms: Range<u64>,
    fault_ms: Range<u64>,
}

/// Runs shorter than this get shorter faults, so that they meet several.
const SHORT_RUN: Duration = Duration::from_secs(40);

/// The longest way that a clock is put forward or back, in seconds: a day.
const STEP_SECONDS_MAX: i64 = 86_400;

impl Schedule {
    /// A schedule for a run of such a length; equal seeds give equal choices.
    pub(crate) fn new(
        seed: u64,
        nodes: Vec<MemberId>,
        spare: Option<MemberId>,
        classes: &[FaultClass],
        length: Duration,
    ) -> Self {
        let pace = if length < SHORT_RUN {
            Pace { calm_ms: 1_000..2_000, fault_ms: 1_500..3_000 }
        } else {
            Pace { calm_ms: 1_500..3_500, fault_ms: 2_500..6_000 }
        };
        let deck =
            |class: &FaultClass| Deck { class: *class, cards: VecDeque::new(), dealt: false };
        Self {
            rng: StdRng::seed_from_u64(seed),
            nodes,
            spare,
            decks: classes.iter().map(deck).collect(),
            turn: 0,
            pace,
        }
    }

    /// How long nothing happens before the next fault.
    pub(crate) fn calm(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(self.pace.calm_ms.clone()))
    }

    /// The next fault of a class that does not exclude one of those at work, given who leads now;
    /// none: there is no such class.
    pub(crate) fn next(
        &mut self,
        leader: Option<MemberId>,
        at_work: &[FaultClass],
    ) -> Option<Injection> {
        let kind = self.next_kind(at_work)?;
        let stays = Duration::from_millis(self.rng.random_range(self.pace.fault_ms.clone()));
        let (effect, nodes, detail) = self.effect(kind, leader);
        let detail = detail.unwrap_or_else(|| topology::names(&nodes));
        Some(Injection { kind, detail, nodes, effect, stays })
    }

    /// What a kind of fault does, to whom, and a description if there is more to say than that.
    fn effect(
        &mut self,
        kind: FaultKind,
        leader: Option<MemberId>,
    ) -> (Effect, Vec<MemberId>, Option<String>) {
        match kind {
            FaultKind::Partition(shape) => {
                let (cuts, detail) = topology::cut(shape, &self.nodes, leader, &mut self.rng);
                let nodes = cuts.nodes();
                (Effect::Cut(cuts), nodes, Some(detail))
            }
            FaultKind::Loss(rate) => {
                let (ways, percent, detail) =
                    topology::losses(rate, &self.nodes, leader, &mut self.rng);
                let nodes = ways.nodes();
                (Effect::Lose { ways, percent }, nodes, Some(detail))
            }
            FaultKind::Kill(target) => (Effect::Kill, self.pick(target, leader), None),
            FaultKind::Pause(target) => (Effect::Pause, self.pick(target, leader), None),
            FaultKind::Disk(target) => (Effect::Fill, self.pick(target, leader), None),
            FaultKind::Power(target) => (Effect::CutPower, self.pick(target, leader), None),
            FaultKind::Delay(lag) => self.delay(lag, leader),
            FaultKind::Clock(motion) => self.clock(motion, leader),
            FaultKind::SlowDisk(barrier) => self.barriers(barrier, leader),
            FaultKind::Restart(Order::Leaders) => {
                (Effect::RestartLeaders, self.nodes.clone(), Some("whoever leads".to_owned()))
            }
            FaultKind::Restart(Order::Rolling) => self.in_order(Effect::Restart, self.nodes.len()),
            FaultKind::Membership(change) => self.members(change, leader),
            FaultKind::Transfer(storm) => self.transfer(storm, leader),
            FaultKind::Compact(Stress::LagLeader) => {
                (Effect::Pause, self.pick(Target::Leader, leader), None)
            }
            FaultKind::Compact(Stress::LagOne) => {
                (Effect::Pause, self.pick(Target::One, leader), None)
            }
            FaultKind::Compact(Stress::KillOne) => {
                (Effect::KillAndStart, self.pick(Target::One, leader), None)
            }
            FaultKind::Compact(Stress::KillAll) => {
                (Effect::KillAndStart, self.pick(Target::All, leader), None)
            }
        }
    }

    fn delay(
        &mut self,
        lag: Lag,
        leader: Option<MemberId>,
    ) -> (Effect, Vec<MemberId>, Option<String>) {
        let (target, by, jitter) = match lag {
            Lag::Leader => (Target::Leader, 100, 0),
            Lag::All => (Target::All, 30, 0),
            Lag::Jitter => (Target::All, 50, 50),
        };
        let nodes = self.pick(target, leader);
        let detail = format!("{by} ms give or take {jitter} from {}", topology::names(&nodes));
        let (by, jitter) = (Duration::from_millis(by), Duration::from_millis(jitter));
        (Effect::Delay { by, jitter }, nodes, Some(detail))
    }

    fn clock(
        &mut self,
        motion: Motion,
        leader: Option<MemberId>,
    ) -> (Effect, Vec<MemberId>, Option<String>) {
        let nodes = match motion {
            Motion::LeaderStep => self.pick(Target::Leader, leader),
            Motion::Forward | Motion::Back | Motion::Strobe => {
                let mut some = self.pick(Target::All, leader);
                some.shuffle(&mut self.rng);
                some.truncate(self.rng.random_range(1..=some.len().max(1)));
                some.sort_unstable();
                some
            }
        };
        let seconds = match motion {
            Motion::LeaderStep => self.rng.random_range(-3_600..=3_600),
            Motion::Forward => self.rng.random_range(1..=STEP_SECONDS_MAX),
            Motion::Back => -self.rng.random_range(1..=STEP_SECONDS_MAX),
            Motion::Strobe => self.rng.random_range(1..=120),
        };
        let names = topology::names(&nodes);
        match motion {
            Motion::Strobe => {
                let detail = format!("{names} to and fro by {seconds} s");
                (Effect::Strobe(seconds), nodes, Some(detail))
            }
            _ => (Effect::Step(seconds), nodes, Some(format!("{names} by {seconds:+} s"))),
        }
    }

    fn barriers(
        &mut self,
        barrier: Barrier,
        leader: Option<MemberId>,
    ) -> (Effect, Vec<MemberId>, Option<String>) {
        let slow = |ms| Effect::SlowBarriers(Duration::from_millis(ms));
        let (target, effect) = match barrier {
            Barrier::SlowLeader => (Target::Leader, slow(300)),
            Barrier::SlowMajority => (Target::Majority, slow(100)),
            Barrier::FailLeader => (Target::Leader, Effect::FailingBarriers),
            Barrier::FailOne => (Target::One, Effect::FailingBarriers),
            Barrier::FailMajority => (Target::Majority, Effect::FailingBarriers),
        };
        (effect, self.pick(target, leader), None)
    }

    fn members(
        &mut self,
        change: Change,
        leader: Option<MemberId>,
    ) -> (Effect, Vec<MemberId>, Option<String>) {
        let spare: Vec<MemberId> = self.spare.into_iter().collect();
        let come = topology::names(&spare);
        match change {
            Change::Grow => (Effect::Members(spare), Vec::new(), Some(format!("{come} comes"))),
            Change::Shrink => {
                let gone = self.pick(Target::One, leader);
                let detail = format!("{} goes", topology::names(&gone));
                (Effect::Members(Vec::new()), gone, Some(detail))
            }
            Change::Replace | Change::ReplaceLeader => {
                let target = if change == Change::Replace { Target::One } else { Target::Leader };
                let gone = self.pick(target, leader);
                let detail = format!("{come} comes, {} goes", topology::names(&gone));
                (Effect::Members(spare), gone, Some(detail))
            }
        }
    }

    fn transfer(
        &mut self,
        storm: Storm,
        leader: Option<MemberId>,
    ) -> (Effect, Vec<MemberId>, Option<String>) {
        let count = if storm == Storm::PingPong { 2 } else { self.nodes.len() };
        let (effect, mut nodes, _) = self.in_order(Effect::Transfer, count);
        if storm == Storm::PingPong && leader.is_some_and(|leader| !nodes.contains(&leader)) {
            nodes.splice(0..1, leader);
        }
        let detail = format!("among {}", topology::names(&nodes));
        (effect, nodes, Some(detail))
    }

    fn in_order(
        &mut self,
        effect: Effect,
        count: usize,
    ) -> (Effect, Vec<MemberId>, Option<String>) {
        let mut nodes = self.nodes.clone();
        nodes.shuffle(&mut self.rng);
        nodes.truncate(count);
        let order: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        (effect, nodes, Some(order.join(", then ")))
    }

    fn next_kind(&mut self, at_work: &[FaultClass]) -> Option<FaultKind> {
        let nodes = self.nodes.len();
        let turns = self.decks.len();
        let fits = |at: &usize| {
            let class = self.decks[*at].class;
            !at_work.iter().any(|other| class.excludes(*other))
        };
        let turn = (0..turns).map(|step| (self.turn + step) % turns).find(fits)?;
        self.turn = (turn + 1) % turns;
        let deck = self.decks.get_mut(turn)?;
        if deck.cards.is_empty() {
            let mut kinds = deck.class.kinds(nodes);
            let fixed = if deck.dealt { 0 } else { deck.class.first_kinds().min(kinds.len()) };
            kinds[fixed..].shuffle(&mut self.rng);
            deck.cards = kinds.into();
            deck.dealt = true;
        }
        deck.cards.pop_front()
    }

    fn pick(&mut self, target: Target, leader: Option<MemberId>) -> Vec<MemberId> {
        let mut nodes = self.nodes.clone();
        nodes.shuffle(&mut self.rng);
        let count = match target {
            Target::Leader => {
                let first = leader.and_then(|leader| nodes.iter().position(|node| *node == leader));
                nodes.swap(0, first.unwrap_or(0));
                1
            }
            Target::One => 1,
            Target::Majority => nodes.len() / 2 + 1,
            Target::All => nodes.len(),
        };
        nodes.truncate(count);
        nodes.sort_unstable();
        nodes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn schedule(seed: u64, nodes: u64, classes: &[FaultClass]) -> Schedule {
        let nodes = (1..=nodes).map(MemberId).collect();
        let spare = Some(MemberId(9));
        Schedule::new(seed, nodes, spare, classes, Duration::from_secs(60))
    }

    fn play(schedule: &mut Schedule, count: usize) -> Vec<Injection> {
        (0..count).filter_map(|_| schedule.next(Some(MemberId(2)), &[])).collect()
    }

    fn real_classes() -> Vec<FaultClass> {
        FaultClass::ALL.into_iter().filter(|class| !class.kinds(5).is_empty()).collect()
    }

    /// The first fault of this kind.
    fn met(kind: FaultKind) -> Injection {
        let mut schedule = schedule(5, 5, &[kind.class()]);
        play(&mut schedule, 20).into_iter().find(|fault| fault.kind == kind).unwrap()
    }

    #[test]
    fn equal_seeds_give_equal_faults() {
        let classes = [FaultClass::Partition, FaultClass::Kill];
        let one = play(&mut schedule(7, 5, &classes), 40);
        assert_eq!(one, play(&mut schedule(7, 5, &classes), 40));
        assert_ne!(one, play(&mut schedule(8, 5, &classes), 40));
    }

    #[test]
    fn classes_take_turns_and_begin_with_the_leader() {
        let faults = play(&mut schedule(1, 5, &[FaultClass::Partition, FaultClass::Kill]), 4);
        let names: Vec<String> = faults.iter().map(|fault| fault.kind.to_string()).collect();
        assert_eq!(names[0], "partition:leader_minority");
        assert_eq!(names[1], "kill:leader");
        assert!(names[2].starts_with("partition:"));
        assert!(names[3].starts_with("kill:"));
        assert_eq!(
            (&faults[1].effect, faults[1].nodes.as_slice()),
            (&Effect::Kill, &[MemberId(2)][..])
        );
    }

    #[test]
    fn every_kind_comes_once_before_any_comes_again() {
        for nodes in [3, 5] {
            let classes = real_classes();
            let kinds: usize = classes.iter().map(|class| class.kinds(5).len()).sum();
            let faults = play(&mut schedule(3, nodes, &classes), 7 * kinds);
            for class in &classes {
                let expected = class.kinds(usize::try_from(nodes).unwrap());
                let met: BTreeSet<FaultKind> = faults
                    .iter()
                    .map(|fault| fault.kind)
                    .filter(|kind| expected.contains(kind))
                    .take(expected.len())
                    .collect();
                assert_eq!(met.len(), expected.len(), "{}", class.name());
            }
        }
    }

    #[test]
    fn a_cluster_grows_and_shrinks_before_anything_comes_again() {
        for (seed, nodes) in (0..40).flat_map(|seed| [(seed, 3), (seed, 5)]) {
            let faults = play(&mut schedule(seed, nodes, &[FaultClass::Membership]), 3);
            let kinds: Vec<String> = faults.iter().map(|fault| fault.kind.to_string()).collect();
            let expected = ["membership:replace_leader", "membership:grow", "membership:shrink"];
            assert_eq!(kinds, expected, "{nodes} nodes, seed {seed}");
        }
    }

    #[test]
    fn targets_have_their_size() {
        let faults = play(&mut schedule(1, 5, &[FaultClass::Pause]), 4);
        for fault in faults {
            let expected = match fault.kind {
                FaultKind::Pause(Target::Majority) => 3,
                FaultKind::Pause(Target::All) => 5,
                _ => 1,
            };
            assert_eq!(fault.nodes.len(), expected, "{}", fault.kind);
        }
    }

    #[test]
    fn without_classes_there_are_no_faults() {
        assert_eq!(schedule(1, 3, &[]).next(None, &[]), None);
    }

    #[test]
    fn every_first_fault_of_a_class_that_can_hits_the_leader() {
        for class in real_classes() {
            let fault = &play(&mut schedule(4, 5, &[class]), 1)[0];
            assert!(fault.nodes.contains(&MemberId(2)), "{}: {}", fault.kind, fault.detail);
            assert!(!fault.detail.is_empty(), "{}", fault.kind);
        }
    }

    #[test]
    fn what_excludes_each_other_does_not_meet() {
        let mut schedule = schedule(1, 5, &[FaultClass::Disk, FaultClass::Power, FaultClass::Kill]);
        for _ in 0..20 {
            let fault = schedule.next(None, &[FaultClass::Disk]).unwrap();
            assert_eq!(fault.kind.class(), FaultClass::Kill);
        }
        assert_eq!(schedule.next(None, &[FaultClass::Disk, FaultClass::Kill]), None);
    }

    #[test]
    fn clocks_move_the_way_that_their_name_says() {
        let moved = |motion| met(FaultKind::Clock(motion)).effect;
        assert!(matches!(moved(Motion::Forward), Effect::Step(by) if by > 0));
        assert!(matches!(moved(Motion::Back), Effect::Step(by) if by < 0));
        assert!(matches!(moved(Motion::Strobe), Effect::Strobe(by) if by > 0));
        let step = met(FaultKind::Clock(Motion::LeaderStep));
        assert_eq!(step.nodes, [MemberId(2)]);
    }

    #[test]
    fn barriers_fail_or_are_slow_for_as_many_as_their_name_says() {
        let hit = |barrier| {
            let fault = met(FaultKind::SlowDisk(barrier));
            (fault.effect, fault.nodes.len())
        };
        let slow = |ms| Effect::SlowBarriers(Duration::from_millis(ms));
        assert_eq!(hit(Barrier::SlowLeader), (slow(300), 1));
        assert_eq!(hit(Barrier::SlowMajority), (slow(100), 3));
        assert_eq!(hit(Barrier::FailLeader), (Effect::FailingBarriers, 1));
        assert_eq!(hit(Barrier::FailOne), (Effect::FailingBarriers, 1));
        assert_eq!(hit(Barrier::FailMajority), (Effect::FailingBarriers, 3));
    }

    #[test]
    fn members_come_from_the_spare_host_and_go_one_at_a_time() {
        let changed = |change| {
            let fault = met(FaultKind::Membership(change));
            (fault.effect, fault.nodes.len())
        };
        let come = |hosts: &[u64]| Effect::Members(hosts.iter().copied().map(MemberId).collect());
        assert_eq!(changed(Change::Grow), (come(&[9]), 0));
        assert_eq!(changed(Change::Shrink), (come(&[]), 1));
        assert_eq!(changed(Change::Replace), (come(&[9]), 1));
        assert_eq!(met(FaultKind::Membership(Change::Grow)).hosts(), [MemberId(9)]);
        assert_eq!(met(FaultKind::Membership(Change::Replace)).hosts().len(), 2);
        assert_eq!(met(FaultKind::Membership(Change::ReplaceLeader)).nodes, [MemberId(2)]);
    }

    #[test]
    fn everybody_is_restarted_once_and_leadership_plays_between_two() {
        let mut rolling = met(FaultKind::Restart(Order::Rolling)).nodes;
        rolling.sort_unstable();
        assert_eq!(rolling, (1..=5).map(MemberId).collect::<Vec<_>>());
        let two = met(FaultKind::Transfer(Storm::PingPong)).nodes;
        assert!(two.len() == 2 && two.contains(&MemberId(2)) && two[0] != two[1], "{two:?}");
        assert_eq!(met(FaultKind::Transfer(Storm::Random)).nodes.len(), 5);
    }

    #[test]
    fn what_is_full_cut_off_late_or_under_stress_has_its_size() {
        let size = |kind| met(kind).nodes.len();
        assert_eq!(size(FaultKind::Disk(Target::Majority)), 3);
        assert_eq!(size(FaultKind::Power(Target::All)), 5);
        assert_eq!(size(FaultKind::Delay(Lag::Leader)), 1);
        assert_eq!(size(FaultKind::Delay(Lag::Jitter)), 5);
        assert_eq!(size(FaultKind::Compact(Stress::LagOne)), 1);
        assert_eq!(size(FaultKind::Compact(Stress::KillAll)), 5);
    }
}
