//! Turns the shape of a partition into the ways that it cuts.
//!
//! Owns the shapes' meaning. Must not know how a way is cut.

use quorate_core::MemberId;
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};

use super::fault::{Rate, Shape};
use crate::net::{CutSet, Host};

/// The ways that a partition of this shape cuts, and whom it hits, for people.
pub(crate) fn cut(
    shape: Shape,
    nodes: &[MemberId],
    leader: Option<MemberId>,
    rng: &mut StdRng,
) -> (CutSet, String) {
    let mut order = nodes.to_vec();
    order.shuffle(rng);
    match shape {
        Shape::Half => split(&order, order.len() / 2),
        Shape::LeaderMinority => {
            to_front(&mut order, leader);
            split(&order, order.len().saturating_sub(1).div_euclid(2).max(1))
        }
        Shape::MajorityRing => ring(&order),
        Shape::OneWay => {
            if rng.random_bool(0.5) {
                to_front(&mut order, leader);
            }
            one_way(&order, rng)
        }
        Shape::Isolated => {
            if rng.random_bool(0.5) {
                to_front(&mut order, leader);
            }
            split(&order, 1)
        }
        Shape::Bridge => bridge(&order),
        Shape::Unplugged => {
            let (mut cuts, detail) = split(&order, 1);
            for node in order.iter().take(1) {
                cuts.both_ways(Host::Node(*node), Host::Clients);
            }
            (cuts, format!("{detail} and clients"))
        }
    }
}

/// The ways on which packets get lost, how many of a hundred, and a description for people.
pub(crate) fn losses(
    rate: Rate,
    nodes: &[MemberId],
    leader: Option<MemberId>,
    rng: &mut StdRng,
) -> (CutSet, u8, String) {
    let mut order = nodes.to_vec();
    order.shuffle(rng);
    to_front(&mut order, leader);
    let percent = match rate {
        Rate::Leader30 => 30,
        Rate::All5 => 5,
        Rate::All20 => 20,
        Rate::Some60 => 60,
    };
    let ways = match rate {
        Rate::Leader30 => between(&order[..1], &order[1..]),
        Rate::All5 | Rate::All20 => mesh(&order),
        Rate::Some60 => {
            let all = mesh(&order);
            let mut some = CutSet::default();
            all.iter()
                .filter(|_| rng.random_bool(0.5))
                .for_each(|(from, to)| some.one_way(from, to));
            some
        }
    };
    let on = match rate {
        Rate::Leader30 => format!("the links of {}", names(&order[..1])),
        _ => format!("{} of {} ways", ways.len(), mesh(&order).len()),
    };
    (ways, percent, format!("{percent} % on {on}"))
}

/// Members as people read them.
pub(crate) fn names(members: &[MemberId]) -> String {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let names: Vec<String> = sorted.iter().map(ToString::to_string).collect();
    format!("{{{}}}", names.join(","))
}

fn to_front(order: &mut [MemberId], leader: Option<MemberId>) {
    if let Some(at) = leader.and_then(|leader| order.iter().position(|node| *node == leader)) {
        order.swap(0, at);
    }
}

fn split(order: &[MemberId], size: usize) -> (CutSet, String) {
    let (one, other) = order.split_at(size.min(order.len()));
    (between(one, other), format!("{} | {}", names(one), names(other)))
}

fn between(one: &[MemberId], other: &[MemberId]) -> CutSet {
    let mut cuts = CutSet::default();
    for a in one {
        for b in other {
            cuts.both_ways(Host::Node(*a), Host::Node(*b));
        }
    }
    cuts
}

/// Every way between coordinators.
fn mesh(nodes: &[MemberId]) -> CutSet {
    let mut ways = CutSet::default();
    for (at, a) in nodes.iter().enumerate() {
        for b in &nodes[at + 1..] {
            ways.both_ways(Host::Node(*a), Host::Node(*b));
        }
    }
    ways
}

/// In a circle, everybody sees just enough neighbours for a majority.
fn ring(order: &[MemberId]) -> (CutSet, String) {
    let majority = order.len() / 2 + 1;
    let reach = (majority - 1).div_ceil(2);
    let mut cuts = CutSet::default();
    for (at, a) in order.iter().enumerate() {
        for (other, b) in order.iter().enumerate().skip(at + 1) {
            let distance = (other - at).min(order.len() - (other - at));
            if distance > reach {
                cuts.both_ways(Host::Node(*a), Host::Node(*b));
            }
        }
    }
    let circle: Vec<String> = order.iter().map(ToString::to_string).collect();
    (cuts, format!("ring {}", circle.join("-")))
}

