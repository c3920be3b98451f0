//! Copies what each coordinator applies, as soon as it is published.
//!
//! Owns finding out that two coordinators tell the same revision, the same log entry or the same
//! term differently. Must not know who asked for what.

use std::collections::btree_map::Entry;

use quorate_node::{
    Coordinator,
    coordinator::Role,
    core::{Event, Revision, Term},
    storage::View,
};
use std::sync::Arc;

use super::story::{Applied, At, Story, Told};

/// Follows one life of a coordinator until it ends.
pub(super) async fn observe(coordinator: Coordinator, story: Story) {
    let mut applied = coordinator.applied();
    let mut next = Revision(0);
    loop {
        applied.mark_unchanged();
        let (view, status, now) = (coordinator.view(), coordinator.status(), story.now());
        {
            let told = &mut *story.told();
            note_state(told, &coordinator, &view);
            for event in view.state.history().from(next.max(view.state.history().oldest())) {
                note_event(told, &coordinator, event, now);
            }
            if status.role == Role::Leader {
                note_leader(told, &coordinator, status.term);
            }
        }
        next = view.state.revision().next();
        if applied.changed().await.is_err() {
            return;
        }
    }
}

fn note_state(told: &mut Told, coordinator: &Coordinator, view: &View) {
    let (me, hash) = (coordinator.member_id(), view.state.hash());
    match told.states.entry(view.index) {
        Entry::Vacant(place) => {
            place.insert((hash, me));
        }
        Entry::Occupied(known) if known.get().0 != hash => {
            let (other, index) = (known.get().1, view.index);
            told.disagreements.push(format!(
                "after log entry {index} member {me} has the state {hash}, member {other} has {}",
                known.get().0
            ));
        }
        Entry::Occupied(_) => {}
    }
}

fn note_event(told: &mut Told, coordinator: &Coordinator, event: &Arc<Event>, at: At) {
    match told.events.entry(event.revision) {
        Entry::Vacant(place) => {
            place.insert(Applied { event: event.clone(), at });
        }
        Entry::Occupied(known) if known.get().event != *event => {
            told.disagreements.push(format!(
                "member {} tells revision {} as {event:?}, another told {:?}",
                coordinator.member_id(),
                event.revision,
                known.get().event,
            ));
        }
        Entry::Occupied(_) => {}
    }
}

fn note_leader(told: &mut Told, coordinator: &Coordinator, term: Term) {
    let me = coordinator.member_id();
    let known = *told.leaders.entry(term).or_insert(me);
    if known != me {
        told.disagreements.push(format!("in term {term} both {known} and {me} lead"));
    }
}
