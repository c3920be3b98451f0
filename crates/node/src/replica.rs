//! A coordinator without sockets: storage, consensus, and the [`Coordinator`] handle.
//!
//! [`Node`](crate::Node) puts it behind listeners; a simulation puts it behind a simulated
//! network. Everything that differs between the two is in [`Environment`].
//!
//! Order of use: [`Replica::open`], serve [`Replica::peer`] to the others, [`Replica::join`],
//! [`Replica::shutdown`].

use std::{sync::Arc, time::Duration};

use openraft::{SnapshotPolicy, async_runtime::watch::WatchReceiver};
use quorate_core::{ClusterId, MemberId};
use quorate_plan::Strategies;
use quorate_storage::{
    Checkpoints, Disk, Executor, Fatal, MemberAddress, OpenError, Options, Published,
    SimulatedBarrier, Started, Storage,
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    beginning,
    bootstrap::{self, BootstrapError, Entrance, Introduction},
    clock::Clock,
    compaction,
    config::Config,
    consensus::{
        Raft,
        contact::{self, Contact, LeaderHeard},
        forward::Links,
        membership::{Members, MembersParts},
        network::NetworkFactory,
        peer::{PeerService, Serving},
        proposer::{self, Proposer},
        reads::{self, Reads},
        removal::Removal,
    },
    controller::{self, Activity},
    coordinator::{Coordinator, Parts},
    health::{self, Checks, HealthSeen, Hook},
    planner::Planner,
    session::{self, Sessions},
    transport::{Peer, Transport},
};

/// How long consensus, and then the tasks, may take to end when a coordinator stops.
const END_MAX: Duration = Duration::from_secs(5);

/// What a coordinator needs of the world.
#[derive(Clone)]
pub struct Environment {
    /// Where it keeps its data.
    pub disk: Arc<dyn Disk>,
    /// Where blocking work runs.
    pub executor: Executor,
    /// How long a barrier of the log takes where work runs in tasks. A real disk takes what it takes.
    pub simulated_barrier: SimulatedBarrier,
    /// How it reaches its peers.
    pub transport: Arc<dyn Transport>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Draws the id of a new cluster.
    pub draw_cluster_id: fn() -> u64,
    /// How networks may be partitioned. The same on every member: the one that is asked plans.
    pub strategies: Strategies,
    /// What is checked. The same on every member: whoever leads checks.
    pub checks: Checks,
}

/// Why a coordinator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// Forming or joining the cluster.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The configuration.
    #[error("invalid configuration: {0}")]
    Config(String),
    /// Consensus.
    #[error("consensus did not start: {0}")]
    Consensus(String),
    /// The operating system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It was told to stop while it started.
    #[error("stopped before it was started")]
    Stopped,
}

/// A coordinator without sockets.
pub struct Replica {
    config: Config,
    environment: Environment,
    storage: Storage,
    introduction: Arc<Introduction>,
    peer: Arc<PeerService>,
    tasks: TaskTracker,
    stop: CancellationToken,
    raft: std::sync::OnceLock<Raft>,
    fatal: watch::Sender<Option<Fatal>>,
}

/// More entries in flight than this gain nothing: what waits is batched.
const ENTRIES_IN_FLIGHT: usize = 4;

