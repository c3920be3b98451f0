//! Lets coordinators in that were added: see [`crate::bootstrap`] for their part.

use quorate_core::{ClusterId, MemberId};
use quorate_proto::v1::{self, JoinRefusalReason, join_response::Result as Answer};

use super::Members;
use crate::{consensus::leader_of, coordinator::Unanswered, members::Standing, transport::Lane};

impl Members {
    /// Answers a coordinator that asks to be let in, or has the leader answer.
    pub(crate) async fn join(&self, request: v1::JoinRequest) -> v1::JoinResponse {
        let result = match self.other_cluster(&request) {
            Some(message) => refuse(JoinRefusalReason::OtherCluster, message),
            None => self.open(request).await,
        };
        v1::JoinResponse { result: Some(result) }
    }

    fn other_cluster(&self, request: &v1::JoinRequest) -> Option<String> {
        let (name, cluster) = (&self.cluster_name, self.cluster);
        if request.cluster_name != *name {
            return Some(format!(
                "its cluster.name is {name:?}, yours is {:?}",
                request.cluster_name
            ));
        }
        let theirs = ClusterId(request.cluster_id);
        (request.cluster_id != 0 && theirs != cluster)
            .then(|| format!("it is cluster {cluster}, your data is of cluster {theirs}"))
    }

    async fn open(&self, request: v1::JoinRequest) -> Answer {
        let unavailable = |message: String| refuse(JoinRefusalReason::Unavailable, message);
        match leader_of(&self.raft) {
            Some((leader, _)) if leader == self.me => {
                let asked = tokio::time::timeout(self.contact_max, self.open_here(&request)).await;
                match asked {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(error)) => unavailable(error.to_string()),
                    Err(_) => unavailable("no quorum answered in time".into()),
                }
            }
            Some((leader, address)) if !request.passed_on => {
                let peer = self.transport.peer(leader, &address, Lane::Control);
                let passed_on = v1::JoinRequest { passed_on: true, ..request };
                match peer.join(passed_on).await {
                    Ok(answer) => answer
                        .result
                        .unwrap_or_else(|| unavailable("the leader's answer is empty".into())),
                    Err(error) => unavailable(format!("member {leader}, which leads: {error}")),
                }
            }
            _ => unavailable("there is no leader".into()),
        }
    }

    async fn open_here(&self, request: &v1::JoinRequest) -> Result<Answer, Unanswered> {
        let id = MemberId(request.member_id);
        let has_record = request.cluster_id != 0;
        let busy = |_| self.unavailable("another change of the members is under way");
        let _turn = self.turn.acquire().await.map_err(busy)?;
        loop {
            let Some(now) = self.look().await? else { continue };
            let Some(member) = now.find(id) else {
                let message = format!(
                    "there is no member {id} yet: quorate member add {id} --peer HOST:PORT \
                     --client HOST:PORT"
                );
                return Ok(refuse(JoinRefusalReason::NotAdded, message));
            };
            let is_member = match member.standing {
                Standing::Removed => {
                    let message = format!("cluster {} has removed it", self.cluster);
                    return Ok(refuse(JoinRefusalReason::Removed, message));
                }
                Standing::Voter | Standing::Learner if !has_record => {
                    let message = format!("cluster {} has it as a member already", self.cluster);
                    return Ok(refuse(JoinRefusalReason::Lost, message));
                }
                Standing::Joining if has_record => {
                    self.admit(&now, &member).await?;
                    continue;
                }
                Standing::Voter | Standing::Learner => true,
                Standing::Joining => false,
            };
            let restore_epoch = now.view.state.identity().restore_epoch.get();
            let cluster_id = self.cluster.get();
            return Ok(Answer::Admission(v1::Admission { cluster_id, restore_epoch, is_member }));
        }
    }
}

fn refuse(reason: JoinRefusalReason, message: String) -> Answer {
    Answer::Refusal(v1::JoinRefusal { reason: reason.into(), message })
}
