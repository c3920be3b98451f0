//! Checks a plan against what was asked. Shares no code with the planner.

use std::collections::BTreeMap;

use quorate_core::{
    Name, PartitionId, WorkerState,
    plan::{Leaving, Move, MoveReason, Plan},
};
use quorate_plan::cluster::{BalancePolicy, Moves, PartitionSpec, Traffic, WorkerSpec};

use crate::support::Cluster;

/// Where partitions are, while moves are carried out.
struct Board<'a> {
    workers: BTreeMap<&'a Name, &'a WorkerSpec>,
    partitions: BTreeMap<&'a PartitionId, &'a PartitionSpec>,
    places: BTreeMap<&'a PartitionId, Option<Name>>,
}

impl<'a> Board<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let places = cluster.partitions.iter().map(|it| (&it.id, it.worker.clone())).collect();
        Self {
            workers: cluster.workers.iter().map(|it| (&it.name, it)).collect(),
            partitions: cluster.partitions.iter().map(|it| (&it.id, it)).collect(),
            places,
        }
    }

    fn on<'b>(&'b self, worker: &'b Name) -> impl Iterator<Item = &'a PartitionSpec> + 'b {
        let there = self.places.iter().filter(move |(_, place)| place.as_ref() == Some(worker));
        there.map(|(id, _)| self.partitions[*id])
    }

    /// What a worker's partitions need of a resource.
    fn used(&self, worker: &Name, resource: &Name) -> u128 {
        self.on(worker).map(|it| u128::from(it.demand.get(resource))).sum()
    }

    /// A resource of which a worker gives less than is needed, and by how much.
    fn short(&self, worker: &Name) -> Vec<(Name, u128)> {
        let Some(spec) = self.workers.get(worker) else { return Vec::new() };
        let gives = spec.capacity.iter();
        gives
            .filter_map(|(resource, gives)| {
                let used = self.used(worker, resource);
                let short = used.checked_sub(u128::from(gives)).filter(|short| *short > 0)?;
                Some((resource.clone(), short))
            })
            .collect()
    }
}

/// Whether two partitions are in this group.
fn shares(one: &PartitionSpec, other: &PartitionSpec, group: &Name) -> bool {
    let same = one.id.network == other.id.network;
    same && one.apart.contains(group) && other.apart.contains(group)
}

/// Whether two partitions may not be on one worker.
fn are_apart(one: &PartitionSpec, other: &PartitionSpec) -> bool {
    one.id != other.id && one.apart.iter().any(|group| shares(one, other, group))
}

/// Panics at the first rule that a plan breaks.
pub(crate) fn check(cluster: &Cluster, policy: &BalancePolicy, plan: &Plan) {
    let mut board = Board::new(cluster);
    let mut moved: Vec<&PartitionId> = Vec::new();
    for one in plan.moves() {
        assert!(!moved.contains(&&one.partition), "{one:?} is moved twice");
        carry_out(&mut board, one);
        moved.push(&one.partition);
    }
    check_waves(cluster, plan);
    check_reasons(cluster, plan);
    check_needed(&board, cluster, policy, plan);
    check_budget(cluster, policy, plan);
    let counts: BTreeMap<_, _> = cluster
        .workers
        .iter()
        .filter(|worker| worker.state == WorkerState::Active)
        .map(|worker| (worker.name.clone(), board.on(&worker.name).count()))
        .collect();
    let told: BTreeMap<_, _> =
        plan.after.workers.iter().map(|it| (it.worker.clone(), it.partitions as usize)).collect();
    assert_eq!(counts, told, "what is told of the workers afterwards");
    let before = traffic(&Board::new(cluster), cluster);
    assert_eq!(before, u128::from(plan.before.traffic), "traffic before");
    let after = traffic(&board, cluster);
    assert_eq!(after, u128::from(plan.after.traffic), "traffic afterwards");
    let gain: i128 = plan.moves().map(|it| i128::from(it.gain)).sum();
    // What comes from nobody, or from a worker that is gone, brings its traffic with it.
    let all_had_a_worker = plan
        .moves()
        .all(|it| it.from.as_ref().is_some_and(|from| board.workers.contains_key(from)));
    if all_had_a_worker {
        assert_eq!(before.cast_signed() - after.cast_signed(), gain, "gains");
    }
}