impl Replica {
    /// Opens the storage. Blocks while it reads what is there.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(config: Config, environment: Environment) -> Result<Self, StartError> {
        let options = Options {
            tail_bytes_max: config.storage.tail_bytes_max,
            payload_bytes_max: usize::try_from(config.raft.payload_bytes_max).unwrap_or(usize::MAX),
            simulated_barrier: environment.simulated_barrier.clone(),
            ..Options::default()
        };
        let storage = Storage::open(environment.disk.clone(), options, environment.executor)?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let introduction = Arc::new(Introduction::new(
            config.node.id,
            config.cluster.clone(),
            storage.clone(),
            environment.draw_cluster_id,
        ));
        let peer = Arc::new(PeerService::new(
            config.node.id,
            introduction.clone(),
            tasks.clone(),
            stop.clone(),
        ));
        let raft = std::sync::OnceLock::new();
        let fatal = watch::Sender::new(None);
        Ok(Self { config, environment, storage, introduction, peer, tasks, stop, raft, fatal })
    }

    /// What its peers call. Serve it before [`Replica::join`].
    #[must_use]
    pub fn peer(&self) -> Arc<dyn Peer> {
        self.peer.clone()
    }

    /// Becomes Some once, when storage or consensus has failed: this coordinator must stop.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.fatal.subscribe()
    }

    /// What storage counts.
    #[must_use]
    pub fn storage_metrics(&self) -> Arc<quorate_storage::Metrics> {
        self.storage.metrics()
    }

    /// Forms or joins the cluster and starts consensus. Waits for the other initial members when
    /// there is no cluster yet.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn join(&self) -> Result<Coordinator, StartError> {
        let election_max = self.config.raft.election_max();
        let transport = &self.environment.transport;
        let entrance = Entrance::new(self.introduction.clone(), transport, election_max);
        let joining = bootstrap::join(&self.introduction, &self.storage, transport, &entrance);
        let joined = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(StartError::Stopped),
            joined = joining => joined?,
        };
        let cluster = joined.identity.cluster_id;
        let me = self.config.node.id;
        let started = self.start_storage(joined.identity.cluster()).await?;
        self.introduction.follow(started.published.clone());

        let transport = self.environment.transport.clone();
        let idle_max = Duration::from_millis(self.config.raft.election_ms_max);
        let network = NetworkFactory::new(transport.clone(), cluster, me, idle_max);
        let raft_config = Arc::new(raft_config(&self.config)?);
        let raft = Raft::new(me.get(), raft_config, network, started.log, started.machine)
            .await
            .map_err(|error| StartError::Consensus(error.to_string()))?;
        // The replica joins once: a second value would be of the same member.
        drop(self.raft.set(raft.clone()));

        self.tasks.spawn(watch_failures(
            raft.clone(),
            self.storage.fatal(),
            self.fatal.clone(),
            self.stop.clone(),
        ));
        let published = &started.published;
        let parts = self.start_parts(raft.clone(), cluster, started.checkpoints, published);
        self.attend(&parts, published.clone(), joined.enter.then_some(entrance));
        if joined.initialise {
            self.initialise(&raft).await?;
        }
        tracing::info!(member = %me, %cluster, "consensus started");
        let coordinator = Coordinator::new(parts, started.published);
        self.begin_settings(&coordinator, joined.initialise);
        let clock = self.environment.clock.clone();
        controller::start(&coordinator, clock, &self.tasks, &self.stop);
        let checks = (self.environment.checks.clone(), self.environment.clock.clone());
        health::start(&coordinator, checks, Hook::of(&self.config), &self.tasks, &self.stop);
        Ok(coordinator)
    }

    /// Starts everything that stands between callers, peers and openraft.
    fn start_parts(
        &self,
        raft: Raft,
        cluster: ClusterId,
        checkpoints: Checkpoints,
        published: &Arc<Published>,
    ) -> Parts {
        let (tasks, stop, me) = (&self.tasks, &self.stop, self.config.node.id);
        let transport = self.environment.transport.clone();
        let election_max = self.config.raft.election_max();
        let heard = Arc::new(LeaderHeard::new());
        let timing =
            contact::Timing { limit: election_max, every: self.config.raft.heartbeat() / 2 };
        let contact = Contact::start(raft.clone(), heard.clone(), timing, tasks, stop.clone());
        let proposer = self.start_proposer(raft.clone(), cluster, contact.clone());
        let reads = self.start_reads(raft.clone(), cluster);
        self.bound_log(raft.clone());
        let members = Members::new(MembersParts {
            me,
            cluster,
            cluster_name: self.config.cluster.name.to_string(),
            raft: raft.clone(),
            proposer: proposer.clone(),
            reads: reads.clone(),
            contact: contact.clone(),
            published: published.clone(),
            transport: transport.clone(),
            tasks: tasks.clone(),
            contact_max: election_max,
            turn: Semaphore::new(1),
        });
        let sessions = Sessions::start(session::Parts {
            raft: raft.clone(),
            cluster,
            published: published.clone(),
            proposer: proposer.clone(),
            reads: reads.clone(),
            contact: contact.clone(),
            transport: transport.clone(),
            wait_max: election_max,
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        self.peer.serve(Serving {
            cluster,
            raft: raft.clone(),
            checkpoints,
            heard,
            proposer: proposer.clone(),
            reads: reads.clone(),
            keeper: sessions.keeper().clone(),
            install_idle_max: Duration::from_millis(self.config.raft.install_idle_ms_max),
            members: members.clone(),
        });
        Parts {
            me,
            cluster,
            raft,
            proposer,
            reads,
            contact,
            transport,
            members,
            sessions,
            planner: self.planner(),
            activity: Activity::default(),
            health_seen: HealthSeen::default(),
            election_max,
        }
    }

    fn planner(&self) -> Planner {
        let strategies = self.environment.strategies.clone();
        Planner::new(strategies, self.environment.executor, self.config.limits.plans_max)
    }

    /// Sees to it that this coordinator becomes a member, where it is none, and stops when it was
    /// removed.
    fn attend(&self, parts: &Parts, published: Arc<Published>, entrance: Option<Entrance>) {
        let removal = Removal {
            me: parts.me,
            cluster: parts.cluster,
            raft: parts.raft.clone(),
            contact: parts.contact.clone(),
            published,
            transport: parts.transport.clone(),
            patience: parts.election_max,
        };
        let (me, cluster) = (parts.me, parts.cluster);
        let (fatal, storage, stop) = (self.fatal.clone(), self.storage.clone(), self.stop.clone());
        let noticed = async move {
            let entering = async {
                if let Some(entrance) = entrance
                    && let Err(error) = entrance.enter(cluster).await
                {
                    return error;
                }
                std::future::pending().await
            };
            tokio::select! {
                biased;
                message = removal.noticed() => BootstrapError::Removed { me, message },
                error = entering => error,
            }
        };
        self.tasks.spawn(async move {
            let error = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                error = noticed => error,
            };
            if let BootstrapError::Removed { message, .. } = &error
                && let Err(error) = storage.record_removal(message)
            {
                tracing::warn!(%error, "the removal cannot be recorded");
            }
            fatal.send_replace(Some(Fatal(error.to_string())));
        });
    }

    /// Writes the settings that a new cluster begins with, or says which of them are others by now.
    fn begin_settings(&self, coordinator: &Coordinator, new: bool) {
        let (initial, stop) = (self.config.settings.clone(), self.stop.clone());
        let begun = beginning::run(coordinator.clone(), initial, new);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = begun => {}
            }
        });
    }

    fn start_proposer(&self, raft: Raft, cluster: ClusterId, contact: Contact) -> Proposer {
        let links = Links::new(
            self.environment.transport.clone(),
            (cluster, self.config.node.id),
            self.config.raft.election_max(),
            self.tasks.clone(),
            self.stop.clone(),
        );
        let (clock, limits) = (self.environment.clock.clone(), self.limits());
        let dispatcher =
            proposer::Dispatcher::new(raft, links, clock, contact, limits, &self.tasks);
        dispatcher.start(self.stop.clone())
    }

    fn start_reads(&self, raft: Raft, cluster: ClusterId) -> Reads {
        let (transport, round_max) =
            (self.environment.transport.clone(), self.config.raft.election_max());
        reads::start(raft, transport, cluster, round_max, &self.tasks, self.stop.clone())
    }

    fn bound_log(&self, raft: Raft) {
        let (metrics, bytes_max) = (self.storage.metrics(), self.config.raft.checkpoint_bytes);
        self.tasks.spawn(compaction::run(raft, metrics, bytes_max, self.stop.clone()));
    }

    fn limits(&self) -> proposer::Limits {
        proposer::Limits {
            queue: self.config.limits.proposals_max,
            batch: self.config.raft.batch_commands_max,
            batch_bytes: self.config.raft.batch_bytes_max,
            in_flight: ENTRIES_IN_FLIGHT,
        }
    }

    /// Loads log and checkpoint: long for a large state.
    async fn start_storage(&self, cluster: quorate_core::Identity) -> Result<Started, StartError> {
        if self.environment.executor == Executor::Tasks {
            return Ok(self.storage.start(cluster)?);
        }
        let storage = self.storage.clone();
        let loading = tokio::task::spawn_blocking(move || storage.start(cluster));
        Ok(loading.await.map_err(|error| StartError::Consensus(error.to_string()))??)
    }

    async fn initialise(&self, raft: &Raft) -> Result<(), StartError> {
        let members = self.config.cluster.initial_members.iter().map(|member| {
            let (peer, client) = (member.peer.clone(), member.client.clone());
            (member.id.get(), MemberAddress { peer, client })
        });
        let members: std::collections::BTreeMap<_, _> = members.collect();
        raft.initialize(members).await.map_err(|error| StartError::Consensus(error.to_string()))
    }

    /// Stops everything in order; what was acknowledged stays. What does not end in time is left, and
    /// finds its storage closed. Idempotent.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if let Some(raft) = self.raft.get() {
            match timeout(END_MAX, raft.shutdown()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "consensus did not stop cleanly"),
                Err(_) => tracing::warn!("consensus does not end; it is left"),
            }
        }
        if timeout(END_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks do not end; they are left");
        }
        self.storage.close().await;
    }

    /// Something that never ends by itself.
    #[cfg(test)]
    pub(crate) fn hang(&self) {
        self.tasks.spawn(std::future::pending::<()>());
    }

    /// What a test breaks.
    #[cfg(test)]
    pub(crate) fn raft(&self) -> &Raft {
        self.raft.get().expect("it has joined")
    }

    /// This member.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        self.config.node.id
    }
}

