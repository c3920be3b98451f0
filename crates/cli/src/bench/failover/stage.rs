//! The cluster as a measurement of failover sees it: workers' sessions, networks, and one stream.
//!
//! Invariant: what owners are asked for while they live is released, so that nothing waits for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use quorate_client::{
    Client, Error, Reason, Session, SessionOptions, Start, Watch, WatchEvent, WatchOptions,
    WatchedChange,
};
use quorate_core::{Filter, KeyedRecord, Kind, Name, Revision, SessionId};
use tokio::time::{Instant, timeout};

use super::{
    ledger::{AskedBack, Ledger},
    plan::Plan,
};
use crate::{
    args::BenchFailover, bench::fleet::rotated, commands::Context, failure::Failure, progress,
};

/// So many calls are made at the same time.
const AT_ONCE: usize = 64;
/// How long nothing may happen before the measurement is given up, beside the time to live.
const STALL: Duration = Duration::from_secs(120);
/// How long a call may take: a network of ten thousand partitions is one change.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

type Releases = stream::FuturesUnordered<BoxFuture<'static, Result<(), String>>>;

/// See the module.
pub(super) struct Stage<'a> {
    context: &'a Context,
    plan: Plan,
    clients: Vec<Client>,
    sessions: BTreeMap<Name, Session>,
    alive: BTreeSet<SessionId>,
    watch: Watch,
    ledger: Ledger,
    releases: Releases,
    /// How long nothing may happen.
    stall: Duration,
}

impl<'a> Stage<'a> {
    /// Connects, and begins to follow from what there is now.
    pub(super) async fn set(context: &'a Context, args: &BenchFailover) -> Result<Stage<'a>> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let plan =
            Plan::new(format!("bench-{:x}", since.as_millis()), args.workers, args.partitions)?;
        let mut config = context.client_config();
        config.timeout = config.timeout.max(CALL_TIMEOUT);
        let clients = (0..args.connections as usize)
            .map(|index| context.client_of(rotated(config.clone(), index)))
            .collect::<Result<Vec<_>, Error>>()
            .map_err(|error| context.explain(&error))?;
        let filter = Filter { kinds: vec![Kind::Worker, Kind::Partition], ..Filter::default() };
        let options = WatchOptions {
            start: Start::Snapshot,
            filter,
            give_up_after: Some(context.global.timeout()),
            ..WatchOptions::default()
        };
        let watch = clients[0].watch(options);
        let mut stage = Stage {
            context,
            plan,
            clients,
            sessions: BTreeMap::new(),
            alive: BTreeSet::new(),
            watch,
            ledger: Ledger::default(),
            releases: Releases::new(),
            stall: STALL + args.ttl,
        };
        while !stage.step().await? {}
        stage.must_be_alone()?;
        Ok(stage)
    }

