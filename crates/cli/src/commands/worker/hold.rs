//! `worker register`: a worker without anything to run.
//!
//! ```text
//!   session -> register -> watch of its own partitions -> assigned, asked back -> release
//!                |  session lost: an error, at once
//!                |  stopped: leave, close
//! ```
//!
//! Invariant: it says that it acts for a partition only while its session is valid by its own
//! clock, and no longer once it has begun to release it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use quorate_client::{
    Client, Error, ErrorKind, Reason, Session, SessionOptions, Start, Watch, WatchEvent,
    WatchOptions, WorkerProfile,
    session::{BootClock, Clock as _},
};
use quorate_core::{
    Epoch, Filter, Key, Kind, Name, Partition, PartitionId, PartitionState, Record,
};
use tokio::time::MissedTickBehavior;

use crate::{
    args::WorkerRegister,
    commands::Context,
    failure::{Exit, Failure},
    output::workers::WorkerEvent,
    signals::StopSignal,
};

/// How often, within the time to live, it says until when it may act.
const TOLD_PER_TTL: u32 = 20;

/// Registers and holds until stopped.
pub(super) async fn run(context: &Context, args: WorkerRegister) -> Result<()> {
    let mut stop = StopSignal::install().context("cannot handle signals")?;
    let client = context.client()?;
    let label = Some(format!("worker {}", args.name));
    let options = SessionOptions { label, ..SessionOptions::new(args.ttl) };
    let session = client.open_session(options).await.map_err(|error| context.explain(&error))?;
    let name = args.name.clone();
    let result = register_and_hold(context, &client, &session, args, &mut stop).await;
    if session.is_valid() {
        // It ends by itself if this fails.
        if let Ok(true) = &result {
            say(context, &WorkerEvent::Leaving { boot_ms: now_ms() })?;
            let left = client.leave_worker(&name, Some(session.id())).await;
            left.map_err(|error| context.explain(&error))?;
            say(context, &WorkerEvent::Left { boot_ms: now_ms() })?;
        }
        if let Err(error) = session.close().await {
            tracing::debug!(%error, "the session could not be closed");
        }
    }
    result.map(|_| ())
}

/// True: it was stopped while it was registered.
async fn register_and_hold(
    context: &Context,
    client: &Client,
    session: &Session,
    args: WorkerRegister,
    stop: &mut StopSignal,
) -> Result<bool> {
    let WorkerRegister { name, address, capacity, labels, .. } = args;
    let profile = WorkerProfile { address, capacity, labels: labels.into_iter().collect() };
    let registering = async {
        loop {
            // Twice is once: it is the same session.
            match client.register_worker(&name, session, profile.clone()).await {
                Err(error) if is_in_doubt(&error) && session.is_valid() => {}
                registered => return registered,
            }
        }
    };
    tokio::select! {
        registered = registering => {
            registered.map_err(|error| refused(context, &name, &error))?;
        }
        _ = stop.requested() => return Ok(false),
    }
    let holder = Holder {
        context,
        client,
        session,
        name,
        acting: BTreeMap::new(),
        releases: FuturesUnordered::new(),
    };
    holder.run(stop).await.map(|()| true)
}

fn refused(context: &Context, name: &Name, error: &Error) -> anyhow::Error {
    if error.reason() == Some(Reason::AlreadyExists) {
        return Failure::rejected(format!("{error}"))
            .hint(format!("the session of worker {name} ends its TTL after it was heard last"))
            .into();
    }
    context.explain(error)
}

/// Whether a call may be made again by whoever can make it twice: each took its full timeout.
fn is_in_doubt(error: &Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown
}

type Released = (PartitionId, Epoch, Result<(), Error>);

struct Holder<'a> {
    context: &'a Context,
    client: &'a Client,
    session: &'a Session,
    name: Name,
    /// What it may act for.
    acting: BTreeMap<PartitionId, Epoch>,
    /// What it is giving back.
    releases: FuturesUnordered<BoxFuture<'static, Released>>,
}

