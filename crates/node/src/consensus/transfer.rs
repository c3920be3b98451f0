//! Hands leadership to another voter.
//!
//! Only the leader can do it; a coordinator that follows asks the leader to.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use quorate_core::MemberId;
use quorate_proto::v1::{self, hand_over_response::Result as Wire};
use tokio::time::Instant;

use super::{Raft, forward, leader_of, membership::in_contact, proposer::not_leader};
use crate::{
    coordinator::{Fate, Parts, Unanswered},
    transport::Lane,
};

/// Transfers leadership, from wherever it is, and waits until the target leads.
pub(crate) async fn transfer(
    parts: &Parts,
    target: Option<MemberId>,
    deadline: Instant,
) -> Result<MemberId, Unanswered> {
    if let Some(target) = target
        && !parts.raft.voter_ids().any(|voter| voter == target.get())
    {
        let message = format!("target_id: member {target} is no voter of this cluster");
        return Err(refused(&parts.raft, message));
    }
    match leader_of(&parts.raft) {
        Some((leader, address)) if leader != parts.me => {
            if target == Some(leader) {
                return Ok(leader);
            }
            ask(parts, (leader, &address), target, deadline).await
        }
        _ => hand_over(&parts.raft, target, deadline).await,
    }
}

async fn ask(
    parts: &Parts,
    (leader, address): (MemberId, &str),
    target: Option<MemberId>,
    deadline: Instant,
) -> Result<MemberId, Unanswered> {
    let wait = deadline.saturating_duration_since(Instant::now());
    let request = v1::HandOverRequest {
        header: Some(v1::PeerHeader {
            cluster_id: parts.cluster.get(),
            from: parts.me.get(),
            to: leader.get(),
        }),
        target_id: target.map_or(0, MemberId::get),
        wait_ms_max: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    };
    let peer = parts.transport.peer(leader, address, Lane::Control);
    let answer = tokio::time::timeout_at(deadline, peer.hand_over(request)).await;
    let unknown = |message: String| Unanswered::Unavailable {
        fate: Fate::Unknown,
        leader: Some(leader),
        message,
    };
    match answer {
        Ok(Ok(answer)) => match answer.result {
            Some(Wire::LeaderId(id)) => Ok(MemberId(id)),
            Some(Wire::Error(error)) => Err(forward::from_wire(error)),
            None => Err(unknown("the leader's answer is empty".into())),
        },
        Ok(Err(error)) => Err(unknown(error.to_string())),
        Err(_) => Err(unknown(format!("member {leader}, which leads, did not answer in time"))),
    }
}

/// The leader's part.
pub(super) async fn hand_over(
    raft: &Raft,
    target: Option<MemberId>,
    deadline: Instant,
) -> Result<MemberId, Unanswered> {
    let me = MemberId(*raft.node_id());
    if !raft.is_leader() {
        return Err(not_leader(leader_of(raft).map(|(id, _)| id)));
    }
    if target == Some(me) {
        return Ok(me);
    }
    let Some(target) = target.or_else(|| most_up_to_date(raft)) else {
        return Err(refused(raft, "there is no other voter in contact to lead".into()));
    };
    tracing::info!(%target, "transferring leadership");
    let stopped = |_| Unanswered::Stopped { fate: Fate::Unknown };
    raft.trigger().transfer_leader(target.get()).await.map_err(stopped)?;

    let mut metrics = raft.server_metrics();
    // A transfer that fails leaves this coordinator to time out and the voters to elect anew.
    let patience = deadline.min(Instant::now() + Duration::from_secs(10));
    loop {
        if metrics.borrow_and_update().current_leader == Some(target.get()) {
            return Ok(target);
        }
        match tokio::time::timeout_at(patience, metrics.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Unanswered::Stopped { fate: Fate::Unknown }),
            Err(_) => return Err(refused(raft, format!("member {target} did not lead in time"))),
        }
    }
}

fn refused(raft: &Raft, message: String) -> Unanswered {
    let leader = leader_of(raft).map(|(id, _)| id);
    Unanswered::Unavailable { fate: Fate::NotApplied, leader, message }
}

/// The other voter in contact whose log matches furthest; among equals the lowest id.
fn most_up_to_date(raft: &Raft) -> Option<MemberId> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let progress = metrics.replication.as_ref()?;
    let me = *raft.node_id();
    let heard_max = Duration::from_millis(raft.config().election_timeout_max);
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    progress
        .iter()
        .filter(|(id, _)| **id != me && voters.contains(id))
        .filter(|(id, _)| in_contact(&metrics, **id, heard_max))
        .max_by_key(|(id, matched)| (matched.map(|id| id.index), std::cmp::Reverse(**id)))
        .map(|(id, _)| MemberId(*id))
}
