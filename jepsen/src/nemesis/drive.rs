//! Makes one fault, lets it stay, and heals it.
//!
//! Owns what each effect means for processes, network, disks and clocks. Invariant: whatever the
//! fault did is undone when it returns, unless the harness itself failed. Must not know when and
//! whom faults hit.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_core::MemberId;
use tokio::time::{Instant, sleep};

use super::{
    schedule::{Effect, Injection},
    world::{LOOK_EVERY, Span, World},
};
use crate::{
    cluster::{
        admin::{Ask, ask},
        barriers::{Trouble, Troubled},
        node::{Node, STOP_WITHIN},
        volume::{self, Volume},
    },
    history::{FaultEvent, FaultId, OverEvent, What},
    net::{netem, nft::Disturbance},
};

/// How long a coordinator may take to end after its disk has failed it.
const END_WITHIN: Duration = Duration::from_secs(5);

/// How long a restarted coordinator has to serve before the next one is stopped.
const SERVE_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait for somebody to lead.
const LEADER_WITHIN: Duration = Duration::from_secs(5);

/// How long a strobing clock stays where it is.
const STROBE_EVERY: Duration = Duration::from_millis(130);

/// How long leadership stays with one.
const TRANSFER_EVERY: Duration = Duration::from_millis(200);

/// How long one that is killed again and again may run. Long enough for some checkpoints.
const LIVE_FOR: Duration = Duration::from_millis(900);

/// One fault at work.
pub(super) struct Fault {
    /// Which one.
    pub(super) id: FaultId,
    /// What to do.
    pub(super) injection: Injection,
    /// With what.
    pub(super) world: Arc<World>,
    /// For how long.
    pub(super) span: Span,
}

