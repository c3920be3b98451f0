//! The leader's part of a change: look at what is committed, do the next step, look again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{
    ChangeMembers,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, RaftError},
    raft::Precondition,
};
use quorate_core::{
    Command, Key, MemberId, MemberState, Origin, Reason, Record, Rejection, Request, State,
};
use quorate_storage::{EncodedRequest, MemberAddress, StoredMembership, View};
use tokio::time::Instant;

use super::{Changed, Members, judge};
use crate::{
    config::is_address,
    consensus::{leader_of, proposer, transfer},
    coordinator::{Fate, Unanswered},
    members::{self, MemberChange, MemberInfo, Standing},
};

/// How long to wait before looking again at what is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What came of looking.
pub(super) enum Step {
    /// There is nothing left to do.
    Done(MemberInfo),
    /// It must not be done.
    Refused(Rejection),
    /// The records of members must be changed next.
    Note(Command),
    /// Something was done, or is under way.
    Again,
}

/// What a step is decided on: committed, and no change under way.
pub(super) struct Now {
    pub(super) view: Arc<View>,
    pub(super) members: Arc<StoredMembership>,
}

impl Now {
    pub(super) fn find(&self, id: MemberId) -> Option<MemberInfo> {
        members::find(self.members.membership(), &self.view.state, id)
    }
}

impl Members {
    /// Makes a change, step by step, until there is nothing left to do.
    pub(super) async fn make(
        &self,
        change: &MemberChange,
        origin: &Origin,
        deadline: Instant,
    ) -> Changed {
        let in_the_way = || self.unavailable("another change of the members is under way");
        let turn = tokio::time::timeout_at(deadline, self.turn.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(in_the_way()) };
        // By then a leader has heard everybody who can be heard.
        let heard_by = Instant::now() + self.contact_max;
        while Instant::now() < deadline {
            let Some(now) = self.look().await? else { continue };
            let step = match change {
                MemberChange::Add { id, peer, client } => add(&now, *id, peer, client),
                MemberChange::Promote { id } => self.promote(&now, *id, origin, heard_by).await?,
                MemberChange::Remove { id, force } => {
                    self.remove(&now, *id, *force, (heard_by, deadline)).await?
                }
            };
            let step = match step {
                Step::Note(command) => self.note(command, origin).await?,
                step => step,
            };
            match step {
                Step::Done(member) => return Ok(Ok(member)),
                Step::Refused(rejection) => return Ok(Err(rejection)),
                Step::Note(_) | Step::Again => {}
            }
        }
        Err(in_the_way())
    }

    /// What is committed as of now, by a quorum. None: a change is under way, which was waited for
    /// a little or finished.
    pub(super) async fn look(&self) -> Result<Option<Now>, Unanswered> {
        let index = self.reads.index_as_leader().await?;
        let mut applied = self.published.subscribe();
        if applied.wait_for(|applied| *applied >= index).await.is_err() {
            return Err(Unanswered::Stopped { fate: Fate::NotApplied });
        }
        let (members, committed) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.membership_config.clone(), metrics.committed_membership_config.clone())
        };
        if members.log_id() != committed.log_id() {
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(None);
        }
        if members.membership().get_joint_config().len() > 1 {
            // A former leader did not get to the second half.
            self.submit(ChangeMembers::AddVoterIds(BTreeSet::new()), &members).await?;
            return Ok(None);
        }
        Ok(Some(Now { view: self.published.load(), members }))
    }

    async fn promote(
        &self,
        now: &Now,
        id: MemberId,
        origin: &Origin,
        heard_by: Instant,
    ) -> Result<Step, Unanswered> {
        let Some(member) = now.find(id) else { return Ok(Step::Refused(unknown_member(id))) };
        match member.standing {
            Standing::Voter => return Ok(Step::Done(member)),
            Standing::Learner if !retired(&now.view.state, id) => {}
            Standing::Joining => {
                let message = format!("member {id} was added and has not joined yet: start it");
                return Ok(Step::Refused(Rejection::new(Reason::PreconditionFailed, message)));
            }
            Standing::Learner | Standing::Removed => {
                let message = format!("member {id} was removed");
                return Ok(Step::Refused(Rejection::new(Reason::NotFound, message)));
            }
        }
        let judged = {
            let metrics = self.raft.metrics();
            judge::promotable(&metrics.borrow_watched(), id, self.contact_max)
        };
        if let Err(judgement) = judged {
            return Ok(refuse(judgement, heard_by).await);
        }
        let Origin { label, reason } = origin;
        tracing::info!(member = %id, %label, %reason, "making a learner a voter");
        let voters = BTreeSet::from([id.get()]);
        self.submit(ChangeMembers::AddVoterIds(voters), &now.members).await?;
        Ok(Step::Again)
    }

    async fn remove(
        &self,
        now: &Now,
        id: MemberId,
        force: bool,
        (heard_by, deadline): (Instant, Instant),
    ) -> Result<Step, Unanswered> {
        let Some(member) = now.find(id) else { return Ok(Step::Refused(unknown_member(id))) };
        let votes = match member.standing {
            Standing::Removed => return Ok(Step::Done(member)),
            Standing::Joining => return Ok(Step::Note(Command::RetireMember { id })),
            Standing::Learner => false,
            Standing::Voter => true,
        };
        let membership = now.members.membership();
        if votes && membership.voter_ids().count() == 1 {
            let message = format!("member {id} is the only voter: the cluster would be gone");
            return Ok(Step::Refused(Rejection::new(Reason::PreconditionFailed, message)));
        }
        if votes && !force {
            let judged = {
                let metrics = self.raft.metrics();
                judge::removable(&metrics.borrow_watched(), membership, id, self.contact_max)
            };
            if let Err(judgement) = judged {
                return Ok(refuse(judgement, heard_by).await);
            }
        }
        if id == self.me {
            // Whoever leads next does it.
            let target = transfer::hand_over(&self.raft, None, deadline).await?;
            return Err(proposer::not_leader(Some(target)));
        }
        // First of all, so that the id of an initial member is known as used however this ends.
        if !retired(&now.view.state, id) {
            return Ok(Step::Note(Command::RetireMember { id }));
        }
        tracing::info!(member = %id, "removing a member");
        let ids = BTreeSet::from([id.get()]);
        let change =
            if votes { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) };
        self.submit(change, &now.members).await?;
        Ok(Step::Again)
    }

    /// Makes a member of a coordinator that has recorded the cluster.
    pub(super) async fn admit(&self, now: &Now, member: &MemberInfo) -> Result<(), Unanswered> {
        tracing::info!(member = %member.id, peer = member.peer, "a learner joins");
        let (peer, client) = (member.peer.clone(), member.client.clone());
        let nodes = BTreeMap::from([(member.id.get(), MemberAddress { peer, client })]);
        self.submit(ChangeMembers::AddNodes(nodes), &now.members).await
    }

    /// Commits a change of the records of members.
    async fn note(&self, command: Command, origin: &Origin) -> Result<Step, Unanswered> {
        let origin = origin.clone();
        let request = EncodedRequest::new(&Request { command, call: None, origin });
        let waiting = self.proposer.submit(request, proposer::Origin::Forwarded)?;
        let stopped = Err(Unanswered::Stopped { fate: Fate::Unknown });
        let committed = waiting.await.unwrap_or(stopped)?;
        Ok(committed.outcome.result.map_or_else(Step::Refused, |_| Step::Again))
    }

    /// Commits a change of Raft's membership, unless it is another one by now: look again.
    async fn submit(
        &self,
        change: ChangeMembers<u64, MemberAddress>,
        at: &StoredMembership,
    ) -> Result<(), Unanswered> {
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: *at.log_id() };
        match self.raft.change_membership_if(change, false, [unchanged]).await {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(Unanswered::Stopped { fate: Fate::Unknown }),
            Err(RaftError::APIError(
                ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to),
            )) => Err(Unanswered::Unavailable {
                fate: Fate::Unknown,
                leader: to.leader_id.map(MemberId),
                message: "leadership was lost while the members were changed".into(),
            }),
            Err(RaftError::APIError(error)) => {
                tracing::debug!(%error, "the members change already");
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            }
        }
    }

    pub(super) fn unavailable(&self, message: &str) -> Unanswered {
        let leader = leader_of(&self.raft).map(|(id, _)| id);
        Unanswered::Unavailable { fate: Fate::NotApplied, leader, message: message.into() }
    }
}

