//! Networks that were damaged as bytes: refused, or planned by every strategy, or told why not.

use quorate_core::{
    ConnectionPolicy, Name, NetworkSpec, PartitionPolicy, Process, ProcessEdge, Resources,
    Settings, codec,
};
use quorate_fuzz::Target;
use quorate_plan::{NetworkView, PartitionRequest, Seed, Strategies, partition};

fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

fn sample(processes: u32, partitions: u32) -> Vec<u8> {
    let id = |at: u32| name(&format!("p{at:03}"));
    let zone = |at: u32| if at.is_multiple_of(2) { "a" } else { "b" };
    let process = |at: u32| Process {
        needs: [(name(Resources::CPU_MILLIS), u64::from(at) * 7 % 5)].into_iter().collect(),
        requires: [("zone".to_owned(), zone(at).to_owned())].into(),
        ..Process::new(id(at), "c")
    };
    let edge = |at: u32| ProcessEdge { from: id(at / 2), to: id(at), rate: at.into() };
    let mut spec = NetworkSpec {
        processes: (0..processes).map(process).collect(),
        connections: (1..processes).map(edge).collect(),
        policy: PartitionPolicy {
            partitions,
            strategy: name("multilevel"),
            shares: (0..partitions).map(|at| at % 3 + 1).collect(),
            ..PartitionPolicy::default()
        },
        connection: ConnectionPolicy { attempts_max: 5, backoff_ms: 20, ..Default::default() },
    };
    spec.processes[0].affinity = Some(name("g"));
    spec.processes[2].affinity = Some(name("g"));
    spec.processes[1].anti_affinity = Some(name("h"));
    spec.processes[4].anti_affinity = Some(name("h"));
    codec::encode(&spec)
}

#[test]
fn damaged_networks() {
    let samples = vec![sample(5, 2), sample(12, 3), sample(40, 7)];
    let strategies = Strategies::builtin();
    let tried = Target::new("networks to plan", samples).run(|bytes| {
        let mut spec: NetworkSpec = codec::decode(bytes).map_err(|error| error.to_string())?;
        spec.validate(&Settings::default()).map_err(|error| error.to_string())?;
        spec.canonicalize();
        let view = NetworkView::new(&spec).expect("a valid network");
        let count = view.len().min(spec.policy.partitions.max(1));
        let shares = spec.policy.shares.as_slice();
        for strategy in strategies.names() {
            let strategy = strategies.get(strategy).expect("it is registered");
            let request = PartitionRequest {
                view: &view,
                partitions: count,
                shares,
                seed: Seed(1),
                current: None,
            };
            let plan = partition(strategy, &request).map_err(|error| error.to_string())?;
            assert_eq!(partition(strategy, &request), Ok(plan), "it was planned differently");
        }
        Ok(())
    });
    assert!(tried.accepted() > 10 && tried.refused() > 100, "{tried:?}");
}
