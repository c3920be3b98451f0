//! Recorded workflows, where they are present, and the samples: each is planned and applied, and
//! every process is in exactly one partition.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use quorate_client::network_file;
use quorate_node::{
    core::{
        ClusterId, Command, ConnectionId, Identity, Key, KeyRange, Kind, Name, NetworkSpec,
        PartitionId, PartitionPolicy, Pool, Record, RestoreEpoch, Settings, Stamp, State, Tenant,
        apply,
    },
    network::{Planned, plan_apply, summary},
};
use quorate_plan::Strategies;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Partition by process, as it is stored.
fn placed(state: &State, name: &Name) -> BTreeMap<Name, u32> {
    let range = KeyRange::Prefix(Kind::Partition, format!("{name}/").into());
    let mut placed = BTreeMap::new();
    for (key, record) in state.range(&range) {
        let id = PartitionId::parse(std::str::from_utf8(&key.bytes).unwrap()).unwrap();
        let Record::Partition(partition) = &record.value else { panic!("{record:?}") };
        assert!(!partition.processes.is_empty(), "{id}");
        for process in &partition.processes {
            let twice = placed.insert(process.id.clone(), id.index);
            assert_eq!(twice, None, "{} is in two partitions", process.id);
        }
    }
    placed
}

/// The pool that a policy names, if it does.
fn with_pool(state: &mut State, policy: &PartitionPolicy) -> Option<Name> {
    let (name, tenant) = policy.source()?;
    let tenants = [(tenant.clone(), Tenant::default())].into();
    let pool = Pool { tenants, ..Pool::default() };
    let put = Command::PutPool { name: name.clone(), pool };
    apply(state, Stamp::at(1), &put).outcome.result.unwrap();
    Some(name.clone())
}

/// Applies a network to a state without one, and checks what it made against a count by hand.
fn check(name: &Name, spec: NetworkSpec) {
    let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
    let mut state = State::new(identity);
    let pool = with_pool(&mut state, &spec.policy);
    let before = state.revision();
    let planned = plan_apply(&state, &Strategies::builtin(), name, spec.clone()).unwrap();
    let Planned::Change(command, numbers) = planned else { panic!("nothing to do") };
    let applied = apply(&mut state, Stamp::at(1), &command);
    applied.outcome.result.unwrap();
    state.check().unwrap();
    assert_eq!(state.revision(), before.next(), "one revision for all of it");
    assert_eq!(summary(&state, name), Some(numbers));

    let placed = placed(&state, name);
    assert_eq!(placed.len(), spec.processes.len());
    assert!(spec.processes.iter().all(|process| placed.contains_key(&process.id)));
    let mut crossing: BTreeMap<(u32, u32), Vec<_>> = BTreeMap::new();
    for edge in &spec.connections {
        let (from, to) = (placed[&edge.from], placed[&edge.to]);
        if from != to {
            crossing.entry((from, to)).or_default().push(edge.clone());
        }
    }
    let range = KeyRange::Prefix(Kind::Connection, format!("{name}/").into());
    assert_eq!(state.range(&range).count(), crossing.len());
    for ((from, to), edges) in crossing {
        let id = ConnectionId { network: name.clone(), from, to };
        match &state.get(&Key::connection(&id)).unwrap().value {
            Record::Connection(connection) => assert_eq!(connection.edges, edges),
            other => panic!("{other:?}"),
        }
    }
    let again = plan_apply(&state, &Strategies::builtin(), name, spec).unwrap();
    assert!(matches!(again, Planned::Unchanged(_)));
    apply(&mut state, Stamp::at(2), &Command::DeleteNetwork { name: name.clone() });
    if let Some(name) = pool {
        apply(&mut state, Stamp::at(2), &Command::DeletePool { name });
    }
    assert!(state.is_empty());
}

fn check_all(files: &[PathBuf]) {
    for file in files {
        let spec = network_file::read(file).unwrap_or_else(|error| panic!("{error}"));
        let name = Name::new(file.file_stem().unwrap().to_str().unwrap()).unwrap();
        let processes = u32::try_from(spec.processes.len()).unwrap();
        let own = spec.policy.partitions;
        for partitions in [1, 2, 3, 4, 7, processes / 2, processes] {
            // Who must not meet needs some partitions, who must not part allows only some.
            let mut spec = spec.clone();
            (spec.policy.partitions, spec.policy.shares) = (partitions, Vec::new());
            let refused = spec.validate(&Settings::default()).is_err();
            let constrained = spec.processes.iter().any(|it| {
                it.affinity.is_some() || it.anti_affinity.is_some() || !it.requires.is_empty()
            });
            assert!(!refused || (constrained && partitions != own), "{partitions} partitions");
            if !refused {
                check(&name, spec);
            }
        }
    }
}

#[test]
fn samples_are_partitioned() {
    check_all(&files(&root().join("config/networks")));
}

#[test]
fn recorded_workflows_are_partitioned() {
    let folder = root().join("../shared/data/workflows");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let files = files(&folder);
    assert!(!files.is_empty());
    check_all(&files);
}
