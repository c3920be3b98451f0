//! What the status and the state know, read when somebody scrapes.
//!
//! Invariants: labels are bounded, since networks and pools beyond the first by name are summed up
//! under one, resources beyond the first are left out, and what was left out is counted; what needs
//! a look at every partition is looked up again only when the state has changed, and at most once in
//! [`FRESH_FOR`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};
use quorate_core::{
    ConnectionState, Kind, Name, PartitionId, PartitionState, Record, Resources, Revision, State,
    WorkerState,
};

use super::{
    controllers,
    family::{counter, desc, float, gauge, gauge_sample, gauges},
    health,
    pools::Pools,
};
use crate::{
    config::Metrics as Limits,
    coordinator::{Coordinator, Role, Status},
};

/// The label of what is summed up. No name is like it.
pub(super) const OTHERS: &str = "(others)";
const FRESH_FOR: Duration = Duration::from_secs(1);
const TERM: (&str, &str) = ("quorate_term", "The Raft term.");

/// Exports a coordinator's status and state.
pub struct StateCollector {
    coordinator: Coordinator,
    limits: Limits,
    desc: Desc,
    seen: Mutex<Seen>,
}

/// What was seen at earlier scrapes.
#[derive(Default)]
struct Seen {
    tally: Option<(Instant, Revision, Tally)>,
}

impl StateCollector {
    /// Exports this coordinator, in so many series at most.
    #[must_use]
    pub fn new(coordinator: Coordinator, limits: Limits) -> Self {
        Self { coordinator, limits, desc: desc(TERM.0, TERM.1), seen: Mutex::default() }
    }
}

impl Collector for StateCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let view = self.coordinator.view();
        let in_contact = *self.coordinator.in_contact().borrow();
        let mut families = consensus(&self.coordinator.status(), in_contact);
        families.push(gauge(
            "quorate_applied_index",
            "The last log entry applied.",
            float(view.index.get()),
        ));
        families.extend(store(&view.state));
        families.push(counter(
            "quorate_sessions_expired_total",
            "Sessions that this coordinator, leading, ended for want of keep-alives.",
            self.coordinator.sessions_expired(),
        ));
        families.push(counter(
            "quorate_session_keep_alive_batches_total",
            "Batches of keep-alives that this coordinator, leading, answered.",
            self.coordinator.keep_alive_batches(),
        ));
        let activity = self.coordinator.activity();
        families.extend(controllers::families(&activity.balancer()));
        families.extend(controllers::connections(&activity.connections()));
        families.extend(controllers::distributor(&activity.distribution()));
        families.extend(controllers::others(activity));
        let told = self.coordinator.health_seen().told();
        families.extend(health::families(&told));
        families.push(health::alerts(&view.state, &told));
        families.extend(self.seen.lock().tally(&view.state, &self.limits).families());
        families
    }
}

impl Seen {
    fn tally(&mut self, state: &State, limits: &Limits) -> &Tally {
        let revision = state.revision();
        let fresh = self
            .tally
            .as_ref()
            .is_some_and(|(at, seen, _)| *seen == revision || at.elapsed() < FRESH_FOR);
        if !fresh {
            self.tally = None;
        }
        let (.., tally) =
            self.tally.get_or_insert_with(|| (Instant::now(), revision, Tally::of(state, limits)));
        tally
    }
}

fn consensus(status: &Status, in_contact: bool) -> Vec<MetricFamily> {
    let role = |name, is| gauge_sample(&[("role", name)], f64::from(u8::from(status.role == is)));
    vec![
        gauge(TERM.0, TERM.1, float(status.term.get())),
        gauges(
            "quorate_role",
            "1 for what this coordinator is in the cluster.",
            vec![
                role("leader", Role::Leader),
                role("follower", Role::Follower),
                role("candidate", Role::Candidate),
                role("learner", Role::Learner),
            ],
        ),
        gauge(
            "quorate_leader_id",
            "The leader that this coordinator knows of; 0: none.",
            status.leader.map_or(0.0, |leader| float(leader.get())),
        ),
        gauge(
            "quorate_in_contact",
            "1 while in contact with a leader that has a quorum.",
            f64::from(u8::from(in_contact)),
        ),
        gauge(
            "quorate_last_log_index",
            "The last entry in the log.",
            float(status.last_log_index.get()),
        ),
        gauge(
            "quorate_committed_index",
            "The last log entry known to be committed.",
            float(status.committed_index.get()),
        ),
        gauge(
            "quorate_checkpoint_index",
            "The last log entry that the newest checkpoint covers.",
            float(status.checkpoint_index.get()),
        ),
        gauge(
            "quorate_proposals_waiting",
            "Commands that wait to be proposed.",
            float(u64::try_from(status.proposals_waiting).unwrap_or(u64::MAX)),
        ),
    ]
}

