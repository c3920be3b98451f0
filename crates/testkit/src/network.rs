//! The links between members: which are cut, how slow they are, how often they break.
//!
//! A cut link swallows messages, as a firewall does: the sender learns nothing, and gives up after
//! [`Conditions::patience`]. When the link heals before that, what was under way still arrives, as
//! TCP sends it again.
//!
//! Invariants: messages of one stream stay in order; nothing passes between a member's former life
//! and anybody. All delays and breaks come from one seeded generator. Must not know what the
//! messages mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use quorate_node::{
    core::MemberId,
    transport::{Peer, PeerError, PeerErrorKind, Transport},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, time::Instant};

use crate::peer::SimTransport;

/// How good all links are.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// The shortest time from sender to receiver.
    pub delay_min: Duration,
    /// The longest.
    pub delay_max: Duration,
    /// How many of a million messages find their connection broken: the sender learns of it, and
    /// cannot know whether the message arrived.
    pub breaks_ppm: u32,
    /// How long a unary call waits for its answer.
    pub call_max: Duration,
    /// How long a stream waits at a cut link before it breaks.
    pub patience: Duration,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_millis(1),
            delay_max: Duration::from_millis(5),
            breaks_ppm: 0,
            call_max: Duration::from_millis(600),
            patience: Duration::from_millis(1200),
        }
    }
}

/// What passed and what did not: a run that was to see faults can check that it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that a broken connection lost.
    pub broken: u64,
    /// Messages that met a cut link.
    pub stalled: u64,
    /// Links that were cut, counting each direction.
    pub cuts: u64,
}

/// The network of a simulated cluster. A clone is the same network.
#[derive(Clone)]
pub struct SimNetwork {
    shared: Arc<Shared>,
}

struct Shared {
    links: Mutex<Links>,
    /// Tells of every change to cuts and lives.
    changed: watch::Sender<()>,
}

struct Links {
    conditions: Conditions,
    random: StdRng,
    /// (from, to).
    cut: BTreeSet<(MemberId, MemberId)>,
    lives: BTreeMap<MemberId, Life>,
    serving: BTreeMap<MemberId, Arc<dyn Peer>>,
    counts: Counts,
    trace: Trace,
}

/// Counts the lives of a member: a restart begins another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Life(u64);

/// A member in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) id: MemberId,
    life: Life,
}

enum Link {
    Open,
    Cut,
    /// One of the two ends is no more.
    Gone,
}

