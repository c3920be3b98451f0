//! Members that come and go: learner first, no quorum lost, no id used twice, nothing lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quorate_core::{Key, Kind, MemberId, Origin, Reason, Rejection};
use quorate_node::{
    BootstrapError, Coordinator, Node, StartError,
    config::Listeners,
    coordinator::{Freshness, Role},
    members::{self, MemberChange, MemberInfo, Standing},
};
use tokio::task::JoinHandle;

use crate::common::{PATIENCE, TestCluster, deadline, put};

/// How long a member may take to catch up, or to notice that it was removed, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn add(member: &quorate_node::config::Member) -> MemberChange {
    let (peer, client) = (member.peer.clone(), member.client.clone());
    MemberChange::Add { id: Some(member.id), peer, client }
}

fn promote(id: u64) -> MemberChange {
    MemberChange::Promote { id: MemberId(id) }
}

fn remove(id: u64) -> MemberChange {
    MemberChange::Remove { id: MemberId(id), force: false }
}

/// Who asks, and why.
fn asked() -> Origin {
    Origin { label: "ops".into(), reason: "the rack moves".into() }
}

/// Asks again when there is no answer: twice is as once.
async fn change(at: &Coordinator, change: &MemberChange) -> Result<MemberInfo, Rejection> {
    let answered = async {
        loop {
            if let Ok(answer) = at.change_members(change, &asked(), deadline()).await {
                return answer;
            }
        }
    };
    tokio::time::timeout(LONG, answered).await.expect("an answer in time")
}

#[track_caller]
fn refused(answer: Result<MemberInfo, Rejection>, reason: Reason, says: &str) {
    let rejection = answer.unwrap_err();
    assert_eq!(rejection.reason, reason, "{rejection}");
    assert!(rejection.message.contains(says), "{rejection}");
}