fn one_way(order: &[MemberId], rng: &mut StdRng) -> (CutSet, String) {
    let mut cuts = CutSet::default();
    let mute = rng.random_bool(0.5);
    let Some((subject, others)) = order.split_first() else { return (cuts, String::new()) };
    for other in others {
        let (from, to) = if mute { (subject, other) } else { (other, subject) };
        cuts.one_way(Host::Node(*from), Host::Node(*to));
    }
    let what = if mute { "cannot be heard" } else { "cannot hear" };
    (cuts, format!("{subject} {what}"))
}

fn bridge(order: &[MemberId]) -> (CutSet, String) {
    let Some((middle, others)) = order.split_first() else {
        return (CutSet::default(), String::new());
    };
    let (one, other) = others.split_at(others.len() / 2);
    (between(one, other), format!("{} - {middle} - {}", names(one), names(other)))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn nodes(count: u64) -> Vec<MemberId> {
        (1..=count).map(MemberId).collect()
    }

    /// How many others each node exchanges messages with in both directions.
    fn reachable(cuts: &CutSet, nodes: &[MemberId]) -> Vec<usize> {
        nodes
            .iter()
            .map(|a| {
                let sees = |b: &&MemberId| {
                    *b != a
                        && !cuts.has(Host::Node(*a), Host::Node(**b))
                        && !cuts.has(Host::Node(**b), Host::Node(*a))
                };
                nodes.iter().filter(sees).count()
            })
            .collect()
    }

    fn each_seed(check: impl Fn(&mut StdRng)) {
        for seed in 0..50 {
            check(&mut StdRng::seed_from_u64(seed));
        }
    }

    #[test]
    fn halves_are_as_equal_as_they_can_be() {
        each_seed(|rng| {
            let (cuts, _) = cut(Shape::Half, &nodes(5), None, rng);
            let mut reach = reachable(&cuts, &nodes(5));
            reach.sort_unstable();
            assert_eq!(reach, [1, 1, 2, 2, 2]);
        });
    }

    #[test]
    fn the_leader_is_left_without_a_majority() {
        each_seed(|rng| {
            for count in [3, 5, 7] {
                let all = nodes(count);
                let (cuts, _) = cut(Shape::LeaderMinority, &all, Some(MemberId(2)), rng);
                assert!(reachable(&cuts, &all)[1] < all.len() / 2, "{count}");
            }
        });
    }

    #[test]
    fn in_a_ring_everybody_sees_a_majority_and_nobody_everybody() {
        each_seed(|rng| {
            for count in [4, 5, 7, 9] {
                let all = nodes(count);
                let (cuts, _) = cut(Shape::MajorityRing, &all, None, rng);
                for reach in reachable(&cuts, &all) {
                    assert!(reach + 1 > all.len() / 2 && reach + 1 < all.len(), "{count}: {reach}");
                }
            }
        });
    }

    #[test]
    fn one_way_cuts_one_direction_only() {
        each_seed(|rng| {
            let (cuts, _) = cut(Shape::OneWay, &nodes(3), Some(MemberId(1)), rng);
            assert_eq!(cuts.len(), 2);
            for (from, to) in cuts.iter() {
                assert!(!cuts.has(to, from));
            }
        });
    }

    #[test]
    fn a_bridge_joins_two_groups() {
        each_seed(|rng| {
            let (cuts, _) = cut(Shape::Bridge, &nodes(5), None, rng);
            let mut reach = reachable(&cuts, &nodes(5));
            reach.sort_unstable();
            assert_eq!(reach, [2, 2, 2, 2, 4]);
        });
    }

    #[test]
    fn losses_hit_the_ways_that_their_name_says() {
        each_seed(|rng| {
            let (ways, percent, _) = losses(Rate::Leader30, &nodes(5), Some(MemberId(3)), rng);
            assert_eq!((ways.len(), percent), (8, 30));
            let leads = |host| host == Host::Node(MemberId(3));
            assert!(ways.iter().all(|(from, to)| leads(from) != leads(to)));
            let (ways, percent, text) = losses(Rate::All20, &nodes(5), None, rng);
            assert_eq!((ways.len(), percent, text.as_str()), (20, 20, "20 % on 20 of 20 ways"));
            let (ways, ..) = losses(Rate::Some60, &nodes(5), None, rng);
            assert!((1..20).contains(&ways.len()), "{}", ways.len());
        });
    }

    #[test]
    fn isolated_keeps_its_clients_and_unplugged_does_not() {
        each_seed(|rng| {
            let (cuts, _) = cut(Shape::Isolated, &nodes(3), None, rng);
            assert!(!cuts.iter().any(|(from, to)| Host::Clients == from || Host::Clients == to));
            let (cuts, _) = cut(Shape::Unplugged, &nodes(3), None, rng);
            let with_clients =
                cuts.iter().filter(|(from, to)| Host::Clients == *from || Host::Clients == *to);
            assert_eq!(with_clients.count(), 2);
        });
    }
}
