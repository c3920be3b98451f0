//! The coordinators themselves: what each knows of itself, who they are, who leads.

use quorate_core::{LogIndex, MemberId, Revision, StateHash};
use quorate_proto::{ConvertError, v1};

use crate::{
    call::{Audited, Call, Carried, Operation, Read, rpc},
    client::Client,
    config::Endpoint,
};

impl Client {
    /// What one coordinator knows of itself; answered without a quorum too.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) {
    /// for endpoint in client.endpoints() {
    ///     match client.status(endpoint).await {
    ///         Ok(status) => println!("{endpoint}: {:?}", status.value.role),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn status(&self, endpoint: &Endpoint) -> Call<GetStatus> {
        Call::new(self, GetStatus).via(endpoint)
    }

    /// The cluster's members.
    pub fn members(&self) -> Call<GetMembers> {
        Call::new(self, GetMembers)
    }

    /// Hands leadership to a voter (None: the most up-to-date one) and waits until it leads.
    pub fn transfer_leader(&self, target: Option<MemberId>) -> Call<TransferLeader> {
        Call::new(self, TransferLeader { target })
    }

    /// Notes that a coordinator joins; it becomes a learner when it is started. Without an id, it
    /// gets the one after the highest that ever was, or what it has if it was added before.
    ///
    /// ```no_run
    /// # async fn example(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// let added = client.add_member(None, "10.0.0.4:7204", "10.0.0.4:7104").await?;
    /// println!("set node.id = {} and start it", added.value.id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_member(
        &self,
        id: Option<MemberId>,
        peer_address: impl Into<String>,
        client_address: impl Into<String>,
    ) -> Call<AddMember> {
        let (peer_address, client_address) = (peer_address.into(), client_address.into());
        Call::new(self, AddMember { id, peer_address, client_address })
    }

    /// Makes a learner a voter. `PRECONDITION_FAILED` while it lags.
    pub fn promote_member(&self, id: MemberId) -> Call<PromoteMember> {
        Call::new(self, PromoteMember { id })
    }

    /// Takes a member out for good: its id is never used again. Refused when the voters in contact
    /// that remain are no majority, unless it is forced.
    pub fn remove_member(&self, id: MemberId, removal: Removal) -> Call<RemoveMember> {
        Call::new(self, RemoveMember { id, removal })
    }
}

/// What a coordinator does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Leads.
    Leader,
    /// Votes and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Follows without a vote.
    Learner,
}

impl Role {
    /// Its name in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
        }
    }
}

/// What a coordinator knows of itself. Its id, term and revision are in the answer's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// The cluster's name.
    pub cluster_name: String,
    /// The address at which it serves clients.
    pub endpoint: String,
    /// Its role.
    pub role: Role,
    /// The leader it knows of.
    pub leader: Option<MemberId>,
    /// The last log entry applied.
    pub applied_index: LogIndex,
    /// The last log entry in its log.
    pub last_log_index: LogIndex,
    /// The last log entry covered by its newest checkpoint; 0: none.
    pub checkpoint_index: LogIndex,
    /// The oldest revision from which a watch can start.
    pub oldest_revision: Revision,
    /// Hash of the whole state as of `applied_index`: equal on all coordinators at equal index.
    pub state_hash: StateHash,
    /// How many records there are.
    pub records: u64,
    /// The version of the software.
    pub version: String,
}

/// Asks a coordinator about itself.
#[derive(Debug, Clone)]
pub struct GetStatus;

impl Operation for GetStatus {
    type Output = MemberStatus;
    rpc!(Probe, cluster_service_client::ClusterServiceClient.status(StatusRequest) -> StatusResponse);

    fn request(&self, _carried: Carried) -> v1::StatusRequest {
        v1::StatusRequest {}
    }

    fn read(&self, answer: v1::StatusResponse) -> Result<MemberStatus, ConvertError> {
        let role = match v1::MemberRole::try_from(answer.role) {
            Ok(v1::MemberRole::Leader) => Role::Leader,
            Ok(v1::MemberRole::Follower) => Role::Follower,
            Ok(v1::MemberRole::Candidate) => Role::Candidate,
            Ok(v1::MemberRole::Learner) => Role::Learner,
            Ok(v1::MemberRole::Unspecified) | Err(_) => {
                return Err(ConvertError::new("role", format!("unknown value {}", answer.role)));
            }
        };
        Ok(MemberStatus {
            cluster_name: answer.cluster_name,
            endpoint: answer.endpoint,
            role,
            leader: member_id(answer.leader_id),
            applied_index: LogIndex(answer.applied_index),
            last_log_index: LogIndex(answer.last_log_index),
            checkpoint_index: LogIndex(answer.checkpoint_index),
            oldest_revision: Revision(answer.oldest_revision),
            state_hash: StateHash(answer.state_hash),
            records: answer.records,
            version: answer.version,
        })
    }
}

/// Lists members.
#[derive(Debug, Clone)]
pub struct GetMembers;

/// The cluster's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The members, by id.
    pub members: Vec<Member>,
    /// The leader that the answering coordinator knows of.
    pub leader: Option<MemberId>,
}

/// A coordinator in the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Where its peers reach it, `host:port`.
    pub peer_address: String,
    /// False for a learner, and for one that has not joined yet.
    pub voter: bool,
    /// What it is in the cluster.
    pub state: MemberState,
}

