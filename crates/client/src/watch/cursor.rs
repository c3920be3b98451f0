//! Where a stream stands, over all the connections that it took. Pure.
//!
//! Invariants: what [`Cursor::take_in`] lets through never repeats a revision's changes, and never
//! mixes records of two snapshots without a [`WatchEvent::Resync`] between them; a connection that
//! starts at [`Cursor::start`] skips nothing.

use quorate_core::Revision;
use quorate_proto::{
    ConvertError,
    convert::{ResumeToken, Start, WatchEvent},
};

use crate::seen::Identity;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cursor {
    start: Start,
    phase: Phase,
    token: Option<ResumeToken>,
    /// The caller has records of a snapshot that broke off, and must be told to forget them.
    stale: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The snapshot has not ended. `told`: the caller has records of it.
    Snapshot { told: bool },
    /// Changes follow.
    Following,
}

/// An event for the caller, and where the stream stands once the caller has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) event: WatchEvent,
    /// None: in the middle of a snapshot, or before the first event.
    pub(crate) token: Option<ResumeToken>,
}

impl Cursor {
    pub(crate) fn new(start: Start) -> Self {
        let phase = match start {
            Start::Snapshot => Phase::Snapshot { told: false },
            Start::Now | Start::From(_) | Start::Resume(_) => Phase::Following,
        };
        let token = match start {
            Start::Resume(token) => Some(token),
            Start::Now | Start::From(_) | Start::Snapshot => None,
        };
        Self { start, phase, token, stale: false }
    }

    /// Where the next connection starts.
    pub(crate) fn start(&self) -> Start {
        self.start
    }

    /// Where the stream stands; None in the middle of a snapshot.
    pub(crate) fn token(&self) -> Option<ResumeToken> {
        self.token
    }

    /// The connection was lost.
    pub(crate) fn lost(&mut self) {
        if self.phase == (Phase::Snapshot { told: true }) {
            self.stale = true;
            self.phase = Phase::Snapshot { told: false };
        }
    }

    /// Takes in one message. An error means that the coordinator does not follow the rules.
    pub(crate) fn take_in(
        &mut self,
        identity: Identity,
        events: Vec<WatchEvent>,
        resume: Option<Revision>,
    ) -> Result<Vec<Step>, ConvertError> {
        let mut steps = Vec::with_capacity(events.len());
        for event in events {
            self.event(identity, event, &mut steps)?;
        }
        if let (Phase::Following, Some(revision)) = (self.phase, resume) {
            self.stand_at(identity, revision);
            if let Some(last) = steps.last_mut() {
                last.token = self.token;
            }
        }
        Ok(steps)
    }

    fn event(
        &mut self,
        identity: Identity,
        event: WatchEvent,
        steps: &mut Vec<Step>,
    ) -> Result<(), ConvertError> {
        match (&event, self.phase) {
            (WatchEvent::Resync { .. }, _) => {
                *self = Self::new(Start::Snapshot);
            }
            (WatchEvent::Snapshot { revision, .. }, Phase::Snapshot { .. }) => {
                self.tell_stale(*revision, steps);
                self.phase = Phase::Snapshot { told: true };
            }
            (WatchEvent::SnapshotEnd { revision }, Phase::Snapshot { .. }) => {
                self.tell_stale(*revision, steps);
                self.phase = Phase::Following;
                self.stand_at(identity, *revision);
            }
            (WatchEvent::Changes { revision, .. }, Phase::Following) => {
                if self.has(*revision) {
                    tracing::warn!(%revision, "a change that was delivered before is left out");
                    return Ok(());
                }
                self.stand_at(identity, *revision);
            }
            (WatchEvent::Progress { revision }, Phase::Following) => {
                if self.token.is_some_and(|token| token.revision > *revision) {
                    return Ok(());
                }
                self.stand_at(identity, *revision);
            }
            (WatchEvent::Progress { .. }, Phase::Snapshot { .. }) => return Ok(()),
            (WatchEvent::Snapshot { .. } | WatchEvent::SnapshotEnd { .. }, Phase::Following) => {
                return Err(ConvertError::new("events", "a snapshot where changes should follow"));
            }
            (WatchEvent::Changes { .. }, Phase::Snapshot { .. }) => {
                return Err(ConvertError::new("events", "changes before the snapshot's end"));
            }
        }
        steps.push(Step { event, token: self.token });
        Ok(())
    }

    fn tell_stale(&mut self, revision: Revision, steps: &mut Vec<Step>) {
        if self.stale {
            self.stale = false;
            steps.push(Step { event: WatchEvent::Resync { revision }, token: None });
        }
    }

    /// Whether the changes of a revision were delivered, or were never asked for.
    fn has(&self, revision: Revision) -> bool {
        let before_start = matches!(self.start, Start::From(from) if revision < from);
        before_start || self.token.is_some_and(|token| revision <= token.revision)
    }

