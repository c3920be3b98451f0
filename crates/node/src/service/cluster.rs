//! `ClusterService`: the coordinators themselves.

use quorate_core::{Kind, LogIndex, MemberId};
use quorate_proto::{
    ConvertError, ErrorDetails, Reason,
    convert::{record::record, write::origin},
    v1::{self, cluster_service_server::ClusterService},
};
use quorate_storage::View;
use tokio::time::Instant;
use tonic::{Request, Response, Status, async_trait};

use super::{error, header, read::Reader};
use crate::{
    consensus::membership::to_member,
    coordinator::{Coordinator, Role},
    members::{self, MemberChange},
};

/// `ClusterService`.
pub(super) struct Cluster {
    pub(super) coordinator: Coordinator,
    pub(super) reader: Reader,
    pub(super) cluster_name: String,
    pub(super) endpoint: String,
}

#[async_trait]
impl ClusterService for Cluster {
    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let status = self.coordinator.status();
        let view = self.coordinator.view();
        let header = header::of_view(self.coordinator.member_id(), &view);
        let state = &view.state;
        Ok(Response::new(v1::StatusResponse {
            header: Some(v1::ResponseHeader { term: status.term.get(), ..header.into() }),
            cluster_name: self.cluster_name.clone(),
            endpoint: self.endpoint.clone(),
            role: role(status.role).into(),
            leader_id: leader_id(status.leader),
            applied_index: view.index.get(),
            last_log_index: status.last_log_index.get(),
            checkpoint_index: status.checkpoint_index.get(),
            oldest_revision: state.history().oldest().get(),
            state_hash: state.hash().0,
            records: u64::try_from(state.len()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn members(
        &self,
        request: Request<v1::MembersRequest>,
    ) -> Result<Response<v1::MembersResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let (view, header) = self.reader.view(request.read, deadline).await?;
        Ok(Response::new(v1::MembersResponse {
            header: Some(header.into()),
            members: members::list(&view).iter().map(to_member).collect(),
            leader_id: leader_id(self.coordinator.status().leader),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let target = match request.target_id {
            0 => None,
            id => Some(voter(&self.coordinator.view(), MemberId(id))?),
        };
        let leader = self.coordinator.transfer_leader(target, deadline).await;
        let leader = leader.map_err(|unanswered| error::write(&unanswered))?;
        let view = self.coordinator.view();
        let header = header::of_view(self.coordinator.member_id(), &view);
        Ok(Response::new(v1::TransferLeaderResponse {
            header: Some(header.into()),
            leader_id: leader.get(),
        }))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let change = MemberChange::Add {
            id: (request.id != 0).then_some(MemberId(request.id)),
            peer: request.peer_address,
            client: request.client_address,
        };
        let (header, member) = self.change(&change, request.context, deadline).await?;
        Ok(Response::new(v1::AddMemberResponse { header, member }))
    }

    async fn promote_member(
        &self,
        request: Request<v1::PromoteMemberRequest>,
    ) -> Result<Response<v1::PromoteMemberResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let change = MemberChange::Promote { id: named(request.id)? };
        let (header, member) = self.change(&change, request.context, deadline).await?;
        Ok(Response::new(v1::PromoteMemberResponse { header, member }))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let change = MemberChange::Remove { id: named(request.id)?, force: request.force };
        let (header, member) = self.change(&change, request.context, deadline).await?;
        Ok(Response::new(v1::RemoveMemberResponse { header, member }))
    }

    async fn list_alerts(
        &self,
        request: Request<v1::ListAlertsRequest>,
    ) -> Result<Response<v1::ListAlertsResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let alerts = view.state.records_of(Kind::Alert);
        let alerts = alerts.map(|(key, found)| record(key, found)).collect();
        Ok(Response::new(v1::ListAlertsResponse { header: Some(header.into()), alerts }))
    }
}

impl Cluster {
    async fn change(
        &self,
        change: &MemberChange,
        context: Option<v1::WriteContext>,
        deadline: Instant,
    ) -> Result<(Option<v1::ResponseHeader>, Option<v1::Member>), Status> {
        let origin = origin(context)?;
        let changed = self.coordinator.change_members(change, &origin, deadline).await;
        let changed = changed.map_err(|unanswered| error::write(&unanswered))?;
        let member = changed.map_err(ErrorDetails::from)?;
        let view = self.coordinator.view();
        let header = header::of_view(self.coordinator.member_id(), &view);
        Ok((Some(header.into()), Some(to_member(&member))))
    }
}

fn named(id: u64) -> Result<MemberId, ConvertError> {
    if id == 0 {
        return Err(ConvertError::new("id", "must be a member's id, from 1"));
    }
    Ok(MemberId(id))
}

fn role(role: Role) -> v1::MemberRole {
    match role {
        Role::Leader => v1::MemberRole::Leader,
        Role::Follower => v1::MemberRole::Follower,
        Role::Candidate => v1::MemberRole::Candidate,
        Role::Learner => v1::MemberRole::Learner,
    }
}

fn leader_id(leader: Option<MemberId>) -> u64 {
    leader.map_or(0, MemberId::get)
}

fn voter(view: &View, id: MemberId) -> Result<MemberId, Status> {
    // Before anything was applied here the membership is unknown, and the leader decides.
    if view.index == LogIndex(0) || view.membership.membership().voter_ids().any(|v| v == id.get())
    {
        return Ok(id);
    }
    let message = format!("member {id} is not a voter of this cluster");
    let error = ErrorDetails::new(Reason::NotFound, message);
    Err(error.with_field("target_id", "must be a voter's id, or 0").into())
}
