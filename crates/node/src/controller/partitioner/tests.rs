//! What the partitioner decides, look by look, on states in memory.

use std::collections::BTreeMap;

use quorate_core::{
    ApplyNetwork, ClusterId, Command, Grant, Identity, Load, LoadId, NetworkSpec, Operation, Owner,
    PartitionPolicy, Process, RegisterWorker, Reply, Resources, RestoreEpoch, Stamp, Transaction,
    apply,
};

use super::*;

const COOLDOWN_MS: u64 = 600_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

struct Cluster {
    state: State,
    now_ms: u64,
    owner: Owner,
}

impl Cluster {
    /// Partitions of four processes each, all owned.
    fn new(partitions: u32) -> Self {
        let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
        let owner = Owner { worker: name("w"), session: Default::default() };
        let mut cluster = Self { state: State::new(identity), now_ms: 1_000_000, owner };
        let open = Command::OpenSession { ttl_ms: 5_000, label: "".into() };
        let Reply::OpenSession { id: session, .. } = cluster.run(&open) else {
            panic!("no session")
        };
        cluster.owner.session = session;
        cluster.run(&Command::RegisterWorker(RegisterWorker {
            name: name("w"),
            session,
            address: "w:1".into(),
            capacity: Resources::default(),
            labels: BTreeMap::new(),
        }));
        let process = |at: u32| Process::new(name(&format!("p{at:03}")), "c");
        let strategy = name("round-robin");
        let spec = NetworkSpec {
            processes: (0..4 * partitions).map(process).collect(),
            connections: Vec::new(),
            policy: PartitionPolicy { partitions, strategy, ..PartitionPolicy::default() },
            connection: quorate_core::ConnectionPolicy::default(),
        };
        let assignment = (0..4 * partitions).map(|at| at / 4).collect();
        let command = ApplyNetwork { name: name("net"), spec, assignment, basis: None };
        cluster.run(&Command::ApplyNetwork(command));
        cluster.own_all();
        for (setting, value) in [("split_enabled", 1), ("split_load_ppm_above", 800_000)] {
            cluster.set(setting, value);
        }
        cluster.now_ms += COOLDOWN_MS;
        cluster
    }

    fn run(&mut self, command: &Command) -> Reply {
        let applied = apply(&mut self.state, Stamp::at(self.now_ms), command);
        assert_eq!(self.state.check(), Ok(()));
        applied.outcome.result.unwrap()
    }

    fn own_all(&mut self) {
        let grant = |index| Grant { partition: id(index), owner: self.owner.clone() };
        let grants = (0..self.partitions()).map(grant).collect();
        self.run(&Command::AssignPartitions { grants });
    }

    fn set(&mut self, setting: &str, value: u64) {
        let record = Record::Setting(value.to_string().into());
        let key = Key::setting(&name(setting));
        let success = vec![Operation::Put { key, record, return_previous: false }];
        self.run(&Command::Transaction(Transaction { success, ..Transaction::default() }));
    }

    fn report(&mut self, index: u32, percent: u64) {
        let load = Load { load_ppm: percent * 10_000 };
        self.run(&Command::ReportLoads { loads: vec![(LoadId::Partition(id(index)), load)] });
    }

    fn partitions(&self) -> u32 {
        let live = self.state.records_of(Kind::Partition).filter(|(_, record)| {
            matches!(&record.value, Record::Partition(it) if it.state != PartitionState::Deleted)
        });
        u32::try_from(live.count()).unwrap()
    }

    /// Looks, and does what is decided. Gives the reasons.
    fn look(&mut self) -> Vec<String> {
        let now = Now { elapsed_ms: 0, unix_ms: self.now_ms };
        let acts = Partitioner::default().decide(&self.state, &Strategies::builtin(), now);
        let done: Vec<_> =
            acts.into_iter().map(|act| (self.run(&act.command), act.reason).1).collect();
        self.own_all();
        done
    }

    fn later(&mut self) {
        self.now_ms += COOLDOWN_MS;
    }
}

#[test]
fn the_most_loaded_is_split_one_at_a_look_and_after_a_rest() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.look().len(), 0, "nothing was observed");
    cluster.report(0, 81);
    cluster.report(1, 95);
    assert_eq!(cluster.look(), ["net/1 has a load of 950000 ppm, above 800000"]);
    assert_eq!(cluster.partitions(), 4);
    assert_eq!(cluster.look().len(), 0, "it rests");
    cluster.later();
    assert_eq!(cluster.look(), ["net/0 has a load of 810000 ppm, above 800000"]);
    cluster.later();
    assert_eq!(
        (cluster.look().len(), cluster.partitions()),
        (0, 5),
        "what was split has no load yet"
    );
}

#[test]
fn many_processes_are_split_until_they_are_few() {
    let mut cluster = Cluster::new(2);
    cluster.set("split_processes_above", 1);
    for partitions in 3..=8 {
        cluster.later();
        assert_eq!(cluster.look().len(), 1);
        assert_eq!(cluster.partitions(), partitions);
    }
    cluster.later();
    assert_eq!(cluster.look().len(), 0, "one process is never split");
}

#[test]
fn what_was_split_is_not_merged_by_the_same_load() {
    let mut cluster = Cluster::new(2);
    cluster.set("merge_load_ppm_below", 500_000);
    cluster.report(0, 82);
    cluster.report(1, 60);
    cluster.look();
    assert_eq!(cluster.partitions(), 3);
    // Half of it each: both are below what is merged, but not together.
    for index in [0, 2] {
        cluster.report(index, 41);
    }
    for _ in 0..5 {
        cluster.later();
        assert_eq!(cluster.look().len(), 0);
    }
    for index in [0, 2] {
        cluster.report(index, 20);
    }
    cluster.later();
    assert_eq!(
        cluster.look(),
        ["net/0 and net/2 have loads of 200000 and 200000 ppm, below 500000"]
    );
    assert_eq!(cluster.partitions(), 2);
    // Together they have what they had, which is not split again.
    cluster.report(0, 40);
    for _ in 0..5 {
        cluster.later();
        assert_eq!(cluster.look().len(), 0);
    }
}

#[test]
fn settings_hold_it_back() {
    assert_eq!(Partitioner::held(&Settings::default()), Some(Idle::Disabled));
    let enabled = Settings { split_enabled: 1, ..Settings::default() };
    assert_eq!(Partitioner::held(&enabled), None);
    let maintained = Settings { maintenance: 1, ..enabled };
    assert_eq!(Partitioner::held(&maintained), Some(Idle::Maintenance));
}