    /// Others' workers would take part of the partitions.
    fn must_be_alone(&self) -> Result<()> {
        match self.ledger.owned {
            0 => Ok(()),
            owned => Err(Failure::rejected(format!("{owned} partitions are owned by others"))
                .hint("this measures a cluster without other workers")
                .into()),
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Opens a session for every worker and registers it.
    pub(super) async fn register(&mut self, workers: u32, ttl: Duration) -> Result<()> {
        let done = AtomicU64::new(0);
        let (plan, clients, done) = (&self.plan, &self.clients, &done);
        let one = |number: u32| async move {
            let name = plan.worker(number)?;
            let client = &clients[number as usize % clients.len()];
            let options = SessionOptions {
                label: Some(format!("worker {name}")),
                ..SessionOptions::new(ttl)
            };
            let session = client.open_session(options).await?;
            client.register_worker(&name, &session, plan.profile.clone()).await?;
            done.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok((name, session))
        };
        let all = stream::iter((0..workers).map(one)).buffer_unordered(AT_ONCE).try_collect();
        let sessions: BTreeMap<_, _> =
            progress::while_running("failover: workers", done, u64::from(workers), all).await?;
        self.alive = sessions.values().map(Session::id).collect();
        self.sessions = sessions;
        Ok(())
    }

    /// Applies the networks, one after the other, and follows meanwhile: the history is not kept forever.
    pub(super) async fn apply(&mut self) -> Result<()> {
        let (context, client) = (self.context, self.clients[0].clone());
        let networks = self.plan.networks.clone();
        let (done, total) = (&AtomicU64::new(0), networks.len() as u64);
        let all = async move {
            for (name, spec) in networks {
                let applied = client.apply_network(&name, spec).await;
                applied.map_err(|error| context.explain(&error))?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        };
        let all = progress::while_running("failover: networks", done, total, all);
        tokio::pin!(all);
        loop {
            tokio::select! {
                applied = &mut all => return applied,
                step = self.step() => { step?; }
            }
        }
    }

    /// These stop showing that they are alive.
    pub(super) fn abandon(&mut self, workers: &BTreeSet<Name>) {
        for worker in workers {
            if let Some(session) = self.sessions.get(worker) {
                session.abandon();
                self.alive.remove(&session.id());
            }
        }
    }

    /// Follows until so much is counted. Gives the time at which it was seen.
    pub(super) async fn until(
        &mut self,
        what: &str,
        wanted: u64,
        count: impl Fn(&Ledger) -> u64,
    ) -> Result<Instant> {
        let seen = AtomicU64::new(0);
        let (what, stall) = (format!("failover: {what}"), self.stall);
        let reached = async {
            let mut last = Instant::now();
            loop {
                let now = count(&self.ledger);
                if now != seen.swap(now, Ordering::Relaxed) {
                    last = Instant::now();
                }
                if now >= wanted {
                    return anyhow::Ok(Instant::now());
                }
                if last.elapsed() > stall {
                    let message = format!("{now} of {wanted} for {} s", stall.as_secs());
                    return Err(Failure::rejected(message).into());
                }
                self.step().await?;
            }
        };
        let reached = progress::while_running(&what, &seen, wanted, reached).await;
        reached.with_context(|| what.clone())
    }

    /// Takes one event, and sees to releases meanwhile. True: everything there was has been told.
    async fn step(&mut self) -> Result<bool> {
        loop {
            let event = tokio::select! {
                event = self.watch.next() => event.map_err(|error| self.context.explain(&error))?,
                Some(released) = self.releases.next() => {
                    released.map_err(Failure::rejected)?;
                    continue;
                }
            };
            let (revision, changes): (Revision, Vec<_>) = match event {
                WatchEvent::Snapshot { revision, records } => {
                    let record = |(key, record): KeyedRecord| (key, Some(record.value.clone()));
                    (revision, records.into_iter().map(record).collect())
                }
                WatchEvent::Changes { revision, changes, .. } => {
                    let change = |change: WatchedChange| {
                        (change.key, change.current.map(|it| it.value.clone()))
                    };
                    (revision, changes.into_iter().map(change).collect())
                }
                WatchEvent::SnapshotEnd { .. } => return Ok(true),
                WatchEvent::Progress { .. } | WatchEvent::Resync { .. } => return Ok(false),
            };
            let asked = self.ledger.take(revision, changes);
            let mine = asked.into_iter().filter(|asked| self.alive.contains(&asked.session));
            let client = &self.clients[0];
            self.releases.extend(mine.map(|asked| release(client.clone(), asked).boxed()));
            return Ok(false);
        }
    }

    /// Removes what was created.
    pub(super) async fn clear(&mut self) -> Result<()> {
        let explain = |error: Error| self.context.explain(&error);
        for (name, _) in &self.plan.networks {
            match self.clients[0].delete_network(name).await {
                Err(error) if error.reason() != Some(Reason::NotFound) => {
                    return Err(explain(error));
                }
                _ => {}
            }
        }
        let (alive, client) = (&self.alive, &self.clients[0]);
        // What is theirs is nobody's at once.
        let leave = |(name, session): (&Name, &Session)| {
            let id = Some(session.id()).filter(|id| alive.contains(id));
            let (left, session) = (client.leave_worker(name, id).into_future(), session.clone());
            async move {
                match left.await {
                    Err(error) if error.reason() != Some(Reason::NotFound) => return Err(error),
                    _ => {}
                }
                if id.is_some() { session.close().await } else { Ok(()) }
            }
        };
        let all = stream::iter(self.sessions.iter().map(leave)).buffer_unordered(AT_ONCE);
        all.try_for_each(|()| async { Ok(()) }).await.map_err(explain)
    }
}

async fn release(client: Client, asked: AskedBack) -> Result<(), String> {
    let AskedBack { partition, epoch, .. } = asked;
    loop {
        let released = timeout(CALL_TIMEOUT, client.release_partition(&partition, epoch)).await;
        match released {
            Ok(Ok(_)) => return Ok(()),
            // It has ended already.
            Ok(Err(error)) if error.reason() == Some(Reason::StaleEpoch) => return Ok(()),
            Ok(Err(error)) if !error.is_retryable() => return Err(error.to_string()),
            _ => {}
        }
    }
}
