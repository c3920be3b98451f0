//! Changes of who the members are, from any coordinator.
//!
//! ```text
//! any coordinator --(ForwardService.ChangeMembers)--> leader: look, do the next step, look again
//! a new one       --(RaftService.Join)------------->          (steps.rs, door.rs)
//! ```
//!
//! Invariants: one change at a time on a leader, and Raft itself refuses a second one that is not
//! committed; every step is one committed change, and what is left to do is read from what is
//! committed, so that a change that was cut short is finished by asking again, of any leader.

mod door;
mod judge;
mod steps;

use std::{ops::Deref, sync::Arc, time::Duration};

use quorate_core::{ClusterId, MemberId, Origin, Rejection, codec};
use quorate_proto::{
    ConvertError,
    convert::write,
    v1::{
        self, change_members_request::Change as WireChange,
        change_members_response::Result as WireAnswer,
    },
};
use quorate_storage::Published;
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};
use tokio_util::task::TaskTracker;

pub(crate) use judge::in_contact;

use super::{Raft, contact::Contact, forward, leader_of, proposer::Proposer, reads::Reads};
use crate::{
    coordinator::{Fate, Unanswered},
    members::{MemberChange, MemberInfo, Standing},
    transport::{Lane, PeerError, PeerErrorKind, Transport},
};

/// What came of a change: the member as it is now, or why it is refused.
pub(crate) type Changed = Result<Result<MemberInfo, Rejection>, Unanswered>;

/// Changes members. A clone is another handle.
#[derive(Clone)]
pub(crate) struct Members(Arc<MembersParts>);

/// What [`Members`] is made of.
pub(crate) struct MembersParts {
    pub(crate) me: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) cluster_name: String,
    pub(crate) raft: Raft,
    pub(crate) proposer: Proposer,
    pub(crate) reads: Reads,
    pub(crate) contact: Contact,
    pub(crate) published: Arc<Published>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) tasks: TaskTracker,
    /// A member that was not heard for longer is not counted on.
    pub(crate) contact_max: Duration,
    /// Held by the one change that is under way here.
    pub(crate) turn: Semaphore,
}

impl Deref for Members {
    type Target = MembersParts;

    fn deref(&self) -> &MembersParts {
        &self.0
    }
}