/// What all traffic costs between partitions that have workers, by the labels of those.
fn traffic(board: &Board<'_>, cluster: &Cluster) -> u128 {
    let place = |id: &PartitionId| board.workers.get(board.places[id].as_ref()?);
    let cost = |it: &Traffic| {
        let (Some(from), Some(to)) = (place(&it.from), place(&it.to)) else { return 0 };
        let [zone, rack] = ["zone", "rack"].map(|it| from.labels.get(it) == to.labels.get(it));
        let distance = match (from.name == to.name, zone, rack) {
            (true, ..) => 0,
            (_, true, true) => 1,
            (_, true, false) => 2,
            (_, false, _) => 3,
        };
        u128::from(it.rate) * distance
    };
    cluster.traffic.iter().filter(|it| it.from != it.to).map(cost).sum()
}

/// One move: its worker takes it, and then nothing is beyond what that worker gives.
fn carry_out<'a>(board: &mut Board<'a>, one: &Move) {
    let (id, partition) = board.partitions.get_key_value(&one.partition).unwrap();
    let (id, partition): (&'a PartitionId, &'a PartitionSpec) = (id, partition);
    assert_eq!(one.from, partition.worker, "{one:?}");
    assert_ne!(Some(&one.to), partition.worker.as_ref(), "{one:?} goes nowhere");
    let to = board.workers[&one.to];
    assert_eq!(to.state, WorkerState::Active, "{one:?}");
    for (key, value) in &partition.requires {
        assert_eq!(to.labels.get(key), Some(value), "{one:?}");
    }
    board.places.insert(id, Some(one.to.clone()));
    assert!(board.on(&one.to).count() as u64 <= to.partitions_max, "{one:?}");
    let apart = board.on(&one.to).find(|other| are_apart(partition, other));
    assert_eq!(apart, None, "{one:?} shares its worker with one of its group");
    let short = board.short(&one.to);
    let needed = short.iter().filter(|(resource, _)| partition.demand.get(resource) > 0);
    assert_eq!(needed.count(), 0, "{one:?}: {short:?}");
}

/// Every wave can be carried out in any order once the earlier ones have been: all that arrives in a
/// wave fits beside all that is there, even if nothing of that wave has left yet.
fn check_waves(cluster: &Cluster, plan: &Plan) {
    let mut board = Board::new(cluster);
    let mut earlier: Vec<&PartitionId> = Vec::new();
    for wave in &plan.waves {
        assert!(!wave.is_empty(), "an empty wave");
        let mut here: Vec<&PartitionId> = Vec::new();
        for one in wave {
            for other in &one.waits_for {
                assert!(earlier.contains(&other), "{one:?} waits for what comes with it or later");
            }
            here.push(&one.partition);
        }
        // Those that leave in this wave still count where they were.
        let mut stays = Board { places: board.places.clone(), ..Board::new(cluster) };
        let mut extra: BTreeMap<(&Name, Name), u128> = BTreeMap::new();
        for one in wave {
            for (resource, need) in board.partitions[&one.partition].demand.iter() {
                *extra.entry((&one.to, resource.clone())).or_default() += u128::from(need);
            }
        }
        for ((worker, resource), need) in extra {
            let gives = board.workers[worker].capacity.get(&resource);
            let used = stays.used(worker, &resource);
            assert!(gives == 0 || used + need <= u128::from(gives), "{worker} in one wave");
        }
        for one in wave {
            let partition = board.partitions[&one.partition];
            let comes = wave.iter().filter(|other| other.to == one.to);
            let mut there = comes.map(|other| board.partitions[&other.partition]);
            assert!(!there.any(|other| are_apart(partition, other)), "{one:?} comes with another");
            let mut there = stays.on(&one.to);
            assert!(!there.any(|other| are_apart(partition, other)), "{one:?} comes too early");
        }
        for one in wave {
            let (id, _) = board.partitions.get_key_value(&one.partition).unwrap();
            board.places.insert(*id, Some(one.to.clone()));
        }
        stays.places.clear();
        earlier.extend(here);
    }
}

