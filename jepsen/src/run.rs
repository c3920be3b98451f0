//! One run, from the first host to the verdict.
//!
//! Owns the order of things: hosts, coordinators, clients and faults together, healing, fresh
//! writes and last reads, the verdict. Runs inside the namespaces. Invariant: the history so far is
//! saved whatever happens, and judged unless the harness itself failed. Must not know single faults
//! or rules.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use quorate_core::{LogIndex, MemberId};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::RunArgs,
    check::{self, Verdict, convergence},
    cluster::{Cluster, Plan, monitor::Monitor, volume::Data},
    history::{KeyId, Start, Step, What, record::Recorder},
    nemesis::{self, Ended, Nemesis, ability, fault::FaultClass, schedule::Schedule, world::World},
    net::{namespace, nft::Firewall},
    progress::Progress,
    report,
    workload::{
        Load, Patience,
        bench::{Bench, Habit},
        client::Client,
        register::Registers,
    },
};

/// How long the cluster may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// How long it may take, once healed, until all coordinators take writes and are the same.
const CONVERGE_WITHIN: Duration = Duration::from_secs(60);

/// So many faults of a mixed run are at work at once.
const MIXED_AT_ONCE: usize = 3;

/// How often a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs everything; tells the verdict.
pub(crate) async fn run(args: &RunArgs, stop: CancellationToken) -> anyhow::Result<Verdict> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let store = args.store_dir(&format!("{}-{seed}-{began}", args.workload.name()))?;
    let binary = args.binary()?;
    eprintln!("seed {seed}, results in {}", store.display());

    let recorder = Recorder::create(&store.join("history.jsonl"))?;
    recorder.add(What::Start(Start {
        workload: args.workload.name().to_owned(),
        nemeses: args.classes(),
        nodes: args.nodes,
        seed,
        minimum: args.minimum(),
    }));
    let mut run = Run::prepare(args, seed, &binary, &store, recorder).await?;
    let faults = run.work(&stop).await;
    let mut notes = Vec::new();
    if matches!(faults, Ok(Ended::InTime)) {
        run.recorder.add(What::Healed);
        run.converge(&stop).await;
    }
    if stop.is_cancelled() {
        run.recorder.add(What::Interrupted);
    }
    notes.extend(run.finish().await?);
    run.recorder.flush()?;
    if faults.is_err() {
        run.nemesis.world.cluster.close(Data::Stays).await?;
    }
    faults?;
    run.judge(args, &store, &notes).await
}

struct Run {
    nodes: Vec<MemberId>,
    bench: Arc<Bench>,
    length: Duration,
    recorder: Recorder,
    registers: Arc<Registers>,
    load: Box<dyn Load>,
    nemesis: Nemesis,
    _progress: Progress,
}

impl Run {
    /// Builds the hosts and starts the coordinators.
    async fn prepare(
        args: &RunArgs,
        seed: u64,
        binary: &Path,
        store: &Path,
        recorder: Recorder,
    ) -> anyhow::Result<Self> {
        let nodes: Vec<MemberId> = (1..=args.nodes).map(MemberId).collect();
        let nemesis = make_nemesis(args, seed, binary, store, &nodes, &recorder).await?;
        nemesis.world.cluster.start_missing()?;
        let bench = Arc::new(Bench::new(
            recorder.clone(),
            nodes.clone(),
            habits(args, seed, &nodes),
            binary.to_owned(),
            store.join("files"),
        ));
        let registers = Registers::new(bench.clone());
        Ok(Self {
            nodes,
            length: args.length(),
            load: args.workload.load(&registers, &bench),
            registers,
            bench,
            nemesis,
            _progress: Progress::start(recorder.clone()),
            recorder,
        })
    }

    /// Clients and faults together, until the time is up.
    async fn work(&mut self, stop: &CancellationToken) -> anyhow::Result<Ended> {
        if let Some(ended) = self.come_up(stop).await? {
            return Ok(ended);
        }
        let (clients_stop, mut clients) = (CancellationToken::new(), JoinSet::new());
        self.load.start(&mut clients, &clients_stop);
        let ended = self.nemesis.run(Instant::now() + self.length, stop).await;
        clients_stop.cancel();
        while let Some(joined) = clients.join_next().await {
            joined.context("a client")?;
        }
        ended
    }

