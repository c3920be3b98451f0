//! What a scrape shows, and that it follows the state.

use std::{collections::BTreeMap, time::Duration};

use prometheus::proto::MetricFamily;
use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Identity, Name, NetworkSpec, Owner, PartitionId,
    PartitionPolicy, Pool, Process, ProcessEdge, RegisterWorker, Resources, RestoreEpoch,
    SessionId, Stamp, State, apply,
};
use tonic::Code;

use super::{
    family,
    state::{tally_families, tally_within},
    *,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Three processes in a chain, the middle one in a partition of its own.
fn network(state: &mut State, network: &str) {
    let process = |id: &str, cpu| Process {
        needs: Resources::from_iter([(name(Resources::CPU_MILLIS), cpu)]),
        ..Process::new(name(id), "test")
    };
    let edge = |from: &str, to: &str| ProcessEdge { from: name(from), to: name(to), rate: 1 };
    let command = ApplyNetwork {
        name: name(network),
        spec: NetworkSpec {
            processes: vec![process("a", 100), process("b", 300), process("c", 600)],
            connections: vec![edge("a", "b"), edge("b", "c")],
            policy: PartitionPolicy {
                partitions: 2,
                strategy: name("round-robin"),
                ..PartitionPolicy::default()
            },
            connection: Default::default(),
        },
        assignment: vec![0, 1, 0],
        basis: None,
    };
    let applied = apply(state, Stamp::at(0), &Command::ApplyNetwork(command));
    applied.outcome.result.unwrap();
}

fn state() -> State {
    State::new(Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(0) })
}

fn render(families: &[MetricFamily]) -> String {
    // As a registry does it: a family without samples is not rendered.
    let shown = families.iter().filter(|family| !family.get_metric().is_empty());
    let shown: Vec<_> = shown.cloned().collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&shown, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|one| one == *line), "no {line} in\n{text}");
    }
}

#[test]
fn partitions_and_connections_are_counted_by_network() {
    let mut state = state();
    network(&mut state, "one");
    network(&mut state, "two");
    let text = render(&tally_families(&state));
    assert_has(
        &text,
        &[
            "quorate_partitions{network=\"one\",state=\"unassigned\"} 2",
            "quorate_partitions{network=\"two\",state=\"unassigned\"} 2",
            "quorate_partition_load{network=\"one\",stat=\"max\"} 0.7",
            "quorate_partition_load{network=\"one\",stat=\"mean\"} 0.5",
            "quorate_connection_status{network=\"one\",state=\"pending\"} 2",
            "quorate_resource_usage{resource=\"cpu_millis\"} 2000",
        ],
    );
}

/// A pool of so many resources, of each `capacity`.
fn pool(state: &mut State, text: &str, resources: u64, capacity: u64) {
    let amount = |at| (name(&format!("r{at:02}")), capacity);
    let pool = Pool { capacity: (0..resources).map(amount).collect(), ..Pool::default() };
    let command = Command::PutPool { name: name(text), pool };
    apply(state, Stamp::at(0), &command).outcome.result.unwrap();
}

