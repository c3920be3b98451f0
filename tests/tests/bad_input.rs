//! Bad input of every kind: each is a clear error that names the field and the rule, and nothing
//! changes.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quorate_core::Revision;
use quorate_proto::v1::{
    ApplyNetworkRequest, Key, Kind, NetworkSpec, Process, ProcessEdge, PutRequest, ResumeToken,
    WatchRequest, network_service_client::NetworkServiceClient,
    store_service_client::StoreServiceClient, watch_request::Start,
};
use quorate_tests::{
    calls::{Coordinator, DEADLINE, Failure, timed},
    cluster::{Cluster, binary},
    command::{Ran, finish, quorate},
};
use tonic::Code;

#[test]
fn an_unknown_key_in_a_configuration_is_named() -> Result<()> {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/node1.toml");
    let sample = fs::read_to_string(sample)?;
    let folder = tempfile::tempdir()?;
    let cases = [
        ("[raft]\n", "[raft]\nheartbeat_msec = 5\n", "heartbeat_msec"),
        ("[node]\n", "[nodes]\nx = 1\n\n[node]\n", "nodes"),
        ("[raft]\n", "[raft]\nheartbeat_ms = 100000000\n", "raft.heartbeat_ms"),
        ("id = 1\n", "id = \"one\"\n", "id"),
        ("id = 1\n", "id = 0\n", "node.id"),
    ];
    for (from, to, named) in cases {
        let (config, data) = (folder.path().join("node.toml"), folder.path().join("data"));
        fs::write(&config, sample.replacen(from, to, 1))?;
        let mut command = Command::new(binary()?);
        command.args(["serve", "--config"]).arg(&config).arg("--data-dir").arg(&data);
        let ran = finish(&mut command)?;
        ensure!(ran.code > 0, "{to:?} was accepted");
        ensure!(ran.stderr.contains(named), "{to:?} is not named {named}: {}", ran.stderr);
        ensure!(!data.exists(), "{to:?} left data behind");
    }
    Ok(())
}

#[tokio::test]
async fn bad_requests_are_refused_and_change_nothing() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let any = cluster.coordinators()[0].clone();
    let before = any.put("before", b"everything").await?;
    network_files(&cluster)?;
    for coordinator in cluster.coordinators() {
        networks(&coordinator).await?;
        values(&coordinator).await?;
        future_watch(&coordinator, before).await?;
        foreign_token(&coordinator).await?;
    }
    let (after, records) = any.entries("").await?;
    ensure!(after == before && records.len() == 1, "bad input moved {before} to {after}");
    let listed = quorate(&cluster, &["network", "list"])?;
    ensure!(listed.json()?.is_empty(), "a bad network was stored");
    compacted_watch(&cluster).await?;
    for id in cluster.ids() {
        cluster.stop(id, Duration::from_secs(20))?;
    }
    Ok(())
}

/// Files with a mistake, and what the error must name.
const FILES: &[(&str, &str, &[&str])] = &[
    (
        "missing.toml",
        "[[processes]]\nid = \"a\"\ncomponent = \"c\"\n\n[[connections]]\nfrom = \"a\"\nto = \"ghost\"\n",
        &["ghost", "to"],
    ),
    (
        "duplicate.toml",
        "[[processes]]\nid = \"twin\"\ncomponent = \"c\"\n\n[[processes]]\nid = \"twin\"\ncomponent = \"c\"\n",
        &["twin", "id"],
    ),
    (
        "negative.toml",
        "[[processes]]\nid = \"a\"\ncomponent = \"c\"\nneeds = { cpu_millis = -1 }\n",
        &["cpu_millis", "needs"],
    ),
    (
        "unknown.toml",
        "[[processes]]\nid = \"a\"\ncomponent = \"c\"\ncolour = \"red\"\n",
        &["colour"],
    ),
    (
        "missing.json",
        r#"{"schemaVersion": "1.5", "workflow": {"specification": {"tasks":
            [{"id": "a", "name": "a", "parents": ["ghost"], "children": []}]}}}"#,
        &["ghost", "parents"],
    ),
    (
        "duplicate.json",
        r#"{"schemaVersion": "1.5", "workflow": {"specification": {"tasks":
            [{"id": "twin", "name": "a"}, {"id": "twin", "name": "b"}]}}}"#,
        &["twin", "id"],
    ),
    ("broken.json", "{\"schemaVersion\": ", &["broken.json:1:"]),
];

fn network_files(cluster: &Cluster) -> Result<()> {
    for (name, text, named) in FILES {
        let path = cluster.folder().join(name);
        fs::write(&path, text)?;
        let path = path.to_str().context("a readable path")?;
        let Ran { code, stderr, .. } = quorate(cluster, &["network", "apply", path])?;
        ensure!(code == 1, "{name}: exit code {code}: {stderr}");
        for part in *named {
            ensure!(stderr.contains(part), "{name}: the error does not name {part}: {stderr}");
        }
    }
    Ok(())
}

