//! The load traces of `examples/scaling_traces`: what docs/scaling.md says of them holds, and its
//! table and drawing are the ones that the example makes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

#[path = "../examples/scaling_traces/course.rs"]
mod course;
#[path = "../examples/scaling_traces/network.rs"]
mod network;
#[path = "../examples/scaling_traces/outcome.rs"]
mod outcome;
#[path = "../examples/scaling_traces/plot.rs"]
mod plot;
#[path = "../examples/scaling_traces/table.rs"]
mod table;
#[path = "../examples/scaling_traces/traces.rs"]
mod traces;
#[path = "../examples/scaling_traces/verdict.rs"]
mod verdict;

use course::Course;
use outcome::{Outcome, outcomes};
use quorate_plan::ScalePolicy;
use traces::{OptionSet, TRACES, option_sets};

const DOCUMENT: &str = include_str!("../../../docs/scaling.md");
const DRAWING: &str = include_str!("../../../docs/scaling.svg");
const COMMAND: &str = "cargo run -p quorate-plan --example scaling_traces -- docs/scaling.svg";

fn course(trace: &str, set: &str) -> Course {
    let trace = TRACES.iter().find(|one| one.name == trace).unwrap();
    let set = option_sets().into_iter().find(|one| one.name == set).unwrap();
    Outcome::of(trace, set).unwrap().course
}

#[test]
fn every_course_ends_well_and_is_as_documented() {
    let outcomes = outcomes().unwrap();
    assert_eq!(verdict::violations(&outcomes), Vec::<String>::new());
    assert!(DOCUMENT.contains(COMMAND));
    let table = table::table(&outcomes);
    assert!(DOCUMENT.contains(&table), "docs/scaling.md has another table than\n{table}");
    let is_drawn = plot::plot(&outcomes, option_sets().len()) == DRAWING;
    assert!(is_drawn, "docs/scaling.svg is another drawing; make it with: {COMMAND}");
}

#[test]
fn a_course_that_never_settles_is_found() {
    let policy = ScalePolicy { tolerance_ppm: 999_999, ..ScalePolicy::rule_only() };
    let set = OptionSet { name: "deaf", policy };
    let deaf = Outcome::of(&TRACES[0], set).unwrap();
    assert_eq!(
        verdict::violations(&[deaf]),
        ["never has enough instances", "is never back at target", "records wait at the end"]
            .map(|what| format!("step, deaf: {what}"))
    );
}

#[test]
fn a_step_of_ten_takes_the_default_rule_six_rounds_and_true_rates_one() {
    let (rule, rates) = (course("step", "default rule"), course("step", "true-rate"));
    assert_eq!((rule.rounds_to_enough, rates.rounds_to_enough), (Some(6), Some(1)));
    let needed = |course: &Course| course.rounds.iter().map(|round| round.needed).max();
    let most = |course: &Course| course.rounds.iter().map(|round| round.instances).max();
    assert_eq!(most(&rates), needed(&rates), "never more than needed");
    assert!(most(&rule) >= needed(&rule).map(|needed| 2 * needed), "what waits looks like load");
    let limited = course("step", "true-rate + all options");
    assert_eq!(limited.rounds_to_enough, Some(4), "at most twice as many, or four more, a round");
}

#[test]
fn the_default_rule_does_not_reach_the_up_limit() {
    for trace in ["step", "spike", "noise", "cycle"] {
        assert_eq!(course(trace, "+ stabilisation"), course(trace, "+ up limit"));
    }
}

#[test]
fn a_cycle_is_as_fast_as_a_chain_when_it_is_condensed() {
    let condensed = course("cycle", "true-rate");
    assert_eq!(condensed.rounds_to_enough, Some(1));
    let fallen = course("cycle", "true-rate, cycles fall back");
    assert_eq!(fallen.rounds_to_enough, course("cycle", "default rule").rounds_to_enough);
}

#[test]
fn stabilisation_takes_noise_away_and_costs_instances() {
    let shaky = [course("noise", "+ tolerance"), course("noise", "true-rate")];
    let calm = [course("noise", "+ stabilisation"), course("noise", "true-rate + all options")];
    assert!(shaky.iter().all(|course| course.changes > 100 && course.under_s > 100));
    assert!(calm.iter().all(|course| course.changes < 10 && course.under_s == 0));
    assert!(calm[0].over_s > shaky[0].over_s && calm[1].over_s > shaky[1].over_s);
}
