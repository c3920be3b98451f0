//! What `/health` says: one JSON object.

use crate::{
    coordinator::{Coordinator, Role},
    service::is_serving,
};

/// The health of a coordinator; None: it has not joined its cluster yet.
pub(super) fn of(coordinator: Option<&Coordinator>) -> String {
    let Some(coordinator) = coordinator else {
        return "{\"status\":\"joining\",\"serving\":false}\n".to_owned();
    };
    let (status, view) = (coordinator.status(), coordinator.view());
    let in_contact = *coordinator.in_contact().borrow();
    let serving = is_serving(coordinator);
    let word = match (serving, in_contact) {
        (true, _) => "serving",
        (false, true) => "joining",
        (false, false) => "no quorum",
    };
    let role = match status.role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
    };
    // Numbers and literals only: nothing here needs escaping.
    format!(
        "{{\"status\":\"{word}\",\"serving\":{serving},\"cluster_id\":\"{}\",\"member_id\":{},\
         \"role\":\"{role}\",\"leader_id\":{},\"term\":{},\"applied_index\":{},\"revision\":{}}}\n",
        coordinator.cluster_id(),
        coordinator.member_id(),
        status.leader.map_or(0, quorate_core::MemberId::get),
        status.term,
        view.index,
        view.state.revision(),
    )
}