fn add(now: &Now, wanted: Option<MemberId>, peer: &str, client: &str) -> Step {
    for (field, address) in [("peer_address", peer), ("client_address", client)] {
        if !is_address(address) {
            let rule = "must be host:port with a port above 0";
            return Step::Refused(Rejection::invalid(field, rule));
        }
    }
    let known = members::all(now.members.membership(), &now.view.state);
    let same = |member: &&MemberInfo| member.peer == peer && member.client == client;
    let mut there = known.iter().filter(|member| member.standing != Standing::Removed);
    let next = || MemberId(known.last().map_or(0, |member| member.id.get()).saturating_add(1));
    let id =
        wanted.or_else(|| there.clone().find(same).map(|member| member.id)).unwrap_or_else(next);
    if let Some(found) = known.iter().find(|member| member.id == id) {
        let message = if found.standing == Standing::Removed || retired(&now.view.state, id) {
            format!("member {id} was removed, and an id is never used again")
        } else if same(&found) {
            return Step::Done(found.clone());
        } else {
            let MemberInfo { peer, client, .. } = found;
            format!("member {id} is known with other addresses: {peer} and {client}")
        };
        return Step::Refused(exists("id", "an id that was never used", message));
    }
    if let Some(other) = there.find(|one| one.peer == peer || one.client == client) {
        let field = if other.peer == peer { "peer_address" } else { "client_address" };
        let message = format!("{field}: member {} has it; remove that one first", other.id);
        return Step::Refused(exists(field, "an address that no member has", message));
    }
    let (peer, client) = (peer.to_owned(), client.to_owned());
    Step::Note(Command::AddMember { id, peer, client })
}

/// Refuses, unless it is too early to tell.
async fn refuse(judgement: judge::Judgement, heard_by: Instant) -> Step {
    if judgement.hasty && Instant::now() < heard_by {
        tokio::time::sleep(LOOK_AGAIN).await;
        return Step::Again;
    }
    Step::Refused(judgement.rejection)
}

/// Whether a member's removal was begun, even if Raft still has it.
fn retired(state: &State, id: MemberId) -> bool {
    state.get(&Key::member(id)).is_some_and(|record| {
        matches!(&record.value, Record::Member(member) if member.state == MemberState::Removed)
    })
}

fn unknown_member(id: MemberId) -> Rejection {
    Rejection::new(Reason::NotFound, format!("there is no member {id}, and there never was"))
}

fn exists(field: &str, rule: &str, message: String) -> Rejection {
    let (field, rule) = (field.to_owned(), rule.to_owned());
    Rejection { reason: Reason::AlreadyExists, field, rule, message }
}
