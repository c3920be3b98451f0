//! A coordinator to which everything happened that metrics tell of, and what it shows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quorate_core::{
    ApplyNetwork, Command, ConnectionPolicy, Key, Kind, MemberId, Name, NetworkSpec, Operation,
    PartitionPolicy, Pool, Process, ProcessEdge, Record, RegisterWorker, Reply, Resources,
    SessionId, State, Tenant, Transaction,
};
use quorate_node::{
    Node,
    config::{Config, Listeners},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

/// Generous: waited for only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a coordinator, makes everything happen to it, and gives what it shows then.
pub(crate) async fn scraped() -> Result<String> {
    let directory = tempfile::tempdir()?;
    let listeners = Listeners::local().await?;
    let member = listeners.member(MemberId(1))?;
    let config = Config::local(MemberId(1), &[member], directory.path());
    let node = Node::start_on(config, listeners).await?;
    let happened = happen(&node).await;
    let text = get(&node, "/metrics").await;
    node.shutdown().await;
    happened?;
    text
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a literal that is a name")
}

async fn done(node: &Node, command: Command) -> Result<Reply> {
    let deadline = Instant::now() + PATIENCE;
    let mut contact = node.coordinator().in_contact();
    timeout(PATIENCE, contact.wait_for(|there| *there)).await??;
    let committed = node.coordinator().propose(command, deadline).await?;
    committed.outcome.result.map_err(|rejection| anyhow::anyhow!("{rejection}"))
}

/// Workers, a network with a connection, a pool, and an alert about a worker that is lost.
async fn happen(node: &Node) -> Result<()> {
    for (setting, value) in [
        ("health_interval_ms", "100"),
        ("health_failures_min", "1"),
        ("health_down_ms_max", "0"),
        ("janitor_worker_down_ms", "0"),
    ] {
        let (key, record) = (Key::setting(&name(setting)), Record::Setting(value.into()));
        let success = vec![Operation::Put { key, record, return_previous: false }];
        done(node, Command::Transaction(Transaction { success, ..Default::default() })).await?;
    }
    worker(node, "kept").await?;
    let lost = worker(node, "lost").await?;
    let process = |id| Process {
        needs: [(name(Resources::CPU_MILLIS), 100)].into_iter().collect(),
        ..Process::new(name(id), "test")
    };
    let spec = NetworkSpec {
        processes: vec![process("a"), process("b")],
        connections: vec![ProcessEdge { from: name("a"), to: name("b"), rate: 1 }],
        policy: PartitionPolicy {
            partitions: 2,
            strategy: name("round-robin"),
            ..PartitionPolicy::default()
        },
        connection: ConnectionPolicy::default(),
    };
    let network = ApplyNetwork { name: name("net"), spec, assignment: vec![0, 1], basis: None };
    done(node, Command::ApplyNetwork(network)).await?;
    let capacity = [(name("licences"), 10)].into_iter().collect();
    let tenants = [(name("t"), Tenant::default())].into();
    let pool = Pool { capacity, tenants, ..Pool::default() };
    done(node, Command::PutPool { name: name("pool"), pool }).await?;
    done(node, Command::CloseSession { id: lost }).await?;
    until(node, "an alert", |state| state.records_of(Kind::Alert).next().is_some()).await
}

async fn worker(node: &Node, text: &str) -> Result<SessionId> {
    let open = Command::OpenSession { ttl_ms: 600_000, label: "test".into() };
    let Reply::OpenSession { id: session, .. } = done(node, open).await? else {
        anyhow::bail!("no session");
    };
    let register = RegisterWorker {
        name: name(text),
        session,
        address: "127.0.0.1:1".into(),
        capacity: [(name(Resources::CPU_MILLIS), 1_000)].into_iter().collect(),
        labels: Default::default(),
    };
    done(node, Command::RegisterWorker(register)).await?;
    Ok(session)
}

async fn until(node: &Node, what: &str, holds: impl Fn(&State) -> bool) -> Result<()> {
    let mut applied = node.coordinator().applied();
    let there = async {
        while !holds(&node.coordinator().view().state) {
            applied.changed().await?;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, there).await.with_context(|| format!("{what} in time"))?
}

/// Gets a path of the coordinator's HTTP server.
async fn get(node: &Node, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(node.metrics_address()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: quorate\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer with a body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(body.to_owned())
}
