//! What each fault of a [`TestCluster`] does, seen with the client library.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use quorate_client::{Client, ClientConfig, ErrorKind};
use quorate_node::{
    coordinator::Role,
    core::{MemberId, Record},
};
use quorate_testkit::{TestCluster, TestClusterError};

async fn started() -> TestCluster {
    // RUST_LOG=debug shows what happens.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    TestCluster::start(3).await.unwrap()
}

async fn value(client: &Client, key: &'static str) -> Option<String> {
    let found = client.get(key).await.unwrap().value?;
    let Record::Entry(entry) = &found.value else { panic!("no entry: {found:?}") };
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

fn others(cluster: &TestCluster, id: MemberId) -> Vec<MemberId> {
    cluster.members().filter(|other| *other != id).collect()
}

#[tokio::test]
async fn a_cut_off_leader_applies_nothing_and_the_others_go_on() {
    let cluster = started().await;
    let client = cluster.client().unwrap();
    client.put("k", "before").await.unwrap();
    let old = cluster.leader().await.unwrap();
    cluster.partition(&[&[old]]).unwrap();
    // At once, when it has not noticed yet: the write may be in its log, but is not applied.
    let minority = ClientConfig::new([cluster.endpoint(old).unwrap()]).without_exactly_once();
    let minority = Client::new(minority).unwrap();
    let error = minority.put("k", "minority").await.unwrap_err();
    println!("through the minority: {:?}: {error}", error.outcome());
    let kinds = [ErrorKind::Unavailable, ErrorKind::OutcomeUnknown];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    let new = cluster.leader().await.unwrap();
    assert_ne!(new, old);
    client.put("k", "majority").await.unwrap();
    minority.get("k").await.unwrap_err();

    cluster.heal();
    cluster.converge().await.unwrap();
    assert_eq!(value(&minority, "k").await.unwrap(), "majority");
    cluster.shutdown().await;
}

#[tokio::test]
async fn groups_are_cut_from_each_other_and_nobody_leads_all_alone() {
    let cluster = started().await;
    let [one, two, three] = [1, 2, 3].map(MemberId);
    cluster.partition(&[&[one], &[two], &[three]]).unwrap();
    let error = cluster.leader_within(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, TestClusterError::NoLeader { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("no leader that a majority follows within 1s: member 1 is "), "{text}");
    // What is named together is together again; the third is the rest.
    cluster.partition(&[&[one, two]]).unwrap();
    let leader = cluster.leader().await.unwrap();
    assert!([one, two].contains(&leader));
    cluster.client().unwrap().put("k", "v").await.unwrap();
    assert_eq!(value(&cluster.client_through(two).unwrap(), "k").await.unwrap(), "v");
    cluster.client_through(three).unwrap().get("k").await.unwrap_err();

    let error = cluster.partition(&[&[one], &[one, two]]).unwrap_err();
    assert_eq!(error.to_string(), "member 1 is in two groups");
    let error = cluster.partition(&[&[MemberId(4)]]).unwrap_err();
    assert_eq!(error.to_string(), "there is no member 4");
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_a_killed_leader_acknowledged_is_there_when_all_are_killed_and_come_back() {
    let mut cluster = started().await;
    let client = cluster.client().unwrap();
    client.put("first", "1").await.unwrap();
    let killed = cluster.leader().await.unwrap();
    cluster.kill(killed).await.unwrap();
    let error = cluster.kill(killed).await.unwrap_err();
    assert_eq!(error.to_string(), format!("member {killed} is not running"));
    let refused = TcpStream::connect(cluster.endpoint(killed).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(cluster.running().collect::<Vec<_>>(), others(&cluster, killed));
    client.put("second", "2").await.unwrap();

    for id in others(&cluster, killed) {
        cluster.kill(id).await.unwrap();
    }
    let started = Instant::now();
    for id in cluster.members().collect::<Vec<_>>() {
        cluster.restart(id).await.unwrap();
    }
    println!("three restarts from the journal: {:?}", started.elapsed());
    cluster.converge().await.unwrap();
    let client = cluster.client().unwrap();
    assert_eq!(value(&client, "first").await.unwrap(), "1");
    assert_eq!(value(&client, "second").await.unwrap(), "2");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_paused_leader_is_replaced_and_steps_down_when_it_goes_on() {
    let mut cluster = started().await;
    let client = cluster.client().unwrap();
    client.put("k", "before").await.unwrap();
    let old = cluster.leader().await.unwrap();
    let paused = cluster.coordinator(old).unwrap();
    let before = paused.status();
    cluster.pause(old).await.unwrap();
    cluster.pause(old).await.unwrap();

    let new = cluster.leader().await.unwrap();
    assert_ne!(new, old);
    let there = cluster.client_through(new).unwrap();
    there.put("k", "meanwhile").await.unwrap();
    // It has not noticed, takes connections, and answers nobody.
    assert_eq!(paused.status(), before);
    assert_eq!(paused.status().role, Role::Leader);
    drop(TcpStream::connect(cluster.endpoint(old).unwrap()).unwrap());
    let stalled = ClientConfig::new([cluster.endpoint(old).unwrap()]);
    let stalled = Client::new(stalled.with_timeout(Duration::from_millis(300))).unwrap();
    stalled.get("k").local().await.unwrap_err();

    cluster.resume(old).unwrap();
    cluster.converge().await.unwrap();
    assert_ne!(paused.status().role, Role::Leader);
    assert!(paused.status().term > before.term);
    assert_eq!(value(&cluster.client_through(old).unwrap(), "k").await.unwrap(), "meanwhile");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_member_that_is_stopped_hands_over_and_is_started_at_its_address() {
    let mut cluster = started().await;
    let old = cluster.leader().await.unwrap();
    let address = cluster.endpoint(old).unwrap();
    cluster.stop(old).await.unwrap();
    cluster.client().unwrap().put("k", "v").await.unwrap();
    cluster.restart(old).await.unwrap();
    // One that runs is stopped before, one that is paused, too.
    cluster.restart(old).await.unwrap();
    cluster.pause(old).await.unwrap();
    cluster.restart(old).await.unwrap();
    cluster.converge().await.unwrap();
    assert_eq!(cluster.endpoint(old).unwrap(), address);
    assert_eq!(value(&cluster.client_through(old).unwrap(), "k").await.unwrap(), "v");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_member_that_does_not_start_is_named_and_the_others_go_on() {
    let mut cluster = started().await;
    let leader = cluster.leader().await.unwrap();
    let victim = others(&cluster, leader)[0];
    cluster.stop(victim).await.unwrap();
    std::fs::remove_file(cluster.data_dir(victim).unwrap().join("journal")).unwrap();
    let error = cluster.restart(victim).await.unwrap_err();
    assert!(matches!(error, TestClusterError::NotStarted { .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("member {victim} did not start: ")), "{text}");
    assert!(text.contains("journal"), "{text}");
    assert_eq!(cluster.leader().await.unwrap(), leader);
    cluster.shutdown().await;
}

#[tokio::test]
async fn nothing_is_left_when_it_is_dropped() {
    let mut cluster = started().await;
    let leader = cluster.leader().await.unwrap();
    cluster.pause(leader).await.unwrap();
    let endpoints: Vec<_> = cluster.endpoints().collect();
    let directory = cluster.data_dir(leader).unwrap().parent().unwrap().to_owned();
    assert!(directory.exists() && threads() > 0);
    drop(cluster);
    assert!(!directory.exists());
    for endpoint in endpoints {
        TcpStream::connect(endpoint).unwrap_err();
    }
    if std::env::var_os("NEXTEST").is_some() {
        // No other test runs in this process.
        assert_eq!(threads(), 0);
    }
}

/// How many threads of clusters there are.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| {
        let path = task.unwrap().path().join("comm");
        std::fs::read_to_string(path).ok()
    });
    names.filter(|name| name.starts_with("quorate-") || name.starts_with("log flusher")).count()
}

/// A configuration can be changed, and every start of a member has the change.
#[tokio::test]
async fn checkpoints_come_as_often_as_the_configuration_says() {
    let cluster = TestCluster::start_with(1, |config| {
        config.raft.checkpoint_entries = 20;
        config.node.id = MemberId(9);
    });
    let mut cluster = cluster.await.unwrap();
    let only = MemberId(1);
    for _ in 0..2 {
        let client = cluster.client().unwrap();
        let before = cluster.coordinator(only).unwrap().status().checkpoint_index;
        let deadline = Instant::now() + Duration::from_secs(30);
        while cluster.coordinator(only).unwrap().status().checkpoint_index <= before {
            client.put("k", "v").await.unwrap();
            assert!(Instant::now() < deadline, "no checkpoint");
        }
        cluster.kill(only).await.unwrap();
        cluster.restart(only).await.unwrap();
        cluster.leader().await.unwrap();
    }
    cluster.shutdown().await;
}
