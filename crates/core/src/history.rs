//! The newest changes, kept so that subscribers can resume: bounded by bytes and age, trimmed in
//! apply by the state's clock, so that every replica keeps the same history.
//!
//! Invariants: the revisions are contiguous and end at the state's revision; the newest event is
//! kept whatever its size and age; bytes and hash are those of the events that are kept.

use std::sync::Arc;

use crate::{command::Origin, event::Event, hash, id::Revision, setting::Settings, size};

/// The newest changes, without a gap. A clone is cheap.
#[derive(Debug, Clone)]
pub struct History {
    events: imbl::Vector<Kept>,
    oldest: Revision,
    bytes: u64,
    sum: u64,
}

/// An event with what it adds to the history's totals.
#[derive(Debug, Clone)]
struct Kept {
    event: Arc<Event>,
    bytes: u64,
    hash: u64,
}

impl History {
    /// No events yet; the first will be at this revision.
    pub(crate) fn starting_at(oldest: Revision) -> Self {
        Self { events: imbl::Vector::new(), oldest, bytes: 0, sum: 0 }
    }

    /// The oldest revision from which a stream can start: every change at or after it is here.
    #[must_use]
    pub fn oldest(&self) -> Revision {
        self.oldest
    }

    /// How many revisions are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no revision is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What the events count for against `history_bytes_max`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The event of one revision, if it is kept.
    #[must_use]
    pub fn get(&self, revision: Revision) -> Option<&Arc<Event>> {
        let index = revision.0.checked_sub(self.oldest.0)?;
        self.events.get(usize::try_from(index).ok()?).map(|kept| &kept.event)
    }

    /// The events from this revision on, in order. The caller checked `from >= oldest()`. Costs
    /// what is taken, not what is skipped.
    pub fn from(&self, from: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let skipped = usize::try_from(from.0.saturating_sub(self.oldest.0)).unwrap_or(usize::MAX);
        let skipped = skipped.min(self.events.len());
        self.events.focus().narrow(skipped..).into_iter().map(|kept| &kept.event)
    }

    /// The sum of the events' hashes.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// Bytes and sum as they are kept.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.bytes, self.sum)
    }

    /// Bytes and sum as they should be.
    pub(crate) fn recomputed_totals(&self) -> (u64, u64) {
        self.events.iter().fold((0, 0), |(bytes, sum): (u64, u64), kept| {
            (bytes + size::event(&kept.event), sum.wrapping_add(event_hash(&kept.event)))
        })
    }

    /// Adds the next event, whose hash is known.
    pub(crate) fn push(&mut self, event: Arc<Event>, hash: u64) {
        let bytes = size::event(&event);
        self.bytes += bytes;
        self.sum = self.sum.wrapping_add(hash);
        self.events.push_back(Kept { event, bytes, hash });
    }

    /// Drops what is too old or too much, but for the newest event.
    pub(crate) fn trim(&mut self, time_ms: u64, settings: &Settings) {
        let born = time_ms.saturating_sub(settings.history_age_ms_max);
        while self.events.len() > 1
            && (self.bytes > settings.history_bytes_max
                || self.events.front().is_some_and(|kept| kept.event.time_ms < born))
            && let Some(dropped) = self.events.pop_front()
        {
            self.bytes -= dropped.bytes;
            self.sum = self.sum.wrapping_sub(dropped.hash);
            self.oldest = self.oldest.next();
        }
    }
}

/// The hash of an event: of its revision, its time and its changes in order.
pub(crate) fn event_hash(event: &Event) -> u64 {
    let seed = event_seed(event.revision, event.time_ms, &event.origin);
    event.changes.iter().fold(seed, |seed, change| {
        let before = hash::optional(&change.key, change.previous.as_deref());
        let after = hash::optional(&change.key, change.current.as_deref());
        hash::fold(seed, [before, after])
    })
}

/// Where the hash of an event begins, for who knows the hashes of its records.
pub(crate) fn event_seed(revision: Revision, time_ms: u64, origin: &Origin) -> u64 {
    let seed = hash::fold(hash::domain("event"), [revision.0, time_ms]);
    hash::text(hash::text(seed, &origin.label), &origin.reason)
}
