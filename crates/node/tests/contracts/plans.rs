//! Plans: strategies of an embedder, and how many plans are made at a time.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use quorate_core::{Command, MemberId, PartitionState};
use quorate_node::{
    Environment, Node,
    config::{Config, Listeners},
    plan::{BalanceStrategy, PartitionRequest, StrategyFailure},
};
use quorate_proto::{
    Reason, WriteOutcome,
    v1::{self, partition_service_client::PartitionServiceClient},
};
use tonic::{Code, Request};

use crate::{
    clients::{Clients, assert_error},
    common::TestCluster,
    ownership::{done, id, name, network, partition, until, worker},
};

/// Puts everything into partition 0, but for the last ones; waits until it may. Says that it has begun.
struct Waits {
    begun: mpsc::Sender<()>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl BalanceStrategy for Waits {
    fn name(&self) -> &'static str {
        "waits"
    }

    fn assign(&self, request: &PartitionRequest<'_>) -> Result<Vec<u32>, StrategyFailure> {
        // Nobody listens after the first time.
        self.begun.send(()).ok();
        self.go.lock().unwrap().recv().map_err(StrategyFailure::new)?;
        let (processes, partitions) = (request.view.len(), request.partitions);
        Ok((0..processes).map(|at| (at + partitions).saturating_sub(processes)).collect())
    }
}

fn spec(strategy: &str) -> v1::NetworkSpec {
    let process = |at: u32| v1::Process {
        id: format!("p{at}"),
        component: "c".into(),
        parallelism_min: 1,
        parallelism_max: 1,
        ..v1::Process::default()
    };
    v1::NetworkSpec {
        processes: (0..4).map(process).collect(),
        policy: Some(v1::PartitionPolicy {
            partitions: 2,
            strategy: strategy.into(),
            ..Default::default()
        }),
        ..v1::NetworkSpec::default()
    }
}

fn plan(strategy: &str) -> v1::PlanNetworkRequest {
    let spec = Some(spec(strategy));
    v1::PlanNetworkRequest { name: "net".into(), spec, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedders_strategy_partitions_and_plans_are_made_a_few_at_a_time() {
    let (bound, dir) = (Listeners::local().await.unwrap(), tempfile::tempdir().unwrap());
    let member = bound.member(MemberId(1)).unwrap();
    let mut config = Config::local(MemberId(1), &[member], dir.path().join("data"));
    config.limits.plans_max = 1;
    let mut environment = Environment::of_machine(&config).unwrap();
    let ((begin, begun), (go, wait)) = (mpsc::channel(), mpsc::channel());
    let waits = Waits { begun: begin, go: Mutex::new(wait) };
    environment.strategies.register(Arc::new(waits)).unwrap();
    let node = Node::start_in(config, bound, environment).await.unwrap();
    let clients = Clients::of(&node).await;

    let mut asking = clients.network.clone();
    let asked = tokio::spawn(async move { asking.plan(plan("waits")).await });
    tokio::task::spawn_blocking(move || begun.recv()).await.unwrap().unwrap();
    let mut hurried = Request::new(plan("round-robin"));
    hurried.set_timeout(Duration::from_millis(100));
    let busy = clients.network.clone().plan(hurried).await.unwrap_err();
    let details = assert_error(&busy, Code::ResourceExhausted, Reason::Overloaded);
    assert_eq!(details.outcome, WriteOutcome::NotApplied);
    assert!(details.retry_after.is_some(), "{details:?}");

    go.send(()).unwrap();
    let planned = asked.await.unwrap().unwrap().into_inner();
    let layout = planned.after.unwrap();
    let sizes: Vec<usize> = layout.partitions.iter().map(|it| it.processes.len()).collect();
    assert_eq!(sizes, [3, 1]);
    go.send(()).unwrap();
    let spec = Some(spec("waits"));
    let apply = v1::ApplyNetworkRequest { name: "net".into(), spec, ..Default::default() };
    let applied = clients.network.clone().apply(apply).await.unwrap().into_inner();
    assert_eq!(applied.network.unwrap().strategy, "waits");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_tells_who_still_runs_what_is_on_its_way() {
    let cluster = TestCluster::start(1).await;
    let one = cluster.node(1).coordinator();
    worker(one, "old").await;
    network(one, 1).await;
    until(one, |state| partition(state, 0).state == PartitionState::Assigned).await;
    worker(one, "new").await;
    let clients = Clients::of(cluster.node(1)).await;
    let explain = async || {
        let mut service = PartitionServiceClient::new(clients.channel.clone());
        let request =
            v1::ExplainPartitionRequest { partition: "net/0".into(), ..Default::default() };
        let answer = service.explain(request).await.unwrap().into_inner();
        (answer.worker, answer.leaving)
    };
    assert_eq!(explain().await, ("old".into(), String::new()));
    let moves = vec![(id(0), Some(name("new")))];
    done(one, Command::MovePartitions { moves, basis: Default::default() }).await;
    assert_eq!(explain().await, ("new".into(), "old".into()));
    cluster.shutdown().await;
}