fn store(state: &State) -> Vec<MetricFamily> {
    let history = state.history();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    vec![
        counter("quorate_revision", "The revision of the last change.", state.revision().get()),
        gauge("quorate_records", "Records in the state.", float(count(state.len()))),
        gauge("quorate_sessions", "Sessions that are alive.", float(count(state.sessions().len()))),
        gauge(
            "quorate_history_oldest_revision",
            "The oldest revision from which a change stream can start.",
            float(history.oldest().get()),
        ),
        gauge("quorate_history_bytes", "Bytes of changes kept.", float(history.bytes())),
        gauge("quorate_history_revisions", "Revisions kept.", float(count(history.len()))),
    ]
}

/// The states of partitions, as labels.
const PARTITION_STATES: [(PartitionState, &str); 4] = [
    (PartitionState::Unassigned, "unassigned"),
    (PartitionState::Assigned, "assigned"),
    (PartitionState::Releasing, "releasing"),
    (PartitionState::Deleted, "deleted"),
];
/// The states of workers, as labels.
const WORKER_STATES: [(WorkerState, &str); 4] = [
    (WorkerState::Joining, "joining"),
    (WorkerState::Active, "active"),
    (WorkerState::Draining, "draining"),
    (WorkerState::Down, "down"),
];

/// What partitions, connections and workers there are.
#[derive(Debug, Default)]
struct Tally {
    networks: BTreeMap<String, PerNetwork>,
    /// As in [`WORKER_STATES`].
    workers: [u64; 4],
    demand: Resources,
    capacity: Resources,
    /// Of these two, what is shown.
    resources: BTreeSet<Name>,
    pools: Pools,
    /// Networks that have no series of their own.
    networks_left_out: u64,
    /// Resources of partitions and workers that have none.
    resources_left_out: u64,
}

#[derive(Debug, Default)]
struct PerNetwork {
    partitions: u64,
    /// As in [`PARTITION_STATES`].
    states: [u64; 4],
    load_ppm_sum: u64,
    load_ppm_max: u64,
    /// Those that are pending, then as in [`ConnectionState::ALL`].
    connections: [u64; 5],
}

impl Tally {
    fn of(state: &State, limits: &Limits) -> Self {
        let mut tally = Self { pools: Pools::of(state, limits), ..Self::default() };
        for (key, _) in state.records_of(Kind::Network) {
            if tally.networks.len() < limits.networks_max {
                let name = String::from_utf8_lossy(&key.bytes).into_owned();
                tally.networks.insert(name, PerNetwork::default());
            } else {
                tally.networks_left_out += 1;
            }
        }
        tally.partitions(state);
        tally.connections(state);
        tally.workers(state);
        tally.choose_resources(limits.resources_max);
        tally
    }

    fn partitions(&mut self, state: &State) {
        for (key, record) in state.records_of(Kind::Partition) {
            if let Record::Partition(partition) = &record.value
                && let Some(id) = text(&key.bytes).and_then(PartitionId::parse)
            {
                let network = self.network(id.network.as_str());
                network.partitions += 1;
                count(&PARTITION_STATES, &mut network.states, partition.state);
                network.load_ppm_sum += partition.load_ppm;
                network.load_ppm_max = network.load_ppm_max.max(partition.load_ppm);
                self.demand.add(&partition.demand, 1);
            }
        }
    }

    fn connections(&mut self, state: &State) {
        for (key, record) in state.records_of(Kind::Connection) {
            if let Record::Connection(_) = &record.value
                && let Some(id) = key.as_connection()
            {
                self.network(id.network.as_str()).connections[0] += 1;
            }
        }
        for (key, record) in state.records_of(Kind::ConnectionStatus) {
            if let Record::ConnectionStatus(status) = &record.value
                && let Some(id) = key.as_connection()
            {
                let counts = &mut self.network(id.network.as_str()).connections;
                counts[0] = counts[0].saturating_sub(1);
                for (known, count) in ConnectionState::ALL.iter().zip(&mut counts[1..]) {
                    *count += u64::from(*known == status.state);
                }
            }
        }
    }

    fn workers(&mut self, state: &State) {
        for (_, record) in state.records_of(Kind::Worker) {
            if let Record::Worker(worker) = &record.value {
                count(&WORKER_STATES, &mut self.workers, worker.state);
                // One that is down gives nothing.
                if worker.state != WorkerState::Down {
                    self.capacity.add(&worker.capacity, 1);
                }
            }
        }
    }

