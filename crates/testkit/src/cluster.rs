//! A whole cluster in one thread.
//!
//! Invariant: a crashed member's former life reaches neither its disk nor the network again;
//! what still runs of it is waited for at [`SimCluster::shutdown`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::try_join_all;
use quorate_node::{
    Coordinator, Environment, Replica, StartError,
    config::{Cluster, Config, Limits, Member, Raft},
    coordinator::Role,
    core::{Command, Key, LogIndex, MemberId, Operation, Record, Revision, StateHash, Transaction},
    health::Checks,
    metrics::Metrics,
    plan,
    storage::{Executor, MemoryDisk, SimulatedBarrier, runtime},
    watch::{WatchServer, Watches},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::SimClock,
    disk::LifeDisk,
    network::{Conditions, SimNetwork},
};

/// How often a condition that nobody tells of is looked at, in simulated time.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a former life may take to end.
const END_MAX: Duration = Duration::from_secs(60);

/// What a simulated cluster is like.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// How many members it has; their ids are 1, 2, and so on.
    pub members: u64,
    /// Draws delays, breaks, and what a crash loses.
    pub seed: u64,
    /// How good the links are.
    pub conditions: Conditions,
    /// How long a disk takes to make something durable.
    pub barrier: Duration,
    /// Timing of consensus, and how often it makes checkpoints.
    pub raft: Raft,
    /// What whoever leads checks.
    pub checks: Checks,
}

/// Three members on good links, which check nothing.
impl Default for SimOptions {
    fn default() -> Self {
        let (conditions, raft) = (Conditions::default(), Raft::default());
        let checks = Checks::none();
        Self { members: 3, seed: 1, conditions, barrier: Duration::ZERO, raft, checks }
    }
}

/// The member has crashed or was stopped, or there is no such member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("member {0} is not running")]
pub struct NotRunning(pub MemberId);

/// Nobody led in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no leader within {0:?}")]
pub struct NoLeader(pub Duration);

/// The members that run had not the same state in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the same state everywhere within {within:?}: {members:?}")]
pub struct NotConverged {
    /// How long it was waited for.
    pub within: Duration,
    /// Where each of them is.
    pub members: Vec<(MemberId, Agreed)>,
}

/// A state that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The last log entry in it.
    pub index: LogIndex,
    /// Its revision.
    pub revision: Revision,
    /// Its hash.
    pub hash: StateHash,
}

/// A cluster. See the crate.
pub struct SimCluster {
    network: SimNetwork,
    members: BTreeMap<MemberId, SimMember>,
    random: StdRng,
    /// How long a disk takes that is not slow.
    barrier: Duration,
    /// Former lives that are ending.
    endings: Vec<JoinHandle<()>>,
}

struct SimMember {
    config: Config,
    checks: Checks,
    /// How long its disk takes.
    barrier: SimulatedBarrier,
    /// Survives crashes.
    disk: MemoryDisk,
    clock: SimClock,
    running: Option<Running>,
}

struct Running {
    replica: Replica,
    coordinator: Coordinator,
    disk: LifeDisk,
    watches: WatchServer,
    /// Ends what serves the change streams.
    stop: CancellationToken,
}

impl SimCluster {
    /// Starts all members and waits until they have formed a cluster. Must be called in a tokio
    /// runtime. In one of a current thread with paused time, equal options give equal courses.
    ///
    /// # Errors
    /// [`StartError`] of the first member that did not start.
    pub async fn start(options: SimOptions) -> Result<Self, StartError> {
        runtime::seed_thread(options.seed);
        let network = SimNetwork::new(options.seed, options.conditions);
        let ids = || (1..=options.members).map(MemberId);
        let cluster =
            Cluster { initial_members: ids().map(address).collect(), ..Cluster::default() };
        let member = |id| {
            let config =
                Config { raft: options.raft.clone(), ..Config::new(id, "/", cluster.clone()) };
            let (disk, clock) = (MemoryDisk::new(), SimClock::new());
            let barrier = SimulatedBarrier::default();
            barrier.set(options.barrier);
            let checks = options.checks.clone();
            (id, SimMember { config, checks, barrier, disk, clock, running: None })
        };
        let mut members: BTreeMap<_, _> = ids().map(member).collect();
        let opened = members.values().map(|member| member.open(&network));
        let opened = opened.collect::<Result<Vec<_>, _>>()?;
        let running = try_join_all(opened.into_iter().map(join)).await?;
        for (member, running) in members.values_mut().zip(running) {
            member.running = Some(running);
        }
        let random = StdRng::seed_from_u64(options.seed.wrapping_add(1));
        let barrier = options.barrier;
        Ok(Self { network, members, random, barrier, endings: Vec::new() })
    }

