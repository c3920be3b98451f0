//! Networks that were damaged as bytes: refused, or planned by every strategy, or told why not.

use quorate_core::{NetworkSpec, Settings, codec};
use quorate_fuzz::Target;
use quorate_plan::{NetworkView, PartitionRequest, Seed, Strategies, partition};

use crate::support::{edge, name, network, process};

fn sample(processes: u32, partitions: u32) -> Vec<u8> {
    let id = |at: u32| format!("p{at:03}");
    let mut spec = network(
        (0..processes).map(|at| process(&id(at), u64::from(at) * 7 % 5)).collect(),
        (1..processes).map(|at| edge(&id(at / 2), &id(at), u64::from(at))).collect(),
    );
    spec.policy.partitions = partitions;
    spec.policy.strategy = name("multilevel");
    spec.policy.shares = (0..partitions).map(|at| at % 3 + 1).collect();
    for (process, zone) in spec.processes.iter_mut().zip(["a", "b"].iter().cycle()) {
        process.requires.insert("zone".into(), (*zone).into());
    }
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