/// Promotes a learner as soon as it has caught up.
async fn promote_in_time(at: &Coordinator, id: u64) {
    let promoted = async {
        loop {
            match change(at, &promote(id)).await {
                Ok(member) => return assert_eq!(member.standing, Standing::Voter),
                Err(rejection) => assert_eq!(rejection.reason, Reason::PreconditionFailed),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, promoted).await.expect("it catches up");
}

/// Adds a member, starts it and makes it a voter, through `at`.
async fn grow(cluster: &mut TestCluster, at: &Coordinator, id: u64) {
    let (member, bound) = cluster.newcomer(id).await;
    assert_eq!(change(at, &add(&member)).await.unwrap().standing, Standing::Joining);
    cluster.start_newcomer(id, bound).await;
    promote_in_time(at, id).await;
}

/// Waits until a node says that it was removed; what it says.
async fn stopped(node: Node) -> String {
    let failed = tokio::time::timeout(LONG, node.failed()).await.expect("it notices");
    node.shutdown().await;
    failed.to_string()
}

/// Writers that go on whatever happens to the members.
struct Load {
    through: Arc<Mutex<Vec<Coordinator>>>,
    ended: Arc<AtomicBool>,
    writers: Vec<JoinHandle<BTreeSet<String>>>,
}

impl Load {
    fn start(writers: usize, through: Vec<Coordinator>) -> Self {
        let (through, ended) = (Arc::new(Mutex::new(through)), Arc::new(AtomicBool::new(false)));
        let writer = |number: usize| {
            let (through, ended) = (Arc::clone(&through), Arc::clone(&ended));
            tokio::spawn(async move {
                let mut acknowledged = BTreeSet::new();
                for count in 0_usize.. {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    let at = {
                        let all = through.lock().unwrap();
                        all[(number + count) % all.len()].clone()
                    };
                    let key = format!("{number}/{count}");
                    if at.propose(put(&key, "v"), deadline()).await.is_ok() {
                        acknowledged.insert(key);
                    }
                }
                acknowledged
            })
        };
        let writers = (0..writers).map(writer).collect();
        Self { through, ended, writers }
    }

    /// From now on through these.
    fn go_through(&self, nodes: Vec<Coordinator>) {
        *self.through.lock().unwrap() = nodes;
    }

    /// Everything that was acknowledged.
    async fn end(self) -> BTreeSet<String> {
        self.ended.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        all
    }
}

fn coordinators(cluster: &TestCluster) -> Vec<Coordinator> {
    cluster.nodes().map(|node| node.coordinator().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn grows_to_five_and_back_to_one_under_load_and_loses_nothing() {
    let mut cluster = TestCluster::start(1).await;
    let load = Load::start(4, coordinators(&cluster));
    for id in 2..=5 {
        // Through whichever member, not only the one that leads.
        let at = coordinators(&cluster).pop().unwrap();
        grow(&mut cluster, &at, id).await;
        load.go_through(coordinators(&cluster));
    }
    let last = cluster.node(5).coordinator().clone();
    let view = last.read(Freshness::Linearizable, deadline()).await.unwrap();
    let standings: Vec<_> = members::list(&view).iter().map(|member| member.standing).collect();
    assert_eq!(standings, [Standing::Voter; 5]);

    // The one that formed the cluster, and leads it, goes first.
    for id in 1..=4 {
        let leaving = cluster.take(id);
        load.go_through(coordinators(&cluster));
        let removed = change(&last, &remove(id)).await.unwrap();
        assert_eq!(removed.standing, Standing::Removed);
        let said = stopped(leaving).await;
        assert!(said.contains(&format!("member {id} was removed")), "{said}");
    }
    let acknowledged = load.end().await;
    assert!(acknowledged.len() > 100, "only {} writes", acknowledged.len());
    let view = last.read(Freshness::Linearizable, deadline()).await.unwrap();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|key| view.state.get(&Key::entry((*key).clone())).is_none())
        .collect();
    assert_eq!(lost, [] as [&String; 0], "of {}", acknowledged.len());
    assert_eq!(members::list(&view).len(), 1);
    // Asked for through any member: who and why is kept with every revision of a member.
    let history = view.state.history();
    let of_members: Vec<_> = history
        .from(history.oldest())
        .filter(|event| event.changes.iter().any(|change| change.key.kind == Kind::Member))
        .map(|event| &event.origin)
        .collect();
    assert!(of_members.len() >= 8, "four were added, four removed: {}", of_members.len());
    assert!(of_members.into_iter().all(|origin| *origin == asked()));
    refused(change(&last, &remove(5)).await, Reason::PreconditionFailed, "only voter");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_lags_is_not_promoted() {
    let mut cluster = TestCluster::start(1).await;
    let at = cluster.node(1).coordinator().clone();
    let (member, bound) = cluster.newcomer(2).await;
    change(&at, &add(&member)).await.unwrap();
    refused(change(&at, &promote(2)).await, Reason::PreconditionFailed, "not joined yet");
    cluster.start_newcomer(2, bound).await;
    wait_for_learner(&at, 2).await;
    cluster.stop(2).await;
    silence(&cluster).await;
    refused(change(&at, &promote(2)).await, Reason::PreconditionFailed, "does not answer");
    assert_eq!(at.status().role, Role::Leader, "a refused promotion costs no quorum");

    for number in 0..200 {
        at.propose(put(&format!("k{number}"), "v"), deadline()).await.unwrap();
    }
    cluster.restart(2).await;
    promote_in_time(&at, 2).await;
    change(&at, &promote(2)).await.expect("twice is as once");
    cluster.shutdown().await;
}

async fn wait_for_learner(at: &Coordinator, id: u64) {
    let mut applied = at.applied();
    let is_learner = async {
        loop {
            let view = at.view();
            let found = members::list(&view).into_iter().find(|one| one.id == MemberId(id));
            if found.is_some_and(|member| member.standing == Standing::Learner) {
                return;
            }
            applied.changed().await.unwrap();
        }
    };
    tokio::time::timeout(LONG, is_learner).await.expect("it joins");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_the_quorum_is_refused_unless_forced() {
    let mut cluster = TestCluster::start(3).await;
    let at = cluster.node(1).coordinator().clone();
    at.transfer_leader(Some(MemberId(1)), deadline()).await.unwrap();
    cluster.stop(3).await;
    silence(&cluster).await;
    refused(change(&at, &remove(2)).await, Reason::PreconditionFailed, "not member 3");
    at.propose(put("k", "v"), deadline()).await.expect("nothing was changed");

    let forced = tokio::spawn({
        let at = at.clone();
        async move {
            let force = MemberChange::Remove { id: MemberId(2), force: true };
            let until = tokio::time::Instant::now() + LONG;
            at.change_members(&force, &asked(), until).await
        }
    });
    // Member 2 may be gone before it is asked whether it serves.
    cluster.restart_unheard(3).await;
    let removed = forced.await.unwrap().unwrap().unwrap();
    assert_eq!(removed.standing, Standing::Removed);
    let left = members::list(&at.read(Freshness::Linearizable, deadline()).await.unwrap());
    assert_eq!(left.iter().map(|member| member.id.get()).collect::<Vec<_>>(), [1, 3]);
    cluster.shutdown().await;
}

/// Waits for as long as a leader counts on a member that it does not hear: nothing tells of its
/// end, and what it is asked meanwhile it may do.
async fn silence(cluster: &TestCluster) {
    let heard_max = Duration::from_millis(cluster.config(1).raft.election_ms_max);
    tokio::time::sleep(heard_max + Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_member_is_replaced_and_its_id_is_never_used_again() {
    let mut cluster = TestCluster::start(3).await;
    let dead = cluster.node(3).peer_address().to_string();
    cluster.stop(3).await;
    let at = cluster.node(2).coordinator().clone();
    grow(&mut cluster, &at, 4).await;
    for _ in 0..2 {
        assert_eq!(change(&at, &remove(3)).await.unwrap().standing, Standing::Removed);
    }
    let again = |id, peer: &str| MemberChange::Add {
        id,
        peer: peer.to_owned(),
        client: "127.0.0.1:9".to_owned(),
    };
    refused(
        change(&at, &again(Some(MemberId(3)), &dead)).await,
        Reason::AlreadyExists,
        "never used",
    );
    refused(
        change(&at, &again(Some(MemberId(1)), &dead)).await,
        Reason::AlreadyExists,
        "other addresses",
    );
    let taken = cluster.node(4).peer_address().to_string();
    refused(
        change(&at, &again(Some(MemberId(5)), &taken)).await,
        Reason::AlreadyExists,
        "member 4 has it",
    );
    refused(change(&at, &again(None, "nowhere")).await, Reason::InvalidField, "peer_address");
    refused(change(&at, &promote(3)).await, Reason::NotFound, "removed");
    refused(change(&at, &promote(7)).await, Reason::NotFound, "never was");
    // Without an id it gets the next one, and keeps it when asked again.
    for _ in 0..2 {
        let next = change(&at, &again(None, &dead)).await.unwrap();
        assert_eq!((next.id, next.standing), (MemberId(5), Standing::Joining));
    }
    change(&at, &remove(5)).await.unwrap();
    assert_eq!(change(&at, &again(None, &dead)).await.unwrap().id, MemberId(6));

    // The dead one comes back, as if nothing had happened.
    let back = Node::start_on(cluster.config(3), Listeners::local().await.unwrap()).await.unwrap();
    let said = stopped(back).await;
    assert!(said.contains("member 3 was removed"), "{said}");
    let again = Node::start_on(cluster.config(3), Listeners::local().await.unwrap()).await;
    let Err(StartError::Bootstrap(error @ BootstrapError::Removed { .. })) = again else {
        panic!("it starts again");
    };
    assert!(error.to_string().contains("quorate member rejoin"), "{error}");
    assert!(at.propose(put("k", "v"), deadline()).await.is_ok(), "and disturbs nobody");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_member_that_joined_is_refused_and_comes_back_under_a_new_id() {
    let mut cluster = TestCluster::start(2).await;
    let at = cluster.node(1).coordinator().clone();
    grow(&mut cluster, &at, 3).await;
    at.propose(put("k", "v"), deadline()).await.unwrap();
    cluster.stop(3).await;
    std::fs::remove_dir_all(cluster.config(3).node.data_dir).unwrap();
    let wiped = Node::start_on(cluster.config(3), Listeners::local().await.unwrap()).await;
    let Err(StartError::Bootstrap(error @ BootstrapError::Lost { .. })) = wiped else {
        panic!("it starts with an empty disk");
    };
    assert!(error.to_string().contains("quorate member rejoin"), "{error}");
    change(&at, &remove(3)).await.unwrap();
    grow(&mut cluster, &at, 4).await;
    let view = cluster.node(4).coordinator().read(Freshness::Linearizable, deadline()).await;
    assert!(view.unwrap().state.get(&Key::entry("k")).is_some());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_get_through_while_leaders_change() {
    let mut cluster = TestCluster::start(3).await;
    let (first, second) = (cluster.node(1).coordinator(), cluster.node(2).coordinator());
    let (first, at) = (first.clone(), second.clone());
    let moves = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&moves);
    let moving = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        for target in [1, 2, 3].into_iter().cycle() {
            tick.tick().await;
            // One that fails is a change of leaders, too.
            if first.transfer_leader(Some(MemberId(target)), deadline()).await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let done = async {
        for id in [4, 5] {
            grow(&mut cluster, &at, id).await;
            let removed = change(&at, &remove(id)).await.unwrap();
            assert_eq!(removed.standing, Standing::Removed);
            stopped(cluster.take(id)).await;
        }
    };
    tokio::time::timeout(2 * LONG, done).await.expect("changes get through");
    moving.abort();
    assert!(moves.load(Ordering::Relaxed) > 2, "leadership moved meanwhile");
    let left = members::list(&at.read(Freshness::Linearizable, deadline()).await.unwrap());
    let voters = left.iter().filter(|member| member.standing == Standing::Voter);
    assert_eq!(voters.map(|member| member.id.get()).collect::<Vec<_>>(), [1, 2, 3]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_without_a_target_goes_to_a_voter_that_answers() {
    let mut cluster = TestCluster::start(3).await;
    let at = cluster.node(2).coordinator().clone();
    at.transfer_leader(Some(MemberId(2)), deadline()).await.unwrap();
    // Of equal logs, that of the lowest id would be chosen.
    cluster.stop(1).await;
    silence(&cluster).await;
    assert_eq!(at.transfer_leader(None, deadline()).await, Ok(MemberId(3)));
    cluster.stop(3).await;
    let alone = tokio::time::timeout(PATIENCE, at.transfer_leader(None, deadline())).await;
    assert!(alone.unwrap().is_err());
    cluster.shutdown().await;
}
