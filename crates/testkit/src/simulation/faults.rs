//! What goes wrong, when: drawn from the seed.
//!
//! Owns the choice and the healing. Every kind comes once before any comes again. Must not know
//! what the cluster is used for.

use std::time::Duration;

use quorate_node::core::MemberId;
use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use tokio::time::{Instant, sleep, timeout};

use super::{members::Members, observer, story::Story};
use crate::{Conditions, SimCluster};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A minority with the leader in it against the rest.
    LeaderInMinority,
    /// Every member sees two others.
    Ring,
    /// Messages from one member to another get lost.
    OneWay,
    /// Everybody on their own.
    Shattered,
    /// Connections break all the time.
    Breaks,
    /// Messages take long.
    Slow,
    /// The leader loses its power.
    CrashLeader,
    /// A minority loses its power.
    CrashMinority,
    /// Everybody loses their power at once.
    CrashAll,
    /// Each member in turn is stopped and started.
    RollingRestart,
    /// Leadership is handed on again and again.
    Transfers,
    /// A wall clock jumps.
    ClockStep,
    /// A member crashes while it is cut off, and comes back before the links do.
    CrashCutOff,
    /// Disks take long to make something durable, the leader's among them.
    SlowDisks,
}

const KINDS: [Kind; 14] = [
    Kind::LeaderInMinority,
    Kind::Ring,
    Kind::OneWay,
    Kind::Shattered,
    Kind::Breaks,
    Kind::Slow,
    Kind::CrashLeader,
    Kind::CrashMinority,
    Kind::CrashAll,
    Kind::RollingRestart,
    Kind::Transfers,
    Kind::ClockStep,
    Kind::CrashCutOff,
    Kind::SlowDisks,
];

/// How long a member may take to start that was in the cluster before.
const START_MAX: Duration = Duration::from_secs(60);

/// Makes faults in a cluster.
pub(super) struct Faults {
    pub(super) cluster: SimCluster,
    pub(super) members: Members,
    pub(super) story: Story,
    random: StdRng,
    deck: Vec<Kind>,
    /// What a member's links are like when nothing is wrong with them.
    calm: Conditions,
    /// How many of each kind were made.
    pub(super) made: Vec<Kind>,
    /// How many lives ended in a crash.
    pub(super) crashes: u64,
}

impl Faults {
    pub(super) fn new(cluster: SimCluster, story: Story, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let (members, deck, made) = (Members::default(), Vec::new(), Vec::new());
        let calm = Conditions::default();
        Self { cluster, members, story, random, deck, calm, made, crashes: 0 }
    }

    /// Lets callers reach a member that runs, and follows what it applies.
    pub(super) fn introduce(&self, id: MemberId) {
        let (Ok(coordinator), Ok(watches)) =
            (self.cluster.coordinator(id), self.cluster.watches(id))
        else {
            return;
        };
        self.members.add(coordinator.clone(), watches);
        tokio::spawn(observer::observe(coordinator.clone(), self.story.clone()));
    }

    /// One fault after the other until the time is up; afterwards nothing is wrong any more.
    ///
    /// # Errors
    /// When a member does not start again.
    pub(super) async fn run(&mut self, until: Instant) -> Result<(), String> {
        while Instant::now() < until {
            sleep(self.draw(200..2_500)).await;
            if self.deck.is_empty() {
                self.deck = KINDS.to_vec();
                self.deck.shuffle(&mut self.random);
            }
            let Some(kind) = self.deck.pop() else { continue };
            tracing::debug!(?kind, at = ?self.story.now(), "fault");
            self.made.push(kind);
            self.make(kind).await?;
        }
        Ok(())
    }