    /// The network between the members.
    #[must_use]
    pub fn network(&self) -> &SimNetwork {
        &self.network
    }

    /// All members, running or not.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        self.members.keys().copied()
    }

    /// The members that run.
    pub fn running(&self) -> impl Iterator<Item = MemberId> {
        self.members.iter().filter(|(_, member)| member.running.is_some()).map(|(id, _)| *id)
    }

    /// The handle of a member that runs.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub fn coordinator(&self, id: MemberId) -> Result<&Coordinator, NotRunning> {
        let running = self.members.get(&id).and_then(|member| member.running.as_ref());
        running.map(|running| &running.coordinator).ok_or(NotRunning(id))
    }

    /// The change streams of a member that runs, as its clients call them: a service for
    /// `WatchServiceClient`. What it opens ends with the member.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub fn watches(&self, id: MemberId) -> Result<WatchServer, NotRunning> {
        let running = self.members.get(&id).and_then(|member| member.running.as_ref());
        running.map(|running| running.watches.clone()).ok_or(NotRunning(id))
    }

    /// A member's wall clock.
    ///
    /// # Errors
    /// [`NotRunning`] when there is no such member.
    pub fn clock(&self, id: MemberId) -> Result<&SimClock, NotRunning> {
        self.members.get(&id).map(|member| &member.clock).ok_or(NotRunning(id))
    }

    /// From now on a member's disk takes so long to make something durable.
    ///
    /// # Errors
    /// [`NotRunning`] when there is no such member.
    pub fn slow_disk(&self, id: MemberId, barrier: Duration) -> Result<(), NotRunning> {
        self.members.get(&id).ok_or(NotRunning(id))?.barrier.set(barrier);
        tracing::debug!(member = %id, ?barrier, "slowed a disk");
        Ok(())
    }

    /// From now on all disks take as long as they did at first.
    pub fn mend_disks(&self) {
        self.members.values().for_each(|member| member.barrier.set(self.barrier));
    }

    /// Waits for a leader among all members that run.
    ///
    /// # Errors
    /// [`NoLeader`].
    pub async fn leader(&self, within: Duration) -> Result<MemberId, NoLeader> {
        let running: Vec<_> = self.running().collect();
        self.leader_among(&running, within).await
    }

    /// Waits until one of these members leads; of several the one with the highest term. One that
    /// was cut off leads in its own eyes until it has missed its quorum for long enough.
    ///
    /// # Errors
    /// [`NoLeader`].
    pub async fn leader_among(
        &self,
        members: &[MemberId],
        within: Duration,
    ) -> Result<MemberId, NoLeader> {
        let give_up = Instant::now() + within;
        loop {
            let running = members.iter().filter_map(|id| self.coordinator(*id).ok());
            let statuses = running.map(|it| (it.status(), it.member_id()));
            let leaders = statuses.filter(|(status, _)| status.role == Role::Leader);
            if let Some((_, leader)) = leaders.max_by_key(|(status, _)| status.term) {
                return Ok(leader);
            }
            if Instant::now() >= give_up {
                return Err(NoLeader(within));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until all members that run have applied the same log to the same state.
    ///
    /// # Errors
    /// [`NotConverged`].
    pub async fn converge(&self, within: Duration) -> Result<Agreed, NotConverged> {
        let give_up = Instant::now() + within;
        loop {
            let running = self.running().filter_map(|id| self.coordinator(id).ok());
            let members = match agreed(running) {
                Ok(agreed) => return Ok(agreed),
                Err(members) => members,
            };
            if Instant::now() >= give_up {
                return Err(NotConverged { within, members });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A member loses its power: its connections break at once, and of what it had not synced, a
    /// part that the seed draws is lost. Nothing happens to one that does not run.
    pub fn crash(&mut self, id: MemberId) {
        let Some(running) = self.take(id) else { return };
        running.stop.cancel();
        self.network.end_life(id);
        running.disk.end();
        if let Some(member) = self.members.get(&id) {
            member.disk.crash(self.random.random());
        }
        tracing::debug!(member = %id, "crashed a member");
        // Cut off from disk and network, it can only end.
        self.endings.push(tokio::spawn(end(running.replica)));
    }

    /// Stops a member as an operator would. Nothing happens to one that does not run.
    pub async fn stop(&mut self, id: MemberId) {
        if let Some(running) = self.take(id) {
            running.stop.cancel();
            drop(running.coordinator);
            running.replica.shutdown().await;
            self.network.end_life(id);
        }
    }

    /// Starts a member that does not run, on the disk that it had.
    ///
    /// # Errors
    /// [`StartError`]; the member does not run then.
    pub async fn restart(&mut self, id: MemberId) -> Result<(), StartError> {
        self.stop(id).await;
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        member.running = Some(join(member.open(&self.network)?).await?);
        Ok(())
    }

    /// Stops all members.
    pub async fn shutdown(mut self) {
        self.network.heal();
        let ids: Vec<_> = self.members().collect();
        for id in ids {
            self.stop(id).await;
        }
        for ending in self.endings {
            if let Err(error) = ending.await {
                tracing::warn!(%error, "a former life ended badly");
            }
        }
    }

    fn take(&mut self, id: MemberId) -> Option<Running> {
        self.members.get_mut(&id).and_then(|member| member.running.take())
    }
}

/// The state that all of these have reached, each with its whole log applied; or where they are.
pub(crate) fn agreed<'a>(
    coordinators: impl Iterator<Item = &'a Coordinator>,
) -> Result<Agreed, Vec<(MemberId, Agreed)>> {
    let (mut members, mut whole) = (Vec::new(), true);
    for coordinator in coordinators {
        let view = coordinator.view();
        let (revision, hash) = (view.state.revision(), view.state.hash());
        let reached = Agreed { index: view.index, revision, hash };
        whole &= coordinator.status().last_log_index == reached.index;
        members.push((coordinator.member_id(), reached));
    }
    match members.first() {
        Some((_, first)) if whole && members.iter().all(|(_, reached)| reached == first) => {
            Ok(*first)
        }
        _ => Err(members),
    }
}

/// A command that writes one entry.
#[must_use]
pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Command {
    let (key, record) = (Key::entry(key), Record::Entry(value.into().into()));
    let put = Operation::Put { key, record, return_previous: false };
    Command::Transaction(Transaction { success: vec![put], ..Transaction::default() })
}

fn address(id: MemberId) -> Member {
    Member {
        id,
        peer: format!("sim:{}", 7200 + id.get()),
        client: format!("sim:{}", 7100 + id.get()),
    }
}

impl SimMember {
    /// Begins another life, in which others reach it, but in which it takes no part yet.
    fn open(&self, network: &SimNetwork) -> Result<(Replica, LifeDisk), StartError> {
        let (id, disk) = (self.config.node.id, LifeDisk::new(Arc::new(self.disk.clone())));
        let environment = Environment {
            disk: Arc::new(disk.clone()),
            executor: Executor::Tasks,
            simulated_barrier: self.barrier.clone(),
            transport: network.begin_life(id),
            clock: Arc::new(self.clock.clone()),
            draw_cluster_id: || 0x5EED,
            strategies: plan::Strategies::builtin(),
            checks: self.checks.clone(),
        };
        let replica = Replica::open(self.config.clone(), environment)?;
        network.serve(id, replica.peer());
        Ok((replica, disk))
    }
}

async fn join((replica, disk): (Replica, LifeDisk)) -> Result<Running, StartError> {
    let coordinator = replica.join().await?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (limits, metrics) = (Limits::default(), Metrics::new().streams);
    let watches = Watches::start(coordinator.clone(), limits, metrics, &tasks, stop.clone());
    Ok(Running { replica, coordinator, disk, watches: WatchServer::new(watches), stop })
}

async fn end(replica: Replica) {
    let member = replica.member_id();
    if tokio::time::timeout(END_MAX, replica.shutdown()).await.is_err() {
        tracing::warn!(%member, "a former life did not end");
    }
}
