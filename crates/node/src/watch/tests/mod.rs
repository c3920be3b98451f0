//! Cursors over real states: a log of commands is applied, cursors are stepped whenever they like,
//! and what they sent is compared with the log.

mod cursor;
mod property;

use std::sync::Arc;

use prometheus::IntCounter;
use quorate_core::{
    Applied, ClusterId, Command, Event, Filter, Identity, Key, KeyRange, Kind, LogIndex, MemberId,
    Name, Operation, Record, RestoreEpoch, Revision, Stamp, State, Term, Transaction, apply,
};
use quorate_proto::{
    convert::{ResumeToken, WatchEvent},
    v1,
};
use quorate_storage::{StoredMembership, View};

use super::{
    cursor::{Cursor, OnLoss, Step},
    frame::Frame,
    group::Groups,
    scan::Lens,
};

const MEMBER: MemberId = MemberId(1);
const IDENTITY: Identity = Identity { cluster_id: ClusterId(7), restore_epoch: RestoreEpoch(3) };

/// A replicated log, applied: every event and every state that there was.
struct Log {
    time_ms: u64,
    /// By revision; the first is the empty state.
    states: Vec<State>,
    /// The event of revision n is at n - 1.
    events: Vec<Arc<Event>>,
}

impl Log {
    fn new() -> Self {
        Self { time_ms: 0, states: vec![State::new(IDENTITY)], events: Vec::new() }
    }

    fn state(&self) -> &State {
        self.states.last().unwrap()
    }

    fn revision(&self) -> Revision {
        self.state().revision()
    }

    /// The newest state as a view.
    fn view(&self) -> Arc<View> {
        self.view_at(self.revision())
    }

    fn view_at(&self, revision: Revision) -> Arc<View> {
        Arc::new(View {
            state: self.states[usize::try_from(revision.get()).unwrap()].clone(),
            index: LogIndex(revision.get()),
            term: Term(1),
            membership: StoredMembership::default(),
            installs: 0,
        })
    }

    fn run(&mut self, operations: Vec<Operation>) {
        let transaction = Transaction { success: operations, ..Transaction::default() };
        let mut state = self.state().clone();
        let at = Stamp::at(self.time_ms);
        let Applied { outcome, event } = apply(&mut state, at, &Command::Transaction(transaction));
        outcome.result.unwrap();
        match event {
            Some(event) => {
                self.events.push(event);
                self.states.push(state);
            }
            // No change, no revision: but the clock may have moved.
            None => *self.states.last_mut().unwrap() = state,
        }
    }

    fn put(&mut self, key: &str, value: &str) {
        self.run(vec![put(key, value)]);
    }

    /// Sets what is kept of history.
    fn keep(&mut self, setting: &str, amount: u64) {
        let name = Name::new(setting).unwrap();
        let record = Record::Setting(amount.to_string().into());
        let key = Key::setting(&name);
        self.run(vec![Operation::Put { key, record, return_previous: false }]);
    }

    /// What a subscriber sees of the revisions in a range, the last one included.
    fn seen(&self, lens: &Lens, from: Revision, through: Revision) -> Vec<Told> {
        let events = self.events.iter().filter(|e| e.revision >= from && e.revision <= through);
        events.filter_map(|event| Told::of(event, lens)).collect()
    }

    /// What a subscriber sees of the records at a revision.
    fn records(&self, lens: &Lens, revision: Revision) -> Vec<(Key, u64)> {
        let state = &self.states[usize::try_from(revision.get()).unwrap()];
        let matching =
            state.records().filter(|(key, record)| lens.filter.matches_record(key, &record.value));
        matching.map(|(key, record)| (key.clone(), record.modified.get())).collect()
    }
}

fn put(key: &str, value: &str) -> Operation {
    let record = Record::Entry(value.to_owned().into());
    Operation::Put { key: Key::entry(key.to_owned()), record, return_previous: false }
}

