//! What a scrape shows, and that it follows the state.

use std::{collections::BTreeMap, time::Duration};

use prometheus::proto::MetricFamily;
use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Identity, Name, NetworkSpec, Owner, PartitionId,
    PartitionPolicy, Process, ProcessEdge, RegisterWorker, Resources, RestoreEpoch, SessionId,
    Stamp, State, apply,
};
use tonic::Code;

use super::{family, state::tally_families, *};

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

#[test]
fn networks_beyond_the_bound_are_summed_up() {
    let mut state = state();
    for number in 0..203 {
        network(&mut state, &format!("net{number:03}"));
    }
    let text = render(&tally_families(&state));
    assert_has(
        &text,
        &[
            "quorate_partitions{network=\"net199\",state=\"unassigned\"} 2",
            "quorate_partitions{network=\"(others)\",state=\"unassigned\"} 6",
        ],
    );
    assert!(!text.contains("net200"));
}

#[test]
fn an_empty_state_has_no_samples_but_that_there_are_no_workers() {
    let text = render(&tally_families(&state()));
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
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