/// How many series a text has of a metric.
fn series(text: &str, metric: &str) -> usize {
    let of = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{'));
    text.lines().filter(of).count()
}

/// So many networks, and so many pools of so many resources each.
fn large(networks: usize, pools: usize, resources: u64) -> State {
    let mut state = state();
    (0..networks).for_each(|number| network(&mut state, &format!("net{number:03}")));
    (0..pools).for_each(|number| pool(&mut state, &format!("pool{number:03}"), resources, 10));
    state
}

#[test]
fn what_is_within_the_bounds_is_shown_whole() {
    let text = render(&tally_families(&large(200, 100, 16)));
    assert_eq!(series(&text, "quorate_partitions"), 200 * 4);
    assert_eq!(series(&text, "quorate_connection_status"), 200 * 5);
    // What workers and partitions have to do with it is one resource.
    assert_eq!(series(&text, "quorate_resource_capacity"), 100 * 16);
    assert_eq!(series(&text, "quorate_resource_usage"), 100 * 16 + 1);
    assert_eq!(series(&text, "quorate_allocations"), 100 * 2);
    assert!(!text.contains("=\"(others)\""));
    for what in ["networks", "pools", "pool_resources", "resources"] {
        assert_has(&text, &[&format!("quorate_metrics_left_out{{what=\"{what}\"}} 0")]);
    }
}

#[test]
fn what_is_beyond_the_bounds_is_summed_up_and_counted() {
    let text = render(&tally_families(&large(250, 130, 20)));
    assert_eq!(series(&text, "quorate_partitions"), 201 * 4);
    assert_eq!(series(&text, "quorate_partition_load"), 201 * 2);
    assert_eq!(series(&text, "quorate_connection_status"), 201 * 5);
    assert_eq!(series(&text, "quorate_resource_capacity"), 101 * 16);
    assert_eq!(series(&text, "quorate_allocations"), 101 * 2);
    assert_has(
        &text,
        &[
            "quorate_partitions{network=\"net199\",state=\"unassigned\"} 2",
            "quorate_partitions{network=\"(others)\",state=\"unassigned\"} 100",
            "quorate_connection_status{network=\"(others)\",state=\"pending\"} 100",
            "quorate_resource_capacity{pool=\"pool099\",resource=\"r15\"} 10",
            "quorate_resource_capacity{pool=\"(others)\",resource=\"r15\"} 300",
            "quorate_allocations{pool=\"(others)\",state=\"waiting\"} 0",
            "quorate_metrics_left_out{what=\"networks\"} 50",
            "quorate_metrics_left_out{what=\"pools\"} 30",
            "quorate_metrics_left_out{what=\"pool_resources\"} 520",
        ],
    );
    for left_out in ["net200", "pool100", "r16"] {
        assert!(!text.contains(left_out), "{left_out}");
    }
}

#[test]
fn the_bounds_are_those_of_the_configuration() {
    let mut state = large(3, 3, 3);
    let session = SessionId {
        restore: RestoreEpoch(0),
        revision: {
            let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
            apply(&mut state, Stamp::at(0), &open).outcome.result.unwrap();
            state.revision()
        },
    };
    let capacity =
        ["a", "b", Resources::CPU_MILLIS].map(|text| (name(text), 7)).into_iter().collect();
    let register = RegisterWorker {
        name: name("w"),
        session,
        address: "127.0.0.1:1".into(),
        capacity,
        labels: BTreeMap::new(),
    };
    apply(&mut state, Stamp::at(0), &Command::RegisterWorker(register)).outcome.result.unwrap();
    let limits = crate::config::Metrics { networks_max: 1, pools_max: 0, resources_max: 2 };
    let text = render(&tally_within(&state, &limits));
    assert_eq!(series(&text, "quorate_partitions"), 2 * 4);
    assert_has(
        &text,
        &[
            "quorate_resource_capacity{resource=\"a\"} 7",
            "quorate_resource_capacity{resource=\"b\"} 7",
            "quorate_resource_capacity{pool=\"(others)\",resource=\"r01\"} 30",
            "quorate_metrics_left_out{what=\"networks\"} 2",
            "quorate_metrics_left_out{what=\"pools\"} 3",
            "quorate_metrics_left_out{what=\"pool_resources\"} 3",
            "quorate_metrics_left_out{what=\"resources\"} 1",
        ],
    );
    assert!(!text.contains(Resources::CPU_MILLIS), "the third by name");
}

#[test]
fn an_empty_state_has_no_samples_but_that_there_are_no_workers() {
    let text = render(&tally_families(&state()));
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<_> = samples.filter(|line| !line.contains("_left_out{")).collect();
    let none = ["joining", "active", "draining", "down"];
    assert_eq!(samples, none.map(|state| format!("quorate_workers{{state=\"{state}\"}} 0")));
}

#[test]
fn workers_and_what_they_own_are_counted_by_state() {
    let mut state = state();
    network(&mut state, "one");
    let mut run = |command| {
        apply(&mut state, Stamp::at(0), &command).outcome.result.unwrap();
        state.revision()
    };
    let open = || Command::OpenSession { ttl_ms: 5_000, label: "".into() };
    let workers = ["a", "b"].map(|worker| {
        let session = SessionId { restore: RestoreEpoch(0), revision: run(open()) };
        run(Command::RegisterWorker(RegisterWorker {
            name: name(worker),
            session,
            address: "127.0.0.1:1".into(),
            capacity: Resources::from_iter([(name(Resources::CPU_MILLIS), 700)]),
            labels: BTreeMap::new(),
        }));
        Owner { worker: name(worker), session }
    });
    let partition = PartitionId { network: name("one"), index: 1 };
    let grants = vec![Grant { partition, owner: workers[0].clone() }];
    run(Command::AssignPartitions { grants });
    run(Command::CloseSession { id: workers[1].session });
    let text = render(&tally_families(&state));
    assert_has(
        &text,
        &[
            "quorate_partitions{network=\"one\",state=\"unassigned\"} 1",
            "quorate_partitions{network=\"one\",state=\"assigned\"} 1",
            "quorate_partitions{network=\"one\",state=\"releasing\"} 0",
            "quorate_workers{state=\"active\"} 1",
            "quorate_workers{state=\"down\"} 1",
            "quorate_resource_capacity{resource=\"cpu_millis\"} 700",
        ],
    );
}

#[test]
fn histograms_are_cumulative() {
    let bounds = [0.1, 1.0];
    let text = render(&[family::histogram("h", "help", &bounds, &[2, 3, 4], 9.5)]);
    assert_has(
        &text,
        &[
            "h_bucket{le=\"0.1\"} 2",
            "h_bucket{le=\"1\"} 5",
            "h_bucket{le=\"+Inf\"} 9",
            "h_sum 9.5",
            "h_count 9",
        ],
    );
}

#[test]
fn calls_are_counted_by_method_and_code_and_unknown_methods_together() {
    let metrics = Metrics::new();
    let took = Duration::from_millis(2);
    metrics.rpc.answered("/quorate.v1.StoreService/Put", Code::Ok, took);
    metrics.rpc.answered("/quorate.v1.StoreService/Put", Code::Unavailable, took);
    metrics.rpc.answered("/made.up/One", Code::Unimplemented, took);
    metrics.rpc.answered("/made.up/Two", Code::Unimplemented, took);
    let text = metrics.render().unwrap();
    assert_has(
        &text,
        &[
            "quorate_rpc_requests_total{code=\"OK\",method=\"StoreService/Put\"} 1",
            "quorate_rpc_requests_total{code=\"UNAVAILABLE\",method=\"StoreService/Put\"} 1",
            "quorate_rpc_requests_total{code=\"UNIMPLEMENTED\",method=\"other\"} 2",
            "quorate_rpc_seconds_count{method=\"StoreService/Put\"} 2",
        ],
    );
    assert!(!text.contains("made.up"));
}

#[test]
fn several_coordinators_in_a_process_count_apart() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.streams.watchers.inc();
    assert_eq!(other.streams.watchers.get(), 0);
}
