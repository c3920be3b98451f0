//! What cannot be scaled is refused in words, and what is too large saturates.

use quorate_plan::{
    Cycles, FlowCounts, InvalidScalePolicy, Observation, ObservedProcess, ScaleError, ScaleHistory,
    ScalePolicy, ScaleRule, UpLimit,
};

use crate::support::{flowing, network, round, seen};

fn refusal(network_text: &str, policy: ScalePolicy, observed: &[ObservedProcess]) -> String {
    let spec = network(network_text);
    round(&spec, &policy, &ScaleHistory::default(), 100, observed).unwrap_err().to_string()
}

#[test]
fn a_policy_names_the_field_that_breaks_a_rule() {
    let rule = ScalePolicy::rule_only();
    let up = |times, plus, period_ms| ScalePolicy {
        up_limit: Some(UpLimit { times, plus, period_ms }),
        ..ScalePolicy::default()
    };
    let cases = [
        (ScalePolicy { target_ppm: 0, ..rule }, "target_ppm must be from 1 to 1000000"),
        (ScalePolicy { target_ppm: 1_000_001, ..rule }, "target_ppm must be from 1 to 1000000"),
        (ScalePolicy { window_ms: 0, ..rule }, "window_ms must be at least 1"),
        (
            ScalePolicy { tolerance_ppm: 1_000_000, ..rule },
            "tolerance_ppm must be less than 1000000",
        ),
        (up(0, 4, 1), "up_limit.times must be at least 1"),
        (up(1, 0, 1), "up_limit.times must be at least 2 when up_limit.plus is 0"),
        (up(2, 4, 0), "up_limit.period_ms must be at least 1"),
    ];
    for (policy, expected) in cases {
        assert_eq!(policy.check().unwrap_err().to_string(), expected);
        let refused = refusal("a:1..9", policy, &[seen(1, 1, 1)]);
        assert_eq!(refused, format!("scaling policy: {expected}"));
    }
    assert_eq!(rule.check(), Ok(()));
    assert_eq!(ScalePolicy::default().check(), Ok(()));
    assert_eq!(up(1, 1, 1).check(), Ok(()));
    let error = InvalidScalePolicy { field: "target_ppm", rule: "from 1 to 1000000" };
    assert_eq!(ScaleError::from(error), ScaleError::Policy(error));
}

#[test]
fn what_was_observed_must_fit_the_network() {
    let rule = ScalePolicy::rule_only();
    assert_eq!(
        refusal("a:1..9 b:1..9", rule, &[seen(1, 1, 1)]),
        "1 observed processes were given for 2 processes"
    );
    assert_eq!(refusal("a:1..9", rule, &[seen(1, 0, 1)]), "process a has no instances");
    assert_eq!(
        refusal("a:0..9", rule, &[seen(1, 1, 1)]),
        "process a: parallelism from 0 to 9 is not 1 <= min <= max"
    );
    assert_eq!(
        refusal("a:9..1", rule, &[seen(1, 1, 1)]),
        "process a: parallelism from 9 to 1 is not 1 <= min <= max"
    );
    assert_eq!(
        refusal("a:1..9", rule, &[seen(101, 1, 1)]),
        "process a: the observation at 101 ms is later than now, 100 ms"
    );
    let mut twice = seen(7, 1, 1);
    twice.series.push(twice.series[0].clone());
    assert_eq!(
        refusal("a:1..9", rule, &[twice]),
        "process a: the observation at 7 ms is not later than the one before it"
    );
    let mut counted = seen(7, 1, 1);
    counted.series[0].flow = Some(FlowCounts { sent: vec![1, 2], ..FlowCounts::default() });
    assert_eq!(
        refusal("a:1..9 a->a", rule, &[counted]),
        "process a: 2 counts of records sent over 1 edges"
    );
}

#[test]
fn time_does_not_go_back() {
    let (spec, rule) = (network("a:1..9"), ScalePolicy::rule_only());
    let blind = [ObservedProcess { parallelism: 1, series: Vec::new() }];
    let later = round(&spec, &rule, &ScaleHistory::default(), 100, &blind).unwrap();
    let error = round(&spec, &rule, &later.history, 99, &blind).unwrap_err();
    assert_eq!(error, ScaleError::TimeWentBack { now_ms: 99, before_ms: 100 });
    assert_eq!(error.to_string(), "the time went back from 100 ms to 99 ms");
    assert!(round(&spec, &rule, &later.history, 100, &blind).is_ok());
}

#[test]
fn the_largest_numbers_saturate() {
    let flow = FlowCounts {
        interval_ms: 1,
        processed: 1,
        busy_us: u64::MAX,
        arrived: u64::MAX,
        sent: vec![u64::MAX],
    };
    let seen = |time_ms| Observation {
        time_ms,
        parallelism: u32::MAX,
        load_ppm: u64::MAX,
        flow: Some(flow.clone()),
    };
    let process = ObservedProcess { parallelism: u32::MAX, series: vec![seen(0), seen(u64::MAX)] };
    let spec = network("a:1..4294967295 b:1..4294967295 a->b b->a");
    for cycles in [Cycles::Condense, Cycles::FallBack] {
        let up_limit = Some(UpLimit { times: u32::MAX, plus: u32::MAX, period_ms: u64::MAX });
        let policy = ScalePolicy {
            target_ppm: 1,
            window_ms: u64::MAX,
            rule: ScaleRule::TrueRate { cycles },
            tolerance_ppm: 0,
            down_stabilisation_ms: u64::MAX,
            up_limit,
        };
        let observed = [process.clone(), process.clone()];
        let scaling = round(&spec, &policy, &ScaleHistory::default(), u64::MAX, &observed).unwrap();
        assert!(scaling.decisions.iter().all(|decision| decision.wanted == u32::MAX));
    }
}

#[test]
fn the_length_of_a_chain_or_a_cycle_is_no_limit() {
    let n = 20_000_usize;
    let mut text: String = (0..n).map(|at| format!("p{at:05}:1..9 ")).collect();
    text.extend((1..n).map(|at| format!("p{:05}->p{at:05} ", at - 1)));
    let flow = |sent: &[u64], arrived| flowing(1, 1, 1_000, 7_000, arrived, sent);
    let mut chain = vec![flow(&[1_000], 0); n];
    (chain[0], chain[n - 1]) = (flow(&[1_000], 3_000), flow(&[], 0));
    let rule = ScaleRule::TrueRate { cycles: Cycles::Condense };
    let policy = ScalePolicy { rule, ..ScalePolicy::rule_only() };
    let wanted = |text: &str, observed: &[ObservedProcess]| {
        let history = ScaleHistory::default();
        let scaling = round(&network(text), &policy, &history, 1, observed).unwrap();
        scaling.decisions.iter().map(|decision| decision.wanted).collect::<Vec<_>>()
    };
    assert_eq!(wanted(&text, &chain), vec![3; n]);
    // Half of what comes out at the end goes in again, so half of what is processed is new.
    text.push_str(&format!("p{:05}->p00000", n - 1));
    (chain[0], chain[n - 1]) = (flow(&[1_000], 1_500), flow(&[500], 0));
    assert_eq!(wanted(&text, &chain), vec![3; n]);
}
