//! Three coordinators in one thread: no sockets, no files, and time that passes by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::{collections::BTreeMap, time::Duration};

use quorate_node::{
    Coordinator,
    config::Raft,
    coordinator::{Fate, Freshness, Role, Unanswered},
    core::{Key, MemberId, Record, State},
};
use quorate_testkit::{Conditions, SimCluster, SimOptions, put};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn soon() -> Instant {
    Instant::now() + 5 * SECOND
}

async fn started(seed: u64) -> SimCluster {
    // RUST_LOG=debug shows what happens.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    SimCluster::start(SimOptions { seed, ..SimOptions::default() }).await.unwrap()
}

/// What an entry holds, as text.
fn value(state: &State, key: &str) -> Option<String> {
    match &state.get(&Key::entry(key.to_owned()))?.value {
        Record::Entry(entry) => Some(String::from_utf8_lossy(&entry.value).into_owned()),
        other => panic!("{other:?}"),
    }
}

async fn write(coordinator: &Coordinator, key: &str, value: &str) {
    let committed = coordinator.propose(put(key.to_owned(), value.to_owned()), soon()).await;
    committed.unwrap().outcome.result.unwrap();
}

fn fate(error: &Unanswered) -> Fate {
    match error {
        Unanswered::Unavailable { fate, .. } | Unanswered::Stopped { fate } => *fate,
        _ => Fate::NotApplied,
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_through_any_member_is_read_through_every_member() {
    let cluster = started(1).await;
    let leader = cluster.leader(10 * SECOND).await.unwrap();
    let identities: Vec<_> =
        cluster.members().map(|id| cluster.coordinator(id).unwrap().cluster_id()).collect();
    assert!(identities.iter().all(|id| *id == identities[0]), "{identities:?}");
    for writer in cluster.members() {
        let key = format!("from {writer}");
        write(cluster.coordinator(writer).unwrap(), &key, "x").await;
        for reader in cluster.members() {
            let reader = cluster.coordinator(reader).unwrap();
            let view = reader.read(Freshness::Linearizable, soon()).await.unwrap();
            assert_eq!(value(&view.state, &key).as_deref(), Some("x"), "{key}");
        }
    }
    let roles = cluster.members().map(|id| cluster.coordinator(id).unwrap().status().role);
    assert_eq!(roles.filter(|role| *role == Role::Leader).count(), 1);
    assert_eq!(cluster.leader(SECOND).await, Ok(leader), "a leader without cause to change stays");
    let agreed = cluster.converge(10 * SECOND).await.unwrap();
    assert_eq!(agreed.revision.get(), 3);
    assert!(cluster.network().counts().delivered > 0);
    cluster.shutdown().await;
}

/// A write waits for the quicker two of three disks.
#[tokio::test(start_paused = true)]
async fn a_slow_disk_holds_up_no_write_and_two_slow_ones_do() {
    let cluster = started(9).await;
    let leader = cluster.leader(10 * SECOND).await.unwrap();
    let others: Vec<MemberId> = cluster.members().filter(|id| *id != leader).collect();
    let (coordinator, slow) = (cluster.coordinator(leader).unwrap(), SECOND / 2);
    let took = async |key: &'static str| {
        let began = Instant::now();
        write(coordinator, key, "x").await;
        began.elapsed()
    };
    cluster.slow_disk(others[0], slow).unwrap();
    assert!(took("one").await < slow / 4);
    cluster.slow_disk(others[1], slow).unwrap();
    assert!(took("two").await >= slow);
    cluster.mend_disks();
    // What was under way takes what it was to take.
    cluster.converge(10 * SECOND).await.unwrap();
    assert!(took("none").await < slow / 4);
    assert!(cluster.slow_disk(MemberId(4), slow).is_err());
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_is_replaced_refuses_and_catches_up() {
    let cluster = started(2).await;
    let old = cluster.leader(10 * SECOND).await.unwrap();
    write(cluster.coordinator(old).unwrap(), "before", "1").await;
    cluster.converge(10 * SECOND).await.unwrap();
    let rest: Vec<MemberId> = cluster.members().filter(|id| *id != old).collect();
    cluster.network().partition(&[old], &rest);

    // The majority goes on.
    let new = cluster.leader_among(&rest, 10 * SECOND).await.unwrap();
    assert_ne!(new, old);
    for member in &rest {
        write(cluster.coordinator(*member).unwrap(), &format!("during {member}"), "2").await;
    }

    // The minority says no, in time, to what needs the others; and answers what does not.
    let minority = cluster.coordinator(old).unwrap();
    let asked = Instant::now();
    let unread = minority.read(Freshness::Linearizable, soon()).await.unwrap_err();
    assert!(matches!(unread, Unanswered::Unavailable { .. }), "{unread:?}");
    assert!(asked.elapsed() < 4 * SECOND, "{:?}", asked.elapsed());
    let asked = Instant::now();
    let unwritten = minority.propose(put("minority", "3"), soon()).await.unwrap_err();
    assert!(asked.elapsed() < 4 * SECOND, "{:?}", asked.elapsed());
    let stale = minority.read(Freshness::Local, soon()).await.unwrap();
    assert_eq!(value(&stale.state, "before").as_deref(), Some("1"));
    assert_eq!(value(&stale.state, &format!("during {new}")), None);
    assert!(!*minority.in_contact().borrow(), "it knows that it is alone");

    // Healed, it follows, and everybody has the same.
    cluster.network().heal();
    let agreed = cluster.converge(30 * SECOND).await.unwrap();
    for id in cluster.members() {
        let view = cluster.coordinator(id).unwrap().read(Freshness::Linearizable, soon()).await;
        let state = &view.unwrap().state;
        assert_eq!(state.hash(), agreed.hash);
        assert_eq!(value(state, "before").as_deref(), Some("1"));
        for member in &rest {
            assert_eq!(value(state, &format!("during {member}")).as_deref(), Some("2"));
        }
        if fate(&unwritten) == Fate::NotApplied {
            assert_eq!(value(state, "minority"), None, "it was said that it never will be");
        }
    }
    write(cluster.coordinator(old).unwrap(), "after", "4").await;
    assert!(cluster.network().counts().stalled > 0, "the cut was felt");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_nothing_is_promised_and_nothing_lost() {
    let mut cluster = started(3).await;
    let leader = cluster.leader(10 * SECOND).await.unwrap();
    write(cluster.coordinator(leader).unwrap(), "kept", "1").await;
    let others: Vec<_> = cluster.members().filter(|id| *id != leader).collect();
    for id in &others {
        cluster.stop(*id).await;
    }
    let alone = cluster.coordinator(leader).unwrap();
    let asked = Instant::now();
    alone.propose(put("lonely", "2"), soon()).await.unwrap_err();
    alone.read(Freshness::Linearizable, soon()).await.unwrap_err();
    assert!(asked.elapsed() < 8 * SECOND, "{:?}", asked.elapsed());
    for id in &others {
        cluster.restart(*id).await.unwrap();
    }
    cluster.leader(10 * SECOND).await.unwrap();
    cluster.converge(30 * SECOND).await.unwrap();
    let back = cluster.coordinator(others[0]).unwrap();
    let view = back.read(Freshness::Linearizable, soon()).await.unwrap();
    assert_eq!(value(&view.state, "kept").as_deref(), Some("1"));
    cluster.shutdown().await;
}

/// Writes `count` keys one after the other through a member; gives what was acknowledged, and what
/// was said never to be applied.
async fn write_many(
    coordinator: Coordinator,
    count: u32,
) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut acknowledged, mut refused) = (BTreeMap::new(), Vec::new());
    for number in 0..count {
        let key = format!("{}/{number}", coordinator.member_id());
        let value = number.to_string();
        match coordinator.propose(put(key.clone(), value.clone()), soon()).await {
            Ok(committed) => {
                committed.outcome.result.unwrap();
                acknowledged.insert(key, value);
            }
            Err(error) if fate(&error) == Fate::NotApplied => refused.push(key),
            Err(_) => {}
        }
    }
    (acknowledged, refused)
}

/// The leader loses its power in the middle of writes, and with it what it had not synced.
async fn crash_under_load(seed: u64) {
    let mut cluster = started(seed).await;
    let leader = cluster.leader(10 * SECOND).await.unwrap();
    let writers: Vec<_> = cluster
        .members()
        .map(|id| tokio::spawn(write_many(cluster.coordinator(id).unwrap().clone(), 60)))
        .collect();
    tokio::time::sleep(SECOND / 10).await;
    cluster.crash(leader);
    let rest: Vec<_> = cluster.running().collect();
    let next = cluster.leader_among(&rest, 10 * SECOND).await.unwrap();
    cluster.restart(leader).await.unwrap();
    // Also a follower, and one that has just come back and may not have caught up.
    tokio::time::sleep(SECOND / 5).await;
    let follower = cluster.members().find(|id| *id != next).unwrap();
    cluster.crash(follower);
    cluster.restart(follower).await.unwrap();

    let (mut acknowledged, mut refused) = (BTreeMap::new(), Vec::new());
    for writer in writers {
        let (more_acknowledged, more_refused) = writer.await.unwrap();
        acknowledged.extend(more_acknowledged);
        refused.extend(more_refused);
    }
    let agreed = cluster.converge(60 * SECOND).await.unwrap();
    let reader = cluster.coordinator(leader).unwrap();
    let view = reader.read(Freshness::Linearizable, soon()).await.unwrap();
    assert_eq!(view.state.hash(), agreed.hash);
    for (key, expected) in &acknowledged {
        let found = value(&view.state, key);
        assert_eq!(found.as_ref(), Some(expected), "seed {seed}: {key} was acknowledged");
    }
    for key in &refused {
        assert_eq!(value(&view.state, key), None, "seed {seed}: {key} was refused");
    }
    view.state.check().unwrap();
    assert!(acknowledged.len() >= 60, "seed {seed}: only {} writes", acknowledged.len());
    cluster.shutdown().await;
}

#[test]
fn what_was_acknowledged_survives_crashes_that_lose_unsynced_writes() {
    for seed in 10..20 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(crash_under_load(seed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_missed_what_was_purged_gets_a_checkpoint() {
    let raft =
        Raft { checkpoint_entries: 20, kept_entries: 5, purge_entries: 1, ..Raft::default() };
    let options = SimOptions { seed: 5, raft, ..SimOptions::default() };
    let mut cluster = SimCluster::start(options).await.unwrap();
    let leader = cluster.leader(10 * SECOND).await.unwrap();
    let away = cluster.members().find(|id| *id != leader).unwrap();
    cluster.crash(away);
    let (written, _) = write_many(cluster.coordinator(leader).unwrap().clone(), 200).await;
    assert_eq!(written.len(), 200);
    cluster.restart(away).await.unwrap();
    cluster.converge(30 * SECOND).await.unwrap();
    let view = cluster.coordinator(away).unwrap().view();
    assert!(view.installs > 0, "it was brought up entry by entry");
    for (key, expected) in &written {
        assert_eq!(value(&view.state, key).as_ref(), Some(expected), "{key}");
    }
    // What it got is durable.
    cluster.crash(away);
    cluster.restart(away).await.unwrap();
    cluster.converge(30 * SECOND).await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn links_that_are_slow_and_break_only_make_it_slower() {
    let conditions = Conditions {
        delay_min: SECOND / 1000,
        delay_max: SECOND / 20,
        breaks_ppm: 20_000,
        ..Conditions::default()
    };
    let options = SimOptions { seed: 4, conditions, ..SimOptions::default() };
    let cluster = SimCluster::start(options).await.unwrap();
    cluster.leader(30 * SECOND).await.unwrap();
    let writers = cluster
        .members()
        .map(|id| tokio::spawn(write_many(cluster.coordinator(id).unwrap().clone(), 100)));
    let mut acknowledged = BTreeMap::new();
    for writer in writers.collect::<Vec<_>>() {
        acknowledged.extend(writer.await.unwrap().0);
    }
    cluster.network().set_conditions(Conditions::default());
    cluster.converge(60 * SECOND).await.unwrap();
    let view = cluster.coordinator(MemberId(1)).unwrap().view();
    for (key, expected) in &acknowledged {
        assert_eq!(value(&view.state, key).as_ref(), Some(expected), "{key}");
    }
    let counts = cluster.network().counts();
    assert!(counts.broken > 10 && acknowledged.len() > 200, "{counts:?}, {}", acknowledged.len());
    cluster.shutdown().await;
}