    /// The same of what is needed as of what is given.
    fn choose_resources(&mut self, max: usize) {
        let all: BTreeSet<&Name> =
            self.demand.iter().chain(self.capacity.iter()).map(|(name, _)| name).collect();
        self.resources_left_out = all.len().saturating_sub(max) as u64;
        self.resources = all.into_iter().take(max).cloned().collect();
    }

    fn network(&mut self, name: &str) -> &mut PerNetwork {
        let name = if self.networks.contains_key(name) { name } else { OTHERS };
        self.networks.entry(name.to_owned()).or_default()
    }

    fn families(&self) -> Vec<MetricFamily> {
        let each = |sample: &dyn Fn(&str, &PerNetwork) -> Vec<prometheus::proto::Metric>| {
            self.networks.iter().flat_map(|(name, network)| sample(name, network)).collect()
        };
        let partitions = each(&|name, network| {
            let sample = |((_, state), count): (&(_, &str), u64)| {
                gauge_sample(&[("network", name), ("state", state)], float(count))
            };
            PARTITION_STATES.iter().zip(network.states).map(sample).collect()
        });
        let workers = WORKER_STATES.iter().zip(self.workers);
        let workers = workers
            .map(|((_, state), count)| gauge_sample(&[("state", state)], float(count)))
            .collect();
        let load = each(&|name, network| {
            let mean = network.load_ppm_sum.checked_div(network.partitions).unwrap_or(0);
            let sample = |stat, ppm| {
                gauge_sample(&[("network", name), ("stat", stat)], float(ppm) / 1_000_000.0)
            };
            vec![sample("max", network.load_ppm_max), sample("mean", mean)]
        });
        let connections = each(&|name, network| {
            let states = ["pending"].into_iter().chain(ConnectionState::ALL.map(|it| it.as_str()));
            let sample =
                |(state, count)| gauge_sample(&[("network", name), ("state", state)], float(count));
            states.zip(network.connections).map(sample).collect()
        });
        let amounts = |resources: &Resources| -> Vec<_> {
            let sample = |(name, amount): (&quorate_core::Name, u64)| {
                gauge_sample(&[("resource", name.as_str())], float(amount))
            };
            resources
                .iter()
                .filter(|(name, _)| self.resources.contains(*name))
                .map(sample)
                .collect()
        };
        vec![
            gauges("quorate_partitions", "Partitions, by network and state.", partitions),
            gauges("quorate_workers", "Workers, by state.", workers),
            gauges(
                "quorate_partition_load",
                "Declared load of a network's partitions as a share of the network's demand.",
                load,
            ),
            gauges("quorate_connection_status", "Connections, by network and state.", connections),
            gauges(
                "quorate_resource_usage",
                "What all partitions need (no pool) or what is granted of a pool, by resource, in the \
                 resource's unit.",
                [amounts(&self.demand), self.pools.usage()].concat(),
            ),
            gauges(
                "quorate_resource_capacity",
                "What all workers that are not down can give (no pool) or what a pool has, by \
                 resource, in the resource's unit.",
                [amounts(&self.capacity), self.pools.capacity()].concat(),
            ),
            gauges(
                "quorate_allocations",
                "Allocations, by pool and state.",
                self.pools.allocations(),
            ),
            self.left_out(),
        ]
    }

    fn left_out(&self) -> MetricFamily {
        let left_out = [
            ("networks", self.networks_left_out),
            ("pools", self.pools.left_out),
            ("pool_resources", self.pools.resources_left_out),
            ("resources", self.resources_left_out),
        ];
        let sample = |(what, count)| gauge_sample(&[("what", what)], float(count));
        gauges(
            "quorate_metrics_left_out",
            "Networks and pools that are summed up as (others), and resources of pools, and of workers and \
             partitions, that are not shown, for the limits of the section metrics.",
            left_out.map(sample).to_vec(),
        )
    }
}

/// Counts one of a state.
fn count<S: PartialEq>(states: &[(S, &str); 4], counts: &mut [u64; 4], state: S) {
    for ((known, _), count) in states.iter().zip(counts) {
        *count += u64::from(*known == state);
    }
}

/// What partitions and connections there are, without the memory of earlier scrapes.
#[cfg(test)]
pub(super) fn tally_families(state: &State) -> Vec<MetricFamily> {
    tally_within(state, &Limits::default())
}

/// The same within other limits.
#[cfg(test)]
pub(super) fn tally_within(state: &State, limits: &Limits) -> Vec<MetricFamily> {
    Tally::of(state, limits).families()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
