//! One process, scaled round by round: the decisions as a person reads them.

use quorate_plan::{Observation, ObservedProcess, ScaleHistory, ScalePolicy, UpLimit};

use crate::support::{Script, network, round, seen};

/// What is decided about one process in one round with that load, in percent.
fn once(bounds: &str, policy: ScalePolicy, parallelism: u32, load_percent: u64) -> String {
    Script::new(&format!("a:{bounds}"), policy, parallelism).at(100, load_percent)
}

#[test]
fn above_the_target_there_are_as_many_more_as_load_is_above_it() {
    let rule = ScalePolicy::rule_only();
    assert_eq!(once("1..99", rule, 7, 100), "a 7 -> 10: load 100% is above the target 70%");
    assert_eq!(once("1..99", rule, 2, 71), "a 2 -> 3: load 71% is above the target 70%");
    assert_eq!(once("1..99", rule, 4, 210), "a 4 -> 12: load 210% is above the target 70%");
}

#[test]
fn below_half_of_the_target_there_are_half_as_many_and_at_least_one() {
    let rule = ScalePolicy::rule_only();
    assert_eq!(once("1..99", rule, 8, 34), "a 8 -> 4: load 34% is below half of the target 70%");
    assert_eq!(once("1..99", rule, 9, 0), "a 9 -> 4: load 0% is below half of the target 70%");
    assert_eq!(once("1..99", rule, 1, 0), "a stays at 1: load 0% is below half of the target 70%");
}

#[test]
fn in_between_nothing_changes() {
    let rule = ScalePolicy::rule_only();
    for load in [35, 50, 70] {
        let expected =
            format!("a stays at 4: load {load}% is between half of the target and the target 70%");
        assert_eq!(once("1..99", rule, 4, load), expected);
    }
}

#[test]
fn the_bounds_of_the_process_hold() {
    let rule = ScalePolicy::rule_only();
    assert_eq!(
        once("1..8", rule, 7, 100),
        "a 7 -> 8: load 100% is above the target 70%; it has at most 8"
    );
    assert_eq!(
        once("3..8", rule, 4, 10),
        "a 4 -> 3: load 10% is below half of the target 70%; it has at least 3"
    );
    assert_eq!(
        once("3..8", ScalePolicy::default(), 20, 50),
        "a 20 -> 8: load 50% is between half of the target and the target 70%; it has at most 8; \
         held at 20 by what was recommended, until 400000 ms; it has at most 8",
        "also what no option would allow"
    );
}

#[test]
fn tolerance_widens_both_bounds() {
    let policy = ScalePolicy { tolerance_ppm: 100_000, ..ScalePolicy::rule_only() };
    let within = |load| format!("a stays at 4: load {load}% is within tolerance of the target 70%");
    assert_eq!(once("1..99", policy, 4, 77), within(77));
    assert_eq!(once("1..99", policy, 4, 78), "a 4 -> 5: load 78% is above the target 70%");
    assert_eq!(once("1..99", policy, 4, 32), within(32));
    assert_eq!(once("1..99", policy, 4, 31), "a 4 -> 2: load 31% is below half of the target 70%");
}

#[test]
fn what_was_recommended_is_kept_for_the_time_of_down_stabilisation() {
    let policy = ScalePolicy { down_stabilisation_ms: 300_000, ..ScalePolicy::rule_only() };
    let mut script = Script::new("a:1..99", policy, 4);
    assert_eq!(script.at(0, 100), "a 4 -> 6: load 100% is above the target 70%");
    let mut held = |second, until| {
        assert_eq!(
            script.at(second, 20),
            format!(
                "a stays at 6: load 20% is below half of the target 70%; \
                 held at 6 by what was recommended, until {until} ms"
            )
        );
    };
    held(15, 300_000);
    held(299, 300_000);
    assert_eq!(script.at(300, 20), "a 6 -> 3: load 20% is below half of the target 70%");
    assert_eq!(script.at(310, 60).split_once(':').unwrap().0, "a stays at 3");
}

#[test]
fn a_process_seen_for_the_first_time_is_kept_as_it_is() {
    let policy = ScalePolicy { down_stabilisation_ms: 60_000, ..ScalePolicy::rule_only() };
    let mut script = Script::new("a:1..99", policy, 8);
    assert_eq!(
        script.at(10, 0),
        "a stays at 8: load 0% is below half of the target 70%; \
         held at 8 by what was recommended, until 70000 ms"
    );
    assert_eq!(script.at(70, 0), "a 8 -> 4: load 0% is below half of the target 70%");
}

