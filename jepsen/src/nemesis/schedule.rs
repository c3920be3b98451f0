//! Decides which fault comes when, and whom it hits.
//!
//! Owns the seeded choice. Classes take turns, and within a class every kind comes once before any
//! comes again, the first being one that hits the leader; so a short run meets each class. Must not
//! know how a fault is made.

use std::{collections::VecDeque, ops::Range, time::Duration};

use quorate_core::MemberId;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    fault::{FaultClass, FaultKind, Target},
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
    /// Which ways through the network are cut.
    pub(crate) cuts: CutSet,
    /// Who is killed.
    pub(crate) kill: Vec<MemberId>,
    /// Who is paused.
    pub(crate) pause: Vec<MemberId>,
    /// How long it stays.
    pub(crate) stays: Duration,
}

/// The schedule of one run.
pub(crate) struct Schedule {
    rng: StdRng,
    nodes: Vec<MemberId>,
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

impl Schedule {
    /// A schedule for a run of such a length; equal seeds give equal choices.
    pub(crate) fn new(
        seed: u64,
        nodes: Vec<MemberId>,
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
            decks: classes.iter().map(deck).collect(),
            turn: 0,
            pace,
        }
    }

    /// How long nothing happens before the next fault.
    pub(crate) fn calm(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(self.pace.calm_ms.clone()))
    }

    /// The next fault, given who leads now; none: the run has no faults.
    pub(crate) fn next(&mut self, leader: Option<MemberId>) -> Option<Injection> {
        let kind = self.next_kind()?;
        let stays = Duration::from_millis(self.rng.random_range(self.pace.fault_ms.clone()));
        let mut injection = Injection {
            kind,
            detail: String::new(),
            cuts: CutSet::default(),
            kill: Vec::new(),
            pause: Vec::new(),
            stays,
        };
        match kind {
            FaultKind::Partition(shape) => {
                let cut = topology::cut(shape, &self.nodes, leader, &mut self.rng);
                (injection.cuts, injection.detail) = cut;
            }
            FaultKind::Kill(target) => {
                injection.kill = self.pick(target, leader);
                injection.detail = topology::names(&injection.kill);
            }
            FaultKind::Pause(target) => {
                injection.pause = self.pick(target, leader);
                injection.detail = topology::names(&injection.pause);
            }
        }
        Some(injection)
    }

    fn next_kind(&mut self) -> Option<FaultKind> {
        let nodes = self.nodes.len();
        let turn = self.turn;
        self.turn = (turn + 1) % self.decks.len().max(1);
        let deck = self.decks.get_mut(turn)?;
        if deck.cards.is_empty() {
            let mut kinds = deck.class.kinds(nodes);
            let fixed = usize::from(!deck.dealt);
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
        Schedule::new(seed, nodes, classes, Duration::from_secs(60))
    }

    fn play(schedule: &mut Schedule, count: usize) -> Vec<Injection> {
        (0..count).filter_map(|_| schedule.next(Some(MemberId(2)))).collect()
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
        assert_eq!(faults[1].kill, [MemberId(2)]);
    }

    #[test]
    fn every_kind_comes_once_before_any_comes_again() {
        for nodes in [3, 5] {
            let classes = FaultClass::ALL;
            let kinds: usize = classes.iter().map(|class| class.kinds(5).len()).sum();
            let faults = play(&mut schedule(3, nodes, &classes), 3 * kinds);
            for class in classes {
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
    fn targets_have_their_size() {
        let faults = play(&mut schedule(1, 5, &[FaultClass::Pause]), 4);
        for fault in faults {
            let expected = match fault.kind {
                FaultKind::Pause(Target::Majority) => 3,
                FaultKind::Pause(Target::All) => 5,
                _ => 1,
            };
            assert_eq!(fault.pause.len(), expected, "{}", fault.kind);
        }
    }

    #[test]
    fn without_classes_there_are_no_faults() {
        assert_eq!(schedule(1, 3, &[]).next(None), None);
    }
}