impl SimNetwork {
    /// A network without cuts.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        let links = Links {
            conditions,
            random: StdRng::seed_from_u64(seed),
            cut: BTreeSet::new(),
            lives: BTreeMap::new(),
            serving: BTreeMap::new(),
            counts: Counts::default(),
            trace: Trace::new(),
        };
        let (links, changed) = (Mutex::new(links), watch::Sender::new(()));
        Self { shared: Arc::new(Shared { links, changed }) }
    }

    /// Cuts every link between the two groups, both ways.
    pub fn partition(&self, one: &[MemberId], other: &[MemberId]) {
        let pairs = one.iter().flat_map(|a| other.iter().map(|b| (*a, *b)));
        for (a, b) in pairs.filter(|(a, b)| a != b) {
            self.cut_one_way(a, b);
            self.cut_one_way(b, a);
        }
    }

    /// Cuts the link from one member to another; answers still pass the other way.
    pub fn cut_one_way(&self, from: MemberId, to: MemberId) {
        self.change(|links| {
            if links.cut.insert((from, to)) {
                links.counts.cuts += 1;
            }
        });
        tracing::debug!(%from, %to, "cut a link");
    }

    /// Mends all links.
    pub fn heal(&self) {
        self.change(|links| links.cut.clear());
        tracing::debug!("mended all links");
    }

    /// From now on links are as good as this.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.change(|links| links.conditions = conditions);
    }

    /// What passed so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.links.lock().counts
    }

    /// A hash of everything that passed, when, and what became of it: equal for equal courses.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.shared.links.lock().trace.hash.finish()
    }

    /// Begins a member's next life; the transport is its way out.
    pub(crate) fn begin_life(&self, id: MemberId) -> Arc<dyn Transport> {
        let end = self.change(|links| {
            let life = links.lives.entry(id).or_default();
            life.0 += 1;
            End { id, life: *life }
        });
        Arc::new(SimTransport::new(self.clone(), end))
    }

    /// From now on others reach the member.
    pub(crate) fn serve(&self, id: MemberId, peer: Arc<dyn Peer>) {
        self.change(|links| links.serving.insert(id, peer));
    }

    /// Ends a member's life: all its connections break.
    pub(crate) fn end_life(&self, id: MemberId) {
        self.change(|links| {
            links.serving.remove(&id);
            links.lives.entry(id).or_default().0 += 1;
        });
    }

    /// Who serves under this id now. A refusal takes its time, as any answer does.
    pub(crate) async fn reach(&self, id: MemberId) -> Result<(End, Arc<dyn Peer>), PeerError> {
        if let Some(found) = self.serving(id) {
            return Ok(found);
        }
        tokio::time::sleep(self.draw().0).await;
        Err(PeerError::new(PeerErrorKind::Unreachable, "connection refused"))
    }

    fn serving(&self, id: MemberId) -> Option<(End, Arc<dyn Peer>)> {
        let links = self.shared.links.lock();
        let life = links.lives.get(&id).copied().unwrap_or_default();
        links.serving.get(&id).map(|peer| (End { id, life }, peer.clone()))
    }

    pub(crate) fn call_max(&self) -> Duration {
        self.shared.links.lock().conditions.call_max
    }

    /// Takes one message from one end to the other.
    pub(crate) async fn deliver(&self, from: End, to: End) -> Result<(), PeerError> {
        let (delay, breaks, patience) = self.draw();
        tokio::time::sleep(delay).await;
        let mut changed = self.shared.changed.subscribe();
        let give_up = Instant::now() + patience;
        let mut stalled = false;
        loop {
            changed.mark_unchanged();
            match self.link(from, to) {
                Link::Gone => return Err(gone()),
                Link::Open if breaks => {
                    self.pass(from, to, "broken", |counts| counts.broken += 1);
                    return Err(PeerError::new(PeerErrorKind::Unreachable, "connection reset"));
                }
                Link::Open => {
                    self.pass(from, to, "delivered", |counts| counts.delivered += 1);
                    return Ok(());
                }
                Link::Cut if stalled => {}
                Link::Cut => {
                    stalled = true;
                    self.pass(from, to, "stalled", |counts| counts.stalled += 1);
                }
            }
            // The sender is in the network itself: it lives as long as this call.
            if tokio::time::timeout_at(give_up, changed.changed()).await.is_err() {
                return Err(PeerError::new(PeerErrorKind::Unreachable, "connection timed out"));
            }
        }
    }

    /// Waits until one of the two ends is no more.
    pub(crate) async fn gone(&self, from: End, to: End) -> PeerError {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if matches!(self.link(from, to), Link::Gone) || changed.changed().await.is_err() {
                return gone();
            }
        }
    }

    fn link(&self, from: End, to: End) -> Link {
        let links = self.shared.links.lock();
        let lives = |end: End| links.lives.get(&end.id) == Some(&end.life);
        if !lives(from) || !lives(to) {
            Link::Gone
        } else if links.cut.contains(&(from.id, to.id)) {
            Link::Cut
        } else {
            Link::Open
        }
    }

    fn draw(&self) -> (Duration, bool, Duration) {
        let mut links = self.shared.links.lock();
        let Conditions { delay_min, delay_max, breaks_ppm, patience, .. } = links.conditions;
        let delay = links.random.random_range(delay_min..=delay_max.max(delay_min));
        let breaks = links.random.random_range(0..1_000_000) < breaks_ppm;
        (delay, breaks, patience)
    }

    fn pass(&self, from: End, to: End, what: &'static str, count: impl FnOnce(&mut Counts)) {
        let mut links = self.shared.links.lock();
        count(&mut links.counts);
        links.trace.add(from.id, to.id, what);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Links) -> T) -> T {
        let result = change(&mut self.shared.links.lock());
        self.shared.changed.send_replace(());
        result
    }
}

/// What passed, folded into one number.
struct Trace {
    started: Instant,
    hash: DefaultHasher,
}

impl Trace {
    fn new() -> Self {
        Self { started: Instant::now(), hash: DefaultHasher::new() }
    }

    fn add(&mut self, from: MemberId, to: MemberId, what: &'static str) {
        let at = self.started.elapsed();
        tracing::trace!(?at, %from, %to, what, "message");
        (at.as_nanos(), from, to, what).hash(&mut self.hash);
    }
}

fn gone() -> PeerError {
    PeerError::new(PeerErrorKind::Unreachable, "connection reset by peer")
}
