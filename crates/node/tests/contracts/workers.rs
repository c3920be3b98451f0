//! `WorkerService` over the wire: 20, and the limits of 25.

use std::{collections::BTreeMap, time::Duration};

use quorate_core::{Command, Key, LoadId, Record, Reply, SessionId, State, WorkerState};
use quorate_proto::{
    Reason,
    v1::{self, worker_service_client::WorkerServiceClient},
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    clients::{Clients, assert_error},
    common::TestCluster,
    ownership::{id, name, network, open, propose, until},
};

type Workers = WorkerServiceClient<Channel>;

fn registration(worker: &str, session: Option<SessionId>) -> v1::RegisterWorkerRequest {
    v1::RegisterWorkerRequest {
        name: worker.into(),
        session: session.map(Into::into),
        address: "127.0.0.1:7".into(),
        capacity: Some(v1::Resources {
            amounts: BTreeMap::from([("cpu_millis".to_owned(), 4_000)]),
        }),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        context: None,
    }
}

async fn report(
    workers: &Workers,
    session: SessionId,
    loads: &[(&str, u64)],
) -> Result<u32, Status> {
    let load = |(of, load_ppm): &(&str, u64)| v1::ObservedLoad {
        of: (*of).to_owned(),
        load_ppm: *load_ppm,
    };
    let request = v1::ReportLoadsRequest {
        session: Some(session.into()),
        loads: loads.iter().map(load).collect(),
    };
    Ok(workers.clone().report(request).await?.into_inner().taken)
}

