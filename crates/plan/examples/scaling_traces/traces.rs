//! What the network is offered over time, and the option sets that are compared.
//!
//! Invariant: a trace follows from its name; noise from a fixed seed.

use quorate_plan::{Cycles, ScalePolicy, ScaleRule, UpLimit};

use crate::network::{CHAIN, LOOP, Station};

/// Records a second before anything happens.
pub(crate) const BASE_PER_S: u64 = 100;
/// When something happens.
pub(crate) const CHANGE_MS: u64 = 300_000;
const STEP_END_MS: u64 = 1_200_000;
const SPIKE_END_MS: u64 = CHANGE_MS + 45_000;
const NOISE_MS: u64 = 5_000;
const SEED: u64 = 20_181_008;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Step,
    Spike,
    Noise,
}

/// One course of events.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    shape: Shape,
    pub(crate) stations: &'static [Station],
    pub(crate) end_ms: u64,
}

pub(crate) const TRACES: &[Trace] = &[
    Trace { name: "step", shape: Shape::Step, stations: CHAIN, end_ms: 2_400_000 },
    Trace { name: "spike", shape: Shape::Spike, stations: CHAIN, end_ms: 1_200_000 },
    Trace { name: "noise", shape: Shape::Noise, stations: CHAIN, end_ms: 1_800_000 },
    Trace { name: "cycle", shape: Shape::Step, stations: LOOP, end_ms: 2_400_000 },
];

impl Trace {
    /// Whether it has a change that lasts.
    pub(crate) fn is_step(&self) -> bool {
        self.shape == Shape::Step
    }

    /// Whether load changes at some time, other than by noise.
    pub(crate) fn has_change(&self) -> bool {
        self.shape != Shape::Noise
    }

    /// Records a second, without noise.
    pub(crate) fn mean_per_s(&self, time_ms: u64) -> u64 {
        match self.shape {
            Shape::Step if (CHANGE_MS..STEP_END_MS).contains(&time_ms) => 10 * BASE_PER_S,
            Shape::Spike if (CHANGE_MS..SPIKE_END_MS).contains(&time_ms) => 6 * BASE_PER_S,
            _ => BASE_PER_S,
        }
    }

    /// Records a second; noise is up to 60% up or down for five seconds at a time.
    pub(crate) fn offered_per_s(&self, time_ms: u64) -> u64 {
        let mean = self.mean_per_s(time_ms);
        if self.shape != Shape::Noise {
            return mean;
        }
        let lot = split_mix_64(SEED.wrapping_add(time_ms / NOISE_MS));
        mean * (400 + lot % 1_201) / 1_000
    }
}

/// A number that looks random and follows from another. Source: G. Steele, D. Lea, C. Flood, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014.
fn split_mix_64(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A named policy.
#[derive(Debug)]
pub(crate) struct OptionSet {
    pub(crate) name: &'static str,
    pub(crate) policy: ScalePolicy,
}

/// The default rule, then with one option more in each, then true rates with none and with all.
pub(crate) fn option_sets() -> Vec<OptionSet> {
    let rule = ScalePolicy { window_ms: 15_000, ..ScalePolicy::rule_only() };
    let tolerance = ScalePolicy { tolerance_ppm: 100_000, ..rule };
    let stabilised = ScalePolicy { down_stabilisation_ms: 300_000, ..tolerance };
    let all = ScalePolicy { up_limit: Some(UpLimit::default()), ..stabilised };
    let true_rate = |cycles, policy| ScalePolicy { rule: ScaleRule::TrueRate { cycles }, ..policy };
    let named = |name, policy| OptionSet { name, policy };
    vec![
        named("default rule", rule),
        named("+ tolerance", tolerance),
        named("+ stabilisation", stabilised),
        named("+ up limit", all),
        named("true-rate", true_rate(Cycles::Condense, rule)),
        named("true-rate, cycles fall back", true_rate(Cycles::FallBack, rule)),
        named("true-rate + all options", true_rate(Cycles::Condense, all)),
    ]
}
