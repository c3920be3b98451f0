//! A network names a pool: what its partitions need is asked for, and granted as far as there is any.

use std::collections::BTreeMap;

use quorate_core::{
    AllocationId, Command, Holder, Kind, MemberId, Name, NetworkSpec, PartitionId, Pool,
    PoolPolicy, Reason, Record, RegisterWorker, Reply, RequestAllocation, Resources, State, Tenant,
};
use quorate_node::{
    Coordinator,
    coordinator::Freshness,
    network::{Planned, plan_apply},
};
use quorate_plan::Strategies;
use quorate_proto::v1::{
    self, network_service_client::NetworkServiceClient,
    resource_service_client::ResourceServiceClient,
};
use tonic::Code;

use crate::{
    clients::assert_error,
    common::{TestCluster, deadline, put},
    ownership::{done, name, open, until},
};

const PARTITIONS: u32 = 4;

fn cpus(count: u64) -> Resources {
    [(name("cpu"), count)].into_iter().collect()
}

/// A pool of five, with a tenant.
async fn put_pool(coordinator: &Coordinator, idle_timeout_ms: u64) {
    let tenants = [(name("a"), Tenant::default())].into();
    let policy = PoolPolicy { idle_timeout_ms, ..PoolPolicy::default() };
    let pool = Pool { capacity: cpus(5), tenants, policy };
    assert_eq!(done(coordinator, Command::PutPool { name: name("p"), pool }).await, Reply::Done);
}

/// A network of four partitions that need two each, as a client describes it.
fn network(pool: &str, tenant: &str) -> v1::ApplyNetworkRequest {
    let needs = || Some(v1::Resources { amounts: [("cpu".to_owned(), 2)].into() });
    let process = |number| v1::Process {
        id: format!("p{number}"),
        component: "test".into(),
        needs: needs(),
        ..Default::default()
    };
    let policy = v1::PartitionPolicy {
        partitions: PARTITIONS,
        pool: pool.into(),
        tenant: tenant.into(),
        ..Default::default()
    };
    let spec = v1::NetworkSpec {
        processes: (0..PARTITIONS).map(process).collect(),
        policy: Some(policy),
        ..Default::default()
    };
    v1::ApplyNetworkRequest { name: "net".into(), spec: Some(spec), ..Default::default() }
}

/// The required allocations, by partition, and whether each is granted.
fn required(state: &State) -> BTreeMap<PartitionId, (AllocationId, bool)> {
    let all = state.records_of(Kind::Allocation).filter_map(|(key, record)| {
        let Record::Allocation(allocation) = &record.value else { return None };
        let Holder::Partition(id) = &allocation.holder else { return None };
        let of = (key.as_allocation()?, allocation.grant().is_some());
        allocation.required.then(|| (id.clone(), of))
    });
    all.collect()
}

/// How many are granted, and how many wait.
fn counts(state: &State) -> (usize, usize) {
    let all = required(state);
    let granted = all.values().filter(|(_, granted)| *granted).count();
    (granted, all.len() - granted)
}

async fn register(coordinator: &Coordinator, worker: &str) {
    let command = RegisterWorker {
        name: name(worker),
        session: open(coordinator).await,
        address: "127.0.0.1:1".into(),
        capacity: cpus(100),
        labels: BTreeMap::new(),
    };
    done(coordinator, Command::RegisterWorker(command)).await;
}

