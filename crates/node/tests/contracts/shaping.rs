//! Splits, merges and scaling, as clients ask for them and as the leader does it by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quorate_core::{
    ApplyNetwork, Command, Epoch, Guard, Key, Load, LoadId, Name, NetworkSpec, Operation,
    Parallelism, Partition, PartitionId, PartitionPolicy, PartitionState, Process, ProcessEdge,
    Record, Reply, Revision, State, Transaction,
};
use quorate_node::{
    Coordinator,
    controller::Controller,
    coordinator::{Freshness, Role},
};
use quorate_proto::{
    Reason,
    v1::{self, partition_service_client::PartitionServiceClient},
};
use tonic::Code;

use crate::{
    clients::{Clients, assert_error},
    common::{PATIENCE, TestCluster, deadline},
    ownership::{done, id, name, partition, until, worker},
};

/// Partitions of four processes each, which may have up to four instances.
async fn network(coordinator: &Coordinator, partitions: u32) {
    let process = |at: u32| Process {
        parallelism: Parallelism { min: 1, max: 4 },
        ..Process::new(name(&format!("p{at:03}")), "test")
    };
    let edge = |at: u32| ProcessEdge {
        from: name(&format!("p{:03}", at - 1)),
        to: name(&format!("p{at:03}")),
        rate: 10,
    };
    let policy =
        PartitionPolicy { partitions, strategy: name("multilevel"), ..PartitionPolicy::default() };
    let spec = NetworkSpec {
        processes: (0..4 * partitions).map(process).collect(),
        connections: (1..4 * partitions).map(edge).collect(),
        policy,
        connection: quorate_core::ConnectionPolicy::default(),
    };
    let assignment = (0..4 * partitions).map(|at| at / 4).collect();
    let command = ApplyNetwork { name: name("net"), spec, assignment, basis: None };
    done(coordinator, Command::ApplyNetwork(command)).await;
}

async fn set(coordinator: &Coordinator, setting: &str, value: u64) {
    let record = Record::Setting(value.to_string().into());
    let put = Operation::Put { key: Key::setting(&name(setting)), record, return_previous: false };
    let success = vec![put];
    done(coordinator, Command::Transaction(Transaction { success, ..Default::default() })).await;
}

fn all_assigned(state: &State, partitions: u32) -> bool {
    (0..partitions).all(|index| {
        state.partition(&id(index)).is_some_and(|it| it.state == PartitionState::Assigned)
    })
}

/// Goes through what happened since a revision: at each, every process is in exactly one partition of the
/// network, so that at most one worker is to run it.
fn never_twice(state: &State, mut partitions: BTreeMap<PartitionId, Partition>, since: Revision) {
    let processes = |partitions: &BTreeMap<PartitionId, Partition>| -> Vec<Name> {
        let live = partitions.values().filter(|it| it.state != PartitionState::Deleted);
        live.flat_map(|it| it.processes.iter().map(|placed| placed.id.clone())).collect()
    };
    let all: BTreeSet<Name> = processes(&partitions).into_iter().collect();
    for event in state.history().from(since.next()) {
        for change in &event.changes {
            let Some(id) = std::str::from_utf8(&change.key.bytes).ok().and_then(PartitionId::parse)
            else {
                continue;
            };
            match change.current.as_ref().map(|record| &record.value) {
                Some(Record::Partition(now)) => _ = partitions.insert(id, now.as_ref().clone()),
                None if change.key == Key::partition(&id) => _ = partitions.remove(&id),
                _ => {}
            }
        }
        let now = processes(&partitions);
        assert_eq!(now.len(), all.len(), "at {}", event.revision);
        assert_eq!(now.into_iter().collect::<BTreeSet<_>>(), all, "at {}", event.revision);
    }
}

