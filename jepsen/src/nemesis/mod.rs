//! Makes faults, one at a time or several, and heals them.
//!
//! Owns the faults at work while a run lasts. Invariant: when it returns, by time, by interruption
//! or by a coordinator's own death, no fault is left. Must not know the workload.

pub(crate) mod ability;
mod drive;
pub(crate) mod fault;
mod members;
pub(crate) mod schedule;
pub(crate) mod topology;
pub(crate) mod world;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use quorate_core::MemberId;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::history::{FaultId, What};
use drive::Fault;
use fault::FaultClass;
use schedule::Schedule;
use world::{LOOK_EVERY, Span, World};

/// So often a mixed run has a moment without faults.
const REST_EVERY: Duration = Duration::from_secs(30);

/// Everything a nemesis works with.
pub(crate) struct Nemesis {
    /// What faults work with.
    pub(crate) world: Arc<World>,
    /// What comes when.
    pub(crate) schedule: Schedule,
    /// How many faults may be at work at once.
    pub(crate) at_once: usize,
}

/// How the time of faults ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The time was up.
    InTime,
    /// From outside.
    Interrupted,
    /// A coordinator ended by itself.
    Crashed,
}

/// The faults at work.
struct AtWork {
    tasks: JoinSet<(FaultClass, anyhow::Result<()>)>,
    classes: Vec<FaultClass>,
    halt: CancellationToken,
    abandon: CancellationToken,
    begun: u32,
}

impl Nemesis {
    /// Makes faults until the time is up; heals everything.
    pub(crate) async fn run(
        &mut self,
        until: Instant,
        stop: &CancellationToken,
    ) -> anyhow::Result<Ended> {
        let mut at_work = AtWork::new();
        let ended = self.make(&mut at_work, until, stop).await;
        if !matches!(ended, Ok(Ended::InTime)) {
            at_work.abandon.cancel();
        }
        at_work.halt.cancel();
        let healed = self.drain(&mut at_work, stop).await;
        let ended = ended?;
        healed?;
        self.world.cluster.start_missing()?;
        Ok(if self.world.look() { Ended::Crashed } else { ended })
    }

    /// Notes processes that ended by themselves.
    pub(crate) fn look(&self) -> bool {
        self.world.look()
    }

    async fn make(
        &mut self,
        at_work: &mut AtWork,
        until: Instant,
        stop: &CancellationToken,
    ) -> anyhow::Result<Ended> {
        let mut rest = Instant::now() + REST_EVERY;
        loop {
            let calm = Instant::now() + self.schedule.calm();
            if let Some(ended) = self.wait(calm, until, stop).await {
                return Ok(ended);
            }
            let resting = self.at_once > 1 && Instant::now() > rest;
            let room = if resting { 1 } else { self.at_once };
            while at_work.classes.len() >= room {
                if let Some(ended) = self.wait_for_one(at_work, until, stop).await? {
                    return Ok(ended);
                }
            }
            if resting {
                rest = Instant::now() + REST_EVERY;
                continue;
            }
            self.begin_next(at_work);
            // One at a time: the calm comes after it, not during it.
            if self.at_once == 1
                && let Some(ended) = self.wait_for_one(at_work, until, stop).await?
            {
                return Ok(ended);
            }
        }
    }

    fn begin_next(&mut self, at_work: &mut AtWork) {
        let leader = self.world.monitor.leader();
        let Some(injection) = self.schedule.next(leader, &at_work.classes) else { return };
        let class = injection.kind.class();
        at_work.begun += 1;
        at_work.classes.push(class);
        let span = Span {
            until: Instant::now() + injection.stays,
            halt: at_work.halt.clone(),
            abandon: at_work.abandon.clone(),
        };
        let kind = injection.kind;
        let id = FaultId(at_work.begun);
        let fault = Fault { id, injection, world: self.world.clone(), span };
        at_work.tasks.spawn(async move { (class, fault.run().await.context(kind.to_string())) });
    }

    /// Waits until a fault is over, or until the run is.
    async fn wait_for_one(
        &self,
        at_work: &mut AtWork,
        until: Instant,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Ended>> {
        tokio::select! {
            joined = at_work.tasks.join_next() => self.over(at_work, joined)?,
            ended = self.wait(until, until, stop) => return Ok(ended),
        }
        Ok(None)
    }

    /// Waits until every fault is over.
    async fn drain(&self, at_work: &mut AtWork, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut failed = Ok(());
        while !at_work.classes.is_empty() {
            tokio::select! {
                joined = at_work.tasks.join_next() => {
                    failed = failed.and(self.over(at_work, joined));
                }
                () = stop.cancelled(), if !at_work.abandon.is_cancelled() => {
                    at_work.abandon.cancel();
                }
                () = sleep_until(Instant::now() + LOOK_EVERY) => {
                    self.look();
                }
            }
        }
        failed
    }

    fn over(
        &self,
        at_work: &mut AtWork,
        joined: Option<Result<(FaultClass, anyhow::Result<()>), tokio::task::JoinError>>,
    ) -> anyhow::Result<()> {
        let Some(joined) = joined else {
            at_work.classes.clear();
            return Ok(());
        };
        let (class, done) = joined.context("a fault")?;
        at_work.classes.retain(|other| *other != class);
        if at_work.classes.is_empty() {
            self.world.recorder.add(What::Heal);
        }
        done
    }

    /// Waits for a time, at most until the end of the run; tells when the run is over.
    async fn wait(&self, time: Instant, until: Instant, stop: &CancellationToken) -> Option<Ended> {
        loop {
            if stop.is_cancelled() {
                return Some(Ended::Interrupted);
            }
            if self.look() {
                return Some(Ended::Crashed);
            }
            let now = Instant::now();
            if now >= until {
                return Some(Ended::InTime);
            }
            if now >= time {
                return None;
            }
            tokio::select! {
                () = sleep_until(time.min(until).min(now + LOOK_EVERY)) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

impl AtWork {
    fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            classes: Vec::new(),
            halt: CancellationToken::new(),
            abandon: CancellationToken::new(),
            begun: 0,
        }
    }
}

/// The host that is spare in a cluster of so many.
pub(crate) fn spare(nodes: u64) -> MemberId {
    MemberId(nodes + 1)
}
