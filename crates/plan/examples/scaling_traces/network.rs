//! A small dataflow network with queues, simulated in steps of a tenth of a second.
//!
//! A process takes records from its queue, as many as its instances have time for, and sends on what
//! its outputs say. Queues have no bound, so nothing that was offered is lost: what is not
//! processed in time waits.
//!
//! Invariant: whole numbers only, and remainders are carried, so nothing is lost in rounding.

use quorate_core::{
    Name, NetworkSpec, Parallelism, PartitionPolicy, Process, ProcessEdge, name::InvalidName,
};
use quorate_plan::{FlowCounts, Observation, ObservedProcess};

pub(crate) const TICK_MS: u64 = 100;
pub(crate) const PARALLELISM_MAX: u32 = 200;
const WHOLE_PPM: u64 = 1_000_000;
const TICK_US: u64 = TICK_MS * 1000;

/// A process of the network; processes are in order of their names.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) name: &'static str,
    /// How long an instance is busy with a record.
    pub(crate) cost_us: u64,
    /// How many records it gets for each that the network is offered, in parts per million.
    pub(crate) visits_ppm: u64,
    /// To whom it sends, and how much for each record that it processes, in parts per million. In order of
    /// the receivers.
    pub(crate) outputs: &'static [(usize, u64)],
}

/// `decode -> enrich -> filter -> store`; filter drops half.
pub(crate) const CHAIN: &[Station] = &[
    Station { name: "decode", cost_us: 6_500, visits_ppm: 1_000_000, outputs: &[(1, 1_000_000)] },
    Station { name: "enrich", cost_us: 26_000, visits_ppm: 1_000_000, outputs: &[(2, 1_000_000)] },
    Station { name: "filter", cost_us: 13_000, visits_ppm: 1_000_000, outputs: &[(3, 500_000)] },
    Station { name: "store", cost_us: 13_000, visits_ppm: 500_000, outputs: &[] },
];

/// `decode -> enrich -> store`; a fifth of what enrich does comes back through retry, so that it does 5/4 of
/// what comes from decode.
pub(crate) const LOOP: &[Station] = &[
    Station { name: "decode", cost_us: 6_500, visits_ppm: 1_000_000, outputs: &[(1, 1_000_000)] },
    Station {
        name: "enrich",
        cost_us: 20_800,
        visits_ppm: 1_250_000,
        outputs: &[(2, 200_000), (3, 800_000)],
    },
    Station { name: "retry", cost_us: 26_000, visits_ppm: 250_000, outputs: &[(1, 1_000_000)] },
    Station { name: "store", cost_us: 6_500, visits_ppm: 1_000_000, outputs: &[] },
];

impl Station {
    /// How many instances it needs to have the target load at that rate, at least 1.
    pub(crate) fn needed(&self, offered_per_s: u64, target_ppm: u32) -> u32 {
        let busy_ppm = offered_per_s * self.visits_ppm / WHOLE_PPM * self.cost_us;
        u32::try_from(busy_ppm.div_ceil(u64::from(target_ppm))).unwrap_or(u32::MAX).max(1)
    }
}

/// What the scaler knows of the network.
pub(crate) fn spec(stations: &[Station]) -> Result<NetworkSpec, InvalidName> {
    let process = |station: &Station| {
        Ok(Process {
            parallelism: Parallelism { min: 1, max: PARALLELISM_MAX },
            ..Process::new(Name::new(station.name)?, station.name.to_owned())
        })
    };
    let edges = stations.iter().flat_map(|from| from.outputs.iter().map(move |(to, _)| (from, to)));
    let edge = |(from, to): (&Station, &usize)| {
        let to = Name::new(stations[*to].name)?;
        Ok(ProcessEdge { from: Name::new(from.name)?, to, rate: 1 })
    };
    Ok(NetworkSpec {
        processes: stations.iter().map(process).collect::<Result<_, _>>()?,
        connections: edges.map(edge).collect::<Result<_, _>>()?,
        policy: PartitionPolicy::default(),
        connection: Default::default(),
    })
}

/// The network as it runs.
#[derive(Debug)]
pub(crate) struct Running {
    stations: &'static [Station],
    states: Vec<StationState>,
    /// Records offered, in thousandths: what is left of one.
    arriving: u64,
    time_ms: u64,
}