fn check_reasons(cluster: &Cluster, plan: &Plan) {
    let board = Board::new(cluster);
    for one in plan.moves() {
        let partition = board.partitions[&one.partition];
        let home = partition.worker.as_ref().map(|name| board.workers.get(name));
        let state = home.map(|home| home.map(|worker| worker.state));
        match &one.reason {
            MoveReason::Place => assert_eq!(one.from, None),
            MoveReason::Evacuate(Leaving::Draining) => {
                assert_eq!(state, Some(Some(WorkerState::Draining)));
            }
            MoveReason::Evacuate(Leaving::Down) => {
                assert!(matches!(state, Some(None | Some(WorkerState::Down))), "{one:?}");
            }
            MoveReason::Label { label } => {
                let (key, value) = label.split_once('=').unwrap();
                assert_eq!(partition.requires.get(key).map(String::as_str), Some(value));
                let has = home.unwrap().unwrap().labels.get(key).map(String::as_str);
                assert_ne!(has, Some(value), "{one:?}");
            }
            MoveReason::AntiAffinity { group } => {
                assert!(partition.apart.contains(group), "{one:?}");
                let others = board.on(one.from.as_ref().unwrap());
                let others = others.filter(|it| it.id != partition.id);
                assert!(others.into_iter().any(|it| shares(it, partition, group)), "{one:?}");
            }
            MoveReason::Overload { resource } => {
                let short = board.short(one.from.as_ref().unwrap());
                assert!(short.iter().any(|(name, _)| name == resource), "{one:?}");
            }
            MoveReason::Balance | MoveReason::Traffic => {
                assert!(!partition.rests, "{one:?} should rest");
                assert!(matches!(state, Some(Some(WorkerState::Active | WorkerState::Joining))));
            }
        }
        assert_eq!(one.cost == 0, one.from.is_none() || one.cost == 0);
    }
}

/// What had to be moved was moved, or is told to have no place, and then has none.
fn check_needed(board: &Board<'_>, cluster: &Cluster, policy: &BalancePolicy, plan: &Plan) {
    for partition in &cluster.partitions {
        if policy.moves == Moves::Grants && partition.worker.is_some() {
            assert!(plan.moves().all(|one| one.partition != partition.id), "{partition:?}");
            continue;
        }
        let place = board.places[&partition.id].as_ref();
        let worker = place.and_then(|place| board.workers.get(place));
        let fine = worker.is_some_and(|worker| {
            let lacks = partition.requires.iter().any(|(k, v)| worker.labels.get(k) != Some(v));
            let alone = !board.on(&worker.name).any(|other| are_apart(partition, other));
            matches!(worker.state, WorkerState::Active) && !lacks && alone
                || worker.state == WorkerState::Joining
        });
        let rejected = plan.rejected.iter().any(|it| it.partition == partition.id);
        assert_eq!(fine, !rejected, "{partition:?} at {place:?}");
        for worker in cluster.workers.iter().filter(|it| rejected && place != Some(&it.name)) {
            assert!(!could_take(board, partition, worker), "{partition:?} fits on {worker:?}");
        }
    }
}

/// Whether a worker could take a partition beside what it has.
fn could_take(board: &Board<'_>, partition: &PartitionSpec, worker: &WorkerSpec) -> bool {
    let mut needs = partition.demand.iter().filter(|(_, need)| *need > 0);
    worker.state == WorkerState::Active
        && partition.requires.iter().all(|(k, v)| worker.labels.get(k) == Some(v))
        && board.on(&worker.name).all(|other| !are_apart(partition, other))
        && (board.on(&worker.name).count() as u64) < worker.partitions_max
        && needs.all(|(resource, need)| {
            let gives = worker.capacity.get(resource);
            gives == 0 || board.used(&worker.name, resource) + u128::from(need) <= gives.into()
        })
}

/// What could have stayed is within the bounds; the first move may be larger than the load's.
fn check_budget(cluster: &Cluster, policy: &BalancePolicy, plan: &Plan) {
    let worthwhile =
        plan.moves().filter(|it| matches!(it.reason, MoveReason::Balance | MoveReason::Traffic));
    let costs: Vec<i64> = worthwhile.map(|it| it.cost).collect();
    if policy.moves != Moves::Worthwhile {
        assert!(costs.is_empty());
    }
    let most = cluster.partitions.len() as u64 * u64::from(policy.moved_ppm_max) / 1_000_000;
    assert!(costs.len() as u64 <= most.max(1), "{} moves of {most}", costs.len());
    let load: i64 = costs.iter().sum();
    assert!(costs.len() <= 1 || load <= i64::from(policy.moved_load_ppm_max) + costs[0], "{load}");
}
