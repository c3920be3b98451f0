//! Makes faults, one at a time, and heals them.
//!
//! Owns the cluster's processes while a run lasts, and the firewall. Invariant: when it returns,
//! by time, by interruption or by a coordinator's own death, no fault is left. Must not know the
//! workload.

pub(crate) mod fault;
pub(crate) mod schedule;
pub(crate) mod topology;

use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, monitor::Monitor},
    history::{CrashEvent, FaultEvent, What, record::Recorder},
    net::{CutSet, nft::Firewall},
};
use schedule::{Injection, Schedule};

/// How often it looks whether every process that should run does.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Everything a nemesis works with.
pub(crate) struct Nemesis {
    /// The processes.
    pub(crate) cluster: Cluster,
    /// The network.
    pub(crate) firewall: Firewall,
    /// Who leads.
    pub(crate) monitor: Monitor,
    /// What comes when.
    pub(crate) schedule: Schedule,
    /// Where it is told.
    pub(crate) recorder: Recorder,
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

impl Nemesis {
    /// Makes faults until the time is up; heals everything.
    pub(crate) async fn run(
        &mut self,
        until: Instant,
        stop: &CancellationToken,
    ) -> anyhow::Result<Ended> {
        loop {
            let calm = Instant::now() + self.schedule.calm();
            if let Some(ended) = self.wait(calm, until, stop).await {
                return Ok(ended);
            }
            let Some(injection) = self.schedule.next(self.monitor.leader()) else {
                let ended = self.wait(until, until, stop).await;
                return Ok(ended.unwrap_or(Ended::InTime));
            };
            self.make(&injection).await.with_context(|| injection.kind.to_string())?;
            let ended = self.wait(Instant::now() + injection.stays, until, stop).await;
            self.heal().await?;
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Notes processes that ended by themselves.
    pub(crate) fn look(&mut self) -> bool {
        let crashes: Vec<CrashEvent> = self.cluster.unexpected_ends();
        let any = !crashes.is_empty();
        for crash in crashes {
            self.recorder.add(What::Crash(crash));
        }
        any
    }

    async fn make(&mut self, injection: &Injection) -> anyhow::Result<()> {
        self.recorder.add(What::Fault(FaultEvent {
            fault: injection.kind,
            detail: injection.detail.clone(),
        }));
        if injection.cuts.len() > 0 {
            self.firewall.cut(&injection.cuts).await?;
        }
        self.cluster.pause(&injection.pause)?;
        self.cluster.kill(&injection.kill).await
    }

    async fn heal(&mut self) -> anyhow::Result<()> {
        self.firewall.cut(&CutSet::default()).await?;
        self.cluster.resume_all()?;
        self.cluster.start_missing()?;
        self.recorder.add(What::Heal);
        Ok(())
    }

    /// Waits for a time, at most until the end of the run; tells when the run is over.
    async fn wait(
        &mut self,
        time: Instant,
        until: Instant,
        stop: &CancellationToken,
    ) -> Option<Ended> {
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