    /// Waits until a write goes through every coordinator.
    async fn come_up(&mut self, stop: &CancellationToken) -> anyhow::Result<Option<Ended>> {
        let until = Instant::now() + UP_WITHIN;
        for node in self.nodes.clone() {
            let (mut client, key) = (self.bench.client(node), self.registers.fresh_key());
            loop {
                if self.nemesis.look() {
                    return Ok(Some(Ended::Crashed));
                }
                if stop.is_cancelled() {
                    return Ok(Some(Ended::Interrupted));
                }
                if self.fresh_write(&mut client, key).await.is_some() {
                    break;
                }
                if Instant::now() > until {
                    let words = self.nemesis.world.cluster.last_words();
                    bail!("coordinator {node} took no write within {UP_WITHIN:?}\n{words}");
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(None)
    }

    /// Fresh writes everywhere, what the workload does last, and then sameness. What does not come
    /// in time is found missing by the check.
    async fn converge(&mut self, stop: &CancellationToken) {
        let until = Instant::now() + CONVERGE_WITHIN;
        let mut missing: BTreeSet<MemberId> = self.nodes.iter().copied().collect();
        let fresh = self.registers.fresh_key();
        let mut clients: Vec<Client> =
            self.nodes.iter().map(|node| self.bench.client(*node)).collect();
        let mut last = LogIndex(0);
        let goes_on = || Instant::now() < until && !stop.is_cancelled();
        while !missing.is_empty() && goes_on() && !self.nemesis.look() {
            for client in &mut clients {
                if missing.contains(&client.node())
                    && let Some(at) = self.fresh_write(client, fresh).await
                {
                    missing.remove(&client.node());
                    last = last.max(at);
                }
            }
            sleep(LOOK_EVERY).await;
        }
        self.load.settle(Patience::new(until, stop.clone())).await;
        if let Some(at) = self.fresh_write(&mut clients[0], fresh).await {
            last = last.max(at);
        }
        let nodes = self.nodes.len() as u64;
        let same = || self.recorder.with_lines(|lines| convergence::same(lines, nodes));
        while goes_on() && same().is_none_or(|index| index < last) {
            sleep(LOOK_EVERY).await;
        }
    }

    async fn fresh_write(&self, client: &mut Client, key: KeyId) -> Option<LogIndex> {
        match self.registers.fresh_write(client, key).await {
            Step::Ok { stamp, .. } => Some(stamp.log_index),
            Step::Invoke | Step::Fail { .. } | Step::Info { .. } => None,
        }
    }

    /// Stops the coordinators and looks for what they did not say aloud; returns what is worth a
    /// note but no verdict.
    async fn finish(&mut self) -> anyhow::Result<Vec<String>> {
        self.nemesis.look();
        self.nemesis.world.monitor.stop();
        let stubborn = self.nemesis.world.cluster.stop_all().await?;
        for panic in self.nemesis.world.cluster.panics() {
            self.recorder.add(What::Crash(panic));
        }
        let note = |node: MemberId| format!("coordinator {node} did not stop when asked to");
        Ok(stubborn.into_iter().map(note).collect())
    }

    async fn judge(
        &self,
        args: &RunArgs,
        store: &Path,
        notes: &[String],
    ) -> anyhow::Result<Verdict> {
        let lines = self.recorder.lines();
        let judgement = check::judge(&lines);
        report::save(store, &lines, &judgement, notes)?;
        if args.edn {
            report::save_edn(&store.join("history.edn"), &lines)?;
        }
        let keep = judgement.verdict != Verdict::Valid || args.keep_data;
        let data = if keep { Data::Stays } else { Data::Goes };
        self.nemesis.world.cluster.close(data).await?;
        let mut notes = notes.to_vec();
        notes.push(format!("history, results and logs are in {}", shown(store)));
        report::tell(&judgement, &notes).context("write to standard output")?;
        Ok(judgement.verdict)
    }
}

/// The hosts with their coordinators, and what breaks them.
async fn make_nemesis(
    args: &RunArgs,
    seed: u64,
    binary: &Path,
    store: &Path,
    nodes: &[MemberId],
    recorder: &Recorder,
) -> anyhow::Result<Nemesis> {
    let mixed = args.classes().contains(&FaultClass::Mixed);
    let classes = if mixed { ability::all_here().await } else { args.classes() };
    let needs = ability::Needs::of(&classes);
    let spare = classes.contains(&FaultClass::Membership).then(|| nemesis::spare(args.nodes));
    let hosts: Vec<MemberId> = nodes.iter().copied().chain(spare).collect();
    namespace::build(&hosts).await.context("build the hosts")?;
    let firewall = Firewall::install().await.context("install the filter")?;
    let plan = Plan {
        binary: binary.to_owned(),
        dir: store.join("nodes"),
        founders: nodes.to_vec(),
        spare,
        volume: needs.volume,
        faketime: needs.faketime,
        raft: needs.raft,
    };
    let cluster = Cluster::prepare(&plan).await?;
    let monitor = Monitor::start(&hosts, recorder)?;
    Ok(Nemesis {
        world: Arc::new(World::new(cluster, firewall, monitor, recorder.clone())),
        schedule: Schedule::new(seed, nodes.to_vec(), spare, &classes, args.length()),
        at_once: if mixed { MIXED_AT_ONCE } else { 1 },
    })
}

fn habits(args: &RunArgs, seed: u64, nodes: &[MemberId]) -> Vec<Habit> {
    let clients = args.clients();
    let period = Duration::from_secs(1).mul_f64(clients as f64 / args.rate as f64);
    let answer_within = Duration::from_millis(args.op_timeout_ms);
    (0..clients)
        .zip(nodes.iter().cycle())
        .map(|(number, node)| Habit {
            node: *node,
            seed: seed.wrapping_mul(1_000).wrapping_add(number),
            period,
            reads: args.reads,
            answer_within,
        })
        .collect()
}

fn shown(store: &Path) -> String {
    let relative = std::env::current_dir()
        .ok()
        .and_then(|here| store.strip_prefix(here).ok().map(PathBuf::from));
    relative.unwrap_or_else(|| store.to_owned()).display().to_string()
}
