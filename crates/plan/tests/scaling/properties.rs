//! Rules that hold for every network, policy and course of observations.

use proptest::prelude::*;
use quorate_core::NetworkSpec;
use quorate_plan::{
    Cycles, FlowCounts, NetworkView, Observation, ObservedProcess, ScaleHistory, ScalePolicy,
    ScaleRequest, ScaleRule, UpLimit, scale,
};

use crate::support::{network, seen};

/// What happens to one process in one round.
#[derive(Debug, Clone)]
struct Event {
    wait_ms: u64,
    load_ppm: Option<u64>,
    /// Someone else changes what runs.
    parallelism: Option<u32>,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let load = prop::option::weighted(0.9, prop_oneof![0..2_000_000_u64, Just(0), any::<u64>()]);
    let parallelism = prop::option::weighted(0.1, 1..200_u32);
    let event = (0..40_000_u64, load, parallelism)
        .prop_map(|(wait_ms, load_ppm, parallelism)| Event { wait_ms, load_ppm, parallelism });
    prop::collection::vec(event, 1..60)
}

fn policies() -> impl Strategy<Value = ScalePolicy> {
    let up = (1..4_u32, 1..9_u32, 1..60_000_u64).prop_map(|(times, plus, period_ms)| UpLimit {
        times,
        plus,
        period_ms,
    });
    let rule = prop_oneof![
        Just(ScaleRule::Load),
        Just(ScaleRule::TrueRate { cycles: Cycles::Condense }),
        Just(ScaleRule::TrueRate { cycles: Cycles::FallBack }),
    ];
    let times = (1..60_000_u64, prop_oneof![Just(0), 1..400_000_u64]);
    (1..=1_000_000_u32, rule, 0..1_000_000_u32, times, prop::option::of(up)).prop_map(
        |(target_ppm, rule, tolerance_ppm, (window_ms, down_stabilisation_ms), up_limit)| {
            ScalePolicy {
                target_ppm,
                window_ms,
                rule,
                tolerance_ppm,
                down_stabilisation_ms,
                up_limit,
            }
        },
    )
}

/// What one round was, and what came of it.
#[derive(Debug)]
struct Round {
    time_ms: u64,
    parallelism: u32,
    recommended: Option<u32>,
    wanted: u32,
}

/// Lets one process, between 2 and 150 instances, go through the events.
fn course(policy: &ScalePolicy, events: &[Event]) -> Vec<Round> {
    let spec = network("a:2..150");
    let view = NetworkView::new(&spec).unwrap();
    let (mut history, mut parallelism, mut time_ms) = (ScaleHistory::default(), 10, 0);
    let mut rounds = Vec::new();
    for event in events {
        time_ms += event.wait_ms;
        parallelism = event.parallelism.unwrap_or(parallelism);
        let observed = match event.load_ppm {
            Some(load_ppm) => seen(time_ms, parallelism, load_ppm),
            None => ObservedProcess { parallelism, series: Vec::new() },
        };
        let observed = [observed];
        let request = ScaleRequest {
            view: &view,
            observed: &observed,
            policy,
            history: &history,
            now_ms: time_ms,
        };
        let scaling = scale(&request).unwrap();
        assert_eq!(scaling, scale(&request).unwrap(), "equal requests, equal answers");
        let decision = &scaling.decisions[0];
        let (recommended, wanted) = (event.load_ppm.map(|_| decision.recommended), decision.wanted);
        rounds.push(Round { time_ms, parallelism, recommended, wanted });
        (history, parallelism) = (scaling.history, wanted);
    }
    rounds
}

