//! What is new since one looked, while one leads.
//!
//! Invariants: whoever begins to lead begins with what is applied from then on, so that one revision
//! is news for one coordinator, but for the moment in which leadership passes; no event is news
//! twice; what is older than the history goes unseen.

use std::sync::Arc;

use quorate_core::{Event, Revision, State};

/// Up to where one has seen what happened.
#[derive(Debug, Default)]
pub(super) struct News {
    /// None: it does not lead.
    seen: Option<Revision>,
}

impl News {
    /// The events since the last look, while leading.
    pub(super) fn of<'a>(
        &mut self,
        state: &'a State,
        leads: bool,
    ) -> impl Iterator<Item = &'a Arc<Event>> + use<'a> {
        let now = state.revision();
        let last = if leads { self.seen.replace(now).unwrap_or(now) } else { now };
        if !leads {
            self.seen = None;
        }
        state.history().from(last.next().max(state.history().oldest()))
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{ClusterId, Command, Identity, MemberId, RestoreEpoch, Stamp, apply};

    use super::*;

    fn add(state: &mut State, id: u64) {
        let (peer, client) = ("p:1".into(), "c:1".into());
        let command = Command::AddMember { id: MemberId(id), peer, client };
        assert!(apply(state, Stamp::at(1), &command).event.is_some());
    }

    fn look(news: &mut News, state: &State, leads: bool) -> Vec<u64> {
        news.of(state, leads).map(|event| event.revision.get()).collect()
    }

    #[test]
    fn each_event_is_news_once_to_who_leads() {
        let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
        let (mut state, mut news) = (State::new(identity), News::default());
        assert_eq!(look(&mut news, &state, true), [0; 0], "nothing has happened yet");
        news = News::default();
        add(&mut state, 1);
        assert_eq!(look(&mut news, &state, false), [0; 0], "another leads");
        assert_eq!(look(&mut news, &state, true), [0; 0], "that was before it led");
        add(&mut state, 2);
        add(&mut state, 3);
        assert_eq!(look(&mut news, &state, true), [2, 3]);
        assert_eq!(look(&mut news, &state, true), [0; 0], "it has seen them");
        add(&mut state, 4);
        assert_eq!(look(&mut news, &state, false), [0; 0]);
        assert_eq!(look(&mut news, &state, true), [0; 0], "that was the other's to tell");
        add(&mut state, 5);
        assert_eq!(look(&mut news, &state, true), [5]);
    }

    #[test]
    fn what_the_history_has_lost_goes_unseen() {
        let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
        let (mut state, mut news) = (State::new(identity), News::default());
        look(&mut news, &state, true);
        let record = quorate_core::Record::Setting("0".into());
        let key =
            quorate_core::Key::setting(&quorate_core::Name::new("history_bytes_max").unwrap());
        let put = quorate_core::Operation::Put { key, record, return_previous: false };
        let transaction = quorate_core::Transaction { success: vec![put], ..Default::default() };
        let set = apply(&mut state, Stamp::at(1), &Command::Transaction(transaction));
        set.outcome.result.unwrap();
        (1..=5).for_each(|id| add(&mut state, id));
        let oldest = state.history().oldest().get();
        assert!(oldest > 1);
        assert_eq!(look(&mut news, &state, true), (oldest..=6).collect::<Vec<_>>());
    }
}
