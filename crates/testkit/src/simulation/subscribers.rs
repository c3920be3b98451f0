//! Change streams: from the first revision, from now, or from a snapshot; quick readers and slow
//! ones; each goes on at another member when its stream ends, from where it stands.
//!
//! Invariant: a subscriber tells what it was sent, in the order in which it came, and resumes only
//! after what it was told that it has.

use std::time::Duration;

use quorate_node::{
    core::{Filter, Kind, Revision},
    proto::{
        convert::{ResumeToken, Start, WatchEvent, WatchSpec},
        v1::{self, watch_service_client::WatchServiceClient},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    members::{Member, Members},
    story::{Story, StreamStory},
};

/// One subscriber.
pub(super) struct Subscriber {
    pub(super) number: usize,
    pub(super) members: Members,
    pub(super) story: Story,
    random: StdRng,
    until: Instant,
    start: Start,
    filter: Filter,
}

impl Subscriber {
    pub(super) fn new(
        number: usize,
        seed: u64,
        members: Members,
        story: Story,
        until: Instant,
    ) -> Self {
        let (start, kinds) = match number % 3 {
            0 => (Start::From(Revision(1)), vec![]),
            1 => (Start::Snapshot, vec![Kind::Entry]),
            _ => (Start::Now, vec![Kind::Partition, Kind::Worker]),
        };
        let filter = Filter { kinds, ..Filter::default() };
        story.told().streams.push(StreamStory {
            filter: filter.clone(),
            after: matches!(start, Start::From(_)).then_some(Revision(0)),
            told: Vec::new(),
            resumed: 0,
        });
        let random = StdRng::seed_from_u64(seed);
        Self { number, members, story, random, until, start, filter }
    }

    /// Follows until the time is up.
    pub(super) async fn run(mut self) {
        while Instant::now() < self.until {
            if let Some(member) = self.members.any(&mut self.random) {
                self.follow(member).await;
                if let Some(stream) = self.story.told().streams.get_mut(self.number) {
                    stream.resumed += 1;
                }
            }
            let rest = Duration::from_millis(self.random.random_range(10..200));
            sleep(rest).await;
        }
    }

    /// Follows one stream until it ends, or until it is time to leave it.
    async fn follow(&mut self, member: Member) {
        let spec = WatchSpec {
            start: self.start,
            filter: self.filter.clone(),
            with_previous: self.number.is_multiple_of(2),
            resync: true,
            progress_interval: Duration::from_millis(500),
        };
        let mut service = WatchServiceClient::new(member.watches);
        let leave = Instant::now() + Duration::from_secs(self.random.random_range(3..20));
        let leave = leave.min(self.until);
        let opening = service.watch(v1::WatchRequest::from(spec));
        let Ok(Ok(opened)) = timeout_at(leave, opening).await else { return };
        let mut messages = opened.into_inner();
        while let Ok(Ok(Some(message))) = timeout_at(leave, messages.message()).await {
            if !self.take_in(message) {
                return;
            }
            if self.random.random_range(0..10) == 0 {
                sleep(Duration::from_millis(self.random.random_range(0..2_000))).await;
            }
        }
    }

    /// False: what came cannot be read, which the check will find.
    fn take_in(&mut self, message: v1::WatchResponse) -> bool {
        let events: Result<Vec<WatchEvent>, _> =
            message.events.into_iter().map(TryInto::try_into).collect();
        let Ok(events) = events else {
            self.story.told().disagreements.push("a stream's message cannot be read".to_owned());
            return false;
        };
        let mut told = self.story.told();
        if let Some(stream) = told.streams.get_mut(self.number) {
            let whole = stream_is_whole(&events, matches!(self.start, Start::Snapshot));
            stream.told.extend(events);
            if let (Some(token), true) = (message.resume, whole) {
                self.start = Start::Resume(ResumeToken::from(token));
            }
        }
        true
    }
}

/// Whether a stream may be resumed after these events: it is not in the middle of a snapshot.
fn stream_is_whole(events: &[WatchEvent], in_snapshot: bool) -> bool {
    events.iter().fold(!in_snapshot, |whole, event| match event {
        WatchEvent::Resync { .. } | WatchEvent::Snapshot { .. } => false,
        WatchEvent::SnapshotEnd { .. } => true,
        WatchEvent::Changes { .. } | WatchEvent::Progress { .. } => whole,
    })
}