proptest! {
    #[test]
    fn bounds_are_kept(policy in policies(), events in events()) {
        for round in course(&policy, &events) {
            prop_assert!((2..=150).contains(&round.wanted), "{round:?}");
        }
    }

    #[test]
    fn nothing_goes_below_what_was_recommended_within_the_stabilisation(
        policy in policies(), events in events(),
    ) {
        let rounds = course(&policy, &events);
        for (at, round) in rounds.iter().enumerate() {
            let is_recent = |past: &&Round| {
                round.time_ms - past.time_ms < policy.down_stabilisation_ms
            };
            let recent = rounds[..=at].iter().filter(is_recent);
            let highest = recent.filter_map(|past| past.recommended).max().unwrap_or(0);
            let kept = highest.min(round.parallelism).clamp(2, 150);
            prop_assert!(round.wanted >= kept, "{round:?} with {highest} recommended");
        }
    }

    #[test]
    fn the_up_limit_is_kept(policy in policies(), events in events()) {
        let Some(up) = policy.up_limit else { return Ok(()) };
        let rounds = course(&policy, &events);
        for (at, round) in rounds.iter().enumerate() {
            let is_recent = |past: &&Round| round.time_ms - past.time_ms < up.period_ms;
            let recent = rounds[..=at].iter().filter(is_recent);
            let lowest = recent.map(|past| past.parallelism).min().unwrap();
            let most = (lowest * up.times).max(lowest + up.plus).max(round.parallelism);
            prop_assert!(round.wanted <= most.max(2), "{round:?} from {lowest}");
        }
    }

    #[test]
    fn without_options_the_rule_is_followed(events in events()) {
        let policy = ScalePolicy::rule_only();
        for (round, event) in course(&policy, &events).iter().zip(&events) {
            let now = u128::from(round.parallelism);
            let load = event.load_ppm.map_or(500_000, u128::from);
            let expected = match load {
                0..350_000 => now / 2,
                700_001.. => (now * load).div_ceil(700_000),
                _ => now,
            };
            prop_assert_eq!(u128::from(round.wanted), expected.clamp(2, 150));
        }
    }
}

fn extreme() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..1_000_000_u64, any::<u64>()]
}

/// A process with up to 3 observations, most of which make sense.
fn hostile(edges: usize) -> impl Strategy<Value = ObservedProcess> {
    let flow = (prop::array::uniform4(extreme()), prop::collection::vec(extreme(), edges));
    let flow = flow.prop_map(|([interval_ms, processed, busy_us, arrived], sent)| FlowCounts {
        interval_ms,
        processed,
        busy_us,
        arrived,
        sent,
    });
    let parallelism = prop_oneof![Just(1), Just(u32::MAX), 0..9_u32];
    let one = (0..9_u64, extreme(), prop::option::of(flow));
    (parallelism, prop::collection::vec(one, 0..3)).prop_map(|(parallelism, mut series)| {
        series.sort_by_key(|one| one.0);
        let series = series.into_iter().map(|(time_ms, load_ppm, flow)| Observation {
            time_ms,
            parallelism,
            load_ppm,
            flow,
        });
        ObservedProcess { parallelism, series: series.collect() }
    })
}

/// A network with any edges, and what was seen of it.
fn hostile_networks() -> impl Strategy<Value = (NetworkSpec, Vec<ObservedProcess>)> {
    let edges =
        (1..8_usize).prop_flat_map(|n| (Just(n), prop::collection::btree_set((0..n, 0..n), 0..20)));
    edges.prop_flat_map(|(n, edges)| {
        let mut text: String = (0..n).map(|at| format!("p{at}:1..4294967295 ")).collect();
        text.extend(edges.iter().map(|(from, to)| format!("p{from}->p{to} ")));
        let leaving = |at| edges.iter().filter(|(from, _)| *from == at).count();
        let observed: Vec<_> = (0..n).map(|at| hostile(leaving(at))).collect();
        (Just(network(&text)), observed)
    })
}

proptest! {
    #[test]
    fn hostile_input_is_refused_or_scaled(
        (spec, observed) in hostile_networks(),
        policy in policies(),
        numbers in prop::array::uniform4(extreme()),
        narrow in any::<[u32; 4]>(),
        wild in any::<bool>(),
    ) {
        let mut policy = policy;
        if wild {
            let [target_ppm, tolerance_ppm, times, plus] = narrow;
            let [window_ms, down_stabilisation_ms, period_ms, _] = numbers;
            let up_limit = Some(UpLimit { times, plus, period_ms });
            let rule = policy.rule;
            policy = ScalePolicy {
                target_ppm, window_ms, rule, tolerance_ppm, down_stabilisation_ms, up_limit,
            };
        }
        let view = NetworkView::new(&spec).unwrap();
        let mut history = ScaleHistory::default();
        for now_ms in [9, numbers[3]] {
            let observed = observed.as_slice();
            let request =
                ScaleRequest { view: &view, observed, policy: &policy, history: &history, now_ms };
            let Ok(scaling) = scale(&request) else { continue };
            prop_assert_eq!(scaling.decisions.len(), spec.processes.len());
            prop_assert!(scaling.decisions.iter().all(|decision| decision.wanted >= 1));
            let text: Vec<_> = scaling.decisions.iter().map(ToString::to_string).collect();
            prop_assert!(text.iter().all(|line| !line.is_empty()));
            history = scaling.history;
        }
    }
}