/// The same mistakes by those who do not use the command.
async fn networks(coordinator: &Coordinator) -> Result<()> {
    let process =
        |id: &str| Process { id: id.to_owned(), component: "c".to_owned(), ..Process::default() };
    let edge = |from: &str, to: &str| ProcessEdge { from: from.into(), to: to.into(), rate: 1 };
    let spec = |processes: &[&str], edges: &[(&str, &str)]| NetworkSpec {
        processes: processes.iter().map(|id| process(id)).collect(),
        connections: edges.iter().map(|(from, to)| edge(from, to)).collect(),
        policy: None,
        connection: Default::default(),
    };
    let cases = [
        ("net", spec(&["a"], &[("a", "ghost")]), "connections[0].to"),
        ("net", spec(&["a", "b", "a"], &[]), "processes[2].id"),
        ("net", spec(&["a b"], &[]), "processes[0].id"),
        ("net", spec(&[], &[]), "processes"),
        ("no/slash", spec(&["a"], &[]), "name"),
    ];
    for (name, spec, field) in cases {
        let request = ApplyNetworkRequest {
            name: name.to_owned(),
            spec: Some(spec),
            ..ApplyNetworkRequest::default()
        };
        let mut client = NetworkServiceClient::new(coordinator.channel());
        let answer = client.apply(timed(request)).await.map(drop).map_err(Failure::from);
        let failure = refused(answer, Code::InvalidArgument, "INVALID_FIELD")?;
        ensure!(failure.field.ends_with(field), "not {field} but: {failure}");
        ensure!(!failure.rule.is_empty() && failure.not_applied(), "{failure}");
    }
    Ok(())
}

/// A value over the limit, one over the limit of a request, and a key that cannot be written.
async fn values(coordinator: &Coordinator) -> Result<()> {
    let mib = 1 << 20;
    let cases = [
        (Kind::Entry, mib + 1, "LIMIT_EXCEEDED", "value"),
        (Kind::Entry, 5 * mib, "LIMIT_EXCEEDED", ""),
        (Kind::Partition, 1, "INVALID_FIELD", "key"),
    ];
    for (kind, size, reason, field) in cases {
        let request = PutRequest {
            key: Some(Key { kind: kind.into(), key: Bytes::from_static(b"net/0") }),
            value: vec![b'x'; size].into(),
            return_previous: false,
            ..PutRequest::default()
        };
        let mut client = StoreServiceClient::new(coordinator.channel());
        let answer = client.put(timed(request)).await.map(drop).map_err(Failure::from);
        let failure = refused(answer, Code::InvalidArgument, reason)?;
        ensure!(failure.field.contains(field), "not {field} but: {failure}");
        ensure!(!failure.rule.is_empty() && failure.not_applied(), "{failure}");
    }
    Ok(())
}

async fn future_watch(coordinator: &Coordinator, now: Revision) -> Result<()> {
    let failure = watch(coordinator, Start::FromRevision(now.get() + 2)).await?;
    ensure!(failure.reason == "FUTURE_REVISION", "{failure}");
    ensure!(failure.code == Code::OutOfRange && !failure.message.is_empty(), "{failure}");
    Ok(())
}

async fn foreign_token(coordinator: &Coordinator) -> Result<()> {
    let token = ResumeToken { cluster_id: 1, restore_epoch: 0, revision: 1 };
    let failure = watch(coordinator, Start::Resume(token)).await?;
    ensure!(failure.reason == "WRONG_CLUSTER", "{failure}");
    ensure!(failure.code == Code::FailedPrecondition, "{failure}");
    Ok(())
}

/// With hardly any history kept, a watch from the beginning is told where history begins.
async fn compacted_watch(cluster: &Cluster) -> Result<()> {
    let any = cluster.coordinators()[0].clone();
    let key = Key { kind: Kind::Setting.into(), key: Bytes::from_static(b"history_bytes_max") };
    let request = PutRequest {
        key: Some(key),
        value: "1000".into(),
        return_previous: false,
        ..PutRequest::default()
    };
    StoreServiceClient::new(any.channel()).put(timed(request)).await?;
    for number in 0..50 {
        any.put(&format!("history/{number}"), &[b'x'; 100]).await?;
    }
    cluster.wait_healthy().await?;
    for coordinator in cluster.coordinators() {
        let failure = watch(&coordinator, Start::FromRevision(1)).await?;
        ensure!(failure.reason == "COMPACTED" && failure.code == Code::OutOfRange, "{failure}");
        let oldest: u64 = failure.oldest.parse().with_context(|| failure.to_string())?;
        let start = Some(Start::FromRevision(oldest));
        let mut stream =
            coordinator.watch(WatchRequest { start, ..WatchRequest::default() }).await?;
        let first = tokio::time::timeout(DEADLINE, stream.message()).await??;
        let first = first.context("a message")?.events.into_iter().next();
        let first = first.context("an event")?.revision;
        ensure!(first == oldest, "history begins at {first}, not at {oldest}");
    }
    Ok(())
}

/// A watch that must fail, at once or with its first message.
async fn watch(coordinator: &Coordinator, start: Start) -> Result<Failure> {
    let request = WatchRequest { start: Some(start), ..WatchRequest::default() };
    let mut stream = match coordinator.watch(request).await {
        Ok(stream) => stream,
        Err(failure) => return Ok(failure),
    };
    match tokio::time::timeout(DEADLINE, stream.message()).await? {
        Ok(message) => anyhow::bail!("the watch was accepted: {message:?}"),
        Err(status) => Ok(status.into()),
    }
}

fn refused(answer: Result<(), Failure>, code: Code, reason: &str) -> Result<Failure> {
    let failure = answer.err().with_context(|| format!("accepted, not {reason}"))?;
    ensure!(failure.code == code && failure.reason == reason, "not {code:?} {reason}: {failure}");
    Ok(failure)
}
