//! Which moves wait for which.
//!
//! Invariant: when a move waits for nothing, its worker has room for it beside everything that goes there
//! before it, even if nothing has left; else it waits for all that leaves that worker before it, and for all that
//! was asked to leave it earlier and still runs there.

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
    let staying = still_there(view, &mut arrived);
    for (at, step) in steps.iter().enumerate() {
        let mut planned = to_move(view, step);
        let fits = arrived.adds_up(step.partition, step.to);
        let waits: &[usize] = if fits { &[] } else { &leaves[step.to as usize] };
        let staying: &[u32] = if fits { &[] } else { &staying[step.to as usize] };
        let least = usize::from(!staying.is_empty());
        let wave = waits.iter().map(|earlier| wave_of[*earlier] + 1).fold(least, usize::max);
        let waits = waits.iter().map(|earlier| steps[*earlier].partition);
        let waits = staying.iter().copied().chain(waits);
        planned.waits_for = waits.map(|it| view.partitions[it as usize].id.clone()).collect();
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

/// By worker: what still runs there and is on its way elsewhere. It is added up there, too.
fn still_there(view: &ClusterView, arrived: &mut Usage<'_>) -> Vec<Vec<u32>> {
    let mut there: Vec<Vec<u32>> = vec![Vec::new(); view.workers.len()];
    for partition in view.partition_numbers() {
        let leaving = view.partitions[partition as usize].leaving.as_ref();
        if let Some(worker) = leaving.and_then(|name| view.worker(name)) {
            arrived.adds_up(partition, worker);
            there[worker as usize].push(partition);
        }
    }
    there
}
