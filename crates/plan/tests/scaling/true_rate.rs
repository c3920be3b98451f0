//! Networks scaled by the rates that their processes can have.

use quorate_core::NetworkSpec;
use quorate_plan::{
    Cycles, Fallback, ObservedProcess, ScaleHistory, ScalePolicy, ScaleRule, Scaling,
};

use crate::support::{flowing, lines, name, network, round, seen};

fn policy(cycles: Cycles) -> ScalePolicy {
    ScalePolicy { rule: ScaleRule::TrueRate { cycles }, ..ScalePolicy::rule_only() }
}

fn scaled(spec: &NetworkSpec, cycles: Cycles, observed: &[ObservedProcess]) -> Scaling {
    round(spec, &policy(cycles), &ScaleHistory::default(), 0, observed).unwrap()
}

fn wanted(scaling: &Scaling) -> Vec<u32> {
    scaling.decisions.iter().map(|decision| decision.wanted).collect()
}

#[test]
fn what_is_behind_a_saturated_process_is_scaled_in_the_same_round() {
    // 1,000 records a second are offered. One instance of a takes 10 ms for a record, so that 100
    // go on; b makes two of one, and is half idle.
    let spec = network("a:1..99 b:1..99 c:1..99 a->b b->c");
    let observed = [
        flowing(0, 1, 1_000, 10_000, 10_000, &[1_000]),
        flowing(0, 1, 1_000, 5_000, 0, &[2_000]),
        flowing(0, 2, 2_000, 3_000, 0, &[]),
    ];
    assert_eq!(
        lines(&scaled(&spec, Cycles::Condense, &observed)),
        "\
a 1 -> 15: all that is offered is a load of 1000% for the target 70%
b 1 -> 8: all that is offered is a load of 500% for the target 70%
c 2 -> 9: all that is offered is a load of 300% for the target 70%
"
    );
    let by_load = ScalePolicy::rule_only();
    let by_load = round(&spec, &by_load, &ScaleHistory::default(), 0, &observed).unwrap();
    assert_eq!(wanted(&by_load), [2, 1, 1]);
}

#[test]
fn rates_add_up_where_flows_meet_and_follow_the_edges_where_they_part() {
    // a sends 30% to b and 70% to c; both send everything to d. Each offered record is processed in 1 ms.
    let spec = network("a:1..99 b:1..99 c:1..99 d:1..99 a->b a->c b->d c->d");
    let observed = [
        flowing(0, 1, 1_000, 1_000, 70_000, &[300, 700]),
        flowing(0, 1, 300, 1_000, 0, &[300]),
        flowing(0, 1, 700, 1_000, 0, &[700]),
        flowing(0, 1, 1_000, 1_000, 0, &[]),
    ];
    assert_eq!(wanted(&scaled(&spec, Cycles::Condense, &observed)), [10, 3, 7, 10]);
}

#[test]
fn too_many_instances_go_at_once() {
    let spec = network("a:1..99");
    let idle = [flowing(0, 40, 1_000, 7_000, 1_000, &[])];
    assert_eq!(
        lines(&scaled(&spec, Cycles::Condense, &idle)),
        "a 40 -> 1: all that is offered is a load of 1.75% for the target 70%\n"
    );
    let unused = [flowing(0, 40, 0, 0, 0, &[])];
    assert_eq!(
        lines(&scaled(&spec, Cycles::Condense, &unused)),
        "a 40 -> 1: all that is offered is a load of 0% for the target 70%; \
         it has at least 1\n"
    );
}

#[test]
fn tolerance_is_about_the_load_that_would_be() {
    let spec = network("a:1..99");
    let rule = ScaleRule::TrueRate { cycles: Cycles::Condense };
    let policy = ScalePolicy { rule, tolerance_ppm: 100_000, ..ScalePolicy::rule_only() };
    let decide = |arrived| {
        let observed = [flowing(0, 10, 1_000, 10_000, arrived, &[])];
        lines(&round(&spec, &policy, &ScaleHistory::default(), 0, &observed).unwrap())
    };
    assert_eq!(decide(7_700), "a stays at 10: load 77% is within tolerance of the target 70%\n");
    assert_eq!(
        decide(7_710),
        "a 10 -> 12: all that is offered is a load of 77.1% for the target 70%\n"
    );
    assert_eq!(
        decide(6_200),
        "a 10 -> 9: all that is offered is a load of 62% for the target 70%\n"
    );
}

