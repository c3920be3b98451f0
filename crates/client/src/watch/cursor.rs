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
