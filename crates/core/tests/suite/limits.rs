//! Sizes: the default limits admit what the design asks for, and huge requests are bounded.

use std::sync::Arc;

use quorate_core::{
    ApplyNetwork, Command, Key, KeyRange, Kind, Name, NetworkSpec, Operation, Parallelism,
    PartitionPolicy, Process, ProcessEdge, Reason, Record, Resources, SETTINGS, Settings, Stamp,
    State, Transaction, apply, setting,
};

use crate::generate::IDENTITY;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A chain of processes with some edges besides, in `partitions` partitions of neighbours.
fn network(processes: usize, partitions: u32) -> ApplyNetwork {
    let ids: Vec<Name> = (0..processes).map(|at| name(&format!("process-{at:06}"))).collect();
    let id = |at: usize| ids[at].clone();
    let needs: Resources =
        [(name("cpu_millis"), 100), (name("memory_bytes"), 1 << 20)].into_iter().collect();
    let process = |at| Process {
        needs: needs.clone(),
        parallelism: Parallelism { min: 1, max: 4 },
        ..Process::new(id(at), "stage")
    };
    let edges = (0..processes).flat_map(|at| {
        let to = [at + 1, at + 1000].into_iter().filter(move |to| *to < processes);
        to.map(move |to| (at, to))
    });
    let edge = |(from, to)| ProcessEdge { from: id(from), to: id(to), rate: 1000 };
    ApplyNetwork {
        name: name("large"),
        spec: NetworkSpec {
            processes: (0..processes).map(process).collect(),
            connections: edges.map(edge).collect(),
            policy: PartitionPolicy {
                partitions,
                strategy: name("blocks"),
                ..PartitionPolicy::default()
            },
            connection: Default::default(),
        },
        assignment: (0..partitions).cycle().take(processes).collect(),
        basis: None,
    }
}

#[test]
fn a_network_of_100_000_processes_is_applied_updated_and_deleted() {
    let mut state = State::new(IDENTITY);
    let at = Stamp::at(1);
    let mut command = network(100_000, 1_000);
    let created = apply(&mut state, at, &Command::ApplyNetwork(command.clone()));
    assert!(created.outcome.result.is_ok(), "{:?}", created.outcome.result);
    command.basis = Some(state.revision());
    command.spec.processes[0].needs = Resources::default();
    let updated = apply(&mut state, at, &Command::ApplyNetwork(command));
    assert!(updated.outcome.result.is_ok(), "{:?}", updated.outcome.result);
    let deleted = apply(&mut state, at, &Command::DeleteNetwork { name: name("large") });
    assert!(deleted.outcome.result.is_ok(), "{:?}", deleted.outcome.result);
    assert!(state.is_empty());
}

#[test]
fn every_setting_can_be_set_to_its_bounds_and_back() {
    let mut state = State::new(IDENTITY);
    for pick in [|d: &setting::SettingDefinition| d.min, |d: &setting::SettingDefinition| d.max] {
        for definition in SETTINGS {
            let key = Key::setting(&name(definition.name));
            let record = Record::Setting(Arc::from(pick(definition).to_string()));
            let put = Operation::Put { key: key.clone(), record, return_previous: true };
            let success = vec![put];
            let command = Command::Transaction(Transaction { success, ..Transaction::default() });
            let applied = apply(&mut state, Stamp::at(1), &command);
            assert!(applied.outcome.result.is_ok(), "{key}: {:?}", applied.outcome.result);
            assert_eq!(state.settings().get(&name(definition.name)), Some(pick(definition)));
            assert_eq!(state.check(), Ok(()));
        }
        for definition in SETTINGS {
            let range = KeyRange::Single(Key::setting(&name(definition.name)));
            let success = vec![Operation::Delete { range, return_previous: true }];
            let command = Command::Transaction(Transaction { success, ..Transaction::default() });
            assert!(apply(&mut state, Stamp::at(1), &command).event.is_some());
        }
        assert_eq!(*state.settings(), Settings::default());
    }
}

#[test]
fn a_scan_of_everything_is_bounded() {
    let mut state = State::new(IDENTITY);
    for batch in 0..101 {
        let put = |at: u32| Operation::Put {
            key: Key::entry(format!("{batch:03}/{at:03}")),
            record: Record::Entry("v".into()),
            return_previous: false,
        };
        let success = (0..1000).map(put).collect();
        let command = Command::Transaction(Transaction { success, ..Transaction::default() });
        assert!(apply(&mut state, Stamp::at(1), &command).event.is_some());
    }
    let all = KeyRange::Prefix(Kind::Entry, "".into());
    let run = |state: &mut State, operation| {
        let success = vec![operation];
        let command = Command::Transaction(Transaction { success, ..Transaction::default() });
        apply(state, Stamp::at(1), &command).outcome.result
    };
    let delete = Operation::Delete { range: all.clone(), return_previous: false };
    let rejection = run(&mut state, delete).unwrap_err();
    assert_eq!(rejection.reason, Reason::LimitExceeded);
    assert_eq!(rejection.field, "success[0].delete");
    assert_eq!(state.len(), 101_000);
    assert!(run(&mut state, Operation::Get { range: all, limit: 0 }).is_ok());
    assert_eq!(state.check(), Ok(()));
}
