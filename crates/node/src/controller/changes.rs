//! What has changed since somebody looked. Pure.

use quorate_core::{Key, Record, Revision, State};

/// A record that changed, as it was and as it is.
pub(super) struct Changed<'a> {
    /// Which.
    pub(super) key: &'a Key,
    /// None: it is new.
    pub(super) before: Option<&'a Record>,
    /// None: it is gone.
    pub(super) after: Option<&'a Record>,
    /// When, by the state's clock, milliseconds since 1970.
    pub(super) time_ms: u64,
}

/// Everything that changed after a revision, in its order. None: that is not known any more, and all there is
/// has to be looked at.
pub(super) fn since(state: &State, seen: Revision) -> Option<impl Iterator<Item = Changed<'_>>> {
    let from = seen.next();
    let known = from >= state.history().oldest() && state.revision() >= seen;
    known.then(|| {
        state.history().from(from).flat_map(|event| {
            event.changes.iter().map(|change| Changed {
                key: &change.key,
                before: change.previous.as_deref().map(|it| &it.value),
                after: change.current.as_deref().map(|it| &it.value),
                time_ms: event.time_ms,
            })
        })
    })
}
