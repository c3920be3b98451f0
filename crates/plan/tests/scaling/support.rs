//! Networks that are scaled round by round, written as short texts.

use quorate_core::{Name, NetworkSpec, Parallelism, PartitionPolicy, Process, ProcessEdge};
use quorate_plan::{
    FlowCounts, NetworkView, Observation, ObservedProcess, ScaleError, ScaleHistory, ScalePolicy,
    ScaleRequest, Scaling, scale,
};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Reads `a:1..9 b:2..4 a->b`, in any order: a process with its bounds, a connection.
pub(crate) fn network(text: &str) -> NetworkSpec {
    let (mut processes, mut connections) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        if let Some((from, to)) = word.split_once("->") {
            connections.push(ProcessEdge { from: name(from), to: name(to), rate: 1 });
            continue;
        }
        let (id, bounds) = word.split_once(':').unwrap();
        let (min, max) = bounds.split_once("..").unwrap();
        processes.push(Process {
            parallelism: Parallelism { min: min.parse().unwrap(), max: max.parse().unwrap() },
            ..Process::new(name(id), "noop")
        });
    }
    processes.sort_by(|a, b| a.id.cmp(&b.id));
    connections.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    NetworkSpec {
        processes,
        connections,
        policy: PartitionPolicy::default(),
        connection: Default::default(),
    }
}

/// One round, on its own.
pub(crate) fn round(
    spec: &NetworkSpec,
    policy: &ScalePolicy,
    history: &ScaleHistory,
    now_ms: u64,
    observed: &[ObservedProcess],
) -> Result<Scaling, ScaleError> {
    let view = NetworkView::new(spec).unwrap();
    scale(&ScaleRequest { view: &view, observed, policy, history, now_ms })
}

/// A process that runs and was seen once, `load_ppm` of its capacity being busy.
pub(crate) fn seen(time_ms: u64, parallelism: u32, load_ppm: u64) -> ObservedProcess {
    let series = vec![Observation { time_ms, parallelism, load_ppm, flow: None }];
    ObservedProcess { parallelism, series }
}

/// A process that was seen for 10 seconds, processing records each of which takes `cost_us`.
pub(crate) fn flowing(
    time_ms: u64,
    parallelism: u32,
    processed: u64,
    cost_us: u64,
    arrived: u64,
    sent: &[u64],
) -> ObservedProcess {
    let busy_us = processed * cost_us;
    let flow = FlowCounts { interval_ms: 10_000, processed, busy_us, arrived, sent: sent.to_vec() };
    let load_ppm = busy_us / 10 / u64::from(parallelism);
    let series = vec![Observation { time_ms, parallelism, load_ppm, flow: Some(flow) }];
    ObservedProcess { parallelism, series }
}

/// One process that does what it is told, round by round.
pub(crate) struct Script {
    spec: NetworkSpec,
    policy: ScalePolicy,
    history: ScaleHistory,
    parallelism: u32,
}

impl Script {
    pub(crate) fn new(network_text: &str, policy: ScalePolicy, parallelism: u32) -> Self {
        let spec = network(network_text);
        Self { spec, policy, history: ScaleHistory::default(), parallelism }
    }

    /// Someone else decides how many instances run.
    pub(crate) fn set(&mut self, parallelism: u32) {
        self.parallelism = parallelism;
    }

    /// A round at that second, with that load in percent; what was decided.
    pub(crate) fn at(&mut self, second: u64, load_percent: u64) -> String {
        let now_ms = second * 1000;
        let observed = [seen(now_ms, self.parallelism, load_percent * 10_000)];
        let scaling = round(&self.spec, &self.policy, &self.history, now_ms, &observed).unwrap();
        self.history = scaling.history;
        self.parallelism = scaling.decisions[0].wanted;
        scaling.decisions[0].to_string()
    }
}

/// All decisions of one round, a line each.
pub(crate) fn lines(scaling: &Scaling) -> String {
    scaling.decisions.iter().map(|decision| format!("{decision}\n")).collect()
}