impl Members {
    pub(crate) fn new(parts: MembersParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Makes a change here or has the leader make it.
    pub(crate) async fn change(
        &self,
        change: &MemberChange,
        origin: &Origin,
        deadline: Instant,
    ) -> Changed {
        match leader_of(&self.raft) {
            Some((leader, address)) if leader != self.me => {
                self.ask((leader, &address), change, origin, deadline).await
            }
            _ => self.change_here(change.clone(), origin.clone(), deadline).await,
        }
    }

    /// Makes a change as the leader. It goes on when the caller gives up: a change of voters is
    /// two entries, and the second is to follow the first.
    async fn change_here(
        &self,
        change: MemberChange,
        origin: Origin,
        deadline: Instant,
    ) -> Changed {
        let (answer, waiting) = oneshot::channel();
        let this = self.clone();
        self.tasks.spawn(async move {
            // Nobody may be waiting any more.
            drop(answer.send(this.make(&change, &origin, deadline).await));
        });
        let unknown = |message: &str| {
            let leader = leader_of(&self.raft).map(|(id, _)| id);
            Err(Unanswered::Unavailable { fate: Fate::Unknown, leader, message: message.into() })
        };
        tokio::select! {
            biased;
            answer = waiting => match answer {
                Ok(answer) => answer,
                Err(_) => Err(Unanswered::Stopped { fate: Fate::Unknown }),
            },
            () = tokio::time::sleep_until(deadline) => {
                unknown("the change was not finished in time; it may still be")
            }
            () = self.contact.lost() => {
                unknown("contact with a quorum was lost; the change may still be made")
            }
        }
    }

    async fn ask(
        &self,
        (leader, address): (MemberId, &str),
        change: &MemberChange,
        origin: &Origin,
        deadline: Instant,
    ) -> Changed {
        let wait = deadline.saturating_duration_since(Instant::now());
        let request = v1::ChangeMembersRequest {
            header: Some(v1::PeerHeader {
                cluster_id: self.cluster.get(),
                from: self.me.get(),
                to: leader.get(),
            }),
            wait_ms_max: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            change: Some(to_wire(change, origin)),
        };
        let peer = self.transport.peer(leader, address, Lane::Control);
        let unknown = |message: String| {
            let leader = Some(leader);
            Err(Unanswered::Unavailable { fate: Fate::Unknown, leader, message })
        };
        match tokio::time::timeout_at(deadline, peer.change_members(request)).await {
            Ok(Ok(answer)) => match answer.result {
                Some(WireAnswer::Member(member)) => Ok(Ok(from_member(member))),
                Some(WireAnswer::Error(error)) => Err(forward::from_wire(error)),
                Some(WireAnswer::Rejection(bytes)) => match codec::decode(&bytes) {
                    Ok(rejection) => Ok(Err(rejection)),
                    Err(error) => unknown(format!("the leader's answer cannot be read: {error}")),
                },
                None => unknown("the leader's answer is empty".into()),
            },
            Ok(Err(error)) => unknown(error.to_string()),
            Err(_) => unknown(format!("member {leader}, which leads, did not answer in time")),
        }
    }

    /// Makes a change on behalf of another coordinator. It is not asked further.
    pub(crate) async fn serve(
        &self,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, PeerError> {
        let deadline = Instant::now() + Duration::from_millis(request.wait_ms_max);
        let missing = || PeerError::new(PeerErrorKind::Invalid, "change is missing");
        let (change, origin) = from_wire(request.change.ok_or_else(missing)?);
        let origin =
            origin.map_err(|error| PeerError::new(PeerErrorKind::Invalid, error.to_string()))?;
        let result = match self.change_here(change, origin, deadline).await {
            Ok(Ok(member)) => WireAnswer::Member(to_member(&member)),
            Ok(Err(rejection)) => WireAnswer::Rejection(codec::encode(&rejection).into()),
            Err(error) => WireAnswer::Error(forward::to_wire(&error)),
        };
        Ok(v1::ChangeMembersResponse { result: Some(result) })
    }
}

fn to_wire(change: &MemberChange, origin: &Origin) -> WireChange {
    let context = write::from_origin(origin);
    match change {
        MemberChange::Add { id, peer, client } => WireChange::Add(v1::AddMemberRequest {
            id: id.map_or(0, MemberId::get),
            peer_address: peer.clone(),
            client_address: client.clone(),
            context,
        }),
        MemberChange::Promote { id } => {
            WireChange::Promote(v1::PromoteMemberRequest { id: id.get(), context })
        }
        MemberChange::Remove { id, force } => {
            WireChange::Remove(v1::RemoveMemberRequest { id: id.get(), force: *force, context })
        }
    }
}

fn from_wire(change: WireChange) -> (MemberChange, Result<Origin, ConvertError>) {
    let (change, context) = match change {
        WireChange::Add(add) => {
            let id = (add.id != 0).then_some(MemberId(add.id));
            let (peer, client) = (add.peer_address, add.client_address);
            (MemberChange::Add { id, peer, client }, add.context)
        }
        WireChange::Promote(promote) => {
            (MemberChange::Promote { id: MemberId(promote.id) }, promote.context)
        }
        WireChange::Remove(remove) => {
            let (id, force) = (MemberId(remove.id), remove.force);
            (MemberChange::Remove { id, force }, remove.context)
        }
    };
    (change, write::origin(context))
}

/// A member as clients and peers are told of it.
pub(crate) fn to_member(member: &MemberInfo) -> v1::Member {
    let state = match member.standing {
        Standing::Voter => v1::MemberState::Voter,
        Standing::Learner => v1::MemberState::Learner,
        Standing::Joining => v1::MemberState::Joining,
        Standing::Removed => v1::MemberState::Removed,
    };
    v1::Member {
        id: member.id.get(),
        client_address: member.client.clone(),
        peer_address: member.peer.clone(),
        voter: member.standing == Standing::Voter,
        state: state.into(),
    }
}

fn from_member(member: v1::Member) -> MemberInfo {
    let standing = match member.state() {
        v1::MemberState::Voter => Standing::Voter,
        v1::MemberState::Learner | v1::MemberState::Unspecified => Standing::Learner,
        v1::MemberState::Joining => Standing::Joining,
        v1::MemberState::Removed => Standing::Removed,
    };
    let (peer, client) = (member.peer_address, member.client_address);
    MemberInfo { id: MemberId(member.id), peer, client, standing }
}