#[derive(Debug)]
struct StationState {
    parallelism: u32,
    queue: u64,
    /// Time that instances spent on records that are not done yet.
    begun_us: u64,
    /// Parts of records to be sent, by output, in parts per million.
    unsent_ppm: Vec<u64>,
    /// Since the last observation.
    counts: FlowCounts,
    series: Vec<Observation>,
}

impl Running {
    /// With as many instances as that rate needs.
    pub(crate) fn new(stations: &'static [Station], offered_per_s: u64, target_ppm: u32) -> Self {
        let state = |station: &Station| StationState {
            parallelism: station.needed(offered_per_s, target_ppm),
            queue: 0,
            begun_us: 0,
            unsent_ppm: vec![0; station.outputs.len()],
            counts: fresh_counts(station),
            series: Vec::new(),
        };
        Self { stations, states: stations.iter().map(state).collect(), arriving: 0, time_ms: 0 }
    }

    pub(crate) fn parallelism(&self) -> Vec<u32> {
        self.states.iter().map(|state| state.parallelism).collect()
    }

    /// How many records wait anywhere.
    pub(crate) fn waiting(&self) -> u64 {
        self.states.iter().map(|state| state.queue).sum()
    }

    /// What the scaler is told.
    pub(crate) fn observed(&self) -> Vec<ObservedProcess> {
        let observed = |state: &StationState| ObservedProcess {
            parallelism: state.parallelism,
            series: state.series.clone(),
        };
        self.states.iter().map(observed).collect()
    }

    /// Runs so many instances from now on.
    pub(crate) fn set_parallelism(&mut self, at: usize, parallelism: u32) {
        self.states[at].parallelism = parallelism;
    }

    /// A tick with that much offered to the first process.
    pub(crate) fn tick(&mut self, offered_per_s: u64) {
        self.time_ms += TICK_MS;
        self.arriving += offered_per_s * TICK_MS;
        let arrived = self.arriving / 1000;
        self.arriving %= 1000;
        self.states[0].queue += arrived;
        self.states[0].counts.arrived += arrived;
        for (at, station) in self.stations.iter().enumerate() {
            let sent = self.states[at].work(station);
            for ((to, _), records) in station.outputs.iter().zip(sent) {
                self.states[*to].queue += records;
            }
        }
    }

    /// Ends an interval of observation; keeps the last four.
    pub(crate) fn observe(&mut self) {
        for (station, state) in self.stations.iter().zip(&mut self.states) {
            let counts = std::mem::replace(&mut state.counts, fresh_counts(station));
            let capacity_us = counts.interval_ms * 1000 * u64::from(state.parallelism);
            let load_ppm = (counts.busy_us * WHOLE_PPM).checked_div(capacity_us).unwrap_or(0);
            let (time_ms, parallelism) = (self.time_ms, state.parallelism);
            // A record that was begun in the interval before makes it a little more than whole.
            let load_ppm = load_ppm.min(WHOLE_PPM);
            state.series.push(Observation { time_ms, parallelism, load_ppm, flow: Some(counts) });
            let old = state.series.len().saturating_sub(4);
            state.series.drain(..old);
        }
    }
}

fn fresh_counts(station: &Station) -> FlowCounts {
    FlowCounts { sent: vec![0; station.outputs.len()], ..FlowCounts::default() }
}

impl StationState {
    /// Processes for a tick; what is sent, by output.
    fn work(&mut self, station: &Station) -> Vec<u64> {
        let time_us = u64::from(self.parallelism) * TICK_US + self.begun_us;
        let processed = self.queue.min(time_us / station.cost_us);
        self.queue -= processed;
        let left_us = time_us - processed * station.cost_us;
        self.begun_us = if self.queue > 0 { left_us } else { 0 };
        self.counts.interval_ms += TICK_MS;
        self.counts.processed += processed;
        self.counts.busy_us += processed * station.cost_us;
        let mut sent = Vec::with_capacity(station.outputs.len());
        for (at, (_, ratio_ppm)) in station.outputs.iter().enumerate() {
            let parts = self.unsent_ppm[at] + processed * ratio_ppm;
            self.unsent_ppm[at] = parts % WHOLE_PPM;
            self.counts.sent[at] += parts / WHOLE_PPM;
            sent.push(parts / WHOLE_PPM);
        }
        sent
    }
}