    fn stand_at(&mut self, identity: Identity, revision: Revision) {
        let Identity { cluster_id, restore_epoch } = identity;
        let revision = self.token.map_or(revision, |token| token.revision.max(revision));
        let token = ResumeToken { cluster_id, restore_epoch, revision };
        self.token = Some(token);
        self.start = Start::Resume(token);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use quorate_core::{ClusterId, RestoreEpoch};

    use super::*;

    const IDENTITY: Identity =
        Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(2) };

    /// One connection: how many revisions its messages cover, and how many messages arrive before
    /// it is lost. Odd revisions match the filter.
    #[derive(Debug, Clone)]
    struct Connection {
        spans: Vec<u64>,
        repeats: bool,
    }

    fn connection() -> impl Strategy<Value = Connection> {
        (vec(1..6_u64, 0..4), any::<bool>())
            .prop_map(|(spans, repeats)| Connection { spans, repeats })
    }

    fn changes(revision: u64) -> WatchEvent {
        WatchEvent::Changes {
            revision: Revision(revision),
            changes: vec![],
            origin: Default::default(),
            time_ms: 0,
        }
    }

    fn matching(from: u64, to: u64) -> impl Iterator<Item = u64> {
        (from..=to).filter(|revision| revision % 2 == 1)
    }

    /// Messages of a coordinator that is asked to start after `at`.
    fn serve(cursor: &mut Cursor, connection: &Connection, at: u64) -> (Vec<Step>, u64) {
        let (mut steps, mut at) = (Vec::new(), at);
        for span in &connection.spans {
            // A coordinator that repeats begins its message one revision early.
            let from = if connection.repeats { at.max(1) } else { at + 1 };
            let events = matching(from, at + span).map(changes).collect();
            let taken = cursor.take_in(IDENTITY, events, Some(Revision(at + span))).unwrap();
            steps.extend(taken);
            at += span;
        }
        (steps, at)
    }

    proptest! {
        #[test]
        fn no_change_is_skipped_or_repeated(
            from in 1..5_u64,
            connections in vec(connection(), 1..6),
        ) {
            let mut cursor = Cursor::new(Start::From(Revision(from)));
            let (mut told, mut end) = (Vec::new(), from - 1);
            for connection in connections {
                let at = match cursor.start() {
                    Start::From(revision) => revision.get() - 1,
                    Start::Resume(token) => token.revision.get(),
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(at, end, "it starts where it stood");
                let (steps, reached) = serve(&mut cursor, &connection, at);
                for step in steps {
                    let revision = step.event.revision();
                    prop_assert!(step.token.unwrap().revision >= revision);
                    told.push(revision.get());
                }
                end = reached;
                cursor.lost();
            }
            prop_assert_eq!(told, matching(from, end).collect::<Vec<_>>());
        }

        #[test]
        fn a_broken_snapshot_is_always_forgotten_first(
            parts in vec(0..3_usize, 1..5),
            last in 0..3_usize,
        ) {
            let mut cursor = Cursor::new(Start::Snapshot);
            let mut kept: Vec<Revision> = Vec::new();
            let mut take = |cursor: &mut Cursor, events: Vec<WatchEvent>| {
                for step in cursor.take_in(IDENTITY, events, None).unwrap() {
                    match step.event {
                        WatchEvent::Resync { .. } => kept.clear(),
                        WatchEvent::Snapshot { revision, .. } => kept.push(revision),
                        _ => {}
                    }
                }
            };
            let part = |number: usize| {
                let revision = Revision(10 + number as u64);
                WatchEvent::Snapshot { revision, records: vec![] }
            };
            for (number, count) in parts.iter().enumerate() {
                take(&mut cursor, vec![part(number); *count]);
                cursor.lost();
                prop_assert_eq!(cursor.start(), Start::Snapshot);
            }
            let number = parts.len();
            let mut events = vec![part(number); last];
            let revision = Revision(10 + number as u64);
            events.push(WatchEvent::SnapshotEnd { revision });
            take(&mut cursor, events);
            prop_assert_eq!(kept, vec![revision; last], "records of the last snapshot alone");
            prop_assert!(matches!(cursor.start(), Start::Resume(token) if token.revision == revision));
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let revision = Revision(3);
        let mut following = Cursor::new(Start::From(revision));
        let end = vec![WatchEvent::SnapshotEnd { revision }];
        following.take_in(IDENTITY, end, None).unwrap_err();
        let mut snapshot = Cursor::new(Start::Snapshot);
        snapshot.take_in(IDENTITY, vec![changes(3)], None).unwrap_err();
    }

    #[test]
    fn a_token_in_the_middle_of_a_snapshot_is_not_believed() {
        let mut cursor = Cursor::new(Start::Snapshot);
        let events = vec![WatchEvent::Snapshot { revision: Revision(3), records: vec![] }];
        let steps = cursor.take_in(IDENTITY, events, Some(Revision(3))).unwrap();
        assert_eq!((steps[0].token, cursor.token()), (None, None));
        assert_eq!(cursor.start(), Start::Snapshot);
    }
}