/// A write by whoever has a partition in this epoch.
async fn guarded(
    coordinator: &Coordinator,
    index: u32,
    epoch: Epoch,
) -> Result<Reply, quorate_core::Rejection> {
    let guards = vec![Guard::Partition { id: id(index), epoch }];
    let write = Command::Transaction(Transaction { guards, ..Transaction::default() });
    coordinator.propose(write, deadline()).await.unwrap().outcome.result
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_and_merges_under_ownership_leave_each_process_one_place() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    worker(one, "a").await;
    worker(one, "b").await;
    network(one, 3).await;
    until(one, |state| all_assigned(state, 3)).await;
    let view = one.view();
    let (since, before) = (view.state.revision(), [0, 2].map(|it| partition(&view.state, it)));
    let places = (0..3).map(|index| (id(index), partition(&view.state, index))).collect();
    let divided = partition(&view.state, 1);
    assert!(guarded(one, 1, divided.epoch.unwrap()).await.is_ok());
    let clients = Clients::of(cluster.node(2)).await;
    let mut service = PartitionServiceClient::new(clients.channel.clone());
    let plan = v1::PlanSplitRequest { partition: "net/1".into(), into: 2, read: None };
    let planned = service.plan_split(plan).await.unwrap().into_inner().reshaping.unwrap();
    let split = v1::SplitPartitionRequest { partition: "net/1".into(), into: 2, context: None };
    let split = service.split(split).await.unwrap().into_inner().reshaping.unwrap();
    assert_eq!(split, planned, "a dry run shows what is done");
    assert_eq!((split.cut_rate_before, split.cut_rate_after), (20, 30));
    until(one, |state| all_assigned(state, 4)).await;
    let state = one.view();
    assert_eq!([0, 2].map(|it| partition(&state.state, it)), before, "all others stay");
    let kept = partition(&state.state, 1);
    assert_eq!(kept.owner, divided.owner, "its owner goes on with what it keeps");
    // What it still does for what it lost is refused.
    let refused = guarded(one, 1, divided.epoch.unwrap()).await.unwrap_err();
    assert_eq!(refused.reason, quorate_core::Reason::StaleEpoch);
    assert!(guarded(one, 1, kept.epoch.unwrap()).await.is_ok());

    let ids: Vec<String> = ["net/0", "net/1"].map(str::to_owned).into();
    let merge = v1::MergePartitionsRequest { partitions: ids.clone(), context: None };
    let merged = service.merge(merge).await.unwrap().into_inner().reshaping.unwrap();
    assert_eq!((merged.partitions_before, merged.partitions_after), (4, 3));
    // The last one has the number that became free; its owner stops what it had.
    let gone = |state: &State| state.partition(&id(3)).is_none();
    let releasing = partition(&one.view().state, 3);
    assert_eq!(releasing.state, PartitionState::Deleted);
    let release = Command::ReleasePartition { id: id(3), epoch: releasing.epoch.unwrap() };
    done(one, release).await;
    until(one, gone).await;
    never_twice(&one.view().state, places, since);

    let merge = v1::MergePartitionsRequest { partitions: vec![ids[0].clone()], context: None };
    let refused = service.merge(merge).await.unwrap_err();
    assert_error(&refused, Code::InvalidArgument, Reason::InvalidField);
    cluster.shutdown().await;
}

fn runs(state: &State, index: u32) -> Vec<u32> {
    partition(state, index).processes.iter().map(|placed| placed.parallelism).collect()
}