impl Holder<'_> {
    async fn run(mut self, stop: &mut StopSignal) -> Result<()> {
        self.say(WorkerEvent::Registered {
            worker: self.name.to_string(),
            session: self.session.id().to_string(),
            ttl_ms: u64::try_from(self.session.ttl().as_millis()).unwrap_or(u64::MAX),
            pid: std::process::id(),
            boot_ms: now_ms(),
        })?;
        let mut watch = self.watch();
        let every = (self.session.ttl() / TOLD_PER_TTL).max(Duration::from_millis(10));
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                why = self.session.lost() => return Err(lost(&self.name, why)),
                _ = stop.requested() => return Ok(()),
                Some(released) = self.releases.next() => self.released(released)?,
                event = watch.next() => {
                    let event = event.map_err(|error| self.context.explain(&error))?;
                    self.event(event)?;
                }
                _ = tick.tick() => self.tell_validity()?,
            }
        }
    }

    fn watch(&self) -> Watch {
        self.client.watch(WatchOptions {
            start: Start::Snapshot,
            filter: Filter {
                kinds: vec![Kind::Partition],
                worker: Some(self.name.clone()),
                ..Filter::default()
            },
            resync: true,
            ..WatchOptions::default()
        })
    }

    fn event(&mut self, event: WatchEvent) -> Result<()> {
        match event {
            WatchEvent::Snapshot { records, .. } => {
                for (key, record) in records {
                    self.note(&key, Some(&record.value))?;
                }
            }
            WatchEvent::Changes { changes, .. } => {
                for change in changes {
                    let current = change.current.as_ref().map(|record| &record.value);
                    self.note(&change.key, current)?;
                }
            }
            WatchEvent::Resync { .. } => {
                // What it still owns comes again.
                for (id, epoch) in std::mem::take(&mut self.acting) {
                    self.say(released(&id, epoch))?;
                }
            }
            WatchEvent::SnapshotEnd { .. } | WatchEvent::Progress { .. } => {}
        }
        Ok(())
    }

    /// A partition is now so; None: it is gone.
    fn note(&mut self, key: &Key, current: Option<&Record>) -> Result<()> {
        let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse);
        let (Some(id), Kind::Partition) = (id, key.kind) else { return Ok(()) };
        let mine = match current {
            Some(Record::Partition(partition)) if self.owns(partition) => partition,
            _ => {
                return match self.acting.remove(&id) {
                    Some(epoch) => self.say(released(&id, epoch)),
                    None => Ok(()),
                };
            }
        };
        let Some(epoch) = mine.epoch else { return Ok(()) };
        match mine.state {
            PartitionState::Assigned if self.acting.get(&id) != Some(&epoch) => {
                self.assigned(id, epoch)
            }
            PartitionState::Releasing | PartitionState::Deleted => self.release(id, epoch),
            _ => Ok(()),
        }
    }

    fn owns(&self, partition: &Partition) -> bool {
        partition
            .owner
            .as_ref()
            .is_some_and(|owner| owner.worker == self.name && owner.session == self.session.id())
    }

    fn assigned(&mut self, id: PartitionId, epoch: Epoch) -> Result<()> {
        let boot_ms = now_ms();
        // Whoever was paused in between must not believe what it read before.
        if !self.session.is_valid() {
            return Ok(());
        }
        self.say(WorkerEvent::Assigned {
            partition: id.to_string(),
            epoch: epoch.to_string(),
            boot_ms,
        })?;
        self.acting.insert(id, epoch);
        self.tell_validity()
    }

    /// It runs nothing that would have to be stopped first.
    fn release(&mut self, id: PartitionId, epoch: Epoch) -> Result<()> {
        // A later epoch is another ownership, which this does not end.
        if self.acting.get(&id).is_some_and(|acting| *acting <= epoch) {
            self.acting.remove(&id);
        }
        self.say(WorkerEvent::Releasing {
            partition: id.to_string(),
            epoch: epoch.to_string(),
            boot_ms: now_ms(),
        })?;
        let call = self.client.release_partition(&id, epoch).into_future();
        self.releases.push(call.map(move |done| (id, epoch, done.map(|_| ()))).boxed());
        Ok(())
    }

    fn released(&mut self, (id, epoch, done): Released) -> Result<()> {
        match done {
            Ok(()) => self.say(released(&id, epoch)),
            // Its ownership of that epoch has ended already.
            Err(error) if error.reason() == Some(Reason::StaleEpoch) => {
                self.say(released(&id, epoch))
            }
            // Twice is once: the epoch says what is meant.
            Err(error) if is_in_doubt(&error) => self.release(id, epoch),
            Err(error) => Err(self.context.explain(&error)),
        }
    }

    fn tell_validity(&self) -> Result<()> {
        let boot_ms = now_ms();
        let remaining = u64::try_from(self.session.remaining().as_millis()).unwrap_or(u64::MAX);
        if !self.context.output.is_json() || remaining == 0 {
            return Ok(());
        }
        self.say(WorkerEvent::Valid {
            partitions: self.acting.len(),
            until_boot_ms: boot_ms + remaining,
            boot_ms,
        })
    }

    fn say(&self, event: WorkerEvent) -> Result<()> {
        say(self.context, &event)
    }
}

fn released(id: &PartitionId, epoch: Epoch) -> WorkerEvent {
    let (partition, epoch) = (id.to_string(), epoch.to_string());
    WorkerEvent::Released { partition, epoch, boot_ms: now_ms() }
}

fn say(context: &Context, event: &WorkerEvent) -> Result<()> {
    match event.line() {
        None if !context.output.is_json() => Ok(()),
        line => context.output.one(&line.unwrap_or_default(), event),
    }
}

fn lost(name: &Name, why: quorate_client::Lost) -> anyhow::Error {
    let why = match why {
        quorate_client::Lost::Unheard => "the cluster was out of reach for too long",
        _ => "its session has ended",
    };
    Failure::new(Exit::Unavailable, format!("worker {name} has lost its session: {why}")).into()
}

fn now_ms() -> u64 {
    u64::try_from(BootClock.now().as_millis()).unwrap_or(u64::MAX)
}
