//! Workers: each holds a session, registers with it, owns what it is granted (see
//! [`super::owners`]), and makes writes that must be applied at most once.
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
        Call, Command, Epoch, Key, MemberId, Name, PartitionId, Reason, RegisterWorker, Reply,
        Request, Resources, Serial, SessionId, digest,
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

/// The name of the worker with this number.
pub(super) fn worker(number: u64) -> Option<Name> {
    Name::new(&format!("worker{number}")).ok()
}

/// One worker and the sessions that it holds, one after the other.
pub(super) struct Holder {
    pub(super) number: u64,
    pub(super) members: Members,
    pub(super) story: Story,
    pub(super) random: StdRng,
    pub(super) until: Instant,
    /// The member that it calls as long as that runs. None: any member, another one each time.
    home: Option<MemberId>,
    /// Tells its requests from those of its earlier sessions.
    requests: u64,
    /// What it was granted, now and before.
    pub(super) grants: Vec<(PartitionId, Epoch)>,
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
        let (home, requests, grants) = (None, 0, Vec::new());
        Self { number, members, story, random, until, home, requests, grants }
    }

    /// Holds one session after the other until the time is up; the last one is left to expire.
    pub(super) async fn run(mut self) {
        while Instant::now() < self.until {
            self.choose_home();
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

    /// One in two sessions is held through one member only: what that one says in error is not
    /// put right by another.
    fn choose_home(&mut self) {
        let any = self.members.any(&mut self.random).map(|member| member.coordinator.member_id());
        self.home = any.filter(|_| self.random.random_range(0..2) == 0);
    }

    pub(super) fn coordinator(&mut self) -> Option<Coordinator> {
        let home = self.home.and_then(|id| self.members.get(id));
        Some(home.or_else(|| self.members.any(&mut self.random))?.coordinator)
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
            self.tend(held.id).await;
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
        let Some(name) = worker(self.number) else { return true };
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

    /// A number that no other request of anybody has.
    pub(super) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.number * 1_000_000 + self.requests
    }

    async fn write_once(&mut self, held: &mut Held) {
        held.serial = held.serial.next();
        let request = self.next_request();
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
