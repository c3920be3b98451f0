//! The standard services beside our own, and the shapes of answers.

use std::time::{Duration, Instant};

use quorate_proto::{Reason, v1};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    clients::{Clients, assert_error, entry},
    common::TestCluster,
};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_contact_with_the_majority() {
    let mut cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(1)).await;
    let mut health = HealthClient::new(clients.channel.clone());
    for service in ["", "quorate.v1.StoreService", "quorate.v1.WatchService"] {
        let request = HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.unwrap().into_inner().status;
        assert_eq!(status, SERVING, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "quorate.v1.NoSuchService".into() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);

    let request = HealthCheckRequest { service: String::new() };
    let mut stream = health.watch(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status, SERVING);
    cluster.stop(2).await;
    cluster.stop(3).await;
    assert_eq!(stream.message().await.unwrap().unwrap().status, NOT_SERVING);
    cluster.restart(2).await;
    assert_eq!(stream.message().await.unwrap().unwrap().status, SERVING);
    let began = Instant::now();
    cluster.stop(1).await;
    let mut last = SERVING;
    while let Some(told) = stream.message().await.unwrap() {
        assert_ne!(told.status, last, "only changes are told");
        last = told.status;
    }
    assert_eq!(last, NOT_SERVING);
    assert!(began.elapsed() < Duration::from_secs(5), "who watches must not hold up the end");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_of_this_address() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let cluster = TestCluster::start(1).await;
    let clients = Clients::of(cluster.node(1)).await;
    let mut reflection = ServerReflectionClient::new(clients.channel.clone());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let mut answers = reflection.server_reflection_info(requests).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    let services =
        ["Store", "Watch", "Session", "Network", "Partition", "Connection", "Worker", "Cluster"];
    for service in services {
        let name = format!("quorate.v1.{service}Service");
        assert!(names.contains(&name), "{names:?} has no {name}");
    }
    assert!(names.iter().all(|name| !name.contains("Raft") && !name.contains("Forward")));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_members_agree_on_every_coordinator() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let mut statuses = Vec::new();
    for one in &clients {
        one.revision().await;
        let status = one.cluster.clone().status(v1::StatusRequest {}).await.unwrap().into_inner();
        let members = one.cluster.clone().members(v1::MembersRequest { read: None }).await;
        let members = members.unwrap().into_inner();
        assert_eq!(
            members.members.iter().map(|m| (m.id, m.voter)).collect::<Vec<_>>(),
            [(1, true), (2, true), (3, true)]
        );
        let own = &members.members[statuses.len()];
        assert_eq!(own.client_address, cluster.node(own.id).client_address().to_string());
        assert_eq!(own.client_address, status.endpoint);
        statuses.push(status);
    }
    let leaders: Vec<_> = statuses
        .iter()
        .filter(|status| status.role() == v1::MemberRole::Leader)
        .map(|status| status.header.as_ref().unwrap().member_id)
        .collect();
    assert_eq!(leaders.len(), 1);
    assert!(statuses.iter().all(|status| status.leader_id == leaders[0]));
    let hashes: Vec<_> = statuses.iter().map(|status| status.state_hash).collect();
    assert_eq!(hashes, [hashes[0]; 3]);

    let absent = v1::TransferLeaderRequest { target_id: 9 };
    let refused = clients[0].cluster.clone().transfer_leader(absent).await.unwrap_err();
    assert_error(&refused, Code::NotFound, Reason::NotFound);
    let target = leaders[0] % 3 + 1;
    let moved = v1::TransferLeaderRequest { target_id: target };
    let moved = clients[0].cluster.clone().transfer_leader(moved).await.unwrap().into_inner();
    assert_eq!(moved.leader_id, target);
    cluster.shutdown().await;
}

fn process(id: &str) -> v1::Process {
    v1::Process { id: id.into(), component: "test".into(), ..v1::Process::default() }
}