impl Fault {
    /// Makes it, lets it stay, and heals it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Injection { kind, detail, .. } = self.injection.clone();
        let nodes = self.injection.hosts();
        let begins = FaultEvent { id: self.id, fault: kind, detail, nodes };
        self.world.recorder.add(What::Fault(begins));
        let done = self.work().await;
        self.world.recorder.add(What::Over(OverEvent { id: self.id }));
        done
    }

    async fn work(&self) -> anyhow::Result<()> {
        match &self.injection.effect {
            Effect::Cut(ways) => self.disturb(Disturbance::Cut(ways.clone())).await,
            Effect::Lose { ways, percent } => {
                self.disturb(Disturbance::Lose(ways.clone(), *percent)).await
            }
            Effect::Delay { by, jitter } => self.delay(*by, *jitter).await,
            Effect::Kill => self.kill().await,
            Effect::Pause => self.pause().await,
            Effect::Step(seconds) => self.step(*seconds).await,
            Effect::Strobe(seconds) => self.strobe(*seconds).await,
            Effect::Fill => self.fill().await,
            Effect::SlowBarriers(by) => self.trouble(Trouble::Slow(*by)).await,
            Effect::FailingBarriers => self.trouble(Trouble::Fail).await,
            Effect::Restart => self.restart().await,
            Effect::RestartLeaders => self.restart_leaders().await,
            Effect::Members(spare) => self.members(spare).await,
            Effect::Transfer => self.transfer().await,
            Effect::KillAndStart => self.kill_and_start().await,
            Effect::CutPower => self.cut_power().await,
        }
    }

    fn hosts(&self) -> &[MemberId] {
        &self.injection.nodes
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.world.cluster.on(self.hosts())
    }

    async fn disturb(&self, what: Disturbance) -> anyhow::Result<()> {
        self.world.firewall.disturb(self.id, what).await?;
        self.span.pass().await;
        self.world.firewall.heal(self.id).await
    }

    async fn delay(&self, by: Duration, jitter: Duration) -> anyhow::Result<()> {
        for host in self.hosts() {
            netem::delay(*host, by, jitter).await?;
        }
        self.span.pass().await;
        for host in self.hosts() {
            netem::heal(*host).await?;
        }
        Ok(())
    }

    async fn kill(&self) -> anyhow::Result<()> {
        self.nodes().for_each(|node| node.hold_down(self.id));
        self.world.kill(self.hosts()).await?;
        self.span.pass().await;
        self.let_up()
    }

    async fn pause(&self) -> anyhow::Result<()> {
        self.nodes().try_for_each(|node| node.pause(self.id))?;
        self.span.pass().await;
        self.nodes().try_for_each(|node| node.resume(self.id))
    }

    async fn kill_and_start(&self) -> anyhow::Result<()> {
        while self.span.goes_on() {
            self.nodes().for_each(|node| node.hold_down(self.id));
            self.world.kill(self.hosts()).await?;
            self.let_up()?;
            self.span.wait(LIVE_FOR).await;
        }
        Ok(())
    }

    async fn step(&self, seconds: i64) -> anyhow::Result<()> {
        self.set_clocks(seconds)?;
        self.span.pass().await;
        self.set_clocks(0)
    }

    async fn strobe(&self, seconds: i64) -> anyhow::Result<()> {
        let mut off = false;
        while self.span.goes_on() {
            off = !off;
            self.set_clocks(if off { seconds } else { 0 })?;
            self.span.wait(STROBE_EVERY).await;
        }
        self.set_clocks(0)
    }

    fn set_clocks(&self, seconds: i64) -> anyhow::Result<()> {
        self.nodes().filter_map(|node| node.wall.as_ref()).try_for_each(|wall| wall.set(seconds))
    }

    /// A coordinator may end while its disk is full; it is started when there is room again.
    async fn fill(&self) -> anyhow::Result<()> {
        for node in self.nodes() {
            node.may_end(self.id);
            tokio::task::block_in_place(|| node.volume.fill())?;
        }
        self.span.pass().await;
        self.nodes().try_for_each(|node| node.volume.free())?;
        self.await_ends(self.hosts()).await;
        self.nodes().try_for_each(|node| node.must_go_on(self.id))
    }

    /// A coordinator must end when one of its barriers has failed.
    async fn trouble(&self, trouble: Trouble) -> anyhow::Result<()> {
        let mut troubled = Vec::new();
        for node in self.nodes() {
            let Some(pid) = node.pid() else { continue };
            if trouble == Trouble::Fail {
                node.may_end(self.id);
            }
            let log = node.strace_log();
            troubled.push((node, pid, Troubled::attach(pid, trouble, &log).await?));
        }
        self.span.pass().await;
        let mut failed = Vec::new();
        for (node, pid, barriers) in troubled {
            if barriers.release().await? {
                failed.push((node, pid));
            }
        }
        // One that ended may have been started again by another fault.
        let goes_on = |node: &Node, pid| node.pid() == Some(pid);
        self.await_while(|| failed.iter().any(|(node, pid)| goes_on(node, *pid))).await;
        for (node, _) in failed.into_iter().filter(|(node, pid)| goes_on(node, *pid)) {
            self.world.accuse(node, format!("went on for {END_WITHIN:?} after a failed fsync"));
        }
        self.nodes().try_for_each(|node| node.must_go_on(self.id))
    }

    /// Waits for those that their disk has failed; they may be about to end, or not know of it.
    async fn await_ends(&self, hosts: &[MemberId]) {
        self.await_while(|| self.world.cluster.on(hosts).any(Node::runs)).await;
    }

    async fn await_while(&self, any: impl Fn() -> bool) {
        let until = Instant::now() + END_WITHIN;
        while any() && Instant::now() < until && !self.span.abandon.is_cancelled() {
            sleep(LOOK_EVERY).await;
            self.world.look();
        }
    }

    async fn restart(&self) -> anyhow::Result<()> {
        for node in self.nodes() {
            if self.span.halt.is_cancelled() {
                break;
            }
            self.restart_one(node).await?;
        }
        Ok(())
    }

    async fn restart_leaders(&self) -> anyhow::Result<()> {
        for _ in self.hosts() {
            let Some(leader) = self.leader().await else { break };
            self.restart_one(self.world.cluster.node(leader)?).await?;
        }
        Ok(())
    }

    async fn restart_one(&self, node: &Node) -> anyhow::Result<()> {
        node.hold_down(self.id);
        if !node.stop().await? {
            self.world.accuse(node, format!("did not stop within {STOP_WITHIN:?} when asked to"));
        }
        node.let_up(self.id)?;
        self.world.serves(node, SERVE_WITHIN).await;
        Ok(())
    }

    /// Who leads, once somebody does; none: nobody in time, or all must end.
    async fn leader(&self) -> Option<MemberId> {
        let until = Instant::now() + LEADER_WITHIN;
        while Instant::now() < until && !self.span.halt.is_cancelled() {
            if let Some(leader) = self.world.monitor.leader() {
                return Some(leader);
            }
            sleep(LOOK_EVERY).await;
        }
        None
    }

    async fn members(&self, spare: &[MemberId]) -> anyhow::Result<()> {
        let founders = self.world.cluster.founders().iter().copied();
        let before: BTreeSet<MemberId> = founders.collect();
        let gone: BTreeSet<MemberId> = self.hosts().iter().copied().collect();
        let changed = before.difference(&gone).chain(spare).copied().collect();
        self.world.reach(&changed, self.id, &self.span).await?;
        self.span.pass().await;
        self.world.reach(&before, self.id, &self.span).await
    }

    async fn transfer(&self) -> anyhow::Result<()> {
        for node in self.hosts().iter().cycle() {
            if !self.span.goes_on() {
                break;
            }
            let leader = self.world.monitor.leader();
            if leader == Some(*node) {
                tokio::task::yield_now().await;
                continue;
            }
            let target = self.world.cluster.node(*node)?.member();
            // Refused while others are elected: then the next one is asked for.
            let asked = ask(leader.unwrap_or(*node), Ask::Transfer(target)).await;
            drop(asked);
            self.span.wait(TRANSFER_EVERY).await;
        }
        Ok(())
    }

    async fn cut_power(&self) -> anyhow::Result<()> {
        for node in self.nodes() {
            node.hold_down(self.id);
            node.may_end(self.id);
        }
        let volumes: Vec<&Volume> = self.nodes().map(|node| &node.volume).collect();
        volume::cut_power(&volumes).await?;
        self.world.kill(self.hosts()).await?;
        self.span.pass().await;
        for node in self.nodes() {
            node.volume.power_up().await?;
            node.must_go_on(self.id)?;
        }
        self.let_up()
    }

    fn let_up(&self) -> anyhow::Result<()> {
        self.nodes().try_for_each(|node| node.let_up(self.id))
    }
}
