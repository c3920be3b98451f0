//! Random commands, random wake-ups, random trimming of history: whatever happens, a subscriber
//! has seen exactly what matches, once and in order, or is told that it has not.

use proptest::{collection::vec, prelude::*};

use super::{cursor::records, *};

#[derive(Debug, Clone)]
enum Act {
    /// Writes some entries in one transaction.
    Put(Vec<u8>),
    /// Deletes a range.
    Delete(u8),
    /// Lets time pass, so that history is trimmed at the next write.
    Wait(u16),
    /// Changes how much history is kept.
    Keep(u16),
    /// Steps one subscriber so many times, on the view of so many revisions ago.
    Step { subscriber: usize, times: u8, behind: u8 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => vec(0..30_u8, 1..5).prop_map(Act::Put),
        1 => (0..3_u8).prop_map(Act::Delete),
        1 => (0..400_u16).prop_map(Act::Wait),
        1 => (200..4_000_u16).prop_map(Act::Keep),
        6 => (0..6_usize, 1..6_u8, 0..3_u8)
            .prop_map(|(subscriber, times, behind)| Act::Step { subscriber, times, behind }),
    ]
}

/// A subscriber, and what it was sent.
struct Subscriber {
    lens: Lens,
    on_loss: OnLoss,
    start: Start,
    cursor: Cursor,
    received: Received,
    lost: Option<Revision>,
    /// The newest view that it looked at.
    seen: Revision,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    From(Revision),
    Snapshot,
}

impl Subscriber {
    fn step(&mut self, log: &Log, times: u8, behind: u8) {
        // Views come in order: never one from before the last one seen.
        let newest = log.revision().get().saturating_sub(behind.into());
        self.seen = self.seen.max(Revision(newest));
        let view = log.view_at(self.seen);
        for _ in 0..times {
            match self.cursor.step(&view) {
                Step::Send(frame) | Step::Resync(frame) => self.received.take(&frame),
                Step::Again | Step::Idle => {}
                Step::Lost { oldest } => self.lost = Some(oldest),
            }
        }
    }

    /// Checks everything it was sent so far against the log.
    fn check(&self, log: &Log) {
        let marker = |event: &WatchEvent| match event {
            WatchEvent::SnapshotEnd { revision } => Some(*revision),
            _ => None,
        };
        let begins = |event: &WatchEvent| matches!(event, WatchEvent::Resync { .. });
        // A life begins with the start that was asked for, the others with a resync.
        let mut cuts: Vec<usize> = self
            .received
            .events
            .iter()
            .enumerate()
            .filter(|(_, e)| begins(e))
            .map(|(n, _)| n)
            .collect();
        assert!(cuts.is_empty() || self.on_loss == OnLoss::Resync);
        cuts.push(self.received.events.len());
        let mut from = 0;
        for (life, to) in cuts.into_iter().enumerate() {
            let events = &self.received.events[from..to];
            let end = events.iter().position(|event| marker(event).is_some());
            let snapshot = life > 0 || self.start == Start::Snapshot;
            let next = match (snapshot, end) {
                (true, Some(end)) => {
                    let revision = marker(&events[end]).unwrap();
                    let told: Vec<_> = events[..end].iter().flat_map(records).collect();
                    assert_eq!(told, log.records(&self.lens, revision));
                    assert!(events[..end].iter().all(|event| event.revision() == revision));
                    revision.next()
                }
                (true, None) => {
                    assert!(events.iter().filter_map(told).next().is_none());
                    from = to;
                    continue;
                }
                (false, end) => {
                    assert_eq!(end, None);
                    match self.start {
                        Start::From(revision) => revision,
                        Start::Snapshot => unreachable!(),
                    }
                }
            };
            let told: Vec<_> = events.iter().filter_map(told).collect();
            let through = told.last().map_or(Revision(next.get() - 1), |told| told.revision);
            let last_life = to == self.received.events.len();
            let through = if last_life {
                through.max(self.received.resume.unwrap_or(through))
            } else {
                through
            };
            assert_eq!(told, log.seen(&self.lens, next, through));
            from = to;
        }
    }
}

fn subscribers(log: &Log, groups: &Groups) -> Vec<Subscriber> {
    let all = Filter::default();
    let kinds = Filter { kinds: vec![Kind::Entry], ..Filter::default() };
    let plans = [
        (all.clone(), OnLoss::End, Start::From(Revision(1))),
        (all.clone(), OnLoss::Resync, Start::From(Revision(2))),
        (prefix("k1"), OnLoss::Resync, Start::From(Revision(1))),
        (prefix("k1"), OnLoss::End, Start::Snapshot),
        (kinds, OnLoss::Resync, Start::Snapshot),
        (prefix("none"), OnLoss::End, Start::From(Revision(1))),
    ];
    let subscribe = |(filter, on_loss, start)| {
        let lens = Lens { filter, with_previous: on_loss == OnLoss::End };
        let seat = groups.join(lens.clone());
        let cursor = match start {
            Start::From(revision) => Cursor::follow(seat, on_loss, revision),
            Start::Snapshot => Cursor::snapshot(seat, on_loss, log.view()),
        };
        let (received, lost, seen) = (Received::default(), None, log.revision());
        Subscriber { lens, on_loss, start, cursor, received, lost, seen }
    };
    plans.into_iter().map(subscribe).collect()
}

fn run(log: &mut Log, act: &Act, subscribers: &mut [Subscriber]) {
    match act {
        Act::Put(keys) => {
            let operations = keys.iter().map(|key| put(&format!("k{key}"), "value")).collect();
            log.run(operations);
        }
        Act::Delete(digit) => log.run(vec![delete(&format!("k{digit}"))]),
        Act::Wait(ms) => log.time_ms += u64::from(*ms),
        Act::Keep(bytes) => log.keep("history_bytes_max", (*bytes).into()),
        Act::Step { subscriber, times, behind } => {
            subscribers[*subscriber].step(log, *times, *behind);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn subscribers_see_what_matches_or_are_told_that_they_do_not(
        acts in vec(act(), 1..120),
    ) {
        let mut log = Log::new();
        log.keep("history_age_ms_max", 1_000);
        let groups = groups();
        let mut subscribers = subscribers(&log, &groups);
        for act in &acts {
            run(&mut log, act, &mut subscribers);
        }
        for subscriber in &mut subscribers {
            subscriber.check(&log);
            let end = drain(&mut subscriber.cursor, &log.view(), &mut subscriber.received);
            subscriber.check(&log);
            let oldest = log.state().history().oldest();
            match end.or(subscriber.lost) {
                Some(told) => {
                    prop_assert_eq!(subscriber.on_loss, OnLoss::End);
                    prop_assert!(told <= oldest && end.is_none_or(|end| end == oldest));
                }
                // Nothing is left to send: the place is after the newest revision.
                None => {
                    let notice = subscriber.cursor.progress(&log.view()).expect("it follows");
                    subscriber.received.take(&notice);
                    prop_assert_eq!(subscriber.received.resume, Some(log.revision()));
                    subscriber.check(&log);
                }
            }
        }
        drop(subscribers);
        prop_assert_eq!(groups.counts(), (0, 0));
    }
}