async fn report(coordinator: &Coordinator, index: u32, load_ppm: u64) {
    let loads = vec![(LoadId::Partition(id(index)), Load { load_ppm })];
    done(coordinator, Command::ReportLoads { loads }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_scales_up_under_load_and_back_after_the_window() {
    let cluster = TestCluster::start(1).await;
    let one = cluster.node(1).coordinator();
    set(one, "scale_interval_ms", 100).await;
    set(one, "scale_down_stabilisation_ms", 500).await;
    worker(one, "a").await;
    network(one, 2).await;
    until(one, |state| all_assigned(state, 2)).await;
    report(one, 0, 1_400_000).await;
    until(one, |state| runs(state, 0) == [2; 4]).await;
    let scaled = one.view();
    let record = scaled.state.get(&Key::partition(&id(0))).unwrap();
    let event = scaled.state.history().get(record.modified).unwrap();
    assert_eq!(&*event.origin.label, "scaler");
    assert!(event.origin.reason.contains("is above the target"), "{}", event.origin.reason);
    report(one, 0, 100_000).await;
    until(one, |state| runs(state, 0) == [1; 4]).await;
    assert_eq!(runs(&one.view().state, 1), [1; 4], "of that, nobody reported anything");
    // What was done is counted a little later than it is seen.
    looked_twice(one, Controller::Scaler).await;
    let acts = one.activity().acts(Controller::Scaler);
    assert_eq!((acts.done["up"], acts.done["down"]), (4, 4), "{acts:?}");

    set(one, "maintenance", 1).await;
    let clients = Clients::of(cluster.node(1)).await;
    report(one, 1, 1_400_000).await;
    let plan = v1::PlanScaleRequest { name: "net".into(), read: None };
    let plan = clients.network.clone().plan_scale(plan).await.unwrap().into_inner();
    assert_eq!(plan.decisions.iter().filter(|it| it.wanted == 2).count(), 4);
    let scale = v1::ScaleNetworkRequest { name: "net".into(), context: None };
    let done = clients.network.clone().scale(scale.clone()).await.unwrap().into_inner();
    assert_eq!((done.changed, &done.decisions), (4, &plan.decisions), "asked for, it is done");
    assert_eq!(runs(&one.view().state, 1), [2; 4]);
    let scale = v1::ScaleNetworkRequest { name: "other".into(), ..scale };
    let missing = clients.network.clone().scale(scale).await.unwrap_err();
    assert_error(&missing, Code::NotFound, Reason::NotFound);
    cluster.shutdown().await;
}

/// Waits until a controller here has looked twice more and found nothing in its way.
async fn looked_twice(coordinator: &Coordinator, controller: Controller) {
    let since = coordinator.activity().acts(controller).looks;
    let looked = async {
        loop {
            let acts = coordinator.activity().acts(controller);
            if acts.looks >= since + 2 && acts.held.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it looks in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_leader_scale_and_move_nothing() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    set(one, "scale_interval_ms", 100).await;
    worker(one, "a").await;
    network(one, 2).await;
    until(one, |state| all_assigned(state, 2)).await;
    report(one, 0, 1_400_000).await;
    until(one, |state| runs(state, 0) == [2; 4]).await;
    report(one, 0, 100_000).await;
    changes_of_leader_do_nothing(&cluster, Controller::Scaler).await;
    cluster.shutdown().await;
}

/// Ten leaders in turn, each of which looks twice, change nothing.
async fn changes_of_leader_do_nothing(cluster: &TestCluster, controller: Controller) {
    let one = cluster.node(1).coordinator();
    let settled = one.read(Freshness::Linearizable, deadline()).await.unwrap().state.revision();
    for round in 0..10 {
        let to = cluster.node(round % 3 + 1).coordinator();
        one.transfer_leader(Some(to.member_id()), deadline()).await.ok();
        until(to, |_| to.status().role == Role::Leader).await;
        looked_twice(to, controller).await;
    }
    let view = one.read(Freshness::Linearizable, deadline()).await.unwrap();
    assert_eq!(view.state.revision(), settled, "nothing has changed");
}

/// A partition is split; its parts are too large still, and the network rests, whoever leads.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_leader_split_and_merge_nothing_while_a_network_rests() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    for (setting, value) in
        [("split_enabled", 1), ("split_interval_ms", 100), ("merge_load_ppm_below", 200_000)]
    {
        set(one, setting, value).await;
    }
    worker(one, "a").await;
    // It may change at once, and rests from then on.
    set(one, "split_cooldown_ms", 0).await;
    network(one, 3).await;
    until(one, |state| all_assigned(state, 3)).await;
    report(one, 0, 1_400_000).await;
    until(one, |state| all_assigned(state, 4)).await;
    set(one, "split_cooldown_ms", 600_000).await;
    for (index, load) in [(0, 1_300_000), (1, 50_000), (2, 50_000), (3, 1_300_000)] {
        report(one, index, load).await;
    }
    changes_of_leader_do_nothing(&cluster, Controller::Partitioner).await;
    // What held it back was the rest alone.
    set(one, "split_cooldown_ms", 0).await;
    until(one, |state| state.partition(&id(4)).is_some()).await;
    cluster.shutdown().await;
}

/// A worker that is down is not removed before its time, whoever leads.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_leader_remove_no_worker() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    set(one, "janitor_interval_ms", 100).await;
    worker(one, "a").await;
    let lost = worker(one, "b").await;
    network(one, 2).await;
    until(one, |state| all_assigned(state, 2)).await;
    done(one, Command::CloseSession { id: lost }).await;
    until(one, |state| all_assigned(state, 2)).await;
    changes_of_leader_do_nothing(&cluster, Controller::Janitor).await;
    set(one, "janitor_worker_down_ms", 1).await;
    until(one, |state| state.worker(&name("b")).is_none()).await;
    cluster.shutdown().await;
}