#[test]
fn the_highest_recommendation_counts_down_to_the_next() {
    let policy = ScalePolicy { down_stabilisation_ms: 100_000, ..ScalePolicy::rule_only() };
    let mut script = Script::new("a:1..99", policy, 10);
    let short = |text: String| text.split_once(':').unwrap().0.to_owned();
    assert_eq!(short(script.at(0, 140)), "a 10 -> 20", "20 until 100");
    assert_eq!(short(script.at(50, 20)), "a stays at 20", "10 until 150");
    assert_eq!(short(script.at(99, 20)), "a stays at 20", "10 until 199");
    assert_eq!(short(script.at(100, 20)), "a 20 -> 10");
    assert_eq!(short(script.at(150, 20)), "a stays at 10");
    assert_eq!(short(script.at(200, 20)), "a 10 -> 5");
}

#[test]
fn what_others_take_away_is_not_given_back_but_kept() {
    let policy = ScalePolicy { down_stabilisation_ms: 100_000, ..ScalePolicy::rule_only() };
    let mut script = Script::new("a:1..99", policy, 10);
    assert_eq!(script.at(0, 140), "a 10 -> 20: load 140% is above the target 70%");
    script.set(8);
    assert_eq!(
        script.at(50, 60),
        "a stays at 8: load 60% is between half of the target and the target 70%"
    );
    assert_eq!(
        script.at(60, 20),
        "a stays at 8: load 20% is below half of the target 70%; \
         held at 8 by what was recommended, until 150000 ms"
    );
}

#[test]
fn growth_is_limited_to_twice_or_four_more_in_fifteen_seconds() {
    let policy = ScalePolicy { up_limit: Some(UpLimit::default()), ..ScalePolicy::rule_only() };
    let mut script = Script::new("a:1..999", policy, 1);
    assert_eq!(
        script.at(0, 7_000),
        "a 1 -> 5: load 7000% is above the target 70%; the up limit allows 5"
    );
    assert_eq!(
        script.at(14, 7_000),
        "a stays at 5: load 7000% is above the target 70%; the up limit allows 5",
        "one ran 14 seconds ago"
    );
    assert_eq!(script.at(15, 140), "a 5 -> 10: load 140% is above the target 70%");
    assert_eq!(
        script.at(30, 7_000),
        "a 10 -> 20: load 7000% is above the target 70%; it has at most 999; the up limit allows 20"
    );
}

#[test]
fn the_least_parallelism_does_not_wait_for_the_up_limit() {
    assert_eq!(
        once("50..99", ScalePolicy::default(), 1, 60),
        "a 1 -> 50: load 60% is between half of the target and the target 70%; \
         it has at least 50; the up limit allows 5; it has at least 50"
    );
}

#[test]
fn the_observations_of_the_window_are_averaged() {
    let spec = network("a:1..99");
    let policy = ScalePolicy { window_ms: 20_000, ..ScalePolicy::rule_only() };
    let at = |second: u64, parallelism, percent: u64| Observation {
        time_ms: second * 1000,
        parallelism,
        load_ppm: percent * 10_000,
        flow: None,
    };
    let decide = |series: Vec<Observation>| {
        let observed = [ObservedProcess { parallelism: 10, series }];
        let history = ScaleHistory::default();
        round(&spec, &policy, &history, 100_000, &observed).unwrap().decisions[0].to_string()
    };
    assert_eq!(
        decide(vec![at(80, 10, 100), at(81, 10, 60), at(100, 10, 100)]),
        "a 10 -> 12: load 80% is above the target 70%",
        "at 80 it was 20 seconds ago"
    );
    assert_eq!(
        decide(vec![at(90, 10, 10), at(95, 9, 10), at(99, 10, 77)]),
        "a 10 -> 11: load 77% is above the target 70%",
        "what was before another parallelism does not count"
    );
    let nothing = "a stays at 10: nothing was observed";
    assert_eq!(decide(vec![]), nothing);
    assert_eq!(decide(vec![at(80, 10, 100)]), nothing, "too old");
    assert_eq!(decide(vec![at(99, 9, 100)]), nothing, "of another parallelism");
}

#[test]
fn without_an_observation_nothing_is_recommended() {
    let spec = network("a:1..99");
    let policy = ScalePolicy { down_stabilisation_ms: 60_000, ..ScalePolicy::rule_only() };
    let blind = [ObservedProcess { parallelism: 8, series: Vec::new() }];
    let first = round(&spec, &policy, &ScaleHistory::default(), 0, &blind).unwrap();
    let second = round(&spec, &policy, &first.history, 50_000, &blind).unwrap();
    let third = round(&spec, &policy, &second.history, 60_000, &[seen(60_000, 8, 0)]).unwrap();
    assert_eq!(third.decisions[0].wanted, 4);
}

#[test]
fn loads_are_shown_exactly() {
    let decide = |load_ppm| {
        let observed = [seen(1, 1, load_ppm)];
        let policy = ScalePolicy::rule_only();
        let scaling =
            round(&network("a:1..9"), &policy, &ScaleHistory::default(), 1, &observed).unwrap();
        scaling.decisions[0].to_string()
    };
    assert_eq!(decide(700_001), "a 1 -> 2: load 70.0001% is above the target 70%");
    assert_eq!(decide(905_000), "a 1 -> 2: load 90.5% is above the target 70%");
}