/// What a member is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Votes.
    Voter,
    /// Follows without a vote.
    Learner,
    /// Was added and has not contacted the cluster yet.
    Joining,
    /// Was removed for good.
    Removed,
}

impl MemberState {
    /// Its name in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::Joining => "joining",
            Self::Removed => "removed",
        }
    }
}

/// Whether a member may be removed that the quorum cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// No.
    KeepingQuorum,
    /// Yes: nothing can be written until enough of the others are back.
    Forced,
}

impl Member {
    fn read(member: v1::Member) -> Self {
        let state = match member.state() {
            v1::MemberState::Voter => MemberState::Voter,
            v1::MemberState::Learner => MemberState::Learner,
            v1::MemberState::Joining => MemberState::Joining,
            v1::MemberState::Removed => MemberState::Removed,
            // Of a coordinator that does not know states yet.
            v1::MemberState::Unspecified if member.voter => MemberState::Voter,
            v1::MemberState::Unspecified => MemberState::Learner,
        };
        Self {
            id: MemberId(member.id),
            client_address: member.client_address,
            peer_address: member.peer_address,
            voter: member.voter,
            state,
        }
    }

    fn required(member: Option<v1::Member>) -> Result<Self, ConvertError> {
        member.map(Self::read).ok_or_else(|| ConvertError::new("member", "required"))
    }
}

impl Read for GetMembers {}

impl Operation for GetMembers {
    type Output = Members;
    rpc!(
        Read,
        cluster_service_client::ClusterServiceClient.members(MembersRequest) -> MembersResponse
    );

    fn request(&self, carried: Carried) -> v1::MembersRequest {
        v1::MembersRequest { read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::MembersResponse) -> Result<Members, ConvertError> {
        let members = answer.members.into_iter().map(Member::read).collect();
        Ok(Members { members, leader: member_id(answer.leader_id) })
    }
}

/// Hands leadership over. The answer is who leads now.
#[derive(Debug, Clone)]
pub struct TransferLeader {
    target: Option<MemberId>,
}

impl Operation for TransferLeader {
    type Output = MemberId;
    rpc!(
        Control,
        cluster_service_client::ClusterServiceClient.transfer_leader(TransferLeaderRequest)
            -> TransferLeaderResponse
    );

    fn request(&self, _carried: Carried) -> v1::TransferLeaderRequest {
        v1::TransferLeaderRequest { target_id: self.target.map_or(0, MemberId::get) }
    }

    fn read(&self, answer: v1::TransferLeaderResponse) -> Result<MemberId, ConvertError> {
        member_id(answer.leader_id).ok_or_else(|| ConvertError::new("leader_id", "required"))
    }
}

/// Adds a member. The answer is the member.
#[derive(Debug, Clone)]
pub struct AddMember {
    id: Option<MemberId>,
    peer_address: String,
    client_address: String,
}

impl Audited for AddMember {}

impl Operation for AddMember {
    type Output = Member;
    rpc!(
        Repeatable,
        cluster_service_client::ClusterServiceClient.add_member(AddMemberRequest)
            -> AddMemberResponse
    );

    fn request(&self, carried: Carried) -> v1::AddMemberRequest {
        v1::AddMemberRequest {
            id: self.id.map_or(0, MemberId::get),
            peer_address: self.peer_address.clone(),
            client_address: self.client_address.clone(),
            context: carried.context,
        }
    }

    fn read(&self, answer: v1::AddMemberResponse) -> Result<Member, ConvertError> {
        Member::required(answer.member)
    }
}

/// Makes a learner a voter. The answer is the member.
#[derive(Debug, Clone)]
pub struct PromoteMember {
    id: MemberId,
}

impl Audited for PromoteMember {}

impl Operation for PromoteMember {
    type Output = Member;
    rpc!(
        Repeatable,
        cluster_service_client::ClusterServiceClient.promote_member(PromoteMemberRequest)
            -> PromoteMemberResponse
    );

    fn request(&self, carried: Carried) -> v1::PromoteMemberRequest {
        v1::PromoteMemberRequest { id: self.id.get(), context: carried.context }
    }

    fn read(&self, answer: v1::PromoteMemberResponse) -> Result<Member, ConvertError> {
        Member::required(answer.member)
    }
}

/// Removes a member. The answer is the member that was.
#[derive(Debug, Clone)]
pub struct RemoveMember {
    id: MemberId,
    removal: Removal,
}

impl Audited for RemoveMember {}

impl Operation for RemoveMember {
    type Output = Member;
    rpc!(
        Repeatable,
        cluster_service_client::ClusterServiceClient.remove_member(RemoveMemberRequest)
            -> RemoveMemberResponse
    );

    fn request(&self, carried: Carried) -> v1::RemoveMemberRequest {
        let (id, force) = (self.id.get(), self.removal == Removal::Forced);
        v1::RemoveMemberRequest { id, force, context: carried.context }
    }

    fn read(&self, answer: v1::RemoveMemberResponse) -> Result<Member, ConvertError> {
        Member::required(answer.member)
    }
}

/// On the wire, 0 is nobody.
fn member_id(id: u64) -> Option<MemberId> {
    (id != 0).then_some(MemberId(id))
}