    fn draw(&mut self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(ms))
    }

    async fn make(&mut self, kind: Kind) -> Result<(), String> {
        let mut ids: Vec<MemberId> = self.cluster.members().collect();
        ids.shuffle(&mut self.random);
        if let Ok(leader) = self.cluster.leader(Duration::from_secs(1)).await {
            ids.sort_by_key(|id| *id != leader);
        }
        let minority = ids.len().div_ceil(2) - 1;
        match kind {
            Kind::LeaderInMinority => {
                let (few, many) = ids.split_at(self.random.random_range(1..=minority.max(1)));
                self.cluster.network().partition(few, many);
            }
            Kind::Ring => self.ring(&ids),
            Kind::OneWay => self.one_way(&ids),
            Kind::Shattered => {
                for id in &ids {
                    self.cluster.network().partition(&[*id], &ids);
                }
            }
            Kind::Breaks => {
                self.cluster
                    .network()
                    .set_conditions(Conditions { breaks_ppm: 100_000, ..self.calm });
            }
            Kind::Slow => {
                let (delay_min, delay_max) =
                    (Duration::from_millis(20), Duration::from_millis(400));
                self.cluster.network().set_conditions(Conditions {
                    delay_min,
                    delay_max,
                    ..self.calm
                });
            }
            Kind::CrashLeader => return self.crash(&ids[..1]).await,
            Kind::CrashMinority => return self.crash(&ids[1..=minority.max(1)]).await,
            Kind::CrashAll => return self.crash(&ids).await,
            Kind::RollingRestart => return self.roll(&ids).await,
            Kind::Transfers => return self.transfer(&ids).await,
            Kind::ClockStep => {
                let skew = self.random.random_range(-100_000..100_000);
                if let Ok(clock) = self.cluster.clock(ids[0]) {
                    clock.set_skew_ms(skew);
                }
            }
            Kind::CrashCutOff => {
                self.cluster.network().partition(&ids[..1], &ids[1..]);
                sleep(self.draw(100..2_000)).await;
                self.crash(&ids[..1]).await?;
            }
            Kind::SlowDisks => self.slow(&ids),
        }
        sleep(self.draw(300..5_000)).await;
        self.cluster.mend_disks();
        self.cluster.network().heal();
        self.cluster.network().set_conditions(self.calm);
        Ok(())
    }

    /// Each sees its two neighbours alone; with fewer than five members that is no cut.
    fn ring(&self, ids: &[MemberId]) {
        let count = ids.len();
        for (at, id) in ids.iter().enumerate() {
            for (other_at, other) in ids.iter().enumerate() {
                let apart = at.abs_diff(other_at);
                if apart.min(count - apart) > 1 {
                    self.cluster.network().partition(&[*id], &[*other]);
                }
            }
        }
    }

    fn one_way(&mut self, ids: &[MemberId]) {
        for _ in 0..self.random.random_range(1..=3) {
            if let (Some(from), Some(to)) =
                (ids.choose(&mut self.random), ids.choose(&mut self.random))
                && from != to
            {
                self.cluster.network().cut_one_way(*from, *to);
            }
        }
    }

    fn slow(&mut self, ids: &[MemberId]) {
        let slow = self.random.random_range(1..=ids.len());
        for id in &ids[..slow] {
            let barrier = self.draw(100..1_500);
            // There is such a member: it was asked for.
            let _ = self.cluster.slow_disk(*id, barrier);
        }
    }

    async fn crash(&mut self, ids: &[MemberId]) -> Result<(), String> {
        for id in ids {
            self.members.remove(*id);
            self.cluster.crash(*id);
            self.crashes += 1;
        }
        sleep(self.draw(50..3_000)).await;
        for id in ids {
            self.restart(*id).await?;
        }
        Ok(())
    }

    async fn roll(&mut self, ids: &[MemberId]) -> Result<(), String> {
        for id in ids {
            self.members.remove(*id);
            self.cluster.stop(*id).await;
            sleep(self.draw(50..800)).await;
            self.restart(*id).await?;
        }
        Ok(())
    }

    async fn restart(&mut self, id: MemberId) -> Result<(), String> {
        let started = timeout(START_MAX, self.cluster.restart(id)).await;
        let started = started.map_err(|_| format!("it still waits after {START_MAX:?}"));
        started
            .and_then(|started| started.map_err(|error| error.to_string()))
            .map_err(|error| format!("member {id} did not start again: {error}"))?;
        self.introduce(id);
        Ok(())
    }

    async fn transfer(&mut self, ids: &[MemberId]) -> Result<(), String> {
        for _ in 0..self.random.random_range(3..10) {
            let target = ids.choose(&mut self.random).copied();
            if let Some(member) = self.members.any(&mut self.random) {
                let deadline = Instant::now() + Duration::from_secs(1);
                // Refused while leadership is changing anyway.
                drop(member.coordinator.transfer_leader(target, deadline).await);
            }
            sleep(self.draw(0..300)).await;
        }
        Ok(())
    }
}