fn load(state: &State, of: &str) -> Option<u64> {
    match &state.get(&Key::load(&LoadId::parse(of).unwrap()))?.value {
        Record::Load(load) => Some(load.load_ppm),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_register_are_listed_drain_and_leave() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    let channels = Clients::all(cluster.nodes()).await;
    let mut clients = channels.iter().map(|clients| Workers::new(clients.channel.clone()));
    let mut first = clients.next().unwrap();
    let mut second = clients.next().unwrap();
    let session = open(one).await;
    network(one, 2).await;
    first.register(registration("w", Some(session))).await.unwrap();
    let revision = |header: Option<v1::ResponseHeader>| header.unwrap().revision;
    let again = second.register(registration("w", Some(session))).await.unwrap().into_inner();
    let again = revision(again.header);
    let other = open(one).await;
    let taken = second.register(registration("w", Some(other))).await.unwrap_err();
    assert_error(&taken, Code::AlreadyExists, Reason::AlreadyExists);
    until(one, |state| state.bound_to(session).is_some_and(|held| held.len() == 3)).await;

    let list = second.list(v1::ListWorkersRequest { read: None }).await.unwrap().into_inner();
    let [summary] = &list.workers[..] else { panic!("{list:?}") };
    assert_eq!((summary.partitions, summary.load_ppm), (2, 0));
    let record = summary.worker.clone().unwrap();
    assert_eq!(record.version, 1, "the same registration again changes nothing: {again}");
    let Some(v1::record::Value::Worker(worker)) = record.value else { panic!("{record:?}") };
    assert_eq!((worker.address.as_str(), worker.state()), ("127.0.0.1:7", v1::WorkerState::Active));
    assert_eq!(worker.session, Some(session.into()));
    assert_eq!(worker.labels["zone"], "a");

    let drain = |undrain| v1::DrainWorkerRequest { name: "w".into(), undrain, context: None };
    let drained = second.drain(drain(false)).await.unwrap().into_inner();
    assert_eq!(drained.releasing, 2);
    second.drain(drain(true)).await.unwrap();
    let leave = |session: Option<SessionId>| v1::LeaveWorkerRequest {
        name: "w".into(),
        session: session.map(Into::into),
        context: None,
    };
    let alive = first.leave(leave(None)).await.unwrap_err();
    assert_error(&alive, Code::FailedPrecondition, Reason::PreconditionFailed);
    let foreign = first.leave(leave(Some(other))).await.unwrap_err();
    assert_error(&foreign, Code::FailedPrecondition, Reason::SessionExpired);
    first.leave(leave(Some(session))).await.unwrap();
    let gone = first.leave(leave(None)).await.unwrap_err();
    assert_error(&gone, Code::NotFound, Reason::NotFound);
    // A worker whose session ended stays known, down, until somebody removes it.
    first.register(registration("w", Some(session))).await.unwrap();
    propose(one, Command::CloseSession { id: session }).await.unwrap();
    assert_eq!(one.view().state.worker(&name("w")).unwrap().state, WorkerState::Down);
    first.leave(leave(None)).await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_are_taken_from_holders_and_written_when_they_changed_enough() {
    let cluster = TestCluster::start(3).await;
    let one = cluster.node(1).coordinator();
    let clients = Clients::all(cluster.nodes()).await;
    let workers = Workers::new(clients[1].channel.clone());
    clients[0].set("load_report_interval_ms", 20).await;
    let (session, other) = (open(one).await, open(one).await);
    let mut registering = workers.clone();
    registering.register(registration("w", Some(session))).await.unwrap();
    network(one, 1).await;
    until(one, |state| state.partition(&id(0)).is_some_and(|it| it.owner.is_some())).await;

    assert_eq!(report(&workers, session, &[("w", 500_000), ("net/0", 7)]).await.unwrap(), 2);
    let written = |state: &State| (load(state, "w"), load(state, "net/0"));
    until(one, |state| written(state) == (Some(500_000), Some(7))).await;
    // A little more is not written: what is written with the next is the other one alone.
    report(&workers, session, &[("w", 510_000), ("net/0", 7)]).await.unwrap();
    report(&workers, session, &[("net/0", 90_000)]).await.unwrap();
    until(one, |state| load(state, "net/0") == Some(90_000)).await;
    assert_eq!(written(&one.view().state), (Some(500_000), Some(90_000)));
    let list = registering.list(v1::ListWorkersRequest { read: None }).await.unwrap().into_inner();
    assert_eq!(list.workers[0].load_ppm, 500_000);

    // Only who holds it may report it.
    let foreign = report(&workers, other, &[("w", 1)]).await.unwrap_err();
    assert_error(&foreign, Code::FailedPrecondition, Reason::PreconditionFailed);
    assert_eq!(report(&workers, other, &[("net/0", 1), ("gone/0", 1)]).await.unwrap(), 0);
    propose(one, Command::CloseSession { id: session }).await.unwrap();
    // As soon as the coordinator that is asked knows; what it took before is not written any more.
    let asked = cluster.node(2).coordinator();
    until(asked, |state| state.session(session).is_none()).await;
    let ended = report(&workers, session, &[("w", 1)]).await.unwrap_err();
    assert_error(&ended, Code::FailedPrecondition, Reason::SessionExpired);
    let refused = report(&workers, other, &[("no worker", 1)]).await.unwrap_err();
    assert_error(&refused, Code::InvalidArgument, Reason::InvalidField);
    clients[0].set("reported_loads_max", 1).await;
    let many = report(&workers, other, &[("a", 1), ("b", 1)]).await.unwrap_err();
    assert_error(&many, Code::InvalidArgument, Reason::LimitExceeded);
    // A load goes with whose it is.
    let gone = Command::LeaveWorker { name: name("w"), session: None };
    assert_eq!(propose(one, gone).await, Ok(Reply::Done));
    assert_eq!(load(&one.view().state, "w"), None);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_registrations_name_the_field_and_change_nothing() {
    let cluster = TestCluster::start(1).await;
    let one = cluster.node(1).coordinator();
    let mut workers = Workers::new(Clients::of(cluster.node(1)).await.channel);
    let session = open(one).await;
    let before = one.view().state.revision();
    let good = || registration("w", Some(session));
    let many: BTreeMap<_, _> = (0..65).map(|at| (at.to_string(), String::new())).collect();
    let odd = v1::Resources { amounts: BTreeMap::from([("a b".to_owned(), 1)]) };
    let broken = [
        (v1::RegisterWorkerRequest { name: "a/b".into(), ..good() }, "name"),
        (v1::RegisterWorkerRequest { session: None, ..good() }, "session"),
        (v1::RegisterWorkerRequest { address: String::new(), ..good() }, "address"),
        (v1::RegisterWorkerRequest { address: "x".repeat(10_000), ..good() }, "address"),
        (v1::RegisterWorkerRequest { capacity: Some(odd), ..good() }, "capacity.amounts[a b]"),
        (v1::RegisterWorkerRequest { labels: many, ..good() }, "labels"),
    ];
    for (request, field) in broken {
        let refused = workers.register(request).await.unwrap_err();
        assert_error(&refused, Code::InvalidArgument, Reason::InvalidField);
        let details = quorate_proto::ErrorDetails::from_status(&refused).unwrap();
        assert_eq!(details.field, field, "{refused:?}");
    }
    let drain = v1::DrainWorkerRequest { name: "w".into(), ..v1::DrainWorkerRequest::default() };
    let unknown = workers.drain(drain).await.unwrap_err();
    assert_error(&unknown, Code::NotFound, Reason::NotFound);
    assert_eq!(one.view().state.revision(), before);
    tokio::time::timeout(Duration::from_secs(10), cluster.shutdown()).await.unwrap();
}
