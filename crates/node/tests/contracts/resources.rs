//! Pools over a real cluster: who is granted what, and that it is never too much.

use std::{collections::BTreeMap, time::Duration};

use quorate_core::{
    AllocationId, AllocationState, Command, Holder, Key, Kind, Load, LoadId, MemberId, Name,
    Operation, Pool, PoolPolicy, Record, Reply, RequestAllocation, Resources, SessionId, State,
    Tenant, Transaction,
};
use quorate_node::{
    Node,
    coordinator::{Fate, Freshness, Unanswered},
};
use quorate_proto::{
    Reason,
    v1::{self, resource_service_client::ResourceServiceClient},
};
use tonic::Code;

use crate::{
    clients::assert_error,
    common::{PATIENCE, TestCluster, deadline, put},
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn amount(cpu: u64, memory: u64) -> Resources {
    [(name("cpu"), cpu), (name("memory"), memory)].into_iter().collect()
}

/// Tries again while no leader is known.
async fn propose(node: &Node, command: Command) -> Result<Reply, quorate_core::Rejection> {
    loop {
        match node.coordinator().propose(command.clone(), deadline()).await {
            Ok(committed) => return committed.outcome.result,
            Err(Unanswered::Unavailable { fate: Fate::NotApplied, .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

async fn session(node: &Node) -> SessionId {
    let open = Command::OpenSession { ttl_ms: 600_000, label: "tenant".into() };
    match propose(node, open).await {
        Ok(Reply::OpenSession { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

async fn put_pool(node: &Node, guarantee: Resources, policy: PoolPolicy) {
    let guaranteed = Tenant { guarantee, ..Tenant::default() };
    let tenants = [(name("a"), Tenant::default()), (name("b"), guaranteed)].into();
    let pool = Pool { capacity: amount(9, 18), tenants, policy };
    let done = propose(node, Command::PutPool { name: name("p"), pool }).await;
    assert_eq!(done, Ok(Reply::Done));
}

async fn ask(node: &Node, session: SessionId, tenant: &str, amount: Resources) -> AllocationId {
    let request = RequestAllocation {
        pool: name("p"),
        tenant: name(tenant),
        amount,
        priority: 0,
        holder: Holder::Session(session),
        epoch: None,
    };
    match propose(node, Command::RequestAllocation(request)).await {
        Ok(Reply::RequestAllocation { id }) => id,
        other => panic!("{other:?}"),
    }
}

/// Waits until the state of a node is so.
async fn until(node: &Node, what: &str, holds: impl Fn(&State) -> bool) {
    let mut applied = node.coordinator().applied();
    let there = async {
        loop {
            applied.mark_unchanged();
            if holds(&node.coordinator().view().state) {
                return;
            }
            applied.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| {
        panic!("{what}: {:?}", granted(&node.coordinator().view().state));
    });
}

/// How many grants each tenant has.
fn granted(state: &State) -> BTreeMap<String, usize> {
    let mut granted = BTreeMap::new();
    for (_, record) in state.records_of(Kind::Allocation) {
        if let Record::Allocation(allocation) = &record.value
            && allocation.grant().is_some()
        {
            *granted.entry(allocation.tenant.to_string()).or_default() += 1;
        }
    }
    granted
}

fn grants(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(tenant, count)| ((*tenant).to_owned(), *count)).collect()
}

/// Adds up the grants at every revision there was, from the changes alone: they are never too much.
/// Gives how many revisions changed an allocation.
fn never_too_much(state: &State) -> usize {
    let history = state.history();
    assert_eq!(history.oldest().get(), 1, "all of it is kept");
    let mut held: BTreeMap<Key, Resources> = BTreeMap::new();
    let (mut capacity, mut looked_at) = (Resources::default(), 0);
    for event in history.from(history.oldest()) {
        for change in &event.changes {
            match change.current.as_ref().map(|record| &record.value) {
                Some(Record::Pool(pool)) => capacity = pool.capacity.clone(),
                Some(Record::Allocation(it)) if it.grant().is_some() => {
                    held.insert(change.key.clone(), it.amount.clone());
                }
                _ => _ = held.remove(&change.key),
            }
        }
        if event.changes.iter().any(|change| change.key.kind == Kind::Allocation) {
            looked_at += 1;
            let mut sum = Resources::default();
            held.values().for_each(|amount| sum.add(amount, 1));
            for (resource, sum) in sum.iter() {
                assert!(sum <= capacity.get(resource), "{sum} {resource} at {}", event.revision);
            }
        }
    }
    looked_at
}

#[tokio::test(flavor = "multi_thread")]
async fn contention_ends_at_the_fair_shares_and_a_session_leaves_all_to_who_waits() {
    let cluster = TestCluster::start(3).await;
    let node = cluster.node(2);
    put_pool(node, amount(0, 0), PoolPolicy::default()).await;
    // All that is asked for is there before anything is granted.
    switch(node, 0).await;
    let (a, b) = (session(node).await, session(node).await);
    for _ in 0..6 {
        ask(node, a, "a", amount(1, 4)).await;
        ask(node, b, "b", amount(3, 1)).await;
    }
    assert_eq!(granted(&node.coordinator().view().state), grants(&[]), "it is switched off");
    switch(node, 1).await;
    until(node, "fair shares", |state| granted(state) == grants(&[("a", 3), ("b", 2)])).await;

    propose(node, Command::CloseSession { id: b }).await.unwrap();
    let view = node.coordinator().read(Freshness::Linearizable, deadline()).await.unwrap();
    assert_eq!(granted(&view.state).get("b"), None, "free at once");
    until(node, "all is a's", |state| granted(state) == grants(&[("a", 4)])).await;
    for node in cluster.nodes() {
        let view = node.coordinator().read(Freshness::Linearizable, deadline()).await.unwrap();
        assert!(never_too_much(&view.state) >= 14);
        assert_eq!(view.state.check(), Ok(()));
    }
    cluster.shutdown().await;
}

/// Lets the leader distribute, or not.
async fn switch(node: &Node, on: u64) {
    let key = Key::setting(&name("distribute_enabled"));
    let record = Record::Setting(on.to_string().into());
    let put = Operation::Put { key, record, return_previous: false };
    let set = Transaction { success: vec![put], ..Transaction::default() };
    propose(node, Command::Transaction(set)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarantee_takes_back_what_exceeds_the_fair_share_after_the_grace() {
    let cluster = TestCluster::start(3).await;
    let node = cluster.node(1);
    let policy = PoolPolicy { grace_ms: 300, ..PoolPolicy::default() };
    put_pool(node, amount(3, 0), policy).await;
    let (a, b) = (session(node).await, session(node).await);
    for _ in 0..3 {
        ask(node, a, "a", amount(3, 0)).await;
    }
    until(node, "all is a's", |state| granted(state) == grants(&[("a", 3)])).await;
    let wanted = ask(node, b, "b", amount(3, 0)).await;
    let shares = grants(&[("a", 2), ("b", 1)]);
    until(node, "b has its guarantee", |state| granted(state) == shares).await;
    let view = node.coordinator().view();
    never_too_much(&view.state);
    let mut revoked_at = None;
    let mut ended = None;
    for event in view.state.history().from(view.state.history().oldest()) {
        for change in &event.changes {
            let Some(Record::Allocation(it)) = change.current.as_ref().map(|it| &it.value) else {
                continue;
            };
            if let AllocationState::Revoking { until_ms, why, .. } = &it.state {
                assert_eq!((&why.request, event.origin.label.as_ref()), (&wanted, "distributor"));
                assert_eq!(event.origin.reason.as_ref(), "pool p: b below guarantee");
                assert_eq!(*until_ms, event.time_ms + 300);
                revoked_at = Some((change.key.clone(), *until_ms));
            } else if revoked_at.as_ref().is_some_and(|(key, _)| *key == change.key) {
                ended = ended.or(Some(event.time_ms));
            }
        }
    }
    let (_, until_ms) = revoked_at.expect("one was asked back");
    assert!(ended.expect("it ended") >= until_ms, "not before its grace was over");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_uses_goes_to_who_waits() {
    let cluster = TestCluster::start(1).await;
    let node = cluster.node(1);
    let policy = PoolPolicy { idle_timeout_ms: 400, ..PoolPolicy::default() };
    put_pool(node, amount(0, 0), policy).await;
    let (a, b) = (session(node).await, session(node).await);
    let used = ask(node, a, "a", amount(3, 0)).await;
    let idle = ask(node, a, "a", amount(6, 0)).await;
    until(node, "both", |state| granted(state) == grants(&[("a", 2)])).await;
    let of = LoadId::Allocation(used.clone());
    let loads = vec![(of, Load { load_ppm: 500_000 })];
    assert_eq!(
        propose(node, Command::ReportLoads { loads }).await,
        Ok(Reply::Changed { changed: 1 })
    );
    let waits = ask(node, b, "b", amount(6, 0)).await;
    let has = |state: &State, id: &AllocationId| {
        state.allocation(id).is_some_and(|it| it.grant().is_some())
    };
    until(node, "the idle one is b's", |state| has(state, &waits)).await;
    let view = node.coordinator().view();
    assert!(view.state.allocation(&idle).is_none() && has(&view.state, &used));
    never_too_much(&view.state);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_leader_changes_take_nothing_back() {
    let cluster = TestCluster::start(3).await;
    let node = cluster.node(1);
    let policy = PoolPolicy { idle_timeout_ms: 60_000, ..PoolPolicy::default() };
    put_pool(node, amount(0, 0), policy).await;
    let a = session(node).await;
    for _ in 0..4 {
        ask(node, a, "a", amount(1, 4)).await;
    }
    until(node, "all", |state| granted(state) == grants(&[("a", 4)])).await;
    let epochs = |state: &State| -> Vec<_> {
        let all = state.records_of(Kind::Allocation);
        all.map(|(key, record)| (key.clone(), record.modified)).collect()
    };
    let before = epochs(&node.coordinator().view().state);
    for turn in 0..10 {
        let target = MemberId(turn % 3 + 1);
        let leads = node.coordinator().transfer_leader(Some(target), deadline()).await;
        assert_eq!(leads, Ok(target));
        // The new leader grants what is asked of it, so it has looked at what there is.
        let mark = ask(cluster.node(target.get()), a, "a", amount(0, 1)).await;
        until(node, "the new leader acts", |state| {
            state.allocation(&mark).is_some_and(|it| it.grant().is_some())
        })
        .await;
        let epoch =
            node.coordinator().view().state.allocation(&mark).unwrap().grant().unwrap().epoch;
        let release = Command::ReleaseAllocation { id: mark, epoch: Some(epoch) };
        assert_eq!(propose(node, release).await, Ok(Reply::Done));
    }
    let view = node.coordinator().read(Freshness::Linearizable, deadline()).await.unwrap();
    assert_eq!(epochs(&view.state), before, "the same grants");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_tells_what_there_is_and_refuses_what_cannot_be() {
    let cluster = TestCluster::start(1).await;
    let node = cluster.node(1);
    propose(node, put("k", "v")).await.unwrap();
    let address = format!("http://{}", node.client_address());
    let mut client = ResourceServiceClient::connect(address).await.unwrap();
    let resources = |cpu: u64| v1::Resources { amounts: [("cpu".to_owned(), cpu)].into() };
    let pool = |cpu| v1::Pool {
        capacity: Some(resources(cpu)),
        tenants: [("a".to_owned(), v1::Tenant::default())].into(),
        ..v1::Pool::default()
    };
    let put_pool =
        |cpu| v1::PutPoolRequest { name: "p".into(), pool: Some(pool(cpu)), ..Default::default() };
    client.put_pool(put_pool(4)).await.unwrap();
    let held = session(node).await;
    let holder = Some(v1::AllocationHolder {
        holder: Some(v1::allocation_holder::Holder::Session(held.into())),
    });
    let request = |tenant: &str, cpu| v1::RequestAllocationRequest {
        pool: "p".into(),
        tenant: tenant.into(),
        amount: Some(resources(cpu)),
        holder: holder.clone(),
        ..Default::default()
    };
    let first = client.request(request("a", 3)).await.unwrap().into_inner().allocation;
    let second = client.request(request("a", 3)).await.unwrap().into_inner().allocation;
    until(node, "one fits", |state| granted(state) == grants(&[("a", 1)])).await;
    let refused = client.request(request("nobody", 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let shrunk = client.put_pool(put_pool(2)).await.unwrap_err();
    assert_error(&shrunk, Code::ResourceExhausted, Reason::CapacityExceeded);

    let pools = client.list_pools(v1::ListPoolsRequest::default()).await.unwrap().into_inner();
    assert_eq!((pools.pools[0].grants, pools.pools[0].waiting), (1, 1));
    assert_eq!(pools.pools[0].granted, Some(resources(3)));
    // Page by page.
    let mut seen = Vec::new();
    let mut page = v1::ListAllocationsRequest { pool: "p".into(), limit: 1, ..Default::default() };
    loop {
        let answer = client.list_allocations(page.clone()).await.unwrap().into_inner();
        assert_eq!(answer.allocations.len(), 1);
        let key = answer.allocations[0].key.clone().unwrap().key;
        page.after = String::from_utf8(key.to_vec()).unwrap();
        seen.push(page.after.clone());
        if !answer.more {
            break;
        }
    }
    seen.sort();
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    assert_eq!(seen, both);
    let gone = v1::ListPoolsRequest { name: "q".into(), ..Default::default() };
    assert_eq!(client.list_pools(gone).await.unwrap_err().code(), Code::NotFound);
    // What waits is withdrawn, what is granted needs its epoch.
    let release = |allocation: &str| v1::ReleaseAllocationRequest {
        allocation: allocation.into(),
        ..Default::default()
    };
    client.release(release(&second)).await.unwrap();
    let stale = client.release(release(&first)).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition);
    let used = client.delete_pool(v1::DeletePoolRequest { name: "p".into(), context: None }).await;
    assert_eq!(used.unwrap_err().code(), Code::FailedPrecondition);
    cluster.shutdown().await;
}
