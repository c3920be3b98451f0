//! Three coordinators in one process, on real sockets and sled: forming, writing, reading,
//! leadership, restart.

use std::time::Duration;

use quorate_core::{Key, MemberId, Record};
use quorate_node::coordinator::{Fate, Freshness, Unanswered};

use crate::common::{TestCluster, deadline, put};

#[tokio::test(flavor = "multi_thread")]
async fn every_member_answers_every_call() {
    let cluster = TestCluster::start(3).await;
    for (number, node) in cluster.nodes().enumerate() {
        let key = format!("key-{number}");
        let committed = node.coordinator().propose(put(&key, "v"), deadline()).await.unwrap();
        assert!(committed.outcome.result.is_ok());
        for other in cluster.nodes() {
            let view = other.coordinator().read(Freshness::Linearizable, deadline()).await.unwrap();
            let found = view.state.get(&Key::entry(key.clone())).expect("it was acknowledged");
            assert_eq!(found.value, Record::Entry("v".into()));
            assert_eq!(found.modified, committed.outcome.revision);
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_where_it_is_sent_from_any_member() {
    let cluster = TestCluster::start(3).await;
    for target in [1, 2, 3, 1] {
        for asked in cluster.nodes() {
            let target = MemberId(target);
            let leads = asked.coordinator().transfer_leader(Some(target), deadline()).await;
            assert_eq!(leads, Ok(target));
        }
        let node = cluster.nodes().next().unwrap();
        node.coordinator().propose(put("k", "v"), deadline()).await.unwrap();
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_calls_fail_in_time_and_nothing_is_lost_after_a_restart() {
    let mut cluster = TestCluster::start(3).await;
    let first = cluster.nodes().next().unwrap().coordinator().clone();
    first.propose(put("before", "v"), deadline()).await.unwrap();
    cluster.stop(2).await;
    cluster.stop(3).await;

    let begun = std::time::Instant::now();
    let write = first.propose(put("during", "v"), deadline()).await.unwrap_err();
    assert!(matches!(write, Unanswered::Unavailable { .. }), "{write}");
    let read = first.read(Freshness::Linearizable, deadline()).await.unwrap_err();
    assert!(matches!(read, Unanswered::Unavailable { fate: Fate::NotApplied, .. }), "{read}");
    assert!(begun.elapsed() < Duration::from_secs(9), "before the deadline of ten seconds");
    let local = first.read(Freshness::Local, deadline()).await.unwrap();
    assert!(local.state.get(&Key::entry("before")).is_some());

    cluster.restart(2).await;
    cluster.restart(3).await;
    for node in cluster.nodes() {
        let view = node.coordinator().read(Freshness::Linearizable, deadline()).await.unwrap();
        assert!(view.state.get(&Key::entry("before")).is_some());
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_comes_back_with_everything() {
    let mut cluster = TestCluster::start(3).await;
    for number in 0..50 {
        let node = cluster.nodes().nth(number % 3).unwrap();
        let committed = node.coordinator().propose(put(&format!("k{number}"), "v"), deadline());
        committed.await.unwrap();
    }
    let id = cluster.nodes().next().unwrap().coordinator().cluster_id();
    for member in 1..=3 {
        cluster.stop(member).await;
    }
    cluster.restart_all().await;
    for node in cluster.nodes() {
        let view = node.coordinator().read(Freshness::Linearizable, deadline()).await.unwrap();
        assert_eq!((view.state.len(), node.coordinator().cluster_id()), (50, id));
        assert_eq!(view.state.check(), Ok(()));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_too_large_for_the_log_is_refused_and_harms_nobody() {
    let cluster = TestCluster::start(1).await;
    let coordinator = cluster.node(1).coordinator();
    let huge = put("k", &"x".repeat(33 << 20));
    let refused = coordinator.propose(huge, deadline()).await.unwrap_err();
    assert!(matches!(refused, Unanswered::TooLarge { .. }), "{refused}");
    coordinator.propose(put("k", "v"), deadline()).await.unwrap().outcome.result.unwrap();
    cluster.shutdown().await;
}