/// `in` feeds `loop`, a quarter of whose output goes through `retry` back to it, the rest to `out`.
/// 1,000 records a second are offered, 100 get through; each takes 7 ms.
fn retries() -> (NetworkSpec, [ObservedProcess; 4]) {
    let spec = network(
        "in:1..99 loop:1..99 out:1..99 retry:1..99 in->loop loop->out loop->retry retry->loop",
    );
    let observed = [
        flowing(0, 1, 900, 7_000, 10_000, &[900]),
        flowing(0, 2, 1_200, 7_000, 0, &[900, 300]),
        flowing(0, 1, 900, 7_000, 0, &[]),
        flowing(0, 1, 300, 7_000, 0, &[300]),
    ];
    (spec, observed)
}

#[test]
fn a_cycle_is_condensed() {
    // 1,000 records become 4/3 as many in the loop and a third as many in its way back.
    let (spec, observed) = retries();
    let scaling = scaled(&spec, Cycles::Condense, &observed);
    assert_eq!(wanted(&scaling), [10, 14, 10, 4]);
    assert!(scaling.decisions.iter().all(|decision| decision.fallback.is_none()));
}

#[test]
fn or_falls_back_to_load_and_what_it_feeds_follows_what_it_sends() {
    let (spec, observed) = retries();
    assert_eq!(
        lines(&scaled(&spec, Cycles::FallBack, &observed)),
        "\
in 1 -> 10: all that is offered is a load of 700% for the target 70%
loop stays at 2: load 42% is between half of the target and the target 70% (by load: it is on a cycle)
out stays at 1: all that is offered is a load of 63% for the target 70%
retry stays at 1: load 21% is below half of the target 70% (by load: it is on a cycle)
"
    );
}

#[test]
fn a_process_may_feed_itself() {
    // Of 1,000 records that it processes, 500 are its own.
    let spec = network("a:1..99 a->a");
    let observed = [flowing(0, 1, 1_000, 7_000, 1_000, &[500])];
    assert_eq!(wanted(&scaled(&spec, Cycles::Condense, &observed)), [2]);
}

#[test]
fn a_cycle_that_only_feeds_itself_tells_nothing() {
    let spec = network("a:1..99 b:1..99 c:1..99 a->b b->a b->c");
    let observed = [
        flowing(0, 1, 1_000, 8_000, 10, &[1_000]),
        flowing(0, 1, 1_000, 8_000, 0, &[1_000, 1_000]),
        flowing(0, 4, 1_000, 2_000, 0, &[]),
    ];
    assert_eq!(
        lines(&scaled(&spec, Cycles::Condense, &observed)),
        "\
a 1 -> 2: load 80% is above the target 70% (by load: its cycle sends itself all that it processes)
b 1 -> 2: load 80% is above the target 70% (by load: its cycle sends itself all that it processes)
c 4 -> 2: load 5% is below half of the target 70% (by load: the rates of a are not known)
"
    );
}

#[test]
fn what_depends_on_unknown_rates_is_scaled_by_load() {
    // b has a load, and no rates; c knows its own, and not what b will send.
    let spec = network("a:1..99 b:1..99 c:1..99 d:1..99 a->b b->c");
    let observed = [
        flowing(0, 1, 1_000, 7_000, 2_000, &[1_000]),
        seen(0, 1, 1_000_000),
        flowing(0, 1, 1_000, 8_000, 0, &[]),
        ObservedProcess { parallelism: 3, series: Vec::new() },
    ];
    let scaling = scaled(&spec, Cycles::Condense, &observed);
    assert_eq!(
        lines(&scaling),
        "\
a 1 -> 2: all that is offered is a load of 140% for the target 70%
b 1 -> 2: load 100% is above the target 70% (by load: the rates of b are not known)
c 1 -> 2: load 80% is above the target 70% (by load: the rates of b are not known)
d stays at 3: nothing was observed
"
    );
    assert_eq!(scaling.decisions[2].fallback, Some(Fallback::RatesUnknown { process: name("b") }));
}

#[test]
fn a_process_that_has_processed_nothing_yet_has_no_rate() {
    let spec = network("a:1..99 b:1..99 a->b");
    let observed = [flowing(0, 1, 0, 0, 500, &[0]), flowing(0, 2, 0, 0, 0, &[])];
    assert_eq!(
        lines(&scaled(&spec, Cycles::Condense, &observed)),
        "\
a stays at 1: load 0% is below half of the target 70% (by load: the rates of a are not known)
b 2 -> 1: load 0% is below half of the target 70% (by load: the rates of a are not known)
"
    );
}

#[test]
fn an_interval_without_length_tells_nothing() {
    let spec = network("a:1..99");
    let mut observed = [flowing(0, 4, 0, 0, 0, &[])];
    observed[0].series[0].flow.as_mut().unwrap().interval_ms = 0;
    let scaling = scaled(&spec, Cycles::Condense, &observed);
    assert_eq!(wanted(&scaling), [2]);
    let fallback = Some(Fallback::RatesUnknown { process: name("a") });
    assert_eq!(scaling.decisions[0].fallback, fallback);
}
