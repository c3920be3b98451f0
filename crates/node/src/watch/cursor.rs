//! What a subscriber is sent next, given a view. Pure but for the sharing of slices.
//!
//! ```text
//! Walk ──last chunk at R──> Follow(R + 1) ──history no longer holds it──> lost
//!   ^                                                                      │
//!   └────────────────────── asked for resync ──────────────────────────────┤
//!                                                                 else: Step::Lost
//! ```
//!
//! Invariant: what was sent so far is the snapshot, if there was one, and every matching change
//! after it (or from the start that was asked for) and before `next`, once each and in order.
//! A state that was installed rather than reached by applying needs no case of its own: its
//! history holds the cursor's place, or it does not.

use std::sync::Arc;

use quorate_core::{
    Revision,
    mutation::{Mutation, planted},
};
use quorate_proto::encoded::EncodedEvent;
use quorate_storage::View;

use super::{
    frame::Frame,
    group::Seat,
    walk::{Chunk, Walk},
};

/// What to do when history no longer holds a subscriber's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnLoss {
    /// Tell it, and end.
    End,
    /// Tell it, and go on with a new snapshot.
    Resync,
}

/// A subscriber's place.
#[derive(Debug)]
pub(super) struct Cursor {
    seat: Seat,
    on_loss: OnLoss,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Walk(Walk),
    Follow { next: Revision },
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This message; then step again.
    Send(Frame),
    /// As `Send`; the subscriber lost history and a new snapshot begins with this message.
    Resync(Frame),
    /// Nothing matched so far; step again.
    Again,
    /// Nothing until there is a newer view.
    Idle,
    /// The stream ends: what comes next is no longer known.
    Lost {
        /// The oldest revision from which a stream can start.
        oldest: Revision,
    },
}

impl Cursor {
    /// Starts at a revision.
    pub(super) fn follow(seat: Seat, on_loss: OnLoss, next: Revision) -> Self {
        Self { seat, on_loss, phase: Phase::Follow { next } }
    }

    /// Starts with the records of a view.
    pub(super) fn snapshot(seat: Seat, on_loss: OnLoss, view: Arc<View>) -> Self {
        let walk = Walk::new(view, &seat.lens().filter, false);
        Self { seat, on_loss, phase: Phase::Walk(walk) }
    }

    /// Whether there is nothing to do until the revision is larger than this one.
    pub(super) fn waits_beyond(&self, revision: Revision) -> bool {
        matches!(&self.phase, Phase::Follow { next } if *next > revision)
    }

    /// What comes next, as of this view.
    pub(super) fn step(&mut self, view: &Arc<View>) -> Step {
        match &mut self.phase {
            Phase::Walk(walk) => match walk.next(&self.seat.lens().filter, self.seat.member()) {
                Chunk::Part(frame) => Step::Send(frame),
                Chunk::Nothing => Step::Again,
                Chunk::Last(frame, revision) => {
                    self.phase = Phase::Follow { next: revision.next() };
                    Step::Send(frame)
                }
            },
            Phase::Follow { next } if *next > view.state.revision() => Step::Idle,
            Phase::Follow { next } if *next < view.state.history().oldest() => self.lose(view),
            Phase::Follow { next } => {
                let slice = self.seat.slice(*next, view);
                *next = slice.through.next();
                if planted(Mutation::WatchGap) && slice.frame.is_some() {
                    *next = next.next();
                }
                slice.frame.map_or(Step::Again, Step::Send)
            }
        }
    }

    /// A progress notice, when everything up to a revision was delivered.
    pub(super) fn progress(&self, view: &View) -> Option<Frame> {
        let Phase::Follow { next } = &self.phase else { return None };
        let revision = Revision(next.get().saturating_sub(1));
        let notice = vec![EncodedEvent::progress(revision)];
        Some(Frame::new(self.seat.member(), view, notice, Some(revision)))
    }

    fn lose(&mut self, view: &Arc<View>) -> Step {
        match self.on_loss {
            OnLoss::End => Step::Lost { oldest: view.state.history().oldest() },
            OnLoss::Resync => {
                let mut walk = Walk::new(Arc::clone(view), &self.seat.lens().filter, true);
                let chunk = walk.next(&self.seat.lens().filter, self.seat.member());
                self.phase = Phase::Walk(walk);
                match chunk {
                    Chunk::Part(frame) => Step::Resync(frame),
                    Chunk::Nothing => Step::Again,
                    Chunk::Last(frame, revision) => {
                        self.phase = Phase::Follow { next: revision.next() };
                        Step::Resync(frame)
                    }
                }
            }
        }
    }
}
