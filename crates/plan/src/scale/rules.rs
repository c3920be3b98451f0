//! How many instances a process needs, looking at nothing but the process itself.
//!
//! Invariant: products are made in 128 bits of factors that fit; results saturate at the largest `u32`.

use super::{
    decision::{Fallback, Finding},
    observation::{Observation, mean_load_ppm},
    policy::{ScalePolicy, WHOLE_PPM},
    true_rate::Demand,
};

/// What a rule says. No instances: it has nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) finding: Finding,
    pub(super) fallback: Option<Fallback>,
    pub(super) instances: Option<u32>,
}

/// The default rule.
pub(super) fn by_load(policy: &ScalePolicy, parallelism: u32, seen: &[Observation]) -> Judgement {
    let Some(load_ppm) = mean_load_ppm(seen) else {
        return Judgement { finding: Finding::NoObservation, fallback: None, instances: None };
    };
    let target_ppm = policy.target_ppm;
    let (load, target) = (u128::from(load_ppm), u128::from(target_ppm));
    let (whole, tolerance) = (u128::from(WHOLE_PPM), u128::from(policy.tolerance_ppm));
    let (finding, instances) = if load * whole > target * (whole + tolerance) {
        let needed = (u128::from(parallelism) * load).div_ceil(target);
        (Finding::AboveTarget { load_ppm, target_ppm }, saturate(needed))
    } else if 2 * load * whole < target * (whole - tolerance) {
        (Finding::BelowHalf { load_ppm, target_ppm }, (parallelism / 2).max(1))
    } else if load > target || 2 * load < target {
        (Finding::WithinTolerance { load_ppm, target_ppm }, parallelism)
    } else {
        (Finding::OnTarget { load_ppm, target_ppm }, parallelism)
    };
    Judgement { finding, fallback: None, instances: Some(instances) }
}

/// The rule of true rates; the default rule where there are none. Without an observation neither says
/// anything.
pub(super) fn by_demand(
    policy: &ScalePolicy,
    parallelism: u32,
    seen: &[Observation],
    demand: &Demand,
) -> Judgement {
    let (instances, load_ppm) = match demand {
        Demand::Needs { instances, load_ppm } => (*instances, *load_ppm),
        Demand::Unknown(fallback) => {
            let judgement = by_load(policy, parallelism, seen);
            let fallback = judgement.instances.map(|_| fallback.clone());
            return Judgement { fallback, ..judgement };
        }
    };
    let target_ppm = policy.target_ppm;
    let off = u128::from(load_ppm.abs_diff(u64::from(target_ppm))) * u128::from(WHOLE_PPM);
    let is_near = off <= u128::from(target_ppm) * u128::from(policy.tolerance_ppm);
    if is_near && instances != parallelism {
        let finding = Finding::WithinTolerance { load_ppm, target_ppm };
        return Judgement { finding, fallback: None, instances: Some(parallelism) };
    }
    let finding = Finding::Rate { load_ppm, target_ppm };
    Judgement { finding, fallback: None, instances: Some(instances) }
}

pub(super) fn saturate(count: u128) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
