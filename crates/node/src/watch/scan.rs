//! The next piece of history for a filter. Pure.

use quorate_core::{
    Filter, MemberId, Revision,
    mutation::{Mutation, planted},
};
use quorate_proto::encoded::EncodedEvent;
use quorate_storage::View;

use super::frame::Frame;

/// A message grows to about so many bytes. A revision is never split, so one may be larger.
pub(super) const FRAME_BYTES: usize = 128 << 10;

/// At most about so many changes are looked at in one go, so that a filter that matches little
/// does not keep its thread from others.
const SCANNED_MAX: usize = 8_192;

/// What a subscriber sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lens {
    /// The changes it wants.
    pub(super) filter: Filter,
    /// Whether they come with the record before them.
    pub(super) with_previous: bool,
}

/// A piece of history as seen through a lens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    /// Its first revision.
    pub(super) from: Revision,
    /// Its last revision.
    pub(super) through: Revision,
    /// What matches; None: nothing does.
    pub(super) frame: Option<Frame>,
}

/// Takes the slice from revision `from` on, which the view's history holds.
pub(super) fn slice(lens: &Lens, from: Revision, view: &View, member: MemberId) -> Slice {
    let (mut events, mut bytes, mut scanned) = (Vec::new(), 0, 0);
    let mut through = from;
    for event in view.state.history().from(from) {
        let matching =
            EncodedEvent::changes(event, lens.with_previous, |change| lens.filter.matches(change));
        if let Some(matching) = matching {
            let len = matching.encoded_len();
            if !events.is_empty() && bytes + len > FRAME_BYTES {
                break;
            }
            bytes += len;
            events.push(matching);
        }
        through = event.revision;
        scanned += event.changes.len();
        if bytes >= FRAME_BYTES || scanned >= SCANNED_MAX {
            break;
        }
    }
    if planted(Mutation::SplitRevision) {
        events = events.into_iter().flat_map(one_by_one).collect();
    }
    let frame = (!events.is_empty()).then(|| Frame::new(member, view, events, Some(through)));
    Slice { from, through, frame }
}

/// An event for each change: the fault [`Mutation::SplitRevision`].
fn one_by_one(event: EncodedEvent) -> Vec<EncodedEvent> {
    let EncodedEvent::Changes { revision, changes, origin, time_ms } = event else {
        return vec![event];
    };
    let alone = |change| {
        let (changes, origin) = (vec![change], origin.clone());
        EncodedEvent::Changes { revision, changes, origin, time_ms }
    };
    changes.into_iter().map(alone).collect()
}
