//! Health checks over changes of leader, in simulated time.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_node::{
    Coordinator,
    core::{
        Command, Key, Kind, MemberId, Name, NoticeKind, Operation, Record, RegisterWorker, Reply,
        Resources, Revision, State, Transaction, notice,
    },
    health::{Checks, Findings, HealthCheck, HealthContext},
    storage::Mark,
};
use quorate_testkit::{SimCluster, SimOptions, put};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn done(coordinator: &Coordinator, command: Command) -> Reply {
    let committed = coordinator.propose(command, Instant::now() + 10 * SECOND).await.unwrap();
    committed.outcome.result.unwrap()
}

/// A worker whose session ends for want of keep-alives.
async fn lost_worker(coordinator: &Coordinator) {
    let open = Command::OpenSession { ttl_ms: 1_000, label: "test".into() };
    let Reply::OpenSession { id: session, .. } = done(coordinator, open).await else {
        panic!("no session")
    };
    let register = RegisterWorker {
        name: name("lost"),
        session,
        address: "w:1".into(),
        capacity: Resources::default(),
        labels: Default::default(),
    };
    done(coordinator, Command::RegisterWorker(register)).await;
}

/// The alerts that are raised, each with when it was raised and changed last.
fn alerts(state: &State) -> Vec<(String, Revision, Revision)> {
    let alerts = state.records_of(Kind::Alert);
    let alert = alerts.map(|(key, record)| {
        (String::from_utf8_lossy(&key.bytes).into_owned(), record.created, record.modified)
    });
    alert.collect()
}

/// How often the checks of this coordinator ran, the one that ran least.
fn runs(coordinator: &Coordinator) -> u64 {
    let told = coordinator.health_seen().told();
    told.checks.values().map(|it| it.passed + it.found + it.failed).min().unwrap()
}

/// An alert that stands is left as it is by ten leaders, each of which checks often enough to raise and to
/// clear.
#[tokio::test(start_paused = true)]
async fn changes_of_leader_raise_clear_and_change_no_alert() {
    let checks = Checks::builtin(Path::new("/"));
    let cluster = SimCluster::start(SimOptions { checks, ..SimOptions::default() }).await.unwrap();
    let first = cluster.leader(10 * SECOND).await.unwrap();
    let coordinator = cluster.coordinator(first).unwrap();
    // How full the disk of this machine is does not matter here.
    let (key, record) =
        (Key::setting(&name("health_disk_free_bytes_min")), Record::Setting("0".into()));
    let success = vec![Operation::Put { key, record, return_previous: false }];
    done(coordinator, Command::Transaction(Transaction { success, ..Default::default() })).await;
    lost_worker(coordinator).await;
    let mut applied = coordinator.applied();
    let raised = applied.wait_for(|_| !alerts(&coordinator.view().state).is_empty());
    timeout(120 * SECOND, raised).await.expect("it is raised in time").unwrap();
    let (before, since) = (alerts(&coordinator.view().state), coordinator.view().state.revision());
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].0, "worker_down/lost");

    let view = coordinator.view();
    let settings = view.state.settings();
    let often = settings.health_failures_min.max(settings.health_successes_min) + 1;
    let mut leader = first;
    for _ in 0..10 {
        let next =
            cluster.members().find(|id| *id > leader).unwrap_or(cluster.members().next().unwrap());
        let deadline = Instant::now() + 10 * SECOND;
        let moved =
            cluster.coordinator(leader).unwrap().transfer_leader(Some(next), deadline).await;
        assert_eq!(moved, Ok(next));
        leader = next;
        let leads = cluster.coordinator(leader).unwrap();
        let ran = runs(leads);
        timeout(120 * SECOND, async {
            while runs(leads) < ran + often {
                sleep(SECOND).await;
            }
        })
        .await
        .expect("it checks in time");
        assert_eq!(cluster.leader(SECOND).await, Ok(leader));
        assert_eq!(alerts(&leads.view().state), before);
    }
    cluster.converge(10 * SECOND).await.unwrap();
    let view = cluster.coordinator(leader).unwrap().view();
    let events = view.state.history().from(since.next());
    let told = events.flat_map(|event| notice::of_event(event));
    let of_alerts =
        told.filter(|it| [NoticeKind::AlertRaised, NoticeKind::AlertCleared].contains(&it.kind));
    assert_eq!(of_alerts.count(), 0);
    assert_eq!(view.state.revision(), since, "nothing else has changed either");
    cluster.shutdown().await;
}

/// What the leader was told of the members' states, at its last check.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<MemberId, Vec<Mark>>>>);

#[async_trait::async_trait]
impl HealthCheck for Told {
    fn name(&self) -> Name {
        name("told")
    }

    async fn check(&self, context: &HealthContext) -> Result<Findings, String> {
        *self.0.lock().unwrap() = context.marks().await;
        Ok(Findings::new())
    }
}

/// The leader compares the states of all members after the same entries, also of one that is behind.
#[tokio::test(start_paused = true)]
async fn states_are_compared_after_the_same_entries() {
    let told = Told::default();
    let checks = Checks::builtin(Path::new("/")).with(told.clone());
    let cluster = SimCluster::start(SimOptions { checks, ..SimOptions::default() }).await.unwrap();
    let leader = cluster.leader(10 * SECOND).await.unwrap();
    let coordinator = cluster.coordinator(leader).unwrap();
    let behind = cluster.members().find(|id| *id != leader).unwrap();
    while coordinator.view().index.get() < 2 * Mark::EVERY + 10 {
        done(coordinator, put("k", "v")).await;
    }
    let others: Vec<_> = cluster.members().filter(|id| *id != behind).collect();
    cluster.converge(10 * SECOND).await.unwrap();
    cluster.network().partition(&[behind], &others);
    while coordinator.view().index.get() < 3 * Mark::EVERY + 10 {
        done(coordinator, put("k", "v")).await;
    }
    let compared = |members: &[MemberId], entries: u64| {
        let told = told.0.lock().unwrap().clone();
        let at =
            |id: &MemberId| told.get(id)?.iter().find(|mark| mark.index.get() == entries).copied();
        let marks: Vec<Option<Mark>> = members.iter().map(at).collect();
        let there = marks.iter().all(|mark| mark.is_some() && *mark == marks[0]);
        there.then_some(told.len())
    };
    let until = async |members: &[MemberId], entries: u64, answer: usize| {
        timeout(60 * SECOND, async {
            while compared(members, entries) != Some(answer) {
                sleep(SECOND).await;
            }
        })
        .await
        .expect("compared in time");
    };
    until(&others, 3 * Mark::EVERY, 2).await;
    cluster.network().heal();
    let all: Vec<_> = cluster.members().collect();
    for entries in [Mark::EVERY, 2 * Mark::EVERY, 3 * Mark::EVERY] {
        until(&all, entries, 3).await;
    }
    let seen = coordinator.health_seen().told().checks;
    assert!(seen[&name("state_differs")].passed > 0 && seen[&name("state_differs")].found == 0);
    cluster.shutdown().await;
}
