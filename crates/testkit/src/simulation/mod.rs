//! A cluster under faults in simulated time: everything that happens follows from one seed.
//!
//! ```text
//!   seed ─► faults ─► SimCluster ◄─ callers, holders, subscribers ─► story ─► invariants
//!                         └───────── observer ───────────────────────┘
//! ```
//!
//! Consensus, storage, apply, sessions, granting and change streams are those of a real
//! coordinator; disks, network and clocks are simulated. [`run`] lets clients call the cluster
//! while one fault after the other is made, heals everything, waits until all members are the same,
//! and checks what everybody saw against each invariant, one file each in `invariant`.
//!
//! A run of one seed takes the same course again on the same build ([`crate::repeats`]), and its
//! trace tells whether it did.
//!
//! What it does not do: paused processes, full disks, real time. `quorate-jepsen` does.

mod callers;
mod faults;
mod holders;
mod invariant;
mod members;
mod observer;
mod owners;
mod report;
mod story;
mod subscribers;

use std::{io, thread, time::Duration};

use quorate_node::{
    config::Raft,
    core::{
        ApplyNetwork, Command, MemberId, Name, NetworkSpec, PartitionId, PartitionPolicy, Process,
        ProcessEdge,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{SimCluster, SimOptions, put, simulate};
use callers::Guesses;
use faults::Faults;
use holders::{Holder, TTL};
use story::Story;
use subscribers::Subscriber;

pub use invariant::Invariant;
pub use report::{Report, Violation};

const CALLERS: u64 = 5;
const HOLDERS: u64 = 4;
const SUBSCRIBERS: usize = 4;
const PARTITIONS: u32 = 6;

/// How long it may take, when nothing is wrong any more, until all members are the same.
const CONVERGE_MAX: Duration = Duration::from_secs(60);

/// How much later than it may a leader ends a session that is not kept alive.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Simulation {
    /// Everything is drawn from it.
    pub seed: u64,
    /// How long faults are made, in simulated time.
    pub length: Duration,
    /// How many members the cluster has.
    pub members: u64,
}

/// Simulates and checks. Takes the thread: a thread of its own for each call makes the course the
/// same, whatever ran before.
///
/// # Errors
/// When the runtime cannot be made. What went wrong in the cluster is in the report.
pub fn run(simulation: Simulation) -> io::Result<Report> {
    simulate(simulation.seed, course(simulation))
}

/// As [`run`], on a thread of its own. Whatever ends it badly, a panic too, is told in words.
///
/// # Errors
/// What ended it badly.
pub fn run_apart(simulation: Simulation) -> Result<Report, String> {
    let thread = thread::Builder::new().name(format!("seed {}", simulation.seed));
    let running = thread.spawn(move || run(simulation));
    let ended = running.map_err(|error| format!("no thread: {error}"))?.join();
    ended.map_err(|_| "it panicked".to_owned())?.map_err(|error| format!("no runtime: {error}"))
}

async fn course(simulation: Simulation) -> Report {
    let mut random = StdRng::seed_from_u64(simulation.seed);
    let story = Story::begin();
    let cluster = match SimCluster::start(options(simulation, &mut random)).await {
        Ok(cluster) => cluster,
        Err(error) => return Report::failed(simulation, format!("no cluster: {error}")),
    };
    let mut faults = Faults::new(cluster, story.clone(), random.random());
    let ids: Vec<MemberId> = faults.cluster.members().collect();
    for id in &ids {
        faults.introduce(*id);
    }
    let until = Instant::now() + simulation.length;
    let mut clients = clients(&faults, until, &mut random);
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(apply_network(&faults).await.err());
    wrong.extend(faults.run(until).await.err());
    while let Some(ended) = clients.join_next().await {
        wrong.extend(ended.err().map(|error| format!("a client ended badly: {error}")));
    }
    wrong.extend(settle(&faults, &ids).await.err());
    report::finish(simulation, faults, wrong).await
}

fn options(simulation: Simulation, random: &mut StdRng) -> SimOptions {
    // Often enough that checkpoints are made, logs purged, and members brought up by a checkpoint.
    let raft = Raft {
        checkpoint_entries: random.random_range(30..120),
        kept_entries: random.random_range(5..30),
        purge_entries: 1,
        ..Raft::default()
    };
    SimOptions {
        members: simulation.members,
        seed: simulation.seed,
        barrier: Duration::from_millis(random.random_range(0..4)),
        raft,
        ..SimOptions::default()
    }
}

fn clients(faults: &Faults, until: Instant, random: &mut StdRng) -> JoinSet<()> {
    let (mut clients, guesses) = (JoinSet::new(), Guesses::default());
    let mut shared = || (random.random(), faults.members.clone(), faults.story.clone());
    for number in 0..CALLERS {
        let (seed, members, story) = shared();
        clients.spawn(callers::call(number, seed, members, guesses.clone(), story, until));
    }
    for number in 0..HOLDERS {
        let (seed, members, story) = shared();
        clients.spawn(Holder::new(CALLERS + number, seed, members, story, until).run());
    }
    let partitions = (0..PARTITIONS).filter_map(|at| PartitionId::parse(&format!("net/{at}")));
    let (seed, members, _) = shared();
    clients.spawn(owners::move_about(seed, members, partitions.collect(), until));
    for number in 0..SUBSCRIBERS {
        let (seed, members, story) = shared();
        clients.spawn(Subscriber::new(number, seed, members, story, until).run());
    }
    clients
}

/// A chain of processes, each a partition of its own, so that there is something to own.
async fn apply_network(faults: &Faults) -> Result<(), String> {
    let wrong = |what: &dyn std::fmt::Display| format!("no network: {what}");
    let leader = faults.cluster.leader(CONVERGE_MAX).await.map_err(|error| wrong(&error))?;
    let coordinator = faults.cluster.coordinator(leader).map_err(|error| wrong(&error))?;
    let command = Command::ApplyNetwork(network().map_err(|error| wrong(&error))?);
    let answer = coordinator.propose(command, Instant::now() + CONVERGE_MAX).await;
    let outcome = answer.map_err(|error| wrong(&error))?.outcome;
    outcome.result.map(drop).map_err(|error| wrong(&error))
}

fn network() -> Result<ApplyNetwork, String> {
    let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
    let id = |at: u32| name(&format!("process{at}"));
    let processes: Result<Vec<_>, String> =
        (0..PARTITIONS).map(|at| Ok(Process::new(id(at)?, "none"))).collect();
    let connections: Result<Vec<_>, String> = (1..PARTITIONS)
        .map(|at| Ok(ProcessEdge { from: id(at - 1)?, to: id(at)?, rate: 1 }))
        .collect();
    let policy = PartitionPolicy {
        partitions: PARTITIONS,
        strategy: name("by-hand")?,
        ..PartitionPolicy::default()
    };
    Ok(ApplyNetwork {
        name: name("net")?,
        spec: NetworkSpec {
            processes: processes?,
            connections: connections?,
            policy,
            connection: Default::default(),
        },
        assignment: (0..PARTITIONS).collect(),
        basis: None,
    })
}

/// Nothing is wrong any more: every member takes a fresh write, and all become the same.
async fn settle(faults: &Faults, ids: &[MemberId]) -> Result<(), String> {
    for id in ids {
        fresh_write(faults, *id).await?;
    }
    // Nobody keeps a session alive any more.
    sleep(TTL + EXPIRY_SLACK).await;
    faults.cluster.converge(CONVERGE_MAX).await.map(drop).map_err(|error| error.to_string())
}

async fn fresh_write(faults: &Faults, id: MemberId) -> Result<(), String> {
    let give_up = Instant::now() + CONVERGE_MAX;
    let coordinator = faults.cluster.coordinator(id).map_err(|error| error.to_string())?;
    loop {
        let answer = coordinator.propose(put(format!("fresh/{id}"), "x"), give_up).await;
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= give_up => {
                return Err(format!("member {id} takes no write after healing: {error}"));
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}