fn delete(prefix: &str) -> Operation {
    let range = KeyRange::Prefix(Kind::Entry, prefix.to_owned().into());
    Operation::Delete { range, return_previous: false }
}

/// One revision as a subscriber is told of it: for each change its key, whether it was created,
/// and the revisions of what is there now and of what was before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    revision: Revision,
    changes: Vec<(Key, bool, Option<u64>, Option<u64>)>,
}

impl Told {
    fn of(event: &Event, lens: &Lens) -> Option<Self> {
        let matching = event.changes.iter().filter(|change| lens.filter.matches(change));
        let changes: Vec<_> = matching
            .map(|change| {
                let current = change.current.as_ref().map(|record| record.modified.get());
                let previous = change.previous.as_ref().filter(|_| lens.with_previous);
                let previous = previous.map(|record| record.modified.get());
                (change.key.clone(), change.created(), current, previous)
            })
            .collect();
        (!changes.is_empty()).then_some(Self { revision: event.revision, changes })
    }
}

/// What a subscriber was sent.
#[derive(Debug, Default)]
struct Received {
    /// All steps, in order.
    events: Vec<WatchEvent>,
    /// The newest resume token's revision.
    resume: Option<Revision>,
    messages: usize,
}

impl Received {
    fn take(&mut self, frame: &Frame) {
        let message = decode(frame);
        let header = message.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id), (7, MEMBER.get()));
        let events: Vec<WatchEvent> =
            message.events.into_iter().map(|event| event.try_into().unwrap()).collect();
        let last = events.last().expect("no message is empty").revision();
        self.resume = message.resume.map(ResumeToken::from).map(|token| {
            assert_eq!(token.cluster_id, IDENTITY.cluster_id);
            assert_eq!(token.restore_epoch, IDENTITY.restore_epoch);
            assert!(token.revision >= last, "what was sent was delivered");
            token.revision
        });
        self.events.extend(events);
        self.messages += 1;
    }

    /// The changes after the event at this place.
    fn told_after(&self, at: usize) -> Vec<Told> {
        self.events[at..].iter().filter_map(told).collect()
    }

    fn told(&self) -> Vec<Told> {
        self.told_after(0)
    }
}

fn told(event: &WatchEvent) -> Option<Told> {
    let WatchEvent::Changes { revision, changes, .. } = event else { return None };
    let changes = changes
        .iter()
        .map(|change| {
            let modified = |record: &Arc<quorate_core::Versioned<Record>>| record.modified.get();
            let current = change.current.as_ref().map(modified);
            let previous = change.previous.as_ref().map(modified);
            (change.key.clone(), change.created, current, previous)
        })
        .collect();
    Some(Told { revision: *revision, changes })
}

fn decode(frame: &Frame) -> v1::WatchResponse {
    let (prefix, message) = frame.bytes.split_at(5);
    assert_eq!(prefix[0], 0, "not compressed");
    let len = u32::from_be_bytes(prefix[1..].try_into().unwrap());
    assert_eq!(usize::try_from(len).unwrap(), message.len());
    prost::Message::decode(message).unwrap()
}

fn lens(filter: Filter) -> Lens {
    Lens { filter, with_previous: false }
}

fn prefix(prefix: &str) -> Filter {
    Filter { key_prefix: prefix.to_owned().into(), ..Filter::default() }
}

fn groups() -> Groups {
    Groups::new(MEMBER, IntCounter::new("encoded", "for tests").unwrap())
}

/// Steps until there is nothing more to send. The end: None, or the oldest revision kept.
fn drain(cursor: &mut Cursor, view: &Arc<View>, received: &mut Received) -> Option<Revision> {
    loop {
        match cursor.step(view) {
            Step::Send(frame) | Step::Resync(frame) => received.take(&frame),
            Step::Again => {}
            Step::Idle => return None,
            Step::Lost { oldest } => return Some(oldest),
        }
    }
}
