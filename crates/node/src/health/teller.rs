//! Tells what happened: the leader logs and counts it as it applies it.

use quorate_core::{State, notice};
use tokio_util::sync::CancellationToken;

use super::{news::News, seen::HealthSeen};
use crate::coordinator::Coordinator;

/// Runs until `stop`.
pub(super) async fn run(coordinator: Coordinator, stop: CancellationToken) {
    let mut applied = coordinator.applied();
    let mut teller = Teller { seen: coordinator.health_seen().clone(), news: News::default() };
    loop {
        applied.mark_unchanged();
        let view = coordinator.view();
        teller.follow(&view.state, coordinator.leads().is_some());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

struct Teller {
    seen: HealthSeen,
    news: News,
}

impl Teller {
    fn follow(&mut self, state: &State, leads: bool) {
        for event in self.news.of(state, leads) {
            for notice in notice::of_event(event) {
                self.seen.event(notice.kind);
                tracing::info!(
                    revision = %notice.revision,
                    kind = notice.kind.as_str(),
                    subject = notice.subject,
                    by = &*notice.origin.label,
                    reason = &*notice.origin.reason,
                    "{}",
                    notice.text
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{
        ClusterId, Command, Identity, MemberId, NoticeKind, RestoreEpoch, Stamp, apply,
    };

    use super::*;

    fn add(state: &mut State, id: u64) {
        let (peer, client) = ("p:1".into(), "c:1".into());
        let command = Command::AddMember { id: MemberId(id), peer, client };
        assert!(apply(state, Stamp::at(1), &command).event.is_some());
    }

    #[test]
    fn each_event_is_told_once_by_who_leads() {
        let identity = Identity { cluster_id: ClusterId(1), restore_epoch: RestoreEpoch(1) };
        let mut state = State::new(identity);
        let mut teller = Teller { seen: HealthSeen::default(), news: News::default() };
        let told =
            |teller: &Teller| teller.seen.told().events.get(&NoticeKind::MemberAdded).copied();
        add(&mut state, 1);
        teller.follow(&state, false);
        teller.follow(&state, true);
        assert_eq!(told(&teller), None, "that was before it led");
        add(&mut state, 2);
        add(&mut state, 3);
        teller.follow(&state, true);
        teller.follow(&state, true);
        assert_eq!(told(&teller), Some(2));
        teller.follow(&state, false);
        add(&mut state, 4);
        teller.follow(&state, true);
        assert_eq!(told(&teller), Some(2));
    }
}
