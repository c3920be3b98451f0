//! Which moves wait for which.
//!
//! Invariant: when a move waits for nothing, its worker has room for it beside everything that goes there
//! before it, even if nothing has left; else it waits for all that leaves that worker before it.

use quorate_core::plan::Move;

use super::{
    rebalance::{Step, to_move},
    usage::Usage,
    view::ClusterView,
};

/// Sorts steps into waves. Their order stays within a wave.
pub(super) fn waves(view: &ClusterView, steps: Vec<Step>) -> Vec<Vec<Move>> {
    let mut arrived = Usage::without_traffic(view);
    let mut leaves: Vec<Vec<usize>> = vec![Vec::new(); view.workers.len()];
    let mut wave_of: Vec<usize> = Vec::with_capacity(steps.len());
    let mut waves: Vec<Vec<Move>> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut planned = to_move(view, step);
        let fits = arrived.adds_up(step.partition, step.to);
        let waits: &[usize] = if fits { &[] } else { &leaves[step.to as usize] };
        let wave = waits.iter().map(|earlier| wave_of[*earlier] + 1).max().unwrap_or(0);
        planned.waits_for = waits
            .iter()
            .map(|earlier| view.partitions[steps[*earlier].partition as usize].id.clone())
            .collect();
        if let Some(from) = step.from {
            leaves[from as usize].push(at);
        }
        wave_of.push(wave);
        if waves.len() <= wave {
            waves.resize_with(wave + 1, Vec::new);
        }
        waves[wave].push(planned);
    }
    waves
}
