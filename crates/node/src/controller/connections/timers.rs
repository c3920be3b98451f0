//! What is due for connections, and when. Pure, but for the time that it is told.
//!
//! Follows the state change by change, so that a look costs what has changed and not what there
//! is. A status that stays the same keeps its time, also when the history of what came between is
//! gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quorate_core::{
    ConnectionId, ConnectionState, ConnectionStep, Due, Key, Kind, Record, Revision, State,
};
use tokio::time::Instant;

use crate::controller::changes::{self, Changed};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Everything up to this revision is in it. None: nothing was looked at.
    seen: Option<Revision>,
    /// By connection.
    waiting: BTreeMap<ConnectionId, Waiting>,
    /// The same, by time.
    queue: BTreeSet<(Instant, ConnectionId)>,
}

/// What is due for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    at: Instant,
    /// The revision of the status that it is due for.
    modified: Revision,
    due: Due,
    /// After so long, since it was noticed.
    after: Duration,
}

impl Timers {
    /// How many connections wait for something.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Looks at what has changed, or at everything when that is not known.
    pub(super) fn follow(&mut self, state: &State, now: Instant) {
        match self.seen.and_then(|seen| changes::since(state, seen)) {
            Some(changes) => {
                for Changed { key, .. } in changes {
                    if matches!(key.kind, Kind::Connection | Kind::ConnectionStatus) {
                        key.as_connection().iter().for_each(|id| self.note(state, id, now));
                    }
                }
            }
            None => self.look_at_everything(state, now),
        }
        self.seen = Some(state.revision());
    }

    fn look_at_everything(&mut self, state: &State, now: Instant) {
        let known: Vec<ConnectionId> = self.waiting.keys().cloned().collect();
        let there = state.records_of(Kind::ConnectionStatus);
        let there = there.filter_map(|(key, _)| key.as_connection());
        known.into_iter().chain(there).for_each(|id| self.note(state, &id, now));
    }

    /// What is due for a connection as it is now.
    fn note(&mut self, state: &State, id: &ConnectionId, now: Instant) {
        let next = waiting(state, id, now);
        let known = self.waiting.get(id).copied();
        let same = |it: &Waiting| {
            next.map(|next| (next.modified, next.after)) == Some((it.modified, it.after))
        };
        if known.as_ref().is_some_and(same) {
            return;
        }
        if let Some(known) = known {
            self.waiting.remove(id);
            self.queue.remove(&(known.at, id.clone()));
        }
        if let Some(next) = next {
            self.waiting.insert(id.clone(), next);
            self.queue.insert((next.at, id.clone()));
        }
    }

    /// What is due now, what is due longest first. It stays due until its status has changed.
    pub(super) fn due(&self, now: Instant, max: usize) -> Vec<ConnectionStep> {
        let due = self.queue.iter().take_while(|(at, _)| *at <= now).take(max);
        let step = |(_, id): &(Instant, ConnectionId)| {
            let Waiting { modified, due, .. } = *self.waiting.get(id)?;
            Some(ConnectionStep { id: id.clone(), modified, due })
        };
        due.filter_map(step).collect()
    }
}

/// What a connection waits for that is seen now for the first time.
fn waiting(state: &State, id: &ConnectionId, now: Instant) -> Option<Waiting> {
    let record = state.get(&Key::connection_status(id))?;
    let Record::ConnectionStatus(status) = &record.value else { return None };
    let policy = &state.connection(id)?.policy;
    let (due, after_ms) = match status.state {
        // Nobody has ever said anything of it: there may be nobody who does.
        ConnectionState::Connecting if status.attempts == 0 && status.error.is_empty() => {
            return None;
        }
        ConnectionState::Connecting => (Due::TimeOut, policy.connect_timeout_ms),
        ConnectionState::Broken => (Due::Retry, status.retry_at_ms.saturating_sub(status.since_ms)),
        ConnectionState::Up | ConnectionState::Failed => return None,
    };
    let after = Duration::from_millis(after_ms);
    Some(Waiting { at: now + after, modified: record.modified, due, after })
}

#[cfg(test)]
impl Timers {
    /// What is waited for, without the times.
    pub(super) fn parts(&self) -> Vec<(ConnectionId, Revision, Due)> {
        assert_eq!(self.queue.len(), self.waiting.len());
        let all = self.waiting.iter();
        all.map(|(id, it)| (id.clone(), it.modified, it.due)).collect()
    }
}