fn edge(from: &str, to: &str) -> v1::ProcessEdge {
    v1::ProcessEdge { from: from.into(), to: to.into(), rate: 10 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_applied_seen_everywhere_and_deleted() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::all(cluster.nodes()).await;
    let spec = v1::NetworkSpec {
        processes: ["a", "b", "c"].map(process).to_vec(),
        connections: vec![edge("a", "b"), edge("b", "c")],
        policy: Some(v1::PartitionPolicy { partitions: 2, ..Default::default() }),
        connection: None,
    };
    let request = v1::ApplyNetworkRequest {
        name: "net".into(),
        spec: Some(spec),
        ..v1::ApplyNetworkRequest::default()
    };
    let applied = clients[0].network.clone().apply(request.clone()).await.unwrap().into_inner();
    assert_eq!(applied.outcome(), v1::ApplyOutcome::Created);
    let summary = applied.network.unwrap();
    assert_eq!((summary.generation, summary.processes, summary.partitions), (1, 3, 2));
    let revision = applied.header.unwrap().revision;

    let again = clients[1].network.clone().apply(request).await.unwrap().into_inner();
    assert_eq!(again.outcome(), v1::ApplyOutcome::Unchanged);
    assert_eq!(again.header.unwrap().revision, revision, "nothing changed");
    for one in &clients {
        let get = v1::GetNetworkRequest { name: "net".into(), read: None };
        let got = one.network.clone().get(get).await.unwrap().into_inner();
        assert_eq!(got.summary.as_ref(), Some(&summary));
        let list = one.network.clone().list(v1::ListNetworksRequest { read: None }).await.unwrap();
        assert_eq!(list.into_inner().networks, std::slice::from_ref(&summary));
    }
    let node = cluster.node(1);
    let unassigned = "quorate_partitions{network=\"net\",state=\"unassigned\"}";
    let partitions = crate::http::metric(node, unassigned).await;
    assert_eq!(partitions, 2.0);

    let delete =
        v1::DeleteNetworkRequest { name: "net".into(), ..v1::DeleteNetworkRequest::default() };
    let deleted = clients[2].network.clone().delete(delete.clone()).await.unwrap().into_inner();
    assert_eq!(deleted.partitions, 2);
    let gone = clients[0].network.clone().delete(delete).await.unwrap_err();
    assert_error(&gone, Code::NotFound, Reason::NotFound);
    let get = v1::GetNetworkRequest { name: "net".into(), read: None };
    let gone = clients[1].network.clone().get(get).await.unwrap_err();
    assert_error(&gone, Code::NotFound, Reason::NotFound);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_listed_by_number() {
    use v1::partition_service_client::PartitionServiceClient;
    let cluster = TestCluster::start(1).await;
    let clients = Clients::of(cluster.node(1)).await;
    let processes = (0..12).map(|number| process(&format!("p{number:02}"))).collect();
    let spec = v1::NetworkSpec {
        processes,
        connections: Vec::new(),
        policy: Some(v1::PartitionPolicy { partitions: 12, ..Default::default() }),
        connection: None,
    };
    let request = v1::ApplyNetworkRequest {
        name: "net".into(),
        spec: Some(spec),
        ..v1::ApplyNetworkRequest::default()
    };
    clients.network.clone().apply(request).await.unwrap();
    let mut partitions = PartitionServiceClient::new(clients.channel.clone());
    let list = v1::ListPartitionsRequest { network: "net".into(), read: None };
    let list = partitions.list(list).await.unwrap().into_inner().partitions;
    let ids: Vec<_> = list.iter().map(|record| record.key.clone().unwrap().key).collect();
    let expected: Vec<_> = (0..12).map(|number| format!("net/{number}")).collect();
    assert_eq!(ids, expected);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_returns_what_was_before_and_where_it_is_in_the_log() {
    let cluster = TestCluster::start(3).await;
    let clients = Clients::of(cluster.node(3)).await;
    let put = |value: &'static str| v1::PutRequest {
        key: Some(entry("k")),
        value: value.into(),
        return_previous: true,
        ..v1::PutRequest::default()
    };
    let first = clients.store.clone().put(put("one")).await.unwrap().into_inner();
    assert_eq!(first.previous, None);
    let second = clients.store.clone().put(put("two")).await.unwrap().into_inner();
    let (first, header) = (first.header.unwrap(), second.header.unwrap());
    let previous = second.previous.unwrap();
    assert_eq!(previous.value, Some(v1::record::Value::Entry("one".into())));
    assert_eq!((previous.modified, previous.version), (first.revision, 1));
    assert_eq!(header.revision, first.revision + 1);
    assert!(header.log_index > first.log_index && header.term >= first.term);
    assert_eq!(header.member_id, 3);
    assert_ne!(header.cluster_id, 0);
    cluster.shutdown().await;
}