/// Why the distributor did what it did, in the order in which it did it.
fn reasons(state: &State) -> Vec<String> {
    let events = state.history().from(state.history().oldest());
    let its = events.filter(|event| event.origin.label.as_ref() == "distributor");
    its.map(|event| event.origin.reason.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_granted_what_they_need_as_far_as_the_pool_has_it() {
    let cluster = TestCluster::start(1).await;
    let node = cluster.node(1);
    let one = node.coordinator();
    done(one, put("k", "v")).await;
    let address = format!("http://{}", node.client_address());
    let mut networks = NetworkServiceClient::connect(address.clone()).await.unwrap();
    let mut pools = ResourceServiceClient::connect(address).await.unwrap();

    let refused = networks.apply(network("p", "a")).await.unwrap_err();
    assert_error(&refused, Code::InvalidArgument, quorate_proto::Reason::InvalidField);
    assert!(refused.message().contains("policy.pool: there is no pool p"), "{refused}");
    put_pool(one, 1).await;
    let refused = networks.apply(network("p", "b")).await.unwrap_err();
    assert!(refused.message().contains("policy.tenant: pool p has no tenant b"), "{refused}");
    networks.apply(network("p", "a")).await.unwrap();
    until(one, |state| counts(state) == (0, 4)).await;
    register(one, "w").await;
    until(one, |state| counts(state) == (2, 2)).await;
    let owned = |index| one.view().state.partition(&id(index)).unwrap().owner.is_some();
    assert!((0..PARTITIONS).all(owned), "granted or not, they run");

    // Nobody but the network ends it, idle or not, and the pool stays.
    let all = required(&one.view().state);
    let (waits, _) = all.values().find(|(_, granted)| !granted).unwrap();
    let release = Command::ReleaseAllocation { id: waits.clone(), epoch: None };
    let refused = one.propose(release, deadline()).await.unwrap().outcome.result.unwrap_err();
    assert_eq!(refused.reason, Reason::PreconditionFailed);
    let delete = || v1::DeletePoolRequest { name: "p".into(), ..Default::default() };
    let refused = pools.delete_pool(delete()).await.unwrap_err();
    assert!(refused.message().contains("network net names pool p"), "{refused}");
    let listed = pools.list_allocations(v1::ListAllocationsRequest::default()).await.unwrap();
    let listed = listed.into_inner().allocations;
    let is_required = |record: &v1::Record| match &record.value {
        Some(v1::record::Value::Allocation(it)) => it.required,
        other => panic!("{other:?}"),
    };
    assert!(listed.len() == 4 && listed.iter().all(is_required));
    assert_eq!(
        reasons(&one.view().state),
        ["requirements of 4 partitions of net", "pool p: 2 by fair share"]
    );
    let distributed = one.activity().distribution();
    assert_eq!((distributed.required, distributed.granted, distributed.ended), (4, 2, 0));

    let gone = v1::DeleteNetworkRequest { name: "net".into(), ..Default::default() };
    networks.delete(gone).await.unwrap();
    let state = one.view().state.clone();
    assert_eq!((counts(&state), state.pool_use(&name("p"))), ((0, 0), None));
    pools.delete_pool(delete()).await.unwrap();
    cluster.shutdown().await;
}

fn id(index: u32) -> PartitionId {
    PartitionId { network: name("net"), index }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_leader_changes_require_nothing() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    put_pool(one, 0).await;
    let (net, spec) = <(Name, NetworkSpec)>::try_from(network("p", "a")).unwrap();
    let planned = plan_apply(&one.view().state, &Strategies::builtin(), &net, spec);
    let Ok(Planned::Change(command, _)) = planned else { panic!("{planned:?}") };
    done(one, command).await;
    register(one, "w").await;
    until(one, |state| counts(state) == (2, 2)).await;
    let asked = |state: &State| {
        let all = reasons(state).into_iter();
        all.filter(|reason| reason.starts_with("requirements")).collect::<Vec<_>>()
    };
    let before = (required(&one.view().state), asked(&one.view().state));
    assert_eq!(before.1.len(), 1);
    let holder = Holder::Session(open(one).await);
    for turn in 0..10 {
        let target = MemberId(turn % 3 + 1);
        assert_eq!(one.transfer_leader(Some(target), deadline()).await, Ok(target));
        // The new leader grants what is asked of it, so it has looked at what there is.
        let request = RequestAllocation {
            pool: name("p"),
            tenant: name("a"),
            amount: cpus(1),
            priority: 9,
            holder: holder.clone(),
            epoch: None,
        };
        let leader = cluster.node(target.get()).coordinator();
        let reply = done(leader, Command::RequestAllocation(request)).await;
        let Reply::RequestAllocation { id } = reply else { panic!("{reply:?}") };
        let epoch = |state: &State| Some(state.allocation(&id)?.grant()?.epoch);
        until(leader, |state| epoch(state).is_some()).await;
        let epoch = epoch(&leader.view().state);
        done(leader, Command::ReleaseAllocation { id: id.clone(), epoch }).await;
    }
    let view = one.read(Freshness::Linearizable, deadline()).await.unwrap();
    assert_eq!((required(&view.state), asked(&view.state)), before);
    cluster.shutdown().await;
}