/// Tells of a failure of storage or of openraft, which ends for good when it meets one.
async fn watch_failures(
    raft: Raft,
    mut storage: watch::Receiver<Option<Fatal>>,
    fatal: watch::Sender<Option<Fatal>>,
    stop: CancellationToken,
) {
    let mut metrics = raft.metrics();
    let ended = async {
        loop {
            if let Err(error) = &metrics.borrow_and_update().running_state {
                return Fatal(format!("consensus ended: {error}"));
            }
            if metrics.changed().await.is_err() {
                return Fatal("consensus ended".into());
            }
        }
    };
    let failed = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        failed = storage.wait_for(Option::is_some) => failed.ok().and_then(|failed| failed.clone()),
        failed = ended => Some(failed),
    };
    if !stop.is_cancelled() {
        fatal.send_replace(failed);
    }
}

impl Drop for Replica {
    /// Ends the tasks of a replica that was not shut down.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn raft_config(config: &Config) -> Result<openraft::Config, StartError> {
    let raft = &config.raft;
    openraft::Config {
        cluster_name: config.cluster.name.to_string(),
        heartbeat_interval: raft.heartbeat_ms,
        election_timeout_min: raft.election_ms_min,
        election_timeout_max: raft.election_ms_max,
        max_payload_entries: raft.payload_entries_max,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(raft.checkpoint_entries),
        max_in_snapshot_log_to_keep: raft.kept_entries,
        purge_batch_size: raft.purge_entries,
        install_snapshot_timeout: raft.install_idle_ms_max,
        // A restarted leader must be elected again: it may not know what was committed.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        allow_log_reversion: Some(false),
        broadcast_submitted_on_append: Some(true),
        backoff: "50ms 100ms 200ms ..500ms".to_owned(),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| StartError::Config(error.to_string()))
}
