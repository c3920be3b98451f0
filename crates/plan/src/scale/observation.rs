//! What was seen of processes, and what of it counts now.
//!
//! Invariant: sums saturate at the largest `u64`, so that no counter can overflow anything.

/// One process of a network as it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedProcess {
    /// How many instances run, at least 1.
    pub parallelism: u32,
    /// What was seen of them, the latest last.
    pub series: Vec<Observation>,
}

/// What was seen of a process in an interval in which its parallelism did not change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The end of the interval, in milliseconds of the caller's clock.
    pub time_ms: u64,
    /// How many instances ran. What was seen of another number than runs now does not count.
    pub parallelism: u32,
    /// Busy time over capacity, in parts per million.
    pub load_ppm: u64,
    /// What flowed through it. Only [`ScaleRule::TrueRate`](super::ScaleRule::TrueRate) looks at it.
    pub flow: Option<FlowCounts>,
}

/// What flowed through all instances of a process in an interval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// The length of the interval in milliseconds. 0: nothing is known.
    pub interval_ms: u64,
    /// Records processed.
    pub processed: u64,
    /// How long instances were busy with them, all together, in microseconds: waiting for input or
    /// for room in an output is not busy.
    pub busy_us: u64,
    /// Records that came, or would have come if they had been taken, from outside of the network.
    pub arrived: u64,
    /// Records sent over each edge that leaves the process, in order of the receivers' numbers.
    pub sent: Vec<u64>,
}

impl ObservedProcess {
    /// The observations that count: of the present parallelism since it last changed, and not older than
    /// the window.
    pub(super) fn recent(&self, now_ms: u64, window_ms: u64) -> &[Observation] {
        let counts = |seen: &&Observation| {
            let is_fresh = now_ms.saturating_sub(seen.time_ms) < window_ms;
            is_fresh && seen.parallelism == self.parallelism
        };
        let count = self.series.iter().rev().take_while(counts).count();
        &self.series[self.series.len() - count..]
    }
}

/// The mean load of observations. None: there are none.
pub(super) fn mean_load_ppm(seen: &[Observation]) -> Option<u64> {
    let sum: u128 = seen.iter().map(|one| u128::from(one.load_ppm)).sum();
    let mean = sum.checked_div(seen.len() as u128)?;
    Some(u64::try_from(mean).unwrap_or(u64::MAX))
}

/// The sums of what flowed. None: nothing is known of it.
pub(super) fn total_flow(seen: &[Observation]) -> Option<FlowCounts> {
    let flows = seen.iter().filter_map(|one| one.flow.as_ref());
    let mut flows = flows.filter(|flow| flow.interval_ms > 0);
    let mut total = flows.next()?.clone();
    for flow in flows {
        let pairs = [
            (&mut total.interval_ms, flow.interval_ms),
            (&mut total.processed, flow.processed),
            (&mut total.busy_us, flow.busy_us),
            (&mut total.arrived, flow.arrived),
        ];
        let sent = total.sent.iter_mut().zip(flow.sent.iter().copied());
        for (sum, count) in pairs.into_iter().chain(sent) {
            *sum = sum.saturating_add(count);
        }
    }
    Some(total)
}
