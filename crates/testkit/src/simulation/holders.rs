//! Workers: each holds a session, registers with it, owns what it is granted, and makes writes
//! that must be applied at most once.
//!
//! A holder keeps its session alive through any member, counts how long it is valid as the
//! contract says (from before it sent a keep-alive that was answered), and now and then falls
//! silent for longer than that. A write is sent again, to any member, until its outcome is known;
//! some are sent again although it is.
//!
//! Invariant: a holder acts for a partition only while its session is valid by its own count and
//! it has not begun to release it.

use std::time::Duration;

use bytes::Bytes;
use quorate_node::{
    Coordinator,
    core::{
        Call, Command, Key, KeyRange, Kind, Name, PartitionId, PartitionState, Reason, Record,
        RegisterWorker, Reply, Request, Resources, Serial, SessionId, digest,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::{
    callers::{CALL_MAX, command, end},
    members::Members,
    story::{Asked, End, HolderStory, Story},
};

/// How long their sessions live.
pub(super) const TTL: Duration = Duration::from_secs(2);

/// For how long a holder may rely on an answer: clock rates may differ by 1%.
const RELIED_ON: Duration = Duration::from_millis(1_980);

/// One worker and the sessions that it holds, one after the other.
pub(super) struct Holder {
    pub(super) number: u64,
    pub(super) members: Members,
    pub(super) story: Story,
    pub(super) random: StdRng,
    pub(super) until: Instant,
    /// Tells its requests from those of its earlier sessions.
    requests: u64,
}

/// A session while it lasts.
struct Held {
    id: SessionId,
    serial: Serial,
}

impl Holder {
    pub(super) fn new(
        number: u64,
        seed: u64,
        members: Members,
        story: Story,
        until: Instant,
    ) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { number, members, story, random, until, requests: 0 }
    }

    /// Holds one session after the other until the time is up; the last one is left to expire.
    pub(super) async fn run(mut self) {
        while Instant::now() < self.until {
            match self.open().await {
                Some(id) => self.hold(Held { id, serial: Serial(0) }).await,
                None => self.rest(50..300).await,
            }
        }
    }

    /// Always for some time: a task that never waits would keep paused time from passing.
    async fn rest(&mut self, ms: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.random.random_range(ms))).await;
    }

    fn coordinator(&mut self) -> Option<Coordinator> {
        Some(self.members.any(&mut self.random)?.coordinator)
    }

    async fn open(&mut self) -> Option<SessionId> {
        let sent = self.story.now();
        let ttl_ms = u64::try_from(TTL.as_millis()).ok()?;
        let open = Command::OpenSession { ttl_ms, label: format!("worker {}", self.number) };
        let answer = self.coordinator()?.propose(open, Instant::now() + CALL_MAX).await.ok()?;
        let Ok(Reply::OpenSession { id, .. }) = answer.outcome.result else { return None };
        let holder = HolderStory { ttl: TTL, ..HolderStory::default() };
        self.story.told().holders.insert(id, holder);
        self.relied_on(id, sent);
        Some(id)
    }

    /// An answer came to what was sent then.
    fn relied_on(&self, id: SessionId, sent: Duration) {
        if let Some(holder) = self.story.told().holders.get_mut(&id) {
            holder.valid_until = holder.valid_until.max(sent + RELIED_ON);
        }
    }

    fn is_valid(&self, id: SessionId) -> bool {
        let told = self.story.told();
        told.holders.get(&id).is_some_and(|holder| self.story.now() < holder.valid_until)
    }

    /// Does what a worker does while its session is valid.
    async fn hold(&mut self, mut held: Held) {
        let mut registered = false;
        let mut next_silence = Instant::now() + self.silence_after();
        while Instant::now() < self.until && self.is_valid(held.id) {
            if Instant::now() >= next_silence {
                // As if it had been stopped; what it owned is not its own afterwards.
                sleep(TTL * self.random.random_range(2..4)).await;
                next_silence = Instant::now() + self.silence_after();
                continue;
            }
            self.keep_alive(held.id).await;
            if !registered {
                registered = self.register(held.id).await;
            }
            self.release_what_is_asked_back(held.id).await;
            self.write_once(&mut held).await;
            self.rest(20..300).await;
        }
    }

    fn silence_after(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(8_000..40_000))
    }

    async fn keep_alive(&mut self, id: SessionId) {
        let sent = self.story.now();
        let Some(coordinator) = self.coordinator() else { return };
        if let Some(holder) = self.story.told().holders.get_mut(&id) {
            holder.last_sent = sent;
        }
        let asked = tokio::time::timeout(TTL / 2, coordinator.keep_alive(vec![id])).await;
        if let Ok(Ok(ended)) = asked
            && !ended.contains(&id)
        {
            self.relied_on(id, sent);
        }
    }

    async fn register(&mut self, session: SessionId) -> bool {
        let Ok(name) = Name::new(&format!("worker{}", self.number)) else { return true };
        let Some(coordinator) = self.coordinator() else { return false };
        let register = Command::RegisterWorker(RegisterWorker {
            name,
            session,
            address: "sim:1".to_owned(),
            capacity: Resources::default(),
            labels: Default::default(),
        });
        let answer = coordinator.propose(register, Instant::now() + TTL / 2).await;
        answer.is_ok_and(|committed| committed.outcome.result.is_ok())
    }

    async fn release_what_is_asked_back(&mut self, session: SessionId) {
        let Some(coordinator) = self.coordinator() else { return };
        let state = coordinator.view().state.clone();
        let all = KeyRange::Prefix(Kind::Partition, Bytes::new());
        for (key, record) in state.range(&all) {
            let Record::Partition(partition) = &record.value else { continue };
            let mine = partition.owner.as_ref().is_some_and(|owner| owner.session == session);
            let asked_back =
                matches!(partition.state, PartitionState::Releasing | PartitionState::Deleted);
            let id = std::str::from_utf8(&key.bytes).ok().and_then(PartitionId::parse);
            if let (true, true, Some(epoch), Some(id)) = (mine, asked_back, partition.epoch, id) {
                let now = self.story.now();
                self.story.told().releases.entry((id.clone(), epoch)).or_insert(now);
                let release = Command::ReleasePartition { id, epoch };
                // Asked again when this gets lost.
                drop(coordinator.propose(release, Instant::now() + TTL / 4).await);
            }
        }
    }

    async fn write_once(&mut self, held: &mut Held) {
        held.serial = held.serial.next();
        self.requests += 1;
        let request = self.number * 1_000_000 + self.requests;
        let key = Key::entry(format!("once/{request}"));
        let value = Bytes::from(request.to_string());
        let asked = Asked::Once { request, key, value };
        let Some(command) = command(&asked) else { return };
        let call = Call {
            session: held.id,
            serial: held.serial,
            acknowledged: Serial(held.serial.get() - 1),
            digest: digest(&request),
        };
        let again = self.random.random_range(0..5) == 0;
        let proposal = Request { call: Some(call), ..Request::from(command) };
        let mut sent = 0;
        // Without an outcome, as long as the session can still tell it.
        while self.is_valid(held.id) && sent < 40 {
            let Some(coordinator) = self.coordinator() else {
                self.rest(20..100).await;
                continue;
            };
            sent += 1;
            let began = self.story.now();
            let answer = coordinator.propose(proposal.clone(), Instant::now() + TTL / 4).await;
            let ended = answer.as_ref().is_ok_and(|committed| {
                matches!(&committed.outcome.result, Err(rejection) if rejection.reason == Reason::SessionExpired)
            });
            let end = match end(answer) {
                // Sent before, it may have been applied before its session ended.
                End::Refused if sent > 1 => End::Unknown,
                end => end,
            };
            let done = matches!(end, End::Done { .. });
            self.story.call(self.number, coordinator.member_id(), began, asked.clone(), end);
            if ended || (done && (!again || sent > 3)) {
                return;
            }
            self.keep_alive(held.id).await;
        }
    }
}
